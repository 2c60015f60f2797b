"""Checkpoints as C2SP signed notes: a foreign vector, our own, and every malformed form."""

from __future__ import annotations

import base64

import pytest

from protocols.audit.checkpoint import (
    Checkpoint,
    check_growth,
    key_id,
    open_note,
    origin_of,
    parse_checkpoint,
    sign_checkpoint,
    sign_note,
    verifier_key,
)
from protocols.audit.merkle import (
    EMPTY_ROOT,
    CompactRange,
    consistency_ranges,
    leaf_hash,
)
from protocols.errors import Code, InputError, RemoteError
from protocols.signing import SigningKey
from whole_pass import hash_ranges

KEY = SigningKey(bytes(range(32)))
ORIGIN = origin_of("coordinator", KEY.public)
HEAD = Checkpoint(ORIGIN, 42, bytes(range(32)))

# the published example of Go's note package (golang.org/x/mod/sumdb/note)
GO_SECRET = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
GO_VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
GO_SIGNATURE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqf"
    "qdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_the_published_note_of_another_implementation() -> None:
    key = SigningKey(base64.b64decode(GO_SECRET)[1:])
    assert verifier_key("PeterNeumann", key.public) == GO_VERIFIER
    assert key_id("PeterNeumann", key.public).hex() == "c74f20a3"
    note = (GO_TEXT + "\n" + GO_SIGNATURE).encode()
    assert sign_note(GO_TEXT, "PeterNeumann", key) == note
    assert open_note(note, "PeterNeumann", key.public, "note") == GO_TEXT


def test_round_trip_and_form() -> None:
    note = sign_checkpoint(HEAD, KEY)
    lines = note.decode().split("\n")
    assert lines[:4] == [ORIGIN, "42", base64.b64encode(HEAD.root).decode(), ""]
    assert lines[4].startswith(f"— {ORIGIN} ")
    assert parse_checkpoint(note, KEY.public, ORIGIN, "c") == HEAD


def test_a_witness_signature_is_left_alone() -> None:
    witness = sign_note(HEAD.text(), "witness.example/w1", SigningKey(b"\x07" * 32))
    line = witness.decode().rpartition("\n\n")[2]
    note = sign_checkpoint(HEAD, KEY) + line.encode()
    assert parse_checkpoint(note, KEY.public, ORIGIN, "c") == HEAD


def signed(text: str) -> bytes:
    return sign_note(text, ORIGIN, KEY)


ROOT64 = base64.b64encode(HEAD.root).decode()
MALFORMED = {
    "empty": b"",
    "no signature": HEAD.text().encode(),
    "stranger": sign_note(HEAD.text(), ORIGIN, SigningKey(b"\x07" * 32)),
    "other name": sign_note(HEAD.text(), "other/log", KEY),
    "changed size": sign_checkpoint(HEAD, KEY).replace(b"\n42\n", b"\n43\n"),
    "extension line": signed(HEAD.text() + "extra\n"),
    "missing root": signed(f"{ORIGIN}\n42\n"),
    "leading zero": signed(f"{ORIGIN}\n042\n{ROOT64}\n"),
    "plus sign": signed(f"{ORIGIN}\n+42\n{ROOT64}\n"),
    "arabic digits": signed(f"{ORIGIN}\n٤٢\n{ROOT64}\n"),
    "negative": signed(f"{ORIGIN}\n-1\n{ROOT64}\n"),
    "too large": signed(f"{ORIGIN}\n{'9' * 30}\n{ROOT64}\n"),
    "short root": signed(f"{ORIGIN}\n42\n{base64.b64encode(bytes(31)).decode()}\n"),
    "loose base64": signed(f"{ORIGIN}\n42\n{ROOT64[:-2]}9=\n"),
    "url base64": signed(f"{ORIGIN}\n42\n{'_' * 43}=\n"),
    "other origin": signed(f"other/log\n42\n{ROOT64}\n"),
    "empty log with a root": signed(f"{ORIGIN}\n0\n{ROOT64}\n"),
    "carriage returns": sign_checkpoint(HEAD, KEY).replace(b"\n", b"\r\n"),
    "not UTF-8": sign_checkpoint(HEAD, KEY) + b"\xff",
    "no line end": sign_checkpoint(HEAD, KEY)[:-1],
    "hyphen": sign_checkpoint(HEAD, KEY).replace("—".encode(), b"-"),
    "short signature": (HEAD.text() + f"\n— {ORIGIN} AAAA\n").encode(),
    "1025 signatures": sign_checkpoint(HEAD, KEY) + b"\xe2\x80\x94 a AAAAAAAA\n" * 1024,
    "huge": b"a" * 600_000,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_checkpoints_are_refused(name: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_checkpoint(MALFORMED[name], KEY.public, ORIGIN, "the checkpoint file")
    assert caught.value.code is Code.TAMPERED
    assert caught.value.where == "the checkpoint file"
    assert caught.value.fix


def test_every_flipped_bit_is_refused() -> None:
    note = sign_checkpoint(HEAD, KEY)
    for position in range(len(note)):
        changed = bytearray(note)
        changed[position] ^= 1
        with pytest.raises(InputError):
            parse_checkpoint(bytes(changed), KEY.public, ORIGIN, "c")


def head_of(leaves: list[bytes]) -> Checkpoint:
    tree = CompactRange()
    for leaf in leaves:
        tree = tree.append(leaf)
    return Checkpoint(ORIGIN, tree.size, tree.root())


def test_growth_and_forks_are_told_apart() -> None:
    leaves = [leaf_hash(bytes([n])) for n in range(20)]
    old, new = head_of(leaves[:7]), head_of(leaves)
    proof = hash_ranges(leaves, consistency_ranges(7, 20))
    check_growth(old, new, proof, "coordinator")
    check_growth(old, old, (), "coordinator")
    check_growth(Checkpoint(ORIGIN, 0, EMPTY_ROOT), new, (), "coordinator")
    forked = [leaf_hash(b"x"), *leaves[1:]]
    cases = {
        "forked": (old, head_of(forked[:7]), ()),
        "rewritten": (old, head_of(forked), hash_ranges(forked, consistency_ranges(7, 20))),
        "removed": (new, old, proof),
        "mixed": (old, Checkpoint("other/log", 20, new.root), proof),
    }
    for word, (first, second, steps) in cases.items():
        with pytest.raises(RemoteError, match=word) as caught:
            check_growth(first, second, steps, "coordinator")
        assert caught.value.peer == "coordinator" and "checkpoint" in caught.value.fix
