"""``coop-node``: the member's commands. Heavy modules are imported inside commands."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Entry point."""
    # Arrow's own allocator keeps what it was given: a fifth more memory after a large import
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    from node.cli.app import app
    from node.cli.shell import run

    sys.exit(run(app, sys.argv[1:], "coop-node"))
