"""A node of each test's own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from rights_world import Node, copied


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return copied(tmp_path)
