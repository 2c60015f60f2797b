"""Faults on the link: connections that break, messages that come twice, late or not at all."""

from __future__ import annotations

import grpc
import pytest
from attack_coop import Coop

from node.federation import channel
from node.federation.link import Calls
from protocols.errors import Code, RemoteError

ALL = {f"m{number}" for number in range(1, 8)}


def test_a_call_on_a_connection_that_another_thread_closed(coop: Coop) -> None:
    """It is an absent office like any other: the thread that keeps the letters must outlive it."""
    connection = channel.link_channel(coop.shops["m1"].folder)
    calls = Calls(connection)
    connection.close()
    for call in (
        lambda: list(calls.mail(0)),
        lambda: calls.submit("answer", "x", b"{}"),
        lambda: calls.fetch("rosters", "", "all"),
    ):
        with pytest.raises(RemoteError) as caught:
            call()
        assert caught.value.code is Code.UNAVAILABLE


def test_a_call_that_was_cut_off_is_tried_again(coop: Coop) -> None:
    """Cancelled by our own side is no answer of the office: the letter must not count as sent."""

    class Cancelled(grpc.RpcError):
        def code(self) -> grpc.StatusCode:
            return grpc.StatusCode.CANCELLED

        def details(self) -> str:
            return "Channel closed!"

    from node.federation.link import remote_error

    assert remote_error(Cancelled()).code is Code.UNAVAILABLE
