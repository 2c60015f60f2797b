"""``taxonomy show | check | import | use``: the list of categories that members share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coordinator.cli.shell import DryRun, Json, Yes, answer, confirm, say, state, table
from protocols.errors import InputError

if TYPE_CHECKING:
    from protocols.taxonomy.form import Taxonomy

app = typer.Typer(
    no_args_is_help=True, help="The list of categories that all members map their own names to."
)
Maybe = Annotated[
    Path | None, typer.Argument(help="A list as a file; without it, the one that is in use.")
]
INSTALLED_NAME = "installed"


def _of(context: typer.Context, file: Path | None) -> Taxonomy:
    from coordinator import config, taxonomies
    from protocols.taxonomy.form import parse

    if file is None:
        return taxonomies.in_use(config.resolve_home(state(context).home))
    return parse(taxonomies.given(file, taxonomies.MAX_LIST_BYTES), str(file))


def _document(taxonomy: Taxonomy) -> dict[str, Any]:
    return {
        "id": taxonomy.id,
        "sha256": taxonomy.sha256,
        "title": taxonomy.title,
        "source": taxonomy.source,
        "locales": list(taxonomy.locales),
        "categories": len(taxonomy.leaves),
    }


def _lines(taxonomy: Taxonomy) -> list[str]:
    return [
        f"{taxonomy.title} ({taxonomy.id}): {len(taxonomy.leaves)} categories, in "
        f"{', '.join(taxonomy.locales)}.",
        f"Source: {taxonomy.source}.",
        f"Fingerprint: {taxonomy.sha256}",
    ]


@app.command(epilog="Example: coop-coordinator taxonomy show --search bread")
def show(
    context: typer.Context,
    file: Maybe = None,
    search: Annotated[str, typer.Option(help="Only categories with this word.")] = "",
    locale: Annotated[str, typer.Option(help="Language of the names.")] = "en",
    percent: Annotated[
        int, typer.Option(min=0, max=100, help="Share of lines, in the figure for clause 9.")
    ] = 80,
    as_json: Json = False,
) -> None:
    """The categories, and the figure that names this list in clause 9."""
    import json

    from coordinator.taxonomies import figure
    from protocols.taxonomy.suggest import search as look

    taxonomy = _of(context, file)
    codes = look(taxonomy, search, locale) if search else taxonomy.leaves
    rows = [[code, taxonomy.path(code, locale)] for code in codes]
    pin = figure(taxonomy, percent)
    answer(
        {
            **_document(taxonomy),
            "figure": pin,
            "nodes": [{"code": code, "path": path} for code, path in rows],
        },
        as_json,
        lambda: [
            *table(rows, ["code", "means"], "Nothing has this word."),
            *_lines(taxonomy),
            f"For clause 9: agreement new draft.toml --set 'taxonomy={json.dumps(pin)}'",
        ],
    )


@app.command(epilog="Example: coop-coordinator taxonomy check taxonomy.json")
def check(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A list as a file.")],
    as_json: Json = False,
) -> None:
    """Whether a file is a list that an agreement can name; says what is wrong and where."""
    taxonomy = _of(context, file)
    answer(_document(taxonomy), as_json, lambda: [*_lines(taxonomy), "It can be used."])


@app.command("import", epilog="Example: coop-coordinator taxonomy import gpc.xml -o taxonomy.json")
def import_file(
    file: Annotated[
        Path,
        typer.Argument(help="Google's list with ids, or GS1 GPC as XML or as a table in CSV."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write; must not exist.")],
    level: Annotated[
        int, typer.Option(min=1, max=6, help="How deep categories go; below are other names.")
    ] = 2,
    name: Annotated[str, typer.Option(help="What people call the list.")] = "brought",
    release: Annotated[str, typer.Option(help="Its version, such as 2021-09-21.")] = "1",
    locale: Annotated[str, typer.Option(help="Language of its names.")] = "en",
    only: Annotated[
        list[str] | None, typer.Option(help="Number at the top to keep; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a list of a file that the consortium brings; its texts stay its publisher's."""
    from coordinator import files, taxonomies
    from protocols.taxonomy.brought import Wish, read_brought
    from protocols.taxonomy.form import file_text

    if out.exists():
        raise InputError("this file exists already.", where=str(out), fix="Choose another name.")
    wish = Wish(name, release, level, locale, frozenset(only or ()))
    made = read_brought(taxonomies.given(file), wish, str(file))
    files.write(out, file_text(made).encode(), 0o644)
    answer(
        {**_document(made), "file": str(out)},
        as_json,
        lambda: [
            *_lines(made),
            f"{out}: give it to every member, who runs 'coop-node categories use {out.name}'.",
            f"Here: 'coop-coordinator taxonomy use {out}'.",
        ],
    )


@app.command(epilog="Example: coop-coordinator taxonomy use taxonomy.json")
def use(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(help="A list as a file, or 'installed' for the one that came along.")
    ],
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Have this list at the office: drafts and plans go by it."""
    from coordinator import taxonomies
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    chosen = taxonomies.installed() if file == INSTALLED_NAME else _of(context, Path(file))
    if not as_json:
        for line in _lines(chosen):
            say(line)
    if not dry_run:
        confirm("Use this list?", yes)
        taxonomies.use(house.home, chosen)
    answer(
        {"dry_run": dry_run, **_document(chosen)},
        as_json,
        lambda: ["Nothing was changed." if dry_run else "It is in use now."],
    )
