"""Deletion after clause 28 with a clock that is set by hand, and the server's certificate."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from coordinator import checkup, incidents, upkeep
from coordinator.cli.app import app
from coordinator.cli.shell import run
from coordinator.launching import launch, planned
from coordinator.members import certificates, pki
from coordinator.store.releases import Releases, ReleaseState
from coordinator.store.runs import Runs, State
from protocols import bundle
from protocols.agreement.base import utc_text
from protocols.audit.entries import Kind
from small_office import NOW, SmallOffice, quick, signed_office

MODEL = "ab" * 32


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallOffice:
    made = signed_office(tmp_path / "office", updates_hours=48, models_days=30)
    monkeypatch.setattr("coordinator.wiring.open_house", lambda home: made.house)
    return made


def answers(office: SmallOffice, run_id: str, at: datetime) -> Path:
    """A stage log with what members sent, written at ``at``."""
    file = office.house.run_folder(run_id) / "stages" / "0001.0.log"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"masked")
    os.utime(file, (at.timestamp(), at.timestamp()))
    return file


def release(office: SmallOffice, at: datetime) -> Path:
    """The files of a release, and its row."""
    folder = office.house.releases / MODEL
    for name in (*bundle.FIXED, bundle.roster_file(1), bundle.round_file(1), "sealed.bin"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    (folder / bundle.CARD).write_text(json.dumps({"created": utc_text(at)}), encoding="utf-8")
    with office.house.database.write() as db:
        Releases(db).add(MODEL, "cd" * 16, ReleaseState.PUBLISHED, at)
    return folder


def purged(office: SmallOffice, now: datetime) -> list[tuple[Kind, Any]]:
    written: list[tuple[Kind, Any]] = []
    upkeep.purge(office.house, now, lambda kind, facts: written.append((kind, facts)))
    return written


def test_answers_of_a_round_go_when_their_time_is_over(office: SmallOffice) -> None:
    file = answers(office, "cd" * 16, NOW)
    limit = NOW + timedelta(hours=48)
    assert upkeep.due(office.house, limit) == ()
    assert purged(office, limit) == []
    assert file.exists()
    (one,) = upkeep.due(office.house, limit + timedelta(seconds=1))
    assert (one.kind, one.path, one.limit) == ("updates", file, timedelta(hours=48))
    (entry,) = purged(office, limit + timedelta(hours=2))
    facts = {"what": "updates", "count": 1, "limit_hours": 48, "oldest_hours": 50}
    assert entry == (Kind.PURGE, facts)
    assert not file.exists()
    assert purged(office, limit + timedelta(hours=2)) == []


def test_a_run_that_still_needs_them_is_ended_first(office: SmallOffice) -> None:
    made = launch(office.house, planned(office.house, quick()))
    file = answers(office, made.run, NOW)
    written = purged(office, NOW + timedelta(hours=49))
    assert [kind for kind, _ in written] == [Kind.RUN, Kind.PURGE]
    with office.house.database.read() as db:
        found = Runs(db).require(made.run)
    assert found.state is State.ABORTED and "clause 28" in found.progress.detail
    assert not file.exists()
    assert len(office.letters(kind="run-ended")) == 1


def test_an_old_release_loses_its_model_and_keeps_its_proof(office: SmallOffice) -> None:
    folder = release(office, NOW)
    limit = NOW + timedelta(days=30)
    assert purged(office, limit) == []
    (entry,) = purged(office, limit + timedelta(days=1))
    assert entry[0] is Kind.PURGE and entry[1]["models"] == (MODEL,)
    left = {one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()}
    assert left == set(bundle.FIXED) - {bundle.MODEL} | {bundle.roster_file(1)}
    with office.house.database.read() as db:
        stored = Releases(db).get(MODEL)
    assert stored is not None and stored.state is ReleaseState.WITHDRAWN
    assert upkeep.oldest_release(office.house.releases) is None


def test_what_the_log_says_passes_its_rules(office: SmallOffice) -> None:
    answers(office, "cd" * 16, NOW)
    release(office, NOW)
    with office.house.log() as log:
        gone = upkeep.purge(office.house, NOW + timedelta(days=40), log.append)
    assert len(gone) == 2
    assert [one["what"] for one in office.entries("purge")] == ["updates", "release"]


def test_nothing_is_deleted_without_an_agreement(tmp_path: Path) -> None:
    made = SmallOffice(tmp_path / "office")
    file = answers(made, "cd" * 16, NOW)
    assert purged(made, NOW + timedelta(days=4000)) == []
    assert file.exists()


def test_the_command_shows_first(office: SmallOffice, capsys: pytest.CaptureFixture[str]) -> None:
    file = answers(office, "cd" * 16, NOW)
    office.now = NOW + timedelta(hours=60)
    words = ["--home", str(office.folder), "purge"]
    assert run(app, [*words, "--dry-run", "--json"], "coop-coordinator") == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["deleted"], document["due"][0]["age_hours"]) == (False, 60.0)
    assert file.exists()
    assert run(app, words, "coop-coordinator") == 2  # it asks, and nobody is there
    assert file.exists()
    assert run(app, [*words, "--yes"], "coop-coordinator") == 0
    assert not file.exists()
    assert "Deleted 1." in capsys.readouterr().out
    assert run(app, [*words, "--yes"], "coop-coordinator") == 0
    assert "Nothing is older than allowed." in capsys.readouterr().out


def server_certificate(office: SmallOffice) -> x509.Certificate:
    file = office.house.where.keys_dir / "server.cert.pem"
    return x509.load_pem_x509_certificate(file.read_bytes())


def test_the_servers_certificate_is_renewed_in_time_with_the_same_key(
    office: SmallOffice,
) -> None:
    before, written = server_certificate(office), []

    def renew(now: datetime) -> bool:
        return upkeep.renew_certificate(office.house, now, lambda *entry: written.append(entry))

    assert not renew(before.not_valid_after_utc - timedelta(days=61))
    late = before.not_valid_after_utc - timedelta(days=59)
    assert renew(late)
    after = server_certificate(office)
    assert after.public_key() == before.public_key()
    assert after.not_valid_after_utc > before.not_valid_after_utc
    after.verify_directly_issued_by(pki.load_authority(office.house.where).certificate)
    assert written == [(Kind.RENEWAL, {"what": "server"})]
    assert not renew(late)


def test_a_certificate_of_ten_years_is_renewed_for_a_year(
    office: SmallOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*entry: Any) -> None:
        return None

    with monkeypatch.context() as patch:
        patch.setattr(certificates, "SERVER_FOR", timedelta(days=3650))
        end = server_certificate(office).not_valid_after_utc
        assert upkeep.renew_certificate(office.house, end, nothing)
    assert upkeep.certificate_days(office.house) == 3651
    assert upkeep.renew_certificate(office.house, end, nothing)
    assert upkeep.certificate_days(office.house) == 366


def test_every_day_one_failure_does_not_hold_up_the_other(office: SmallOffice) -> None:
    file = answers(office, "cd" * 16, NOW)
    (office.house.where.ca_dir / "ca.key.pem").unlink()
    said: list[tuple[str, Any]] = []
    end = server_certificate(office).not_valid_after_utc
    with office.house.log() as log:
        upkeep.daily(
            office.house, end, log.append, lambda event, **facts: said.append((event, facts))
        )
    assert [event for event, _ in said] == ["purged", "certificate-not-renewed"]
    assert said[0][1] == {"updates": 1, "releases": 0}
    assert "authority's key is not there" in said[1][1]["problem"]
    assert not file.exists()


def test_a_disk_that_deletes_nothing_does_not_end_the_server(
    office: SmallOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = answers(office, "cd" * 16, NOW)
    said: list[str] = []

    def read_only(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "unlink", read_only)
    with office.house.log() as log:
        upkeep.daily(
            office.house,
            NOW + timedelta(days=3),
            log.append,
            lambda event, **facts: said.append(event),
        )
    assert said == ["purge-failed"]
    assert file.exists()
    assert not (office.folder / "audit" / "log.jsonl").exists()  # nothing was deleted


def test_the_doctor_sees_what_would_keep_runs_from_starting(office: SmallOffice) -> None:
    def found() -> dict[str, tuple[bool, str]]:
        return {one.what: (one.ok, one.found) for one in checkup._duties(office.house)}

    assert all(ok for ok, _ in found().values())
    answers(office, "cd" * 16, NOW - timedelta(hours=49))
    incidents.open_incident(office.house, what="A theft.", freeze=True, entropy=bytes)
    (office.folder / "config.toml").write_text("", encoding="utf-8")
    office.open()
    office.now += timedelta(hours=25)
    assert found() == {
        "country": (False, "not set, and clause 22 asks for it"),
        "incidents": (False, "1 open, 1 of them late to be told"),
        "deletion": (False, "1 things are older than clause 28 allows"),
    }
