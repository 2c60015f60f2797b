"""Consent: which rows a run may see, fixed at one instant.

The demand workload reads the day, the category and the quantity of each line and nothing about
customers, so no customer's consent is asked for; but a customer who objected, withdrew or is
restricted is left out of the sums even so. A run that reads customers' lines gets those of the
customers who stand in its purpose, and no line of anybody else.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

from node.data import snapshot
from node.data.snapshot import who_is_left_out
from node.data.stages import (
    CUSTOMER_COLUMNS,
    CUSTOMER_LINE_COLUMNS,
    WEEKLY_COLUMNS,
    Basis,
    ConsentedLines,
    ConsentedRows,
    Standing,
)
from node.data.vault import Vault, WeekStart
from protocols.audit.consent import RowBook, weekly_root
from protocols.errors import Refused
from protocols.permit import Gate, Permit


def consented_rows(
    vault: Vault,
    permit: Permit,
    now: datetime,
    standing: Standing,
    *,
    week_start: WeekStart,
    since: date | None = None,
    until: date | None = None,
) -> ConsentedRows:
    """The weekly series that a run may see, with the root of the snapshot they come from.

    Lines that name no customer count; those of customers who do not stand are left out.

    Args:
        vault: the member's rows.
        permit: from the gate; must open ``Gate.ADMIT`` and the columns of a weekly series.
        now: the instant at which the permit is judged.
        standing: of the permit's purpose, read from the ledger at ``now``.
        week_start: "monday" or "sunday", from the order.
        since: first business day to read, None for all.
        until: last business day to read, None for all.

    Raises:
        Refused: the permit does not open these rows, or names a customer column, or the standing
            is for another purpose or instant.
    """
    customers = sorted(CUSTOMER_COLUMNS & set(permit.columns))
    if customers:
        raise Refused(
            f"the run asks for {', '.join(customers)}, and a weekly series names no customer.",
            clauses=("c08",),
            fix="Order the run with the columns of its workload and no other.",
        )
    permit.require(Gate.ADMIT, now, columns=WEEKLY_COLUMNS)
    _require_of_this_run(permit, now, standing)
    while True:
        digest = vault.data_digest()
        weekly = vault.weekly_for_run(
            permit,
            now,
            week_start,
            since=since,
            until=until,
            without=who_is_left_out(vault, standing),
        )
        if vault.data_digest() == digest:  # an import that committed in between: read again
            root = weekly_root(bytes.fromhex(digest), bytes.fromhex(standing.root))
            return ConsentedRows(permit, standing, digest, root.hex(), weekly)


def consented_lines(
    vault: Vault,
    permit: Permit,
    now: datetime,
    standing: Standing,
    *,
    since: date | None = None,
    until: date | None = None,
) -> ConsentedLines:
    """The lines of the customers who stand in the permit's purpose at this instant.

    Args:
        vault: the member's rows.
        permit: from the gate; must open ``Gate.ADMIT``, customer_key and business_date. Of
            ``CUSTOMER_LINE_COLUMNS`` those are read that it names, and no other.
        now: the instant at which the permit is judged.
        standing: of the permit's purpose, read from the ledger at ``now``: an older one may miss
            a withdrawal.
        since: first business day to read, None for all.
        until: last business day to read, None for all up to tomorrow.

    Raises:
        Refused: the permit does not open these lines, or the standing is for another purpose or
            instant; no row has been read then.
    """
    permit.require(Gate.ADMIT, now, columns=CUSTOMER_LINE_COLUMNS[:2])
    return _of_those_who_stand(vault, permit, now, standing, permit.columns, since, until)


def still_consented(read: ConsentedLines, standing: Standing) -> ConsentedLines:
    """Of lines that a run has read those of the customers who stand in a later standing too."""
    held, lines = read.book, read.lines
    places = [k for k, leaf in enumerate(held.leaves) if standing.lets_in_leaf(leaf)]
    book = RowBook(
        tuple(held.leaves[k] for k in places),
        tuple(held.lines[k] for k in places),
        tuple(held.digests[k] for k in places),
    )
    keys = lines["customer_key"].cat.categories
    stay = {key for key in keys if standing.lets_in(key)}
    fewer = lines[lines["customer_key"].isin(stay)].reset_index(drop=True)
    fewer["customer_key"] = fewer["customer_key"].cat.remove_unused_categories()
    left_out = replace(
        read.left_out, not_standing=read.left_out.not_standing + len(lines) - len(fewer)
    )
    return ConsentedLines(read.permit, standing, book.root().hex(), left_out, fewer, book)


def lines_to_score(
    vault: Vault,
    permit: Permit,
    now: datetime,
    standing: Standing,
    columns: tuple[str, ...],
    *,
    since: date | None = None,
) -> ConsentedLines:
    """The lines that a pulled model may look at here, for this member's own eyes.

    Who does not stand in the purpose of the run that made the model is not scored by it either.

    Args:
        vault: the member's rows.
        permit: from the gate; must open ``Gate.USE``. Nothing can be trained under it.
        now: the instant at which the permit is judged.
        standing: of the permit's purpose, read from the ledger at ``now``.
        columns: of the workload; those of ``CUSTOMER_LINE_COLUMNS`` are read, and no other.
        since: first business day to read, None for all.

    Raises: as ``consented_lines``.
    """
    permit.require(Gate.USE, now)
    return _of_those_who_stand(vault, permit, now, standing, columns, since, None)


def _of_those_who_stand(
    vault: Vault,
    permit: Permit,
    now: datetime,
    standing: Standing,
    columns: tuple[str, ...],
    since: date | None,
    until: date | None,
) -> ConsentedLines:
    _require_of_this_run(permit, now, standing)
    while True:
        before = vault.data_digest()
        found = snapshot.read(vault, standing, columns, since, until)
        if vault.data_digest() == before:  # an import that committed in between: read again
            return ConsentedLines(
                permit=permit,
                standing=standing,
                snapshot_root=found.book.root().hex(),
                book=found.book,
                left_out=found.left_out,
                lines=found.lines,
            )


def _require_of_this_run(permit: Permit, now: datetime, standing: Standing) -> None:
    """Refused unless the ledger was read for this purpose, at this instant, with a basis."""
    if standing.scope != permit.purpose:
        raise Refused(
            f"the run is for {permit.purpose!r}, the customers were asked about "
            f"{standing.scope!r}.",
            clauses=("c07",),
        )
    if standing.at != now:
        raise Refused(
            f"what customers agreed to was read at {standing.at.isoformat()}, the run begins at "
            f"{now.isoformat()}.",
            fix="Begin the run again, so that every withdrawal until then counts.",
        )
    if standing.basis is Basis.LEGITIMATE_INTEREST and not standing.assessment:
        raise Refused(
            f"reading lines for {standing.scope!r} without consent needs an assessment, and none "
            "is named.",
            fix=f"coop-node consent basis {standing.scope} legitimate-interest --assessment REF",
        )
