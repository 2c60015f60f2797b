"""``data add | list`` and ``forecast``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import click
import typer

from node.cli import quality as health
from node.cli import rights
from node.cli.acting import acting_home
from node.cli.category_names import CategoryNames
from node.cli.shell import DryRun, Json, Yes, answer, confirm, say, state, table
from protocols.errors import Code, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from node.data.database import Database
    from node.data.intake import ImportResult
    from node.insights.forecasts import Forecast

_NAME_ONE = "For example: coop-node data add sales.csv, or --sql sqlite:///shop.db --table sales"

app = typer.Typer(no_args_is_help=True, help="Your sales rows. They never leave this folder.")


@app.command(epilog="Example: coop-node data add sales.csv --dry-run")
def add(
    context: typer.Context,
    file: Annotated[
        Path | None, typer.Argument(help="A CSV, Excel, OpenDocument or Parquet file.")
    ] = None,
    dialect: Annotated[
        str | None, typer.Option("--as", help="The till's format, if it is not found.")
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="A mapping file for this export.")] = None,
    sheet: Annotated[str | None, typer.Option(help="Which sheet of a workbook.")] = None,
    sql: Annotated[
        str | None, typer.Option(help="A database instead, e.g. sqlite:///shop.db; read only.")
    ] = None,
    sql_table: Annotated[
        str | None, typer.Option("--table", help="The table or view of the database.")
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="comma, semicolon, tab or pipe, if it is not clear.")
    ] = None,
    encoding: Annotated[str | None, typer.Option(help="For example latin-1.")] = None,
    date_order: Annotated[str | None, typer.Option(help="ymd, dmy or mdy.")] = None,
    decimal: Annotated[str | None, typer.Option(help="point or comma.")] = None,
    timezone: Annotated[str, typer.Option(help="Your shop's, e.g. Europe/Berlin.")] = "UTC",
    currency: Annotated[str | None, typer.Option(help="For example EUR.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="ROLE=HEADER, e.g. category=Dept; repeatable.")
    ] = None,
    older: Annotated[
        str | None,
        typer.Option(help="keep or replace: what an export does that is older than what is here."),
    ] = None,
    max_bad_share: Annotated[
        float, typer.Option(help="Rows that may be set aside: 0.02 is 2 in 100; more refuse all.")
    ] = 0.02,
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Add rows from a file or a database: shows what it found, asks, keeps all of it or nothing."""
    from node.cli import plan_view
    from node.data import intake

    home = acting_home(context, "data")
    spec = _spec(file, sql, sql_table)
    options = intake.Options(
        delimiter=delimiter,
        encoding=encoding,
        date_order=date_order,
        decimal=decimal,
        timezone=timezone,
        currency=currency,
        columns=_pairs(column or []),
        dialect=dialect,
        mapping=mapping,
        sheet=sheet or _which_sheet(spec, ask=not (yes or as_json)),
        older=older,
        max_bad_share=max_bad_share,
    )
    vault, now = home.vault(), home.clock()
    if not dry_run and isinstance(spec, Path):
        record = intake.known(vault, spec, options, now.date())
        if record is not None:
            _answer_added(intake.unchanged(record), (), as_json)
            return
    with (
        _bar(as_json, "reading") as progress,
        intake.prepare(
            vault, spec, options, home.keys.customer_secret, now, progress.update
        ) as prepared,
    ):
        new, here = prepared.compare()
        progress.stop()
        plan, replacing = prepared.plan, prepared.replacing()
        if not as_json:
            plan_view.show(plan, new, here, replacing)
        if dry_run:
            answer(
                plan_view.document(plan, new, here, replacing),
                as_json,
                lambda: ["Dry run: nothing was kept."],
            )
            return
        if replacing.older is not None and older is None and not (yes or as_json):
            older = _which_counts()
        confirm("Keep these rows on this node?", yes)
        result = prepared.commit(older)
    home.journal(
        "intake",
        {
            "file": plan.sha256,
            "rows": result.rows_added,
            "duplicates": result.duplicates,
            "quarantined": result.quarantined,
            "orders_changed": result.orders_changed,
            "replaced": result.lines_replaced,
        },
    )
    rights.keep_erased_out(home)
    _answer_added(result, plan.dropped, as_json, health.said_after(home, plan.sha256))


def _spec(file: Path | None, sql: str | None, sql_table: str | None) -> Path | Database:
    """The file or the table that was named, and not both."""
    if sql is None and sql_table is None:
        if file is None:
            raise InputError(
                "nothing was named to add.", code=Code.USAGE, where="FILE", fix=_NAME_ONE
            )
        return file
    if file is not None or sql is None or sql_table is None:
        raise InputError(
            "a file, or --sql together with --table, is expected.",
            code=Code.USAGE,
            where="--sql",
            fix=_NAME_ONE,
        )
    from node.data.database import Database

    return Database(sql, sql_table, _sql_password(sql))


def _which_sheet(spec: Path | Database, *, ask: bool) -> str | None:
    """Asks on a terminal if a workbook has several sheets; else the refusal names the option."""
    import sys

    if not (ask and isinstance(spec, Path) and sys.stdin.isatty()):
        return None
    from node.data.survey import kind_of

    kind = kind_of(spec)
    if kind not in ("zip", "xls"):
        return None
    from node.data.workbook import sheets

    found = sheets(spec, kind)
    if len(found) < 2:
        return None
    for number, (name, rows) in enumerate(found, start=1):
        say(f"{number}. {name} ({rows} rows)")
    chosen = typer.prompt("Which sheet", type=click.IntRange(1, len(found)))
    return found[chosen - 1][0]


def _which_counts() -> str | None:
    """Asks on a terminal; else the refusal names the option."""
    import sys

    if not sys.stdin.isatty():
        return None
    say("keep: leave these orders as they are here and add only others.")
    say("replace: this export is the newer one; its orders count.")
    return str(typer.prompt("Which one", type=click.Choice(["keep", "replace"])))


def _sql_password(url: str) -> str:
    """From the environment, else asked for; never from the command line."""
    import os
    import sys

    from node.data.database import PASSWORD_VARIABLE

    said = os.environ.get(PASSWORD_VARIABLE)
    if said is not None or url.startswith("sqlite") or not sys.stdin.isatty():
        return said or ""
    return str(typer.prompt("Password of the database", default="", hide_input=True))


def _answer_added(
    result: ImportResult, dropped: Sequence[str], as_json: bool, said: Sequence[str] = ()
) -> None:
    document = {
        "rows_added": result.rows_added,
        "duplicates": result.duplicates,
        "customers_filled_in": result.named,
        "erased_left_out": result.suppressed,
        "orders_changed": result.orders_changed,
        "lines_replaced": result.lines_replaced,
        "kept_as_they_are": result.kept_back,
        "quarantined": result.quarantined,
        "quarantine": result.quarantine.name if result.quarantine else None,
        "dropped_columns": list(dropped),
        "already_known": result.already_known,
        "health": list(said),
    }

    def lines() -> list[str]:
        out = [f"{result.rows_added} rows added, {result.duplicates} were here already."]
        if result.named:
            out.append(f"{result.named} of those had no customer before and have one now.")
        if result.orders_changed:
            out.append(
                f"{result.orders_changed} orders are not what they were: "
                f"{result.lines_replaced} of their lines went."
            )
        if result.kept_back:
            out.append(f"{result.kept_back} rows of orders that are newer here were left out.")
        if result.suppressed:
            out.append(f"{result.suppressed} rows of customers who were erased were left out.")
        if result.quarantined:
            out.append(
                f"{result.quarantined} rows were set aside; see them with: "
                "coop-node data quarantine list"
            )
        return [*out, *said, "Next: coop-node forecast"]

    answer(document, as_json, lines)


health.register(app)


@app.command("list", epilog="Example: coop-node data list --json")
def list_imports(context: typer.Context, as_json: Json = False) -> None:
    """What is here: files added, dates, health."""
    from node.data import quality
    from node.house import open_home

    home = open_home(state(context).home)
    vault = home.vault()
    imports, summary = vault.imports(), vault.summary()
    report = quality.check(vault, home.clock().date()) if summary.lines else None
    document = {
        "imports": [vars_of(one) for one in imports],
        "summary": vars_of(summary),
        "health": report.score if report else None,
        "findings": [vars_of(one) for one in report.findings] if report else [],
    }

    def lines() -> list[str]:
        rows = [
            [one.file_name, str(one.rows_added), str(one.date_from), str(one.date_to)]
            for one in imports
        ]
        out = table(
            rows, ["file", "rows", "from", "to"], "No rows yet: coop-node data add FILE.csv"
        )
        if report is not None:
            out.append(f"Health: {report.score} of 100")
            names = CategoryNames(home.folder)
            out += [names.said(f"  {one.sentence} {one.fix}") for one in report.findings]
        return out

    answer(document, as_json, lines)


def vars_of(value: Any) -> dict[str, Any]:
    """A frozen value as a plain dictionary for JSON."""
    from dataclasses import asdict

    return asdict(value)


def forecast(
    context: typer.Context,
    week_start: Annotated[
        str, typer.Option(help="monday or sunday; the shared model brings its own.")
    ] = "monday",
    own: Annotated[bool, typer.Option("--own", help="Only from your own rows.")] = False,
    top: Annotated[int, typer.Option(help="How many categories to show.")] = 10,
    as_json: Json = False,
) -> None:
    """Units for the next four weeks: from your own rows, and better with a shared model."""
    from node.advice import best_forecast
    from node.cli.acting import acting_home

    home = acting_home(context, "use")
    advice, names = best_forecast(home, week_start, own_only=own), CategoryNames(home.folder)
    made, method = advice.forecast, advice.method
    model = advice.used.model if advice.used is not None else ""
    document = {**made.document(), "method": method, "model": model}
    for one in document["lines"]:
        one["name"] = names.of(one["category_code"]) or one["category_code"]

    def lines() -> list[str]:
        said = (
            f"Blend of your own forecast ({made.local_weight:.0%}) and the shared model {model[:8]}"
            if model
            else f"Your own forecast ({made.own_method}); no shared model is used"
        )
        return [
            f"{said}. {made.history_weeks} weeks of history, known until {made.known_until}.",
            *_forecast_table(made, method, top, names),
            "low and high: 8 weeks in 10 are expected between them. Order from the mean.",
        ]

    answer(document, as_json, lines)


def _forecast_table(made: Forecast, method: str, top: int, names: CategoryNames) -> list[str]:
    lines = made.only(method)
    volume: dict[str, float] = {}
    for line in lines:
        volume[line.category_code] = volume.get(line.category_code, 0.0) + line.mean
    chosen = sorted(volume, key=lambda name: (-volume[name], name))[:top]
    rows = [
        [names.beside(line.category_code), str(line.week_start)]
        + [f"{value:.0f}" for value in (line.p10, line.p50, line.p90)]
        + [f"{line.mean:.1f}"]
        for name in chosen
        for line in lines
        if line.category_code == name
    ]
    return table(rows, ["category", "week of", "low", "middle", "high", "mean"], "Nothing to show.")


def _pairs(pairs: list[str]) -> dict[str, str]:
    out = {}
    for pair in pairs:
        role, sign, header = pair.partition("=")
        if not sign:
            raise InputError(f"{pair!r} is not ROLE=HEADER.", where="--column")
        out[role] = header
    return out


class _bar:
    """A progress bar on a terminal, nothing elsewhere."""

    def __init__(self, quiet: bool, what: str) -> None:
        import sys

        self._show = not quiet and sys.stderr.isatty()
        self._what = what
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> _bar:
        if self._show:
            from rich.console import Console
            from rich.progress import Progress

            self._bar = Progress(console=Console(stderr=True), transient=True)
            self._bar.start()
            self._task = self._bar.add_task(self._what, total=None)
        return self

    def update(self, done: int, total: int) -> None:
        """How far it is."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total or None)

    def stop(self) -> None:
        """Take it off the screen, for the answer to stand there."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __exit__(self, *_: object) -> None:
        self.stop()
