"""Who works in this office: one role each, a passphrase, perhaps a key to approve with.

With nobody registered, whoever has the account on this machine acts as the operator. Roles keep
people who share a machine apart in what they do and in what the log says of them; whoever can
write the database file can write this table too. What binds members are keys, not roles.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from sqlalchemy import Connection

from coordinator import files
from coordinator.store.people import People, Person
from protocols.agreement.roles import OFFICE_ROLES, Role
from protocols.errors import Code, InputError, LocalError, Refused
from protocols.signing import SigningKey

MIN_PASSPHRASE = 12
LOG2_N, _R, _P = 15, 8, 1  # 32 MiB and about a tenth of a second for each guess
_SCHEME = "scrypt"
Entropy = Callable[[int], bytes]


def hashed(passphrase: str, entropy: Entropy) -> str:
    """Parameters, salt and hash as one text.

    Raises:
        InputError: the passphrase is too short.
    """
    if len(passphrase) < MIN_PASSPHRASE:
        raise InputError(
            f"the passphrase has {len(passphrase)} characters, {MIN_PASSPHRASE} are the least.",
            where="passphrase",
            fix="Take four or more words.",
        )
    salt = entropy(16)
    return f"{_SCHEME}:{LOG2_N}:{salt.hex()}:{_derive(passphrase, salt, LOG2_N).hex()}"


def add(
    db: Connection, *, name: str, role: str, passphrase: str, now: datetime, entropy: Entropy
) -> Person:
    """Register a person.

    Raises:
        InputError: an unknown role, a short passphrase, a name that is no name.
        Refused: the name is registered already, or nobody could act any more.
    """
    if role not in OFFICE_ROLES:
        raise InputError(
            f"there is no role {role!r} in an office.",
            where="--role",
            fix=f"It is one of: {', '.join(OFFICE_ROLES)}.",
        )
    if not name.strip() or not name.isprintable() or len(name) > 100:
        raise InputError("a name has 1 to 100 printable characters.", where="name")
    listed = People(db).list()
    same = next((one for one in listed if one.name == name), None)
    if same is not None:
        raise Refused(
            f"{name} is {same.role} here already; a person has one role.",
            fix=f"To change it: people remove '{name}', then people add '{name}'.",
        )
    if not listed and role != Role.OPERATOR:
        raise Refused(
            f"with {role} {name} alone nobody could run this office any more.",
            fix="Register an operator first.",
        )
    person = Person(entropy(8).hex(), name, role, hashed(passphrase, entropy), now)
    People(db).add(person)
    return person


def remove(db: Connection, name: str, now: datetime) -> Person:
    """Somebody is nobody here from now on; Refused if nobody could act any more."""
    person, others = find(db, name), [one for one in People(db).list() if one.name != name]
    if others and not any(one.role == Role.OPERATOR for one in others):
        raise Refused(
            f"{name} is the last operator; nobody could run this office any more.",
            fix="Register another operator first, or remove the others before.",
        )
    People(db).remove(person.id, now)
    return person


def find(db: Connection, name: str) -> Person:
    """A registered person by name; InputError if there is none."""
    for one in People(db).list():
        if one.name == name:
            return one
    raise InputError(
        f"nobody called {name!r} is registered here.",
        where="--as",
        code=Code.NOT_FOUND,
        fix="'people list' shows everybody.",
    )


def authenticate(db: Connection, name: str, passphrase: str) -> Person:
    """The person behind a name and a passphrase.

    Raises:
        InputError: there is no such person.
        Refused: another passphrase.
    """
    person = find(db, name)
    try:
        scheme, log2_n, salt, expected = person.passphrase.split(":")
        found = _derive(passphrase, bytes.fromhex(salt), int(log2_n))
        known = scheme == _SCHEME and hmac.compare_digest(found, bytes.fromhex(expected))
    except ValueError as error:
        raise LocalError(
            f"what is stored of the passphrase of {name} is damaged.",
            code=Code.TAMPERED,
            fix="Restore the database from a backup (RUNBOOK.md).",
        ) from error
    if not known:
        raise Refused(f"this is not the passphrase of {name}.", where="--as")
    return person


def new_key(file: Path, entropy: Entropy) -> SigningKey:
    """A key to approve with, written to ``file`` for its owner alone; never over another file."""
    if file.exists():
        raise InputError("there is a file already.", where=str(file), fix="Name another one.")
    key = SigningKey(entropy(32))
    files.write(file, key.seed.hex().encode() + b"\n")
    return key


def load_key(file: Path) -> SigningKey:
    """A key that ``new_key`` wrote; InputError if it is none."""
    try:
        text = files.read(file, 200).decode("ascii").strip()
        return SigningKey(bytes.fromhex(text))
    except (ValueError, InputError, LocalError) as error:
        raise InputError(
            "this is not a key file.",
            where=str(file),
            fix="It is what 'people key NAME --out FILE' has written.",
        ) from error


def _derive(passphrase: str, salt: bytes, log2_n: int) -> bytes:
    if not 14 <= log2_n <= 20:
        raise ValueError(f"scrypt with n = 2^{log2_n} is not used by this software")
    kdf = Scrypt(salt=salt, length=32, n=2**log2_n, r=_R, p=_P)
    return kdf.derive(passphrase.encode())
