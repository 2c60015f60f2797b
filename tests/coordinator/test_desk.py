"""What members may bring and fetch: a closed table, and one answer for all that is not in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.desk import Desk, _answer
from protocols.errors import Code, RemoteError
from protocols.ids import MemberId
from small_office import SmallOffice

MEMBER = MemberId("ab" * 32)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    house = SmallOffice(tmp_path / "office").house
    return Desk(house, house.log(), lambda *_, **__: None)


def test_a_kind_that_is_not_in_the_table_is_not_taken(desk: Desk) -> None:
    with pytest.raises(RemoteError, match="'poem' are not taken here"):
        desk.take(MEMBER, "poem", "", b"{}")


def test_unknown_kinds_and_absent_things_get_the_same_answer(desk: Desk) -> None:
    def nothing(member: MemberId, run: str, name: str) -> bytes:
        raise KeyError(name)

    desk.givers = {"thing": nothing}
    for kind in ("thing", "poem"):
        with pytest.raises(RemoteError, match=f"there is no {kind} x yet") as error:
            desk.published(MEMBER, kind, "", "x")
        assert error.value.code is Code.NOT_FOUND


def test_a_new_kind_is_one_line(desk: Desk) -> None:
    desk.takers = {**desk.takers, "poem": lambda member, name, body: body == b"again"}
    assert desk.take(MEMBER, "poem", "", b"again")
    assert not desk.take(MEMBER, "poem", "", b"new")


def test_a_members_reason_cannot_write_other_lines() -> None:
    reason = "c16 approval: \x1b[2Jno\nLaunched run 1f1f.\u202e"
    _, _, reasons = _answer({"run": "1f" * 16, "answer": "refused", "reasons": [reason]})
    assert reasons == ("c16 approval:  [2Jno Launched run 1f1f. ",)
