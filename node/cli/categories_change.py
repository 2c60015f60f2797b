"""``categories map | unmap | accept | export | import | use``: a mapping is made or handed out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.acting import acting_home
from node.cli.categories import Locale, app, counted, sentences, used
from node.cli.shell import DryRun, Json, Yes, answer, confirm, say, table
from protocols.errors import InputError

if TYPE_CHECKING:
    from node.data.categories import Categories
    from node.house import Home

__all__ = ["app"]  # with the commands below
INSTALLED_NAME = "installed"


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
        for line in [*sentences(now, " now"), *sentences(then, " then")]:
            say(line)
    document = {
        **used(after),
        "accepted": [
            {"name": one.name, "code": best.code, "score": best.score} for one, best in chosen
        ],
        "before": counted(now),
        "after": counted(then),
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
        {**used(made), "file": str(file), "names": len(made.entries)},
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
        for line in [*sentences(now, " now"), *sentences(then, " then")]:
            say(line)
    document = {
        **used(after),
        "new": {name: one.code for name, one in sorted(new.items())},
        "kept_mine": other,
        "before": counted(now),
        "after": counted(then),
    }
    if dry_run:
        answer({"dry_run": True, **document}, as_json, lambda: ["Dry run: nothing was changed."])
        return
    if new:
        confirm(f"Take over these {len(new)}?", yes)
        _keep(home, after)
    answer(document, as_json, lambda: [f"Taken over: {len(new)}."])


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
        **used(kept),
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
