"""The office's evidence pack, and its ``verify``, over a real database, log and release."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer
from sqlalchemy import delete

from coordinator.cli import proof
from coordinator.cli.shell import State, run
from coordinator.evidence import evidence
from coordinator.log.append import AuditLog
from coordinator.members.agreements import AGREEMENT, CURRENT, ROSTER, Agreements
from coordinator.release.models import make_release, store_release
from coordinator.store.database import Database
from coordinator.store.documents import Document, Documents, Signature, Signatures
from coordinator.store.releases import Releases, ReleaseState
from coordinator.store.schema import documents
from coordinator.store.settings import Settings
from protocols.agreement.incident import make_incident
from protocols.agreement.membership import make_notice, make_succession, verify_notice
from protocols.audit.entries import Kind
from protocols.canonical import json_bytes, json_id
from protocols.errors import InputError
from protocols.pack.check import verify_pack
from protocols.pack.form import unpack
from protocols.signing import SigningKey, identity_of, jws_merge, jws_payload, jws_sign
from small_coop import COOP, COORDINATOR, IDS, MEMBERS, NOW, OPERATOR, finished


def _signed(db: Any, kind: str, document: Any, keys: Any) -> str:
    name = json_id(document)
    Documents(db).add(Document(name, kind, json_bytes(document), NOW))
    for one, key in keys:
        Signatures(db).add(Signature(name, one, json_bytes(jws_sign(document, one, key)), NOW))
    return name


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """An office after one run: documents in the database, a release and a log on the disk."""
    home = tmp_path_factory.mktemp("office")
    found, played = finished()
    database = Database.open(home / "coordinator.db", create=True)
    clock = lambda: NOW  # noqa: E731
    order = jws_sign(found.order.document, "operator", OPERATOR)
    with AuditLog(home / "audit", COORDINATOR, clock) as log:
        log.append(Kind.ORDER, {"order": found.order.id, "run": found.order.order.run})
        release = make_release(found.source(played.records), COORDINATOR, log, NOW)
        log.append(Kind.STOP)
    store_release(release, home / "releases")
    parties = list(zip(IDS, MEMBERS, strict=True))
    notice = jws_sign(
        make_notice(coop=COOP, member=IDS[0], state="suspended", at=NOW), IDS[0], MEMBERS[0]
    )
    step = make_incident(
        coop=COOP, incident="1f" * 16, state="opened", freeze=False, what="a laptop", at=NOW
    )
    with database.write() as db:
        agreement = _signed(db, AGREEMENT, found.agreement.document, parties)
        for signed in found.rosters:
            document = jws_payload(signed, ROSTER)
            listed = {one["id"] for one in document["members"]}
            name = _signed(db, ROSTER, document, [one for one in parties if one[0] in listed])
        Settings(db).put(CURRENT[AGREEMENT], agreement)
        Settings(db).put(CURRENT[ROSTER], name)
        Documents(db).add(Document(found.order.id, "order", json_bytes(order), NOW))
        kind = "datacoop/membership"
        Documents(db).add(Document(json_id(jws_payload(notice, "")), kind, json_bytes(notice), NOW))
        incident = json_bytes(jws_sign(step.document, "operator", OPERATOR))
        Documents(db).add(Document(step.id, "incident", incident, NOW))
        Releases(db).add(release.model, release.card["run"], ReleaseState.PUBLISHED, NOW)
    return SimpleNamespace(
        home=home,
        database=database,
        office=SimpleNamespace(public=SimpleNamespace(coop=COOP)),
        agreements=Agreements(database, COOP, clock),
        releases=home / "releases",
        log=lambda: AuditLog(home / "audit", COORDINATOR, clock),
        clock=clock,
        key=COORDINATOR,
        enrolment=SimpleNamespace(members=lambda: ()),
        run=found.order.order.run,
        model=release.model,
        agreement=lambda: found.agreement,
    )


def test_the_office_packs_all_that_it_has(house: Any) -> None:
    report = verify_pack(evidence(house), "pack", software="0")
    text = "\n".join(report.lines())
    for said in (
        "2 epochs",
        "6 of 6 members",
        "orders: 1 orders",
        f"model {house.model}",
        "documents: 2 signed statements",
        "under 2 signed heads",
    ):
        assert said in text, text


@pytest.mark.parametrize("scope", ["run", "release"])
def test_a_part_has_the_entries_that_name_it(house: Any, scope: str) -> None:
    name = house.run if scope == "run" else house.model
    archive = evidence(house, **{scope: name[:6]})
    files = unpack(archive, "pack")
    assert json.loads(files["manifest.json"])["scope"] == {scope: name}
    assert "log/log.jsonl" not in files
    assert len([one for one in files if one.startswith("log/entries/")]) >= 2
    assert "1 orders" in "\n".join(verify_pack(archive, "pack", software="0").lines())
    with pytest.raises(InputError):
        evidence(house, **{scope: "nothing"})


def test_a_held_release_is_not_shown(house: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Releases.list

    def held(self: Releases, *states: ReleaseState) -> Any:
        return tuple(
            one
            for one in (replace(one, state=ReleaseState.HELD) for one in real(self))
            if not states or one.state in states
        )

    monkeypatch.setattr(Releases, "list", held)
    assert not [one for one in unpack(evidence(house), "pack") if one.startswith("releases/")]


def command(house: Any, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("coordinator.wiring.open_house", lambda home: house)
    app = typer.Typer()
    proof.register(app)

    @app.callback()
    def options(context: typer.Context) -> None:
        context.obj = State()

    return run(app, list(words), "coop-coordinator")


def test_the_commands(
    house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("coordinator.cli.shell.guarded", lambda one, *_: one, raising=False)
    monkeypatch.setattr("coordinator.cli.guard.guarded", lambda one, *_: one)
    out = tmp_path / "evidence.zip"
    assert command(house, monkeypatch, "evidence", "--out", str(out)) == 0
    assert command(house, monkeypatch, "evidence", "--out", str(out)) == 5
    capsys.readouterr()
    assert command(house, monkeypatch, "verify", str(out)) == 0
    assert "Compare the agreement's id" in capsys.readouterr().out
    known = house.agreement().id
    assert command(house, monkeypatch, "verify", str(out), "--agreement", known) == 0
    assert command(house, monkeypatch, "verify", str(out), "--agreement", "ab" * 32) == 5
    assert command(house, monkeypatch, "verify", "--release", house.model[:6]) == 0
    assert command(house, monkeypatch, "verify", str(house.home / "audit")) == 0
    folder = house.releases / house.model
    assert command(house, monkeypatch, "verify", str(folder)) == 0
    assert command(house, monkeypatch, "verify", str(tmp_path)) == 1
    (tmp_path / "text.zip").write_bytes(b"no zip at all")
    assert command(house, monkeypatch, "verify", str(tmp_path / "text.zip")) == 5


@pytest.fixture
def stated(house: Any) -> Any:
    """Statements that members hand in, as the office keeps them; gone again after the test."""
    added: list[str] = []

    def add(kind: str, signed: Any) -> None:
        name = json_id(jws_payload(signed, ""))
        with house.database.write() as db:
            Documents(db).add(Document(name, kind, json_bytes(signed), NOW))
        added.append(name)

    yield add
    with house.database.write() as db:
        for name in added:
            db.execute(delete(documents).where(documents.c.id == name))


def test_a_statement_of_somebody_in_no_list_of_members_spoils_no_pack(
    house: Any, stated: Any
) -> None:
    # enrolled, not yet (or never) in a roster: nobody who reads the pack can know the key
    newcomer, next_key = SigningKey(b"\x71" * 32), SigningKey(b"\x72" * 32)
    me = identity_of(newcomer.public)
    notice = make_notice(coop=COOP, member=me, state="suspended", at=NOW)
    stated("datacoop/membership", jws_sign(notice, me, newcomer))
    change = make_succession(
        coop=COOP,
        old=me,
        public_key=next_key.public,
        encryption_key=b"\x09" + bytes(31),
        csr_sha256="ab" * 32,
        at=NOW,
    )
    both = jws_merge(
        jws_sign(change, me, newcomer), jws_sign(change, identity_of(next_key.public), next_key)
    )
    stated("datacoop/succession", both)
    report = verify_pack(evidence(house), "pack", software="0")
    assert "documents: 2 signed statements" in "\n".join(report.lines())


def test_something_beside_the_signatures_is_refused_when_it_comes() -> None:
    notice = make_notice(coop=COOP, member=IDS[1], state="suspended", at=NOW)
    signed = {**jws_sign(notice, IDS[1], MEMBERS[1]), "x": 1}
    with pytest.raises(InputError, match="beside"):
        verify_notice(signed, {IDS[1]: MEMBERS[1].public}, COOP)
