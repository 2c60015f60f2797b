"""RFC 9162 hashing against the known vectors of Certificate Transparency and a naive tree."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.audit.merkle import (
    EMPTY_ROOT,
    CompactRange,
    consistency_ranges,
    inclusion_ranges,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from protocols.errors import Code, InputError
from whole_pass import hash_ranges

# the eight leaves of the reference tests of certificate-transparency (merkle_tree_test)
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
PATHS = (  # (index, size, path)
    (0, 1, ()),
    (
        0,
        8,
        (
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ),
    ),
    (
        5,
        8,
        (
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ),
    ),
    (2, 3, ("fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",)),
    (
        1,
        5,
        (
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ),
    ),
)
GROWTHS = (  # (old, new, proof)
    (1, 1, ()),
    (
        1,
        8,
        (
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ),
    ),
    (
        6,
        8,
        (
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ),
    ),
    (
        2,
        5,
        (
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ),
    ),
)


# a second implementation, by the recursive definitions of RFC 9162 section 2.1, nothing shared


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def naive_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return sha(b"")
    if len(leaves) == 1:
        return sha(b"\x00" + leaves[0])
    k = split(len(leaves))
    return sha(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:]))


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def naive_path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*naive_path(index, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(index - k, leaves[k:]), naive_root(leaves[:k])]


def naive_growth(m: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    if m == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*naive_growth(m, leaves[:k], whole), naive_root(leaves[k:])]
    return [*naive_growth(m - k, leaves[k:], False), naive_root(leaves[:k])]


def tree(leaves: list[bytes]) -> CompactRange:
    out = CompactRange()
    for leaf in leaves:
        out = out.append(leaf_hash(leaf))
    return out


def fast_path(index: int, leaves: list[bytes]) -> tuple[bytes, ...]:
    return hash_ranges(map(leaf_hash, leaves), inclusion_ranges(index, len(leaves)))


def fast_growth(old: int, leaves: list[bytes]) -> tuple[bytes, ...]:
    return hash_ranges(map(leaf_hash, leaves), consistency_ranges(old, len(leaves)))


def test_known_roots() -> None:
    assert tree([]).root() == EMPTY_ROOT == sha(b"")
    for size, root in enumerate(ROOTS, start=1):
        assert tree(LEAVES[:size]).root().hex() == root


@pytest.mark.parametrize(("index", "size", "path"), PATHS)
def test_known_inclusion_paths(index: int, size: int, path: tuple[str, ...]) -> None:
    proof = fast_path(index, LEAVES[:size])
    assert tuple(step.hex() for step in proof) == path
    root = bytes.fromhex(ROOTS[size - 1])
    verify_inclusion(leaf_hash(LEAVES[index]), index, size, proof, root)


@pytest.mark.parametrize(("old", "new", "path"), GROWTHS)
def test_known_consistency_proofs(old: int, new: int, path: tuple[str, ...]) -> None:
    proof = fast_growth(old, LEAVES[:new])
    assert tuple(step.hex() for step in proof) == path
    verify_consistency(
        old, bytes.fromhex(ROOTS[old - 1]), new, bytes.fromhex(ROOTS[new - 1]), proof
    )


def test_every_small_tree_agrees_with_the_recursive_definition() -> None:
    leaves = [bytes([n]) for n in range(34)]
    for size in range(1, len(leaves) + 1):
        part = leaves[:size]
        root = naive_root(part)
        assert tree(part).root() == root
        for index in range(size):
            proof = fast_path(index, part)
            assert list(proof) == naive_path(index, part)
            verify_inclusion(leaf_hash(part[index]), index, size, proof, root)
            growth = fast_growth(index + 1, part)
            assert list(growth) == naive_growth(index + 1, part)
            verify_consistency(index + 1, naive_root(part[: index + 1]), size, root, growth)
        verify_consistency(0, EMPTY_ROOT, size, root, ())


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_no_other_leaf_position_or_proof_verifies(data: st.DataObject) -> None:
    leaves = data.draw(st.lists(st.binary(max_size=4), min_size=1, max_size=70, unique=True))
    index = data.draw(st.integers(0, len(leaves) - 1))
    root, proof = tree(leaves).root(), list(fast_path(index, leaves))
    leaf = leaf_hash(leaves[index])
    other = data.draw(st.integers(0, len(leaves) + 3).filter(lambda n: n != index))
    broken: list[tuple[bytes, int, list[bytes]]] = [
        (leaf_hash(leaves[index] + b"!"), index, proof),
        (leaf, other, proof),
        (leaf, index, [*proof, root]),
        (leaf, index, [root, *proof]),
    ]
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        flipped = bytes([proof[at][0] ^ 1]) + proof[at][1:]
        broken += [
            (leaf, index, [*proof[:at], flipped, *proof[at + 1 :]]),
            (leaf, index, proof[:at] + proof[at + 1 :]),
            (leaf, index, [*proof[:at], proof[at][:31], *proof[at + 1 :]]),
        ]
    for wrong_leaf, wrong_index, wrong_proof in broken:
        with pytest.raises(InputError) as caught:
            verify_inclusion(wrong_leaf, wrong_index, len(leaves), wrong_proof, root)
        assert caught.value.code is Code.TAMPERED


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_no_rewritten_log_is_consistent(data: st.DataObject) -> None:
    leaves = data.draw(st.lists(st.binary(max_size=4), min_size=2, max_size=70, unique=True))
    old = data.draw(st.integers(1, len(leaves) - 1))
    changed = data.draw(st.integers(0, old - 1))
    forked = [*leaves[:changed], leaves[changed] + b"!", *leaves[changed + 1 :]]
    old_root, new_root = tree(leaves[:old]).root(), tree(leaves).root()
    honest = list(fast_growth(old, leaves))
    verify_consistency(old, old_root, len(leaves), new_root, honest)
    lies: list[tuple[bytes, bytes, list[bytes]]] = [
        (old_root, tree(forked).root(), list(fast_growth(old, forked))),
        (tree(forked[:old]).root(), new_root, honest),
        (old_root, new_root, [*honest, old_root]),
        (old_root, new_root, honest[1:]),
        (old_root, new_root, honest[:-1]),
    ]
    for first, second, proof in lies:
        with pytest.raises(InputError):
            verify_consistency(old, first, len(leaves), second, proof)


def test_impossible_questions_are_refused() -> None:
    for index, size in ((-1, 3), (3, 3), (0, 0)):
        with pytest.raises(InputError):
            inclusion_ranges(index, size)
    for old, new in ((0, 3), (4, 3), (-1, 1)):
        with pytest.raises(InputError):
            consistency_ranges(old, new)
    with pytest.raises(InputError):
        verify_consistency(3, EMPTY_ROOT, 2, EMPTY_ROOT, ())
    with pytest.raises(InputError):
        hash_ranges([b"\x00" * 32], ((0, 2),))
    with pytest.raises(InputError):
        CompactRange(3, (b"\x00" * 32,))
    with pytest.raises(InputError):
        CompactRange(1, (b"\x00" * 31,))
