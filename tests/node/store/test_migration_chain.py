"""From every version that was ever released a database comes to this one, with what it held."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from node.store.database import REVISIONS, Database
from node.store.migrations import config
from node.store.schema import metadata

RUN = (
    "INSERT INTO run_budget (run, workload, cohort, state, reserved_at) "
    "VALUES ('ab', 'demand', '[]', 'used', '2026-03-10T12:00:00.000000Z')"
)


def database_at(path: Path, revision: str) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        made = config()
        made.attributes["connection"] = connection
        command.upgrade(made, revision)
        if revision == REVISIONS[0]:
            connection.exec_driver_sql(RUN)
            connection.exec_driver_sql("INSERT INTO spent_rounds (run, round) VALUES ('ab', 3)")
    engine.dispose()


@pytest.mark.parametrize("revision", REVISIONS)
def test_from_every_version_to_this_one(tmp_path: Path, revision: str) -> None:
    path = tmp_path / "node.db"
    database_at(path, revision)
    database = Database.open(path)
    assert database.revision == REVISIONS[-1]
    with database.write() as connection:
        context = MigrationContext.configure(connection, opts={"render_as_batch": True})
        assert compare_metadata(context, metadata) == []
        triggers = connection.exec_driver_sql(
            "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name LIKE '%\\_no\\_%' "
            "ESCAPE '\\'"
        ).scalar_one()
        spent = connection.exec_driver_sql("SELECT run, round FROM spent_rounds").all()
    assert triggers >= 6
    assert [tuple(row) for row in spent] == ([("ab", 3)] if revision == REVISIONS[0] else [])
    database.close()


def test_versions_are_in_one_line() -> None:
    assert list(REVISIONS) == [f"{number:04d}" for number in range(1, len(REVISIONS) + 1)]
