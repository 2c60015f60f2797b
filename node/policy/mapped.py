"""How far this node's categories are mapped to the shared list (clause 9)."""

from __future__ import annotations

from pathlib import Path

from node.data import categories
from node.data.vault import Vault
from protocols.errors import CoopError


def mapped(folder: Path, vault: Vault) -> tuple[str, float | None]:
    """SHA-256 of the list in use and percent of the sales lines under it, 0 to 100.

    Empty and None if it cannot be looked at, which denies where a clause asks.
    """
    try:
        found = categories.load(folder)
        return found.taxonomy.sha256, categories.coverage(vault, found).percent
    except CoopError:
        return "", None
