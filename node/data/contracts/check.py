"""Whether the rows fulfil a contract: types, absences, keys, bounds, rules, how recent they are.

The contract may be one that was generated here, or one that somebody wrote or changed by hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final

from node.data.contracts.measure import columns, figure, holds
from node.data.contracts.read import Contract
from node.data.findings import Severity, some
from node.data.tables import TABLES
from node.data.vault import Vault
from protocols.errors import InputError
from protocols.plain import printable

if TYPE_CHECKING:
    import duckdb

_TYPES: Final[Mapping[str, tuple[str, ...]]] = {
    "string": ("VARCHAR",),
    "date": ("DATE",),
    "timestamp": ("TIMESTAMP",),
    "number": ("DECIMAL", "DOUBLE", "FLOAT", "INTEGER", "BIGINT"),
    "integer": ("INTEGER", "BIGINT", "SMALLINT"),
    "boolean": ("BOOLEAN",),
}
_BOUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "minimum": ("<", "below"),
    "maximum": (">", "above"),
    "exclusiveMinimum": ("<=", "not above"),
    "exclusiveMaximum": (">=", "not below"),
}
_CASTS: Final = {"date": "DATE", "timestamp": "TIMESTAMPTZ"}
_DAYS: Final = {"d": 1.0, "day": 1.0, "days": 1.0, "h": 1 / 24, "hour": 1 / 24, "hours": 1 / 24}
_FRESH: Final = ("latency", "freshness")
_LEVELS: Final = {"error": Severity.ERROR, "warning": Severity.WARNING, "info": Severity.NOTE}


@dataclass(frozen=True, slots=True)
class Breach:
    """Something that the rows do not fulfil; ``where`` is file:line:column in the contract."""

    where: str
    severity: Severity
    sentence: str


def check(contract: Contract, vault: Vault, now: datetime) -> tuple[Breach, ...]:
    """Everything that the rows do not fulfil, in the order of the contract; empty if all holds.

    Args:
        contract: from ``read_contract``.
        vault: the rows.
        now: what freshness is counted from, UTC.

    Raises:
        InputError: a rule of the contract cannot be asked; ``where`` says which.
    """
    found: list[Breach] = []
    with vault.reader() as db:
        for place, table in enumerate(contract.document["schema"]):
            found += _table(db, contract, ("schema", place), table)
        for place, sla in enumerate(contract.document.get("slaProperties", ())):
            found += _sla(db, contract.at("slaProperties", place), sla, now.date())
    return tuple(found)


def _table(
    db: duckdb.DuckDBPyConnection, contract: Contract, path: tuple[str | int, ...], table: Any
) -> Iterator[Breach]:
    name = table.get("physicalName", table["name"])
    if name not in TABLES:
        yield _error(
            contract.at(*path),
            f"there is no table {printable(name, 60)!r} here; there are {', '.join(TABLES)}",
        )
        return
    there = columns(db, name)
    for place, one in enumerate(table["properties"]):
        yield from _property(db, contract, (*path, "properties", place), name, one, there)
    keys = sorted(
        (one for one in table["properties"] if one.get("primaryKey")),
        key=lambda one: one.get("primaryKeyPosition", -1),
    )
    names = [_column(one) for one in keys if _column(one) in there]
    if names:
        again = _asked(db, name, f"SELECT count(*) - count(DISTINCT ({', '.join(names)})) FROM")
        if again:
            yield _error(
                contract.at(*path, "properties"),
                f"{name}: {again} rows have the key ({', '.join(names)}) of another row",
            )
    listed = {_column(one) for one in table["properties"]}
    unlisted = [column for column in there if column in _shown(name) and column not in listed]
    if unlisted:
        yield Breach(
            contract.at(*path),
            Severity.NOTE,
            f"{name} has columns that the contract does not name: {', '.join(unlisted)}.",
        )
    yield from _rules(db, contract, (*path, "quality"), name, "", table.get("quality", ()))


def _shown(table: str) -> set[str]:
    return {one.name for one in TABLES[table].fields}


def _column(one: Mapping[str, Any]) -> str:
    return str(one.get("physicalName", one["name"]))


def _property(
    db: duckdb.DuckDBPyConnection,
    contract: Contract,
    path: tuple[str | int, ...],
    table: str,
    one: Mapping[str, Any],
    there: Mapping[str, str],
) -> Iterator[Breach]:
    name, where = _column(one), contract.at(*path)
    if name not in there:
        yield _error(where, f"{table} has no column {name}")
        return
    kind = there[name]
    if not kind.startswith(_TYPES[one["logicalType"]]):
        yield _error(
            contract.at(*path, "logicalType"),
            f"{table}.{name} is of type {kind}, the contract says {one['logicalType']}",
        )
        return
    physical = one.get("physicalType")
    if physical is not None and _plain(physical) != _plain(kind):
        yield _error(
            contract.at(*path, "physicalType"),
            f"{table}.{name} is of type {kind}, the contract says {printable(physical, 60)}",
        )
    if one.get("required"):
        empty = _asked(db, table, f'SELECT count(*) FILTER ("{name}" IS NULL) FROM')
        if empty:
            yield _error(contract.at(*path, "required"), f"{table}.{name} is empty in {empty} rows")
    if one.get("unique"):
        again = _asked(db, table, f'SELECT count("{name}") - count(DISTINCT "{name}") FROM')
        if again:
            yield _error(
                contract.at(*path, "unique"), f"{table}.{name} repeats a value in {again} rows"
            )
    yield from _options(db, contract, (*path, "logicalTypeOptions"), table, one)
    yield from _rules(db, contract, (*path, "quality"), table, name, one.get("quality", ()))


def _options(
    db: duckdb.DuckDBPyConnection,
    contract: Contract,
    path: tuple[str | int, ...],
    table: str,
    one: Mapping[str, Any],
) -> Iterator[Breach]:
    """Bounds of amounts and days, lengths and patterns of texts."""
    import duckdb

    name = _column(one)
    for option, limit in one.get("logicalTypeOptions", {}).items():
        where = contract.at(*path, option)
        if option in _BOUNDS:
            sign, words = _BOUNDS[option]
            cast = _CASTS.get(one["logicalType"])
            bad = f'"{name}" {sign} ?::{cast}' if cast else f'"{name}"::DOUBLE {sign} ?'
            said = f"{words} {printable(str(limit), 40)}"
        elif option in ("minLength", "maxLength"):
            bad = f'length("{name}") {"<" if option == "minLength" else ">"} ?'
            said = f"{'shorter' if option == 'minLength' else 'longer'} than {limit} characters"
        elif option == "pattern":
            bad, said = f'NOT regexp_matches("{name}", ?)', f"not of the form {limit}"
        else:
            continue  # format and time zones describe, they do not forbid
        try:
            count = _asked(db, table, f"SELECT count(*) FILTER ({bad}) FROM", [limit])
        except duckdb.Error as error:
            raise InputError(
                f"{option} {printable(str(limit), 60)!r} cannot be used as a limit of "
                f"{table}.{name}.",
                where=where,
            ) from error
        if count:
            yield _error(where, f"{table}.{name} is {said} in {count} rows")


def _rules(
    db: duckdb.DuckDBPyConnection,
    contract: Contract,
    path: tuple[str | int, ...],
    table: str,
    column: str,
    rules: Any,
) -> Iterator[Breach]:
    for place, rule in enumerate(rules):
        where = contract.at(*path, place)
        if rule.get("type") == "text":
            continue  # for people; the profile lets it carry no figure
        found = figure(db, rule, table, column, where)
        if holds(rule, found):
            continue
        name = printable(rule.get("name") or rule.get("metric") or "rule", 80)
        ((sign, wanted),) = ((key, rule[key]) for key in rule if key.startswith("must"))
        unit = " %" if rule.get("unit") == "percent" and "metric" in rule else ""
        yield Breach(
            where,
            _LEVELS[rule.get("severity", "error")],
            f"{table}{'.' if column else ''}{column}: {name} is {found:g}{unit}, "
            f"{_words(sign)} {wanted}.",
        )


def _words(sign: str) -> str:
    """``mustBeLessThan`` as "must be less than"."""
    return "".join(f" {char.lower()}" if char.isupper() else char for char in sign)


def _sla(
    db: duckdb.DuckDBPyConnection, where: str, sla: Mapping[str, Any], today: date
) -> Iterator[Breach]:
    """How old the newest row may be; other properties promise nothing that rows could show."""
    if sla["property"] not in _FRESH:
        return
    table, _, column = str(sla.get("element", "")).partition(".")
    value, unit = sla["value"], str(sla.get("unit", "d"))
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    if table not in TABLES or column not in _shown(table) or not numeric or unit not in _DAYS:
        raise InputError(
            f"{sla['property']} needs a number, a unit (d or h) and an element such as "
            "sales_line.business_date.",
            where=where,
        )
    newest = db.execute(f'SELECT max("{column}")::DATE FROM {table}').fetchall()[0][0]  # noqa: S608
    if newest is None:
        yield _error(where, f"{table} has no row, so it is not recent")
        return
    age = (today - newest).days
    most = value * _DAYS[unit]
    if age > most:
        yield _error(
            where, f"the newest row of {table} is {age} days old ({newest}), at most {most:g} days"
        )


def _asked(
    db: duckdb.DuckDBPyConnection, table: str, sql: str, params: list[Any] | None = None
) -> int:
    return int(db.execute(f"{sql} {table}", params or []).fetchall()[0][0])


def _plain(kind: str) -> str:
    return kind.upper().replace(" ", "").replace("TIMESTAMPTZ", "TIMESTAMPWITHTIMEZONE")


def _error(where: str, sentence: str) -> Breach:
    return Breach(where, Severity.ERROR, f"{sentence}.")


def summary(breaches: tuple[Breach, ...]) -> str:
    """One sentence for all."""
    if not breaches:
        return "The rows fulfil the contract."
    return f"{len(breaches)} points are not fulfilled: {some(one.sentence for one in breaches)}"
