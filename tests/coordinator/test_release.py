"""Making a release: the gate's answer on record, the bundle stored whole, `verify` from files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from coordinator.log.append import AuditLog, verify_log
from coordinator.release import models
from coordinator.release.models import (
    Release,
    archive_of,
    load_release,
    make_release,
    store_release,
    verify_release_dir,
)
from memory_place import Memory
from protocols import bundle
from protocols.audit.entries import Kind
from protocols.errors import Code, InputError, LocalError, Refused, RemoteError
from protocols.evidence import Findings
from protocols.release import log_facts
from small_coop import COORDINATOR, GOOD, MEMBERS, NOW, OPERATOR, coop, finished, office_log


def lines_of(place: Memory, kind: Kind) -> list[str]:
    wanted = f'"kind":"{kind}"'
    return [line for line in place.log.decode().splitlines() if wanted in line]


def made(log_place: Memory | None = None) -> Release:
    found, run = finished()
    return make_release(found.source(run.records), COORDINATOR, office_log(log_place), NOW)


def test_a_release_is_decided_logged_and_stored(tmp_path: Path) -> None:
    found, run = finished()
    with AuditLog(tmp_path / "audit", COORDINATOR, lambda: NOW) as log:
        release = make_release(found.source(run.records), COORDINATOR, log, NOW)
        folder = store_release(release, tmp_path / "releases")
    assert folder.name == release.model == run.trace.model
    assert load_release(folder) == dict(release.files)
    assert archive_of(folder) == release.archive()
    assert bundle.unpack(release.archive(), "release") == dict(release.files)
    text = "\n".join(verify_release_dir(folder, found.pins))
    assert "every parameter derived again" in text and "WAPE 0.6000 own" in text
    assert "1 decision, 1 release" in verify_log(tmp_path / "audit", COORDINATOR.public)[2]
    assert store_release(release, tmp_path / "releases") == folder
    assert [one.name for one in (tmp_path / "releases").iterdir()] == [release.model]


def test_the_decision_comes_before_the_release_in_the_log() -> None:
    place = Memory()
    release = made(place)
    entries = place.log.decode().splitlines()
    assert ['"kind":"decision"' in entries[0], '"kind":"release"' in entries[1]] == [True, True]
    assert str(log_facts(release.card)["card"]) in entries[1]


@pytest.mark.parametrize("blend", [0.60, 0.61])
def test_a_blend_that_does_not_beat_the_baseline_is_refused(blend: float) -> None:
    found, run = finished({**GOOD, "blend": blend})
    place = Memory()
    with pytest.raises(Refused, match=f"{blend:.4f}") as caught:
        make_release(found.source(run.records), COORDINATOR, office_log(place), NOW)
    assert caught.value.clauses == ("c15",) and "0.6000" in caught.value.problem
    assert not lines_of(place, Kind.RELEASE)
    refusal = lines_of(place, Kind.REFUSAL)
    assert (
        len(refusal) == 1
        and '"clauses":["c15"]' in refusal[0]
        and '"baseline_error":0.6' in refusal[0]
    )


def test_a_demanded_gain_is_counted() -> None:
    found, run = finished({**GOOD, "blend": 0.58}, coop(min_gain_percent=5))
    with pytest.raises(Refused, match=r"0\.5700"):
        make_release(found.source(run.records), COORDINATOR, office_log(), NOW)


def test_a_run_that_is_not_over_or_not_ours_is_no_release() -> None:
    found, run = finished()
    place = Memory()
    log = office_log(place)
    with pytest.raises(InputError, match="2 of 3 rounds"):
        make_release(found.source(run.records[:2]), COORDINATOR, log, NOW)
    with pytest.raises(RemoteError):  # descriptors of another coordinator key
        make_release(found.source(run.records), OPERATOR, log, NOW)
    with pytest.raises(InputError):
        source = found.source([run.records[0], run.records[0], run.records[2]])
        make_release(source, COORDINATOR, log, NOW)
    assert place.log == b""


def test_a_bundle_that_would_not_verify_is_not_released(monkeypatch: pytest.MonkeyPatch) -> None:
    """The survivor sets are no clause of the release gate, so the last check finds them."""
    found = coop({"rounds": 6})
    run = found.run()
    for turn in range(7):
        run.present = MEMBERS[:5] if turn % 2 else MEMBERS
        run.play()
    with pytest.raises(LocalError, match="does not verify") as caught:
        make_release(found.source(run.records), COORDINATOR, office_log(), NOW)
    assert "survivors" in caught.value.where

    def crash(*_: object, held: bool) -> Findings:
        raise InputError("x", code=Code.TAMPERED)

    monkeypatch.setattr(models, "verify_release", crash)
    with pytest.raises(LocalError):
        made()


def test_a_crash_while_storing_leaves_nothing_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = made()
    real = Path.replace

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(LocalError, match="No space left"):
        store_release(release, tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(Path, "replace", real)
    (tmp_path / f".{release.model}.part" / "rounds").mkdir(parents=True)  # as kill -9 leaves it
    folder = store_release(release, tmp_path)
    assert load_release(folder) == dict(release.files)


def test_verify_names_the_file_that_was_touched(tmp_path: Path) -> None:
    found, _ = finished()
    folder = store_release(made(), tmp_path)
    (folder / "notes.txt").write_text("mine")  # other files in the folder are nobody's business
    verify_release_dir(folder, found.pins)
    path = folder / bundle.MODEL
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(InputError) as caught:
        verify_release_dir(folder, found.pins)
    assert caught.value.where == "model.safetensors, check model"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="missing"):
        verify_release_dir(folder, found.pins)
    shutil.rmtree(folder)
    with pytest.raises(InputError, match="no release here"):
        verify_release_dir(folder, found.pins)
