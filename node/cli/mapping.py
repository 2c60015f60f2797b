"""``mapping check | show | list`` and ``data detect``: what the columns of an export are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.mapping_new import new
from node.cli.shell import Json, answer, table

if TYPE_CHECKING:
    from node.data.connectors import Dialect

app = typer.Typer(
    no_args_is_help=True, help="What the columns of your till's export are, as a file to share."
)
app.command(epilog="Example: coop-node mapping new till.csv --timezone Europe/Berlin")(new)


@app.command(epilog="Example: coop-node mapping check till.mapping.toml --against till.csv")
def check(
    file: Annotated[Path, typer.Argument(help="The mapping file.")],
    against: Annotated[Path | None, typer.Option(help="An export to lay it over.")] = None,
    as_json: Json = False,
) -> None:
    """Whether a mapping file is in order, and what it would make of an export."""
    from node.data.glance import glance
    from node.data.mapping import read_mapping

    dialect = read_mapping(file)
    document: dict[str, Any] = {"name": dialect.name, "table": dialect.layout.table, "ok": True}
    rows: list[list[str]] = []
    notes: tuple[str, ...] = ()
    if against is not None:
        look = glance(against)
        reading = dialect.read(look.header, look.sample)
        rows = [[c.header.strip(), c.fate.value, c.role or ""] for c in reading.columns]
        notes = reading.notes
        document |= {"columns": [dict(zip(("header", "fate", "role"), r, strict=True))
                                 for r in rows], "notes": list(notes)}  # fmt: skip

    def lines() -> list[str]:
        out = [f"{dialect.name} is in order; it reads a {dialect.layout.table}."]
        if against is not None:
            out += table(rows, ["column in the file", "what happens", "read as"], "")
            out += [f"Note: {one}" for one in notes]
        return out

    answer(document, as_json, lines)


@app.command(epilog="Example: coop-node mapping show shopify-orders")
def show(
    name: Annotated[str, typer.Argument(help="A built-in format, or a mapping file.")],
    toml: Annotated[bool, typer.Option("--toml", help="The text itself, to start from.")] = False,
    as_json: Json = False,
) -> None:
    """What a built-in format or a mapping file makes of its columns."""
    from node.data import connectors
    from node.data.mapping import read_mapping

    path = Path(name)
    ours = name not in connectors.names()
    dialect = read_mapping(path) if ours else connectors.find(name)
    if toml:
        text = path.read_text(encoding="utf-8-sig") if ours else connectors.text_of(name)
        answer({"name": dialect.name, "toml": text}, as_json, text.splitlines)
        return
    document = _document(dialect)

    def lines() -> list[str]:
        out = [f"{dialect.layout.words.title} ({dialect.name}), a {dialect.layout.table}"]
        if dialect.layout.words.needs:
            out.append(f"Export: {dialect.layout.words.needs}")
        rows = [[role, " or ".join(names)] for role, names in document["columns"].items()]
        out += table(rows, ["read as", "column in the file"], "")
        out += [f"Rule: {one}" for one in document["rules"]]
        out += [f"Worked out: {one}" for one in document["derived"]]
        return out + [f"Note: {one}" for one in document["notes"]]

    answer(document, as_json, lines)


@app.command("list", epilog="Example: coop-node mapping list")
def list_dialects(as_json: Json = False) -> None:
    """The formats that are built in, and what each needs."""
    from node.data import connectors

    found = [connectors.find(name) for name in connectors.names()]
    document = {
        "formats": [
            {
                "name": one.name,
                "title": one.layout.words.title,
                "table": one.layout.table,
                "needs": one.layout.words.needs,
                "versions": [v.name for v in one.layout.signature.versions],
            }
            for one in found
        ]
    }
    rows = [[one.name, one.layout.table, one.layout.words.needs] for one in found]
    answer(document, as_json, lambda: table(rows, ["name", "holds", "how to export it"], ""))


def detect(
    file: Annotated[Path, typer.Argument(help="An export: CSV, Excel or Parquet.")],
    delimiter: Annotated[str | None, typer.Option(help="If it is not clear.")] = None,
    encoding: Annotated[str | None, typer.Option(help="For example latin-1.")] = None,
    sheet: Annotated[str | None, typer.Option(help="Of a workbook.")] = None,
    as_json: Json = False,
) -> None:
    """Which till's export a file is, how sure that is, and why. Reads the first rows only."""
    from node.data import connectors
    from node.data.glance import glance
    from node.data.plan import Options

    look = glance(file, Options(delimiter=delimiter, encoding=encoding, sheet=sheet))
    found = connectors.detect(look.header, look.sample)
    taken = connectors.choose(found) if found else None
    document = {
        "file": look.name,
        "read_as": look.read_as,
        "columns": len(look.header),
        "taken": next((one.name for one in found if one.reading is taken), None),
        "formats": [
            {"name": one.name, "confidence": one.confidence, "reason": one.reason} for one in found
        ],
    }

    def lines() -> list[str]:
        out = [f"{look.name}: {len(look.header)} columns, {look.read_as}."]
        out += [f"{one.name} ({one.confidence:.2f}): {one.reason}." for one in found]
        if taken is not None:
            return [*out, f"It would be read as {taken.name}: coop-node data add {look.name}"]
        if found:
            return [*out, f"Not sure enough; if it is: coop-node data add {look.name} "
                          f"--as {found[0].name}"]  # fmt: skip
        return [
            *out,
            "No built-in format: its columns would be read by their names, or with a mapping "
            f"file: coop-node mapping new {look.name}",
        ]

    answer(document, as_json, lines)


def _document(dialect: Dialect) -> dict[str, Any]:
    layout = dialect.layout
    rules = []
    for rule in layout.rules:
        if rule.filled:
            rules.append(f"left out if {rule.column} is filled: {rule.filled}")
        if rule.zero:
            rules.append(f"left out if {rule.column} is zero: {rule.zero}")
        for value, why in rule.leave_out.items():
            rules.append(f"left out if {rule.column} is {value or 'empty'}: {why}")
        if rule.other not in ("keep", "bad"):
            rules.append(f"left out for any other {rule.column}: {rule.other}")
        elif rule.other == "bad":
            rules.append(f"set aside for any other {rule.column}")
    if layout.returns is not None:
        values = " or ".join(sorted(layout.returns.values))
        rules.append(f"takes a sale back if {layout.returns.column} is {values}")
    return {
        "name": dialect.name,
        "title": layout.words.title,
        "table": layout.table,
        "needs": layout.words.needs,
        "columns": {role: list(names) for role, names in layout.columns.items()},
        "rules": rules,
        "derived": list(layout.words.derived),
        "notes": list(layout.words.notes),
        "versions": [one.name for one in layout.signature.versions],
    }
