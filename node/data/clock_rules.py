"""Rules about days and hours: gaps, stale data, a wrong clock, a wrong time zone, swapped dates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from node.data.findings import Rows, Rule, Seen, Severity
from node.data.sales_view import CONDITIONS, SalesView, latest

STALE_AFTER_DAYS: Final = 14
FEW_WEEKS: Final = 26
TOO_FEW_WEEKS: Final = 8
NIGHT_HOURS: Final = 6  # that many hours in a row with hardly a sale are the shop's night
NIGHT_SHARE: Final = 0.001  # of all lines in one such hour
NIGHT_LINES: Final = 500  # fewer lines tell nothing about opening hours
ZONE_HOURS: Final = 2.5  # summer time moves a day by one
ZONE_NOISE: Final = 4
ZONE_WEEKS: Final = 8
ZONE_WEEK_LINES: Final = 30
SURE_DAYS: Final = 31  # between two receipts whose date is sure, and
SLACK_DAYS: Final = 3  # around them, a receipt's date is expected
SWAPPED_SHARE: Final = 0.8  # of the receipts that are not there

# A date whose day and month were exchanged has a day of at most 12, so one of a later day is sure:
# between two sure ones in the order of the receipts' numbers, a date has to lie between theirs.
_SURE: Final = "CASE WHEN day(day) > 12 THEN day END IGNORE NULLS"
_STRAYS: Final = (
    f"WITH walk AS (SELECT id, day, last_value({_SURE}) OVER (ORDER BY number "  # noqa: S608
    f"ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before, first_value({_SURE}) "
    "OVER (ORDER BY number ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS after "
    "FROM orders WHERE number IS NOT NULL), "
    "strays AS (SELECT id, before, after, CASE WHEN day(day) <> month(day) "
    "THEN make_date(year(day), day(day), month(day)) END AS other FROM walk "
    f"WHERE day(day) <= 12 AND after - before BETWEEN 0 AND {SURE_DAYS} "
    f"AND day NOT BETWEEN before - {SLACK_DAYS} AND after + {SLACK_DAYS}), "
    f"swapped AS (SELECT id FROM strays WHERE other BETWEEN before - {SLACK_DAYS} "
    f"AND after + {SLACK_DAYS}) "
)
_CALENDAR: Final = (
    "WITH span AS (SELECT min(day) a, max(day) b FROM daily), "
    "days AS (SELECT unnest(generate_series(a::TIMESTAMP, b::TIMESTAMP, INTERVAL 1 DAY))::DATE "
    "AS d FROM span), sold AS (SELECT DISTINCT day AS d FROM daily), "
    "calendar AS (SELECT days.d, sold.d IS NOT NULL AS open, isodow(days.d) AS weekday "
    "FROM days LEFT JOIN sold USING (d)), usual AS (SELECT weekday FROM calendar "
    "GROUP BY weekday HAVING avg(open::INT) >= 0.5), "
    "expected AS (SELECT * FROM calendar WHERE weekday IN (SELECT weekday FROM usual)) "
)


def _weeks(view: SalesView) -> int:
    return ((view.last - view.first).days + 1) // 7


def _too_few_weeks(view: SalesView) -> Seen:
    weeks = _weeks(view)
    return Seen(1, 1, str(weeks)) if weeks < TOO_FEW_WEEKS else Seen(0, 1)


def _few_weeks(view: SalesView) -> Seen:
    weeks = _weeks(view)
    return Seen(1, 1, str(weeks)) if TOO_FEW_WEEKS <= weeks < FEW_WEEKS else Seen(0, 1)


def _gaps(view: SalesView) -> Seen:
    """Days without a sale on weekdays on which the shop is usually open."""
    row = view.one(
        f"{_CALENDAR} SELECT count(*) FILTER (NOT open), count(*) FROM expected"  # noqa: S608
    )
    return Seen(row[0], row[1])


def _gap_days(view: SalesView) -> Rows:
    return view.rows(
        f"{_CALENDAR} SELECT d, dayname(d) FROM expected WHERE NOT open ORDER BY d",  # noqa: S608
        ("day_without_a_sale", "weekday"),
    )


def _stale(view: SalesView) -> Seen:
    age = (view.today - view.last).days
    return Seen(age, age, view.last.isoformat()) if age > STALE_AFTER_DAYS else Seen(0, 1)


def _in_future(view: SalesView) -> Seen:
    return Seen(*view.counted["sales_in_future"])


def _future_rows(view: SalesView) -> Rows:
    return view.failing(CONDITIONS["sales_in_future"][0], {"latest": latest(view.today)})


def _off_their_day(view: SalesView) -> Seen:
    return Seen(*view.counted["clock_off_its_day"])


def _off_rows(view: SalesView) -> Rows:
    return view.failing(CONDITIONS["clock_off_its_day"][0])


def night(by_hour: Sequence[int]) -> range:
    """The hours in which the shop is closed, from lines by hour of the day (24).

    The longest stretch of hours with at most ``NIGHT_SHARE`` of the lines each, without its first
    and last hour, because opening hours move with summer time. Hours count on past midnight
    (22 to 29 is 22:00 to 5:00); empty if there is no such stretch.
    """
    most = NIGHT_SHARE * sum(by_hour)
    quiet = [n <= most for n in by_hour] * 2
    best = range(0)
    start = 0
    for hour, still in enumerate([*quiet, False]):
        if not still:
            if hour - start > len(best):
                best = range(start, hour)
            start = hour + 1
    if len(best) >= 24 or len(best) < NIGHT_HOURS:
        return range(0)
    return range(best.start + 1, best.stop - 1)


def _night(view: SalesView) -> tuple[range, list[int]]:
    by_hour = [0] * 24
    for hour, n in view.ask("SELECT hour, sum(n)::BIGINT FROM hours GROUP BY hour"):
        by_hour[hour] = n
    enough = sum(by_hour) >= NIGHT_LINES
    return (night(by_hour) if enough else range(0)), by_hour


def _impossible_hours(view: SalesView) -> Seen:
    closed, by_hour = _night(view)
    between = f"{closed.start % 24}:00 and {closed.stop % 24}:00 UTC"
    return Seen(sum(by_hour[hour % 24] for hour in closed), sum(by_hour), between)


def _night_rows(view: SalesView) -> Rows:
    hours = ", ".join(str(hour % 24) for hour in _night(view)[0])
    return view.failing(
        f"epoch_us(ts_utc) % 3600000000 <> 0 AND (epoch_us(ts_utc) // 3600000000) % 24 IN ({hours})"
    )


def _middle(hours: Sequence[tuple[int, int]]) -> complex:
    """Circular mean of (hour, lines): a direction on a clock of 24 hours.

    Source: K. V. Mardia and P. E. Jupp, "Directional Statistics" (2000), section 2.2.
    """
    total = sum(n for _, n in hours)
    turns = [(2 * math.pi * (hour + 0.5) / 24, n) for hour, n in hours]
    east = sum(n * math.cos(angle) for angle, n in turns) / total
    return complex(east, sum(n * math.sin(angle) for angle, n in turns) / total)


def _moved_weeks(view: SalesView) -> tuple[list[int], int]:
    """Weeks whose middle of the day lies far from the usual one, and how many were looked at.

    Far is ``ZONE_HOURS`` and ``ZONE_NOISE`` robust standard deviations of all weeks; a single
    week is chance or a feast, an export with a wrong zone has weeks in a row.
    """
    weeks: dict[int, list[tuple[int, int]]] = {}
    for week, hour, n in view.ask("SELECT week, hour, n FROM hours"):
        weeks.setdefault(week, []).append((hour, n))
    weeks = {w: h for w, h in weeks.items() if sum(n for _, n in h) >= ZONE_WEEK_LINES}
    if len(weeks) < ZONE_WEEKS:
        return [], len(weeks)
    usual = _middle([pair for hours in weeks.values() for pair in hours]) or 1 + 0j
    away = {week: abs(_angle(_middle(hours) / usual)) for week, hours in weeks.items()}
    noise = ZONE_NOISE * 1.4826 * median(away.values())
    most = max(2 * math.pi * ZONE_HOURS / 24, noise)
    moved = {week for week, angle in away.items() if angle > most}
    return sorted(week for week in moved if {week - 1, week + 1} & moved), len(weeks)


def _angle(direction: complex) -> float:
    return math.atan2(direction.imag, direction.real)


def _zone_doubt(view: SalesView) -> Seen:
    moved, weeks = _moved_weeks(view)
    return Seen(len(moved), weeks)


def _zone_rows(view: SalesView) -> Rows:
    moved = ", ".join(map(str, _moved_weeks(view)[0]))
    return view.rows(
        "SELECT (DATE '1990-01-01' + (7 * week)::INTEGER) AS week_of, "  # noqa: S608
        "sum(n)::BIGINT AS lines, round(sum(n * (hour + 0.5)) / sum(n), 1) AS mean_hour_utc "
        f"FROM hours WHERE week IN ({moved}) GROUP BY week ORDER BY week",
        ("week_of", "lines", "mean_hour_utc"),
    )


def _swapped(view: SalesView) -> Seen:
    """Nothing where other receipts stray as well: then numbers do not rise with time here."""
    swapped, strays, numbered = view.one(
        f"{_STRAYS} SELECT (SELECT count(*) FROM swapped), "  # noqa: S608
        "(SELECT count(*) FROM strays), (SELECT count(number) FROM orders)"
    )
    return Seen(swapped if swapped >= SWAPPED_SHARE * strays else 0, numbered)


def _swapped_rows(view: SalesView) -> Rows:
    return view.failing(f"hash(order_ref) IN ({_STRAYS} SELECT id FROM swapped)")  # noqa: S608


CLOCK_RULES: Final[tuple[Rule[Any], ...]] = (
    Rule(
        "too_few_weeks",
        Severity.ERROR,
        40,
        1.0,
        f"There are {{detail}} whole weeks of sales; forecasts need at least {TOO_FEW_WEEKS}.",
        "Export a longer period and add it.",
        _too_few_weeks,
    ),
    Rule(
        "few_weeks",
        Severity.NOTE,
        5,
        1.0,
        "There are {detail} whole weeks of sales; own forecasts get better up to a year.",
        "Add older exports if you have them; the shared model helps most meanwhile.",
        _few_weeks,
    ),
    Rule(
        "gaps_in_days",
        Severity.WARNING,
        25,
        0.25,
        "{count} of {total} usual opening days have no sale.",
        "Check that every month was exported, then add the missing ones.",
        _gaps,
        _gap_days,
    ),
    Rule(
        "stale_data",
        Severity.WARNING,
        10,
        1.0,
        "The last sale is {count} days old ({detail}).",
        "Add the latest export.",
        _stale,
    ),
    Rule(
        "sales_in_future",
        Severity.WARNING,
        25,
        0.02,
        "{count} of {total} lines are dated later than tomorrow.",
        "Check the till's clock, and how days are written: --date-order dmy or mdy.",
        _in_future,
        _future_rows,
    ),
    Rule(
        "clock_off_its_day",
        Severity.WARNING,
        15,
        0.05,
        "{count} of {total} lines have an instant that lies on another day than their date.",
        "Check the columns of day and time, and the time zone: --timezone Europe/Berlin.",
        _off_their_day,
        _off_rows,
    ),
    Rule(
        "impossible_hours",
        Severity.NOTE,
        5,
        0.01,
        "{count} of {total} lines with a time are between {detail}, when the shop is otherwise "
        "closed.",
        "Check the till's clock on those days, or a till that was tried out at night.",
        _impossible_hours,
        _night_rows,
    ),
    Rule(
        "time_zone_doubt",
        Severity.WARNING,
        10,
        0.25,
        f"In {{count}} of {{total}} weeks the middle of the day is over {ZONE_HOURS:g} hours away "
        "from where it usually is.",
        "Check that every export was added with the same --timezone, the shop's own.",
        _zone_doubt,
        _zone_rows,
    ),
    Rule(
        "mixed_date_order",
        Severity.ERROR,
        30,
        0.02,
        "{count} of {total} numbered receipts are dated out of their order, and fit with day and "
        "month exchanged.",
        "Days are written in two orders. Export again with one, and say which: --date-order dmy.",
        _swapped,
        _swapped_rows,
    ),
)
