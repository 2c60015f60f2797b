"""Gathers what documents are made from: agreement, ledgers, vault, settings, files on this disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from node import membership
from node.documents import shop as shops
from node.house import Home
from node.policy.agreements import newest_signed
from node.store.consents import State
from node.store.database import Database
from node.store.documents import AcceptedRosters
from node.store.notices import Notices
from node.store.requests import CustomerRequests
from protocols.agreement.roster import read_roster
from protocols.canonical import parse_json
from protocols.documents.given import Coop, DataTable, House, Import, Place, Scope, Shop
from protocols.signing import jws_payload

if TYPE_CHECKING:
    from node.data.vault import Vault

_TABLES: Final = {"sales_line": "business_date", "customer": "first_seen", "stock": "as_of"}
_DERIVED: Final = frozenset({"line_hash", "copy"})  # made of the other cells, to know a line again
_PLACES: Final = (
    ("keys", "the secrets of this node"),
    ("vault", "sales, customers and stock; rows that were set aside"),
    ("node.db", "agreements, orders, ledgers of what customers said and asked (keyed numbers)"),
    ("audit", "the log: hashes and figures, no names"),
    (shops.NAME, "your answers about the shop"),
    ("config.toml", "settings"),
    ("house_rules.toml", "your own, stricter rules"),
    ("coop.json", "the cooperative and its keys"),
    ("categories.toml", "what your categories mean in the shared list"),
    ("taxonomy.json", "the shared list of categories, if it was brought"),
    ("runs", "published sums of runs, own scores"),
    ("rows", "for each run, keyed hashes of the rows that it read"),
    ("models", "released models that were fetched"),
    ("cache", "own trained models; can be made again"),
    ("documents", "documents made from all this"),
    ("rights", "signed evidence of answered requests; copies for customers"),
)
IN_BACKUP: Final = frozenset(
    {
        "keys",
        "node.db",
        "audit",
        shops.NAME,
        "config.toml",
        "house_rules.toml",
        "coop.json",
        "rights",
        "categories.toml",
        "taxonomy.json",
    }
)
"""What ``node.backup`` takes along; a test holds the two against each other."""
_PLAIN_PARQUET: Final = b"PAR1"


def gather(home: Home, database: Database) -> House:
    """Everything but what belongs to one quarter; works before joining and on an empty node.

    Raises:
        InputError: ``shop.toml`` cannot be used.
        LocalError: vault or ledgers are damaged.
    """
    vault = home.vault()
    with database.read() as db:
        waiting = CustomerRequests(db).list(only_open=True)
        in_use = tuple(sorted(Notices(db).in_use()))
    return House(
        software=f"datacoop {version('datacoop')}",
        shop=_shop(home, database),
        coop=_coop(home, database),
        tables=tuple(_tables(home, vault)),
        imports=tuple(_imports(vault)),
        places=tuple(_places(home.folder)),
        scopes=tuple(_scopes(home, database)),
        people=tuple((one.name, one.role) for one in home.people(database).present()),
        notices_in_use=in_use,
        customers=_customers(vault),
        open_requests=len(waiting),
    )


def _shop(home: Home, database: Database) -> Shop:
    """As the owner said; the name of the signed list of members where the owner said none."""
    found = shops.load(home.folder)
    if found.name or not membership.is_enrolled(home.folder):
        return found
    me = membership.load(home.folder).member
    with database.read() as db:
        kept = AcceptedRosters(db).newest()
    if kept is None:
        return found
    newest = read_roster(jws_payload(parse_json(kept.jws, "roster"), "roster"), "roster")
    names = [one.name for one in newest.roster.members if one.id == me]
    return replace(found, name=names[0]) if names else found


def _coop(home: Home, database: Database) -> Coop | None:
    if not membership.is_enrolled(home.folder):
        return None
    known = membership.load(home.folder)
    with database.read() as db:
        signed = newest_signed(db)
    if signed is None:
        return None
    return Coop(known.public.name, signed.agreement.title, signed.terms, known.member)


def _tables(home: Home, vault: Vault) -> Iterator[DataTable]:
    """Each table that has rows: columns with anything in them, rows, first and last day."""
    today = home.clock().date()
    with vault.reader() as db:
        for name, day in _TABLES.items():
            columns = [str(row[0]) for row in db.execute(f"DESCRIBE {name}").fetchall()]
            counts = ", ".join(f'count("{column}")' for column in columns)
            query = f"SELECT count(*), min({day}), max({day}), {counts} FROM {name}"  # noqa: S608
            row = db.execute(query).fetchone()
            if row is None or not row[0]:
                continue
            filled = tuple(
                c for c, count in zip(columns, row[3:], strict=True) if count and c not in _DERIVED
            )
            first, last = (_day(one) for one in row[1:3])
            kept = keep_days(home, name)
            oldest = None if kept is None else today - timedelta(days=kept)
            late = first is not None and oldest is not None and first < oldest
            yield DataTable(name, filled, int(row[0]), first, last, kept, late)


def keep_days(home: Home, table: str) -> int | None:
    """How long rows of a table are kept, by the settings."""
    return home.retention_days.get(table)


def _day(value: Any) -> date | None:
    if isinstance(value, datetime):
        return value.date()
    return value if isinstance(value, date) else None


def _customers(vault: Vault) -> int:
    query = "SELECT count(DISTINCT customer_key) FROM sales_line"
    return int(vault.query(query)[0][0])


def _imports(vault: Vault) -> Iterator[Import]:
    for one in vault.imports():
        yield Import(
            one.when, one.file_name, one.table, one.rows_added, one.duplicates, one.quarantined
        )


def _scopes(home: Home, database: Database) -> Iterator[Scope]:
    for one in home.consents(database).status():
        counts = one.counts
        yield Scope(
            one.scope,
            one.basis.basis,
            one.basis.assessment,
            counts.get(State.GRANTED, 0),
            counts.get(State.WITHDRAWN, 0),
            counts.get(State.OBJECTED, 0),
            counts.get(State.RESTRICTED, 0),
            one.without_wording,
        )


def _places(folder: Path) -> Iterator[Place]:
    """Everything in the node's folder, also what this list does not know."""
    known = dict(_PLACES)
    others = sorted(one.name for one in folder.iterdir() if one.name not in known)
    for name, what in (*_PLACES, *((one, "something else") for one in others)):
        path = folder / name
        if path.exists() and not name.endswith((".lock", "-wal", "-shm")):
            found = [path, *path.rglob("*")] if path.is_dir() else [path]
            size = sum(one.stat().st_size for one in found if one.is_file())
            yield Place(name, what, _protection(path, found), name in IN_BACKUP, size)


def _protection(path: Path, found: list[Path]) -> str:
    """What is so on this disk now, looked up and not promised."""
    said = []
    if path.name == "vault":
        rows = [one for one in found if one.is_file() and one.parent.name == "rows"]
        plain = any(_starts(one, _PLAIN_PARQUET) for one in rows)
        said.append("rows not encrypted" if plain else "rows encrypted" if rows else "no rows yet")
    elif path.name != "keys":
        said.append("not encrypted by this program")
    if os.name == "nt":
        said.append("rights of files not looked at on Windows")
    else:
        # a folder that others may not enter closes all that is in it
        said.append(
            "others on this computer may read it"
            if path.stat().st_mode & 0o077 and path.parent.stat().st_mode & 0o077
            else "only this account may read it"
        )
    return "; ".join(said)


def _starts(path: Path, magic: bytes) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(magic)) == magic
