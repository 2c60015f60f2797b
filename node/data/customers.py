"""Customers' own lines into numbers a model can learn from. Nothing here leaves the node.

A row describes one customer at one snapshot: what was bought up to that day, never after it, and
whether the customer came back within the horizon. Every feature is a fixed function of that
customer's lines alone: no mean, no quantile, no vocabulary over customers. So adding or removing
one customer changes that customer's rows and no other, which is what the noise is measured for.

A visit is a day with a line whose net amount is not negative. Two ways in: ``training_table`` and
``held_out_table`` serve a run and take checked lines, whose permit must open the gate for the
columns of the workload; ``own_table`` serves the member itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from protocols.errors import InputError
from protocols.permit import Gate
from protocols.workloads import churn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from node.data.stages import CheckedLines

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

CAP: Final = 3.0  # how far a feature may be from its centre, in its own spreads
NEVER: Final = 1e4  # days since a visit that never was

# Centre and spread of each feature before it is cut: public constants, rounded from what shops
# with some weeks between visits usually see. They only set the scale; a model learns the rest.
PUBLIC: Final[dict[str, tuple[float, float]]] = {
    "recency": (0.75, 1.0),
    "recency_to_gap": (0.0, 1.0),
    "recency_to_longest": (-1.0, 1.0),
    "gap_spread": (0.5, 0.35),
    "usual_gap": (0.5, 1.0),
    "visits_0_2": (0.5, 0.6),
    "visits_2_4": (0.6, 0.6),
    "visits_4_8": (0.8, 0.7),
    "visits_8_12": (0.8, 0.7),
    "visits_12_26": (1.2, 0.9),
    "fading_4": (-0.35, 0.2),
    "fading_8": (-0.25, 0.2),
    "faded_16": (1.8, 0.85),
    "trend": (0.0, 0.75),
    "weeks_active": (0.4, 0.3),
    "basket": (3.3, 0.75),
    "spend": (4.5, 1.4),
    "variety": (2.0, 0.65),
}
SQUARED: Final[dict[str, str]] = {
    "recency_to_gap_squared": "recency_to_gap",
    "usual_gap_squared": "usual_gap",
    "faded_16_squared": "faded_16",
    "weeks_active_squared": "weeks_active",
}


@dataclass(frozen=True, slots=True)
class CustomerTable:
    """N rows of customers at snapshots.

    ``inputs`` float32 (N, churn.INPUTS); ``customer`` int64 (N,) place in ``keys``, in ascending
    order; ``snapshot`` int64 (N,) days since 1970; ``left`` bool (N,), True without a visit in
    the horizon; ``known`` False if that is not known yet (then ``left`` says nothing).
    """

    keys: tuple[str, ...] = field(repr=False)
    inputs: NDArray[np.float32] = field(repr=False)
    customer: Whole = field(repr=False)
    snapshot: Whole = field(repr=False)
    left: NDArray[np.bool_] = field(repr=False)
    known: bool

    def __len__(self) -> int:
        return len(self.customer)

    @property
    def customers(self) -> int:
        """How many different customers have a row."""
        return len(_firsts(self.customer))

    def only(self, lets_in: Callable[[str], bool]) -> CustomerTable:
        """The table without the customers whose key is not let in."""
        keep = np.array([lets_in(key) for key in self.keys], bool)
        if keep.all():
            return self
        rows = keep[self.customer]
        return CustomerTable(
            tuple(key for key, one in zip(self.keys, keep, strict=True) if one),
            self.inputs[rows],
            (np.cumsum(keep) - 1)[self.customer[rows]],
            self.snapshot[rows],
            self.left[rows],
            self.known,
        )


@dataclass(frozen=True, slots=True)
class _Visits:
    """Days with a purchase, sorted by customer, then day; one entry each."""

    keys: tuple[str, ...]
    customer: Whole
    day: Whole
    net: Floats
    categories: Whole


def training_table(
    checked: CheckedLines, now: datetime, config: churn.ChurnConfig
) -> CustomerTable:
    """What this member trains on in a run: all snapshots of the order, labels up to their end.

    May be empty: a member without such customers takes part with noise alone, because staying
    away would say so.

    Raises:
        Refused: the permit is for another gate, has run out, or lacks a column.
    """
    checked.permit.require(Gate.ADMIT, now, columns=churn.COLUMNS)
    return own_table(checked.lines, config.snapshot_days, config)


def held_out_table(
    checked: CheckedLines, now: datetime, config: churn.ChurnConfig
) -> CustomerTable:
    """What the run is evaluated on: customers at ``train_until``, labels from the weeks after.

    Raises: as ``training_table``.
    """
    checked.permit.require(Gate.ADMIT, now, columns=churn.COLUMNS)
    return own_table(checked.lines, (config.train_until,), config)


def require_days(first_day: date | None, last_day: date | None, config: churn.ChurnConfig) -> None:
    """Stay out of a run that asks about days that the till's exports do not reach.

    Asked once, of the vault as a whole and before the run begins: inside a run no row may depend
    on the days of other customers.

    Raises:
        InputError: the sales end before the last label or begin too late for a snapshot.
    """
    needed = config.train_until + timedelta(weeks=config.horizon_weeks)
    if last_day is None or last_day < needed - timedelta(days=7):
        raise InputError(
            f"the sales here end on {last_day.isoformat() if last_day else 'no day'}; the order "
            f"looks at customers until {needed.isoformat()}.",
            fix="Add the newest export: coop-node data add FILE.csv",
        )
    if first_day is None or first_day > config.snapshot_days[-1]:
        raise InputError(
            f"the sales here begin after {config.snapshot_days[-1].isoformat()}, the newest day "
            "from which the order looks back.",
            fix="Add older exports, or take part in a later run.",
        )


def scoring_table(lines: pd.DataFrame, today: date, config: churn.ChurnConfig) -> CustomerTable:
    """Customers as they are today, for the member's own list; whether they left is not known."""
    return _table(_visits(lines), (today,), config, known=False)


def own_table(
    lines: pd.DataFrame, snapshots: Sequence[date], config: churn.ChurnConfig
) -> CustomerTable:
    """Rows of every customer who is active at a snapshot, for the member's own use; may be empty.

    Args:
        lines: customer_key, business_date, net, category_code; other columns are not read.
        snapshots: last days that features look at.
        config: horizon, who is active, how far back.

    Raises:
        InputError: a column is missing, or an amount is not a number.
    """
    return _table(_visits(lines), snapshots, config, known=True)


def _visits(lines: pd.DataFrame) -> _Visits:
    missing = sorted(set(churn.COLUMNS) - set(lines.columns))
    if missing:
        raise InputError(f"the customers' lines lack the columns {', '.join(missing)}.")
    net = lines["net"].to_numpy(dtype=np.float64)
    if not np.isfinite(net).all():
        raise InputError("the customers' lines hold amounts that are not numbers.")
    bought = np.flatnonzero((net >= 0) & lines["customer_key"].notna().to_numpy())
    codes, keys = _codes(lines["customer_key"])
    goods, _ = _codes(lines["category_code"])
    day = lines["business_date"].to_numpy().astype("datetime64[D]").astype(np.int64)
    customer, day, net, goods = codes[bought], day[bought], net[bought], goods[bought] + 1
    place = (customer << 24) + day  # days since 1970 fit into 24 bits for 40,000 years
    order = np.argsort(place, kind="stable")
    place, goods, net = place[order], goods[order], net[order]
    if len(place) == 0:
        nothing = np.zeros(0, dtype=np.int64)
        return _Visits(keys, nothing, nothing, np.zeros(0), nothing)
    first = _firsts(place)
    visit = place[first]
    number = np.repeat(np.arange(len(visit)), np.diff(np.append(first, len(place))))
    kinds = int(goods.max()) + 1
    pairs = np.sort(number * kinds + goods)
    different = pairs[_firsts(pairs)] // kinds
    return _Visits(
        keys=keys,
        customer=visit >> 24,
        day=visit & (2**24 - 1),
        net=np.add.reduceat(net, first),
        categories=np.bincount(different, minlength=len(visit)),
    )


def _firsts(ordered: Whole) -> Whole:
    """Where each value of a sorted array appears first (np.unique hashes, and ours collide)."""
    return np.flatnonzero(np.diff(ordered, prepend=-1))


def _codes(column: pd.Series[str]) -> tuple[Whole, tuple[str, ...]]:
    """Place of each value among the sorted ones (-1 for none), and those values."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        names = column.cat.categories
        order = np.argsort(names.to_numpy().astype(str), kind="stable")
        rank = np.empty(len(names) + 1, dtype=np.int64)
        rank[order] = np.arange(len(names))
        rank[-1] = -1
        return rank[column.cat.codes.to_numpy()], tuple(str(names[at]) for at in order)
    codes, found = pd.factorize(column.astype("str"), sort=True)
    return codes.astype(np.int64), tuple(str(name) for name in found)


def _table(
    visits: _Visits, snapshots: Sequence[date], config: churn.ChurnConfig, *, known: bool
) -> CustomerTable:
    inputs, customer, snapshot, left = [], [], [], []
    for one in snapshots:
        day = int(np.datetime64(one, "D").astype(np.int64))
        who, rows = _snapshot(visits, day, config)
        after = (visits.day > day) & (visits.day <= day + 7 * config.horizon_weeks)
        back = np.bincount(visits.customer[after], minlength=len(visits.keys)) > 0
        inputs.append(rows)
        customer.append(who)
        snapshot.append(np.full(len(who), day, dtype=np.int64))
        left.append(~back[who])
    at = np.concatenate(customer)
    order = np.argsort(at, kind="stable")
    return CustomerTable(
        keys=visits.keys,
        inputs=np.concatenate(inputs).astype(np.float32)[order],
        customer=at[order],
        snapshot=np.concatenate(snapshot)[order],
        left=np.concatenate(left)[order],
        known=known,
    )


def _snapshot(visits: _Visits, day: int, config: churn.ChurnConfig) -> tuple[Whole, Floats]:
    """Customers who are active at the end of ``day``, and their features (n, INPUTS)."""
    seen = (visits.day <= day) & (visits.day > day - 7 * config.history_weeks)
    count = len(visits.keys)
    customer, age = visits.customer[seen], (day - visits.day[seen]).astype(np.float64)
    many = np.bincount(customer, minlength=count)
    recency = np.full(count, NEVER)
    np.minimum.at(recency, customer, age)
    who = np.flatnonzero((many >= config.min_visits) & (recency < 7 * config.active_weeks))
    number = np.full(count, -1, dtype=np.int64)
    number[who] = np.arange(len(who))
    chosen = number[customer] >= 0
    part = _Past(
        number[customer[chosen]],
        age[chosen],
        visits.net[seen][chosen],
        visits.categories[seen][chosen].astype(np.float64),
        len(who),
    )
    raw = _raw(part, many[who].astype(np.float64), recency[who])
    columns = {
        name: np.clip((raw[name] - centre) / spread, -CAP, CAP)
        for name, (centre, spread) in PUBLIC.items()
    }
    for name, of in SQUARED.items():
        columns[name] = np.minimum(columns[of] ** 2 - 1, CAP)
    return who, np.column_stack([columns[name] for name in churn.FEATURES])


@dataclass(frozen=True, slots=True)
class _Past:
    """Visits of the chosen customers, sorted by customer, oldest first; ``age`` in days."""

    customer: Whole
    age: Floats
    net: Floats
    categories: Floats
    count: int

    def total(self, weight: Floats | NDArray[np.bool_]) -> Floats:
        """Sum of ``weight`` over each customer's visits, (count,)."""
        summed = np.bincount(self.customer, weights=weight, minlength=self.count)
        return np.asarray(summed, dtype=np.float64)


def _raw(past: _Past, many: Floats, recency_days: Floats) -> dict[str, Floats]:
    """Features before they are centred and cut, each (count,); weeks and logarithms."""
    mean, spread, longest, usual = _gaps(past, many)
    recency = recency_days / 7

    def visits(first: int, end: int) -> Floats:
        return past.total((past.age >= 7 * first) & (past.age < 7 * end))

    def faded(weeks: int) -> Floats:
        return np.log1p(past.total(np.exp2(-past.age / (7 * weeks))))

    # customers ascend and ages descend, so the same week of one customer stands together
    week = (past.age // 7).astype(np.int64)
    new = np.ones(len(week), dtype=np.bool_)
    new[1:] = (np.diff(week) != 0) | (np.diff(past.customer) != 0)
    weeks = past.customer[new & (week < 12)]
    return {
        "recency": np.log(recency + 0.5),
        "recency_to_gap": np.log((recency + 0.5) / (mean + 0.5)),
        "recency_to_longest": np.log((recency + 0.5) / (longest + 0.5)),
        "gap_spread": spread / (mean + 0.5),
        "usual_gap": usual,
        # windows that do not overlap: the less features repeat each other, the fewer steps
        # training takes and the less clipping bends it
        "visits_0_2": np.log1p(visits(0, 2)),
        "visits_2_4": np.log1p(visits(2, 4)),
        "visits_4_8": np.log1p(visits(4, 8)),
        "visits_8_12": np.log1p(visits(8, 12)),
        "visits_12_26": np.log1p(visits(12, 26)),
        "fading_4": faded(4) - faded(8),
        "fading_8": faded(8) - faded(16),
        "faded_16": faded(16),
        "trend": np.log((visits(0, 8) + 1) / (visits(8, 16) + 1)),
        "weeks_active": np.bincount(weeks, minlength=past.count) / 12,
        "basket": np.log1p(past.total(past.net) / many),
        "spend": np.log1p(past.total(past.net * np.exp2(-past.age / 56))),
        "variety": np.log1p(past.total(past.categories) / many),
    }


def _gaps(past: _Past, many: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Mean, spread and longest of the weeks between visits, and the mean of their logarithm.

    All are 0 for a customer with one visit.
    """
    same = past.customer[1:] == past.customer[:-1]
    gap = (past.age[:-1] - past.age[1:])[same] / 7
    whose = past.customer[1:][same]
    between = np.maximum(many - 1, 1)

    def mean_of(values: Floats) -> Floats:
        out: Floats = np.bincount(whose, weights=values, minlength=past.count) / between
        return out

    mean = mean_of(gap)
    spread = np.sqrt(np.maximum(mean_of(np.square(gap)) - np.square(mean), np.float64(0)))
    longest = np.zeros(past.count)
    np.maximum.at(longest, whose, gap)
    return mean, spread, longest, mean_of(np.log(gap))
