"""Pulling a release: hostile archives, a wrong model, a full disk; stored whole or not at all."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.federation.opening import Opened
from node.federation.releases import parameters, receive, stored, verify_release_dir
from node.policy.journal import Journal, verify_log
from protocols import bundle
from protocols.errors import Code, InputError, LocalError, Refused
from protocols.ids import ModelId, RunId
from protocols.permit import Gate, Permit
from protocols.sealed import promise_of
from protocols.signing import SigningKey
from small_coop import NOW, finished, released

KEY = SigningKey(b"\x09" * 32)
PINS, FILES = released()
ARCHIVE = bundle.pack(FILES)


USE = Permit(Gate.USE, PINS.agreement, RunId("ab" * 16), "demand-forecasting", "d1" * 32, (), NOW)


def opened(archive: bytes = ARCHIVE) -> Opened:
    """As it comes out of its sealed file, whatever it is."""
    return Opened(promise_of(json.loads(FILES[bundle.CARD]), archive), archive)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "audit", KEY, lambda: datetime.now(UTC))


def zipped(
    entries: list[tuple[str | zipfile.ZipInfo, bytes]], compression: int = zipfile.ZIP_STORED
) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return out.getvalue()


def test_a_release_is_kept_and_on_record(tmp_path: Path, journal: Journal) -> None:
    models = tmp_path / "models"
    _, run = finished()
    pins = dataclasses.replace(PINS, model=run.trace.model)
    findings = receive(opened(), pins, models, journal)
    assert stored(models) == (findings.model,)
    assert np.array_equal(parameters(models, findings.model, USE, NOW), run.trace.state.params)
    assert any(
        "derived again" in line for line in verify_release_dir(models / findings.model, PINS)
    )
    journal.close()
    line = (tmp_path / "audit" / "log.jsonl").read_text()
    assert '"kind":"pull"' in line and findings.model in line
    assert findings.checkpoint.root.hex() in line
    # a second pull changes nothing
    receive(opened(), pins, models, journal)
    assert "1 pull" in verify_log(tmp_path / "audit", KEY.public)[2]
    assert [one.name for one in models.iterdir()] == [findings.model]


def test_a_model_that_this_node_did_not_derive_is_refused(tmp_path: Path, journal: Journal) -> None:
    pins = dataclasses.replace(PINS, model=ModelId("ab" * 32))
    with pytest.raises(InputError, match="you have abab") as caught:
        receive(opened(), pins, tmp_path / "models", journal)
    assert caught.value.code is Code.TAMPERED
    assert stored(tmp_path / "models") == ()


def test_no_parameter_is_read_without_a_permit_of_the_use_gate(
    tmp_path: Path, journal: Journal
) -> None:
    model = receive(opened(), PINS, tmp_path / "models", journal).model
    for permit, now in (
        (dataclasses.replace(USE, gate=Gate.RELEASE), NOW),
        (dataclasses.replace(USE, gate=Gate.ADMIT), NOW),
        (USE, NOW + timedelta(seconds=1)),
    ):
        with pytest.raises(Refused):
            parameters(tmp_path / "models", model, permit, now)


def test_a_header_that_promised_something_else_stores_nothing(
    tmp_path: Path, journal: Journal
) -> None:
    other = dataclasses.replace(opened().promise, expires="2036-01-01T00:00:00Z")
    with pytest.raises(InputError, match="other terms than its card"):
        receive(Opened(other, ARCHIVE), PINS, tmp_path / "models", journal)
    assert stored(tmp_path / "models") == ()


def bomb() -> bytes:
    return zipped([("model.safetensors", b"\0" * 50_000_000)], zipfile.ZIP_DEFLATED)


def lying_size() -> bytes:
    """The directory says one byte, the entry holds more."""
    raw = bytearray(ARCHIVE)
    at = raw.rindex(b"PK\x01\x02")
    raw[at + 24 : at + 28] = (2**31).to_bytes(4, "little")
    return bytes(raw)


def link_inside() -> bytes:
    info = zipfile.ZipInfo(bundle.CARD)
    info.external_attr = 0o120777 << 16
    rest = [(name, raw) for name, raw in FILES.items() if name != bundle.CARD]
    return zipped([(info, b"/etc/passwd"), *rest])


def twice() -> bytes:
    with pytest.warns(UserWarning, match="Duplicate"):
        return zipped([*sorted(FILES.items()), (bundle.CARD, b"{}")])


HOSTILE: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "noise": lambda: b"\x00\xff" * 500,
    "an empty zip": lambda: zipped([]),
    "a path that climbs": lambda: zipped([*FILES.items(), ("../../evil", b"x")]),
    "an absolute path": lambda: zipped([*FILES.items(), ("/etc/evil", b"x")]),
    "a backslash path": lambda: zipped([*FILES.items(), ("rounds\\..\\..\\evil", b"x")]),
    "a hidden file": lambda: zipped([*FILES.items(), ("rounds/.0001.bin", b"x")]),
    "a compressed bomb": bomb,
    "compressed files": lambda: zipped(list(FILES.items()), zipfile.ZIP_DEFLATED),
    "one name twice": twice,
    "a symbolic link": link_inside,
    "a size that lies": lying_size,
    "bytes in front": lambda: b"#!/bin/sh\n" + ARCHIVE,
    "bytes behind": lambda: ARCHIVE + b"x",
    "other order of files": lambda: zipped(sorted(FILES.items(), reverse=True)),
    "half of it": lambda: ARCHIVE[: len(ARCHIVE) // 2],
    "too many files": lambda: zipped([(f"rounds/{n % 10000:04d}.bin", b"") for n in range(1, 20)]),
    "too large": lambda: b"PK" + bytes(bundle.MAX_BUNDLE_BYTES),
    "a missing file": lambda: zipped([(n, c) for n, c in FILES.items() if n != bundle.ORDER]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_write_nothing(name: str, tmp_path: Path, journal: Journal) -> None:
    archive = HOSTILE[name]()
    models = tmp_path / "models"
    with pytest.raises(InputError) as caught:
        receive(opened(archive), PINS, models, journal)
    assert caught.value.code in (Code.TAMPERED, Code.LIMIT)
    assert not models.exists()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["audit"]
    assert not (tmp_path / "audit" / "log.jsonl").exists()


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_changed_archive_never_passes_and_never_crashes(data: st.DataObject) -> None:
    raw = bytearray(ARCHIVE)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = (raw[at] + data.draw(st.integers(1, 255))) % 256
    cut = data.draw(st.integers(0, 30))
    changed = bytes(raw[: len(raw) - cut])
    if changed == ARCHIVE:
        return
    with pytest.raises(InputError):
        files = bundle.unpack(changed, "release")
        assert files != FILES  # what unpacks differs, and the checks of the evidence say where
        raise InputError("a file differs")


def test_a_full_disk_leaves_nothing(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        with pytest.raises(LocalError, match="No space left"):
            receive(opened(), PINS, tmp_path / "models", journal)
    assert list((tmp_path / "models").iterdir()) == []
    receive(opened(), PINS, tmp_path / "models", journal)
    assert len(stored(tmp_path / "models")) == 1


def test_a_kept_model_that_was_changed_is_seen(tmp_path: Path, journal: Journal) -> None:
    models = tmp_path / "models"
    model = receive(opened(), PINS, models, journal).model
    path = models / model / bundle.MODEL
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 4
    path.write_bytes(bytes(raw))
    with pytest.raises(InputError, match="the file holds model") as caught:
        parameters(models, model, USE, NOW)
    assert caught.value.code is Code.TAMPERED
    with pytest.raises(InputError, match="published sums"):
        verify_release_dir(models / model, PINS)
    with pytest.raises(InputError, match="copy that is kept here was changed") as caught:
        receive(opened(), PINS, models, journal)  # the damaged copy is not called good
    assert "Remove this folder" in caught.value.fix
    with pytest.raises(InputError, match="not kept here"):
        parameters(models, ModelId("00" * 32), USE, NOW)
