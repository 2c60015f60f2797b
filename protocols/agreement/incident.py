"""What the office tells its members about an incident, signed by the operator (SPEC.md section 8).

One document for each step of an incident: ``opened``, then ``notified``, then ``closed``. The
server alone can neither freeze nor thaw a cooperative: the key that signs orders signs these.

A document:

    {"kind": "datacoop/incident", "v": 1, "coop": "c0..", "incident": "1f..", "state": "opened",
     "freeze": true, "what": "A laptop of the office was stolen.", "at": "2026-03-01T08:00:00Z"}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from protocols.agreement.base import Document, Hex32, Hex64, One, Text, Utc, utc_text
from protocols.agreement.order import OPERATOR
from protocols.agreement.parse import validated
from protocols.canonical import Json, json_id
from protocols.errors import Code, InputError
from protocols.signing import jws_payload, jws_verify

KIND = "datacoop/incident"
MAX_WHAT = 500
State = Literal["opened", "notified", "closed"]
NEXT: Mapping[State, tuple[State, ...]] = {
    "opened": ("notified",),  # what members were not told of cannot be closed
    "notified": ("closed",),
    "closed": (),
}
_RANK: Mapping[State, int] = {"opened": 0, "notified": 1, "closed": 2}


def _one_line(text: str) -> str:
    if "\n" in text or len(text) > MAX_WHAT:
        raise ValueError(f"expected one line of at most {MAX_WHAT} characters")
    return text


class Incident(Document):
    """One step of one incident. ``freeze``: no run while it is open."""

    kind: Literal["datacoop/incident"]
    v: One
    coop: Hex64
    incident: Hex32
    state: State
    freeze: bool
    what: Annotated[Text, AfterValidator(_one_line), Field(description="in the operator's words")]
    at: Utc


@dataclass(frozen=True, slots=True)
class ParsedIncident:
    """A well-formed step; nobody's signature is implied."""

    id: str  # SHA-256 of the canonical document, 64 hex digits
    document: Json
    incident: Incident


def make_incident(
    *, coop: str, incident: str, state: State, freeze: bool, what: str, at: datetime
) -> ParsedIncident:
    """A new step; InputError if a field is out of range."""
    document: dict[str, Any] = {
        "kind": KIND,
        "v": 1,
        "coop": coop,
        "incident": incident,
        "state": state,
        "freeze": freeze,
        "what": what,
        "at": utc_text(at),
    }
    return read_incident(document, "new incident")


def read_incident(document: Json, where: str) -> ParsedIncident:
    """A step from a JSON object; InputError naming the field."""
    return ParsedIncident(json_id(document), document, validated(Incident, document, where))


def verify_incident(signed: Json, *, coop: str, operator_key: bytes, where: str) -> ParsedIncident:
    """A step from its JWS.

    Args:
        signed: JWS JSON General with the operator's signature alone.
        coop: the cooperative that this is for, 64 hex digits.
        operator_key: as clause 5 of the agreement in force names it, 32 bytes.

    Raises:
        InputError: malformed, of another cooperative, or not signed by the operator.
    """
    jws_verify(signed, {OPERATOR: operator_key}, where)
    parsed = read_incident(jws_payload(signed, where), where)
    if parsed.incident.coop != coop:
        raise InputError(
            f"this incident is of cooperative {parsed.incident.coop[:16]}, not of {coop[:16]}.",
            where=where,
            code=Code.TAMPERED,
        )
    return parsed


def newest(steps: Iterable[Incident]) -> tuple[Incident, ...]:
    """The last step of each incident, oldest first; an old letter that comes again undoes nothing.

    The state alone orders the steps: their instants are the operator's claim.
    """
    last: dict[str, Incident] = {}
    for one in steps:
        known = last.get(one.incident)
        if known is None or _RANK[one.state] > _RANK[known.state]:
            last[one.incident] = one
    return tuple(sorted(last.values(), key=lambda one: (one.at, one.incident)))


def frozen(steps: Iterable[Incident]) -> str:
    """Why no run may start now, as ``Facts.frozen`` says it; empty if nothing is frozen.

    An incident freezes if any of its steps said so, until it is closed.
    """
    listed = tuple(steps)
    freezing = {one.incident for one in listed if one.freeze}
    open_ones = [
        one for one in newest(listed) if one.state != "closed" and one.incident in freezing
    ]
    if not open_ones:
        return ""
    first = open_ones[0]
    since = min(one.at for one in listed if one.incident == first.incident)
    more = f" (and {len(open_ones) - 1} more)" if len(open_ones) > 1 else ""
    return (
        f"incident {first.incident[:8]} is open since {utc_text(since)}: {first.what[:200]}{more}"
    )
