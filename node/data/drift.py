"""Whether a new import departs from the weeks before it: level, mix, prices, customers, baskets.

The newest weeks of the import (at most ``NEW_WEEKS``, stretches of seven days that end with its
last day) are held against the ``USUAL_WEEKS`` before them. Every measure has two limits, and both
must be passed: one of noise, ``NOISE`` robust standard deviations of the usual weeks, and one of
effect, below which nobody would act.

Sources: median and MAD for outliers: B. Iglewicz and D. C. Hoaglin, "How to Detect and Handle
Outliers" (1993), whose limit of 3.5 is widened because twelve weeks give a rough MAD. Mix: the
Jensen-Shannon distance, J. Lin, "Divergence measures based on the Shannon entropy", IEEE Trans.
Inf. Theory 37 (1991); a metric by D. M. Endres and J. E. Schindelin, IEEE Trans. Inf. Theory 49
(2003). Prices: a matched-model index as in the "Consumer Price Index Manual" (IMF and others,
2020), chapter 8, with the median in place of the mean.

The rate of false alarms on stationary weeks is measured in ``tests/node/data/test_drift.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from node.data.findings import some
from node.data.vault import Vault

if TYPE_CHECKING:
    import duckdb

NEW_WEEKS: Final = 4
USUAL_WEEKS: Final = 12
FEWEST_WEEKS: Final = 8  # of the usual ones with sales; with fewer nothing is said
NOISE: Final = 4.0  # robust standard deviations;
NOISE_OF_ONE: Final = 5.0  # where the import brings a single week
MAD_TO_SD: Final = 1.4826
LEVEL_EFFECT: Final = 0.25  # of the logarithm: 28 % more or 22 % less
BASKET_EFFECT: Final = 0.15
SHARE_EFFECT: Final = 0.10
MIX_EFFECT: Final = 0.10  # Jensen-Shannon distance, base 2
PRICE_EFFECT: Final = 0.05
MATCHED_ARTICLES: Final = 5
MATCHED_LINES: Final = 3
CATEGORIES: Final = 30  # the largest; all others count as one

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Departure:
    """One measure that departs: the figure now, the usual one, and what to look at."""

    measure: str
    now: float
    usual: float
    sentence: str
    check: str


@dataclass(frozen=True, slots=True)
class Weeks:
    """Sales by week, newest first; N weeks, C categories.

    ``lines``, ``receipts``, ``numbered`` (lines with a receipt number), ``nameless`` (lines
    without a customer): float64 (N,); ``mix``: float64 (N, C), lines by category.
    """

    lines: Floats
    receipts: Floats
    numbered: Floats
    nameless: Floats
    mix: Floats = field(repr=False)
    names: tuple[str, ...]


def after(vault: Vault, first: date, last: date) -> tuple[Departure, ...]:
    """How the days of an import depart from the weeks before; empty if there is nothing to say.

    Args:
        vault: the rows, the import among them.
        first, last: first and last business day of the import.
    """
    new = min(NEW_WEEKS, ((last - first).days + 1) // 7)
    if new < 1:
        return ()
    with vault.reader() as db:
        weeks = _weeks(db, last, new + USUAL_WEEKS)
        prices = _prices(db, last, new)
    return compare(weeks, new, prices)


def compare(weeks: Weeks, new: int, prices: Sequence[tuple[float, float]]) -> tuple[Departure, ...]:
    """The departures of the first ``new`` weeks from the others.

    Args:
        weeks: newest first.
        new: how many of them are of the import.
        prices: (usual price, price now) of articles that were sold in both.
    """
    usual = slice(new, None)
    if np.count_nonzero(weeks.lines[usual]) < FEWEST_WEEKS:
        return ()
    found = (
        _level(weeks, new),
        _mix(weeks, new),
        _price_level(prices),
        _share(weeks, new),
        _basket(weeks, new),
    )
    return tuple(one for one in found if one is not None)


# --- one measure each --------------------------------------------------------------------------


def _departs(now: Floats, usual: Floats, noise: float, effect: float) -> bool:
    """Whether the median moved by more than effect and noise; ``noise`` is a floor for the sd."""
    middle = np.median(usual)
    sd = max(MAD_TO_SD * float(np.median(np.abs(usual - middle))), noise)
    return bool(abs(np.median(now) - middle) > max(effect, _noise(len(now)) * sd))


def _noise(new: int) -> float:
    return NOISE_OF_ONE if new == 1 else NOISE


def _level(weeks: Weeks, new: int) -> Departure | None:
    logs = np.log(np.maximum(weeks.lines, 0.5))
    usual = float(np.median(weeks.lines[new:]))
    if not _departs(logs[:new], logs[new:], 1 / np.sqrt(max(usual, 1.0)), LEVEL_EFFECT):
        return None
    now = float(np.median(weeks.lines[:new]))
    return Departure(
        "level",
        now,
        usual,
        f"{now:.0f} lines a week in this import, {usual:.0f} in the weeks before: "
        f"{_percent(now, usual)}.",
        "Check that the export holds all shops, tills and days, and nothing twice.",
    )


def _mix(weeks: Weeks, new: int) -> Departure | None:
    usual = weeks.mix[new:].sum(axis=0)
    now = weeks.mix[:new].sum(axis=0)
    if not usual.sum() or not now.sum():
        return None
    distance = js_distance(now, usual)
    own = [
        js_distance(week, usual - week)
        for week in weeks.mix[new:]
        if week.sum() and (usual - week).sum()
    ]
    middle = float(np.median(own))
    sd = MAD_TO_SD * float(np.median(np.abs(np.asarray(own) - middle)))
    limit = max(MIX_EFFECT, middle + _noise(new) * sd)
    if distance <= limit:
        return None
    shift = now / now.sum() - usual / usual.sum()
    moved = sorted(range(len(shift)), key=lambda k: (-abs(shift[k]), weeks.names[k]))[:3]
    words = "; ".join(
        f"{some([weeks.names[k]])} {usual[k] / usual.sum():.0%} to {now[k] / now.sum():.0%}"
        for k in moved
    )
    return Departure(
        "mix",
        distance,
        middle,
        f"The mix of categories is another one: {words}.",
        "Check that categories were not renamed in the till, and that all shops are in the export.",
    )


def js_distance(one: Floats, other: Floats) -> float:
    """Jensen-Shannon distance (base 2, 0 to 1) of two tables of counts with positive sums."""
    p, q = one / one.sum(), other / other.sum()
    m = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        left = np.where(p > 0, p * np.log2(p / m), 0.0).sum()
        right = np.where(q > 0, q * np.log2(q / m), 0.0).sum()
    return float(np.sqrt(max((left + right) / 2, 0.0)))


def _price_level(prices: Sequence[tuple[float, float]]) -> Departure | None:
    if len(prices) < MATCHED_ARTICLES:
        return None
    pairs = np.asarray(prices, np.float64)
    ratios = np.log(pairs[:, 1] / pairs[:, 0])
    middle = float(np.median(ratios))
    # the median of n values has 1.2533 times the standard error of their mean
    sd = MAD_TO_SD * float(np.median(np.abs(ratios - middle))) * 1.2533 / np.sqrt(len(ratios))
    if abs(middle) <= max(PRICE_EFFECT, NOISE * sd):
        return None
    now = float(np.exp(middle))
    return Departure(
        "prices",
        now,
        1.0,
        f"The middle one of {len(pairs)} articles costs {_percent(now, 1.0)} than before.",
        "Check whether prices are with or without tax, the decimal sign, and the currency.",
    )


def _share(weeks: Weeks, new: int) -> Departure | None:
    shares = weeks.nameless / np.maximum(weeks.lines, 1)
    usual, now = float(np.median(shares[new:])), float(np.median(shares[:new]))
    lines = max(float(np.median(weeks.lines[new:])), 1.0)
    noise = float(np.sqrt(max(usual * (1 - usual), 1 / lines) / lines))
    if not _departs(shares[:new], shares[new:], noise, SHARE_EFFECT):
        return None
    return Departure(
        "without_customer",
        now,
        usual,
        f"{now:.0%} of the lines name no customer, {usual:.0%} in the weeks before.",
        "Check that the column with the customer's number is in the export, and was read.",
    )


def _basket(weeks: Weeks, new: int) -> Departure | None:
    there = weeks.receipts > 0
    if not there[:new].any() or np.count_nonzero(there[new:]) < FEWEST_WEEKS:
        return None
    sizes = weeks.numbered[there] / weeks.receipts[there]
    of_new = int(np.count_nonzero(there[:new]))
    logs = np.log(sizes)
    receipts = float(np.median(weeks.receipts[new:][there[new:]]))
    if not _departs(logs[:of_new], logs[of_new:], 0.5 / np.sqrt(receipts), BASKET_EFFECT):
        return None
    now, usual = float(np.median(sizes[:of_new])), float(np.median(sizes[of_new:]))
    return Departure(
        "basket",
        now,
        usual,
        f"{now:.1f} lines on a receipt, {usual:.1f} in the weeks before.",
        "Check that the export has a line for every article, and the receipt's number on each.",
    )


def _percent(now: float, usual: float) -> str:
    change = abs(now / usual - 1) if usual else 1.0
    return f"{change:.0%} {'more' if now > usual else 'less'}"


# --- reading -----------------------------------------------------------------------------------


def _weeks(db: duckdb.DuckDBPyConnection, last: date, count: int) -> Weeks:
    params = {"last": last, "days": 7 * count}
    span = "business_date <= $last AND business_date > $last::DATE - $days::INTEGER"
    block = "($last::DATE - business_date) // 7"
    totals = {
        row[0]: row[1:]
        for row in db.execute(
            f"SELECT {block}, count(*), count(DISTINCT order_ref), "  # noqa: S608
            "count(order_ref), count(*) FILTER (customer_key IS NULL) "
            f"FROM sales_line WHERE {span} GROUP BY ALL",
            params,
        ).fetchall()
    }
    cells = db.execute(
        f"SELECT {block}, coalesce(category_code, category), count(*) "  # noqa: S608
        f"FROM sales_line WHERE {span} AND coalesce(category_code, category) IS NOT NULL "
        "GROUP BY ALL",
        params,
    ).fetchall()
    table = np.array([totals.get(week, (0, 0, 0, 0)) for week in range(count)], np.float64)
    mix, names = _mix_table(cells, count)
    return Weeks(table[:, 0], table[:, 1], table[:, 2], table[:, 3], mix, names)


def _mix_table(cells: Sequence[tuple[Any, ...]], count: int) -> tuple[Floats, tuple[str, ...]]:
    """Lines by week and category, the largest ``CATEGORIES`` and the others as one."""
    sums: dict[str, int] = {}
    for _, name, n in cells:
        sums[name] = sums.get(name, 0) + n
    names = sorted(sums, key=lambda name: (-sums[name], name))[:CATEGORIES]
    place: Mapping[str, int] = {name: k for k, name in enumerate(names)}
    mix = np.zeros((count, len(names) + 1))
    for week, name, n in cells:
        mix[week, place.get(name, len(names))] += n
    return mix, (*names, "all others")


def _prices(db: duckdb.DuckDBPyConnection, last: date, new: int) -> list[tuple[float, float]]:
    return db.execute(
        "SELECT usual, now FROM (SELECT sku, "
        "median(unit_price::DOUBLE) FILTER (NOT recent) AS usual, "
        "median(unit_price::DOUBLE) FILTER (recent) AS now, "
        "count(*) FILTER (NOT recent) AS n_usual, count(*) FILTER (recent) AS n_now "
        "FROM (SELECT sku, unit_price, business_date > $last::DATE - $new::INTEGER AS recent "
        "FROM sales_line WHERE sku IS NOT NULL AND unit_price > 0 AND business_date <= $last "
        "AND business_date > $last::DATE - $days::INTEGER) GROUP BY sku) "
        "WHERE n_usual >= $least AND n_now >= $least ORDER BY sku",
        {
            "last": last,
            "new": 7 * new,
            "days": 7 * (new + USUAL_WEEKS),
            "least": MATCHED_LINES,
        },
    ).fetchall()
