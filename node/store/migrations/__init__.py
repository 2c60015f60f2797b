"""Alembic, without an ini file: the scripts lie beside this module and travel in the package."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def config() -> Config:
    """Alembic's configuration for the packaged scripts."""
    made = Config()
    folder = str(Path(__file__).parent).replace("%", "%%")  # the option is interpolated
    made.set_main_option("script_location", folder)
    made.set_main_option("path_separator", "os")
    return made


def upgrade(connection: Connection) -> None:
    """Bring the database of an open write transaction to the newest version, or change nothing."""
    made = config()
    made.attributes["connection"] = connection
    command.upgrade(made, "head")
