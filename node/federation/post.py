"""One exchange of letters outside the daemon, for commands: connect, send, fetch, close."""

from __future__ import annotations

from node.events import Events
from node.federation.channel import link_channel
from node.federation.link import Calls
from node.federation.mailroom import Mailroom
from node.federation.witness import witness_of
from node.house import Member
from protocols.errors import CoopError


class _Silent(Events):
    """Commands print their own answer."""

    def __init__(self) -> None:
        pass

    def emit(self, event: str, **facts: object) -> None:
        """Say nothing."""


def exchange(member: Member) -> None:
    """Send and fetch letters up to the first order, which only a running node decides.

    Raises:
        RemoteError: the coordinator does not answer.
    """
    room = _room(member)
    with link_channel(member.home.folder) as channel:
        calls = Calls(channel)
        witness_of(member, _Silent().emit).contact(calls)
        room.deliver(calls)
        try:
            room.collect(calls, _leave)
        except _AnOrder:
            return
        room.deliver(calls)


def post_answer(member: Member, run: str, answer: str, reasons: tuple[str, ...]) -> None:
    """Queue an answer to an order; the running node sends it within a second."""
    _room(member).answer(run, answer, reasons)


def _room(member: Member) -> Mailroom:
    home = member.home
    return Mailroom(
        member.database,
        member.agreements,
        member.results,
        home.journal,
        _Silent().emit,
        home.clock,
        member.keepers,
    )


class _AnOrder(CoopError):
    pass


def _leave(raw: bytes) -> None:
    """Orders stay in the mailbox for the running node, and with them all that came later."""
    raise _AnOrder("an order waits for the running node.")
