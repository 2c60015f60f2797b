"""Incidents on this node: letters of the operator, and whether they freeze runs here.

Only the operator's key can freeze or thaw, not the server's. A letter that is held back cannot
thaw anything: what is open here stays open until a signed ``closed`` comes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import Connection

from node.policy.evidence import Me
from node.policy.versions import governing
from node.store.database import Database
from node.store.incidents import Incidents, StoredIncident
from protocols.agreement.incident import Incident, ParsedIncident, read_incident, verify_incident
from protocols.agreement.incident import frozen as frozen_by
from protocols.agreement.terms import Governance, Terms
from protocols.agreement.terms import Incidents as IncidentTerms
from protocols.canonical import json_bytes, parse_json
from protocols.errors import InputError, Refused
from protocols.signing import jws_payload

Journal = Callable[[str, Mapping[str, object]], None]
LETTER = "incident"  # kind of the letter


def receive(
    database: Database,
    coop: str,
    me: Me,
    body: bytes,
    journal: Journal,
    now: datetime,
    pinned: bytes | None = None,
) -> ParsedIncident:
    """Keep a letter about an incident; the same again changes nothing.

    Args:
        database: the node's.
        coop: this cooperative.
        me: this member.
        body: the signed letter.
        journal: appends one entry (kind, facts).
        now: aware UTC.
        pinned: the operator's key as it was pinned at enrolment, for a member that has signed no
            agreement yet: an incident that is open now has to freeze its first run as well.

    Raises:
        InputError: not of this cooperative, not signed by the operator whose key stands in
            clause 5 of the agreement in force that this member signed, or not readable.
    """
    signed = parse_json(body, LETTER)
    with database.read() as connection:
        mine = governing(connection, me, now)
    block = mine.terms.block("c05", Governance) if mine is not None else None
    key = bytes.fromhex(block.operator_key) if block is not None else pinned
    if key is None:
        raise InputError(
            "a letter about an incident came before this member signed an agreement.",
            where=LETTER,
            fix="Read and sign the agreement: coop-node agreement show.",
        )
    parsed = verify_incident(signed, coop=coop, operator_key=key, where=LETTER)
    one = parsed.incident
    with database.write() as connection:
        new = Incidents(connection).add(
            StoredIncident(
                one.incident, one.state, one.freeze, one.what, one.at, json_bytes(signed), now
            )
        )
    if new:
        facts = {"incident": one.incident, "state": one.state, "freeze": one.freeze}
        journal("incident", facts)
    return parsed


def keeper(
    database: Database,
    coop: str,
    me: Me,
    journal: Journal,
    clock: Callable[[], datetime],
    pinned: bytes | None = None,
) -> Callable[[bytes], str]:
    """``receive`` as the mailroom wants it: a letter's body in, what it is called out."""

    def keep(body: bytes) -> str:
        one = receive(database, coop, me, body, journal, clock(), pinned).incident
        return f"{one.incident[:8]} {one.state}"

    return keep


def refuse_if_frozen(connection: Connection, terms: Terms) -> None:
    """Refused while an incident is open that freezes runs, where clause 25 says so."""
    block, why = terms.block("c25", IncidentTerms), frozen(connection)
    if why and (block is None or block.freeze):
        raise Refused(
            f"runs are frozen: {why}.",
            clauses=("c25",),
            fix="Wait until the operator has closed the incident: coop-node incidents.",
        )


def steps(connection: Connection) -> tuple[Incident, ...]:
    """Every step that is kept, read again from the signed bytes."""
    return tuple(
        read_incident(jws_payload(parse_json(one.jws, LETTER), LETTER), LETTER).incident
        for one in Incidents(connection).list()
    )


def frozen(connection: Connection) -> str:
    """Why runs are frozen on this node, or nothing.

    A letter that cannot be read any more freezes as well: nobody can say what it said.
    """
    try:
        return frozen_by(steps(connection))
    except InputError as error:
        return f"a letter about an incident is damaged here ({error.problem})"
