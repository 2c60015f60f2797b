"""Rows that were set aside, sealed: where they stood, why, and the cells that may be shown.

The key of the customer travels with a row, hidden from every list, so that an erasure finds it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

from node.data import manifest, sealing
from node.data.batch import BadRow
from node.data.layout import Layout
from node.files import read
from protocols.errors import LocalError

MAX_BYTES = 256 * 1024 * 1024
MAX_CELL = 200  # characters of a cell that are kept; a cell of megabytes helps nobody


class SetAside:
    """Takes the rows of one import that cannot be used."""

    def __init__(self) -> None:
        self.headers: tuple[str, ...] = ()
        self._rows: list[list[object]] = []

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    def add(self, headers: Sequence[str], rows: Iterable[BadRow]) -> None:
        """Take some rows; ``headers`` are those of their kept cells."""
        self.headers = tuple(headers)
        self._rows += [
            [r.line, r.place, r.problem, r.customer_key, *(cell[:MAX_CELL] for cell in r.kept)]
            for r in rows
        ]

    def seal(self, layout: Layout) -> str:
        """Write them; returns the name of the file, which counts once a manifest names it."""
        name = f"{secrets.token_hex(12)}.sealed"
        store(layout, name, self.headers, self._rows)
        return name


def store(layout: Layout, name: str, headers: Sequence[str], rows: list[list[object]]) -> None:
    """Seal rows under a name that no other file has."""
    plain = json.dumps({"headers": list(headers), "rows": rows}).encode()
    sealed = sealing.seal(layout.key, f"quarantine/{name}", plain)
    manifest.replace_file(layout.quarantine(name), sealed)


def load(layout: Layout, name: str) -> tuple[tuple[str, ...], list[BadRow]]:
    """Headers of the kept cells, and the rows in the order of the file.

    A file that somebody deleted has no rows: nothing depends on them, and an erasure must not
    fail for what is gone already (``Vault.verify`` tells it).

    Raises:
        LocalError: the file is damaged or sealed with another key.
    """
    path: Path = layout.quarantine(name)
    if not path.is_file():
        return (), []
    plain = sealing.unseal(layout.key, f"quarantine/{name}", read(path, MAX_BYTES), str(path))
    try:
        found = json.loads(plain)
        rows = [
            BadRow(line, place, problem, tuple(kept), customer_key=key)
            for line, place, problem, key, *kept in found["rows"]
        ]
        return tuple(found["headers"]), rows
    except (ValueError, KeyError, TypeError) as error:
        raise LocalError("the file of rows set aside cannot be read.", where=str(path)) from error


def without(layout: Layout, name: str, keys: frozenset[str]) -> tuple[str, int]:
    """The file again without the rows of some customers: its new name and how many went.

    The name stays if there are none; it is "" if no row is left.
    """
    headers, rows = load(layout, name)
    kept = [row for row in rows if row.customer_key not in keys]
    gone = len(rows) - len(kept)
    if not kept:
        return "", gone
    if not gone:
        return name, 0
    again = SetAside()
    again.add(headers, kept)
    return again.seal(layout), gone
