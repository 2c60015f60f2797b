"""The coordinator's Flower ``ServerApp``: one run, conducted over whatever ``Grid`` it is given.

The same app runs over the gRPC link and, in tests, over an engine in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from coordinator.rounds.exchange import Answer, Exchange
from coordinator.wire.grid import STAGE, envelope_of, node_number, record
from protocols.errors import LocalError
from protocols.ids import MemberId


class Presence(Protocol):
    """Who is connected; Flower's grid has no notion of waiting for members."""

    def wait_for(self, members: frozenset[MemberId], timeout_s: float) -> frozenset[MemberId]:
        """Wait until these members are there or the time is over; those who are."""

    def connections(self) -> Mapping[MemberId, int]:
        """Who is there, with a number that changes with each new connection."""


class GridExchange:
    """``Exchange`` over a Flower grid."""

    def __init__(self, grid: Grid, presence: Presence) -> None:
        self._grid = grid
        self._presence = presence

    def stage(
        self, round_number: int, envelopes: Mapping[MemberId, bytes], timeout_s: float
    ) -> Iterable[Answer]:
        """One message each way for every member."""
        numbers = {node_number(member): member for member in envelopes}
        messages = [
            self._grid.create_message(
                content=record(envelope),
                message_type=STAGE,
                dst_node_id=node_number(member),
                group_id=str(round_number),
                ttl=timeout_s + 60,
            )
            for member, envelope in envelopes.items()
        ]
        for reply in self._grid.send_and_receive(messages, timeout=timeout_s):
            member = numbers[reply.metadata.src_node_id]
            if reply.has_error():
                yield Answer(member, None, reply.error.reason or "no answer")
                continue
            try:
                yield Answer(member, envelope_of(reply))
            except LocalError as error:  # one member's odd message is not the run's end
                yield Answer(member, None, error.problem)

    def wait_for(self, members: Iterable[MemberId], timeout_s: float) -> frozenset[MemberId]:
        """See ``Presence``."""
        return self._presence.wait_for(frozenset(members), timeout_s)

    def connections(self) -> Mapping[MemberId, int]:
        """See ``Presence``."""
        return self._presence.connections()


def server_app(conduct: Callable[[Exchange], None], presence: Presence) -> ServerApp:
    """An app whose main function conducts one run."""
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        conduct(GridExchange(grid, presence))

    return app
