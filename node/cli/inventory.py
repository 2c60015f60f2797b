"""``inventory`` and ``inventory setup``: the data audit, and what only the owner can answer."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.acting import acting_home
from node.cli.documents import desk_of
from node.cli.shell import Json, answer, say, table
from protocols.errors import Code, InputError

if TYPE_CHECKING:
    from protocols.documents.document import Document
    from protocols.documents.given import Question, Shop

app = typer.Typer(
    help="The data audit that a shop starts with: what, why, where, how long, who.",
    invoke_without_command=True,
)


@app.callback(epilog="Example: coop-node inventory --html inventory.html")
def inventory(
    context: typer.Context,
    as_json: Json = False,
    html: Annotated[Path | None, typer.Option(help="Write it as one page.")] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write its tables as CSV into this new folder.")
    ] = None,
) -> None:
    """What data lies here, why, where, for how long and for whom; and what to do next.

    Works before joining a cooperative and on an empty node.
    """
    if context.invoked_subcommand is not None:
        return
    from protocols.documents.document import plain
    from protocols.documents.inventory import inventory as made_of

    desk = desk_of(context)
    document = made_of(desk.house())
    if html is not None:
        _write_page(document, html)
    if csv is not None:
        _write_tables(document, csv)
    body: dict[str, Any] = {"inventory": plain(document)}

    def lines() -> list[str]:
        if html is not None or csv is not None:
            return [f"Written: {one}" for one in (html, csv) if one is not None]
        return _inventory_lines(document)

    answer(body, as_json, lines)


def _inventory_lines(document: Document) -> list[str]:
    """For a terminal: lists as they are, tables in columns with long cells cut."""
    from protocols.documents.document import Items, Table

    out = [f"{document.title}: {document.subject}" if document.subject else document.title]
    for section in document.sections:
        out += ["", section.heading]
        for block in section.blocks:
            if isinstance(block, Items):
                out += [f"  {number}. {one.text}" for number, one in enumerate(block.entries, 1)]
            elif isinstance(block, Table):
                out.append(f"  {block.caption}")
                rows = [[_cut(cell) for cell in row] for row in block.rows]
                out += [f"    {line}" for line in table(rows, list(block.headers), block.empty)]
    return out


def _cut(text: str, most: int = 44) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _write_page(document: Document, path: Path) -> None:
    from node import files
    from protocols.documents.page import html

    _require_new(path)
    files.write(path, html(document).encode())


def _write_tables(document: Document, folder: Path) -> None:
    from node import files
    from protocols.documents.render import table_csv

    _require_new(folder)
    files.make_folder(folder)
    for one in document.tables():
        files.write(folder / f"{one.name}.csv", table_csv(one).encode())


def _require_new(path: Path) -> None:
    if path.exists():
        raise InputError("this exists already.", where=str(path), fix="Choose another name.")


@app.command(epilog="Example: coop-node inventory setup --name 'Café Zoë' --dpo none")
def setup(
    context: typer.Context,
    name: Annotated[str | None, typer.Option(help="Of the shop, as customers know it.")] = None,
    owner: Annotated[str | None, typer.Option(help="Person or company that owns it.")] = None,
    address: Annotated[str | None, typer.Option(help="Street, town, country.")] = None,
    email: Annotated[str | None, typer.Option(help="To which customers may write.")] = None,
    phone: Annotated[str | None, typer.Option(help="Which customers may call.")] = None,
    country: Annotated[str | None, typer.Option(help="Two letters: DE.")] = None,
    dpo: Annotated[
        str | None, typer.Option(help="Data protection officer and contact, or none.")
    ] = None,
    authority: Annotated[
        str | None, typer.Option(help="Data protection authority: name and town.")
    ] = None,
    representative: Annotated[
        str | None, typer.Option(help="In the EU, for a shop outside (art. 27).")
    ] = None,
    interest: Annotated[
        str | None, typer.Option(help="What it is good for, where nobody is asked.")
    ] = None,
    safeguards: Annotated[
        str | None, typer.Option(help="What protects data in other countries.")
    ] = None,
    helpers: Annotated[
        str | None, typer.Option(help="Who else can use this computer, or nobody.")
    ] = None,
    backups: Annotated[str | None, typer.Option(help="Where your backups lie.")] = None,
    dpia: Annotated[
        bool, typer.Option("--dpia", help="Ask the open questions of the assessment.")
    ] = False,
    answers: Annotated[
        list[str] | None, typer.Option("--answer", help="Of the assessment: KEY=TEXT; repeatable.")
    ] = None,
) -> None:
    """Answer what only you know about your shop; documents are made from it.

    Without options it asks, one question a line; an empty answer leaves what is there.
    """
    from node.documents import shop as shops

    home = acting_home(context, "consent")
    given = {
        "name": name, "owner": owner, "address": address, "email": email, "phone": phone,
        "country": country, "dpo": dpo, "authority": authority, "representative": representative,
        "interest": interest, "safeguards": safeguards, "helpers": helpers, "backups": backups,
    }  # fmt: skip
    said = {key: value for key, value in given.items() if value is not None}
    said |= dict(map(_pair, answers or ()))
    known = shops.load(home.folder)
    if not said:
        said = _asked(known, dpia)
    shops.save(home.folder, shops.with_answers(known, said))
    say(f"{len(said)} answers are kept in {home.folder / shops.NAME}.")
    say("Next: coop-node inventory, then: coop-node documents make all")


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"{text[:40]!r} is not KEY=TEXT.", where="--answer", code=Code.USAGE)
    return key.strip(), value


def _asked(known: Shop, dpia: bool) -> dict[str, str]:
    """Ask each question that has no answer yet; the others can be changed by option."""
    from protocols.documents.given import DPIA_QUESTIONS, QUESTIONS

    if not sys.stdin.isatty():
        raise InputError(
            "nothing was answered and there is nobody to ask.",
            code=Code.USAGE,
            fix="Use options, for example --name, or run it in a terminal.",
        )
    out = {}
    questions: Sequence[Question] = DPIA_QUESTIONS if dpia else QUESTIONS
    for one in questions:
        before = known.answers.get(one.key, "") if dpia else getattr(known, one.key)
        hint = f" ({one.hint})" if one.hint else ""
        found = str(typer.prompt(f"{one.asks}{hint}", default=before, show_default=bool(before)))
        if found.strip() and found != before:
            out[one.key] = found
    return out
