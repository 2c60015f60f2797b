"""What runs cost in money, and who bears it (clause 19).

The price of a run is written down when it is launched: a later version of the agreement may name
another one. A run that never began a round costs nothing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from coordinator.store.documents import Document, Documents
from coordinator.store.runs import Run, Runs, State
from protocols.agreement.order import ParsedOrder
from protocols.agreement.terms import Costs
from protocols.canonical import Json, json_bytes, json_id, parse_json
from protocols.errors import Code, InputError, LocalError
from protocols.ids import MemberId

KIND = "cost"
_NEVER_BEGAN = (State.FAILED, State.ABORTED)


@dataclass(frozen=True, slots=True)
class Charge:
    """One run that is to be paid for, by these members in equal parts; none: nobody pays."""

    run: str
    at: datetime  # of its launch
    cents: int
    currency: str
    members: tuple[MemberId, ...]

    def shares(self) -> dict[MemberId, int]:
        """Whole cents of each; they add up to ``cents``.

        Cents that cannot be divided go to those whose ids come first after the run's: chance, but
        the same for everybody who adds it up.
        """
        if not self.members:
            return {}
        each, rest = divmod(self.cents, len(self.members))
        turn = sorted(self.members, key=lambda one: (one < self.run, one))
        return {one: each + (at < rest) for at, one in enumerate(turn)}


@dataclass(frozen=True, slots=True)
class Share:
    """What one member has to pay for runs in a span of time."""

    member: MemberId
    runs: int
    cents: int
    currency: str


def record(db: Connection, order: ParsedOrder, costs: Costs | None, now: datetime) -> None:
    """Write down what a run costs; in the transaction that launches it."""
    if costs is None:
        return
    document: dict[str, object] = {
        "kind": f"datacoop/{KIND}",
        "v": 1,
        "run": order.order.run,
        "agreement": order.order.agreement,
        "currency": costs.currency,
        "cents": costs.run_cost_cents,
        "members": list(order.order.cohort) if costs.method == "equal" else [],
    }
    Documents(db).add(Document(json_id(document), KIND, json_bytes(document), now))


def charges(db: Connection, *, without: str = "") -> tuple[Charge, ...]:
    """All runs that began a round, or still may, oldest first; ``without`` leaves one run out.

    Raises:
        LocalError: a document cannot be read, or is of a run that is not here.
    """
    runs = {str(one.run): one for one in Runs(db).list()}
    found = []
    for one in Documents(db).list(KIND):
        try:
            charge = _charge(parse_json(one.body, KIND), runs)
        except (InputError, KeyError, TypeError, ValueError) as error:
            raise LocalError(
                "what an earlier run cost cannot be read.",
                where=f"{KIND} {one.id[:16]}",
                code=Code.TAMPERED,
                fix="Restore the database from a backup (RUNBOOK.md).",
            ) from error
        if charge is not None and charge.run != without:
            found.append(charge)
    return tuple(sorted(found, key=lambda one: (one.at, one.run)))


def between(listed: Sequence[Charge], since: datetime, until: datetime) -> tuple[Charge, ...]:
    """Charges of runs launched after ``since``, up to ``until``."""
    return tuple(one for one in listed if since < one.at <= until)


def statement(listed: Sequence[Charge]) -> tuple[Share, ...]:
    """What each member has to pay, by currency and member id."""
    sums: dict[tuple[str, MemberId], tuple[int, int]] = {}
    for charge in listed:
        for member, cents in charge.shares().items():
            runs, before = sums.get((charge.currency, member), (0, 0))
            sums[charge.currency, member] = (runs + 1, before + cents)
    return tuple(
        Share(member, runs, cents, currency)
        for (currency, member), (runs, cents) in sorted(sums.items())
    )


def money(cents: int, currency: str) -> str:
    """An amount as people write it: ``12.05 EUR``."""
    return f"{cents // 100}.{cents % 100:02d} {currency}"


def as_csv(rows: Sequence[tuple[str, Share]], since: datetime, until: datetime) -> str:
    """A table for a spreadsheet, from (name, share); no cell is read as a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("member", "id", "from", "to", "runs", "amount", "currency"))
    for name, one in rows:
        amount = f"{one.cents // 100}.{one.cents % 100:02d}"
        cells = (name, one.member, f"{since:%Y-%m-%d}", f"{until:%Y-%m-%d}", one.runs, amount)
        writer.writerow([_cell(str(cell)) for cell in (*cells, one.currency)])
    return out.getvalue()


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _charge(document: Json, runs: dict[str, Run]) -> Charge | None:
    run = runs[str(document["run"])]
    if run.state in _NEVER_BEGAN and run.progress.round == 0:
        return None
    return Charge(
        run=run.run,
        at=run.created_at,
        cents=int(document["cents"]),
        currency=str(document["currency"]),
        members=tuple(MemberId(str(one)) for one in document["members"]),
    )
