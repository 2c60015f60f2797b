"""``vault status | verify | key | rotate-key | purge``; ``data retention`` and ``quarantine``."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.acting import acting_home
from node.cli.shell import DryRun, Json, Yes, answer, confirm, say, state, table
from protocols.errors import Code, InputError

if TYPE_CHECKING:
    from node.data.manifest import ImportRecord
    from node.data.retention import Purge
    from node.data.vault import Vault
    from node.house import Home

app = typer.Typer(no_args_is_help=True, help="Where your rows lie sealed, and their key.")
quarantine = typer.Typer(no_args_is_help=True, help="Rows of your files that could not be used.")


@app.command(epilog="Example: coop-node vault status --json")
def status(context: typer.Context, as_json: Json = False) -> None:
    """What the vault holds, where its key lies, and what was removed."""
    from node.data.schema import DAY
    from node.house import open_home

    home = open_home(state(context).home)
    vault = home.vault()
    found = vault.manifest()
    tables = {
        name: {
            "rows": sum(file.rows for file in found.of(name)),
            "files": len(found.of(name)),
            "bytes": sum(file.size_bytes for file in found.of(name)),
        }
        for name in DAY
    }
    aside = _with_rows(vault)
    document = {
        "tables": tables,
        "set_aside": sum(len(vault.quarantined(one.sha256)[1]) for one in aside),
        "key": _place(home),
        "contents": vault.data_digest(),
        "erased": len(found.erased),
        "removals": [
            {"what": one.what, "why": one.reason, "rows": one.rows, "when": one.when.isoformat()}
            for one in found.removals
        ],
    }

    def lines() -> list[str]:
        rows = [[name, *(str(one[k]) for k in ("rows", "files", "bytes"))] for name, one in
                tables.items()]  # fmt: skip
        out = table(rows, ["table", "rows", "files", "bytes"], "")
        out.append(f"Rows set aside: {document['set_aside']}")
        out.append(f"Sealed with AES-256-GCM; the key lies in {document['key']}.")
        out.append(f"Erased customers whom imports leave out: {len(found.erased)}")
        out += [
            f"{one.when:%Y-%m-%d} {one.what}: {one.rows} rows ({one.reason})"
            for one in found.removals[-10:]
        ]
        return out

    answer(document, as_json, lines)


def _place(home: Home) -> str:
    from node import keys, vault_key

    found = vault_key.load(home.folder / keys.KEYS, sealed=True)
    return "the key store of this computer" if found.value is None else "a file (keys/vault.key)"


@app.command(epilog="Example: coop-node vault verify")
def verify(context: typer.Context, as_json: Json = False) -> None:
    """Hold every file of the vault against what was written."""
    from node.house import open_home

    count = open_home(state(context).home).vault().verify()
    answer({"files": count}, as_json, lambda: [f"All {count} files are as they were written."])


@app.command(epilog="Example: coop-node vault key --to os")
def key(
    context: typer.Context,
    to: Annotated[
        str, typer.Option("--to", help="file, or os: the key store of this computer.")
    ] = "",
) -> None:
    """Where the key of your rows lies; with --to it is moved there."""
    from node import keys, vault_key

    if to not in ("", "file", "os"):
        raise InputError(
            f"{to!r} is not possible; expected file or os.", where="--to", code=Code.USAGE
        )
    if not to:
        from node.house import open_home

        say(f"The key of your rows lies in {_place(open_home(state(context).home))}.")
        return
    home = acting_home(context, "keys")
    home.vault()  # finishes a change of the key that was interrupted
    folder = home.folder / keys.KEYS
    found = vault_key.load(folder, sealed=True)
    if to == "os":
        vault_key.to_store(folder, found, home.keys.member)
    else:
        vault_key.to_file(folder, found)
    home.journal("key", {"what": f"moved-to-{to}"})
    say(f"The key of your rows lies in {_place(home)} now.")
    if to == "os":
        say("Make a backup: if this computer is lost, only a backup has the key.")


@app.command("rotate-key", epilog="Example: coop-node vault rotate-key --yes")
def rotate_key(context: typer.Context, yes: Yes = False) -> None:
    """Seal all rows again under a new key. Copies of the folder open with the old key only."""
    from node import keys, vault_key

    home = acting_home(context, "keys")
    vault, folder = home.vault(), home.folder / keys.KEYS
    if (home.folder / keys.NEXT).exists():
        raise InputError(
            "a renewal of this node's other keys is under way.",
            code=Code.USAGE,
            fix="Finish it first: coop-node key renew",
        )
    confirm("Seal everything again under a new key?", yes)
    found = vault_key.load(folder, sealed=True)
    count = vault.rotate(
        lambda: vault_key.begin(folder), lambda: vault_key.finish(folder, found), home.clock()
    )
    home.journal("key", {"what": "changed", "files": count})
    say(f"{count} files were sealed again under a new key. Make a backup: older ones lack it.")


@app.command(epilog="Example: coop-node vault purge --by-retention --dry-run")
def purge(
    context: typer.Context,
    before: Annotated[
        str, typer.Option(help="The first day to keep in all tables, e.g. 2024-01-01.")
    ] = "",
    by_retention: Annotated[
        bool, typer.Option("--by-retention", help="Each table by its own setting.")
    ] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Remove rows that may not be kept any longer; the journal keeps the figures."""
    from node.data import retention

    if bool(before) == by_retention:
        raise InputError(
            "say which rows: --before DAY, or --by-retention.", where="--before", code=Code.USAGE
        )
    home = acting_home(context, "data")
    vault, now = home.vault(), home.clock()
    limits: date | dict[str, date] = (
        retention.limits(home.retention_days, now.date()) if by_retention else _day(before)
    )
    found = vault.purge(limits, now, dry_run=True)
    if not as_json:
        for line in _purge_lines(found):
            say(line)
    if not dry_run and any(found.rows.values()):
        confirm("Remove these rows for good?", yes)
        found = vault.purge(limits, now)
        home.journal("purge", found.facts())
    document = {"dry_run": dry_run, **found.facts()}
    done = "Dry run: nothing was removed." if dry_run else "Done."
    answer(document, as_json, lambda: [done if any(found.rows.values()) else "Nothing is too old."])


def _purge_lines(found: Purge) -> list[str]:
    rows = [
        [name, str(count), found.before[name].isoformat()] for name, count in found.rows.items()
    ]
    return table(rows, ["table", "rows to remove", "first day kept"], "")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InputError(
            f"{text!r} is not a day; expected for example 2024-01-31.", where="--before"
        ) from error


def retention(context: typer.Context, as_json: Json = False) -> None:
    """How long each table is kept; the settings are in config.toml."""
    from node.data.retention import limits
    from node.house import open_home

    home = open_home(state(context).home)
    days = home.retention_days
    first = limits(days, home.clock().date())
    document = {
        name: {"days": days[name], "first_day_kept": first[name].isoformat()} for name in days
    }

    def lines() -> list[str]:
        rows = [
            [name, str(days[name]), first[name].isoformat(), f"retention_days_{name}"]
            for name in days
        ]
        out = table(rows, ["table", "days", "first day kept", "setting in config.toml"], "")
        return [*out, "What is older goes with: coop-node vault purge --by-retention"]

    answer({"retention": document}, as_json, lines)


# --- rows set aside ----------------------------------------------------------------------------


@quarantine.command("list", epilog="Example: coop-node data quarantine list")
def list_set_aside(context: typer.Context, as_json: Json = False) -> None:
    """Rows that were set aside, by file, each with its reason."""
    from node.house import open_home

    vault = open_home(state(context).home).vault()
    files = [
        {
            "file": one.file_name,
            "sha256": one.sha256,
            "when": one.when.isoformat(),
            "rows": [
                {"line": bad.line, "column": bad.place, "problem": bad.problem}
                for bad in vault.quarantined(one.sha256)[1]
            ],
        }
        for one in _with_rows(vault)
    ]

    def lines() -> list[str]:
        if not files:
            return ["No rows were set aside."]
        out = []
        for one in files:
            rows: Any = one["rows"]
            out.append(f"{one['file']}: {len(rows)} rows")
            out += [f"  line {bad['line']}: {bad['problem']}" for bad in rows[:20]]
            if len(rows) > 20:
                out.append(f"  and {len(rows) - 20} more")
        return [*out, "For a spreadsheet: coop-node data quarantine export FILE OUT.csv"]

    answer({"files": files}, as_json, lines)


@quarantine.command("export", epilog="Example: coop-node data quarantine export may.csv bad.csv")
def export_set_aside(
    context: typer.Context,
    file: Annotated[str, typer.Argument(help="The name of the file that was added.")],
    out: Annotated[Path, typer.Argument(help="The CSV to write; it is in plain text.")],
) -> None:
    """Write the rows of one file that were set aside, for a spreadsheet."""
    import csv
    import io

    from node import files
    from node.data.intake import escape_formula

    home = acting_home(context, "export")
    vault = home.vault()
    found = [one for one in _with_rows(vault) if file in (one.file_name, one.sha256)]
    if not found:
        raise InputError(
            "no row of a file of this name was set aside.",
            where=file,
            fix="See which there are: coop-node data quarantine list",
        )
    if out.exists():
        raise InputError("this file exists already.", where=str(out), fix="Choose another name.")
    text = io.StringIO(newline="")
    writer, count = csv.writer(text), 0
    for one in found:
        headers, rows = vault.quarantined(one.sha256)
        writer.writerow(map(escape_formula, ("line", "column", "problem", *headers)))
        for bad in rows:
            cells = (str(bad.line), str(bad.place), bad.problem, *bad.kept)
            writer.writerow(map(escape_formula, cells))
        count += len(rows)
    files.write(out, text.getvalue().encode("utf-8-sig"))
    say(f"{count} rows written to {out}. Delete it when you have corrected the export.")


def _with_rows(vault: Vault) -> list[ImportRecord]:
    """Imports that have rows set aside, one for each file."""
    found: dict[str, ImportRecord] = {}
    for one in vault.imports():
        if one.quarantine:
            found.setdefault(one.sha256, one)
    return list(found.values())
