"""``mapping new``: the wizard that makes a mapping file for an export.

Rules of this screen: no cell of a personal column is ever shown; what is proposed can be said no
to; nothing is written over.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer

from node.cli.shell import Json, Yes, answer, say, table
from protocols.errors import InputError
from protocols.plain import shown

if TYPE_CHECKING:
    from node.data.columns import Role
    from node.data.connectors.layout import Formats
    from node.data.glance import Glance
    from node.data.mapping import Draft, Guess

LEAVE_ALONE = "-"


def new(
    file: Annotated[Path, typer.Argument(help="An export of your till: CSV, Excel or Parquet.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write it; FILE.mapping.toml beside you else.")
    ] = None,
    name: Annotated[str, typer.Option(help="What to call it; the file's name else.")] = "",
    table_name: Annotated[
        str, typer.Option("--table", help="sales_line, customer or stock.")
    ] = "sales_line",
    column: Annotated[
        list[str] | None, typer.Option(help="ROLE=HEADER, e.g. date=Datum; repeatable.")
    ] = None,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(help="HEADER=VALUE:REASON, e.g. 'Status=void:cancelled'; repeatable."),
    ] = None,
    returns: Annotated[
        list[str] | None,
        typer.Option("--return", help="HEADER=VALUE of rows that take a sale back; repeatable."),
    ] = None,
    date_order: Annotated[str, typer.Option(help="ymd, dmy or mdy.")] = "",
    decimal: Annotated[str, typer.Option(help="point or comma.")] = "",
    timezone: Annotated[str, typer.Option(help="Of the printed times.")] = "",
    currency: Annotated[str, typer.Option(help="For example EUR.")] = "",
    unit: Annotated[str, typer.Option(help="major (12.50) or minor (1250).")] = "",
    quirk: Annotated[
        str, typer.Option(help="A habit of a built-in format, e.g. woo-products for 2× Tea.")
    ] = "",
    delimiter: Annotated[str | None, typer.Option(help="If it is not clear.")] = None,
    encoding: Annotated[str | None, typer.Option(help="For example latin-1.")] = None,
    sheet: Annotated[str | None, typer.Option(help="Of a workbook.")] = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Make a mapping file: each column is shown with examples and a proposal, and you say yes."""
    from node.data import mapping
    from node.data.connectors.layout import Formats
    from node.data.glance import glance
    from node.data.plan import Options

    target = out or Path(f"{mapping.name_from(file.stem)}.mapping.toml")
    _require_free(target)
    look = glance(file, Options(delimiter=delimiter, encoding=encoding, sheet=sheet))
    chosen = _chosen(column or [], table_name)
    ask = not yes and not as_json and sys.stdin.isatty()
    found = mapping.guesses(look.header, look.sample, table_name, chosen)
    if not as_json:
        _show(look, found)
    if ask:
        chosen = _asked(found, table_name)
        found = mapping.guesses(look.header, look.sample, table_name, chosen)
        found = tuple(g if g.place in _places(look, chosen) else _left(g) for g in found)
    formats = _formats(Formats(date_order, _sign(decimal), timezone, currency, unit or "major"),
                       mapping.date_orders(found, look.sample), ask)  # fmt: skip
    draft = mapping.drafted(name or mapping.name_from(file.stem), table_name, found, formats, quirk)
    draft = _with_rules(draft, leave_out or [], returns or [])
    _write(target, draft, look, as_json)


def _show(look: Glance, found: tuple[Guess, ...]) -> None:
    say(f"{look.name}: {len(look.header)} columns, {look.read_as}.")
    rows = [
        [str(g.place), g.header.strip(), ", ".join(g.examples) or g.why, g.role or LEAVE_ALONE]
        for g in found
    ]
    for line in table(rows, ["", "column", "for example", "proposed"], "No columns."):
        say(line)


def _asked(found: tuple[Guess, ...], table_name: str) -> dict[Role, tuple[str, ...]]:
    """What each column is, one question a column that may be taken in."""
    from node.data.columns import ROLES, Fate

    allowed = sorted(ROLES[table_name])
    say(f"For each column: {', '.join(allowed)}, or {LEAVE_ALONE} to leave it alone.")
    out: dict[Role, tuple[str, ...]] = {}
    for guess in found:
        if guess.fate in (Fate.BLOCKED, Fate.PERSONAL):
            continue
        said = typer.prompt(
            shown(f"{guess.place}. {guess.header.strip()}"),
            default=guess.role.value if guess.role is not None else LEAVE_ALONE,
            type=click.Choice([*(role.value for role in allowed), LEAVE_ALONE]),
            show_choices=False,
        )
        role = next((one for one in allowed if one == said), None)
        if role is not None:
            out[role] = (*out.get(role, ()), guess.header.strip())
    return out


def _places(look: Glance, chosen: dict[Role, tuple[str, ...]]) -> set[int]:
    names = {name for several in chosen.values() for name in several}
    return {place for place, name in enumerate(look.header, start=1) if name.strip() in names}


def _left(guess: Guess) -> Guess:
    """A column that the member left alone, whatever its name proposes."""
    from dataclasses import replace

    return replace(guess, role=None)


def _formats(said: Formats, orders: tuple[str, ...], ask: bool) -> Formats:
    """What the member said of the cells, and answers to what is open."""
    from dataclasses import replace

    if not said.date_order and len(orders) == 1:
        said = replace(said, date_order=orders[0])
    if not said.date_order and ask and orders:  # else the rows of each import have to settle it
        order = typer.prompt("Order of day, month and year", type=click.Choice(list(orders)))
        said = replace(said, date_order=order)
    if ask and not said.timezone:
        zone = typer.prompt("Time zone of the printed times (- if they have one)", default="-")
        said = replace(said, timezone="" if zone == LEAVE_ALONE else zone)
    if ask and not said.currency:
        money = typer.prompt("Currency (- if a column names it)", default="-")
        said = replace(said, currency="" if money == LEAVE_ALONE else money)
    return said


def _with_rules(draft: Draft, leave_out: list[str], returns: list[str]) -> Draft:
    from dataclasses import replace

    from node.data.connectors.layout import Returns, Rule

    reasons: dict[str, dict[str, str]] = {}
    for text in leave_out:
        header, value = _pair(text, "--leave-out")
        what, _, why = value.partition(":")
        reasons.setdefault(header, {})[what.strip()] = why.strip() or "left out"
    rules = tuple(Rule(header, leave_out=values) for header, values in reasons.items())
    pairs = [_pair(text, "--return") for text in returns]
    if len({header for header, _ in pairs}) > 1:
        raise InputError(
            "rows that take a sale back are known by one column only.", where="--return"
        )
    back = Returns(pairs[0][0], frozenset(value for _, value in pairs)) if pairs else None
    return replace(draft, rules=rules, returns=back)


def _write(target: Path, draft: Draft, look: Glance, as_json: bool) -> None:
    """Write the mapping, having read it back and laid it over the file that it was made for."""
    from node import files
    from node.data.connectors import Dialect
    from node.data.connectors.layout_file import parse_layout
    from node.data.mapping import text_of

    text = text_of(draft)
    reading = Dialect(parse_layout(text.encode(), target.name)).read(look.header, look.sample)
    files.write(target, text.encode(), mode=0o644)
    document = {
        "mapping": str(target),
        "name": draft.name,
        "table": draft.table,
        "columns": {role: list(names) for role, names in draft.columns.items()},
        "notes": list(reading.notes),
    }

    def lines() -> list[str]:
        out = [f"Note: {one}" for one in reading.notes]
        out.append(f"Written: {target}. It holds names and rules only and can be shared.")
        return [*out, f"Next: coop-node data add {look.name} --mapping {target} --dry-run"]

    answer(document, as_json, lines)


# --- small things ------------------------------------------------------------------------------


def _require_free(target: Path) -> None:
    if target.exists():
        raise InputError(
            "there is a file of this name already; nothing is written over.",
            where=str(target),
            fix="Choose another name with --out, or remove it first.",
        )
    if not target.parent.is_dir():
        raise InputError("there is no such folder.", where=str(target.parent))


def _pair(text: str, option: str) -> tuple[str, str]:
    left, sign, right = text.partition("=")
    if not sign or not left.strip() or not right.strip():
        raise InputError(f"{text!r} has no = between two names.", where=option)
    return left.strip(), right.strip()


def _chosen(pairs: list[str], table_name: str) -> dict[Role, tuple[str, ...]]:
    from node.data.columns import ROLES

    if table_name not in ROLES:
        raise InputError(
            f"{table_name!r} is not a table; expected one of {', '.join(ROLES)}.", where="--table"
        )
    out: dict[Role, tuple[str, ...]] = {}
    for text in pairs:
        name, header = _pair(text, "--column")
        role = next((one for one in ROLES[table_name] if one == name.replace("_", "-")), None)
        if role is None:
            raise InputError(
                f"{name!r} is nothing that a {table_name} has; expected one of "
                f"{', '.join(sorted(ROLES[table_name]))}.",
                where="--column",
            )
        out[role] = (*out.get(role, ()), header)
    return out


def _sign(decimal: str) -> str:
    found = {"point": ".", "dot": ".", "comma": ","}.get(decimal, decimal)
    if found not in ("", ".", ","):
        raise InputError(f"{decimal!r} is no decimal sign; say point or comma.", where="--decimal")
    return found
