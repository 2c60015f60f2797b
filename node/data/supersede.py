"""The newest export of an order is the truth about it: what the vault held before goes.

Orders are the same if they come from the same till's format (``ImportRecord.source``), have the
same number and were made at the same moment. The moment keeps two shops with one till's format
apart, whose numbers both count from 1001. It is compared as a clock shows it in any time zone:
the same export read in another zone is a whole number of quarters of an hour away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from node.data import identity

if TYPE_CHECKING:
    from node.data.manifest import ImportRecord

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]

NEAR: Final = timedelta(days=2)  # a day of an order may be another one in another time zone
_QUARTER_US: Final = 15 * 60 * 1_000_000
_APART: Final = 26 * 4  # quarters of an hour between the westernmost clock and the easternmost
_BITS: Final = 24  # hold the quarters of an hour of any year that is read
_FIRST: Final = 1 << 22  # above the quarters of an hour before 1970


@dataclass(frozen=True, slots=True)
class Replacing:
    """What an import would do to orders that are here already.

    Args:
        orders: how many of them are not what they were.
        lines: lines of theirs that go.
        coming: lines of theirs that come.
        late: new lines of orders that are not here, of days that a later export knows.
        older: an import of the same source that knows of later sales than this one and shares its
            days, if any order changes or comes late: then this export may be the older one.
    """

    orders: int = 0
    lines: int = 0
    coming: int = 0
    late: int = 0
    older: ImportRecord | None = None


class Moments:
    """Orders by number and moment; N of them, in any order and with repetitions.

    Args:
        refs: their numbers, null for none.
        ts_us: int64 (N,), their moments as microseconds since 1970.
    """

    def __init__(self, refs: pa.Array, ts_us: Int64s) -> None:
        self._refs = pc.unique(refs)
        codes, there = self._codes(refs)
        ts_us = ts_us[there]
        self._keys = np.unique(_key(codes[there], ts_us))
        self._at = np.unique(self._places(_key(codes[there], ts_us), ts_us))

    def find(self, refs: pa.Array, ts_us: Int64s) -> Bools:
        """Which of M orders are among these; bool (M,)."""
        out = np.zeros(len(refs), np.bool_)
        codes, there = self._codes(refs)
        keys = _key(codes, ts_us)
        there &= np.isin(keys, self._keys)
        asked = np.flatnonzero(there)
        if not len(asked):
            return out
        places = self._places(keys[asked], ts_us[asked])
        at = np.searchsorted(self._at, places)
        after = self._at[np.minimum(at, len(self._at) - 1)]
        before = self._at[np.maximum(at - 1, 0)]
        out[asked] = np.minimum(abs(after - places), abs(places - before)) <= _APART
        return out

    def _codes(self, refs: pa.Array) -> tuple[Int64s, Bools]:
        found = pc.index_in(refs, value_set=self._refs)
        there = pc.and_(pc.is_valid(found), pc.is_valid(refs))
        codes = pc.fill_null(found, 0).to_numpy(zero_copy_only=False).astype(np.int64)
        return codes, np.array(there.to_numpy(zero_copy_only=False), np.bool_)

    def _places(self, keys: Int64s, ts_us: Int64s) -> Int64s:
        """Orders of one number and one place in the quarter of an hour stand side by side."""
        nth = np.searchsorted(self._keys, keys)
        return (nth << _BITS) + ts_us // _QUARTER_US + _FIRST


def _key(codes: Int64s, ts_us: Int64s) -> Int64s:
    return codes * _QUARTER_US + ts_us % _QUARTER_US


def distinct(parts: Sequence[tuple[pa.Array, Int64s]]) -> int:
    """How many different orders there are in several lists of numbers and moments."""
    found: set[tuple[str, int]] = set()
    for refs, ts_us in parts:
        found.update(zip(refs.to_pylist(), (ts_us % _QUARTER_US).tolist(), strict=True))
    return len(found)


@dataclass(frozen=True, slots=True)
class Held:
    """Lines of one file of the vault that may belong to orders of an import (K of them).

    Args:
        rows: int64 (K,), their places in the file.
        refs: the numbers of their orders.
        ts_us: int64 (K,), their moments.
        same: bool (K,): the import has the very same line.
        taken_off: bool (K,): the line was taken off its customer here.
        hashes: (K, 2) their identities, and ``copies`` (K,): what a digest of them is made from.
    """

    rows: Int64s
    refs: pa.Array = field(repr=False)
    ts_us: Int64s = field(repr=False)
    same: Bools = field(repr=False)
    taken_off: Bools = field(repr=False)
    hashes: identity.Hashes = field(repr=False)
    copies: npt.NDArray[np.int32] = field(repr=False)


class Gathered:
    """Lines of one file that may belong to orders of the import, gathered as they go by."""

    def __init__(self, near: tuple[date, date] | None) -> None:
        self._near = near
        self.parts: list[Held] = []

    def take(self, rows: pa.Table, found: Int64s, at: int) -> None:
        """Some lines, their places in the import (-1 for none), and where they begin."""
        if self._near is None:
            return
        first, last = (pa.scalar(day, pa.date32()) for day in self._near)
        day, refs = rows["business_date"], rows["order_ref"]
        inside = pc.and_(pc.and_(pc.greater_equal(day, first), pc.less_equal(day, last)),
                         pc.is_valid(refs))  # fmt: skip
        chosen = np.flatnonzero(inside.to_numpy())
        if not len(chosen):
            return
        lost = pc.and_(rows["corrected"], pc.is_null(rows["customer_key"])).to_numpy()
        self.parts.append(
            Held(
                rows=chosen + at,
                refs=identity.whole(refs).take(pa.array(chosen)),
                ts_us=micros(rows["ts_utc"])[chosen],
                same=found[chosen] >= 0,
                taken_off=lost[chosen],
                hashes=identity.from_bytes(rows["line_hash"])[chosen],
                copies=rows["copy"].to_numpy()[chosen],
            )
        )

    def held(self) -> Held:
        """All of them."""
        parts = self.parts
        return Held(
            rows=np.concatenate([one.rows for one in parts]),
            refs=pa.concat_arrays([one.refs for one in parts]),
            ts_us=np.concatenate([one.ts_us for one in parts]),
            same=np.concatenate([one.same for one in parts]),
            taken_off=np.concatenate([one.taken_off for one in parts]),
            hashes=np.concatenate([one.hashes for one in parts]),
            copies=np.concatenate([one.copies for one in parts]),
        )


@dataclass(frozen=True, slots=True)
class Superseded:
    """What N lines of an import do to the lines that are here of the same orders.

    Args:
        drops: name of a file -> places of its lines that go, ascending.
        held: bool (N,): new lines of orders that are here.
        late: bool (N,): new lines of other orders, of days that a later export knows: it may have
            left them out because they were cancelled.
        nameless: bool (N,): new lines of orders of which a line was taken off its customer.
        orders: how many orders are not what they were.
        digest: over the lines that go; 32 bytes.
    """

    drops: Mapping[str, Int64s] = field(repr=False)
    held: Bools = field(repr=False)
    late: Bools = field(repr=False)
    nameless: Bools = field(repr=False)
    orders: int = 0
    digest: bytes = b""

    @property
    def lines(self) -> int:
        """How many lines go."""
        return sum(map(len, self.drops.values()))

    @classmethod
    def nothing(cls, count: int) -> Superseded:
        """For ``count`` lines that touch no order."""
        none = np.zeros(count, np.bool_)
        return cls({}, none, none, none)


def later_imports(
    imports: Sequence[ImportRecord], source: str, newest: datetime, span: tuple[date, date]
) -> tuple[ImportRecord, ...]:
    """Imports of a source that know of later sales than ``newest`` and share days of a span.

    The one that knows most comes last.
    """
    later = [
        (one.as_of, at)
        for at, one in enumerate(imports)
        if one.source == source and one.as_of is not None and one.as_of > newest
        and span[0] - NEAR <= _last(one) and one.date_from <= span[1] + NEAR
    ]  # fmt: skip
    return tuple(imports[at] for _, at in sorted(later))


def known_days(days: pa.ChunkedArray | pa.Array, later: Sequence[ImportRecord]) -> Bools:
    """Which of N days some later import covers; bool (N,)."""
    out = np.zeros(len(days), np.bool_)
    for one in later:
        first, last = (pa.scalar(day, pa.date32()) for day in (one.date_from, _last(one)))
        inside = pc.and_(pc.greater_equal(days, first), pc.less_equal(days, last))
        out |= inside.to_numpy(zero_copy_only=False).astype(np.bool_)
    return out


def _last(record: ImportRecord) -> date:
    """The last day that an import knows of, with orders that it left out."""
    return max(record.date_to, record.as_of.date()) if record.as_of else record.date_to


def superseded(
    held: Mapping[str, Held],
    refs: pa.Array,
    ts_us: Int64s,
    fresh: Bools,
    known: Bools,
    gone: pa.Table,
) -> Superseded:
    """Compare an import with what is here.

    Args:
        held: name of a file -> its lines of the import's days, of the same source.
        refs, ts_us: order and moment of each of N lines of the import.
        fresh: bool (N,): the line is in no file.
        known: bool (N,): a later export knows the line's day.
        gone: columns of ``schema.ORDER``: orders of which the import leaves out every line.
    """
    count = len(refs)
    exported = Moments(
        pa.concat_arrays([refs, identity.whole(gone["order_ref"])]),
        np.concatenate((ts_us, micros(gone["ts_utc"]))),
    )
    drops, removed, changed = dict[str, Int64s](), [], []
    for name, one in held.items():
        out = np.flatnonzero(~one.same)
        out = out[exported.find(one.refs.take(pa.array(out)), one.ts_us[out])]
        if len(out):
            drops[name] = one.rows[out]
            removed.append((one.hashes[out], one.copies[out]))
            changed.append((one.refs.take(pa.array(out)), one.ts_us[out]))
    places = np.flatnonzero(fresh)
    new, new_us = refs.take(pa.array(places)), ts_us[places]
    of_held, nameless = np.zeros(count, np.bool_), np.zeros(count, np.bool_)
    of_held[places] = _among(held, new, new_us, taken_off=False)
    nameless[places] = _among(held, new, new_us, taken_off=True)
    of = np.flatnonzero(of_held)
    changed.append((refs.take(pa.array(of)), ts_us[of]))
    return Superseded(
        drops=drops,
        held=of_held,
        late=fresh & known & ~of_held,
        nameless=nameless,
        orders=distinct(changed),
        digest=removed_digest(removed),
    )


def _among(held: Mapping[str, Held], refs: pa.Array, ts_us: Int64s, *, taken_off: bool) -> Bools:
    parts = [
        (one.refs.filter(pa.array(mask)), one.ts_us[mask])
        for one in held.values()
        if (mask := one.taken_off if taken_off else np.ones(len(one.rows), np.bool_)).any()
    ]
    if not parts or not len(refs):
        return np.zeros(len(refs), np.bool_)
    here = Moments(pa.concat_arrays([p[0] for p in parts]), np.concatenate([p[1] for p in parts]))
    return here.find(refs, ts_us)


def micros(instants: pa.ChunkedArray | pa.Array) -> Int64s:
    """Instants as microseconds since 1970; int64 (N,)."""
    whole = identity.whole(instants).cast(pa.timestamp("us", "UTC")).view(pa.int64())
    return np.asarray(whole.to_numpy(zero_copy_only=False), np.int64)


def removed_digest(parts: Sequence[tuple[identity.Hashes, npt.NDArray[np.int32]]]) -> bytes:
    """SHA-256 over the identities of lines that go, in whatever files they lay."""
    hashes = np.concatenate([np.empty((0, 2), np.uint64), *(part[0] for part in parts)])
    copies = np.concatenate([np.empty(0, np.int32), *(part[1] for part in parts)])
    order = np.lexsort((copies, hashes[:, 1], hashes[:, 0]))
    out = hashlib.sha256(hashes[order].astype(">u8").tobytes())
    out.update(copies[order].astype("<u4").tobytes())
    return out.digest()
