"""``categories list | suggest | tree``; what changes a mapping is in ``categories_change``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.shell import Json, answer, state, table

if TYPE_CHECKING:
    from node.data.categories import Categories, Coverage
    from node.house import Home

app = typer.Typer(
    no_args_is_help=True,
    help="What your own categories mean in the list that all members share.",
)
Locale = Annotated[str, typer.Option(help="Language of the categories' names: en or de.")]
NOTHING = "There are no categories yet; 'coop-node data add FILE' brings sales."


def _reading(context: typer.Context) -> Home:
    from node.house import open_home

    return open_home(state(context).home)


def counted(found: Coverage) -> dict[str, Any]:
    """How far a mapping reaches, for ``--json``."""
    return {
        "lines": found.lines,
        "mapped_lines": found.mapped,
        "mapped_percent": round(found.percent, 1),
        "unsorted_lines": found.unsorted,
        "names": found.names,
        "series": found.series,
    }


def sentences(found: Coverage, unit: str = "") -> list[str]:
    """The same for people; ``unit`` says when."""
    out = [
        f"{found.mapped} of {found.lines} sales lines ({found.percent:.1f} %) have a shared "
        f"category{unit}.",
        f"Your {found.names} names become {found.series} series.",
    ]
    if found.unsorted:
        out.insert(1, f"{found.unsorted} more are unsorted, which tells others nothing.")
    return out


def used(categories: Categories) -> dict[str, Any]:
    """The list that a mapping is for, for ``--json``."""
    return {"taxonomy": {"id": categories.taxonomy.id, "sha256": categories.taxonomy.sha256}}


@app.command("list", epilog="Example: coop-node categories list")
def list_names(context: typer.Context, locale: Locale = "en", as_json: Json = False) -> None:
    """Your tills' categories, how many lines each has, and what each means."""
    from node.data import categories as room

    home = _reading(context)
    categories, vault = room.load(home.folder), home.vault()
    names, found = room.printed(vault), room.coverage(vault, categories)
    rows = []
    for one in names:
        code = categories.meaning(one.name)
        entry = categories.entries.get(one.name)
        by = entry.by.value if entry is not None else "is a code" if code else ""
        rows.append((one, code, by))

    def lines() -> list[str]:
        cells = [
            [
                one.name,
                str(one.lines),
                code or "-",
                categories.taxonomy.path(code, locale) if code else "your own name",
                by,
            ]
            for one, code, by in rows
        ]
        return [
            *table(cells, ["your name", "lines", "code", "means", "by"], NOTHING),
            *(sentences(found) if names else []),
        ]

    document = {
        **used(categories),
        **counted(found),
        "categories": [
            {"name": one.name, "lines": one.lines, "code": code, "by": by} for one, code, by in rows
        ],
    }
    answer(document, as_json, lines)


@app.command(epilog="Example: coop-node categories suggest")
def suggest(context: typer.Context, locale: Locale = "en", as_json: Json = False) -> None:
    """What the names that nobody mapped may mean, with a score and why. Changes nothing."""
    from node.data import categories as room

    home = _reading(context)
    categories = room.load(home.folder)
    found = list(room.suggestions(home.folder, room.printed(home.vault()), categories))

    def lines() -> list[str]:
        cells = []
        for one, likely in found:
            name = one.name
            for each in likely:
                path = categories.taxonomy.path(each.code, locale)
                cells.append([name, f"{each.score:.2f}", each.code, path, each.reason])
                name = ""
            if not likely:
                cells.append([name, "", "-", "nothing fits; look with 'categories tree'", ""])
        return table(cells, ["your name", "score", "code", "means", "why"], "Every name is mapped.")

    document = {
        **used(categories),
        "suggestions": [
            {
                "name": one.name,
                "lines": one.lines,
                "likely": [
                    {"code": each.code, "score": each.score, "reason": each.reason}
                    for each in likely
                ],
            }
            for one, likely in found
        ],
    }
    answer(document, as_json, lines)


@app.command(epilog="Example: coop-node categories tree --search brot --locale de")
def tree(
    context: typer.Context,
    search: Annotated[str, typer.Option(help="Only categories with this word.")] = "",
    locale: Locale = "en",
    as_json: Json = False,
) -> None:
    """The list that all members share."""
    from node.data import categories as room
    from protocols.taxonomy.suggest import search as look

    taxonomy = room.in_use(_reading(context).folder)
    codes = look(taxonomy, search, locale) if search else taxonomy.leaves
    rows = [(code, taxonomy.path(code, locale)) for code in codes]
    answer(
        {
            "taxonomy": {"id": taxonomy.id, "sha256": taxonomy.sha256},
            "categories": [{"code": code, "path": path} for code, path in rows],
        },
        as_json,
        lambda: [
            *table(
                [list(one) for one in rows],
                ["code", "means"],
                "Nothing has this word; try another, or a part of it.",
            ),
            f"{taxonomy.title} ({taxonomy.id}), fingerprint {taxonomy.sha256[:16]}.",
        ],
    )
