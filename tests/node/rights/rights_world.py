"""A whole node with three customers, one run that read two of them, and a row set aside.

Made once per process with the product's own intake, ledgers and journal, then copied: real vault,
real database. The clock is set by hand.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from node import keys
from node.data.consent import consented_lines
from node.data.intake import Options, add, preview
from node.data.stages import CUSTOMER_LINE_COLUMNS
from node.house import Home
from node.policy.journal import Journal
from node.rights.case import Case, open_case
from node.settings import NodeSettings
from node.store.database import Database
from protocols.audit.entries import Entry, decode
from protocols.ids import AgreementId, RunId
from protocols.permit import Gate, Permit

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
ANN, BOB, EVE = "K-4711-ann", "K-0815-bob", "K-9999-eve"  # eve never said anything
CHURN, DEMAND = "train:churn", "train:demand"
RUN = "1f" * 16
HEADER = "Date,Time,Receipt no,SKU,Product,Category,Quantity,Unit price,Discount,Total,Card id"
SCRATCH = tempfile.TemporaryDirectory(prefix="datacoop-")


@dataclass
class Node:
    """One home; ``now`` is what its clock says."""

    folder: Path
    now: datetime = NOW
    home: Home = field(init=False)
    database: Database = field(init=False)

    def __post_init__(self) -> None:
        own = keys.load(self.folder) if keys.exist(self.folder) else keys.create(self.folder)
        log = Journal(self.folder / "audit", own.journal, self.clock)
        self.home = Home(self.folder, NodeSettings(), own, log, self.clock)
        self.database = self.home.database()

    def clock(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    @property
    def case(self) -> Case:
        return open_case(self.home, self.database)

    def key(self, customer: str) -> str:
        return self.case.subjects.key(customer)

    def add(self, *lines: str, name: str = "till.csv", header: str = HEADER) -> int:
        """Import lines of the till; how many were new."""
        path = self.folder.parent / name
        path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
        secret = self.home.keys.customer_secret
        done = add(
            self.home.vault(), preview(path, Options(max_bad_share=0.2)), secret, self.clock()
        )
        path.unlink()
        return done.rows_added

    def said(self, *lines: str) -> int:
        """Import answers to purposes; how many were new."""
        path = self.folder.parent / "answers.csv"
        path.write_text("\n".join(["customer,scope,state,at,source", *lines, ""]))
        desk = self.home.consents(self.database)
        added = desk.record(desk.preview(path))
        path.unlink()
        return added

    def run(self, run: str, scope: str = CHURN) -> frozenset[str]:
        """Read as a run does, and write down what was read; the customers who were in it."""
        now = self.clock()
        permit = Permit(
            gate=Gate.ADMIT,
            agreement=AgreementId("a" * 64),
            run=RunId(run),
            purpose=scope,
            workload_digest="c" * 64,
            columns=CUSTOMER_LINE_COLUMNS,
            not_after=now + timedelta(hours=1),
        )
        standing = self.home.consents(self.database).standing(scope, now)
        read = consented_lines(self.home.vault(), permit, now, standing)
        books = self.home.run_books(self.database)
        books.keep(run, 0, read, customers=read.customers, lines=len(read.lines))
        return frozenset(read.lines["customer_key"].cat.categories)

    def entries(self, kind: str) -> list[Entry]:
        """The journal's entries of one kind."""
        lines = (self.folder / "audit" / "log.jsonl").read_bytes().splitlines()
        found = [decode(line, "log") for line in lines]
        return [one for one in found if one.kind == kind]

    def bytes_of(self, *below: str) -> bytes:
        """Every byte below some folders of the home, or the whole of it."""
        roots = [self.folder / one for one in below] or [self.folder]
        files = [path for root in roots for path in root.rglob("*") if path.is_file()]
        return b"".join(path.read_bytes() for path in sorted(files))


def lines(customer: str, receipts: range, qty: str = "1") -> list[str]:
    """Receipts of one customer on consecutive days."""
    return [
        f"2026-02-{day:02d},10:{day:02d}:00,{customer[-3:]}{day},s1,Bread,Bakery,{qty},2.00,0,"
        f"{2 * float(qty) if qty.isdigit() else 2:.2f},{customer}"
        for day in receipts
    ]


@cache
def _made() -> Path:
    folder = Path(SCRATCH.name) / "home"
    node = Node(folder)
    broken = lines(ANN, range(20, 21), "two")
    node.add(*lines(ANN, range(1, 8)), *lines(BOB, range(1, 11)), *lines(EVE, range(1, 9)), *broken)
    node.said(f"{ANN},{CHURN},granted,2026-01-02,till", f"{BOB},{CHURN},granted,2026-01-03,till")
    node.run(RUN)
    node.database.close()
    node.home.log.close()
    return folder


def copied(folder: Path) -> Node:
    """The node as it was made, in a folder of its own."""
    shutil.copytree(_made(), folder / "home")
    return Node(folder / "home")
