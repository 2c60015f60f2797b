"""``data add | list`` and ``forecast``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.acting import acting_home
from node.cli.shell import DryRun, Json, Yes, answer, confirm, say, state, table
from protocols.errors import InputError

if TYPE_CHECKING:
    from node.data.intake import ImportPlan
    from node.insights.forecasts import Forecast

app = typer.Typer(no_args_is_help=True, help="Your sales rows. They never leave this folder.")


def _plan_lines(plan: ImportPlan) -> list[str]:
    lines = [
        f"{plan.path.name}: {plan.rows} rows from {plan.date_from} to {plan.date_to}, "
        f"{plan.categories} categories.",
        f"Read as: {plan.delimiter_name}, {plan.encoding}, dates {plan.date_order}, "
        f"decimal {plan.decimal}, time zone {plan.timezone}.",
    ]
    lines += table(
        [
            [c.header, c.fate.value, c.role.value if c.role else "", f"{c.confidence:.2f}"]
            for c in plan.columns
        ],
        ["column in the file", "what happens", "read as", "confidence"],
        "",
    )
    if plan.dropped:
        lines.append(f"Personal columns dropped at the door: {', '.join(plan.dropped)}.")
    lines += [f"Worked out: {one}" for one in plan.derived]
    lines += [f"Note: {one}" for one in plan.notes]
    if plan.bad_rows:
        lines.append(f"{plan.bad_rows} rows cannot be read and will be set aside:")
        lines += [f"  line {bad.line}: {bad.problem}" for bad in plan.examples]
    return lines


@app.command(epilog="Example: coop-node data add sales.csv --dry-run")
def add(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The CSV file from your till.")],
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
    yes: Yes = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Add sales from a CSV file: shows what it found, asks, then keeps all of it or nothing."""
    from node.data import intake

    home = acting_home(context, "data")
    options = intake.Options(
        delimiter=delimiter,
        encoding=encoding,
        date_order=date_order,
        decimal=decimal,
        timezone=timezone,
        currency=currency,
        columns=_pairs(column or []),
    )
    with _bar(as_json, "reading") as progress:
        plan = intake.preview(file, options, progress)
    if not as_json:
        for line in _plan_lines(plan):
            say(line)
    if dry_run:
        answer(
            {"dry_run": True, "rows": plan.rows, "dropped": list(plan.dropped)},
            as_json,
            lambda: ["Dry run: nothing was kept."],
        )
        return
    confirm("Keep these rows on this node?", yes)
    with _bar(as_json, "keeping") as progress:
        result = intake.add(
            home.vault(), plan, home.keys.customer_secret, home.clock(), progress=progress
        )
    home.journal(
        "intake",
        {
            "file": plan.sha256,
            "rows": result.rows_added,
            "duplicates": result.duplicates,
            "quarantined": result.quarantined,
        },
    )
    document = {
        "rows_added": result.rows_added,
        "duplicates": result.duplicates,
        "customers_filled_in": result.named,
        "quarantined": result.quarantined,
        "quarantine": str(result.quarantine) if result.quarantine else None,
        "dropped_columns": list(plan.dropped),
        "already_known": result.already_known,
    }

    def lines() -> list[str]:
        out = [f"{result.rows_added} rows added, {result.duplicates} were here already."]
        if result.named:
            out.append(f"{result.named} of those had no customer before and have one now.")
        if result.quarantine is not None:
            out.append(f"{result.quarantined} rows were set aside: {result.quarantine}")
        return [*out, "Next: coop-node forecast"]

    answer(document, as_json, lines)


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
            out += [f"  {one.sentence} {one.fix}" for one in report.findings]
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

    advice = best_forecast(acting_home(context, "use"), week_start, own_only=own)
    made, method = advice.forecast, advice.method
    model = advice.used.model if advice.used is not None else ""
    document = {**made.document(), "method": method, "model": model}

    def lines() -> list[str]:
        said = (
            f"Blend of your own forecast ({made.local_weight:.0%}) and the shared model {model[:8]}"
            if model
            else f"Your own forecast ({made.own_method}); no shared model is used"
        )
        return [
            f"{said}. {made.history_weeks} weeks of history, known until {made.known_until}.",
            *_forecast_table(made, method, top),
            "low and high: 8 weeks in 10 are expected between them. Order from the mean.",
        ]

    answer(document, as_json, lines)


def _forecast_table(made: Forecast, method: str, top: int) -> list[str]:
    lines = made.only(method)
    volume: dict[str, float] = {}
    for line in lines:
        volume[line.category_code] = volume.get(line.category_code, 0.0) + line.mean
    chosen = sorted(volume, key=lambda name: (-volume[name], name))[:top]
    rows = [
        [line.category_code, str(line.week_start)]
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

    def __enter__(self) -> Any:
        if not self._show:
            return None
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), transient=True)
        self._bar.start()
        task = self._bar.add_task(self._what, total=None)

        def progress(done: int, total: int) -> None:
            self._bar.update(task, completed=done, total=total)

        return progress

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
