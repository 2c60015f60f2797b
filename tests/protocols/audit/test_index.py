"""The index of subtree hashes: few reads, never believed, made again whatever happened to it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory_place import Memory
from protocols.audit.checkpoint import check_growth, origin_of, parse_checkpoint
from protocols.audit.entries import Kind
from protocols.audit.index import END_BYTES, HASH_BYTES, place_of, whole_entries
from protocols.audit.merkle import (
    CompactRange,
    consistency_ranges,
    inclusion_ranges,
    leaf_hash,
    verify_consistency,
)
from protocols.audit.verify import check_inclusion, proof_bytes
from protocols.audit.writer import LogWriter
from protocols.errors import Code, InputError
from protocols.signing import SigningKey
from whole_pass import hash_ranges

KEY = SigningKey(b"\x05" * 32)
ORIGIN = origin_of("node", KEY.public)
NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


def writer(memory: Memory) -> LogWriter:
    return LogWriter(memory, "node", KEY, lambda: NOW)


def filled(entries: int) -> Memory:
    memory = Memory()
    with writer(memory) as log:
        for number in range(entries):
            log.append(Kind.PULL, {"model": f"{number:064x}"})
    return memory


def leaves(memory: Memory) -> list[bytes]:
    return [leaf_hash(line) for line in memory.log.splitlines()]


def check_all(memory: Memory) -> None:
    """Every proof that can be asked for is the one that a pass over all leaves gives."""
    log, hashed = writer(memory), leaves(memory)
    size = len(hashed)
    for index in range(size):
        note, proof = log.prove(index)
        head = parse_checkpoint(note, KEY.public, ORIGIN, "c")
        assert check_inclusion(proof_bytes(proof), head, "p").seq == index
        assert proof.path == hash_ranges(hashed, inclusion_ranges(index, size))
    for old in range(1, size + 1):
        _, growth = log.growth(old)
        assert growth == hash_ranges(hashed, consistency_ranges(old, size))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 8, 9, 16, 21, 33])
def test_every_proof_is_what_a_whole_pass_gives(size: int) -> None:
    check_all(filled(size))


def test_places_are_without_gaps() -> None:
    at = 0
    for entry in range(300):
        assert place_of(entry) == at
        at += END_BYTES + HASH_BYTES * (1 + ((entry ^ (entry + 1)).bit_length() - 1))
        assert whole_entries(at) == entry + 1 and whole_entries(at - 1) == entry
    assert whole_entries(0) == 0 and whole_entries(place_of(10**6)) == 10**6


def test_a_proof_reads_a_few_hashes_and_one_line() -> None:
    memory = filled(2000)
    log = writer(memory)
    log.prove(0)
    memory.reads = memory.index_reads = 0
    log.prove(1234)
    log.growth(777)
    assert memory.reads == 1 and memory.index_reads < 100


def test_the_index_grows_with_the_log_by_what_is_new() -> None:
    memory = filled(100)
    log = writer(memory)
    log.growth(50)
    for _ in range(5):
        log.append(Kind.STOP)
    memory.reads = 0
    old = log.head()
    note, proof = log.growth(old.size)
    assert memory.reads == 5 and proof == ()
    assert memory.index[: place_of(105)] == memory.index
    check_growth(old, parse_checkpoint(note, KEY.public, ORIGIN, "c"), proof, "node")


def test_a_torn_index_at_every_byte() -> None:
    memory = filled(9)
    log = writer(memory)
    log.prove(3)
    whole = memory.index
    assert len(whole) == place_of(9)
    for length in range(len(whole)):
        memory.index = whole[:length]
        writer(memory).prove(3)
        assert memory.index == whole
    for more in (b"\0", bytes(200), whole):  # of a log that was longer once
        memory.index = whole + more
        writer(memory).prove(3)
        check_all(memory)


def test_every_flipped_byte_is_found_or_harmless() -> None:
    memory = filled(6)
    log = writer(memory)
    log.prove(0)
    whole = memory.index
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 0x41
        memory.index = bytes(changed)
        check_all(memory)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.binary(max_size=3000))
def test_any_bytes_in_place_of_the_index(size: int, content: bytes) -> None:
    memory = filled(size)
    memory.index = content
    note, proof = writer(memory).prove(size // 2)
    head = parse_checkpoint(note, KEY.public, ORIGIN, "c")
    assert check_inclusion(proof_bytes(proof), head, "p").seq == size // 2


def test_the_index_of_another_log_is_not_believed() -> None:
    memory, other = filled(12), filled(30)
    writer(other).prove(0)
    memory.index = other.index
    with writer(memory) as log:
        log.append(Kind.STOP)
    check_all(memory)


def test_a_log_that_was_changed_behind_its_checkpoint_gives_no_proof() -> None:
    memory = filled(20)
    log = writer(memory)
    log.prove(5)
    memory.log = memory.log.replace(f"{7:064x}".encode(), f"{8:064x}".encode())
    with pytest.raises(InputError, match="damaged") as caught:
        log.prove(7)
    assert caught.value.code is Code.TAMPERED and "backup" in caught.value.fix
    memory.index = b""
    for ask in (lambda: log.prove(3), lambda: log.growth(11)):
        with pytest.raises(InputError, match="damaged"):
            ask()


def test_sizes_that_never_were_and_roots_that_were() -> None:
    memory = filled(21)
    log, hashed = writer(memory), leaves(memory)
    assert log.growth(22)[1] == () and log.growth(0)[1] == ()
    assert log.root_at(22) is None
    tree = CompactRange()
    for size, leaf in enumerate(hashed, 1):
        tree = tree.append(leaf)
        assert log.root_at(size) == tree.root()
        verify_consistency(size, tree.root(), 21, log.head().root, log.between(size, 21))
    _, proofs = log.growths((3, 22, 21, 0))
    assert [bool(proof) for proof in proofs] == [True, False, False, False]
    with pytest.raises(InputError):
        log.prove(21)
    root13 = log.root_at(13)
    assert root13 is not None
    verify_consistency(5, log.root_at(5) or b"", 13, root13, log.between(5, 13))
