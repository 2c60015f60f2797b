"""The page that a demo leaves behind: one HTML file, no scripts, nothing fetched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

from examples.complete_journey.charts import (
    StoreErrors,
    attendance_chart,
    epsilon_chart,
    error_chart,
    forecast_chart,
)
from examples.complete_journey.own import OwnData
from examples.complete_journey.own import page as asked
from examples.complete_journey.report_rules import RulesResult, closing, opening, refused
from examples.complete_journey.tables import table

STYLE = """
:root{color-scheme:light}body{font:16px/1.55 system-ui,sans-serif;color:#1f2937;background:#fff;
max-width:60rem;margin:2rem auto;padding:0 1rem}h1{font-size:1.7rem}h2{margin-top:2.4rem}
table{border-collapse:collapse;width:100%;margin:1rem 0}caption{text-align:left;font-weight:600}
th,td{border-bottom:1px solid #d1d5db;padding:.35rem .6rem;text-align:right}
th:first-child,td:first-child,.words th,.words td{text-align:left}
code{background:#f3f4f6;padding:.1rem .3rem}
.note{background:#eff6ff;border-left:4px solid #0369a1;padding:.6rem 1rem}
.scroll{overflow-x:auto}@media print{body{margin:0}}
"""


@dataclass(frozen=True, slots=True)
class StoreResult:
    """One store's own figures on its held-out weeks, read from its own folder."""

    name: str
    cold: bool
    weeks: int
    wape: tuple[float, float, float]  # own baseline, shared, blend
    wql: tuple[float, float, float]

    @property
    def better(self) -> bool:
        """Whether the blend beats the store's own baseline."""
        return self.wape[2] < self.wape[0]


@dataclass(frozen=True, slots=True)
class ForecastExample:
    """One store's busiest category: the last weeks sold, then the weeks ahead."""

    store: str
    category: str
    weeks: tuple[str, ...]  # of both, month-day
    sold: tuple[float, ...]
    low: tuple[float, ...]
    middle: tuple[float, ...]
    high: tuple[float, ...]


METHODS = ("own", "shared", "blend")
Three = tuple[float | None, float | None, float | None]


@dataclass(frozen=True, slots=True)
class CustomerResult:
    """One store's own figures on its customers, read from its own folder; None: not known."""

    name: str
    cold: bool
    customers: int
    left: int
    auroc: Three  # own baseline, shared, blend; None if all or none of them left
    brier: Three


@dataclass(frozen=True, slots=True)
class PrivacyResult:
    """What a run costs each customer and what is left, as planned before it began."""

    alone: float  # epsilon for the coordinator by itself
    colluders: int
    with_colluders: float
    delta: float
    least_survivors: int
    agreed: float
    period_days: int
    spent_before: float
    spent_after: float

    @property
    def sentence(self) -> str:
        """In words."""
        return (
            f"epsilon {self.alone:.2f} for the coordinator alone, {self.with_colluders:.2f} if "
            f"{self.colluders} members help it (delta {self.delta:g}, at least "
            f"{self.least_survivors} members in every sum). Agreed is {self.agreed:g} in "
            f"{self.period_days} days for each customer: {self.spent_before:.2f} was spent before, "
            f"{self.spent_after:.2f} with this run."
        )


@dataclass(frozen=True, slots=True)
class AtRiskRow:
    """One customer of a store's list; the key is shortened."""

    key: str
    probability: float
    last_visit: str
    reasons: tuple[str, ...]

    def cells(self) -> list[str]:
        """A row, the same in the terminal and on the page."""
        return [self.key, f"{self.probability:.0%}", self.last_visit, "; ".join(self.reasons)]


@dataclass(frozen=True, slots=True)
class ChurnResult:
    """What happened when the stores learned about their customers."""

    state: str  # of the run, and what was said: the model, or why nothing was released
    rounds: int
    seconds: float
    privacy: PrivacyResult
    asked_again: float  # epsilon that a further run would bring the year to
    stores: Sequence[CustomerResult]
    accounts: Sequence[tuple[str, float, float]]  # store, epsilon spent, left
    at_risk_store: str
    at_risk: Sequence[AtRiskRow]
    refusals: Sequence[tuple[str, str, str]]  # store, clause, sentence
    memory: Sequence[tuple[str, float]] = field(default=())


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What happened, in figures and sentences."""

    stores: Sequence[StoreResult]
    rounds: int
    seconds: float
    attendance: Sequence[frozenset[str]]
    killed: str
    killed_in_round: int
    release: str  # sentence on the release gate
    refusals: Sequence[tuple[str, str, str]]  # store, clause, sentence
    amendment: str
    checks: Sequence[str]
    places: Sequence[tuple[str, str]]  # what, where
    memory: Sequence[tuple[str, float]] = field(default=())
    example: ForecastExample | None = None
    churn: ChurnResult | None = None
    rules: RulesResult | None = None
    person: OwnData | None = None


def mean(values: Sequence[float]) -> float:
    """Unweighted mean over stores."""
    return sum(values) / len(values)


def result_rows(stores: Sequence[StoreResult]) -> list[list[str]]:
    """Rows of the closing table, the same in the terminal and on the page."""
    rows = []
    for store in stores:
        name = f"{store.name} (cold, {store.weeks} weeks)" if store.cold else store.name
        rows.append(
            [name]
            + [f"{value:.3f}" for value in (*store.wape, *store.wql)]
            + ["yes" if store.better else "no"]
        )
    rows.append(
        ["mean over stores"]
        + [f"{mean([s.wape[i] for s in stores]):.3f}" for i in range(3)]
        + [f"{mean([s.wql[i] for s in stores]):.3f}" for i in range(3)]
        + [f"{sum(s.better for s in stores)} of {len(stores)}"]
    )
    return rows


def customer_rows(stores: Sequence[CustomerResult]) -> list[list[str]]:
    """Rows on customers, with the mean over the stores that have the figure."""

    def shown(value: float | None) -> str:
        return "-" if value is None else f"{value:.3f}"

    rows = [
        [s.name + (" (cold)" if s.cold else ""), str(s.customers), str(s.left)]
        + [shown(value) for value in (*s.auroc, *s.brier)]
        for s in stores
    ]
    means = []
    for column in range(2 * len(METHODS)):
        known = [v for v in ((*s.auroc, *s.brier)[column] for s in stores) if v is not None]
        means.append(shown(mean(known) if known else None))
    totals = [str(sum(s.customers for s in stores)), str(sum(s.left for s in stores))]
    return [*rows, ["mean over stores", *totals, *means]]


HEADERS = [
    "store",
    "WAPE own",
    "WAPE shared",
    "WAPE blend",
    "wQL own",
    "wQL shared",
    "wQL blend",
    "blend better",
]


def page(result: DemoResult) -> str:
    """The whole page."""
    stores = result.stores
    errors = [StoreErrors(s.name, s.cold, *s.wape) for s in stores]
    own, blend = mean([s.wape[0] for s in stores]), mean([s.wape[2] for s in stores])
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width,initial-scale=1'>",
        f"<title>A cooperative of {len(stores)} stores</title><style>{STYLE}</style></head><body>",
        f"<h1>{len(stores)} stores learned together and kept their rows</h1>",
        f"<p>Real sales of {len(stores)} stores of the Complete Journey data set, each in its own "
        f"process with its own folder, trained a demand forecast in {result.rounds} rounds of "
        f"secure aggregation on this machine. The whole demo took {result.seconds:.0f} seconds. "
        "The coordinator saw sums over at least five stores and signatures, no row and no single "
        "store's update.</p>",
        f"<p class='note'>Mean error (WAPE) over the stores' held-out weeks: own forecast "
        f"{own:.3f}, blend of own and shared {blend:.3f} ({100 * (blend / own - 1):+.1f} %). "
        f"The blend was better for {sum(s.better for s in stores)} of {len(stores)} stores. "
        "A cooperative this small proves the machinery; it is not a promise of gain.</p>",
        "<h2>How far off each forecast was</h2>",
        error_chart(errors),
        table("Error on held-out weeks, lower is better", HEADERS, result_rows(stores)),
        "<p>WAPE: the sum of all misses divided by the sum of all sales. wQL: the same idea for "
        "the whole range of the forecast. A cold store has only 12 weeks of history before the "
        "held-out weeks. The stores' own figures come from their own folders; the coordinator "
        "only saw their sum.</p>",
    ]
    if result.example is not None:
        parts += _example(result.example)
    if result.rules is not None:
        parts += opening(result.rules)
    parts += [
        "<h2>Who was in each round's sum</h2>",
        attendance_chart([s.name for s in stores], result.attendance),
        f"<p>{_killed(result)}</p>",
        f"<p>{escape(result.release)}</p>",
        "<h2>An order that every store refused</h2>",
        f"<p>{escape(result.amendment)}</p>",
        table("What each store answered", ["store", "clause", "reason"], result.refusals, True),
    ]
    if result.rules is not None:
        parts += refused(result.rules)
    if result.churn is not None:
        parts += _churn(result.churn)
    if result.person is not None:
        parts += asked(result.person)
    if result.rules is not None:
        parts += closing(result.rules)
    parts += [
        "<h2>What was checked afterwards, from files alone</h2><ul>",
        *[f"<li>{escape(line)}</li>" for line in result.checks],
        "</ul><h2>Where everything lies</h2>",
        table("Folders and files of this demo", ["what", "where"], result.places, True),
    ]
    if result.memory:
        rows = [[name, f"{mb:.0f}"] for name, mb in result.memory]
        parts.append(table("Resident memory near the end of training", ["process", "MB"], rows))
    parts.append("</body></html>")
    return "\n".join(parts)


def _churn(found: ChurnResult) -> list[str]:
    """The section on customers who leave."""
    privacy = found.privacy
    agreed = f"{privacy.agreed:g} in {privacy.period_days} days"
    parts = [
        "<h2>Which customers leave, with noise for each customer</h2>",
        "<p class='note'>The purchases are real, the customers' answers are made up: nine in ten "
        "said yes, one in twenty took it back. Only those who stand with a yes were read.</p>",
        f"<p>One run of {found.rounds} noised steps and one noised evaluation costs "
        f"{escape(privacy.sentence)}</p>",
        epsilon_chart(privacy.agreed, privacy.spent_after, found.asked_again),
        f"<p>The release gate: {escape(found.state.rstrip('.'))}. It knows noised figures only; "
        "those below are exact, come from the stores' own folders and left none of them. "
        "With so few customers the noise decides much: another run may end otherwise. "
        "The marks show each store's Brier score, the mean squared error of its probabilities.</p>",
    ]
    known = [s for s in found.stores if None not in s.brier]
    if known:
        errors = [StoreErrors(s.name, s.cold, *map(float, s.brier)) for s in known]  # type: ignore[arg-type]
        parts.append(error_chart(errors, "Brier score of each store, lower is better", "own model"))
    parts += [
        table(
            "On the customers of the last 8 weeks (AUROC: higher is better; Brier: lower)",
            [
                "store",
                "customers",
                "left",
                *[f"{a} {b}" for a in ("AUROC", "Brier") for b in METHODS],
            ],
            customer_rows(found.stores),
        ),
        table(
            f"Epsilon of each customer, as each node counts for itself (agreed: {agreed})",
            ["store", "spent", "left"],
            [[name, f"{spent:.2f}", f"{left:.2f}"] for name, spent, left in found.accounts],
        ),
    ]
    if found.at_risk:
        parts.append(
            table(
                f"{found.at_risk_store}: who may not come back (keys shortened)",
                ["customer", "leaves", "last visit", "because"],
                [one.cells() for one in found.at_risk],
                True,
            )
        )
    parts += [
        f"<p>A further run would bring the year to {found.asked_again:.2f}. The office's own gate "
        "refuses to launch it; ordered past that gate, every store refused it as well.</p>",
        table("What each store answered", ["store", "clause", "reason"], found.refusals, True),
    ]
    return parts


def _killed(result: DemoResult) -> str:
    """What happened to the store that was killed, from the rounds themselves."""
    name, number = escape(result.killed), result.killed_in_round
    counted = result.killed in result.attendance[number - 1]
    back = next(
        (r for r in range(number + 1, len(result.attendance) + 1)
         if result.killed in result.attendance[r - 1]),
        None,
    )  # fmt: skip
    return (
        f"{name} was killed (SIGKILL) in round {number} after its masked update had come in. "
        + ("Its update counted, " if counted else "Its update was taken out of the sum, ")
        + "the others finished the round without it. "
        + (f"It started again and was back in round {back}." if back else "It did not come back.")
    )


def _example(example: ForecastExample) -> list[str]:
    past = len(example.sold)
    rows = [
        [week, f"{units:.0f}", "", "", ""]
        for week, units in zip(example.weeks[:past], example.sold, strict=True)
    ] + [
        [week, "", f"{low:.1f}", f"{mid:.1f}", f"{high:.1f}"]
        for week, low, mid, high in zip(
            example.weeks[past:], example.low, example.middle, example.high, strict=True
        )
    ]
    return [
        f"<h2>What {escape(example.store)} reads: {escape(example.category.lower())}</h2>",
        forecast_chart(example.weeks, example.sold, example.low, example.middle, example.high),
        table(
            "Units a week: sold, and forecast by the blend",
            ["week of", "sold", "low (P10)", "middle (P50)", "high (P90)"],
            rows,
        ),
    ]
