"""Fixtures for the room of a member's data."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from node.data.intake import ImportResult, Options, add, preview
from node.data.vault import Vault

SECRET = bytes(range(32))
NOW = datetime(2025, 1, 6, 12, tzinfo=UTC)
HEADER = "Date,Time,Receipt no,SKU,Product,Category,Quantity,Unit price,Discount,Total,Card id"


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    return Vault(tmp_path / "vault", bytes(32))


@pytest.fixture
def till(tmp_path: Path) -> Callable[..., Path]:
    """Writes a CSV from (day, receipt, category, quantity) tuples."""

    def write(rows: list[tuple[str, str, str, str]], name: str = "till.csv") -> Path:
        path = tmp_path / name
        lines = [
            f"{day},10:00:00,{receipt},s-{category},Thing,{category},{qty},2.00,0,"
            f"{float(qty) * 2:.2f},C1"
            for day, receipt, category, qty in rows
        ]
        path.write_text("\n".join([HEADER, *lines, ""]), encoding="utf-8")
        return path

    return write


@pytest.fixture
def take_in(vault: Vault) -> Callable[..., ImportResult]:
    """Previews and adds a file."""

    def run(path: Path, options: Options | None = None, secret: bytes = SECRET) -> ImportResult:
        return add(vault, preview(path, options), secret, NOW)

    return run
