"""Rules about what was sold: amounts, copies, categories, names, customers, sudden silence."""

from __future__ import annotations

from typing import Any, Final

from node.data.clock_rules import CLOCK_RULES
from node.data.findings import Rows, Rule, Seen, Severity, some
from node.data.sales_view import CONDITIONS, SHOWN, SHOWN_SQL, SalesView

OUTLIER_FACTOR: Final = 10
OUTLIER_MIN_LINES: Final = 10
RETURN_AFTER_DAYS: Final = 30  # what came back earlier may have been sold before the history
DROP_BLOCKS: Final = 2  # recent weeks, held against
DROP_BEFORE: Final = 12  # as many before,
DROP_PRESENT: Final = 10  # of those at least so many with sales,
DROP_LINES: Final = 5  # and usually at least so many lines a week
DROP_TO: Final = 0.1  # of what is usual
CUSTOMERS_KNOWN: Final = 0.01  # a till with fewer customers than this does not ask for them
OVERLAP_DAYS: Final = 0.5  # of an import's days were in an earlier one
OVERLAP_KNOWN: Final = 0.1  # of its lines were known already

_COPIES: Final = (
    "SELECT id, row_number() OVER (PARTITION BY ts, content ORDER BY number, id) AS place "
    "FROM orders WHERE n >= 2"
)
_USUAL: Final = (
    "WITH walk AS (SELECT sku, price, "  # noqa: S608
    "sum(n) OVER (PARTITION BY sku ORDER BY price) AS upto, "
    "sum(n) OVER (PARTITION BY sku) AS every FROM prices WHERE price > 0), "
    "usual AS (SELECT sku, min(price) FILTER (2 * upto >= every) AS m FROM walk "
    f"GROUP BY sku HAVING max(every) >= {OUTLIER_MIN_LINES}) "
)
_FAR: Final = f"price > {OUTLIER_FACTOR} * m OR price * {OUTLIER_FACTOR} < m"
_NAMED: Final = (
    "SELECT sku, count(DISTINCT named) AS names FROM prices WHERE NOT nameless GROUP BY sku"
)
_NEVER_SOLD: Final = (
    "FROM sales_line l LEFT JOIN "  # noqa: S608
    "(SELECT sku, min(first_sold) AS first_sold FROM prices "
    f"GROUP BY sku) s USING (sku) WHERE l.is_return AND l.sku IS NOT NULL "
    f"AND l.business_date > $first::DATE + {RETURN_AFTER_DAYS}"
)
_LATE: Final = "(s.first_sold IS NULL OR s.first_sold > l.business_date)"


def _misfits(view: SalesView) -> Seen:
    return view.misfits().seen()


def _misfit_rows(view: SalesView) -> Rows:
    return view.misfits().listed()


def _duplicate_orders(view: SalesView) -> Seen:
    """Receipts with two or more lines that are alike in instant and lines, under two numbers."""
    row = view.one(
        f"SELECT (SELECT count(*) FROM ({_COPIES}) WHERE place > 1), "  # noqa: S608
        "(SELECT count(*) FROM orders)"
    )
    return Seen(row[0], row[1])


def _copy_rows(view: SalesView) -> Rows:
    copies = f"SELECT id FROM ({_COPIES}) WHERE place > 1"  # noqa: S608
    return view.failing(f"hash(order_ref) IN ({copies})")


def _counted(name: str) -> tuple[Any, Any]:
    """A rule over one condition of the view: its count and its rows."""

    def look(view: SalesView) -> Seen:
        return Seen(*view.counted[name])

    def rows(view: SalesView) -> Rows:
        bad, among = CONDITIONS[name]
        return view.failing(f"({bad}) AND ({among})")

    return look, rows


def _price_outliers(view: SalesView) -> Seen:
    row = view.one(
        f"{_USUAL} SELECT sum(n) FILTER ({_FAR})::BIGINT, sum(n)::BIGINT "  # noqa: S608
        "FROM prices JOIN usual USING (sku) WHERE price > 0"
    )
    return Seen(row[0], row[1])


def _outlier_rows(view: SalesView) -> Rows:
    return view.rows(
        f"{_USUAL} SELECT {SHOWN_SQL}, m AS usual_price FROM (SELECT *, "  # noqa: S608
        "unit_price::DOUBLE AS price FROM sales_line) l JOIN usual USING (sku) "
        f"WHERE price > 0 AND ({_FAR}) ORDER BY ALL",
        (*SHOWN, "usual_price"),
    )


def _currencies(view: SalesView) -> Seen:
    rows = view.ask(
        "SELECT currency, sum(n)::BIGINT FROM daily WHERE currency IS NOT NULL "
        "GROUP BY currency ORDER BY sum(n) DESC, currency"
    )
    minor = sum(row[1] for row in rows[1:])
    return Seen(minor, sum(row[1] for row in rows), some(row[0] for row in rows))


def _currency_rows(view: SalesView) -> Rows:
    return view.failing(
        "currency <> (SELECT currency FROM daily WHERE currency IS NOT NULL GROUP BY currency "
        "ORDER BY sum(n) DESC, currency LIMIT 1)"
    )


def _unmapped(view: SalesView) -> list[tuple[str, int]]:
    if view.mapped is None:
        return []
    rows = view.ask(
        "SELECT category, sum(n)::BIGINT FROM daily WHERE category IS NOT NULL "
        "GROUP BY category ORDER BY sum(n) DESC, category"
    )
    return [(name, n) for name, n in rows if name not in view.mapped]


def _unmapped_categories(view: SalesView) -> Seen:
    open_ = _unmapped(view)
    return Seen(sum(n for _, n in open_), view.lines, some(name for name, _ in open_))


def _unmapped_rows(view: SalesView) -> Rows:
    return Rows(("category", "lines"), tuple(_unmapped(view)))


def _many_names(view: SalesView) -> Seen:
    row = view.one(
        f"SELECT count(*) FILTER (names > 1), count(*) FROM ({_NAMED})"  # noqa: S608
    )
    return Seen(row[0], row[1])


def _many_names_rows(view: SalesView) -> Rows:
    several = f"SELECT sku FROM ({_NAMED}) WHERE names > 1"  # noqa: S608
    return view.rows(
        "SELECT sku, product, count(*) AS lines, min(business_date), "  # noqa: S608
        f"max(business_date) FROM sales_line WHERE product IS NOT NULL AND sku IN ({several}) "
        "GROUP BY sku, product ORDER BY sku, lines DESC, product",
        ("sku", "product", "lines", "first_day", "last_day"),
    )


def _returns_without_sale(view: SalesView) -> Seen:
    row = view.one(
        f"SELECT count(*) FILTER ({_LATE}), count(*) {_NEVER_SOLD}",
        {"first": view.first},
    )
    return Seen(row[0], row[1])


def _return_rows(view: SalesView) -> Rows:
    return view.rows(
        f"SELECT {SHOWN_SQL} {_NEVER_SOLD} AND {_LATE} ORDER BY ALL",
        SHOWN,
        {"first": view.first},
    )


def _without_customer(view: SalesView) -> Seen:
    """Only where the till knows some customers: one that asks nobody misses none."""
    missing, every = view.counted["without_customer"]
    known = every - missing
    asks = known >= CUSTOMERS_KNOWN * every and known > 0
    return Seen(missing, every) if asks and 2 * missing > every else Seen(0, 1)


def _without_customer_rows(view: SalesView) -> Rows:
    return view.failing("customer_key IS NULL")


def _silent(view: SalesView) -> tuple[list[tuple[str, str, int, float]], int]:
    """(what, name, lines in the recent weeks, usual lines a week), and how many were steady."""
    out: list[tuple[str, str, int, float]] = []
    steady = 0
    recent, every = view.one(
        "SELECT sum(n) FILTER (block < $recent), sum(n) FILTER (block >= $recent) FROM "
        "(SELECT n, ($last::DATE - day) // 7 AS block FROM daily) "
        "WHERE block < $recent + $before",
        _blocks(view),
    )
    if recent * DROP_BEFORE < 0.3 * every * DROP_BLOCKS:
        return [], 0  # the whole shop went silent: no category did
    for what, column in (("category", "coalesce(category_code, category)"), ("place", "location")):
        rows = view.ask(
            "WITH weekly AS (SELECT name, block, sum(n) AS n FROM "  # noqa: S608
            f"(SELECT {column} AS name, ($last::DATE - day) // 7 AS block, n FROM daily) "
            "WHERE name IS NOT NULL AND block < $recent + $before GROUP BY ALL) "
            "SELECT name, coalesce(sum(n) FILTER (block < $recent), 0)::BIGINT, "
            "median(n) FILTER (block >= $recent), count(*) FILTER (block >= $recent) "
            "FROM weekly GROUP BY name ORDER BY name",
            _blocks(view),
        )
        usual = [row for row in rows if row[3] >= DROP_PRESENT and row[2] >= DROP_LINES]
        steady += len(usual)
        out += [
            (what, name, int(now), float(median))
            for name, now, median, _ in usual
            if now < DROP_TO * median * DROP_BLOCKS
        ]
    return out, steady


def _blocks(view: SalesView) -> dict[str, Any]:
    return {"last": view.last, "recent": DROP_BLOCKS, "before": DROP_BEFORE}


def _sudden_silence(view: SalesView) -> Seen:
    silent, steady = _silent(view)
    return Seen(len(silent), steady, some(f"{what} {name}" for what, name, *_ in silent))


def _silent_rows(view: SalesView) -> Rows:
    headers = ("what", "name", f"lines_in_last_{DROP_BLOCKS}_weeks", "usual_lines_a_week")
    return Rows(headers, tuple(_silent(view)[0]))


def _overlaps(view: SalesView) -> list[tuple[str, str, str, int, int]]:
    """Imports over days that an earlier one covers, of which hardly a line was known."""
    out = []
    for place, one in enumerate(view.imports):
        span = (one.date_to - one.date_from).days + 1
        covered = max(
            (
                (min(one.date_to, old.date_to) - max(one.date_from, old.date_from)).days + 1
                for old in view.imports[:place]
            ),
            default=0,
        )
        known = OVERLAP_KNOWN * (one.rows_added + one.duplicates)
        if covered >= OVERLAP_DAYS * span and one.duplicates < known and one.rows_added:
            days = (one.date_from.isoformat(), one.date_to.isoformat())
            out.append((one.file_name, *days, one.rows_added, one.duplicates))
    return out


def _repeated_imports(view: SalesView) -> Seen:
    found = _overlaps(view)
    added = sum(row[3] for row in found)
    return Seen(min(added, view.lines), view.lines, some(row[0] for row in found))


def _overlap_rows(view: SalesView) -> Rows:
    headers = ("file", "first_day", "last_day", "lines_added", "lines_known_before")
    return Rows(headers, tuple(_overlaps(view)))


SALES_RULES: Final[tuple[Rule[[SalesView]], ...]] = (
    *CLOCK_RULES,
    Rule(
        "impossible_values",
        Severity.ERROR,
        60,
        0.001,
        "{count} of {total} lines hold values that cannot be ({detail}).",
        "Remove the import that brought them and add its export again.",
        _misfits,
        _misfit_rows,
    ),
    Rule(
        "duplicate_orders",
        Severity.WARNING,
        20,
        0.05,
        "{count} of {total} receipts look like copies: same instant, same lines, other number.",
        "Check whether the till exports a receipt twice, for example once per payment.",
        _duplicate_orders,
        _copy_rows,
    ),
    Rule(
        "repeated_imports",
        Severity.WARNING,
        10,
        0.5,
        "{count} of {total} lines came in files over days that were here already, of which hardly "
        "a line was known ({detail}). They may count twice.",
        "If they are not from another shop or till: export both periods again with one report.",
        _repeated_imports,
        _overlap_rows,
    ),
    Rule(
        "negative_prices",
        Severity.WARNING,
        15,
        0.05,
        "{count} of {total} lines have a negative price or total without being a return.",
        "Enter returns with a negative quantity, and discounts in the discount column.",
        *_counted("negative_prices"),
    ),
    Rule(
        "price_outliers",
        Severity.WARNING,
        15,
        0.05,
        f"{{count}} of {{total}} lines cost over {OUTLIER_FACTOR} times more or less than is usual "
        "for the product.",
        "Look for prices typed without the decimal sign, or changed pack sizes.",
        _price_outliers,
        _outlier_rows,
    ),
    Rule(
        "sums_do_not_add_up",
        Severity.NOTE,
        10,
        0.25,
        "{count} of {total} lines: quantity x unit price - discount is not the total.",
        "Check which column is the total after discount: --column total=...",
        *_counted("sums_do_not_add_up"),
    ),
    Rule(
        "currency_mix",
        Severity.ERROR,
        25,
        0.01,
        "{count} of {total} lines are in another currency ({detail}).",
        "Import the sales of each currency into a node of its own, or convert them first.",
        _currencies,
        _currency_rows,
    ),
    Rule(
        "no_category",
        Severity.WARNING,
        20,
        0.5,
        "{count} of {total} lines have no category and stay out of forecasts.",
        "Give these products a category in the till and export again.",
        *_counted("no_category"),
    ),
    Rule(
        "unmapped_categories",
        Severity.WARNING,
        20,
        0.5,
        "{count} of {total} lines are in categories without a place in the shared taxonomy "
        "({detail}).",
        "Give them one: coop-node categories suggest.",
        _unmapped_categories,
        _unmapped_rows,
    ),
    Rule(
        "several_names",
        Severity.NOTE,
        5,
        0.2,
        "{count} of {total} article numbers are sold under several names.",
        "Check whether a number was given to a second article.",
        _many_names,
        _many_names_rows,
    ),
    Rule(
        "returns_without_sale",
        Severity.NOTE,
        5,
        0.5,
        "{count} of {total} returns are of articles that were never sold before.",
        "Check that sales and returns are exported from the same tills, and from the beginning.",
        _returns_without_sale,
        _return_rows,
    ),
    Rule(
        "without_customer",
        Severity.NOTE,
        5,
        1.0,
        "{count} of {total} lines name no customer, though the till knows some.",
        "Ask for the customer card at the till; purposes about customers see only named lines.",
        _without_customer,
        _without_customer_rows,
    ),
    Rule(
        "sudden_silence",
        Severity.WARNING,
        15,
        0.5,
        f"{{count}} of {{total}} steady categories and places had hardly a sale in the last "
        f"{DROP_BLOCKS} weeks ({{detail}}).",
        "Check that the newest export holds all categories, shops and tills.",
        _sudden_silence,
        _silent_rows,
    ),
)
