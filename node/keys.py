"""The node's own secrets: made here, kept here, never sent.

- ``identity.key``: Ed25519; who this member is in rosters, rounds and signatures.
- ``encryption.key``: X25519; what others seal to this member (released models) opens with it.
- ``tls.key.pem``: P-256; opens connections, nothing more. Its certificate request is kept, so that
  a repeated request is the same bytes.
- ``customer.key``: HMAC secret under which customers of this shop get their pseudonyms.
- ``vault.key``: what the shop's own rows are sealed with on this disk (``node.vault_key``).

The folder is written under another name and renamed once, so it is complete or absent.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from node import files, vault_key
from node.vault_key import VaultKey
from protocols.canonical import parse_json
from protocols.errors import Code, LocalError
from protocols.ids import MemberId
from protocols.signing import SigningKey, identity_of

KEYS = "keys"
IDENTITY, CUSTOMER, ENCRYPTION = "identity.key", "customer.key", "encryption.key"
TLS_KEY, TLS_REQUEST, TLS_CERT, CA = "tls.key.pem", "tls.csr.pem", "tls.cert.pem", "ca.pem"
RESTORED = "restored.json"
JOURNAL = "journal.key"  # only after a renewal: the log goes on under the key that it began with
MAX_EARLIER = 1000
NEXT = "keys.next"  # keys that are to take the place of these (``node.policy.renewal``)
SEALED = "vault/manifest.sealed"
SWITCHING = ".keys.switching"  # they are doing so now


@dataclass(frozen=True, slots=True)
class NodeKeys:
    """Everything in the keys folder that exists before joining."""

    identity: SigningKey
    customer_secret: bytes = field(repr=False)  # 32 bytes
    tls_key_pem: bytes = field(repr=False)
    csr_pem: bytes
    encryption: bytes = field(repr=False)  # X25519 private key, 32 bytes
    vault: VaultKey = field(repr=False)  # what the rows on the disk are sealed with, or where it is
    journal_seed: bytes | None = field(default=None, repr=False)  # of an earlier identity
    earlier: tuple[bytes, ...] = field(default=(), repr=False)  # encryption keys before renewals

    @property
    def member(self) -> MemberId:
        """The id of this member."""
        return identity_of(self.identity.public)

    @property
    def vault_key(self) -> bytes:
        """32 bytes; LocalError if they lie in a key store that does not give them."""
        return self.vault.read()

    @property
    def encryption_key(self) -> X25519PrivateKey:
        """The private key for HPKE."""
        return X25519PrivateKey.from_private_bytes(self.encryption)

    @property
    def journal(self) -> SigningKey:
        """What the audit log is signed with: the identity that this node began with."""
        return self.identity if self.journal_seed is None else SigningKey(self.journal_seed)

    @property
    def opens(self) -> dict[str, X25519PrivateKey]:
        """Public encryption key (hex) -> private key, also those of before a renewal: what was
        sealed to them is still this member's."""
        found = {}
        for raw in (self.encryption, *self.earlier):
            private = X25519PrivateKey.from_private_bytes(raw)
            public = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            found[public.hex()] = private
        return found

    @property
    def encryption_public(self) -> bytes:
        """The X25519 public key that the roster carries, 32 bytes."""
        public = self.encryption_key.public_key()
        return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def exist(home: Path) -> bool:
    """Has this home an identity?"""
    return (home / KEYS / IDENTITY).is_file()


def create(home: Path, entropy: Callable[[int], bytes] = secrets.token_bytes) -> NodeKeys:
    """Make all keys of a new member.

    Raises:
        LocalError: there are keys already (they are never overwritten), disk full.
    """
    folder = home / KEYS
    if folder.exists() or (home / SWITCHING).exists():
        raise LocalError(
            "there are keys here already; keys are never overwritten.",
            code=Code.USAGE,
            where=str(folder),
            fix="Use another --home for another member.",
        )
    made = _new(entropy, customer_secret=entropy(32), vault=vault_key.new(entropy))
    _store(home, folder, made, {})
    return made


def create_next(
    home: Path, own: NodeKeys, entropy: Callable[[int], bytes] = secrets.token_bytes
) -> NodeKeys:
    """Make the keys that are to take the place of ``own``, complete in ``keys.next``.

    Customers keep their pseudonyms, the audit log its key, and what was sealed to the earlier
    encryption keys can still be opened.
    """
    made = replace(
        _new(entropy, customer_secret=own.customer_secret, vault=own.vault),
        journal_seed=own.journal.seed,
        earlier=(own.encryption, *own.earlier),
    )
    carried = {
        name: files.read(home / KEYS / name)
        for name in (CA, RESTORED)
        if (home / KEYS / name).is_file()
    }
    _store(home, home / NEXT, made, carried)
    return made


def _new(entropy: Callable[[int], bytes], *, customer_secret: bytes, vault: VaultKey) -> NodeKeys:
    identity = SigningKey(entropy(32))
    tls_key = ec.generate_private_key(ec.SECP256R1())
    return NodeKeys(
        identity=identity,
        customer_secret=customer_secret,
        tls_key_pem=tls_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        csr_pem=_request(tls_key, identity_of(identity.public)),
        encryption=entropy(32),
        vault=vault,
    )


def _store(home: Path, folder: Path, made: NodeKeys, carried: Mapping[str, bytes]) -> None:
    """Write a whole folder under another name and rename it once."""
    making = home / f".{folder.name}.making"
    shutil.rmtree(making, ignore_errors=True)
    files.make_folder(home)
    files.make_folder(making)
    files.write(making / IDENTITY, _hex(made.identity.seed))
    files.write(making / CUSTOMER, _hex(made.customer_secret))
    files.write(making / ENCRYPTION, _hex(made.encryption))
    vault_key.store(making, made.vault)
    files.write(making / TLS_KEY, made.tls_key_pem)
    files.write(making / TLS_REQUEST, made.csr_pem, 0o644)
    if made.journal_seed is not None:
        files.write(making / JOURNAL, _hex(made.journal_seed))
    for number, seed in enumerate(made.earlier, 1):
        files.write(making / f"encryption-{number}.key", _hex(seed))
    for name, content in carried.items():
        files.write(making / name, content, 0o644 if name == CA else 0o600)
    with files.disk(folder):
        making.rename(folder)
        files.sync_folder(home)


def _hex(secret: bytes) -> bytes:
    return secret.hex().encode() + b"\n"


def load(home: Path) -> NodeKeys:
    """Read the keys; LocalError if there are none, one is damaged or readable by others."""
    folder = home / KEYS
    if (home / SWITCHING).is_file():
        raise LocalError(
            "this node is changing to its new keys, or was interrupted while it did.",
            code=Code.UNAVAILABLE,
            where=str(folder),
            fix="Run 'coop-node key renew' (or 'coop-node start') to finish it.",
        )
    if not exist(home):
        raise LocalError(
            "this node has no keys yet.",
            code=Code.NOT_ENROLLED,
            where=str(folder),
            fix="Run 'coop-node init', or name the right folder with --home.",
        )
    return load_from(folder)


def load_from(folder: Path) -> NodeKeys:
    """Read a folder of keys; LocalError if one is missing, damaged or readable by others."""
    identity = SigningKey(_secret(folder / IDENTITY))
    if not (folder / ENCRYPTION).exists():  # a folder or a backup of before there was one
        files.write(folder / ENCRYPTION, _hex(secrets.token_bytes(32)))
    tls_key_pem = _private(folder / TLS_KEY)
    _load_tls_key(tls_key_pem, folder / TLS_KEY)
    return NodeKeys(
        identity=identity,
        customer_secret=_secret(folder / CUSTOMER),
        tls_key_pem=tls_key_pem,
        csr_pem=files.read(folder / TLS_REQUEST),
        encryption=_secret(folder / ENCRYPTION),
        vault=_vault(folder),
        journal_seed=_secret(folder / JOURNAL) if (folder / JOURNAL).exists() else None,
        earlier=tuple(_secret(file) for file in _earlier(folder)),
    )


def _vault(folder: Path) -> VaultKey:
    """The vault's key; keys that wait for a renewal are given that of now."""
    sealed = (folder.parent / SEALED).exists()
    now = folder.parent / KEYS
    if folder.name == NEXT and now.is_dir():
        vault_key.carry(now, vault_key.load(now, sealed=sealed), folder)
    return vault_key.load(folder, sealed=sealed)


def _earlier(folder: Path) -> list[Path]:
    """Encryption keys of before, the newest first."""
    found = [folder / f"encryption-{number}.key" for number in range(1, MAX_EARLIER + 1)]
    return [file for file in found if file.exists()]


def tls_public(keys: NodeKeys) -> ec.EllipticCurvePublicKey:
    """The public half of the TLS key, to compare certificates with."""
    return _load_tls_key(keys.tls_key_pem, Path(TLS_KEY)).public_key()


def restored_at(home: Path) -> datetime | None:
    """When these keys came back from a backup, or None.

    Rounds that were spent after the backup was made are not remembered here, so this node takes
    part only in runs ordered after this moment.
    """
    file = home / KEYS / RESTORED
    if not file.exists():
        return None
    value = parse_json(files.read(file), str(file))
    try:
        moment = datetime.fromisoformat(value["restored_at"])
    except (KeyError, TypeError, ValueError) as error:
        raise LocalError(
            "the note about the last restore is damaged; which rounds are spent is unknown.",
            where=str(file),
            fix="Restore the backup again into an empty folder.",
        ) from error
    return moment.astimezone(UTC)


def _request(key: ec.EllipticCurvePrivateKey, member: MemberId) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, member)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return request.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def _private(file: Path) -> bytes:
    files.require_private(file)
    return files.read(file)


def _secret(file: Path) -> bytes:
    try:
        secret = bytes.fromhex(_private(file).decode("ascii").strip())
    except ValueError as error:
        raise _damaged(file) from error
    if len(secret) != 32:
        raise _damaged(file)
    return secret


def _load_tls_key(pem: bytes, file: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _damaged(file) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise _damaged(file)
    return key


def _damaged(file: Path) -> LocalError:
    return LocalError(
        "this key file is damaged.",
        where=str(file),
        fix="Restore the keys from your backup ('coop-node restore').",
    )
