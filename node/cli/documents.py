"""``documents list | make | check``: what this node can say in writing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.acting import acting_home
from node.cli.shell import Json, answer, note, state, table
from protocols.errors import Code, InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from node.documents.make import Desk
    from protocols.documents.articles import Missing
    from protocols.documents.document import Document

LACKING = 5  # exit code: something that the law asks for is missing
app = typer.Typer(
    no_args_is_help=True,
    help="Notice, record, assessment and reports, made from what really is so here.",
)
Formats = Annotated[str, typer.Option("--format", help="Of the files: md,html,pdf or some.")]


def desk_of(context: typer.Context, action: str = "") -> Desk:
    """The desk; reading needs no role, as for every command that only shows."""
    from node.documents.make import Desk
    from node.house import open_home

    home = acting_home(context, action) if action else open_home(state(context).home)
    return Desk(home, home.database())


@app.command("list", epilog="Example: coop-node documents list")
def list_documents(context: typer.Context, as_json: Json = False) -> None:
    """Show what was made, when, and where the files are."""
    desk = desk_of(context)
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

    desk = desk_of(context, "consent")
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
    desk = desk_of(context)
    house = desk.house()
    found = list(desk.states(house))
    document = {
        "documents": [
            {
                "name": one.made.name,
                "changed_since": list(one.changed),
                "altered_files": list(one.altered),
                "older_shown": one.older_shown,
                "missing": _plain({one.made.name: missing})[one.made.name],
            }
            for one, missing in found
        ]
    }

    def lines() -> list[str]:
        out = []
        for one, missing in found:
            good = one.good and not missing
            out.append(f"{'ok   ' if good else 'CHECK'}  {one.made.name}")
            if one.changed:
                again = f"coop-node documents make {one.made.kind} --locale {one.made.locale}"
                out.append(f"       changed since: {', '.join(one.changed)}. Make it anew: {again}")
            if one.altered:
                out.append(f"       not as written: {', '.join(one.altered)}. Make it anew.")
            if one.older_shown:
                out.append(
                    "       customers are shown an older one. When this one hangs there: "
                    f"coop-node notice adopt {one.made.name}"
                )
            out += [f"       {line}" for line in _missing_lines(missing)]
        return out or ["Nothing was made yet. Make all: coop-node documents make all"]

    answer(document, as_json, lines)
    if any(missing or not one.good for one, missing in found):
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
