"""Targets and mutators lie beside this file; their seeds come from the protocols' own tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "protocols"))
