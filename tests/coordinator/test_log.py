"""The coordinator's log on a real disk: several writers, kill -9, a full disk, `verify`."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from coordinator.log.append import AuditLog, Folder, verify_log
from protocols.audit.entries import Kind
from protocols.errors import Code, InputError, LocalError
from protocols.signing import SigningKey

KEY = SigningKey(b"\x05" * 32)
CHILD = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from coordinator.log.append import AuditLog
from protocols.audit.entries import Kind
from protocols.signing import SigningKey
log = AuditLog(Path(sys.argv[1]), SigningKey(b"\\x05" * 32), lambda: datetime.now(UTC), every=7)
for number in range(int(sys.argv[2])):
    entry = log.append(Kind.PULL, {"model": f"{number:064x}", "writer": sys.argv[3]})
    print(entry.seq, flush=True)
"""


def now() -> datetime:
    return datetime.now(UTC)


def child(folder: Path, entries: int, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), str(entries), name], stdout=subprocess.PIPE
    )


def test_append_is_on_disk_before_it_returns(tmp_path: Path) -> None:
    with AuditLog(tmp_path / "audit", KEY, now) as log:
        entry = log.append(Kind.START)
        text = (tmp_path / "audit" / "log.jsonl").read_bytes()
        assert text.endswith(b'"kind":"start","seq":0}\n') and entry.seq == 0
        root = log.root()
    lines = verify_log(tmp_path / "audit", KEY.public)
    assert "1 entries" in lines[0] and root.hex() in lines[1]


def test_kill_in_the_middle_of_appends(tmp_path: Path) -> None:
    acknowledged = -1
    for turn in range(3):
        process = child(tmp_path, 100_000, f"w{turn}")
        assert process.stdout is not None
        for _ in range(20 + turn):
            acknowledged = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        process.communicate()
        with AuditLog(tmp_path, KEY, now) as log:  # nothing that was acknowledged is lost
            assert log.head().size > acknowledged
        verify_log(tmp_path, KEY.public)


def test_a_torn_line_is_cut_and_recorded(tmp_path: Path) -> None:
    with AuditLog(tmp_path, KEY, now) as log:
        for number in range(5):
            log.append(Kind.PULL, {"model": str(number)})
    with (tmp_path / "log.jsonl").open("ab") as torn:
        torn.write(b'{"at":"2026-')
    with pytest.raises(InputError, match="not finished"):
        verify_log(tmp_path, KEY.public)
    with AuditLog(tmp_path, KEY, now) as log:
        assert log.head().size == 6
    last = (tmp_path / "log.jsonl").read_bytes().splitlines()[-1]
    assert b'"cut_bytes":12' in last and b'"kind":"incident"' in last
    verify_log(tmp_path, KEY.public)


def test_a_promised_torn_line_refuses_and_stays(tmp_path: Path) -> None:
    with AuditLog(tmp_path, KEY, now) as log:
        log.append(Kind.START)
        log.append(Kind.STOP)
    path = tmp_path / "log.jsonl"
    path.write_bytes(path.read_bytes()[:-4])
    before = path.read_bytes()
    with pytest.raises(InputError) as caught:
        AuditLog(tmp_path, KEY, now)
    assert caught.value.code is Code.TAMPERED and "backup" in caught.value.fix
    assert path.read_bytes() == before


def test_threads_and_processes_append_side_by_side(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, KEY, now, every=10)
    children = [child(tmp_path, 40, f"p{number}") for number in range(2)]
    seen: list[int] = []

    def work() -> None:
        for _ in range(25):
            seen.append(log.append(Kind.PULL, {"model": "a", "writer": "thread"}).seq)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for process in children:
        out, _ = process.communicate()
        assert process.returncode == 0
        seen += [int(line) for line in out.split()]
    log.close()
    assert sorted(seen) == list(range(155))
    assert "155 entries" in verify_log(tmp_path, KEY.public)[0]


def test_a_full_disk_is_a_sentence_and_the_log_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(tmp_path, KEY, now)
    log.append(Kind.START)

    def full(self: Folder, line: bytes) -> None:
        with (tmp_path / "log.jsonl").open("ab") as half:
            half.write(line[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Folder, "append", full)
        with pytest.raises(LocalError, match="No space left") as caught:
            log.append(Kind.PULL, {"model": "a"})
        assert "free space" in caught.value.fix
    log.append(Kind.STOP)
    log.close()
    assert "3 entries" in verify_log(tmp_path, KEY.public)[0]  # start, incident, stop


def test_a_line_is_synced_before_append_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AuditLog(tmp_path, KEY, now)
    synced: list[bytes] = []
    real = os.fsync

    def watch(handle: int) -> None:
        real(handle)
        synced.append((tmp_path / "log.jsonl").read_bytes())

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", watch)
        log.append(Kind.START)
    assert synced[0].endswith(b'"seq":0}\n')

    def broken(handle: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(LocalError, match="Input/output"):
            log.append(Kind.STOP)
    assert log.append(Kind.START).seq == 2  # the line that was not promised is there all the same
    log.close()
    verify_log(tmp_path, KEY.public)


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limit for a process")
def test_a_disk_that_takes_a_part_of_the_line(tmp_path: Path) -> None:
    """The limit stands in the middle of the third line: the system writes a part of it."""
    code = CHILD.replace(
        "log = ",
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (450, 450))\n"
        "log = ",
    )
    arguments = [sys.executable, "-c", code, str(tmp_path), "5", "w"]
    child = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert child.returncode != 0 and "a part of the line" in child.stderr
    assert child.stdout.split() == ["0", "1"]
    assert (tmp_path / "log.jsonl").stat().st_size == 450
    with AuditLog(tmp_path, KEY, now) as log:
        assert log.head().size == 3  # two pulls and the incident
    verify_log(tmp_path, KEY.public)


def test_verify_needs_a_log_and_the_right_key(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no audit log"):
        verify_log(tmp_path, KEY.public)
    with AuditLog(tmp_path, KEY, now) as log:
        log.append(Kind.START)
    with pytest.raises(InputError, match="not signed by the key"):
        verify_log(tmp_path, SigningKey(b"\x06" * 32).public)
