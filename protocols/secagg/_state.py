"""All transitions of both machines, in one place (SPEC.md section 4).

What is not in a table does not happen. A call that the own shell makes at the wrong time raises
LocalError and leaves the state unchanged; a *message* at the wrong time ends the round for a
member (``member``) and is refused by the coordinator without effect (``aggregator``).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from protocols.errors import LocalError


class MemberState(StrEnum):
    """Where a member stands in one attempt of one round."""

    START = "start"
    ADVERTISED = "advertised"
    SHARED = "shared"
    TRAINING = "training"
    MASKED = "masked"
    AGREED = "agreed"
    DONE = "done"
    CLOSED = "closed"
    ABORTED = "aborted"


class MemberEvent(StrEnum):
    """What can happen to a member: requests, its own input, the end."""

    ADVERTISE = "advertise request"
    SHARE = "share request"
    EARLY = "share request with its opening"
    MASK = "mask request"
    INPUT = "own input"
    AGREE = "agree request"
    UNMASK = "unmask request"
    REPEAT = "repeat of an answered request"
    CLOSE = "close"
    FAIL = "failed check"


class OfficeState(StrEnum):
    """Which answers the coordinator is collecting."""

    START = "start"
    ADVERTISE = "advertise"
    SHARE = "share"
    MASK = "mask"
    AGREE = "agree"
    UNMASK = "unmask"
    FINISHED = "finished"
    ABORTED = "aborted"


class OfficeEvent(StrEnum):
    """What can happen to the coordinator's machine."""

    OPEN = "open"
    RECEIVE = "answer"
    CLOSE_STAGE = "close of the stage"
    FAIL = "failed round"


_M, _ME, _O, _OE = MemberState, MemberEvent, OfficeState, OfficeEvent

MEMBER: Mapping[tuple[MemberState, MemberEvent], MemberState] = {
    (_M.START, _ME.ADVERTISE): _M.ADVERTISED,
    (_M.ADVERTISED, _ME.SHARE): _M.SHARED,
    (_M.START, _ME.EARLY): _M.SHARED,
    (_M.SHARED, _ME.MASK): _M.TRAINING,
    (_M.TRAINING, _ME.INPUT): _M.MASKED,
    (_M.MASKED, _ME.AGREE): _M.AGREED,
    (_M.AGREED, _ME.UNMASK): _M.DONE,
    (_M.AGREED, _ME.REPEAT): _M.AGREED,
    (_M.DONE, _ME.REPEAT): _M.DONE,
    **{(state, _ME.CLOSE): _M.CLOSED for state in _M if state is not _M.ABORTED},
    (_M.ABORTED, _ME.CLOSE): _M.ABORTED,
    **{(state, _ME.FAIL): _M.ABORTED for state in _M if state is not _M.CLOSED},
    (_M.CLOSED, _ME.FAIL): _M.CLOSED,
}

OFFICE: Mapping[tuple[OfficeState, OfficeEvent], OfficeState] = {
    (_O.START, _OE.OPEN): _O.ADVERTISE,
    **{
        (state, _OE.RECEIVE): state
        for state in (_O.ADVERTISE, _O.SHARE, _O.MASK, _O.AGREE, _O.UNMASK)
    },
    (_O.ADVERTISE, _OE.CLOSE_STAGE): _O.SHARE,
    (_O.SHARE, _OE.CLOSE_STAGE): _O.MASK,
    (_O.MASK, _OE.CLOSE_STAGE): _O.AGREE,
    (_O.AGREE, _OE.CLOSE_STAGE): _O.UNMASK,
    (_O.UNMASK, _OE.CLOSE_STAGE): _O.FINISHED,
    **{(state, _OE.FAIL): _O.ABORTED for state in _O if state not in (_O.FINISHED, _O.ABORTED)},
}


def member_next(state: MemberState, event: MemberEvent) -> MemberState:
    """The next state; LocalError if the table has none."""
    try:
        return MEMBER[state, event]
    except KeyError:
        raise LocalError(f"a member that is {state} cannot take {event}.") from None


def office_next(state: OfficeState, event: OfficeEvent) -> OfficeState:
    """The next state; LocalError if the table has none."""
    try:
        return OFFICE[state, event]
    except KeyError:
        raise LocalError(f"a coordinator in stage {state} cannot take {event}.") from None
