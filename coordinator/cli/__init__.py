"""``coop-coordinator``: the operator's commands. Heavy modules are imported inside commands."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point."""
    from coordinator.cli.app import app
    from coordinator.cli.shell import run

    sys.exit(run(app, sys.argv[1:], "coop-coordinator"))
