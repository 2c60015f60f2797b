"""Who masks with whom above 300 members: a random circulant graph from A1.

Members stand on a circle in an order that nobody knows before every key is fixed, and mask with
those that stand k / 2 drawn numbers of steps away on either side (SPEC.md section 3; degree and
threshold: ``degree``). Were the steps 1 .. k / 2, a coordinator that names its own dropouts could
empty two stretches of the circle and so cut the members between them off from all others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np

from protocols.canonical import digest
from protocols.errors import LocalError
from protocols.secagg.degree import sparse_parameters
from protocols.secagg.masks import KEY_BYTES, prg

__all__ = ["neighbours", "sparse_parameters"]

WORD = 2**64


@lru_cache(maxsize=4)  # A1 is public; office and members of one process ask for the same graph
def neighbours(a1: bytes, n: int, k: int) -> tuple[tuple[int, ...], ...]:
    """Neighbours of every member, ascending, as indices into the descriptor's ids.

    The places on the circle are a Fisher-Yates shuffle with words of the PRG under the key
    H("SAQ1 graph", A1)[:16]; the words that follow shuffle the steps 2 .. (n - 1) / 2 in the same
    way. Members are neighbours when 1 step or one of the first k / 2 - 1 of these apart: the 1
    makes the graph connected, and a neighbourhood is a uniformly random set all the same.

    Args:
        a1: the first transcript, 32 bytes.
        n: members of the descriptor.
        k: even degree, 2 to n - 1.

    Raises:
        LocalError: no such graph.
    """
    if not 2 <= k < n or k % 2:
        raise LocalError(f"{n} members have no graph of degree {k}.")
    words = _words(digest("SAQ1 graph", a1)[:KEY_BYTES], 2 * n)
    place = np.array(shuffle(n, words))
    member = np.argsort(place)
    far = shuffle(max(0, (n - 1) // 2 - 1), words)
    one_way = np.array([1, *(2 + step for step in far[: k // 2 - 1])])
    steps = np.concatenate([one_way, -one_way])
    rows = np.sort(member[(place[:, np.newaxis] + steps) % n], axis=1)
    return tuple(map(tuple, rows.tolist()))


def shuffle(n: int, words: Iterable[int]) -> list[int]:
    """A permutation of 0 .. n - 1 from uniform 64-bit words.

    A word beyond the largest multiple of the range is passed over: what is left is exactly uniform.
    """
    out, drawn = list(range(n)), iter(words)
    for at in range(n - 1):
        span = n - at
        word = next(drawn)
        while word >= WORD - WORD % span:
            word = next(drawn)
        other = at + word % span
        out[at], out[other] = out[other], out[at]
    return out


def _words(key: bytes, count: int) -> Iterator[int]:
    """Little-endian 64-bit words of the key's stream, without end."""
    done = 0
    while True:
        lanes = prg(key, 2 * (done + count)).tolist()
        for at in range(2 * done, len(lanes), 2):
            yield lanes[at] | lanes[at + 1] << 32
        done += count
