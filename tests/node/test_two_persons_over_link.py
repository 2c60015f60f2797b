"""A cooperative that asks for two: by the operator's commands, over the link, to a node."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from coordinator.cli.app import app
from coordinator.cli.shell import run
from coordinator.members.people import load_key, new_key
from node.federation.post import exchange
from node.federation.pulling import kept_models, pull_release
from node.federation.using import ask
from node.house import Member
from protocols import bundle
from protocols.agreement.facts import Denial
from protocols.canonical import json_bytes, parse_json
from protocols.permit import Permit
from released_coop import Released, released_coop

BEA = b"\x71" * 32


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Key files of an approver and of somebody else, as ``people key`` writes them."""
    folder = tmp_path_factory.mktemp("keys")
    new_key(folder / "bea.key", lambda count: BEA[:count])
    new_key(folder / "carl.key", lambda count: b"\x72" * count)
    return {"bea": folder / "bea.key", "carl": folder / "carl.key"}


@pytest.fixture(scope="module")
def coop(tmp_path_factory: pytest.TempPathFactory, keys: dict[str, Path]) -> Iterator[Released]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)  # no power is cut here
        approvers = [load_key(keys["bea"]).public.hex()]
        second: dict[str, Any] = {"two_person": ["release", "revoke"], "approver_keys": approvers}
        with released_coop(tmp_path_factory.mktemp("coop") / "c", **second) as made:
            yield made


def say(coop: Released, *words: str, expect: int = 0) -> None:
    home = str(coop.root / "office")
    assert run(app, ["--home", home, "release", *words], "coop-coordinator") == expect, words


def told(coop: Released, capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    say(coop, *words, "--json")
    return json.loads(capsys.readouterr().out)


def offered(member: Member) -> list[str]:
    exchange(member)
    return [one["model"] for one in kept_models(member)]


def test_both_sign_then_members_get_it_then_both_take_it_back(
    coop: Released, keys: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    made = coop.make("ab")
    model = made.model
    (listed,) = told(coop, capsys, "list")["releases"]
    assert (listed["model"], listed["state"]) == (model, "held")
    with coop.member(0) as member:
        assert offered(member) == []

    said = told(coop, capsys, "approve", model[:8], "--yes")  # the operator's own key
    assert (said["state"], said["missing"]) == ("waiting", ["an approver"])
    say(coop, "approve", model[:8], "--approver-key", str(keys["carl"]), "--yes", expect=3)
    with coop.member(0) as member:
        assert offered(member) == []
    said = told(coop, capsys, "approve", model[:8], "--approver-key", str(keys["bea"]), "--yes")
    assert (said["state"], said["missing"]) == ("published", [])

    with coop.member(0) as member:
        assert offered(member) == [model]
        _, lines = pull_release(member, model)
        (card,) = [line for line in lines if line.startswith("card:")]
        assert "signed by coordinator, operator, approver:" in card
        assert isinstance(ask(member, model), Permit)
        _only_the_coordinator_signed(member, model)

    said = told(coop, capsys, "revoke", model[:8], "--reason", "A mistake.", "--yes")
    assert said["missing"] == ["an approver"]
    with coop.member(0) as member:
        exchange(member)
        assert isinstance(ask(member, model), Permit)
    said = told(coop, capsys, "revoke", model[:8], "--approver-key", str(keys["bea"]), "--yes")
    assert said["state"] == "revoked"
    with coop.member(0) as member:
        exchange(member)
        answer = ask(member, model)
        assert isinstance(answer, Denial) and "c20" in answer.clauses
    say(coop, "withdraw", model[:8], "--yes", expect=2)  # revoked is final
    say(coop, "approve", "ffff", "--yes", expect=1)


def _only_the_coordinator_signed(member: Member, model: str) -> None:
    """The same card without the two signatures, as a held release has it: the gate says no."""
    place = member.home.models / model / bundle.CARD_SIGNED
    whole = place.read_bytes()
    signed = parse_json(whole, "card")
    place.write_bytes(json_bytes({**signed, "signatures": signed["signatures"][:1]}))
    answer = ask(member, model)
    assert isinstance(answer, Denial) and answer.clauses == ("c05",)
    assert "operator and of one of 1 approvers" in str(answer)
    place.write_bytes(whole)
