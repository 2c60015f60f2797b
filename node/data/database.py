"""One table or view of a database, read only, row by row.

The table must be one that the database itself lists, so a name never becomes SQL of its own; the
password comes from the environment or the keyboard and is never written down.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import pyarrow as pa

from node.data.batch import BadRow, TextBatch
from node.data.exact_text import cell_text
from node.data.opened import Header, Rows
from node.data.rawfile import open_regular
from node.data.sniff import SAMPLE_ROWS
from node.data.values import Unreadable
from protocols.errors import InputError

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine, Select

BATCH_ROWS: Final = 16_384
MAX_COLUMNS: Final = 2_000
MAX_ROWS: Final = 50_000_000  # a view may have no end
TIMEOUT_S: Final = 15
# What may stand in an address behind the question mark, where some drivers take a password too.
_WORDS: Final = frozenset(
    ("sslmode", "sslrootcert", "ssl_ca", "charset", "client_encoding", "application_name")
)
PASSWORD_VARIABLE: Final = "COOP_SQL_PASSWORD"  # noqa: S105  a name, not a password
_READ_ONLY: Final = {
    "sqlite": "",
    "postgresql": "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "mariadb": "SET SESSION TRANSACTION READ ONLY",
}


@dataclass(frozen=True, slots=True)
class Database:
    """Where a table is: a SQLAlchemy URL without password, the table, and the password."""

    url: str
    table: str
    password: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """For people."""
        return self.table


@dataclass(slots=True)
class DatabaseTable:
    """An open table or view; its rows count from 1."""

    name: str
    header: Header
    sample: Rows
    read_as: str
    _connection: Connection
    _select: Any
    _digest: Any = field(default_factory=hashlib.sha256)
    _done: int = 0
    epoch: int = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def batches(self, wanted: Sequence[str]) -> Iterator[TextBatch]:
        """All rows; the wanted columns are asked for and no other."""
        self._digest, self._done = hashlib.sha256(), 0
        with _plain_errors(self.name):
            for rows in _stretches(self._connection, self._select(wanted), BATCH_ROWS):
                if self._done + len(rows) > MAX_ROWS:
                    raise InputError(
                        f"the table or view has more than {MAX_ROWS} rows.",
                        where=f"--table {self.name}",
                        fix="Make a view of one year, and add one after the other.",
                    )
                yield self._batch(rows, wanted)

    def _batch(self, rows: Sequence[Sequence[object]], wanted: Sequence[str]) -> TextBatch:
        texts: list[list[str]] = []
        lines: list[int] = []
        broken: list[BadRow] = []
        for line, row in enumerate(rows, start=self._done + 1):
            try:
                cells = [cell_text(value) for value in row]
            except Unreadable as error:
                broken.append(BadRow(line, 0, str(error)))
                self._digest.update(b"?\x1e")
                continue
            texts.append(cells)
            lines.append(line)
            self._digest.update(("\x1f".join(cells) + "\x1e").encode("utf-8", "replace"))
        self._done += len(rows)
        columns = list(zip(*texts, strict=True)) if texts else [()] * len(wanted)
        held = {n: pa.array(c, pa.string()) for n, c in zip(wanted, columns, strict=True)}
        return TextBatch(held, np.asarray(lines, np.int64), tuple(broken))

    def progress(self) -> tuple[int, int]:
        """Rows read; how many there are is not asked."""
        return self._done, 0

    def most_rows(self) -> int:
        """Not asked."""
        return 0

    def size_bytes(self) -> int:
        """Not known of a database."""
        return 0

    def finish(self) -> str:
        """SHA-256 of the text that was read."""
        return str(self._digest.hexdigest())


@contextmanager
def opened(where: Database) -> Iterator[DatabaseTable]:
    """A table or view, inside one read-only transaction.

    Raises:
        InputError: the address is not one, holds a password, its driver is not installed, it
            cannot be reached, or there is no such table.
    """
    import sqlalchemy as sa

    url = _url(where)
    engine = _engine(url, where)
    try:
        with _plain_errors(where.table), engine.connect() as connection:
            if _READ_ONLY[url.get_backend_name()]:
                connection.exec_driver_sql(_READ_ONLY[url.get_backend_name()])
            schema, name = _listed(sa.inspect(connection), where.table)
            columns = [one["name"] for one in sa.inspect(connection).get_columns(name, schema)]
            if len(columns) > MAX_COLUMNS:
                raise InputError(f"the table has {len(columns)} columns.", where=where.table)
            table = sa.table(name, *map(sa.column, columns), schema=schema)

            def select(wanted: Sequence[str]) -> Select[Any]:
                return sa.select(*(table.c[one] for one in wanted))

            held = DatabaseTable(
                where.table, tuple(columns), (), f"table {where.table}", connection, select
            )
            head = connection.execute(select(columns).limit(SAMPLE_ROWS)).fetchall()
            held.sample = tuple(tuple(map(_shown, row)) for row in head)
            yield held
    finally:
        engine.dispose()


def _shown(value: object) -> str:
    try:
        return cell_text(value)
    except Unreadable:
        return "?"


def _url(where: Database) -> URL:
    import sqlalchemy as sa

    try:
        url = sa.make_url(where.url)
    except (sa.exc.ArgumentError, ValueError) as error:
        raise InputError(
            "this is not the address of a database; expected one such as sqlite:///shop.db or "
            "postgresql://reader@localhost/shop.",
            where="--sql",
        ) from error
    if url.password is not None:
        raise InputError(
            "the address holds a password, which other programs could read.",
            where="--sql",
            fix=f"Leave it out and put it into {PASSWORD_VARIABLE}, or type it when asked.",
        )
    sqlite = url.get_backend_name() == "sqlite"  # has a check of its own, and no password
    if not sqlite and (unknown := sorted(set(url.query) - _WORDS)):
        raise InputError(
            f"{unknown[0][:40]!r} cannot be a part of the address; expected one of "
            f"{', '.join(sorted(_WORDS))}.",
            where="--sql",
            fix=f"A password belongs into {PASSWORD_VARIABLE}, or is typed when asked.",
        )
    if url.get_backend_name() not in _READ_ONLY:
        raise InputError(
            f"a {url.get_backend_name()} database cannot be read; expected one of "
            f"{', '.join(_READ_ONLY)}.",
            where="--sql",
            fix="Export the table as CSV and add that file.",
        )
    return url


def _engine(url: URL, where: Database) -> Engine:
    import sqlalchemy as sa

    if url.get_backend_name() == "sqlite":
        return _sqlite(url)
    try:
        return sa.create_engine(
            url.set(password=where.password or None),
            connect_args={"connect_timeout": TIMEOUT_S},
            poolclass=sa.NullPool,
            hide_parameters=True,
        )
    except (ImportError, sa.exc.NoSuchModuleError, sa.exc.ArgumentError) as error:
        raise InputError(
            f"the driver for {url.drivername} is not installed.",
            where="--sql",
            fix="Install it beside the node, or export the table as CSV and add that file.",
        ) from error


def _sqlite(url: URL) -> Engine:
    import sqlite3

    import sqlalchemy as sa

    if not url.database or url.database.startswith((":", "file:")) or url.query:
        raise InputError(
            "expected the path of a database file, such as sqlite:///shop.db.", where="--sql"
        )
    path = Path(url.database)
    try:
        os.close(open_regular(path))
    except InputError as error:
        raise InputError(
            error.problem,
            where=error.where,
            fix="Name the database's own file: sqlite:///shop.db, from the root sqlite:////srv/shop.db",
        ) from error

    def connect() -> sqlite3.Connection:
        address = f"{path.resolve().as_uri()}?mode=ro"
        connection = sqlite3.connect(address, uri=True, timeout=TIMEOUT_S)
        connection.execute("PRAGMA query_only = 1")
        connection.execute("PRAGMA trusted_schema = 0")
        connection.execute("BEGIN")
        return connection

    return sa.create_engine("sqlite://", creator=connect, poolclass=sa.NullPool)


def _listed(inspector: Any, wanted: str) -> tuple[str | None, str]:
    """Schema and name of the table, as the database spells them."""
    schema, _, name = wanted.rpartition(".")
    if wanted in inspector.get_table_names() or wanted in inspector.get_view_names():
        return None, wanted  # a dot may be a part of the name
    schemas = inspector.get_schema_names()
    if schema and schema not in schemas:
        raise InputError(
            f"the database has no schema {schema!r}; it has {', '.join(schemas[:20])}.",
            where="--table",
        )
    held = schema or None
    names = [*inspector.get_table_names(held), *inspector.get_view_names(held)]
    if name not in names:
        raise InputError(
            f"the database has no table or view {wanted!r}; it has "
            f"{', '.join(sorted(names)[:40]) or 'none that you may see'}.",
            where="--table",
            fix="Write the name as it stands in the database.",
        )
    return held, name


def _stretches(connection: Connection, select: Any, size: int) -> Iterator[Sequence[Any]]:
    result = connection.execution_options(stream_results=True, max_row_buffer=size).execute(select)
    with result:
        yield from result.partitions(size)


@contextmanager
def _plain_errors(name: str) -> Iterator[None]:
    """What a driver says, as one sentence; its text never holds the password."""
    import sqlalchemy as sa

    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or error).splitlines() or ["no reason"]
        raise InputError(
            f"the database cannot be read: {said[0][:200]}.",
            where=f"--sql ({name})",
            fix="Check the address, the user and whether the database is running.",
        ) from error
