"""One person's rows in the vault: found, handed to the owner, corrected, erased.

Erasing writes again only the files that hold the person, under new names and keys, and forgets
the old keys; the person is remembered as an HMAC that recognises an export which brings the rows
back, and tells nobody who it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from node.data import duck, identity, rowfiles, setaside
from node.data.layout import Layout
from node.data.manifest import Manifest, Removed, RowFile
from node.data.schema import SALES_LINE
from node.data.staging import Forgotten
from protocols.canonical import digest
from protocols.errors import InputError

PERSONAL_TABLES: Final = ("sales_line", "customer")
# What a person can have corrected of a line; its identity stays that of the till.
LINE_COLUMNS: Final = frozenset(SALES_LINE.names) - {"ts_utc", "business_date"}
RECORD_COLUMNS: Final = frozenset({"first_seen", "country", "region", "source"})
_KEY: Final = ds.field("customer_key")


@dataclass(frozen=True, slots=True)
class Trace:
    """What the vault holds of one person; the days are None without a line."""

    lines: int
    customers: int
    quarantined: int
    first_day: date | None
    last_day: date | None

    @property
    def empty(self) -> bool:
        """Whether there is nothing at all."""
        return not (self.lines or self.customers or self.quarantined)


@dataclass(frozen=True, slots=True)
class Removal:
    """What an erasure took out: sales lines, customer records, rows set aside; and how many
    files were written again or removed."""

    lines: int
    customers: int
    quarantined: int
    files: int


@dataclass(frozen=True, slots=True)
class LineCorrection:
    """New values for one line of a person.

    Args:
        line_hash: 16 bytes, and ``copy`` its number among equal lines, as ``lines_of`` gives them.
        values: canonical column -> value; ``{"customer_key": None}`` takes the line off the
            person, for good.
    """

    line_hash: bytes
    copy: int
    values: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Correction:
    """How many lines and customer records were corrected, in how many files."""

    lines: int
    customers: int
    files: int


def trace(layout: Layout, customer_key: str) -> Trace:
    """Count what is held of a person, everywhere in the vault."""
    found = layout.load()
    days = _rows(layout, found, "sales_line", (customer_key,), ["business_date"])["business_date"]
    span = pc.min_max(days).as_py()
    return Trace(
        lines=len(days),
        customers=_rows(layout, found, "customer", (customer_key,), ["customer_key"]).num_rows,
        quarantined=sum(
            row.customer_key == customer_key
            for record in found.imports
            if record.quarantine
            for row in setaside.load(layout, record.quarantine)[1]
        ),
        first_day=span["min"],
        last_day=span["max"],
    )


def lines_of(layout: Layout, customer_key: str) -> pa.Table:
    """A person's lines for the owner's eyes: the canonical columns, ``line_hash`` and ``copy``."""
    columns = [*SALES_LINE.names, "line_hash", "copy"]
    rows = _rows(layout, layout.load(), "sales_line", (customer_key,), columns)
    return rows.sort_by([("ts_utc", "ascending"), ("line_hash", "ascending")])


def _rows(
    layout: Layout, found: Manifest, table: str, keys: Collection[str], columns: list[str]
) -> pa.Table:
    files = [file for file in found.of(table) if file.may_hold(keys)]
    held = rowfiles.dataset(layout, table, files)
    return held.to_table(columns=columns, filter=_KEY.isin(sorted(keys)), use_threads=False)


# --- erasing -----------------------------------------------------------------------------------


def erase(layout: Layout, keys: Iterable[str], now: datetime, reason: str) -> Removal:
    """Take people out, and remember them so that no import brings them back.

    Raises:
        InputError: nobody is named, or not by 64 hex digits.
        LocalError: a change is under way; the disk is full; nothing was changed then.
    """
    people = frozenset(keys)
    if not people or any(len(key) != 64 or set(key) - set("0123456789abcdef") for key in people):
        raise InputError("an erasure names people by their keys, 64 hex digits each.")
    with duck.plain_disk_errors(layout.root):
        with layout.changing() as folder:
            before = layout.load()
            after, counts = _without(layout, folder, before, people)
            after, aside = _without_set_aside(layout, after, people)
            forgotten = Forgotten(bytes.fromhex(before.erasure_secret), frozenset())
            marks = frozenset(map(forgotten.mark, people))
            total = sum(counts.values()) + aside
            after = replace(after, erased=after.erased | marks).removed(
                Removed("erase", reason, total, now)
            )
            after = after.changed("erase", digest("datacoop/vault/erase", *sorted(marks)))
            layout.store(after)
        old = before.names() - after.names()
        layout.require_gone(old)
    return Removal(counts["sales_line"], counts["customer"], aside, len(old))


def _without(
    layout: Layout, folder: Path, before: Manifest, people: frozenset[str]
) -> tuple[Manifest, dict[str, int]]:
    """The manifest without these people's rows, and how many rows of each table went."""
    after, counts = before, dict.fromkeys(PERSONAL_TABLES, 0)
    theirs = _KEY.isin(sorted(people))
    for file in before.files:
        if file.table not in PERSONAL_TABLES or not file.may_hold(people):
            continue
        rows = rowfiles.dataset(layout, file.table, (file,)).count_rows(
            filter=theirs, use_threads=False
        )
        if not rows:
            continue
        counts[file.table] += rows
        names = pa.array(sorted(people), pa.string())

        def kept(batch: pa.Table, names: pa.Array = names) -> pa.Table:
            return batch.filter(pc.invert(pc.is_in(batch["customer_key"], value_set=names)))

        after = after.with_files((file,), rowfiles.again(layout, folder, file, kept))
    return after, counts


def _without_set_aside(
    layout: Layout, found: Manifest, people: frozenset[str]
) -> tuple[Manifest, int]:
    total, records = 0, []
    for record in found.imports:
        name, gone = record.quarantine, 0
        if name:
            name, gone = setaside.without(layout, name, people)
        total += gone
        records.append(replace(record, quarantine=name))
    return replace(found, imports=tuple(records)), total


# --- correcting --------------------------------------------------------------------------------


def correct(
    layout: Layout,
    customer_key: str,
    lines: Sequence[LineCorrection],
    now: datetime,
    record: Mapping[str, object],
) -> Correction:
    """Put right what is wrong about a person; the values before are not kept.

    Lines keep their identity, so the same export does not bring the old values back.

    Args:
        record: new values of the customer record: first_seen, country, region, source.

    Raises:
        InputError: a line is not this person's, a column cannot be corrected, a value does not
            fit; nothing was changed.
    """
    _require_columns(lines, record)
    with duck.plain_disk_errors(layout.root):
        with layout.changing() as folder:
            before = layout.load()
            after, corrected = _corrected_lines(layout, folder, before, customer_key, lines)
            if corrected != len({(one.line_hash, one.copy) for one in lines}):
                raise InputError(
                    "a line that is to be corrected is not among this customer's lines.",
                    fix="Take the lines as they are listed for this customer.",
                )
            after, records = _corrected_record(layout, folder, after, customer_key, record)
            if record and not records:
                raise InputError("there is no customer record of this customer.")
            after = after.removed(Removed("correct", "rectify", corrected + records, now))
            what = (f"{one.line_hash.hex()}/{one.copy}/{dict(one.values)!r}" for one in lines)
            after = after.changed("correct", digest("datacoop/vault/correct", *what, repr(record)))
            layout.store(after)
        old = before.names() - after.names()
        layout.require_gone(old)
    return Correction(corrected, records, len(old))


def _require_columns(lines: Sequence[LineCorrection], record: Mapping[str, object]) -> None:
    if not lines and not record:
        raise InputError("nothing is to be corrected.")
    for names, allowed in [(one.values, LINE_COLUMNS) for one in lines] + [
        (record, RECORD_COLUMNS)
    ]:
        for name in sorted(set(names) - allowed):
            raise InputError(
                f"the column {name!r} cannot be corrected; expected one of "
                f"{', '.join(sorted(allowed))}.",
            )
    if any(one.values.get("customer_key") is not None for one in lines):
        raise InputError("a line can be taken off a customer, not given to another one.")


def _corrected_lines(
    layout: Layout,
    folder: Path,
    before: Manifest,
    customer_key: str,
    lines: Sequence[LineCorrection],
) -> tuple[Manifest, int]:
    wanted = {(one.line_hash, one.copy): one.values for one in lines}
    after, done = before, 0
    for file in before.of("sales_line") if lines else ():
        if not file.may_hold((customer_key,)):
            continue
        mine = _mine(layout, file, customer_key, wanted)
        if not mine:
            continue
        done += len(mine)

        def changed(batch: pa.Table, mine: Mapping[tuple[bytes, int], object] = mine) -> pa.Table:
            return _patched(batch, wanted, frozenset(mine))

        after = after.with_files((file,), rowfiles.again(layout, folder, file, changed))
    return after, done


def _mine(
    layout: Layout, file: RowFile, customer_key: str, wanted: Collection[tuple[bytes, int]]
) -> dict[tuple[bytes, int], object]:
    """Which of the wanted lines lie in a file and are this person's."""
    held = rowfiles.dataset(layout, file.table, (file,)).to_table(
        columns=["line_hash", "copy"], filter=customer_key == _KEY, use_threads=False
    )
    keys = zip(held["line_hash"].to_pylist(), held["copy"].to_pylist(), strict=True)
    return {key: None for key in keys if key in wanted}


def _patched(
    batch: pa.Table,
    wanted: Mapping[tuple[bytes, int], Mapping[str, object]],
    mine: frozenset[tuple[bytes, int]],
) -> pa.Table:
    """A stretch with the new values in their places."""
    keys = zip(batch["line_hash"].to_pylist(), batch["copy"].to_pylist(), strict=True)
    places = {place: wanted[key] for place, key in enumerate(keys) if key in mine}
    if not places:
        return batch
    names = {name for values in places.values() for name in values}
    for name in sorted(names):
        values = {at: new[name] for at, new in places.items() if name in new}
        batch = _with_values(batch, name, values)
    return _with_values(batch, "corrected", dict.fromkeys(places, True))


def _with_values(batch: pa.Table, name: str, values: Mapping[int, object]) -> pa.Table:
    at, kind = batch.schema.get_field_index(name), batch.schema.field(name).type
    mask = np.zeros(batch.num_rows, np.bool_)
    mask[sorted(values)] = True
    try:
        new = pa.array([values[place] for place in sorted(values)], kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError) as error:
        raise InputError(f"{error}.", where=name) from error
    if new.null_count and not batch.schema.field(name).nullable:
        raise InputError("this column cannot be empty.", where=name)
    column = pc.replace_with_mask(identity.whole(batch[name]), pa.array(mask), new)
    return batch.set_column(at, batch.schema.field(at), column)


def _corrected_record(
    layout: Layout,
    folder: Path,
    before: Manifest,
    customer_key: str,
    record: Mapping[str, object],
) -> tuple[Manifest, int]:
    after, done = before, 0
    for file in before.of("customer") if record else ():
        held = rowfiles.dataset(layout, file.table, (file,))
        if not file.may_hold((customer_key,)) or not held.count_rows(filter=customer_key == _KEY):
            continue
        done += 1

        def changed(batch: pa.Table) -> pa.Table:
            places = pc.indices_nonzero(pc.equal(batch["customer_key"], customer_key)).to_pylist()
            for name, value in {**record, "corrected": True}.items() if places else ():
                batch = _with_values(batch, name, dict.fromkeys(places, value))
            return batch

        after = after.with_files((file,), rowfiles.again(layout, folder, file, changed))
    return after, done
