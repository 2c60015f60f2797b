"""A letter that offers a release is shown before it is verified: only what can be shown is kept."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from node.federation import mailroom
from node.federation.link import Letter
from node.federation.mailroom import Mailroom
from node.federation.pulling import _decide, kept_models
from node.policy.evidence import Me
from node.policy.results import Results
from node.store.database import Database
from node.store.releases import Releases, ReleaseState
from protocols import release
from protocols.agreement.facts import Denial
from protocols.agreement.saying import no
from protocols.canonical import json_bytes
from protocols.errors import Refused
from protocols.ids import MemberId
from protocols.permit import Gate
from protocols.signing import SigningKey, jws_sign

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
OFFICE = SigningKey(b"\x0c" * 32)
ME = Me(MemberId("ab" * 32), bytes(32))
CARD: dict[str, Any] = {
    "kind": "datacoop/release",
    "model": "5d" * 32,
    "run": "1f" * 16,
    "workload": {"id": "demand", "version": "1"},
    "metrics": {},
    "privacy": {},
}


class Shop:
    def __init__(self, folder: Path) -> None:
        self.folder, self.notes = folder, list[str]()
        self.database = Database.open(folder / "node.db", create=True)
        self.results = Results(self.database, "c0" * 32, ME, self.journal, lambda: NOW)
        nobody: Any = None
        self.room = Mailroom(
            self.database, nobody, self.results, self.journal, lambda *_, **__: None, lambda: NOW
        )

    def journal(self, kind: str, facts: Any) -> None:
        self.notes.append(f"{kind} {facts}")

    def take(self, card: dict[str, Any]) -> None:
        body = json_bytes(jws_sign(card, "coordinator", OFFICE))
        self.room._take(Letter(1, "release", "x", body), lambda raw: None)

    def listed(self) -> list[dict[str, Any]]:
        home = SimpleNamespace(run_folder=lambda run: self.folder / "runs" / run)
        member: Any = SimpleNamespace(database=self.database, results=self.results, home=home)
        return kept_models(member)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_an_offer_is_listed(shop: Shop) -> None:
    shop.take(CARD)
    (one,) = shop.listed()
    assert (one["model"], one["run"], one["workload"]) == (CARD["model"], CARD["run"], "demand")
    assert shop.notes == []
    assert mailroom.CARD == release.KIND


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "../../" + "5d" * 29},
        {"model": "5D" * 32},
        {"run": "../../../tmp"},
        {"run": 7},
        {"workload": "demand"},
        {"workload": {"id": 7}},
        {"metrics": "good"},
        {"privacy": None},
        {"kind": "datacoop/order"},
    ],
    ids=lambda one: str(next(iter(one.items())))[:40],
)
def test_what_cannot_be_shown_is_written_down_and_not_kept(
    shop: Shop, changed: dict[str, Any]
) -> None:
    shop.take({**CARD, **changed})
    assert shop.listed() == []
    assert len(shop.notes) == 1 and shop.notes[0].startswith("incident")


def test_what_may_not_be_used_is_not_kept(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.take(CARD)
    with shop.database.read() as db:
        (offered,) = Releases(db).list()
    folder = shop.folder / "models" / offered.model
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"parameters")
    over = Denial(Gate.USE, (no("c20", "2026-03-01", "2026-02-01", "it is over"),))
    monkeypatch.setattr("node.federation.using.ask", lambda *_: over)
    home = SimpleNamespace(models=shop.folder / "models", journal=shop.journal)
    member: Any = SimpleNamespace(database=shop.database, home=home)
    with pytest.raises(Refused, match="it is over"):
        _decide(member, offered)
    assert not folder.exists()
    with shop.database.read() as db:
        (kept,) = Releases(db).list()
    assert kept.state is ReleaseState.REFUSED
    assert shop.notes == [f"removal {{'model': '{offered.model}'}}"]
