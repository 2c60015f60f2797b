"""Lines on their way in: staged once under a key that nobody keeps, told apart, then filed.

While lines are staged, only their hashes stay in memory (about 50 bytes a line). When all are
there, equal lines are numbered, those that are in the vault already are found, and the rest is
read back and written to the vault's own files.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from node.data import identity, rowfiles, sealing
from node.data.identity import Numbered
from node.data.layout import Layout
from node.data.manifest import ImportRecord, Manifest, RowFile
from node.data.schema import ORDER, SALES_LINE
from node.data.supersede import (
    NEAR,
    Gathered,
    Held,
    Superseded,
    known_days,
    later_imports,
    micros,
    superseded,
)

Bools = npt.NDArray[np.bool_]
_FILE: Final = "staged.parquet"
_OF_ORDER: Final = ["order_ref", "ts_utc", "business_date"]


@dataclass(frozen=True, slots=True)
class Told:
    """N staged lines told apart.

    Args:
        hashes: (N, 2), and ``numbered`` to find them.
        fresh: bool (N,): in no file of the vault, and not of an erased customer.
        suppressed: how many lines of erased customers are left out.
        unnamed: name of a file -> places in the import (ascending) of lines that it has without
            the customer whom they name.
        orders: what becomes of orders that are here already.
    """

    hashes: identity.Hashes = field(repr=False)
    numbered: Numbered = field(repr=False)
    fresh: Bools = field(repr=False)
    suppressed: int
    unnamed: dict[str, npt.NDArray[np.int64]] = field(repr=False)
    orders: Superseded = field(repr=False)

    @property
    def new(self) -> int:
        """How many lines are new."""
        return int(self.fresh.sum())

    def kept(self) -> Told:
        """The same if orders that are here stay as they are, because the export is older."""
        nothing = Superseded.nothing(len(self.fresh))
        fresh = self.fresh & ~self.orders.held & ~self.orders.late
        return replace(self, fresh=fresh, orders=nothing)


@dataclass(frozen=True, slots=True)
class Filed:
    """What became of staged lines: new files, files that they replace, counts, and digests.

    ``kept_back`` lines are of orders that stay as they are; ``orders`` are the ones that changed
    and ``removed`` the lines of theirs that went.
    """

    new: tuple[RowFile, ...] = ()
    gone: tuple[RowFile, ...] = ()
    added: int = 0
    suppressed: int = 0
    named: int = 0
    digest: bytes = b""
    kept_back: int = 0
    orders: int = 0
    removed: int = 0
    removed_digest: bytes = b""


class Forgotten:
    """Customers who were erased: recognised when an export brings them back, known to nobody."""

    def __init__(self, secret: bytes, marks: frozenset[str]) -> None:
        self._secret, self._marks = secret, marks

    def mark(self, customer_key: str) -> str:
        """HMAC-SHA256 of a key, 64 hex digits."""
        text = b"datacoop/erased/v1\0" + customer_key.encode()
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()

    def among(self, keys: pa.ChunkedArray) -> Bools:
        """Which rows are of erased customers; bool (N,)."""
        if not self._marks:
            return np.zeros(len(keys), np.bool_)
        found = [k for k in pc.unique(keys).to_pylist() if k and self.mark(k) in self._marks]
        erased: Bools = pc.is_in(keys, value_set=pa.array(found, pa.string())).to_numpy()
        return erased


class StagedLines:
    """Sales lines of one import, in their order.

    With a ``source`` they replace what is here of the same orders from the same source.
    """

    def __init__(
        self, layout: Layout, folder: Path, forgotten: Forgotten, source: str = ""
    ) -> None:
        self._source = source
        self._gone: list[pa.Table] = []
        self._layout, self._folder, self._forgotten = layout, folder, forgotten
        self._key, self._salt = secrets.token_bytes(32), secrets.token_bytes(32)
        self._hashes: list[identity.Hashes] = []
        self._suppressed: list[Bools] = []
        self._customer: list[Bools] = []
        self._told: Told | None = None
        self.days: tuple[date, date] | None = None
        self.span: tuple[date, date] | None = None  # of the lines and of what was left out
        self.newest: datetime | None = None
        self._writer = pq.ParquetWriter(
            folder / _FILE,
            SALES_LINE,
            compression="lz4",
            encryption_properties=sealing.writing(self._key, self._salt, _FILE),
        )

    def write(self, lines: pa.Table) -> None:
        """Stage some lines with the columns of ``schema.STAGED``."""
        if not lines.num_rows:
            return
        self._hashes.append(identity.line_hashes(lines))
        self._suppressed.append(self._forgotten.among(lines["customer_key"]))
        self._customer.append(pc.is_valid(lines["customer_key"]).to_numpy())
        self.days = _spanned(self.days, lines)
        self._see(lines)
        self._writer.write_table(lines.select(SALES_LINE.names).cast(SALES_LINE))

    def seen(self, orders: pa.Table) -> None:
        """Orders of which the import leaves out every line; ``schema.ORDER``."""
        if self._source and orders.num_rows:
            self._gone.append(orders)
            self._see(orders)

    def _see(self, rows: pa.Table) -> None:
        self.span = _spanned(self.span, rows)
        newest = pc.max(rows["ts_utc"]).as_py().astimezone(UTC)
        self.newest = max(self.newest or newest, newest)

    @property
    def count(self) -> int:
        """How many lines were staged."""
        return sum(map(len, self._suppressed))

    def told(self, before: Manifest) -> Told:
        """Which of the staged lines are new; no line can be staged any more."""
        if self._told is None:
            self.close()
            hashes = np.concatenate([np.empty((0, 2), np.uint64), *self._hashes])
            self._hashes.clear()
            numbered = Numbered(hashes)
            suppressed = np.concatenate([np.empty(0, np.bool_), *self._suppressed])
            has = np.concatenate([np.empty(0, np.bool_), *self._customer]) & ~suppressed
            here, unnamed, held = self._known(before, numbered, has)
            fresh = ~here & ~suppressed
            self._told = Told(
                hashes=hashes,
                numbered=numbered,
                fresh=fresh,
                suppressed=int((suppressed & ~here).sum()),
                unnamed=unnamed,
                orders=self._superseded(before, held, fresh),
            )
        return self._told

    def file(self, before: Manifest, *, keep: bool = False) -> Filed:
        """Put the lines that are new into the vault's files, and customers to those without.

        Lines that are no part of their order any more go, unless ``keep`` leaves orders that are
        here as they are.
        """
        whole = self.told(before)
        told = whole.kept() if keep else whole
        wanted = np.unique(np.concatenate([np.empty(0, np.int64), *told.unnamed.values()]))
        digest = hashlib.sha256()
        with rowfiles.sink(self._layout, self._folder, "sales_line", told.new, self._source) as out:
            customers = self._pass(out, told, wanted, digest)
            new = list(out.close())
        touched = told.unnamed.keys() | told.orders.drops.keys()
        gone = [file for file in before.files if file.name in touched]
        for file in gone:
            new += self._again(file, told, wanted, customers, digest)
        return Filed(
            new=tuple(new),
            gone=tuple(gone),
            added=told.new,
            suppressed=told.suppressed,
            named=sum(map(len, told.unnamed.values())),
            digest=digest.digest(),
            kept_back=whole.new - told.new,
            orders=told.orders.orders,
            removed=told.orders.lines,
            removed_digest=told.orders.digest,
        )

    def close(self) -> None:
        """Finish the staged file."""
        if self._writer.is_open:
            self._writer.close()

    def _known(
        self, before: Manifest, numbered: Numbered, has: Bools
    ) -> tuple[Bools, dict[str, npt.NDArray[np.int64]], dict[str, Held]]:
        """Which lines are here; which files gain customers; lines that may have to go."""
        here, unnamed, held = np.zeros(len(has), np.bool_), {}, {}
        for file in before.of("sales_line"):
            near = self._near(file)
            if not near and (self.days is None or not file.meets(*self.days)):
                continue
            places, orders, at = [], Gathered(near), 0
            columns = ["line_hash", "copy", "customer_key", "corrected"]
            for rows in rowfiles.batches(self._layout, file, columns + _OF_ORDER * bool(near)):
                found, open_to = _matched(rows, numbered)
                here[found[found >= 0]] = True
                orders.take(rows, found, at)
                at += rows.num_rows
                found = found[open_to & (found >= 0)]
                places.append(found[has[found]])
            gains = np.sort(np.concatenate([np.empty(0, np.int64), *places]))
            if len(gains):
                unnamed[file.name] = gains
            if orders.parts:
                held[file.name] = orders.held()
        return here, unnamed, held

    def _near(self, file: RowFile) -> tuple[date, date] | None:
        """The days of a file's lines that may belong to orders of the import."""
        if not self._source or file.source != self._source or self.span is None:
            return None
        near = self.span[0] - NEAR, self.span[1] + NEAR
        return near if file.meets(*near) else None

    def later(self, before: Manifest) -> tuple[ImportRecord, ...]:
        """Imports of the same source and days that know of later sales than this one."""
        if not self._source or self.span is None or self.newest is None:
            return ()
        return later_imports(before.imports, self._source, self.newest, self.span)

    def _superseded(self, before: Manifest, held: dict[str, Held], fresh: Bools) -> Superseded:
        same = all(one.same.all() for one in held.values()) and not fresh.any()
        later = self.later(before)
        if same or not (held or later):
            return Superseded.nothing(len(fresh))
        refs, ts_us = [pa.array([], pa.string())], [np.empty(0, np.int64)]
        known = [np.empty(0, np.bool_)]
        for rows in self._staged(_OF_ORDER):
            refs.append(identity.whole(rows["order_ref"]))
            ts_us.append(micros(rows["ts_utc"]))
            known.append(known_days(rows["business_date"], later))
        return superseded(
            held,
            pa.concat_arrays(refs),
            np.concatenate(ts_us),
            fresh,
            np.concatenate(known),
            pa.concat_tables([ORDER.empty_table(), *self._gone]),
        )

    def _pass(
        self,
        out: rowfiles.Sink,
        told: Told,
        wanted: npt.NDArray[np.int64],
        digest: hashlib._Hash,
    ) -> pa.Array:
        """Write the fresh lines; returns the customers of the wanted ones, in their order."""
        at, customers = 0, []
        hashes, copies = told.hashes, told.numbered.copies
        for rows in self._staged():
            end = at + rows.num_rows
            here = told.fresh[at:end]
            mine = wanted[np.searchsorted(wanted, at) : np.searchsorted(wanted, end)] - at
            customers.append(identity.whole(rows["customer_key"]).take(mine))
            if here.any():
                chosen = rows.filter(pa.array(here))
                nameless = told.orders.nameless[at:end][here]
                chosen = _without_customers(chosen, nameless)
                line_hash = identity.as_bytes(hashes[at:end][here])
                chosen = chosen.append_column("line_hash", line_hash)
                chosen = chosen.append_column("copy", pa.array(copies[at:end][here]))
                chosen = chosen.append_column("corrected", pa.array(nameless))
                lines_digest(digest, chosen)
                out.write(chosen)
            at = end
        return pa.concat_arrays([pa.array([], pa.string()), *customers])

    def _again(
        self,
        file: RowFile,
        told: Told,
        wanted: npt.NDArray[np.int64],
        customers: pa.Array,
        digest: hashlib._Hash,
    ) -> tuple[RowFile, ...]:
        """A file again, in which lines that had no customer have theirs, without those that go."""
        drops = told.orders.drops.get(file.name, np.empty(0, np.int64))
        at = 0
        with rowfiles.sink(self._layout, self._folder, file.table, file.rows, file.source) as out:
            for rows in rowfiles.batches(self._layout, file):
                stays = np.ones(rows.num_rows, np.bool_)
                stays[drops[(drops >= at) & (drops < at + rows.num_rows)] - at] = False
                at += rows.num_rows
                filled = (
                    _with_customers(rows, told.numbered, wanted, customers, digest)
                    if file.name in told.unnamed
                    else rows
                )
                out.write(filled.filter(pa.array(stays)))
            return out.close()

    def _staged(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        opening = sealing.opening(self._key, self._salt, _FILE)
        yield from rowfiles.stretches(self._folder / _FILE, opening, columns)


def _with_customers(
    rows: pa.Table,
    numbered: Numbered,
    wanted: npt.NDArray[np.int64],
    customers: pa.Array,
    digest: hashlib._Hash,
) -> pa.Table:
    """Lines with the customers that the import names.

    Only the empty customer of a line is filled in, never one that is there or was corrected.
    """
    found, open_to = _matched(rows, numbered)
    place = np.searchsorted(wanted, found)
    inside = np.minimum(place, len(wanted) - 1)
    gains = open_to & (found >= 0) & (wanted[inside] == found)
    names = customers.take(pa.array(inside, mask=~gains))
    at = rows.schema.get_field_index("customer_key")
    filled = pc.coalesce(identity.whole(rows["customer_key"]), names)
    rows = rows.set_column(at, "customer_key", filled)
    lines_digest(digest, rows.filter(pa.array(gains)))
    return rows


def _without_customers(rows: pa.Table, nameless: Bools) -> pa.Table:
    """Lines of orders that were taken off their customers name nobody either."""
    if not nameless.any():
        return rows
    at = rows.schema.get_field_index("customer_key")
    nobody = pa.scalar(None, pa.string())
    keys = pc.if_else(pa.array(nameless), nobody, identity.whole(rows["customer_key"]))
    return rows.set_column(at, "customer_key", keys)


def _spanned(span: tuple[date, date] | None, rows: pa.Table) -> tuple[date, date]:
    """First and last day of the rows and of a span."""
    days = pc.min_max(rows["business_date"]).as_py()
    first, last = span or (days["min"], days["max"])
    return min(first, days["min"]), max(last, days["max"])


def _matched(rows: pa.Table, numbered: Numbered) -> tuple[npt.NDArray[np.int64], Bools]:
    """Places of a file's lines in the import, and which of them may be given a customer."""
    found = numbered.find(identity.from_bytes(rows["line_hash"]), rows["copy"].to_numpy())
    open_to = pc.and_(pc.is_null(rows["customer_key"]), pc.invert(rows["corrected"])).to_numpy()
    return found, open_to


def lines_digest(digest: hashlib._Hash, rows: pa.Table) -> None:
    """Take lines and their customers into a digest, whatever the stretches they come in."""
    if not rows.num_rows:
        return
    out = np.zeros((rows.num_rows, identity.HASH_BYTES + 4 + 64), np.uint8)
    hashes = identity.from_bytes(rows["line_hash"]).astype(">u8")
    out[:, :16] = np.ascontiguousarray(hashes).view(np.uint8).reshape(-1, 16)
    copies = rows["copy"].to_numpy().astype("<u4")
    out[:, 16:20] = np.ascontiguousarray(copies).view(np.uint8).reshape(-1, 4)
    keys = np.array(pc.fill_null(rows["customer_key"], "").to_pylist(), "S64")
    out[:, 20:] = keys.view(np.uint8).reshape(-1, 64)
    digest.update(out.tobytes())
