"""Everything in the vault sealed again under another key, in one transaction.

The rename of the manifest is the instant at which the new key counts: before it the old key opens
the vault, after it the new one. Who keeps the keys must have both until then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from node.data import duck, rowfiles, sealing, setaside
from node.data.layout import Layout
from node.data.manifest import Removed


def rotate(
    layout: Layout, begin: Callable[[], bytes], finish: Callable[[], object], now: datetime
) -> tuple[Layout, int]:
    """Seal all files again; returns the folder under its new key, and how many files.

    Args:
        begin: makes the new key (32 bytes) and keeps it beside the old one.
        finish: lets the new key take the place of the old one. Both are called under the lock.

    Raises:
        LocalError: a change is under way; the disk is full; nothing was changed then.
    """
    with duck.plain_disk_errors(layout.root), layout.changing() as folder:
        before, records = layout.load(), []
        later = Layout(layout.root, sealing.require_key(begin()))
        after = before
        for file in before.files:
            with rowfiles.sink(later, folder, file.table, file.rows, file.source) as out:
                for rows in rowfiles.batches(layout, file):
                    out.write(rows, file.part)
                after = after.with_files((file,), out.close())
        for record in before.imports:
            name = record.quarantine
            if name:
                again = setaside.SetAside()
                again.add(*setaside.load(layout, name))
                name = again.seal(later)
            records.append(replace(record, quarantine=name))
        # rows are what they were, so the same file again is still known: the epoch stays
        note = Removed("key", "rotate", 0, now)
        after = replace(after, imports=tuple(records), removals=(*after.removals, note))
        later.store(after)
        finish()
        later.sweep()
    later.require_gone(before.names() - after.names())
    return later, len(after.names())
