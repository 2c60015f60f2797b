"""Who has signed what, and when; whose key runs out; who is away. For people and programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from coordinator.members.agreements import AGREEMENT, CURRENT, ROSTER, Agreements
from coordinator.members.agreements import Standing as Signed
from coordinator.members.life import ended
from coordinator.store.database import Database
from coordinator.store.documents import Documents, Signatures
from coordinator.store.members import Member, Members, Status
from coordinator.store.settings import Settings
from protocols.agreement.membership import Presence
from protocols.agreement.parse import ParsedAgreement, read_agreement
from protocols.agreement.roster import ParsedRoster, read_roster
from protocols.agreement.status import Due, Standing, State, Urgency, status, warnings
from protocols.canonical import parse_json
from protocols.ids import MemberId


@dataclass(frozen=True, slots=True)
class Cell:
    """One member's part in one document; ``signed_at`` None: its signature is missing."""

    member: MemberId
    name: str
    signed_at: datetime | None
    key_until: datetime | None
    presence: str  # "here", "suspended", "leaves 2027-01-31", "left", "removed"


@dataclass(frozen=True, slots=True)
class Sheet:
    """One document with the line of every member whose signature counts."""

    kind: str
    id: str
    state: State
    sentence: str
    needed: int
    complete: bool
    cells: tuple[Cell, ...]

    def to_json(self) -> dict[str, Any]:
        """For ``agreement status --json``."""
        return {
            "kind": self.kind,
            "id": self.id,
            "state": self.state.value,
            "sentence": self.sentence,
            "needed": self.needed,
            "in_force": self.state is State.IN_FORCE or (self.kind == ROSTER and self.complete),
            "signed": [one.name for one in self.cells if one.signed_at is not None],
            "missing": [one.name for one in self.cells if one.signed_at is None],
            "members": [
                {
                    "id": one.member,
                    "name": one.name,
                    "signed_at": one.signed_at.isoformat() if one.signed_at else None,
                    "key_until": one.key_until.isoformat() if one.key_until else None,
                    "presence": one.presence,
                }
                for one in self.cells
            ],
        }


@dataclass(frozen=True, slots=True)
class Matrix:
    """Every document that is proposed or in force, and what runs out soon."""

    sheets: tuple[Sheet, ...]
    warnings: tuple[Due, ...]


def matrix(database: Database, agreements: Agreements, now: datetime) -> Matrix:
    """The whole matrix as of ``now``."""
    standings = agreements.standings()
    with database.read() as db:
        people = {one.id: one for one in Members(db).list()}
        bodies = {one.id: Documents(db).get(one.id) for one in standings}
        times = {one.id: Signatures(db).times(one.id) for one in standings}
        endings = {one.id: ended(db, one.id) for one in standings if one.kind == AGREEMENT}
        current = {kind: Settings(db).get(name) for kind, name in CURRENT.items()}
    rosters: dict[str, ParsedRoster] = {}
    terms: dict[str, ParsedAgreement] = {}
    for name, document in bodies.items():
        if document is not None and document.kind == ROSTER:
            rosters[name] = read_roster(parse_json(document.body, ROSTER), ROSTER)
        elif document is not None:
            terms[name] = read_agreement(parse_json(document.body, AGREEMENT), AGREEMENT)
    listed = rosters.get(current[ROSTER] or "") or next(iter(rosters.values()), None)
    until = _key_dates(database, [*rosters.values(), *([listed] if listed else [])])
    sheets = []
    for one in standings:
        cells = _cells(one, people, times[one.id], until, now)
        state, sentence = _state(one, terms.get(one.id), endings.get(one.id), current, now)
        sheets.append(Sheet(one.kind, one.id, state, sentence, one.needed, one.complete, cells))
    in_force = terms.get(current[AGREEMENT] or "")
    return Matrix(
        tuple(sheets),
        warnings(in_force.terms if in_force else None, listed.roster if listed else None, now),
    )


def urgent(found: Matrix) -> tuple[Due, ...]:
    """What a person has to act on: within 30 days, or over."""
    return tuple(one for one in found.warnings if one.urgency is not Urgency.SOON)


def presence_of(member: Member, now: datetime) -> str:
    """One or two words for a table."""
    known = Presence(member.suspended_since, member.leaving_at)
    if member.status is Status.REMOVED:
        return "removed"
    if known.leaving_at is not None:
        return "left" if now >= known.leaving_at else f"leaves {known.leaving_at:%Y-%m-%d}"
    return "suspended" if known.suspended_since is not None else "here"


def _key_dates(database: Database, rosters: Sequence[ParsedRoster]) -> dict[str, datetime]:
    """Until when each key is good, as the last of these rosters that lists it says.

    Whose signatures count for a roster stands in the one before, with keys renewed since.
    """
    with database.read() as db:
        found = [Documents(db).get(one.roster.prev) for one in rosters if one.roster.prev]
    before = [read_roster(parse_json(one.body, ROSTER), ROSTER) for one in found if one is not None]
    return {one.id: one.not_after for epoch in (*before, *rosters) for one in epoch.roster.members}


def _cells(
    standing: Signed,
    people: Mapping[MemberId, Member],
    times: Mapping[str, datetime],
    until: Mapping[str, datetime],
    now: datetime,
) -> tuple[Cell, ...]:
    out = []
    for name in sorted((*standing.signed, *standing.missing)):
        known = people.get(name)
        out.append(
            Cell(
                name,
                known.profile.name if known else name[:16],
                times.get(name),
                until.get(name),
                presence_of(known, now) if known else "not known",
            )
        )
    return tuple(sorted(out, key=lambda cell: (cell.name, cell.member)))


def _state(
    standing: Signed,
    parsed: ParsedAgreement | None,
    ending: str | None,
    current: Mapping[str, str | None],
    now: datetime,
) -> tuple[State, str]:
    if parsed is None:  # a roster
        if standing.id == current[ROSTER]:
            return State.IN_FORCE, f"Signed by {len(standing.signed)}, {standing.needed} needed."
        state = State.SIGNING if standing.signed else State.PROPOSED
        return state, f"{len(standing.signed)} of {standing.needed} needed signatures."
    members = frozenset((*standing.signed, *standing.missing))
    found = status(
        parsed.terms,
        Standing(True, frozenset(standing.signed), members, False, ending is not None),
        now,
    )
    return found.state, found.sentence
