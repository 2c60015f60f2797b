"""Rounds that this member has spent, and the survivor sets that it agreed to.

The mark is what keeps one member from signing two survivor sets of one round, ever, also after
a crash (secagg SPEC section 2.4b): it is on the disk before the signature exists.

A second mark says that a vector of the run has left. The others can open a sum in which it is
without this member's signature, so what a run reserved is given back only without that mark.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime

from sqlalchemy import Connection, insert, select, update
from sqlalchemy.exc import IntegrityError

from node.store.budgets import Use
from node.store.database import Database
from node.store.schema import spent_rounds, survivor_sets
from node.store.spending import NONE, SpendingLedger
from protocols.errors import Refused

_SENT = 0  # rounds are numbered from 1; this place says that a vector of the run left


class SpentRounds:
    """The durable marks. ``mark_spent`` has the signature that secure aggregation asks for.

    ``clock``: aware UTC now; what a run reserved of privacy is spent before its deadline or not
    at all.
    """

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self._database, self._clock = database, clock

    def mark_sent(self, run: bytes) -> None:
        """Record that a masked vector of the run is about to leave; on the disk on return.

        Raises:
            Refused: the run is over and what it reserved was settled.
        """
        name = run.hex()
        with self._database.write() as connection:
            self._still_reserved(connection, name)
            mark = insert(spent_rounds).values(run=name, round=_SENT)
            connection.execute(mark.prefix_with("OR IGNORE"))

    def mark_spent(self, run: bytes, round: int) -> None:
        """Record that this member signs for the round; on the disk when this returns.

        Raises:
            Refused: the round was marked before, in any attempt and by any process; or the run
                is over and what it reserved of privacy was settled.
        """
        try:
            with self._database.write() as connection:
                self._still_reserved(connection, run.hex())
                connection.execute(insert(spent_rounds).values(run=run.hex(), round=round))
        except IntegrityError as error:
            raise Refused(
                f"round {round} of run {run.hex()} was spent before; a round is signed once, "
                "also after a restart.",
                clauses=("c14",),
                fix="This node takes part again from the next round on.",
            ) from error

    def _still_reserved(self, connection: Connection, run: str) -> None:
        line = SpendingLedger(connection).get(run)
        if line is None:
            return
        late = line.unit != NONE and self._clock() > line.until
        if line.state is not Use.RESERVED or late:
            raise Refused(
                f"run {run} is over; what it reserved cannot be spent any more.",
                clauses=("c14",),
                fix="A new run needs a new order.",
            )

    def is_spent(self, run: bytes, round: int) -> bool:
        """Whether the mark is there."""
        query = select(spent_rounds.c.round).where(
            spent_rounds.c.run == run.hex(), spent_rounds.c.round == round
        )
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def last(self, run: bytes) -> int | None:
        """The highest round marked in a run, 0 if only a vector left, or nothing."""
        query = (
            select(spent_rounds.c.round)
            .where(spent_rounds.c.run == run.hex())
            .order_by(spent_rounds.c.round.desc())
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
            return None if row is None else int(row.round)


class SurvivorSets:
    """Every U3 of a run, in order of rounds."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, run: str, round: int, members: frozenset[str]) -> None:
        """Record the set of a round. Refused if another one was recorded for it."""
        known = self.get(run, round)
        if known is None:
            text = json.dumps(sorted(members))
            self._connection.execute(
                insert(survivor_sets).values(run=run, round=round, members=text)
            )
        elif known != members:
            raise Refused(
                f"round {round} of run {run} was agreed over other survivors.", clauses=("c14",)
            )

    def published(self, run: str, round: int, members: frozenset[str]) -> None:
        """Record the set that a quorum certified, in place of one that was only agreed to.

        Two quorums share an honest member, so no sum over the other set was ever opened; later
        sets are compared with what was.
        """
        text = json.dumps(sorted(members))
        place = (survivor_sets.c.run == run) & (survivor_sets.c.round == round)
        if self.get(run, round) is None:
            self.add(run, round, members)
        else:
            self._connection.execute(update(survivor_sets).where(place).values(members=text))

    def get(self, run: str, round: int) -> frozenset[str] | None:
        """The set of one round, or nothing."""
        query = select(survivor_sets.c.members).where(
            survivor_sets.c.run == run, survivor_sets.c.round == round
        )
        row = self._connection.execute(query).first()
        return None if row is None else frozenset(json.loads(row.members))

    def before(self, run: str, round: int) -> tuple[frozenset[str], ...]:
        """The sets of the rounds before ``round``, oldest first."""
        query = (
            select(survivor_sets.c.members)
            .where(survivor_sets.c.run == run, survivor_sets.c.round < round)
            .order_by(survivor_sets.c.round)
        )
        return tuple(frozenset(json.loads(row.members)) for row in self._connection.execute(query))
