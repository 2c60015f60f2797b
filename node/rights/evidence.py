"""Signed statements about rights that were carried out, for an authority or for the person.

    {"kind": "datacoop/rights-evidence", "v": 1, "member": "ab..", "key": "9f..",
     "request": "3fa90c1e", "asks": "erase", "outcome": "done", "subject": "77..", "at": "2026-..",
     "received_at": "..", "due": "..", "identity_checked_at": "..", "facts": {...}}

A statement is a JWS JSON General by the member's identity key over the RFC 8785 form, so section
3 of ``protocols/agreement/VERIFY.md`` checks it with openssl. Its name is the SHA-256 of what was
signed; that name stands in the journal. It names nobody: ``subject`` is the person's mark under
this member's own secret (``node.store.requests.mark_of``), and the facts are figures and hashes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from node import files
from protocols.agreement.base import parse_utc, utc_text
from protocols.canonical import Json, json_bytes, json_id, parse_json
from protocols.errors import Code, InputError
from protocols.signing import SigningKey, identity_of, jws_payload, jws_sign, jws_verify

KIND: Final = "datacoop/rights-evidence"
FOLDER: Final = "rights"
MAX_EVIDENCE_BYTES: Final = 256 * 1024
_NAME = re.compile(r"[0-9a-f]{8}-[a-z]+\.json")
_HEX = re.compile(r"[0-9a-f]{64}")
_FIELDS: Final = frozenset(
    {"kind", "v", "member", "key", "request", "asks", "outcome", "subject", "at"}
    | {"received_at", "due", "identity_checked_at", "agreement", "facts"}
)


@dataclass(frozen=True, slots=True)
class Statement:
    """What is said about one request.

    Args:
        request: its id; ``asks``: the kind; ``outcome``: done or refused.
        subject: the person's mark, 64 hex digits.
        at: when it was carried out; ``received_at``, ``due``: the clock of clause 12.
        identity_checked_at: when it was entered how the person was recognised; None if nobody did.
        agreement: id of the version whose times were kept, or None.
        facts: figures, hashes and our own sentences.
    """

    request: str
    asks: str
    outcome: str
    subject: str
    at: datetime
    received_at: datetime
    due: datetime
    identity_checked_at: datetime | None
    agreement: str | None
    facts: Mapping[str, Any]

    def document(self, key: SigningKey) -> dict[str, Any]:
        """What is signed."""
        checked = self.identity_checked_at
        return {
            "kind": KIND,
            "v": 1,
            "member": identity_of(key.public),
            "key": key.public.hex(),
            "request": self.request,
            "asks": self.asks,
            "outcome": self.outcome,
            "subject": self.subject,
            "at": utc_text(self.at),
            "received_at": utc_text(self.received_at),
            "due": utc_text(self.due),
            "identity_checked_at": utc_text(checked) if checked is not None else None,
            "agreement": self.agreement,
            "facts": dict(self.facts),
        }


@dataclass(frozen=True, slots=True)
class Evidence:
    """A statement with its signature: the name (64 hex digits) and the bytes of the file."""

    name: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Checked:
    """A statement whose signature holds; ``member`` is the id that follows from the key."""

    name: str
    member: str
    key: bytes
    document: Json

    def lines(self) -> tuple[str, ...]:
        """For people."""
        one = self.document
        checked = one["identity_checked_at"]
        return (
            f"statement {self.name}",
            f"signed by member {self.member}, key {self.key.hex()}",
            f"request {one['request']} ({one['asks']}), received {one['received_at']}, due "
            f"{one['due']}: {one['outcome']} at {one['at']}",
            f"the person was recognised, entered {checked}"
            if checked
            else "nobody's identity was checked",
        )


def sign(statement: Statement, key: SigningKey) -> Evidence:
    """The statement, signed with the member's identity key."""
    document = statement.document(key)
    signed = jws_sign(document, document["member"], key)
    return Evidence(json_id(document), json_bytes(signed))


def verify(raw: bytes, where: str, *, key: bytes | None = None) -> Checked:
    """Check a statement from its bytes alone.

    Args:
        raw: the file.
        where: its name, for errors.
        key: the member's public key as the caller knows it; None takes the one in the statement,
            and then the caller compares ``Checked.key`` with one that it has from elsewhere.

    Raises:
        InputError: malformed, another key, or the signature does not hold.
    """
    signed = parse_json(raw, where)
    document = jws_payload(signed, where)
    if set(document) != _FIELDS or (document["kind"], document["v"]) != (KIND, 1):
        raise InputError("this is not evidence of a customer's right.", where=where)
    if not isinstance(document["key"], str) or not _HEX.fullmatch(document["key"]):
        raise InputError("the key in this statement is not one.", where=where, code=Code.TAMPERED)
    public = bytes.fromhex(document["key"])
    if key is not None and public != key:
        raise InputError(
            "this statement was signed with another key than the one you know.",
            where=where,
            code=Code.TAMPERED,
        )
    member = identity_of(public)
    jws_verify(signed, {member: public}, where)
    _require_shape(document, member, where)
    return Checked(json_id(document), member, public, document)


def _require_shape(document: Json, member: str, where: str) -> None:
    """What readers rely on; InputError otherwise."""
    try:
        for name in ("at", "received_at", "due"):
            parse_utc(document[name])
        if document["identity_checked_at"] is not None:
            parse_utc(document["identity_checked_at"])
        good = (
            document["member"] == member
            and isinstance(document["subject"], str)
            and _HEX.fullmatch(document["subject"]) is not None
            and all(isinstance(document[name], str) for name in ("request", "asks", "outcome"))
            and isinstance(document["facts"], dict)
        )
    except ValueError as error:
        raise InputError(f"a date in this statement is none: {error}.", where=where) from error
    if not good:
        raise InputError("this statement says something else than its form.", where=where)


def keep(home: Path, statement: Statement, evidence: Evidence) -> Path:
    """Write the file ``rights/<request>-<kind>.json`` below the home; the same bytes stay."""
    folder = home / FOLDER
    files.make_folder(folder)
    path = folder / f"{statement.request}-{statement.asks}.json"
    files.write(path, evidence.raw)
    return path


def kept(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every evidence file of a folder, by name."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if _NAME.fullmatch(path.name) and path.is_file():
            yield path, files.read(path, MAX_EVIDENCE_BYTES)
