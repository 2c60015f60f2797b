"""A round in which the coordinator sees every member's vector: one exchange, or all but masked.

For benchmarks only, to say what the protection costs. It lives outside the product, which has no
such mode; everything that is not about masks (quantisation, packing, the range of a sum) is the
product's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from unittest import mock

import numpy as np

from protocols.secagg import _phases, masks, recovery
from protocols.secagg.fixedpoint import Sums, Update, check_input, pack, quantise, unpack_into
from protocols.secagg.params import RoundDescriptor
from protocols.secagg.recovery import read_sum


def plain_vector(
    update: Update, descriptor: RoundDescriptor, entropy: Callable[[int], bytes]
) -> bytes:
    """The member's quantised vector, packed as a masked one would be."""
    check_input(update, 1, descriptor)
    rounding = masks.prg(entropy(masks.KEY_BYTES), descriptor.dim)
    return pack(quantise(update, 1, rounding, descriptor), descriptor.width)


class PlainSum:
    """The coordinator's side: adds what comes."""

    def __init__(self, descriptor: RoundDescriptor) -> None:
        self._descriptor = descriptor
        self._total = np.zeros(descriptor.coordinates, dtype=np.uint32)
        self.members = 0

    def add(self, vector: bytes) -> None:
        unpack_into(vector, self._descriptor.width, self._total)
        self.members += 1

    def result(self) -> tuple[Sums, int]:
        """Sums and the sum of weights."""
        return read_sum(self._total, self.members, self._descriptor)


@contextmanager
def unmasked() -> Iterator[None]:
    """Secure rounds in here go their whole way, keys, shares and audit, but no mask is added."""
    bare = SimpleNamespace(**{**vars(masks), "add_masks": lambda *_: None})
    with (
        mock.patch.object(_phases, "masks", bare),
        mock.patch.object(recovery, "take_off", lambda *_: None),
    ):
        yield
