"""Consent: which rows a run may see, fixed at one instant.

The demand workload reads the day, the category and the quantity of each line and nothing about
customers, so no customer's consent is asked for. A run that names a customer column is refused
here, because this node keeps no consent ledger yet.
"""

from __future__ import annotations

from datetime import date, datetime

from node.data.stages import CUSTOMER_COLUMNS, ConsentedRows
from node.data.vault import Vault, WeekStart
from protocols.errors import Refused
from protocols.permit import Permit


def consented_rows(
    vault: Vault,
    permit: Permit,
    now: datetime,
    *,
    week_start: WeekStart,
    since: date | None = None,
    until: date | None = None,
) -> ConsentedRows:
    """The weekly series that a run may see, with the root of the snapshot they come from.

    Args:
        vault: the member's rows.
        permit: from the gate; must open ``Gate.ADMIT`` and the columns of a weekly series.
        now: the instant at which the permit is judged.
        week_start: "monday" or "sunday", from the order.
        since: first business day to read, None for all.
        until: last business day to read, None for all.

    Raises:
        Refused: the permit does not open these rows, or names a customer column.
    """
    customers = sorted(CUSTOMER_COLUMNS & set(permit.columns))
    if customers:
        raise Refused(
            f"the run asks for {', '.join(customers)}, and this node has no record of what its "
            "customers agreed to.",
            clauses=("c08",),
            fix="Take part in runs that read no customer column.",
        )
    while True:
        root = vault.data_digest()
        weekly = vault.weekly_for_run(permit, now, week_start, since=since, until=until)
        if vault.data_digest() == root:  # an import that committed in between: read again
            return ConsentedRows(permit=permit, snapshot_root=root, weekly=weekly)
