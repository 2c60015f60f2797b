"""What members may bring and fetch: a closed table, and one answer for all that is not in it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from coordinator.desk import Desk
from protocols.errors import Code, RemoteError
from protocols.ids import MemberId

MEMBER = MemberId("ab" * 32)


def desk(**house: Any) -> Desk:
    made: Any = SimpleNamespace(database=None, clock=None, **house)
    log: Any = None
    return Desk(made, log, lambda *_, **__: None)


def test_a_kind_that_is_not_in_the_table_is_not_taken() -> None:
    with pytest.raises(RemoteError, match="'poem' are not taken here"):
        desk().take(MEMBER, "poem", "", b"{}")


def test_unknown_kinds_and_absent_things_get_the_same_answer() -> None:
    found = desk()

    def nothing(member: MemberId, run: str, name: str) -> bytes:
        raise KeyError(name)

    found.givers = {"thing": nothing}
    for kind in ("thing", "poem"):
        with pytest.raises(RemoteError, match=f"there is no {kind} x yet") as error:
            found.published(MEMBER, kind, "", "x")
        assert error.value.code is Code.NOT_FOUND


def test_a_new_kind_is_one_line() -> None:
    found = desk()
    found.takers = {**found.takers, "poem": lambda member, name, body: body == b"again"}
    assert found.take(MEMBER, "poem", "", b"again")
    assert not found.take(MEMBER, "poem", "", b"new")
