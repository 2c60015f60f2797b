"""Restriction (GDPR art. 18), objection (art. 21), and ending either.

Both are a no to every purpose of this node at once, also to weekly sums that name nobody, and
count before the next run reads its first row. They end only by a request of the person, with a
reason: the answer that counted before comes back, and where there was none the person stays out
until a yes is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from node.policy.subjects import said
from node.rights.case import Case, Finished
from node.rights.trained import runs_of
from node.store.consents import Consents, Event, State
from node.store.requests import CustomerRequest, RequestKind
from protocols.errors import InputError

SAYS_NO: Final[Mapping[RequestKind, State]] = {
    RequestKind.OBJECT: State.OBJECTED,
    RequestKind.RESTRICT: State.RESTRICTED,
}
_LIFTED: Final = frozenset(SAYS_NO.values())


@dataclass(frozen=True, slots=True)
class Answered:
    """What counts now, by purpose, and how the request ended."""

    states: Mapping[str, State]
    finished: Finished


def at_once(case: Case, one: CustomerRequest) -> bool:
    """Let an objection count from when it is entered, before anybody carries it out; whether it
    was one. A restriction waits: it can be refused."""
    if one.kind is not RequestKind.OBJECT:
        return False
    state = SAYS_NO[one.kind]
    _enter(case, one, [_event(one, scope, state) for scope in sorted(case.consents.purposes)])
    return True


def say_no(case: Case, prefix: str, kind: RequestKind) -> Answered:
    """Enter the person's no for every purpose, at once or not at all.

    Args:
        case: of the node.
        prefix: first digits of an open request.
        kind: ``OBJECT`` or ``RESTRICT``.

    Raises:
        InputError: no such open request.
    """
    one, state = case.take(prefix, kind), SAYS_NO[kind]
    no = dict.fromkeys(sorted(case.consents.purposes), state)
    _enter(case, one, [_event(one, scope, found) for scope, found in no.items()])
    runs = [found.run for found in runs_of(case, one.customer_key)]
    told = case.tell_office(one, "restricted", runs) if kind is RequestKind.RESTRICT else 0
    facts = {"purposes": list(no), "state": state.value, "runs_told": told}
    how = f"{state.value} for every purpose: {', '.join(no)}"
    return Answered(no, case.finish(one, how[:200], facts, subject=case.mark(one.customer_key)))


def lift(case: Case, prefix: str, reason: str) -> Answered:
    """End the person's restriction or objection at the person's own request.

    Raises:
        InputError: no such open request, no reason, or nothing to lift.
        Refused: nobody wrote down how the person was recognised.
    """
    why = said(reason, "--reason")
    one = case.take(prefix, RequestKind.LIFT)
    with case.database.read() as db:
        events = [event for event, _ in Consents(db).events(one.customer_key)]
    events.sort(key=lambda event: event.at)
    now: dict[str, State] = {}
    entered = []
    for scope in sorted({event.scope for event in events}):
        mine = [event for event in events if event.scope == scope]
        if mine[-1].state not in _LIFTED:
            continue
        before = next((e for e in reversed(mine) if e.state not in _LIFTED), None)
        if before is not None and case.consents.has_lapsed(before.state, before.at):
            before = None  # what has grown old is given anew, not by ending a restriction
        state = before.state if before is not None else State.WITHDRAWN
        wording = before.wording if before is not None else ""
        entered.append(_event(one, scope, state, wording))
        now[scope] = state
    if not entered:
        raise InputError("there is no objection or restriction to lift.", where=one.id)
    _enter(case, one, entered)
    facts = {"states": {scope: state.value for scope, state in now.items()}}
    how = f"lifted at the person's request: {why}"
    return Answered(now, case.finish(one, how[:200], facts, subject=case.mark(one.customer_key)))


def _event(one: CustomerRequest, scope: str, state: State, wording: str = "") -> Event:
    return Event(one.customer_key, scope, state, one.received_at, wording, f"request-{one.id}")


def _enter(case: Case, one: CustomerRequest, events: Iterable[Event]) -> None:
    """Append them in one transaction, each later than whatever was said before it."""
    listed, now = list(events), case.home.clock()
    with case.database.write() as db:
        ledger = Consents(db)
        last = _last(ledger, one.customer_key)
        ledger.add([_at(event, max(now, last.get(event.scope, now))) for event in listed], now)
        position = ledger.position()
    for event in listed:
        facts = {"scope": event.scope, "state": event.state.value, "request": one.id}
        case.home.journal("consent", {**facts, "events": 1, "position": position})


def _last(ledger: Consents, key: str) -> dict[str, datetime]:
    """When the person spoke last about each purpose, even if a clock was set back since."""
    found: dict[str, datetime] = {}
    for event, _ in ledger.events(key):
        found[event.scope] = max(event.at, found.get(event.scope, event.at))
    return found


def _at(event: Event, at: datetime) -> Event:
    return Event(event.customer_key, event.scope, event.state, at, event.wording, event.source)
