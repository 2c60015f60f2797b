"""One SQLite file, shared by the running node and its commands.

WAL with ``synchronous=FULL``: what was committed is on the disk before anybody acts on it. Every
write is one short ``BEGIN IMMEDIATE`` transaction, so two processes wait for each other instead of
failing half-way. A database that a newer version has made is refused, not guessed at.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, OperationalError

from protocols.errors import Code, LocalError

# Oldest first. A migration adds its id here; the last one is what this software needs. The row is
# compared with this list so that alembic (0.8 s to import) is loaded only when there is work.
REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009", "0010")
BUSY_TIMEOUT_S = 15.0
APPEND_ONLY = (
    "consent_events",
    "consent_imports",
    "consent_forgotten",
    "legal_bases",
    "notices",
    "run_snapshots",
)
_RESTORE = (
    "Stop the node and restore your newest backup into an empty folder: "
    "coop-node --home NEW restore FILE (RUNBOOK.md). Keep the damaged folder."
)


class Database:
    """Open with ``Database.open``; then ``write()`` and ``read()`` give a connection each."""

    def __init__(self, engine: Engine, path: Path) -> None:
        self._engine = engine
        self.path = path

    @classmethod
    def open(
        cls, path: Path, *, create: bool = False, busy_timeout_s: float = BUSY_TIMEOUT_S
    ) -> Database:
        """Open the file and bring it to this version; with ``create``, make it if it is absent.

        Raises:
            LocalError: no database there, made by newer software, locked, damaged, disk full.
        """
        if not create and not path.is_file():
            raise LocalError(
                "there is no database here.",
                code=Code.NOT_FOUND,
                where=str(path),
                fix="Run 'coop-node init', or name the right folder with --home.",
            )
        if create:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
        with _translated(path):
            database = cls(_engine(path, busy_timeout_s), path)
            database._upgrade()
            database._require_schema()
        return database

    def require_sound(self) -> None:
        """Read every page; LocalError if one is damaged. Takes longer the larger the file is."""
        with self.read() as connection:
            found = connection.exec_driver_sql("PRAGMA integrity_check(1)").scalar()
        if found != "ok":
            raise _damaged(self.path)

    def wipe(self) -> None:
        """Rewrite the file without free pages and empty the log beside it.

        For erasures: what was deleted or overwritten is in neither afterwards.

        Raises:
            LocalError: another process holds the database, or the disk is full.
        """
        try:
            with closing(sqlite3.connect(self.path, timeout=BUSY_TIMEOUT_S)) as raw:
                raw.execute("VACUUM")
                busy = raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.OperationalError as error:
            sentence, fix, code = _sentence(str(error), True) or (f"{error}.", "", Code.INTERNAL)
            raise LocalError(sentence, code=code, where=str(self.path), fix=fix) from error
        if busy:
            raise LocalError(
                "another process is reading the database, so its log could not be emptied.",
                code=Code.UNAVAILABLE,
                where=str(self.path),
                fix="Close other coop-node commands and repeat the command.",
            )

    def close(self) -> None:
        """Give all connections back."""
        self._engine.dispose()

    @contextlib.contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that may change things; committed at the end, or not at all."""
        with (
            _translated(self.path),
            self._engine.execution_options(coop_write=True).begin() as connection,
        ):
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view; never waits for a writer."""
        with _translated(self.path), self._engine.begin() as connection:
            yield connection

    def empty_log(self) -> None:
        """Bring the write-ahead log into the file and empty it: what was erased is on no page.

        Raises:
            LocalError: another process reads or writes all the time.
        """
        with _translated(self.path):
            raw = self._engine.raw_connection()
            try:
                ((busy, *_),) = raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                raw.close()
        if busy:
            raise LocalError(
                "another process is using the database.",
                code=Code.UNAVAILABLE,
                where=str(self.path),
                fix="Try again; if it lasts, stop the node first.",
            )

    @property
    def revision(self) -> str:
        """The version row of the file, or the empty text before the first migration."""
        with self.read() as connection:
            return _revision(connection)

    def _require_schema(self) -> None:
        """Every table with all its columns, and what keeps the append-only ones so."""
        from node.store.schema import metadata

        with self.read() as connection:
            if _revision(connection) != REVISIONS[-1]:
                return
            columns = {
                (str(table), str(column))
                for table, column in connection.exec_driver_sql(
                    "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c "
                    "WHERE m.type = 'table'"
                )
            }
            triggers = {
                str(row[0])
                for row in connection.exec_driver_sql(
                    "SELECT name FROM sqlite_master WHERE type = 'trigger'"
                )
            }
        wanted = {(t.name, c.name) for t in metadata.sorted_tables for c in t.columns}
        guards = {f"{table}_no_{act}" for table in APPEND_ONLY for act in ("update", "delete")}
        if not (wanted <= columns and guards <= triggers):
            raise _damaged(self.path)

    def _upgrade(self) -> None:
        with self.read() as connection:
            revision = _revision(connection)
            foreign = not revision and _has_tables(connection)
        if revision == REVISIONS[-1]:
            return
        if foreign:
            raise LocalError(
                "this is a database of some other program.",
                where=str(self.path),
                fix="Move the file away, or name the right folder with --home.",
            )
        if revision and revision not in REVISIONS:
            raise LocalError(
                f"this database has version {revision!r}; this software knows versions up to "
                f"{REVISIONS[-1]!r}, so a newer release made it.",
                where=str(self.path),
                fix="Install that release again, or restore a backup from before the upgrade.",
            )
        from node.store.migrations import upgrade

        with self.write() as connection:
            upgrade(connection)


def _engine(path: Path, busy_timeout_s: float) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(path)),  # a folder may be called anything
        connect_args={"timeout": busy_timeout_s},
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def _connected(raw: sqlite3.Connection, _record: Any) -> None:
        # pysqlite would begin on its own, too late and without IMMEDIATE; we say BEGIN ourselves.
        raw.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "secure_delete=ON",  # what was erased leaves no bytes in free pages
        ):
            raw.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("coop_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _revision(connection: Connection) -> str:
    known = connection.exec_driver_sql(
        "SELECT count(*) FROM sqlite_master WHERE type='table' AND name='alembic_version'"
    ).scalar_one()
    if not known:
        return ""
    row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").first()
    return "" if row is None else str(row[0])


def _has_tables(connection: Connection) -> bool:
    names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type='table'")
    return any(str(row[0]) != "alembic_version" for row in names)


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    """SQLite's own words into sentences with a next step; what we do not know stays as it is."""
    try:
        yield
    except DBAPIError as error:
        problem = _sentence(str(error.orig), isinstance(error, OperationalError))
        if problem is None:
            raise
        sentence, fix, code = problem
        raise LocalError(sentence, code=code, where=str(path), fix=fix) from error


def _damaged(path: Path) -> LocalError:
    return LocalError("the database is damaged.", code=Code.TAMPERED, where=str(path), fix=_RESTORE)


def _sentence(text: str, operational: bool) -> tuple[str, str, Code] | None:
    lower = text.lower()
    if operational and "full" in lower:
        return (
            "the disk is full; nothing was changed.",
            "Free some space and repeat the command.",
            Code.UNAVAILABLE,
        )
    if operational and ("locked" in lower or "busy" in lower):
        return (
            "another process is writing to the database and did not finish in time.",
            "Try again; if it lasts, look for a hanging coop-node.",
            Code.UNAVAILABLE,
        )
    gone = operational and any(
        one in lower for one in ("no such table", "no such column", "already exists")
    )
    if gone or "malformed" in lower or "not a database" in lower:
        return "the database is damaged.", _RESTORE, Code.TAMPERED
    if operational and ("readonly" in lower or "unable to open" in lower):
        return (
            "the database cannot be written.",
            "Check who owns the folder and whether the disk is mounted read-only.",
            Code.INTERNAL,
        )
    return None
