"""Two nodes over the real link, and one coordinator with two log folders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.desk import Desk
from coordinator.log.append import AuditLog
from coordinator.log.witness import Witnesses
from node.cli import main
from node.federation.post import exchange
from node.house import open_member
from protocols.agreement.facts import AuditFacts
from protocols.audit.entries import Kind
from protocols.ids import MemberId
from tests.benchmarks import link_place
from tests.benchmarks.link_place import Place

TABLE = ("checkpoint", "witnesses")


class TwoFaced(Desk):
    """The product's desk; some members are answered from a second log of the same key."""

    made: TwoFaced

    def __init__(self, *given: object) -> None:
        super().__init__(*given)  # type: ignore[arg-type]
        TwoFaced.made = self
        self.victims: set[MemberId] = set()
        house = self._house
        self.other = AuditLog(house.home / "second", house.key, house.clock)
        second = Witnesses(house.database, self.other, house.clock)
        first = dict(self.givers)
        self.givers = {
            **first,
            "checkpoint": lambda member, run, name: (
                second.checkpoint(name)
                if member in self.victims
                else first["checkpoint"](member, run, name)
            ),
        }
        take = self.takers["cosignature"]
        self.takers = {
            **self.takers,
            "cosignature": lambda member, name, body: (
                second.take(member, body) if member in self.victims else take(member, name, body)
            ),
        }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coordinator.desk.Desk", TwoFaced)
        made = Place(tmp_path_factory.mktemp("forked"), 2)
        log = AuditLog(made.office / "audit", made.key, link_place.now)
        for one in (log, TwoFaced.made.other):
            one.append(Kind.START)
        yield made
        made._server.stop(0).wait()


def contact(folder: Path) -> AuditFacts:
    """What ``coop-node`` does at any command that exchanges letters."""
    member = open_member(folder)
    exchange(member)
    facts = member.witnessed.facts()
    member.home.log.close()
    member.close()
    return facts


def command(capsys: pytest.CaptureFixture[str], folder: Path, *words: str) -> tuple[int, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["coop-node", "--home", str(folder), *words])
        raise SystemExit(main())
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out + said.err


def test_two_histories_over_the_link(
    place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk, (a, b) = TwoFaced.made, place.folders
    log = AuditLog(place.office / "audit", place.key, link_place.now)
    desk.victims = {MemberId(list(place.keys)[1])}
    facts = contact(a)
    assert not facts.fork and facts.verified_at is not None
    # what a countersigned reaches b, who was shown another first entry
    assert "two histories were shown" in contact(b).fork
    # a is told nothing, until it is given what b has kept
    assert not contact(a).fork
    code, said = command(capsys, b, "log", "export", str(tmp_path / "b.note"))
    assert code == 0, said
    code, said = command(capsys, a, "log", "compare", str(tmp_path / "b.note"), "--offline")
    assert code == 5 and "two histories" in said and "audit/forks" in said
    code, said = command(capsys, a, "log", "show", "--json")
    assert code == 0 and json.loads(said)["fork"]
    # b talks with a, and takes the log as it is shown from here on
    desk.victims = set()
    code, said = command(capsys, b, "log", "forks", "--json")
    (found,) = json.loads(said)["forks"]
    assert code == 0 and not found["resolved"]
    words = ("log", "forks", "--resolve", found["id"], "--start-anew")
    code, said = command(capsys, b, *words)
    assert code == 2 and "asks for a yes" in said  # nobody at the terminal
    code, said = command(capsys, b, *words, "--yes")
    assert code == 0, said
    log.append(Kind.PULL, {"model": "x"})
    facts = contact(b)
    assert not facts.fork and facts.verified_at is not None
    # and the other log once more
    desk.victims = {MemberId(list(place.keys)[1])}
    for _ in range(3):
        desk.other.append(Kind.PULL, {"model": "y"})
    assert "does not continue" in contact(b).fork
    kinds = [json.loads(line)["kind"] for line in (b / "audit" / "log.jsonl").open()]
    assert kinds.count("incident") == 2 and kinds.count("approval") == 1 and "witness" in kinds
