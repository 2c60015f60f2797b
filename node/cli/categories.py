"""``categories list | suggest | map | unmap | accept | export | import | tree | use``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.acting import acting_home
from node.cli.shell import DryRun, Json, Yes, answer, confirm, say, state, table
from protocols.errors import InputError

if TYPE_CHECKING:
    from node.data.categories import Categories, Coverage
    from node.house import Home

app = typer.Typer(
    no_args_is_help=True,
    help="What your own categories mean in the list that all members share.",
)
Locale = Annotated[str, typer.Option(help="Language of the categories' names: en or de.")]
NOTHING = "There are no categories yet; 'coop-node data add FILE' brings sales."
INSTALLED_NAME = "installed"


def _reading(context: typer.Context) -> Home:
    from node.house import open_home

    return open_home(state(context).home)


def _counted(found: Coverage) -> dict[str, Any]:
    return {
        "lines": found.lines,
        "mapped_lines": found.mapped,
        "mapped_percent": round(found.percent, 1),
        "names": found.names,
        "series": found.series,
    }


def _sentences(found: Coverage, unit: str = "") -> list[str]:
    return [
        f"{found.mapped} of {found.lines} sales lines ({found.percent:.1f} %) have a shared "
        f"category{unit}.",
        f"Your {found.names} names become {found.series} series.",
    ]


def _used(categories: Categories) -> dict[str, Any]:
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
            *(_sentences(found) if names else []),
        ]

    document = {
        **_used(categories),
        **_counted(found),
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
        **_used(categories),
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


@app.command("map", epilog='Example: coop-node categories map "Brot 7%" food.bakery.bread')
def map_name(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The category as your till prints it.")],
    code: Annotated[str, typer.Argument(help="A code of the list; see 'categories tree'.")],
    as_json: Json = False,
) -> None:
    """Say what one of your names means."""
    from node.data import categories as room

    home = acting_home(context, "data")
    known = {one.name for one in room.printed(home.vault())}
    made = room.load(home.folder).with_entry(name, code, room.By.CONFIRMED)
    _keep(home, made)
    unknown = name not in known
    answer(
        {"name": name, "code": code, "in_vault": not unknown},
        as_json,
        lambda: [
            f"{name} means {made.taxonomy.path(code, 'en')} from now on.",
            *(["No line has this category yet; check the spelling."] if unknown else []),
        ],
    )


@app.command(epilog='Example: coop-node categories unmap "Brot 7%"')
def unmap(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The category as your till prints it.")],
    as_json: Json = False,
) -> None:
    """Take back what one of your names means; it stays your own name again."""
    from node.data import categories as room

    home = acting_home(context, "data")
    _keep(home, room.load(home.folder).without(name))
    answer({"name": name}, as_json, lambda: [f"{name} is your own name again."])


@app.command(epilog="Example: coop-node categories accept --min-score 0.9")
def accept(
    context: typer.Context,
    min_score: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Only suggestions of this score or more.")
    ] = 0.9,
    locale: Locale = "en",
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Accept the best suggestion for each name that nobody mapped; shows all and asks."""
    from node.data import categories as room

    home = acting_home(context, "data")
    before, vault = room.load(home.folder), home.vault()
    after, chosen = before, []
    for one, likely in room.suggestions(home.folder, room.printed(vault), before, 1):
        if likely and likely[0].score >= min_score:
            after = after.with_entry(one.name, likely[0].code, room.By.ACCEPTED)
            chosen.append((one, likely[0]))
    now, then = room.coverage(vault, before), room.coverage(vault, after)
    if not as_json:
        cells = [
            [one.name, str(one.lines), f"{best.score:.2f}", after.taxonomy.path(best.code, locale)]
            for one, best in chosen
        ]
        for line in table(
            cells, ["your name", "lines", "score", "means"], "No suggestion scores that high."
        ):
            say(line)
        for line in [*_sentences(now, " now"), *_sentences(then, " then")]:
            say(line)
    document = {
        **_used(after),
        "accepted": [
            {"name": one.name, "code": best.code, "score": best.score} for one, best in chosen
        ],
        "before": _counted(now),
        "after": _counted(then),
    }
    if dry_run:
        answer({"dry_run": True, **document}, as_json, lambda: ["Dry run: nothing was changed."])
        return
    if chosen:
        confirm(f"Accept these {len(chosen)}?", yes)
        _keep(home, after)
    answer(document, as_json, lambda: [f"Accepted: {len(chosen)}."])


@app.command(epilog="Example: coop-node categories export mine.toml")
def export(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to write; must not exist.")],
    as_json: Json = False,
) -> None:
    """Write your mapping to a file for others with the same till. No sales are in it."""
    from node import files
    from node.data import categories as room

    home = acting_home(context, "data")
    made = room.load(home.folder)
    if file.exists():
        raise InputError("this file exists already.", where=str(file), fix="Choose another name.")
    files.write(file, room.text(made).encode())
    answer(
        {**_used(made), "file": str(file), "names": len(made.entries)},
        as_json,
        lambda: [f"{file}: {len(made.entries)} names."],
    )


@app.command("import", epilog="Example: coop-node categories import theirs.toml --dry-run")
def import_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A mapping from 'categories export'.")],
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Take over somebody else's mapping; what you said about a name yourself stays."""
    from node import files
    from node.data import categories as room

    home = acting_home(context, "data")
    mine = room.load(home.folder)
    theirs = room.read(files.read(file, room.MAX_FILE_BYTES), mine.taxonomy, str(file))
    after = mine
    new = {name: one for name, one in theirs.entries.items() if name not in mine.entries}
    for name, one in new.items():
        after = after.with_entry(name, one.code, room.By.ACCEPTED)
    other = sum(
        mine.entries[name].code != one.code
        for name, one in theirs.entries.items()
        if name in mine.entries
    )
    vault = home.vault()
    now, then = room.coverage(vault, mine), room.coverage(vault, after)
    if not as_json:
        for name, one in sorted(new.items()):
            say(f"  {name}: {mine.taxonomy.path(one.code, 'en')}")
        say(f"{len(new)} names are new; {other} mean something else with you, which stays.")
        for line in [*_sentences(now, " now"), *_sentences(then, " then")]:
            say(line)
    document = {
        **_used(after),
        "new": {name: one.code for name, one in sorted(new.items())},
        "kept_mine": other,
        "before": _counted(now),
        "after": _counted(then),
    }
    if dry_run:
        answer({"dry_run": True, **document}, as_json, lambda: ["Dry run: nothing was changed."])
        return
    if new:
        confirm(f"Take over these {len(new)}?", yes)
        _keep(home, after)
    answer(document, as_json, lambda: [f"Taken over: {len(new)}."])


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


@app.command(epilog="Example: coop-node categories use taxonomy.json")
def use(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(help="A list as a file, or 'installed' for the one that came along.")
    ],
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Use another list: the one that your agreement names. Entries whose code it has stay."""
    from node import files
    from node.data import categories as room
    from protocols.taxonomy.form import parse

    home = acting_home(context, "data")
    if file == INSTALLED_NAME:
        chosen = room.installed()
    else:
        chosen = parse(files.read(Path(file), room.MAX_FILE_BYTES), file)
    entries = room.load_any(home.folder)
    kept = room.carried(entries, chosen)
    document = {
        **_used(kept),
        "kept": len(kept.entries),
        "dropped": sorted(set(entries) - set(kept.entries)),
    }
    lines = [
        f"{chosen.title} ({chosen.id}), {len(chosen.leaves)} categories.",
        f"Fingerprint {chosen.sha256}; your agreement has to name the same.",
        f"{len(kept.entries)} of your {len(entries)} names keep what they mean.",
    ]
    if dry_run:
        answer({"dry_run": True, **document}, as_json, lambda: [*lines, "Nothing was changed."])
        return
    if not as_json:
        for line in lines:
            say(line)
    confirm("Use this list?", yes)
    room.use(home.folder, chosen)
    _note(home, kept)
    answer(document, as_json, lambda: ["It is in use now."])


def _keep(home: Home, categories: Categories) -> None:
    from node.data import categories as room

    room.save(home.folder, categories)
    _note(home, categories)


def _note(home: Home, categories: Categories) -> None:
    """The journal knows which list and how many names; not the names."""
    home.journal(
        "categories",
        {"taxonomy": categories.taxonomy.sha256, "names": len(categories.entries)},
    )
