"""Small files on both sides: whole or absent, for their owner, with sentences for a full disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import ModuleType

import pytest

import coordinator.files
import node.files
from protocols.errors import LocalError

BOTH = pytest.mark.parametrize("room", [node.files, coordinator.files], ids=["node", "coop"])


@BOTH
def test_a_file_is_replaced_whole_and_private(room: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "x"
    room.write(file, b"one")
    room.write(file, b"two")
    assert room.read(file) == b"two"
    assert [one.name for one in tmp_path.iterdir()] == ["x"]
    if os.name != "nt":
        assert file.stat().st_mode & 0o777 == 0o600


@BOTH
@pytest.mark.parametrize(
    ("number", "says", "exit_code"),
    [(errno.ENOSPC, "disk is full", 75), (errno.EIO, "cannot be read or written", 1)],
)
def test_a_failing_disk_leaves_the_old_file(
    room: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    says: str,
    exit_code: int,
) -> None:
    file = tmp_path / "x"
    room.write(file, b"one")

    def fail(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(LocalError, match=says) as caught:
        room.write(file, b"two")
    monkeypatch.undo()
    assert caught.value.kind.exit_code == exit_code
    assert caught.value.where == str(file) and caught.value.fix
    assert file.read_bytes() == b"one"
    assert [one.name for one in tmp_path.iterdir()] == ["x"]


@BOTH
def test_what_is_too_long_or_absent_is_not_read(room: ModuleType, tmp_path: Path) -> None:
    with (tmp_path / "x").open("wb") as stream:
        stream.truncate(1 << 34)
    with pytest.raises(LocalError, match="longer than 1048576 bytes"):
        room.read(tmp_path / "x")
    with pytest.raises(LocalError, match="No such file") as caught:
        room.read(tmp_path / "absent")
    assert caught.value.where == str(tmp_path / "absent")
