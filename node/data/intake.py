"""``coop-node data add FILE``: a file is read once, shown, and kept whole or not at all.

``prepare`` reads the source into a transaction of the vault and says what keeping it would do;
``commit`` keeps it, and leaving without that leaves the vault as it was. ``preview`` reads the same
way without a vault.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from node.data import plan as plans
from node.data.convert import Converter
from node.data.database import Database
from node.data.plan import ImportPlan, ImportResult, Options, Tally
from node.data.rawfile import file_sha256
from node.data.stages import RawRows
from node.data.survey import Surveyed, surveyed
from node.data.vault import Change, ImportNote, Vault
from protocols.errors import InputError, LocalError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from node.data.batch import BadRow
    from node.data.manifest import ImportRecord
    from node.data.supersede import Replacing

    Progress = Callable[[int, int], None]

__all__ = ["ImportPlan", "ImportResult", "Options", "Prepared", "add", "prepare", "preview"]

MIN_SECRET_BYTES: Final = 32
OLDER: Final = ("keep", "replace")


def preview(
    spec: Path | Database, options: Options | None = None, progress: Progress | None = None
) -> ImportPlan:
    """Read a source from end to end and say what adding it would do; writes nothing.

    Args:
        spec: the file, or a table of a database.
        options: what the member said about it.
        progress: called with (what was read, in all).

    Raises:
        InputError: it cannot be used as it is; names file:line:column or the option.
    """
    options = _checked(options)
    with surveyed(spec, options, datetime.now(UTC).date()) as found:
        converter = Converter(found.reading.table, found.reading.columns, found.form, secret=None)
        tally = Tally()
        for _ in _converted(found, converter, tally, options, progress):
            pass
        return _plan(spec, options, found, tally)


@dataclass(slots=True)
class Prepared:
    """A source that was read into an open transaction.

    ``new`` of its rows are not in the vault yet, ``here`` are; both are None until ``compare``.
    """

    plan: ImportPlan
    _change: Change = field(repr=False)
    _now: datetime

    def compare(self) -> tuple[int, int]:
        """How many of the rows are new, and how many are here already."""
        return self._change.compare()

    def replacing(self) -> Replacing:
        """What becomes of orders that are here already."""
        return self._change.replacing()

    def commit(self, older: str | None = None) -> ImportResult:
        """Keep the rows.

        Args:
            older: ``keep`` or ``replace``: whether orders that are here stay as they are if this
                export is older than what is here; None for what the options say.

        Raises:
            InputError: the export looks older, and nobody said which counts.
            LocalError: the disk is full; nothing was changed.
        """
        plan, replacing = self.plan, self.replacing()
        older = older or plan.options.older
        if replacing.older is not None and older is None:
            raise plans.which_counts(plan, replacing)
        if not plan.rows and not replacing.lines:
            raise plans.nothing_left(plan.file_name, plan.left_out)
        note = ImportNote(
            file_name=plan.file_name,
            sha256=plan.sha256,
            rows_read=plan.rows,
            quarantined=plan.bad_rows,
            when=self._now.astimezone(UTC),
            reading=plan.digest,
        )
        done = self._change.commit(note, keep=replacing.older is not None and older == "keep")
        return ImportResult(
            rows_added=done.rows_added,
            duplicates=done.duplicates,
            named=done.named,
            quarantined=plan.bad_rows,
            quarantine=done.quarantine,
            date_from=plan.date_from,
            date_to=plan.date_to,
            categories=plan.categories,
            already_known=done.already_known,
            suppressed=done.suppressed,
            orders_changed=done.orders_changed,
            lines_replaced=done.lines_replaced,
            kept_back=done.kept_back,
        )


@contextmanager
def prepare(
    vault: Vault,
    spec: Path | Database,
    options: Options | None,
    customer_secret: bytes,
    now: datetime,
    progress: Progress | None = None,
) -> Iterator[Prepared]:
    """Read a source into a transaction; without ``commit`` nothing of it is kept.

    Args:
        vault: where the rows go.
        spec: the file, or a table of a database.
        options: what the member said about it.
        customer_secret: this member's own secret for customer keys, at least 32 bytes.
        now: the instant of the import, with a time zone.
        progress: called with (what was read, in all).

    Raises:
        InputError: it cannot be used as it is; names file:line:column or the option.
        LocalError: the disk is full, or another import is running; nothing was changed.
    """
    options = _checked(options)
    _require(customer_secret, now)
    with (
        surveyed(spec, options, now.date()) as found,
        vault.begin(found.reading.replaces) as change,
    ):
        reading = found.reading
        converter = Converter(reading.table, reading.columns, found.form, customer_secret)
        headers, tally = converter.headers.names(), Tally()
        for rows, bad, gone in _converted(found, converter, tally, options, progress):
            change.write(rows)
            change.quarantine(headers, bad)
            if gone is not None:
                change.leave_out(gone)
        yield Prepared(_plan(spec, options, found, tally), change, now)


def known(vault: Vault, path: Path, options: Options | None, day: date) -> ImportRecord | None:
    """The import of this very file, read in this very way, if adding it again changes nothing.

    Takes the time of hashing the file, and none if the vault is empty. An export that is to
    count although it is older is read again.
    """
    if not vault.imports() or (options is not None and options.older == "replace"):
        return None
    sha256 = file_sha256(path)
    if not any(record.sha256 == sha256 for record in vault.imports()):
        return None
    with surveyed(path, _checked(options), day) as found:
        return vault.known(sha256, found.digest())


def add(
    vault: Vault,
    plan: ImportPlan,
    customer_secret: bytes,
    now: datetime,
    progress: Progress | None = None,
) -> ImportResult:
    """Take the source of a plan into the vault: all of it or nothing.

    Args:
        vault: where the rows go.
        plan: from ``preview``; the source must still have the same contents.
        customer_secret: this member's own secret for customer keys, at least 32 bytes.
        now: the instant of the import, with a time zone.
        progress: called with (what was read, in all).

    Raises:
        InputError: the source changed since the preview.
        LocalError: the disk is full, or another import is running; nothing was changed.
    """
    _require(customer_secret, now)
    if isinstance(plan.path, Path):
        _require_same(file_sha256(plan.path), plan)
        record = known(vault, plan.path, plan.options, now.date())
        if record is not None:
            return unchanged(record)
    with prepare(vault, plan.path, plan.options, customer_secret, now, progress) as prepared:
        _require_same(prepared.plan.sha256, plan)
        return prepared.commit()


def unchanged(record: ImportRecord) -> ImportResult:
    """The result of adding a file that is here already."""
    return ImportResult(
        rows_added=0,
        duplicates=record.rows_added + record.duplicates,
        named=0,
        quarantined=record.quarantined,
        quarantine=None,
        date_from=record.date_from,
        date_to=record.date_to,
        categories=0,
        already_known=True,
        suppressed=record.suppressed,
    )


# --- one pass ----------------------------------------------------------------------------------


def _converted(
    found: Surveyed,
    converter: Converter,
    tally: Tally,
    options: Options,
    progress: Progress | None,
) -> Iterator[tuple[RawRows, Sequence[BadRow], pa.Table | None]]:
    """Rows, records that cannot be used, and orders of which nothing is left."""
    for batch in found.rows():
        rows, bad = converter.convert(batch)
        tally.add(rows, bad)
        tally.left_out.update(batch.left_out)
        tally.require_bearable(found.table.name, options.max_bad_share, found.table.most_rows())
        gone = converter.orders(batch.gone) if batch.gone is not None else None
        tally.gone += gone.num_rows if gone is not None else 0
        yield rows, bad, gone
        if progress is not None:
            progress(*found.table.progress())


def _plan(spec: Path | Database, options: Options, found: Surveyed, tally: Tally) -> ImportPlan:
    table, reading, form = found.table, found.reading, found.form
    sha256 = table.finish()
    tally.require_usable(table.name, options.max_bad_share)
    return ImportPlan(
        path=spec,
        options=options,
        file_name=table.name,
        size_bytes=table.size_bytes(),
        sha256=sha256,
        delimiter=getattr(table, "delimiter", ""),
        encoding=getattr(table, "encoding", ""),
        read_as=table.read_as,
        table=reading.table,
        reading=reading,
        digest=found.digest(),
        date_order=form.date_order,
        decimal=form.decimal,
        timezone=found.zone_name,
        currency=form.currency,
        columns=reading.columns,
        derived=plans.derived(reading, found.zone_name),
        notes=plans.notes(reading, options, tally),
        rows=tally.good + tally.bad,
        bad_rows=tally.bad,
        left_out=dict(tally.left_out),
        examples=tuple(tally.examples),
        date_from=tally.date_from,
        date_to=tally.date_to,
        categories=len(tally.categories),
        confidence=reading.confidence,
        preview=table.sample,
    )


# --- checks ------------------------------------------------------------------------------------


def _checked(options: Options | None) -> Options:
    options = options if options is not None else Options()
    if not 0 <= options.max_bad_share < 1:
        raise InputError(
            f"{options.max_bad_share} is not a share of bad rows; expected 0 to 0.99.",
            where="--max-bad-share",
        )
    if options.older not in (None, *OLDER):
        raise InputError(
            f"{options.older!r} is not possible here; expected keep or replace.", where="--older"
        )
    return options


def _require(customer_secret: bytes, now: datetime) -> None:
    if len(customer_secret) < MIN_SECRET_BYTES:
        raise LocalError(
            f"the customer secret has {len(customer_secret)} bytes; at least "
            f"{MIN_SECRET_BYTES} are expected.",
            fix="Restore keys/customer.key from your backup, or create the node again.",
        )
    if now.tzinfo is None:
        raise LocalError("the instant of an import needs a time zone.")


def _require_same(sha256: str, plan: ImportPlan) -> None:
    if sha256 != plan.sha256:
        raise InputError(
            "the file is not the one that was previewed; its contents changed.",
            where=plan.file_name,
            fix="Look at it again with: coop-node data add FILE.csv --dry-run",
        )


_FORMULA = re.compile(r"^[=+\-@\t\r]")
_PLAIN_NUMBER = re.compile(r"^[-+]?[0-9.,\s]+$")


def escape_formula(text: str) -> str:
    """A cell that a spreadsheet shows as text and never runs."""
    if _FORMULA.match(text) and not _PLAIN_NUMBER.match(text):
        return "'" + text
    return text
