"""What a demo leaves behind, read from the folders: figures, checks, one forecast."""

from __future__ import annotations

import json
from functools import partial

from rich.table import Table

from examples.complete_journey import export
from examples.complete_journey.cooperative import COORDINATOR, NODE, Demo, Store, of_everybody
from examples.complete_journey.report import ForecastExample, StoreResult, result_rows


def results(demo: Demo) -> list[StoreResult]:
    """Each store's own figures, read from its own folder; the coordinator never saw them."""

    def figures(store: Store) -> StoreResult:
        listed = demo.commands.json(NODE, store.home, "models", "list")["models"]
        files = sorted(store.home.glob("runs/*/scores.json"))
        own = listed[-1]["own_scores"] if listed else json.loads(files[-1].read_text())
        scores = own["scores"]
        return StoreResult(
            store.name,
            bool(own["cold"]),
            int(own["history_weeks"]),
            tuple(scores[m]["wape"] for m in ("own", "shared", "blend")),
            tuple(scores[m]["wql"] for m in ("own", "shared", "blend")),
        )

    return of_everybody(demo, figures)


def verify(demo: Demo, states: list[str]) -> list[str]:
    """Logs and the releases, checked from files alone."""
    lines = []
    models = [one.partition(": ")[2] for one in states if one.startswith("released")]
    for model in models or [""]:
        extra = ("--release", model) if model else ()
        checks = demo.commands.json(COORDINATOR, demo.office_home, "verify", *extra)["checks"]
        lines += [f"coordinator: {line}" for line in checks]
        lines += of_everybody(demo, partial(verified, demo, extra))
    return lines


def verified(demo: Demo, extra: tuple[str, ...], store: Store) -> str:
    """What one store's own ``verify`` found, in a line."""
    checks = demo.commands.json(NODE, store.home, "verify", *extra)["checks"]
    return f"{store.name}: {len(checks)} checks passed; {checks[0]}"


def show(demo: Demo, stores: list[StoreResult]) -> None:
    """The closing table."""
    table = Table(
        title="Error on each store's held-out weeks (lower is better)",
        caption="cold: only 12 weeks of history before the held-out weeks",
        padding=(0, 1, 0, 0),
    )
    short = ["store", "WAPE own", "shared", "blend", "wQL own", "shared", "blend", "better"]
    for at, header in enumerate(short):
        table.add_column(header, justify="left" if at == 0 else "right", no_wrap=True)
    for row in result_rows(stores):
        table.add_row(row[0].replace(", 12 weeks", ""), *row[1:])
    demo.console.print(table)


def forecast_example(demo: Demo) -> ForecastExample:
    """The first store's busiest category: weeks sold, and the blend's forecast of the next."""
    store = demo.stores[0]
    made = json.loads((store.home / "shared-forecast.json").read_text())
    listed = set(export.categories())  # what the cooperative shares; fuel by the litre is not
    lines = [
        one
        for one in made["lines"]
        if one["method"] == made["method"] and one["category_code"] in listed
    ]
    volume: dict[str, float] = {}
    for one in lines:
        volume[one["category_code"]] = volume.get(one["category_code"], 0.0) + one["mean"]
    category = max(volume, key=lambda name: (volume[name], name))
    ahead = sorted(
        (one for one in lines if one["category_code"] == category),
        key=lambda one: str(one["week_start"]),
    )
    past = export.weekly_units(store.csv, category)[-12:]
    return ForecastExample(
        store=store.name,
        category=category,
        weeks=tuple(day[5:] for day, _ in past) + tuple(str(o["week_start"])[5:] for o in ahead),
        sold=tuple(units for _, units in past),
        low=tuple(one["p10"] for one in ahead),
        middle=tuple(one["p50"] for one in ahead),
        high=tuple(one["p90"] for one in ahead),
    )
