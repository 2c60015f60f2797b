"""The document that takes a released model back (protocols/SPEC.md section 4).

The operator signs it, and an approver too if clause 5 names "revoke". A node that has verified it
never uses the model again: there is no document that undoes it, a model that is wanted back is
released again by another run.

A document:

    {"kind": "datacoop/revocation", "v": 1, "coop": "c0..", "model": "5d..", "run": "1f..",
     "reason": "Two shops had sent test data.", "issued": "2026-03-01T08:00:00Z"}
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator

from protocols.agreement.base import Document, Hex32, Hex64, One, Text, Utc, utc_text
from protocols.agreement.blocks import Governance
from protocols.agreement.parse import validated
from protocols.agreement.second import may_sign, still_missing
from protocols.canonical import Json, json_id
from protocols.errors import Code, InputError, Refused
from protocols.signing import jws_payload, jws_verify

KIND = "datacoop/revocation"
MAX_REASON = 500


def _one_line(text: str) -> str:
    if "\n" in text or len(text) > MAX_REASON:
        raise ValueError(f"expected one line of at most {MAX_REASON} characters")
    return text


class Revocation(Document):
    """A model that may not be used any more, and why."""

    kind: Literal["datacoop/revocation"]
    v: One
    coop: Hex64
    model: Hex64
    run: Hex32
    reason: Annotated[Text, AfterValidator(_one_line)]
    issued: Utc


@dataclass(frozen=True, slots=True)
class ParsedRevocation:
    """A well-formed revocation; nobody's signature is implied."""

    id: str  # SHA-256 of the canonical document, 64 hex digits
    document: Json
    revocation: Revocation


def make_revocation(
    *, coop: str, model: str, run: str, reason: str, issued: datetime
) -> ParsedRevocation:
    """A new revocation, not yet signed; InputError if a field is out of range."""
    document: dict[str, Any] = {
        "kind": KIND,
        "v": 1,
        "coop": coop,
        "model": model,
        "run": run,
        "reason": reason,
        "issued": utc_text(issued),
    }
    return read_revocation(document, "new revocation")


def read_revocation(document: Json, where: str) -> ParsedRevocation:
    """A revocation from a JSON object; InputError naming the field."""
    return ParsedRevocation(json_id(document), document, validated(Revocation, document, where))


def verify_revocation(
    signed: Json, governance: Governance, *, coop: str, where: str
) -> ParsedRevocation:
    """A revocation with every signature that clause 5 asks for.

    Args:
        signed: JWS JSON General.
        governance: clause 5 of the agreement that counts.
        coop: the cooperative, 64 hex digits.

    Raises:
        InputError: malformed, of another cooperative, a stranger's signature, or one that does
            not verify.
        Refused: the signature of the operator or of a second person is missing.
    """
    kids = jws_verify(signed, may_sign(governance, "revoke"), where)
    parsed = read_revocation(jws_payload(signed, where), where)
    if parsed.revocation.coop != coop:
        raise InputError(
            f"this revocation is of cooperative {parsed.revocation.coop[:16]}, not of {coop[:16]}.",
            code=Code.TAMPERED,
            where=where,
        )
    missing = still_missing(governance, "revoke", kids)
    if missing:
        raise Refused(
            f"the revocation lacks the signature of {' and '.join(missing)}.",
            clauses=("c05",),
            fix="Add it with 'coop-coordinator release revoke'.",
        )
    return parsed
