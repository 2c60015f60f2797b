"""Who shares and masks with whom in one attempt (SPEC.md section 3): all with all, or a graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from protocols.secagg.graph import neighbours
from protocols.secagg.params import MAX_COMPLETE, RoundDescriptor


class Topology:
    """Neighbourhoods of the members of one attempt.

    Args:
        descriptor: gives the ids and the degree.
        a1: the first transcript, which draws the graph above 300 members.
    """

    def __init__(self, descriptor: RoundDescriptor, a1: bytes) -> None:
        self._ids = descriptor.ids
        self._index = {one: number for number, one in enumerate(descriptor.ids)}
        self._rows: npt.NDArray[np.intp] | None = None
        self._near: dict[bytes, frozenset[bytes]] = {}
        if descriptor.members > MAX_COMPLETE:
            rows = neighbours(a1, descriptor.members, descriptor.degree)
            self._rows = np.array(rows, dtype=np.intp)

    def index(self, member: bytes) -> int:
        """Place of a member among the descriptor's ids."""
        return self._index[member]

    def among(self, member: bytes, chosen: Sequence[bytes]) -> tuple[bytes, ...]:
        """The neighbours of ``member`` in ``chosen``, in its order; never the member itself."""
        if self._rows is None:
            return tuple(one for one in chosen if one != member)
        near = self._near.get(member)
        if near is None:
            near = frozenset(self._ids[i] for i in self._rows[self._index[member]])
            self._near[member] = near
        return tuple(one for one in chosen if one in near)

    def least_degree(self, chosen: Sequence[bytes]) -> int:
        """The smallest number of neighbours in ``chosen`` that one of ``chosen`` has."""
        if self._rows is None:
            return len(chosen) - 1
        at = np.array([self._index[one] for one in chosen], dtype=np.intp)
        there = np.zeros(len(self._ids), dtype=np.int64)
        there[at] = 1
        return int(there[self._rows[at]].sum(axis=1).min())

    def owners(self, holder: bytes, chosen: Sequence[bytes]) -> tuple[bytes, ...]:
        """Members of ``chosen`` whose shares ``holder`` has, itself included, in its order."""
        if self._rows is None:
            return tuple(chosen)
        near = frozenset((holder, *self.among(holder, chosen)))
        return tuple(one for one in chosen if one in near)
