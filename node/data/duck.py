"""DuckDB with its doors closed: no network, no extensions, no files outside the vault."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import duckdb

from protocols.errors import Code, LocalError

MEMORY: Final = "256MB"
THREADS: Final = 1

_FULL: Final = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
_FULL_WORDS: Final = ("no space left", "file too large", "disk quota", "disk full", "out of disk")


def quoted(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def files(paths: list[Path]) -> str:
    """The SQL that reads these Parquet files as one table."""
    return f"read_parquet([{', '.join(quoted(str(path)) for path in paths)}])"


@contextlib.contextmanager
def connection(root: Path, spill: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty in-memory database that can reach the files under ``root`` and nothing else.

    Args:
        root: the vault's folder.
        spill: a folder for what does not fit in memory; made when needed, removed at the end.
    """
    db = duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": MEMORY,
            "threads": str(THREADS),
            "temp_directory": str(spill),
            "preserve_insertion_order": "false",
        },
    )
    try:
        db.execute(f"SET allowed_directories = [{quoted(str(root))}]")
        db.execute("SET enable_external_access = false")
        db.execute("SET enable_progress_bar = false")
        db.execute("SET lock_configuration = true")
        yield db
    finally:
        db.close()


@contextlib.contextmanager
def plain_disk_errors(root: Path) -> Iterator[None]:
    """A full disk or a failing one as one sentence."""
    try:
        yield
    except (OSError, duckdb.IOException, duckdb.OutOfMemoryException) as error:
        text = str(error).lower()
        number = error.errno if isinstance(error, OSError) else None
        if number in _FULL or any(word in text for word in _FULL_WORDS):
            raise LocalError(
                "the disk is full. Nothing was changed.",
                code=Code.UNAVAILABLE,
                where=str(root),
                fix="Free some space (about twice the size of the file) and try again.",
            ) from error
        raise LocalError(
            f"the vault cannot be read or written: {str(error).splitlines()[0]}.",
            where=str(root),
            fix="Check the disk and who owns the folder; nothing was changed.",
        ) from error
