"""One figure from the rows for each rule of a contract, asked of a closed-in database.

A contract may come from anybody. Its columns are names that the profile limits to letters,
digits and underscores; its values are parameters; its SQL must be one SELECT, sees the three
tables and nothing of the machine, has ``SECONDS`` to answer, and gives one number.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from protocols.errors import InputError
from protocols.plain import printable

if TYPE_CHECKING:
    import duckdb

SECONDS: Final = 20.0
_PLACES: Final = ("object", "table", "schema")
_COLUMNS: Final = ("property", "column")


def figure(
    db: duckdb.DuckDBPyConnection, rule: Mapping[str, Any], table: str, column: str, where: str
) -> float:
    """What a rule measures.

    Args:
        db: the reader of a vault.
        rule: a quality entry of the contract, of type library or sql.
        table: the table that it stands under.
        column: the column that it stands under; empty for a rule of the whole table.
        where: file:line:column of the rule.

    Raises:
        InputError: the rule cannot be asked.
    """
    if "query" in rule:
        return _of_query(db, str(rule["query"]), table, column, where)
    sql, params, whole = _of_library(rule, table, column, where)
    with _answered(db, where):
        count, rows = db.execute(sql, params).fetchall()[0]
    if rule.get("unit") == "percent" and not whole:
        return 100.0 * float(count or 0) / max(float(rows), 1.0)
    return float(count or 0)


def holds(rule: Mapping[str, Any], found: float) -> bool:
    """Whether a figure fulfils the rule's comparison."""
    number = {name: rule[name] for name in rule if name.startswith("must")}
    ((name, wanted),) = number.items()
    if name in ("mustBeBetween", "mustNotBeBetween"):
        inside = bool(min(wanted) <= found <= max(wanted))
        return inside if name == "mustBeBetween" else not inside
    if isinstance(wanted, (str, bool)) or wanted is None:
        return name == "mustNotBe"  # a figure is no text and no truth value
    compared: dict[str, bool] = {
        "mustBe": found == wanted,
        "mustNotBe": found != wanted,
        "mustBeGreaterThan": found > wanted,
        "mustBeGreaterOrEqualTo": found >= wanted,
        "mustBeLessThan": found < wanted,
        "mustBeLessOrEqualTo": found <= wanted,
    }
    return compared[name]


def _of_library(
    rule: Mapping[str, Any], table: str, column: str, where: str
) -> tuple[str, list[Any], bool]:
    """SQL that gives (count, rows), its parameters, and whether it is about the whole."""
    metric, arguments = rule["metric"], rule.get("arguments", {})
    if metric == "rowCount":
        return f"SELECT count(*), count(*) FROM {table}", [], True  # noqa: S608
    names = arguments.get("properties", [column] if column else [])
    if not names or (metric != "duplicateValues" and not column):
        raise InputError(
            f"the rule {metric} needs a column: let it stand under a property"
            + (", or name properties." if metric == "duplicateValues" else "."),
            where=where,
        )
    if metric == "duplicateValues":
        keys = ", ".join(f'"{name}"' for name in names)
        return (
            f"SELECT coalesce(sum(n - 1), 0), coalesce(sum(n), 0) FROM "  # noqa: S608
            f"(SELECT count(*) AS n FROM {table} GROUP BY {keys})",
            [],
            False,
        )
    bad, params = _bad_values(metric, arguments, column, where)
    return f"SELECT count(*) FILTER ({bad}), count(*) FROM {table}", params, False  # noqa: S608


def _bad_values(
    metric: str, arguments: Mapping[str, Any], column: str, where: str
) -> tuple[str, list[Any]]:
    text = f'"{column}"::VARCHAR'
    if metric == "nullValues":
        return f'"{column}" IS NULL', []
    if metric == "missingValues":
        values = [None if one is None else str(one) for one in arguments.get("missingValues", [])]
        listed = [one for one in values if one is not None]
        marks = ", ".join("?" for _ in listed)
        some = f" OR {text} IN ({marks})" if listed else ""
        return f'"{column}" IS NULL{some}', listed
    if "validValues" in arguments:
        valid = [str(one) for one in arguments["validValues"]]
        marks = ", ".join("?" for _ in valid)
        return f"{text} NOT IN ({marks})" if valid else f'"{column}" IS NOT NULL', valid
    if "pattern" in arguments:
        return f"NOT regexp_matches({text}, ?)", [arguments["pattern"]]
    raise InputError(
        "the rule invalidValues needs the argument validValues or pattern.", where=where
    )


def _of_query(
    db: duckdb.DuckDBPyConnection, query: str, table: str, column: str, where: str
) -> float:
    import duckdb

    sql = query
    for name in _PLACES:
        sql = sql.replace(f"${{{name}}}", f'"{table}"')
    for name in _COLUMNS:
        sql = sql.replace(f"${{{name}}}", f'"{column}"') if column else sql
    with _answered(db, where):
        statements = duckdb.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise InputError("the SQL of a rule is one SELECT and nothing else.", where=where)
        rows = db.execute(statements[0]).fetchmany(2)
    value: Any = rows[0][0] if len(rows) == 1 and len(rows[0]) == 1 else ""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError("the SQL of a rule has to give one number.", where=where) from error


@contextlib.contextmanager
def _answered(db: duckdb.DuckDBPyConnection, where: str) -> Iterator[None]:
    """Stop a question that takes too long; what the database refuses as one sentence."""
    import duckdb

    late = threading.Timer(SECONDS, db.interrupt)
    late.start()
    try:
        yield
    except duckdb.InterruptException as error:
        raise InputError(
            f"the rule has no answer after {SECONDS:.0f} seconds.",
            where=where,
            fix="Ask for something that reads the table once.",
        ) from error
    except duckdb.Error as error:
        said = printable(str(error).splitlines()[0], 200)
        raise InputError(f"the rule cannot be asked: {said}", where=where) from error
    finally:
        late.cancel()


def columns(db: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """Column -> its type, of one of the vault's tables."""
    return {row[0]: row[1] for row in db.execute(f"DESCRIBE {table}").fetchall()}
