"""Where the coordinator lives and how it is set up: ``config.toml`` there, then the environment.

Light to import: pydantic is loaded when a configuration is read, not when help is printed.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coordinator.settings import CoordinatorSettings

ENV_PREFIX = "COOP_COORDINATOR_"
CONFIG_FILE = "config.toml"


def resolve_home(given: Path | None = None) -> Path:
    """The home folder: ``--home``, else ``COOP_COORDINATOR_HOME``, else the platform's place."""
    if given is not None:
        return given.expanduser().absolute()
    named = os.environ.get(ENV_PREFIX + "HOME")
    if named:
        return Path(named).expanduser().absolute()
    import platformdirs

    return Path(platformdirs.user_data_dir("coop-coordinator", appauthor=False))


def load(home: Path) -> CoordinatorSettings:
    """Read and check the configuration; an absent file means the defaults.

    Raises:
        InputError: a key that does not exist (with the nearest one that does), a value of the
            wrong kind, or text that is not TOML; names the file and line, or the variable.
    """
    from coordinator.settings import read

    return read(home / CONFIG_FILE, os.environ)
