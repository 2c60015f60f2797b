"""Which of a shop's customers will probably not come back, and why the model thinks so.

Nothing leaves the node. The probability is the blend of the own baseline and the shared model;
the reasons are the shared model's. They are exact shares: along the straight way from the shop's
average customer to this one, each feature's part of the change in the log odds (integrated
gradients, Sundararajan et al. 2017, arXiv 1703.01365). All parts together are the whole change;
features that say the same thing are added up to one reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from node.data import customers
from node.data.customers import CustomerTable
from node.training import churn_evaluate, churn_fit
from protocols.errors import LocalError
from protocols.workloads import churn

if TYPE_CHECKING:
    import pandas as pd

    from node.data.stages import ConsentedLines

Floats = NDArray[np.float64]

SCHEMA: Final = 1
REASONS: Final = 3
SHOWN_DIGITS: Final = 12
STEPS: Final = 64  # of the way; the middle of each is looked at
WORD_WEEKS: Final = 8

# What features speak about, by how their names begin. One reason a theme, or all three would say
# the same.
THEMES: Final[Mapping[str, tuple[str, ...]]] = {
    "absence": ("recency",),
    "rhythm": ("usual_gap", "gap_"),
    "visits": ("visits_", "faded_", "fading_", "weeks_active"),
    "trend": ("trend",),
    "spending": ("basket", "spend"),
    "variety": ("variety",),
}


def theme_of(feature: str) -> str:
    """The theme of a feature; LocalError for a feature without words."""
    for theme, beginnings in THEMES.items():
        if feature.startswith(beginnings):
            return theme
    raise LocalError(f"there are no words for the feature {feature}.")


@dataclass(frozen=True, slots=True)
class Reason:
    """One theme. ``share`` of the log odds: above 0 it speaks for leaving, below for staying."""

    theme: str
    share: float
    words: str


@dataclass(frozen=True, slots=True)
class AtRisk:
    """One customer. ``probability`` of no purchase within the horizon; ``rest`` of the log odds
    is what the themes that are not shown add up to."""

    customer_key: str
    probability: float
    own: float
    shared: float
    last_visit: date
    reasons: tuple[Reason, ...]
    rest: float

    @property
    def shown(self) -> str:
        """The key as people see it."""
        return self.customer_key[:SHOWN_DIGITS]


@dataclass(frozen=True, slots=True)
class ChurnList:
    """Customers with the highest probability first. ``scored``: all that were looked at."""

    as_of: date
    horizon_weeks: int
    own_method: str
    own_weight: float
    scored: int
    expected_to_leave: float
    customers: tuple[AtRisk, ...] = field(repr=False)

    def document(self) -> dict[str, Any]:
        """For ``--json``: dates as ISO text, whole keys."""
        return {
            "schema": SCHEMA,
            "as_of": self.as_of.isoformat(),
            "horizon_weeks": self.horizon_weeks,
            "own_method": self.own_method,
            "own_weight": round(self.own_weight, 4),
            "scored": self.scored,
            "expected_to_leave": round(self.expected_to_leave, 1),
            "customers": [
                {
                    "customer_key": one.customer_key,
                    "probability": round(one.probability, 4),
                    "own": round(one.own, 4),
                    "shared": round(one.shared, 4),
                    "last_visit": one.last_visit.isoformat(),
                    "reasons": [asdict(reason) for reason in one.reasons],
                    "rest": one.rest,
                }
                for one in self.customers
            ],
        }


def churn_list(
    found: ConsentedLines,
    params: NDArray[np.float32],
    config: churn.ChurnConfig,
    as_of: date,
    *,
    top: int | None = None,
) -> ChurnList:
    """Score every active customer on the last day that is known.

    Args:
        found: lines of those who stand, from ``node.data.consent.lines_to_score``.
        params: the pulled model, float32 (d,).
        config: of the order that the model came from.
        as_of: the last day of the rows.
        top: how many to list; all if None.

    Raises:
        InputError: the model does not fit the config.
    """
    ask = customers.scoring_table(found.lines, as_of, config)
    newest = as_of - timedelta(weeks=config.horizon_weeks)
    step = timedelta(weeks=config.snapshot_every_weeks)
    known = [newest - at * step for at in reversed(range(config.snapshots))]
    taught = customers.own_table(found.lines, known, config)
    scores = churn_evaluate.scores(params, taught, ask, config)
    blend = scores.by_method["blend"]
    best = np.argsort(-blend, kind="stable")[:top]
    shares = _shares(params, ask, best, config)
    facts = _facts(found.lines, as_of, {ask.keys[ask.customer[at]] for at in best})
    listed = []
    for row, at in enumerate(best):
        key = ask.keys[ask.customer[at]]
        reasons, rest = _reasons(shares[row], facts[key])
        listed.append(
            AtRisk(
                customer_key=key,
                probability=float(blend[at]),
                own=float(scores.by_method["own"][at]),
                shared=float(scores.by_method["shared"][at]),
                last_visit=facts[key].last,
                reasons=reasons,
                rest=rest,
            )
        )
    return ChurnList(
        as_of=as_of,
        horizon_weeks=config.horizon_weeks,
        own_method=scores.own_method,
        own_weight=scores.own_weight,
        scored=len(ask),
        expected_to_leave=float(blend.sum()),
        customers=tuple(listed),
    )


# --- reasons -----------------------------------------------------------------------------------


def _shares(
    params: NDArray[np.float32],
    ask: CustomerTable,
    rows: NDArray[np.int64],
    config: churn.ChurnConfig,
) -> Floats:
    """Each feature's part of the log odds against the average customer, (rows, INPUTS)."""
    if not len(rows):
        return np.zeros((0, churn.INPUTS))
    chosen, average = ask.inputs[rows], ask.inputs.mean(axis=0, keepdims=True)
    way = (chosen - average).astype(np.float64)
    slope = np.zeros_like(way)
    for at in range(STEPS):
        part = (average + way * (at + 0.5) / STEPS).astype(np.float32)
        slope += churn_fit.input_slopes(params, part, config) / STEPS
    shares: Floats = way * slope
    whole = churn_fit.logits(params, chosen, config) - churn_fit.logits(params, average, config)
    inside = np.abs(whole) < churn_fit.SCORE_LIMIT  # beyond, the score is cut and the sum is not
    if not np.allclose(shares.sum(axis=1)[inside], whole[inside], rtol=0.02, atol=0.02):
        raise LocalError("the reasons do not add up to the score they are to explain.")
    return shares


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a shopkeeper can check about one customer; days, visits, money."""

    last: date
    weeks_away: float
    usual_weeks: float
    recent: int
    before: int
    basket: float
    categories: float


def _facts(lines: pd.DataFrame, as_of: date, keys: set[str]) -> dict[str, _Facts]:
    """Of the listed customers; a visit is a day with a purchase, as for the features."""
    mine = lines[lines["customer_key"].isin(keys) & (lines["net"] >= 0)]
    mine = mine[mine["business_date"] <= np.datetime64(as_of)]
    visits = mine.groupby(["customer_key", "business_date"], observed=True).agg(
        net=("net", "sum"), categories=("category_code", "nunique")
    )
    out = {}
    for key, one in visits.groupby(level=0, observed=True):
        days = one.index.get_level_values(1).to_numpy().astype("datetime64[D]")
        age = (np.datetime64(as_of) - days).astype(np.int64)
        gaps = np.diff(np.sort(age)) / 7
        out[str(key)] = _Facts(
            last=as_of - timedelta(days=int(age.min())),
            weeks_away=float(age.min()) / 7,
            usual_weeks=float(np.median(gaps)) if len(gaps) else 0.0,
            recent=int((age < 7 * WORD_WEEKS).sum()),
            before=int(((age >= 7 * WORD_WEEKS) & (age < 14 * WORD_WEEKS)).sum()),
            basket=float(one["net"].mean()),
            categories=float(one["categories"].mean()),
        )
    return out


def _reasons(shares: Floats, facts: _Facts) -> tuple[tuple[Reason, ...], float]:
    """The themes that speak most for leaving, then those for staying; and what is left."""
    sums: dict[str, float] = {}
    for name, share in zip(churn.FEATURES, shares, strict=True):
        theme = theme_of(name)
        sums[theme] = sums.get(theme, 0.0) + float(share)
    themes = sorted(sums, key=lambda theme: (-sums[theme], theme))[:REASONS]
    found = tuple(Reason(theme, round(sums[theme], 4), _words(theme, facts)) for theme in themes)
    return found, round(sum(sums.values()) - sum(one.share for one in found), 4)


def _words(theme: str, facts: _Facts) -> str:
    every = f"usually every {_weeks(facts.usual_weeks)}"
    return {
        "absence": f"last here {_weeks(facts.weeks_away)} ago, {every}",
        "rhythm": f"comes {every}",
        "visits": f"{_count(facts.recent, 'visit')} in the last {WORD_WEEKS} weeks",
        "trend": f"{_count(facts.recent, 'visit')} in {WORD_WEEKS} weeks after {facts.before} in "
        f"the {WORD_WEEKS} before",
        "spending": f"spends {facts.basket:.2f} a visit",
        "variety": f"buys from {facts.categories:.1f} categories a visit",
    }[theme]


def _weeks(weeks: float) -> str:
    return _count(round(weeks * 7), "day") if weeks < 2 else f"{weeks:.0f} weeks"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
