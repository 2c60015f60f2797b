"""A shop's own data at full size: import, import again, weekly series, consent, erasure.

    python -m tests.benchmarks.bench_data [--lines 1000000] [--customers 200000]

Writes a Shopify orders export of that many lines (made here, from a fixed seed; 200 MB for a
million, more than the 150 MB of the goals) and a till's export, then runs each step in a process
of its own so that its memory is its own, and compares it with the goals. ``make bench-data``
does that.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

KEY: Final = bytes(range(1, 33))
SECRET: Final = bytes(range(32))
SCOPE: Final = "train:churn"
NOW: Final = datetime(2026, 1, 6, tzinfo=UTC)
HEADER: Final = (
    "Name,Email,Financial Status,Paid at,Fulfillment Status,Fulfilled at,Accepts Marketing,"
    "Currency,Subtotal,Shipping,Taxes,Total,Discount Code,Discount Amount,Shipping Method,"
    "Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem compare at price,"
    "Lineitem sku,Lineitem requires shipping,Lineitem taxable,Lineitem fulfillment status,"
    "Billing Name,Billing Street,Billing Address1,Billing Address2,Billing Company,Billing City,"
    "Billing Zip,Billing Province,Billing Country,Billing Phone,Shipping Name,Shipping Street,"
    "Shipping Address1,Shipping Address2,Shipping Company,Shipping City,Shipping Zip,"
    "Shipping Province,Shipping Country,Shipping Phone,Notes,Note Attributes,Cancelled at,"
    "Payment Method,Payment Reference,Refunded Amount,Vendor,Outstanding Balance,Employee,"
    "Location,Device ID,Id,Tags,Risk Level,Source,Lineitem discount,Tax 1 Name,Tax 1 Value,"
    "Tax 2 Name,Tax 2 Value,Tax 3 Name,Tax 3 Value,Tax 4 Name,Tax 4 Value,Tax 5 Name,Tax 5 Value,"
    "Phone,Receipt Number,Duties,Billing Province Name,Shipping Province Name"
)
PLACE: Final = {name: place for place, name in enumerate(HEADER.split(","))}
WIDTH: Final = len(PLACE)

# step -> (seconds, MB) that it may take with a million lines; None: only measured
GOALS: Final[dict[str, tuple[float, float] | None]] = {
    "import": (20, 800),
    "import again": (5, 800),
    "newer export": (20, 800),
    "data add": (20, 800),
    "data health": None,  # a process of its own: a second of it are imports
    "import of a till": (20, 800),
    "weekly features": (3, 800),
    "health": (3, 800),
    "drift": None,
    "consent import": None,
    "consent snapshot": (2, 800),
    "lines of a run": None,
    "trace one customer": None,
    "erase one customer": (2, 800),
}
COMMANDS: Final = ("data add", "data health")  # whole processes, from the shell to the answer


def write_shopify(path: Path, lines: int, customers: int, *, newer: bool = False) -> None:
    """Orders of three years: order-level cells on the first row of an order only, notes with line
    breaks, personal columns that have to go. In the newer one something was given back for every
    fiftieth order."""
    draw = random.Random(20230101)
    products = [
        (f"Product {k} - {'SML'[k % 3]}", f"SKU-{100000 + k}", draw.randint(150, 9900))
        for k in range(8000)
    ]
    first_day = date(2023, 1, 2)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(HEADER + "\n")
        written = order = 0
        while written < lines:
            order += 1
            name = f"#{100000 + order}"
            person = draw.randint(1, customers)
            count = min(draw.choice((1, 2, 3, 4, 6, 8)), lines - written)
            goods = []
            for _ in range(count):
                title, sku, cents = products[int(draw.random() ** 2 * len(products))]
                goods.append((title, sku, cents, draw.choice((1, 1, 1, 2, 3))))
            subtotal = sum(cents * quantity for _, _, cents, quantity in goods)
            day = first_day + timedelta(days=1095 * written // lines)
            clock = f"{draw.randint(0, 23):02d}:{draw.randint(0, 59):02d}:{draw.randint(0, 59):02d}"
            moment = f"{day} {clock} {'+0200' if 4 <= day.month <= 10 else '+0100'}"
            for at, (title, sku, cents, quantity) in enumerate(goods):
                row = [""] * WIDTH
                if not at:
                    _order_cells(row, draw, person, subtotal, moment, order)
                    if newer and order % 50 == 0:
                        row[PLACE["Refunded Amount"]] = "1.00"
                row[PLACE["Name"]] = name
                row[PLACE["Email"]] = f"person{person}@shop.nl"
                row[PLACE["Created at"]] = moment
                row[PLACE["Lineitem quantity"]] = str(quantity)
                row[PLACE["Lineitem name"]] = title
                row[PLACE["Lineitem price"]] = f"{cents / 100:.2f}"
                row[PLACE["Lineitem sku"]] = sku
                row[PLACE["Lineitem requires shipping"]] = "true"
                row[PLACE["Lineitem taxable"]] = "true"
                row[PLACE["Lineitem fulfillment status"]] = "sent"
                row[PLACE["Lineitem discount"]] = "0.00"
                file.write(",".join(row) + "\n")
            written += count


def _order_cells(
    row: list[str], draw: random.Random, person: int, subtotal: int, moment: str, order: int
) -> None:
    cells = {
        "Financial Status": "paid",
        "Paid at": moment,
        "Currency": "EUR",
        "Subtotal": f"{subtotal / 100:.2f}",
        "Shipping": "0.00",
        "Total": f"{subtotal / 100:.2f}",
        "Discount Amount": "0.00",
        "Billing Name": f"Person {person}",
        "Billing City": "Leiden",
        "Billing Zip": f"'{1000 + person % 9000}",
        "Billing Country": "NL",
        "Payment Method": "Shop Pay",
        "Refunded Amount": "0.00",
        "Id": str(5_000_000_000 + order),
        "Source": "web",
    }
    if draw.random() < 0.01:
        cells["Notes"] = '"Please ring,\nthe bell is ""new"""'
    for name, text in cells.items():
        row[PLACE[name]] = text


def write_till(path: Path, lines: int, cards: int) -> None:
    """A till's export with realistic repetition: 3 years, 8,000 products, 40 categories."""
    draw = random.Random(20170101)
    products = [
        (f"{100000 + i}", f"Product {i}", f"CATEGORY {i % 40:02d}", draw.randint(20, 4000))
        for i in range(8000)
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(
            "Date,Time,Receipt no,SKU,Product,Category,Quantity,Unit price,Discount,Total,"
            "Currency,Loyalty card id,Cashier name\r\n"
        )
        written, receipt = 0, 0
        while written < lines:
            receipt += 1
            day = date(2022, 1, 3) + timedelta(days=1095 * written // lines)
            clock = f"{draw.randint(8, 21):02d}:{draw.randint(0, 59):02d}:{draw.randint(0, 59):02d}"
            card = f"C{draw.randint(1, cards):05d}" if draw.random() < 0.6 else ""
            for _ in range(min(draw.randint(1, 14), lines - written)):
                sku, name, category, cents = products[int(draw.random() ** 2 * 8000)]
                count = -1 if draw.random() < 0.01 else draw.choice((1, 1, 1, 2, 3))
                total = cents * count
                file.write(
                    f"{day},{clock},R{receipt:08d},{sku},{name},{category},{count},"
                    f"{cents / 100:.2f},0.00,{total / 100:.2f},EUR,{card},Till 1\r\n"
                )
                written += 1


# --- steps, each in a process of its own -------------------------------------------------------


def vault(root: Path) -> Any:
    """The vault of this measurement."""
    from node.data.vault import Vault

    return Vault(root, KEY)


def till(root: Path) -> Path:
    """The vault of the till, whose lines have categories (a Shopify export has none)."""
    return root.with_name("till")


def take_in(csv_path: Path, root: Path) -> int:
    """What ``data add --yes`` does."""
    from node.data import intake

    held, options = vault(root), intake.Options(timezone="Europe/Amsterdam")
    record = intake.known(held, csv_path, options, NOW.date())
    if record is not None:
        return intake.unchanged(record).duplicates
    with intake.prepare(held, csv_path, options, SECRET, NOW) as prepared:
        prepared.compare()
        result = prepared.commit()
    return result.rows_added + result.duplicates


def command(root: Path, *words: str) -> Any:
    """What a command of the node answers, in a home that stands beside the vault."""
    home = root.with_name("home")
    run = [sys.executable, "-m", "node.cli", "--home", str(home)]
    if not home.exists():
        subprocess.run([*run, "init"], check=True, stdout=subprocess.DEVNULL)
    done = subprocess.run([*run, *words, "--json"], check=True, stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def write_answers(path: Path, customers: int) -> None:
    """Every customer said yes, once."""
    rows = (f"person{k}@shop.nl,{SCOPE},granted,2024-01-01,shop" for k in range(customers))
    path.write_text("\n".join(["customer,scope,state,at,source", *rows, ""]), encoding="utf-8")


def desk(root: Path) -> Any:
    """The door of a consent ledger beside the vault."""
    from node.policy.consents import ConsentDesk
    from node.store.database import Database

    database = Database.open(root.parent / "node.db", create=True)
    return ConsentDesk(database, SECRET, frozenset({SCOPE}), lambda *_: None, lambda: NOW)


def enter(root: Path) -> int:
    """Import the answers of all customers; how many were new."""
    door = desk(root)
    return int(door.record(door.preview(root.parent / "answers.csv")))


def standing(root: Path) -> int:
    """Who stands at this instant, with the root of the tree over them."""
    return len(desk(root).standing(SCOPE, NOW).named)


def lines_of_a_run(root: Path) -> int:
    """Read the lines of everybody who stands; how many those are."""
    from node.data.snapshot import read
    from protocols.workloads import churn

    return len(read(vault(root), desk(root).standing(SCOPE, NOW), churn.COLUMNS, None, None).lines)


def somebody(root: Path) -> str:
    """The key of one customer in the vault."""
    rows = vault(root).query("SELECT max(customer_key) FROM sales_line")
    return str(rows[0][0])


def trace(root: Path, key: str) -> int:
    """Rows of one customer."""
    vault(root).trace(key)
    return 1


def erase(root: Path, key: str) -> int:
    """Erase one customer; how many lines went."""
    return int(vault(root).erase([key], NOW, "measured").lines)


def weekly(root: Path) -> int:
    """The weekly feature table of all lines."""
    return len(vault(root).weekly_for_owner("monday"))


def health(root: Path) -> int:
    """Every value and every rule over all tables; how many sales lines that are."""
    from node.data import quality

    return quality.check_all(vault(root), NOW.date())["sales"].lines


def drift(root: Path) -> int:
    """The newest month against the twelve weeks before it; how many departures."""
    from node.data.drift import after

    held = vault(root)
    last = held.last_day() or NOW.date()
    return len(after(held, last - timedelta(days=27), last))


def steps(csv_path: Path, root: Path) -> dict[str, Callable[[], int]]:
    """Every step; what each needs beforehand is made outside of its time."""
    return {
        "import": lambda: take_in(csv_path, root),
        "import again": lambda: take_in(csv_path, root),
        "newer export": lambda: take_in(csv_path.with_name("newer.csv"), root),
        "data add": lambda: command(
            root, "data", "add", str(csv_path), "--yes", "--timezone", "Europe/Amsterdam"
        )["rows_added"],
        "data health": lambda: command(root, "data", "health")["datasets"][0]["lines"],
        "import of a till": lambda: take_in(csv_path.with_name("till.csv"), till(root)),
        "weekly features": lambda: weekly(till(root)),
        "health": lambda: health(till(root)),
        "drift": lambda: drift(till(root)),
        "trace one customer": lambda: trace(root, somebody(root)),
        "erase one customer": lambda: erase(root, somebody(root)),
        "consent import": lambda: enter(root),
        "consent snapshot": lambda: standing(root),
        "lines of a run": lambda: lines_of_a_run(root),
    }


def step(name: str, csv_path: Path, root: Path) -> dict[str, float]:
    """Run one step here and say what it took."""
    work = steps(csv_path, root)[name]
    if name in ("trace one customer", "erase one customer"):
        key = somebody(root)
        work = (lambda: trace(root, key)) if name.startswith("trace") else lambda: erase(root, key)
    if name == "health":
        import pandera.pandas  # noqa: F401 - loading a library is not looking at rows
    started, cpu = time.perf_counter(), time.process_time()
    rows = work()
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu
    if name in COMMANDS:
        cpu_s = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    who = resource.RUSAGE_CHILDREN if name in COMMANDS else resource.RUSAGE_SELF
    kilobytes = resource.getrusage(who).ru_maxrss
    return {"rows": rows, "s": seconds, "cpu_s": cpu_s, "mb": kilobytes / 1024}


def main() -> int:
    """Print one table; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description="Measure a shop's own data at full size.")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--customers", type=int, default=200_000)
    parser.add_argument("--answers", type=int, default=1_000_000, help="customers who said yes")
    parser.add_argument("--only", nargs="*", default=list(GOALS), help="names of steps")
    parser.add_argument("--folder", type=Path, help="keep the files here")
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.step:
        name, csv_path, root = chosen.step
        print(json.dumps(step(name, Path(csv_path), Path(root))))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.folder or Path(temporary)
        csv_path, root = folder / "orders.csv", folder / "vault"
        if not csv_path.exists():
            write_shopify(csv_path, chosen.lines, chosen.customers)
            write_shopify(
                csv_path.with_name("newer.csv"), chosen.lines, chosen.customers, newer=True
            )
            write_till(folder / "till.csv", chosen.lines, 5000)
            write_answers(folder / "answers.csv", chosen.answers)
        size = csv_path.stat().st_size / 1e6
        print(f"{chosen.lines:,} lines of Shopify orders, {size:.0f} MB; {sys.platform}")
        print(f"{'step':<20} {'rows':>10} {'seconds':>8} {'CPU s':>8} {'MB peak':>8}  goal")
        missed = [name for name in chosen.only if not _measured(name, csv_path, root, chosen)]
    if missed:
        print(f"missed: {', '.join(missed)}")
    return int(bool(missed))


def _measured(name: str, csv_path: Path, root: Path, chosen: argparse.Namespace) -> bool:
    command = [sys.executable, "-m", "tests.benchmarks.bench_data", "--step", name]
    command += [str(csv_path), str(root)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    took = json.loads(done.stdout)
    goal = GOALS[name]
    good = (
        goal is None or chosen.lines > 1_000_000 or (took["s"] < goal[0] and took["mb"] < goal[1])
    )
    words = f"{goal[0]:g} s, {goal[1]:g} MB" if goal else "-"
    print(
        f"{name:<20} {took['rows']:>10,.0f} {took['s']:>8.2f} {took['cpu_s']:>8.2f} "
        f"{took['mb']:>8.0f}  {words}{'' if good else '  MISSED'}",
        flush=True,
    )
    return good


if __name__ == "__main__":
    raise SystemExit(main())
