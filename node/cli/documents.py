"""``documents list | make | check`` and ``inventory``: what this node can say in writing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.acting import acting_home
from node.cli.shell import Json, answer, note, say, state, table
from protocols.errors import Code, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from node.documents.make import Desk
    from protocols.documents.articles import Missing
    from protocols.documents.document import Document
    from protocols.documents.given import Question, Shop

LACKING = 5  # exit code: something that the law asks for is missing
app = typer.Typer(
    no_args_is_help=True,
    help="Notice, record, assessment and reports, made from what really is so here.",
)
inventory_app = typer.Typer(
    help="The data audit that a shop starts with: what, why, where, how long, who.",
    invoke_without_command=True,
)
Formats = Annotated[str, typer.Option("--format", help="Of the files: md,html,pdf or some.")]


def _desk(context: typer.Context, action: str = "") -> Desk:
    """The desk; reading needs no role, as for every command that only shows."""
    from node.documents.make import Desk
    from node.house import open_home

    home = acting_home(context, action) if action else open_home(state(context).home)
    return Desk(home, home.database())


# ----------------------------------------------------------------------------- documents


@app.command("list", epilog="Example: coop-node documents list")
def list_documents(context: typer.Context, as_json: Json = False) -> None:
    """Show what was made, when, and where the files are."""
    desk = _desk(context)
    made = desk.list()
    folder = desk.home.folder / "documents"
    document = {
        "folder": str(folder),
        "documents": [
            {
                "name": one.name,
                "kind": one.kind,
                "locale": one.locale,
                "id": one.document,
                "text": one.text,
                "files": dict(one.files),
                "missing": one.missing,
                "made_at": one.at.isoformat(),
            }
            for one in made
        ],
    }

    def lines() -> list[str]:
        rows = [
            [
                one.name,
                f"{one.at:%Y-%m-%d}",
                one.document[:16],
                str(one.missing),
                ", ".join(sorted(name.rpartition(".")[2] for name in one.files)),
            ]
            for one in made
        ]
        headers = ["document", "made", "version", "missing", "files"]
        out = table(rows, headers, "Nothing was made yet. Make all: coop-node documents make all")
        return [*out, *([f"They are in {folder}."] if made else [])]

    answer(document, as_json, lines)


@app.command(epilog="Example: coop-node documents make notice --locale de --format html,pdf")
def make(
    context: typer.Context,
    kinds: Annotated[
        list[str], typer.Argument(help="notice, essence, record, dpia, transparency or all.")
    ],
    locale: Annotated[str, typer.Option(help="Language of notice and essence: en or de.")] = "en",
    formats: Formats = "md,html,pdf",
    quarter: Annotated[str, typer.Option(help="Of the report, as 2026Q4; else this one.")] = "",
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing if something is missing (exit code 5).")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make documents from agreement, ledgers, settings and log, into the folder documents/."""
    from node.documents import make as making

    desk = _desk(context, "consent")
    endings = _formats(formats)
    wanted = making.wanted(kinds, locale, quarter, desk.home.clock())
    house = desk.house()
    if "all" in kinds and house.coop is None:
        note("No agreement is signed: without notice and essence.")
        wanted = tuple(one for one in wanted if one.kind not in making.NEEDS_AGREEMENT)
    drawn = [desk.draw(one, house) for one in wanted]
    lacking = {one.wanted.name: one.missing for one in drawn if one.missing}
    if check and lacking:
        answer({"written": [], "missing": _plain(lacking)}, as_json, lambda: _lacking(lacking))
        raise typer.Exit(LACKING)
    done = []
    for one in drawn:
        made, new = desk.write(one, endings)
        done.append((made, new, one))
        _warn_of_letters(one.document, endings)
    document = {
        "folder": str(desk.home.folder / making.FOLDER),
        "written": [
            {
                "name": made.name,
                "id": made.document,
                "text": made.text,
                "files": dict(made.files),
                "new": new,
                "grade": str(grade) if (grade := making.grade(one.document)) else None,
            }
            for made, new, one in done
        ],
        "missing": _plain(lacking),
    }

    def lines() -> list[str]:
        out = []
        for made, new, one in done:
            said = "made" if new else "unchanged"
            out.append(f"{made.name}: {said}, version {made.document[:16]}")
            if (grade := making.grade(one.document)) is not None:
                out.append(f"  Reading grade {grade}, {grade.words} words.")
        out.append(f"They are in {desk.home.folder / making.FOLDER}.")
        if any(made.kind == "notice" for made, _, _ in done) and "notice" not in str(lacking):
            out.append("Show the notice to your customers, then: coop-node notice adopt NAME")
        return [*out, *_lacking(lacking)]

    answer(document, as_json, lines)


@app.command("check", epilog="Example: coop-node documents check")
def check_documents(context: typer.Context, as_json: Json = False) -> None:
    """Say what is out of date, altered or missing in what was made; exit code 1 if anything is."""
    desk = _desk(context)
    house = desk.house()
    found = list(desk.states(house))
    document = {
        "documents": [
            {
                "name": one.made.name,
                "changed_since": list(one.changed),
                "altered_files": list(one.altered),
                "missing": _plain({one.made.name: missing})[one.made.name],
            }
            for one, missing in found
        ]
    }

    def lines() -> list[str]:
        out = []
        for one, missing in found:
            good = not (one.changed or one.altered or missing)
            out.append(f"{'ok   ' if good else 'CHECK'}  {one.made.name}")
            if one.changed:
                again = f"coop-node documents make {one.made.kind} --locale {one.made.locale}"
                out.append(f"       changed since: {', '.join(one.changed)}. Make it anew: {again}")
            if one.altered:
                out.append(f"       not as written: {', '.join(one.altered)}. Make it anew.")
            out += [f"       {line}" for line in _missing_lines(missing)]
        return out or ["Nothing was made yet. Make all: coop-node documents make all"]

    answer(document, as_json, lines)
    if any(one.changed or one.altered or missing for one, missing in found):
        raise typer.Exit(1)


def _formats(text: str) -> tuple[str, ...]:
    from node.documents.make import FORMATS

    found = tuple(part.strip() for part in text.split(",") if part.strip())
    unknown = [one for one in found if one not in FORMATS]
    if unknown or not found:
        raise InputError(
            f"{unknown[0]!r} is not a format." if unknown else "no format is named.",
            where="--format",
            code=Code.USAGE,
            fix=f"There are: {', '.join(FORMATS)}.",
        )
    return found


def _warn_of_letters(document: Document, endings: Sequence[str]) -> None:
    if "pdf" in endings:
        from node.documents.pdf import unprintable

        if letters := unprintable(document):
            note(f"The PDF cannot show {letters[:40]!r}; use the HTML file.")


def _plain(lacking: Mapping[str, Sequence[Missing]]) -> dict[str, list[dict[str, str]]]:
    return {
        name: [
            {"item": one.item, "what": one.what, "why": one.why, "supply": one.supply}
            for one in missing
        ]
        for name, missing in lacking.items()
    }


def _lacking(lacking: Mapping[str, Sequence[Missing]]) -> list[str]:
    out = []
    for name, missing in lacking.items():
        out.append(f"{name} lacks {len(missing)} of what the law asks for:")
        out += [f"  {line}" for line in _missing_lines(missing)]
    return out


def _missing_lines(missing: Sequence[Missing]) -> list[str]:
    return [f"{one.item} {one.what}: {one.why}. What to do: {one.supply}" for one in missing]


# ----------------------------------------------------------------------------- inventory


@inventory_app.callback(epilog="Example: coop-node inventory --html inventory.html")
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

    desk = _desk(context)
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


@inventory_app.command(epilog="Example: coop-node inventory setup --name 'Café Zoë' --dpo none")
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
