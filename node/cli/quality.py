"""``data health`` and ``data contract``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.acting import acting_home
from node.cli.category_names import CategoryNames
from node.cli.shell import Json, answer, say, state, table
from protocols.errors import TABLE, Code, CoopError, InputError

if TYPE_CHECKING:
    from node.data.contracts.check import Breach
    from node.data.findings import Rows
    from node.data.vault import Vault
    from node.house import Home
    from node.policy.quality import Look
    from protocols.agreement.terms import Terms

SHOWN_ROWS = 20


def register(app: typer.Typer) -> None:
    """Put the commands under ``data``."""
    app.command(epilog="Example: coop-node data health --html health.html")(health)
    app.command(epilog="Example: coop-node data contract sales_line -o sales_line.yaml")(contract)


def health(
    context: typer.Context,
    dataset: Annotated[
        str, typer.Option(help="sales, customers, stock or a purpose; all without it.")
    ] = "",
    rule: Annotated[str, typer.Option(help="One rule: show the rows that fail it.")] = "",
    rows: Annotated[
        Path | None, typer.Option(help="With --rule: write these rows into a CSV file.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with plots.")] = None,
    as_json: Json = False,
) -> None:
    """How healthy your rows are, what to mend, and whether it gets better."""
    from node.house import open_home

    if rule:
        _rows_of_rule(context, dataset or "sales", rule, rows, as_json)
        return
    if rows is not None:
        raise InputError(
            "--rows writes the rows of one rule; which?", code=Code.USAGE, where="--rows",
            fix="coop-node data health --rule NAME --rows FILE.csv",
        )  # fmt: skip
    home = open_home(state(context).home)
    looks = _looks(home, dataset)
    said, departures = _departures(home, dataset)
    if html is not None:
        from node import files
        from node.policy.quality_page import page

        _require_new(html)
        files.write(html, page(looks, home.clock(), said).encode())
    names = CategoryNames(home.folder)
    told = [*(line for look in looks for line in _lines(look)), *said]
    document = {
        "datasets": [_document(one) for one in looks],
        "departures": departures,
        "categories": names.within(told),
    }

    def lines() -> list[str]:
        out = [names.said(line) for line in told]
        return [*out, f"The page is in {html}."] if html is not None else out

    answer(document, as_json, lines)


def _looks(home: Home, dataset: str) -> tuple[Look, ...]:
    from node.data.quality import DATASETS
    from node.policy.quality import purposes, survey

    database = home.database()
    try:
        desk = home.consents(database)
        known = (*DATASETS, *purposes(desk))
        if dataset and dataset not in known:
            raise InputError(
                f"there is no data set {dataset!r}; expected one of {', '.join(known)}.",
                code=Code.USAGE,
                where="--dataset",
            )
        looks = survey(home.vault(), database, desk, home.clock(), dataset)
    finally:
        database.close()
    if not looks:
        raise InputError(
            f"there are no rows of {dataset} yet.",
            code=Code.NOT_FOUND,
            where="--dataset",
            fix="Add an export: coop-node data add FILE.csv",
        )
    return looks


def _departures(home: Home, dataset: str) -> tuple[list[str], list[dict[str, Any]]]:
    """How the newest import of sales departs from the weeks before it: words, and for JSON."""
    from dataclasses import asdict

    from node.policy.quality import departures_of_newest, in_words

    if dataset not in ("", "sales"):
        return [], []
    file, found = departures_of_newest(home.vault())
    words = in_words(found, f"The newest import ({file})")
    return words, [{"file": file, **asdict(one)} for one in found]


def _document(look: Look) -> dict[str, Any]:
    return {
        "dataset": look.dataset,
        "score": look.report.score,
        "lines": look.report.lines,
        "trend": {"word": look.trend.word, "before": look.trend.before, "since": look.trend.since},
        "findings": [one.document() for one in look.report.findings],
        "history": [{"at": one.at, "score": one.score} for one in look.history],
    }


def _lines(look: Look) -> list[str]:
    report = look.report
    out = [
        f"{look.dataset}: {report.score} of 100 over {report.lines} rows. {look.trend.sentence()}"
    ]
    out += [
        f"  {one.severity.value:<8}-{one.penalty:4.1f}  {one.sentence} {one.fix} [{one.rule}]"
        for one in report.findings
    ]
    return out


def said_after(home: Home, sha256: str) -> tuple[str, ...]:
    """What to say of an import that is done: the health of its table, and what departs.

    Whatever goes wrong here is a sentence too, because the rows are in the vault by now.
    """
    from node.policy.quality import after_import

    try:
        database = home.database()
        try:
            names = CategoryNames(home.folder)
            return tuple(names.said(one) for one in after_import(home, database, sha256))
        finally:
            database.close()
    except CoopError as error:
        return (f"The health of your rows could not be looked at: {error.problem}",)


# --- rows of a rule ----------------------------------------------------------------------------


def _rows_of_rule(
    context: typer.Context, dataset: str, rule: str, file: Path | None, as_json: bool
) -> None:
    home = acting_home(context, "data")
    found = _failing(home.vault(), dataset, rule, home)
    if file is not None:
        from node import files

        _require_new(file)
        files.write(file, _csv(found).encode("utf-8-sig"))
    document = {
        "rule": rule,
        "rows": len(found.cells),
        "file": str(file) if file is not None else None,
        "headers": list(found.headers),
        "examples": [dict(zip(found.headers, _texts(row), strict=True)) for row in _some(found)],
    }

    def lines() -> list[str]:
        if file is not None:
            return [f"{len(found.cells)} rows are in {file}."]
        out = table([_texts(row) for row in _some(found)], found.headers, "Nothing fails it.")
        more = len(found.cells) - SHOWN_ROWS
        return [*out, f"and {more} more: --rows FILE.csv writes them all"] if more > 0 else out

    answer(document, as_json, lines)


def _failing(vault: Vault, dataset: str, rule: str, home: Home) -> Rows:
    from node.data.quality import DATASETS, failing_rows

    if dataset not in DATASETS:
        raise InputError(
            f"rows are listed for {', '.join(DATASETS)}, not for a purpose: they would be the "
            "purchases of single customers.",
            code=Code.USAGE,
            where="--dataset",
        )
    return failing_rows(vault, dataset, rule, home.clock().date())


def _some(found: Rows) -> tuple[tuple[Any, ...], ...]:
    return found.cells[:SHOWN_ROWS]


def _texts(row: tuple[Any, ...]) -> list[str]:
    return [_text(value) for value in row]


def _text(value: Any) -> str:
    from decimal import Decimal

    if value is None:
        return ""
    return f"{value.normalize():f}" if isinstance(value, Decimal) else str(value)


def _csv(found: Rows) -> str:
    """The rows for a spreadsheet: no cell is a formula."""
    import csv
    import io

    from node.data.intake import escape_formula

    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(map(escape_formula, found.headers))
    for row in found.cells:
        writer.writerow(map(escape_formula, _texts(row)))
    return out.getvalue()


# --- contracts ---------------------------------------------------------------------------------


def contract(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(metavar="[TABLE]", help="sales_line, customer or stock.")
    ] = "sales_line",
    check: Annotated[
        Path | None, typer.Option(help="Hold your rows against this contract instead.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it to a file; must not exist.")
    ] = None,
    as_json: Json = False,
) -> None:
    """The data contract of a table (ODCS v3.1, YAML), or whether your rows fulfil one."""
    if check is not None:
        _check(context, check, as_json)
        return
    from node.data.contracts.make import document, generate
    from node.house import open_home

    terms = _terms(open_home(state(context).home))
    if output is not None:
        from node import files

        _require_new(output)
        files.write(output, generate(name, terms).encode())
        answer({"file": str(output)}, as_json, lambda: [f"The contract is in {output}."])
    elif as_json:
        answer({"contract": document(name, terms)}, as_json, list)
    else:
        say(generate(name, terms).rstrip("\n"))


def _check(context: typer.Context, file: Path, as_json: bool) -> None:
    from node.data.contracts.check import check
    from node.data.contracts.read import read_contract
    from node.house import open_home

    home = open_home(state(context).home)
    found = check(read_contract(_bytes(file), str(file)), home.vault(), home.clock())
    broken = [one for one in found if one.severity == "error"]
    document = {
        "file": str(file),
        "fulfilled": not broken,
        "breaches": [
            {"where": one.where, "severity": one.severity.value, "sentence": one.sentence}
            for one in found
        ],
    }
    answer(document, as_json, lambda: _breaches(found))
    if broken:
        raise typer.Exit(TABLE[Code.INPUT].exit_code)


def _breaches(found: tuple[Breach, ...]) -> list[str]:
    if not found:
        return ["Your rows fulfil the contract."]
    return [f"{one.severity.value}: {one.where}: {one.sentence}" for one in found]


def _bytes(file: Path) -> bytes:
    """The file's bytes, one more than is read at most, so that a larger one is refused."""
    from protocols.agreement.source import MAX_SOURCE_BYTES

    if not file.is_file():
        raise InputError("there is no such file.", code=Code.NOT_FOUND, where=str(file))
    with file.open("rb") as opened:
        return opened.read(MAX_SOURCE_BYTES + 1)


def _terms(home: Home) -> Terms | None:
    """Of the newest agreement that this member signed; None before that."""
    from node.policy.agreements import newest_signed

    database = home.database()
    try:
        with database.read() as connection:
            signed = newest_signed(connection)
    finally:
        database.close()
    return signed.terms if signed is not None else None


def _require_new(file: Path) -> None:
    if file.exists():
        raise InputError("this file exists already.", where=str(file), fix="Choose another name.")
