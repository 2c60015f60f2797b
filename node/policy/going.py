"""May this node go on in a run that it admitted? Asked at every stage, and before anything leaves.

The gate decided when the order came; what happened to the agreement and to this member since does
not wait for the end of the run.
"""

from __future__ import annotations

from datetime import datetime

from node.policy.evidence import Me, signed_version
from node.policy.incidents import refuse_if_frozen
from node.policy.life import refuse_if_away, terminated
from node.store.database import Database
from protocols.errors import Refused


def refuse_if_stopped(database: Database, me: Me, agreement: str, now: datetime) -> None:
    """Refused if this member is away, an incident freezes runs, or the agreement has ended.

    Args:
        database: the node's.
        me: this member.
        agreement: id of the version under which the run was admitted.
        now: aware UTC.
    """
    refuse_if_away(database, me, now)
    with database.read() as connection:
        mine = signed_version(connection, agreement, me)
        if mine is None:
            raise Refused(
                f"this member does not obey the agreement {agreement[:16]} any more.",
                clauses=("c05",),
                fix="Sign it again to take part again: coop-node agreement sign.",
            )
        if terminated(connection, mine):
            raise Refused(
                f"the members have ended agreement version {mine.agreement.version} "
                f"({mine.id[:16]}).",
                clauses=("c05",),
                fix="New runs wait for a new agreement.",
            )
        refuse_if_frozen(connection, mine.terms)
