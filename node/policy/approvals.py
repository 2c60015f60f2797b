"""What a person says about orders: yes once, yes always for one workload, or no."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime

from node.policy.people import OS_USER, Actor
from node.store.database import Database
from node.store.orders import FINISHED, Approvals, Orders, OrderState, StoredApproval, StoredOrder
from protocols.agreement.facts import Consent
from protocols.errors import Code, InputError

Journal = Callable[[str, Mapping[str, object]], None]
MAX_REASON = 200


class ApprovalDesk:
    """Answers of the member, journalled before they count."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        clock: Callable[[], datetime],
        acting: Actor | None = None,
    ) -> None:
        self._database, self._journal, self._clock = database, journal, clock
        self._acting = acting or OS_USER

    def waiting(self) -> tuple[StoredOrder, ...]:
        """Orders that wait for an answer, oldest first."""
        with self._database.read() as connection:
            return Orders(connection).list(OrderState.PENDING)

    def approve(self, run: str, *, always: bool = False) -> StoredOrder:
        """Say yes to one order, and with ``always`` to every order of its workload digest.

        The agreement and the house rules are asked again when the run starts.

        Raises:
            InputError: no such order, several that begin so, or the run is over.
        """
        order = self.find(run)
        self._answer(order.run, Consent.ONCE, "", order)
        if always:
            self._answer(order.digest, Consent.ALWAYS, "", order)
        return order

    def approve_workload(self, digest: str) -> None:
        """Say always yes to one workload digest, before any order of it has come."""
        if len(digest) != 64:
            raise InputError("a workload digest has 64 hexadecimal digits.", where=digest[:16])
        self._answer(digest, Consent.ALWAYS, "", None)

    def refuse(self, run: str, reason: str) -> StoredOrder:
        """Say no to one order; the reason stays on this node.

        Raises:
            InputError: no such order, several that begin so, the run is over, or no reason.
        """
        if not 1 <= len(reason.strip()) <= MAX_REASON:
            raise InputError(
                f"a reason of 1 to {MAX_REASON} characters is expected.",
                fix="For example: --reason 'stocktaking this week'.",
            )
        order = self.find(run)
        self._answer(order.run, Consent.REFUSED, reason.strip(), order)
        with self._database.write() as connection:
            Orders(connection).move(
                order.run,
                OrderState.REFUSED,
                self._clock(),
                (f"c16 approval: this member has refused the order: {reason.strip()}",),
            )
        return order

    def revoke(self, digest: str) -> bool:
        """Take back an always; orders wait for an answer again."""
        self._journal("approval", {"subject": digest, "answer": "revoked"})
        with self._database.write() as connection:
            return Approvals(connection).revoke(digest)

    def always(self) -> tuple[StoredApproval, ...]:
        """The workload digests that need no asking."""
        with self._database.read() as connection:
            return tuple(
                one for one in Approvals(connection).list() if one.answer == Consent.ALWAYS
            )

    def find_always(self, prefix: str) -> str:
        """The digest of an always by its first digits. InputError if there is not exactly one."""
        found = [one.subject for one in self.always() if prefix and one.subject.startswith(prefix)]
        if len(found) != 1:
            raise InputError(
                f"{len(found)} digests begin so." if found else "there is no such always.",
                code=Code.NOT_FOUND,
                where=prefix[:16],
                fix="`coop-node approvals list` names them.",
            )
        return found[0]

    def find(self, run: str) -> StoredOrder:
        """The order of a run, also by its first digits. InputError if there is not exactly one."""
        with self._database.read() as connection:
            found = Orders(connection).starting(run) if run else ()
        if len(found) != 1:
            many = f"{len(found)} orders begin so" if found else "there is no such order"
            raise InputError(
                f"{many}.",
                code=Code.NOT_FOUND,
                where=f"run {run[:32]}",
                fix="`coop-node orders` lists them; give more digits.",
            )
        if found[0].state in FINISHED:
            raise InputError("this run is over.", where=f"run {found[0].run}")
        return found[0]

    def _answer(
        self, subject: str, answer: Consent, reason: str, order: StoredOrder | None
    ) -> None:
        now = self._clock()
        facts: dict[str, object] = {"subject": subject, "answer": answer.value}
        if order is not None:
            facts["run"] = order.run
        self._journal("approval", facts)
        with self._database.write() as connection:
            Approvals(connection).put(
                StoredApproval(
                    subject, answer.value, reason, now, self._acting.role, self._acting.id
                )
            )


def answered(
    approvals: Approvals, run: str, digest: str, *, each_time: bool = False
) -> tuple[Consent, str]:
    """What was said about an order and by which role: about its run first, then its workload.

    Args:
        approvals: the store's.
        run, digest: of the order.
        each_time: an "always" does not count; every order is asked about.
    """
    for subject in (run, digest):
        found = approvals.get(subject)
        if found is not None and not (each_time and found.answer == Consent.ALWAYS):
            return Consent(found.answer), found.role
    return Consent.NONE, ""
