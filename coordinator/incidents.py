"""Incidents: the clock of clause 25, the letters to members, and the switch that stops runs.

A step is signed by the operator, written to the log, kept as a document and only then sent. An
incident that freezes ends every open run in the same breath; until it is closed the launch gate
says no, here and on every node that has the letter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection

from coordinator.store.documents import Document, Documents
from coordinator.store.incidents import Incident, Incidents
from coordinator.store.mail import Mail
from coordinator.store.members import Members, Status
from coordinator.store.runs import Runs
from coordinator.wiring import House
from protocols.agreement.duties import MAX_NOTIFY_HOURS
from protocols.agreement.incident import NEXT, ParsedIncident, State, make_incident, read_incident
from protocols.agreement.order import OPERATOR
from protocols.agreement.terms import Incidents as Clause
from protocols.audit.entries import MAX_NOTE, Fact, Kind
from protocols.canonical import json_bytes, parse_json
from protocols.errors import Refused
from protocols.ids import RunId
from protocols.plain import printable
from protocols.signing import jws_payload, jws_sign

INCIDENT = "incident"
Entropy = Callable[[int], bytes]


def open_incident(
    house: House, *, what: str, freeze: bool, entropy: Entropy, by: str | None = None
) -> tuple[Incident, tuple[RunId, ...]]:
    """Write an incident down and start its clock; with ``freeze``, stop everything.

    Where clause 25 says that runs stop while an incident is open, it freezes in any case.

    Returns:
        The incident, and the runs that were ended.

    Raises:
        InputError: ``what`` is empty, too long or several lines.
    """
    now = house.clock()
    parsed = house.agreement()
    clause = None if parsed is None else parsed.terms.block("c25", Clause)
    hours = MAX_NOTIFY_HOURS if clause is None else clause.notify_hours
    incident = Incident(
        incident=entropy(16).hex(),
        what=what,
        freeze=freeze or (clause is not None and clause.freeze),
        opened_at=now,
        notify_by=now + timedelta(hours=hours),
    )
    with house.database.read() as db:
        waiting = Runs(db).list(open_only=True)
    step = _step(house, incident, "opened", what)
    _log(house, step, by)
    with house.database.write() as db:
        Incidents(db).add(incident)
        _keep(house, db, step, send=incident.freeze)
        if incident.freeze:  # also what was launched since we looked
            waiting = Runs(db).list(open_only=True)
    if not incident.freeze:
        return incident, ()
    why = f"incident {incident.incident[:8]} freezes all runs (clause 25)"
    with house.log() as log:
        ended = tuple(one.run for one in waiting if house.abort(one, why, log.append))
    return incident, ended


def notify(
    house: House, incident: Incident, *, what: str = "", by: str | None = None
) -> tuple[int, bool]:
    """Tell every member; how many were told, and whether it was in time.

    Raises:
        Refused: it was told or closed before.
    """
    _check(incident, "notified")
    now = house.clock()
    step = _step(house, incident, "notified", what or incident.what)
    _log(house, step, by)
    with house.database.write() as db:
        Incidents(db).notified(incident.incident, now)
        told = _keep(house, db, step, send=True)
    return told, now <= incident.notify_by


def close(house: House, incident: Incident, *, by: str | None = None) -> None:
    """It is over: runs may start again.

    Raises:
        Refused: the members were never told of it, or it is closed.
    """
    _check(incident, "closed")
    step = _step(house, incident, "closed", incident.what)
    _log(house, step, by)
    with house.database.write() as db:
        Incidents(db).closed(incident.incident, house.clock())
        _keep(house, db, step, send=True)


def deliver(house: House) -> int:
    """Open incidents for members that joined since; how many letters were posted."""
    with house.database.read() as db:
        waiting = Incidents(db).list(open_only=True)
    if not waiting:
        return 0
    now, count = house.clock(), 0
    with house.database.write() as db:
        known = {one.incident for one in Incidents(db).list(open_only=True)}
        for document in Documents(db).list(INCIDENT):
            have = Mail(db).holders(INCIDENT, document.id)
            step = read_incident(jws_payload(parse_json(document.body, INCIDENT), INCIDENT), "step")
            if not have or step.incident.incident not in known:
                continue
            for member in Members(db).list(Status.ACTIVE):
                if member.id not in have:
                    body = document.body
                    Mail(db).post(
                        member.id, kind=INCIDENT, document=document.id, body=body, now=now
                    )
                    count += 1
    return count


def check_not_frozen(db: Connection) -> None:
    """Inside the transaction that launches a run: Refused if an incident freezes everything."""
    for one in Incidents(db).list(open_only=True):
        if one.freeze:
            raise Refused(
                f"incident {one.incident[:8]} is open and freezes all runs: {one.what}",
                clauses=("c25",),
                fix="Close it when it is over: incident notify, then incident close.",
            )


def _check(incident: Incident, state: State) -> None:
    allowed: tuple[State, ...] = next(
        after for before, after in NEXT.items() if before == incident.state
    )
    if state in allowed:
        return
    told = incident.state == "opened" and state == "closed"
    raise Refused(
        f"incident {incident.incident[:8]} is {incident.state}; it cannot become {state}.",
        clauses=("c25",),
        fix="Tell the members first: incident notify." if told else "'incident list' shows all.",
    )


@dataclass(frozen=True, slots=True)
class _Step:
    """One step, signed before anything is written: the operator's key may be on another disk."""

    parsed: ParsedIncident
    signed: bytes


def _step(house: House, incident: Incident, state: State, what: str) -> _Step:
    parsed = make_incident(
        coop=house.office.public.coop,
        incident=incident.incident,
        state=state,
        freeze=incident.freeze,
        what=what,
        at=house.clock(),
    )
    return _Step(parsed, json_bytes(jws_sign(parsed.document, OPERATOR, house.operator_key())))


def _log(house: House, step: _Step, by: str | None) -> None:
    one = step.parsed.incident
    facts: dict[str, Fact] = {
        "incident": one.incident,
        "state": one.state,
        "freeze": one.freeze,
        "document": step.parsed.id,
        "note": printable(one.what, MAX_NOTE),
    }
    if by is not None:
        facts |= {"role": OPERATOR, "by": by}
    with house.log() as log:
        log.append(Kind.INCIDENT, facts)


def _keep(house: House, db: Connection, step: _Step, *, send: bool) -> int:
    """Store the signed step and post it to every member; how many."""
    name, body, now = step.parsed.id, step.signed, house.clock()
    Documents(db).add(Document(name, INCIDENT, body, now))
    members = Members(db).list(Status.ACTIVE) if send else ()
    for member in members:
        Mail(db).post(member.id, kind=INCIDENT, document=name, body=body, now=now)
    return len(members)
