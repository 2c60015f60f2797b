"""DuckDB with its doors closed: no network, no extensions, no file at all.

It reads Arrow tables that are handed to it. There is no folder for what does not fit in memory,
because DuckDB would write it there in plain text: a question that is too large fails instead.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import duckdb

from protocols.errors import Code, LocalError

MEMORY: Final = "2GB"
THREADS: Final = 1

Connection = duckdb.DuckDBPyConnection

_FULL: Final = frozenset({errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)})
_FULL_WORDS: Final = ("no space left", "file too large", "disk quota", "disk full", "out of disk")
_SEALED_WORDS: Final = ("decrypt", "parquet magic", "footer", "couldn't deserialize", "encrypt")


@contextlib.contextmanager
def connection() -> Iterator[Connection]:
    """An empty database in memory that reaches what is registered with it and nothing else."""
    db = duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": MEMORY,
            "threads": str(THREADS),
            "temp_directory": "",
            "preserve_insertion_order": "false",
        },
    )
    try:
        db.execute("SET enable_external_access = false")
        db.execute("SET enable_progress_bar = false")
        db.execute("SET lock_configuration = true")
        yield db
    finally:
        db.close()


@contextlib.contextmanager
def plain_disk_errors(root: Path) -> Iterator[None]:
    """A full or failing disk, a damaged file, too little memory: each as one sentence."""
    try:
        yield
    except (duckdb.OutOfMemoryException, MemoryError) as error:
        raise LocalError(
            "there is not enough memory for this; nothing is put on the disk for it, because that "
            "would be in plain text. Nothing was changed.",
            code=Code.UNAVAILABLE,
            where=str(root),
            fix="Close other programs, or ask about fewer days at once.",
        ) from error
    except BrokenPipeError:  # of whoever read the answer, not of the disk
        raise
    except (OSError, duckdb.IOException, duckdb.InvalidInputException) as error:
        text = str(error).lower()
        number = error.errno if isinstance(error, OSError) else None
        if number in _FULL or any(word in text for word in _FULL_WORDS):
            raise LocalError(
                "the disk is full. Nothing was changed.",
                code=Code.UNAVAILABLE,
                where=str(root),
                fix="Free some space (about twice the size of the file) and try again.",
            ) from error
        if number is None and any(word in text for word in _SEALED_WORDS):
            raise LocalError(
                "a row file of the vault was changed, damaged, or sealed with another key.",
                code=Code.TAMPERED,
                where=str(root),
                fix="Run: coop-node vault verify. Then restore the vault folder from a copy.",
            ) from error
        if isinstance(error, duckdb.InvalidInputException):
            raise
        raise LocalError(
            f"the vault cannot be read or written: {str(error).splitlines()[0]}.",
            where=str(root),
            fix="Check the disk and who owns the folder; nothing was changed.",
        ) from error
