"""The file: versions, transactions, two processes, and the sentences when something is wrong."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from coordinator.store.database import REVISIONS, Database
from coordinator.store.migrations import config
from coordinator.store.schema import metadata
from coordinator.store.settings import Settings
from protocols.errors import Code, LocalError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "coordinator.db"


def test_the_list_of_versions_is_the_one_of_the_scripts() -> None:
    script = ScriptDirectory.from_config(config())
    assert tuple(reversed([one.revision for one in script.walk_revisions()])) == REVISIONS


def test_migrations_make_the_schema(path: Path) -> None:
    database = Database.open(path, create=True)
    with database.read() as tx:
        assert compare_metadata(MigrationContext.configure(tx), metadata) == []
    assert database.revision == REVISIONS[-1]
    assert path.stat().st_mode & 0o077 == 0


def test_it_is_durable_and_lets_readers_in(path: Path) -> None:
    database = Database.open(path, create=True)
    with database.read() as tx:
        assert tx.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert tx.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2  # FULL
        assert tx.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
    with database.write() as tx:
        Settings(tx).put("a", 1)
        with database.read() as other:
            assert Settings(other).get("a") is None


def test_opening_a_current_database_does_not_load_alembic(path: Path) -> None:
    Database.open(path, create=True).close()
    code = (
        "import sys, pathlib; from coordinator.store.database import Database;"
        f"Database.open(pathlib.Path({str(path)!r})); print('alembic' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "False"


def test_without_create_an_absent_database_is_refused_and_not_made(path: Path) -> None:
    with pytest.raises(LocalError) as caught:
        Database.open(path)
    assert caught.value.code is Code.NOT_FOUND
    assert not path.exists()


def test_a_newer_database_is_refused_and_left_alone(path: Path) -> None:
    Database.open(path, create=True).close()
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("UPDATE alembic_version SET version_num = '0999'")
    with pytest.raises(LocalError, match="newer release"):
        Database.open(path)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT version_num FROM alembic_version").fetchone() == ("0999",)


def test_a_damaged_file_has_its_sentence(path: Path) -> None:
    path.write_bytes(b"this is not a database, whatever its name says" * 100)
    with pytest.raises(LocalError, match="damaged"):
        Database.open(path)


def test_a_full_disk_has_its_sentence_and_changes_nothing(path: Path) -> None:
    database = Database.open(path, create=True)
    with pytest.raises(LocalError, match="disk is full") as caught, database.write() as tx:
        pages = tx.exec_driver_sql("PRAGMA page_count").scalar_one()
        tx.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
        Settings(tx).put("big", "x" * 100_000)
    assert caught.value.kind.exit_code == 75
    with database.read() as tx:
        assert Settings(tx).get("big") is None


def test_an_error_inside_undoes_everything(path: Path) -> None:
    database = Database.open(path, create=True)
    with pytest.raises(ZeroDivisionError), database.write() as tx:
        Settings(tx).put("a", 1)
        raise ZeroDivisionError
    with database.read() as tx:
        assert Settings(tx).get("a") is None


def test_a_writer_that_never_ends_has_its_sentence(path: Path) -> None:
    Database.open(path, create=True).close()
    second = Database.open(path, busy_timeout_s=0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("BEGIN IMMEDIATE")
        with pytest.raises(LocalError, match="another process") as caught, second.write():
            pass
    assert caught.value.kind.exit_code == 75


def test_many_writers_lose_nothing(path: Path) -> None:
    Database.open(path, create=True).close()

    def count() -> None:
        database = Database.open(path)
        for _ in range(25):
            with database.write() as tx:
                Settings(tx).put("n", (Settings(tx).get("n") or 0) + 1)
        database.close()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with Database.open(path).read() as tx:
        assert Settings(tx).get("n") == 100


def test_two_processes_may_make_it_at_once(path: Path) -> None:
    code = (
        "import pathlib; from coordinator.store.database import Database;"
        f"print(Database.open(pathlib.Path({str(path)!r}), create=True).revision)"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [one.communicate(timeout=60)[0].strip() for one in started] == [REVISIONS[-1]] * 2


def test_an_interrupted_migration_leaves_no_tables(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import coordinator.store.migrations as migrations

    real = migrations.upgrade

    def crash(connection: object) -> None:
        real(connection)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(migrations, "upgrade", crash)
    with pytest.raises(KeyboardInterrupt):
        Database.open(path, create=True)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    monkeypatch.undo()
    assert Database.open(path, create=True).revision == REVISIONS[-1]


def test_naive_moments_are_not_stored(path: Path) -> None:
    from sqlalchemy import insert
    from sqlalchemy.exc import StatementError

    from coordinator.store.schema import invites

    database = Database.open(path, create=True)
    naive = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)
    with pytest.raises(StatementError, match="time zone"), database.write() as tx:
        tx.execute(
            insert(invites).values(
                token_hash="a" * 64, name="x", created_at=naive, expires_at=naive
            )
        )
