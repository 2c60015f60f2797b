"""Whether this member goes on with a round over the survivors that are proposed.

Called with the set before the member signs it (secagg SPEC sections 2.4b and 2.8).
"""

from __future__ import annotations

from node.store.database import Database
from node.store.rounds import SurvivorSets
from protocols.agreement.survivors import survivor_change
from protocols.errors import Refused


def admit_survivors(
    database: Database,
    run: str,
    round: int,
    members: frozenset[str],
    *,
    n_min: int,
    allowed: int | None,
) -> None:
    """Record the set of a round, or refuse to go on.

    Args:
        run: 32 hex digits; ``members``: ids in hex.
        n_min: ``min_cohort`` of the admitted order.
        allowed: ``survivor_changes`` of clause 14; None if noise frees the run of it.

    Raises:
        Refused: too few survivors, more near changes than the clause allows, or another set
            was agreed for this round before.
    """
    with database.write() as connection:
        sets = SurvivorSets(connection)
        reason = survivor_change(sets.before(run, round), members, n_min, allowed)
        if reason is not None:
            raise Refused(
                f"{reason}.",
                clauses=(reason.clause,),
                where=f"run {run}, round {round}",
                fix="This run cannot go on with this node; a new run starts afresh.",
            )
        sets.add(run, round, members)
