"""Everything in the vault sealed again under another key, in one transaction.

The rename of the manifest is the instant at which the new key counts: before it the old key opens
the vault, after it the new one. Who keeps the keys must have both until then.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from node.data import duck, rowfiles, sealing, setaside
from node.data.layout import Layout
from node.data.manifest import Removed


def rotate(layout: Layout, new_key: bytes, now: datetime) -> int:
    """Seal all files again under ``new_key`` (32 bytes); returns how many.

    Raises:
        LocalError: a change is under way; the disk is full; nothing was changed then.
    """
    later = Layout(layout.root, sealing.require_key(new_key))
    with duck.plain_disk_errors(layout.root), layout.changing(later) as folder:
        before, records = layout.load(), []
        after = before
        for file in before.files:
            with rowfiles.sink(later, folder, file.table, file.rows) as out:
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
    layout.require_gone(before.names() - after.names())
    return len(after.names())
