"""Days as spreadsheets count them, for date columns whose cells are plain numbers.

Counting starts in 1900 or in 1904, and only the workbook says where. In the 1900 count day 60 is
the 29 February 1900 that never was (kept from Lotus 1-2-3), so days before it are one higher.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import date, timedelta
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from node.data.batch import RoleBatch
from node.data.columns import Role

_NUMBER: Final = re.compile(r"([0-9]{1,7})(?:\.([0-9]+))?")
_ANY: Final = r"^\s*[0-9]{1,7}(\.[0-9]+)?\s*$"
_DAY_S: Final = 86_400
_DAYS: Final = (Role.DATE, Role.FIRST_SEEN, Role.AS_OF)
_FIRST: Final = {1900: date(1899, 12, 30), 1904: date(1904, 1, 1)}
_NEVER: Final = 60


def with_days(batch: RoleBatch, epoch: int) -> RoleBatch:
    """The batch with numbers in its day columns written as days.

    Args:
        batch: any batch.
        epoch: the year in which the workbook's count starts; 0 if the source has none.
    """
    if not epoch:
        return batch
    columns = dict(batch.columns)
    for role in _DAYS:
        if role not in columns:
            continue
        encoded = columns[role].dictionary_encode()
        if pc.any(pc.match_substring_regex(encoded.dictionary, _ANY)).as_py():
            texts = [day_text(text, epoch) for text in encoded.dictionary.to_pylist()]
            columns[role] = pa.array(texts, pa.string()).take(encoded.indices)
    gone = with_days(batch.gone, epoch) if batch.gone is not None else None
    return replace(batch, columns=columns, gone=gone)


def day_text(text: str, epoch: int) -> str:
    """A number of days as YYYY-MM-DD, with HH:MM:SS if it has a fraction; other texts as they are.

    The day that never was stays a number, which nothing reads as a day.
    """
    match = _NUMBER.fullmatch(text.strip())
    if match is None:
        return text
    count = int(match[1])
    if epoch == 1900 and count == _NEVER:
        return text
    if epoch == 1900 and count < _NEVER:
        count += 1
    try:
        day = _FIRST[epoch] + timedelta(days=count)
    except OverflowError:
        return text
    if not match[2] or not int(match[2]):
        return day.isoformat()
    # a fraction of a day is exact to about a millisecond: the nearest second is what was meant
    seconds = (int(match[2]) * _DAY_S * 2 // 10 ** len(match[2]) + 1) // 2
    day += timedelta(days=seconds // _DAY_S)
    hours, rest = divmod(seconds % _DAY_S, 3600)
    return f"{day.isoformat()} {hours:02d}:{rest // 60:02d}:{rest % 60:02d}"
