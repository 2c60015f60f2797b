"""Vaults of earlier versions: each layout is lifted to the next, whole or not at all.

Layout 1 was a folder in plain text: ``manifest.json``, Parquet files named by their contents, and
rows set aside as CSV. Its rows are sealed into new files first; the rename of the new list of
contents is the instant of the upgrade, and what is left in plain text is removed right after it
(or at the next opening). Layouts newer than this program are refused.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import pyarrow as pa

from node.data import manifest, rowfiles, sealing, setaside
from node.data.batch import BadRow
from node.data.layout import PLAIN, Layout
from node.data.manifest import ImportRecord, Manifest
from node.data.schema import STORED_LINE
from node.data.staging import lines_digest
from node.files import read
from protocols.errors import LocalError

_ESCAPED: Final = ("'=", "'+", "'-", "'@", "'\t", "'\r")


def upgrade(layout: Layout) -> int:
    """Lift a vault to the layout of this program; returns the layout that it had.

    Raises:
        LocalError: it is damaged, of a newer version, or a change is under way; nothing was
            changed then.
    """
    found = version(layout)
    if found < sealing.VERSION:
        with layout.changing() as folder:
            for step in range(version(layout), sealing.VERSION):  # another process may have
                _STEPS[step](layout, folder)
    return found


def version(layout: Layout) -> int:
    """The layout that a vault's folder has; that of this program if there is no vault yet."""
    plain = layout.root / PLAIN
    return 1 if plain.exists() and not layout.manifest.exists() else sealing.VERSION


def _from_1(layout: Layout, folder: Path) -> None:
    path = layout.root / PLAIN
    document = _document(path)
    after = Manifest(erasure_secret=manifest.new_secret())
    digest = hashlib.sha256()
    for item in document["files"]:
        plain = layout.rows(item["name"])
        if not plain.is_file() or manifest.file_digest(plain) != item["sha256"]:
            raise sealing.damaged(f"the row file {plain.name} is missing or changed.", str(plain))
        with rowfiles.sink(layout, folder, "sales_line", item["rows"]) as out:
            for rows in rowfiles.stretches(plain, None):
                lines = _line(rows)
                lines_digest(digest, lines)
                out.write(lines)
            after = after.with_files((), out.close())
    if document["files"]:
        after = after.changed("sales_line", digest.digest())
    for item in document["imports"]:
        after = after.with_import(_record(layout, item))
    layout.store(rowfiles.merged(layout, folder, after))


_STEPS: Final[Mapping[int, Callable[[Layout, Path], None]]] = MappingProxyType({1: _from_1})


def _document(path: Path) -> dict[str, Any]:
    """The list of contents of layout 1, held against its own check."""
    try:
        document = json.loads(read(path, manifest.MAX_BYTES))
        if document["v"] != 1:
            raise LocalError(
                f"the vault was written by another version (layout {document['v']}, this one "
                f"reads up to {sealing.VERSION}).",
                where=str(path),
                fix="Install the release that wrote it, or a newer one.",
            )
        held = json.dumps(
            [document["files"], document["imports"]], sort_keys=True, separators=(",", ":")
        )
        if document["check"] != hashlib.sha256(held.encode()).hexdigest():
            raise sealing.damaged("the vault's list of contents was changed or damaged.", str(path))
    except (ValueError, KeyError, TypeError) as error:
        raise sealing.damaged("the vault's list of contents cannot be read.", str(path)) from error
    found: dict[str, Any] = document
    return found


def _line(rows: pa.Table) -> pa.Table:
    corrected = pa.array([False] * rows.num_rows)
    return rows.append_column("corrected", corrected).select(STORED_LINE.names).cast(STORED_LINE)


def _record(layout: Layout, item: Mapping[str, Any]) -> ImportRecord:
    """An import of layout 1; its rows that were set aside are sealed."""
    aside = item["quarantine"]
    if aside:
        headers, rows = _csv(layout.quarantine(aside))
        again = setaside.SetAside()
        again.add(headers, rows)
        aside = again.seal(layout)
    return ImportRecord(
        file_name=item["file_name"],
        sha256=item["sha256"],
        rows_read=item["rows_read"],
        rows_added=item["rows_added"],
        duplicates=item["duplicates"],
        quarantined=item["quarantined"],
        quarantine=aside,
        date_from=date.fromisoformat(item["date_from"]),
        date_to=date.fromisoformat(item["date_to"]),
        when=datetime.fromisoformat(item["when"]),
    )


def _csv(path: Path) -> tuple[list[str], list[BadRow]]:
    """Rows set aside as they were kept: line, column, problem, and the cells."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            (_, _, _, *headers), *found = list(csv.reader(file))
            rows = [
                BadRow(int(line), int(place), problem, tuple(map(_unescaped, kept)))
                for line, place, problem, *kept in found
            ]
    except (OSError, ValueError, csv.Error) as error:
        raise sealing.damaged("the rows set aside cannot be read.", str(path)) from error
    return headers, rows


def _unescaped(cell: str) -> str:
    """The cell as the till printed it; the list for people escapes formulas when it is made."""
    return cell[1:] if cell.startswith(_ESCAPED) else cell
