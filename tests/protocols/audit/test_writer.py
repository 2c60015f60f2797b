"""The writing side over a memory that fails on command, and the verifier over its bytes."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_place import Crash, Memory
from protocols.audit.checkpoint import (
    check_growth,
    origin_of,
    parse_checkpoint,
)
from protocols.audit.entries import Kind
from protocols.audit.verify import LogReport, check_inclusion, proof_bytes, verify_log
from protocols.audit.writer import LogWriter
from protocols.canonical import json_bytes
from protocols.errors import Code, InputError
from protocols.signing import SigningKey

KEY = SigningKey(b"\x05" * 32)
ORIGIN = origin_of("node", KEY.public)
START = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


def writer(memory: Memory, every: int = 8) -> LogWriter:
    return LogWriter(memory, "node", KEY, Clock(), every)


def filled(entries: int, every: int = 8) -> Memory:
    memory = Memory()
    with writer(memory, every) as log:
        for number in range(entries):
            log.append(Kind.PULL, {"model": f"{number:064x}"})
    return memory


def verify(memory: Memory) -> LogReport:
    return verify_log(memory.lines(0), [memory.files["checkpoint"]], KEY.public, ORIGIN)


def test_a_closed_log_verifies_and_continues_cheaply() -> None:
    memory = filled(100)
    report = verify(memory)
    assert report.size == 100 and report.kinds == ((Kind.PULL, 100),)
    assert report.checkpoints == (100,) and "100 entries" in report.lines()[0]
    memory.reads = 0
    with writer(memory) as log:
        assert log.head().root == report.root
        log.append(Kind.STOP)
    assert memory.reads == 0  # nothing behind the checkpoint had to be read
    assert verify(memory).size == 101


def test_two_writers_see_each_other() -> None:
    memory = Memory()
    one, two = writer(memory), writer(memory)
    for turn in range(30):
        (one if turn % 3 else two).append(Kind.PULL, {"model": str(turn)})
    assert one.root() == two.root()
    two.close()
    assert verify(memory).size == 30


def test_a_clock_set_back_does_not_stop_the_log() -> None:
    memory = Memory()
    log = writer(memory)
    first = log.append(Kind.START)
    back = LogWriter(memory, "node", KEY, lambda: START - timedelta(days=3))
    second = back.append(Kind.STOP)
    back.close()
    assert second.at == first.at
    verify(memory)


@settings(deadline=None, max_examples=120)
@given(st.integers(0, 6000), st.integers(1, 9))
def test_a_crash_at_any_byte_loses_nothing_that_was_promised(budget: int, every: int) -> None:
    memory = Memory()
    memory.budget = budget
    done = -1
    try:
        log = writer(memory, every)
        for number in range(20):
            log.append(Kind.PULL, {"model": f"{number:064x}"})
            done = number
        log.close()
    except Crash:
        pass
    memory.budget = None
    torn = bool(memory.log) and not memory.log.endswith(b"\n")
    with writer(memory, every) as log:
        log.append(Kind.START)
    report = verify(memory)
    kinds = dict(report.kinds)
    assert kinds.get(Kind.PULL, 0) in (done + 1, done + 2)  # the last may stand without an answer
    assert kinds.get(Kind.INCIDENT, 0) == int(torn)


def flipped_hash(entries: int) -> bytes:
    """A resume record that is well formed and has one wrong hash."""
    record = json.loads(filled(entries).files["resume.json"])
    record["hashes"][0] = "ab" * 32
    return json_bytes(record)


def test_without_resume_record_the_whole_log_is_read_and_checked() -> None:
    forged = filled(50).files["resume.json"].replace(b'"hashes":["', b'"hashes":["00')
    stale = filled(49).files["resume.json"]
    empty = b'{"at":"","hashes":[],"length":0,"size":0}'
    for record in (b"", b"{}", b"\xff", empty, forged, flipped_hash(50), stale):
        memory = filled(50)
        memory.files["resume.json"] = record
        memory.reads = 0
        with writer(memory) as log:
            assert log.head().size == 50
        assert memory.reads == 50
        # the same, with a line changed in a canonical way: the checkpoint's root finds it
        memory.log = memory.log.replace(f"{7:064x}".encode(), f"{8:064x}".encode())
        memory.files["resume.json"] = record
        with pytest.raises(InputError, match="root of the checkpoint") as caught:
            writer(memory)
        assert "backup" in caught.value.fix


def damaged(name: str) -> Memory:
    memory = filled(20)
    lines = memory.log.splitlines(keepends=True)
    if name == "a complete last line is gone":
        memory.log = b"".join(lines[:-1])
    elif name == "a promised last line is torn":
        memory.log = memory.log[:-5]
    elif name == "the log file is gone":
        memory.log = b""
    elif name == "the log and the resume record are gone":
        memory.log, memory.files["resume.json"] = b"", b""
    elif name == "garbage with a line feed follows":
        memory.log += b"garbage\n"
    elif name == "zeros and a line feed follow":
        memory.log += bytes(30) + b"\n"
    elif name == "the first line stands twice at the end":
        memory.log += lines[0]
    elif name == "the checkpoint is of another key":
        other = Memory()
        with LogWriter(other, "node", SigningKey(b"\x06" * 32), Clock()) as log:
            log.append(Kind.START)
        memory.files["checkpoint"] = other.files["checkpoint"]
    return memory


@pytest.mark.parametrize(
    "name",
    [
        "a complete last line is gone",
        "a promised last line is torn",
        "the log file is gone",
        "the log and the resume record are gone",
        "garbage with a line feed follows",
        "zeros and a line feed follow",
        "the first line stands twice at the end",
        "the checkpoint is of another key",
    ],
)
def test_other_damage_refuses_and_changes_nothing(name: str) -> None:
    memory = damaged(name)
    before = memory.log, dict(memory.files)
    with pytest.raises(InputError) as caught:
        writer(memory)
    assert caught.value.code is Code.TAMPERED and caught.value.fix
    assert (memory.log, memory.files) == before


def test_a_torn_line_without_end_and_without_measure_refuses() -> None:
    memory = filled(5)
    memory.log += b"\0" * 10
    pieces = [b"\0" * 10, b"\0" * 10]
    memory.lines = lambda start: iter(pieces)  # type: ignore[method-assign, assignment]
    with pytest.raises(InputError, match="does not end"):
        writer(memory)


def test_a_log_cut_while_it_is_open_refuses() -> None:
    memory = filled(20)
    log = writer(memory)
    log.append(Kind.START)
    memory.log = memory.log[: memory.log.rindex(b"\n", 0, -1) + 1]
    with pytest.raises(InputError, match="were written"):
        log.append(Kind.STOP)


def test_a_refused_entry_leaves_no_trace() -> None:
    memory = filled(3)
    log = writer(memory)
    before = memory.log
    with pytest.raises(InputError):
        log.append(Kind.PULL, {"model": "Mrs Miller"})
    assert memory.log == before
    log.append(Kind.STOP)
    log.close()
    assert verify(memory).size == 4


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_the_verifier_sees_every_change_to_the_bytes(data: st.DataObject) -> None:
    memory = filled(12)
    lines = memory.log.splitlines(keepends=True)
    kind = data.draw(st.sampled_from(["flip", "remove", "swap", "repeat", "insert"]))
    at = data.draw(st.integers(0, 11))
    if kind == "flip":
        raw = bytearray(memory.log)
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        memory.log = bytes(raw)
    elif kind == "remove":
        memory.log = b"".join(lines[:at] + lines[at + 1 :])
    elif kind == "swap":
        lines[at], lines[at - 1] = lines[at - 1], lines[at]
        memory.log = b"".join(lines)
    else:
        more = lines[at] if kind == "repeat" else b"\n"
        memory.log = b"".join([*lines[:at], more, *lines[at:]])
    with pytest.raises(InputError) as caught:
        list_of = [line for line in memory.log.split(b"\n") if line]  # split like a reader
        assert list_of
        verify(memory)
    assert caught.value.where.startswith(("line", "checkpoint"))


def test_the_verifier_names_the_line() -> None:
    memory = filled(12)
    lines = memory.log.splitlines(keepends=True)
    lines[4] = lines[4].replace(b'"seq":4', b'"seq":5')
    with pytest.raises(InputError, match="number 5, expected 4") as caught:
        verify_log(lines, [memory.files["checkpoint"]], KEY.public, ORIGIN)
    assert caught.value.where == "line 5"
    lines = memory.log.splitlines(keepends=True)
    lines[4] = lines[4].replace(b"2026", b"2025")
    with pytest.raises(InputError, match="dated 2025") as caught:
        verify_log(lines, [memory.files["checkpoint"]], KEY.public, ORIGIN)
    assert caught.value.where == "line 5"


def test_every_checkpoint_that_was_kept_is_met() -> None:
    memory = Memory()
    kept = []
    log = writer(memory, every=100)
    for number in range(25):
        log.append(Kind.PULL, {"model": str(number)})
        if number % 6 == 0:
            kept.append(log.checkpoint())
    log.append(Kind.STOP)
    report = verify_log(memory.lines(0), kept[::-1], KEY.public, ORIGIN)
    assert report.checkpoints == (1, 7, 13, 19, 25)
    assert "1 newer entries" in report.lines()[3]
    # a fork: a second log that shares a prefix, promised by the same key
    fork = writer(Memory(), every=100)
    for number in range(13):
        fork.append(Kind.PULL, {"model": str(number if number < 10 else 99)})
    with pytest.raises(InputError, match="another log") as caught:
        verify_log(memory.lines(0), [*kept, fork.checkpoint()], KEY.public, ORIGIN)
    assert caught.value.where == "line 13"


def test_a_log_without_checkpoint_or_end_is_not_green() -> None:
    memory = filled(12)
    with pytest.raises(InputError, match="no signed checkpoint"):
        verify_log(memory.lines(0), [], KEY.public, ORIGIN)
    with pytest.raises(InputError, match="not signed by the key"):
        verify_log(memory.lines(0), [memory.files["checkpoint"]], b"\x01" * 32, ORIGIN)
    memory.log += b"torn"
    with pytest.raises(InputError, match="not finished"):
        verify(memory)
    memory.log = b""
    with pytest.raises(InputError, match="promises 12"):
        verify(memory)
    assert verify_log([], [], KEY.public, ORIGIN).size == 0


def test_proofs_given_by_a_writer_hold() -> None:
    memory = filled(21)
    log = writer(memory)
    old = log.head()
    for index in (0, 7, 20):
        note, proof = log.prove(index)
        head = parse_checkpoint(note, KEY.public, ORIGIN, "c")
        raw = proof_bytes(proof)
        assert check_inclusion(raw, head, "proof").facts["model"] == f"{index:064x}"
        for wrong in (
            raw.replace(b'\\"seq\\":', b'\\"seq\\":1'),
            raw.replace(b'"size":21', b'"size":22'),
            raw.replace(f'"index":{index}'.encode(), b'"index":5'),
            raw.replace(b'"path":["', b'"path":["00'),
            raw.replace(b'"path"', b'"Path"'),
            raw.replace(b"pull", b"push"),
        ):
            with pytest.raises(InputError) as caught:
                check_inclusion(wrong, head, "proof")
            assert caught.value.where == "proof"
    for _ in range(9):
        log.append(Kind.PULL, {"model": "a"})
    note, growth = log.growth(old.size)
    new = parse_checkpoint(note, KEY.public, ORIGIN, "c")
    check_growth(old, new, growth, "node")
    assert log.growth(0)[1] == ()
    with pytest.raises(InputError):
        log.prove(30)


PEAK = """
import sys, tracemalloc
from datetime import UTC, datetime
from protocols.audit.checkpoint import origin_of, sign_checkpoint
from protocols.audit.entries import Kind
from protocols.audit.log import LogState
from protocols.audit.verify import verify_log
from protocols.signing import SigningKey

key, start, entries = SigningKey(b"\\x05" * 32), datetime(2026, 3, 1, 9, 30, tzinfo=UTC), 4000
origin, heads = origin_of("node", key.public), []

def lines():
    state = LogState(origin)
    for number in range(entries):
        _, line, state = state.append(Kind.PULL, {"model": f"{number:064x}"}, start)
        yield line
    heads.append(state.head())

size = sum(map(len, lines()))
note = sign_checkpoint(heads.pop(), key)
tracemalloc.start()
report = verify_log(lines(), [note], key.public, origin)
print(report.size, size, tracemalloc.get_traced_memory()[1])
"""


def test_verifying_needs_the_memory_of_a_line_not_of_a_log() -> None:
    """In a process of its own: threads of other tests would be measured as well."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK], capture_output=True, text=True, check=True, timeout=120
    )
    entries, size, peak = map(int, done.stdout.split())
    assert entries == 4000 and size > 500_000
    assert peak < 100_000
