"""``coop-node``: the member's commands. Heavy modules are imported inside commands."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point."""
    from node.cli.app import app
    from node.cli.shell import run

    sys.exit(run(app, sys.argv[1:], "coop-node"))
