"""The node's gate: signed bytes in, a permit or a denial out. The only door to a run.

Every signature is verified here, from the bytes; then ``decide`` is asked; a yes is reserved in
the ledger and written to the journal *before* the permit is handed out, a no is written too.
Nothing that the other side sends makes the gate raise: what cannot be read is denied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from node.policy.budget import Budget
from node.policy.clock import tick
from node.policy.evidence import (
    Me,
    answer_to,
    current_roster,
    earlier_order,
    ledger_facts,
    newest_signed_version,
    period_of,
    roster_facts,
    roster_named,
    signed_version,
    signers,
    verified_signers,
)
from node.policy.facts import (
    NOTHING_KNOWN,
    Surroundings,
    basis_of,
    newest_seen,
    notices_in_use,
    overdue,
)
from node.policy.incidents import frozen
from node.policy.life import present, terminated
from node.policy.privacy import PrivacyAccount
from node.policy.refusals import journal_facts, nothing_signed, unreadable, with_differences
from node.policy.versions import came_into_force, signed_versions
from node.store.database import Database
from node.store.orders import FINISHED, Orders, OrderState, StoredOrder
from protocols.agreement.decide import decide
from protocols.agreement.facts import (
    Denial,
    Evidence,
    Facts,
    Figures,
    MemberFacts,
    PrivacyFacts,
    ReleaseFacts,
    Request,
)
from protocols.agreement.house import NO_HOUSE_RULES, HouseRules
from protocols.agreement.order import COORDINATOR, OPERATOR, ParsedOrder, read_order
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.roster import ParsedRoster
from protocols.agreement.saying import no
from protocols.agreement.terms import Terms
from protocols.canonical import Json, json_bytes, parse_json
from protocols.errors import CoopError, InputError, Refused
from protocols.permit import Gate as GateName
from protocols.permit import Permit
from protocols.privacy.plan import Plan
from protocols.signing import identity_of, jws_payload
from protocols.spending import cost, plan_of

Journal = Callable[[str, Mapping[str, object]], None]
Price = Callable[[ParsedOrder, Terms, ParsedRoster], Plan | None]


@dataclass(frozen=True, slots=True)
class History:
    """How much this node holds for a workload and how good it is, from the vault's own counts.

    Args:
        weeks, rows: of history.
        health: 0 to 100, of the data that the workload reads; None if it could not be looked at.
        data_age_days: since the newest row; None without one.
        taxonomy: SHA-256 of the list that categories are mapped to here.
        mapped_percent: of the sales lines; None if it could not be looked at.
    """

    weeks: int
    rows: int
    health: float | None = None
    data_age_days: int | None = None
    taxonomy: str = ""
    mapped_percent: float | None = None


@dataclass(frozen=True, slots=True)
class _Priced:
    """What an order costs, or what was in the way of finding out."""

    plan: Plan | None = None
    facts: PrivacyFacts | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Case:
    """One order that is asked about."""

    signed: Json
    order: ParsedOrder
    now: datetime
    history: History | None


class Gate:
    """Admits orders and uses of releases for one member.

    Args:
        database: the node's store.
        public: this member's Ed25519 identity key, 32 bytes.
        installed: digests of the workloads installed here, computed from their sources.
        journal: appends one entry (kind, facts) and returns once it is on the disk.
        clock: aware UTC now.
        house: this member's own limits.
        restored_at: when this node was restored from a backup, if it was.
        price: what an order costs in privacy, from its recipe; None for a recipe without a promise.
        around: what clauses ask about this node besides its database; unknown unless given.
    """

    def __init__(
        self,
        database: Database,
        *,
        public: bytes,
        installed: frozenset[str],
        journal: Journal,
        clock: Callable[[], datetime],
        house: HouseRules = NO_HOUSE_RULES,
        restored_at: datetime | None = None,
        price: Price = plan_of,
        around: Surroundings = NOTHING_KNOWN,
    ) -> None:
        self._database, self._installed = database, installed
        self._me = Me(identity_of(public), public)
        self._journal, self._clock, self._house = journal, clock, house
        self._restored_at, self._price, self._around = restored_at, price, around

    @property
    def asks_each_time(self) -> bool:
        """Whether a house rule asks for every order, whatever was said for always."""
        return self._house.manual_approval

    def admit(self, signed: Json, history: History) -> Permit | Denial:
        """Decide a signed order (JWS JSON General) before any row is read.

        A denial with ``pending`` set waits for this member's approval; ask again after it. The
        order of a run that is running may be asked about again after a restart.

        Raises:
            LocalError: the store or the journal cannot be written; nothing is permitted then.
        """
        try:
            order = read_order(jws_payload(signed, "order"), "order")
        except InputError as error:
            return self._refused(unreadable(GateName.ADMIT, error))
        case = _Case(signed, order, self._clock(), history)
        with self._database.read() as connection:
            # The same once more, so that the figures of the long computation are ready when the
            # transaction that decides keeps other writers waiting.
            terms = signed_version(connection, order.order.agreement, self._me)
            if terms is not None:
                self._spending(connection, case, terms, GateName.ADMIT)
        with self._database.write() as connection:
            return self._admit(connection, case)

    def _admit(self, connection: Connection, case: _Case) -> Permit | Denial:
        order = case.order
        terms = signed_version(connection, order.order.agreement, self._me)
        terms = terms or newest_signed_version(connection, self._me)
        if terms is None:
            return self._refused(nothing_signed(GateName.ADMIT), order)
        facts, plan = self._facts(connection, case, terms, GateName.ADMIT)
        answer = decide(terms.terms, Request(GateName.ADMIT, order.order), facts)
        answer = with_differences(connection, answer, order, terms)
        if isinstance(answer, Permit):
            answer = self._reserved(connection, answer, case, terms, plan)
        genuine = facts.evidence.operator and not facts.evidence.run_reused
        if isinstance(answer, Denial) and not genuine:
            # Not kept: an order that the operator did not sign, or a second one of a run.
            return self._refused(answer, order)
        if isinstance(answer, Permit):
            tick(connection, case.now)
        if _remember(connection, case, answer) or isinstance(answer, Permit):
            self._write(answer, order)
        return answer

    def admit_stored(self, run: str, history: History) -> Permit | Denial:
        """Ask again about an order that was received before, for example after an approval."""
        with self._database.read() as connection:
            stored = Orders(connection).get(run)
        if stored is None:
            raise InputError("no order of this run has been received.", where=f"run {run[:32]}")
        return self.admit(parse_json(stored.jws, "order"), history)

    def price(self, signed: Json) -> PrivacyFacts | None:
        """What an order would cost, for the person who is to approve it; None if not known."""
        try:
            order = read_order(jws_payload(signed, "order"), "order")
        except InputError:
            return None
        case = _Case(signed, order, self._clock(), None)
        with self._database.read() as connection:
            terms = signed_version(connection, order.order.agreement, self._me)
            if terms is None:
                return None
            return self._spending(connection, case, terms, GateName.ADMIT).facts

    def use(
        self,
        signed_card: Json,
        signed_order: Json,
        figures: Figures | None,
        *,
        purpose: str,
        outputs: tuple[str, ...],
        release: ReleaseFacts | None = None,
    ) -> Permit | Denial:
        """Decide whether a release may be used here, today, for a purpose.

        Args:
            signed_card: the release card as signed by the coordinator, and by a second person
                where clause 5 asks for one; it names ``run``, ``agreement`` and ``order``.
            signed_order: the order of that run as signed by the operator.
            figures: read from that card by the caller.
            purpose: what for.
            outputs: kinds of results in the release, for example ``("metrics", "model")``.
            release: its use terms, read from that card, and what happened to it since.
        """
        try:
            order = read_order(jws_payload(signed_order, "order"), "order")
            card = jws_payload(signed_card, "release")
        except InputError as error:
            return self._refused(unreadable(GateName.USE, error))
        case = _Case(signed_order, order, self._clock(), None)
        with self._database.read() as connection:
            terms = signed_version(connection, order.order.agreement, self._me)
            if terms is None:
                return self._refused(nothing_signed(GateName.USE), order)
            facts, _ = self._facts(connection, case, terms, GateName.USE)
        names = ("run", "agreement", "order")
        of_this_run = tuple(card.get(name) for name in names) == (
            order.order.run,
            order.order.agreement,
            order.id,
        )
        found = signers(signed_card, card, terms) if of_this_run else frozenset()
        evidence = replace(
            facts.evidence,
            coordinator=COORDINATOR in found,
            release_signers=found - {COORDINATOR},
        )
        facts = replace(facts, figures=figures, evidence=evidence, release=release)
        request = Request(GateName.USE, order.order, purpose=purpose, outputs=outputs)
        answer = decide(terms.terms, request, facts)
        self._write(answer, order)
        return answer

    def _facts(
        self, connection: Connection, case: _Case, terms: ParsedAgreement, gate: GateName
    ) -> tuple[Facts, Plan | None]:
        order, now = case.order, case.now
        roster = current_roster(connection, terms)
        price = self._spending(connection, case, terms, gate)
        answer, role = answer_to(connection, order.order, self._house)
        facts = Facts(
            now=now,
            evidence=self._evidence(connection, case, terms, roster),
            roster=roster_facts(roster, now),
            mine=self._mine(connection, case, terms),
            ledger=ledger_facts(connection, terms, order.order, now),
            privacy=price.facts,
            privacy_problem=price.problem,
            consent=answer,
            approved_role=role,
            house=self._house,
            audit=self._around.audit(),
            frozen=frozen(connection),
            newest_seen=newest_seen(connection, self._around),
        )
        return facts, price.plan

    def _evidence(
        self,
        connection: Connection,
        case: _Case,
        terms: ParsedAgreement,
        roster: ParsedRoster | None,
    ) -> Evidence:
        signed_by = signers(case.signed, case.order.document, terms)
        reused, over = earlier_order(connection, case.order)
        return Evidence(
            signed_by_me=signed_version(connection, terms.id, self._me) is not None,
            signers=verified_signers(connection, terms, roster, self._me),
            operator=_ordered(signed_by),
            approvers=signed_by - {OPERATOR, COORDINATOR},
            terminated=terminated(connection, terms),
            run_reused=reused,
            run_over=over,
            superseded=not _under_way(connection, case.order)
            and self._superseded(connection, terms, case.now),
        )

    def _mine(self, connection: Connection, case: _Case, terms: ParsedAgreement) -> MemberFacts:
        history, around = case.history or History(0, 0), self._around
        presence = present(connection, self._me)
        return MemberFacts(
            self._me.id,
            history.weeks,
            history.rows,
            self._installed,
            health=history.health,
            data_age_days=history.data_age_days,
            taxonomy=history.taxonomy,
            mapped_percent=history.mapped_percent,
            basis=basis_of(connection, terms.terms, case.order.order),
            notices=notices_in_use(connection),
            overdue_requests=overdue(connection, terms.terms, case.now),
            certificate_days=around.certificate_days(),
            software=around.software,
            oldest_result_days=around.oldest_result_days(connection, case.now),
            suspended_since=presence.suspended_since,
            leaving_at=presence.leaving_at,
        )

    def _spending(
        self, connection: Connection, case: _Case, terms: ParsedAgreement, gate: GateName
    ) -> _Priced:
        """What the run would cost of the budget; what cannot be found out stays unknown."""
        order = case.order
        if not _ordered(signers(case.signed, order.document, terms)):
            # The accountant may work for seconds: not for whoever can send a letter.
            return _Priced(problem="the operator has not signed the order")
        roster = roster_named(connection, terms, order.order.roster)
        if roster is None:
            return _Priced(problem="its list of members is not known here")
        try:
            plan = self._price(order, terms.terms, roster)
            if gate is GateName.USE:  # what was spent was counted when the run was admitted
                return _Priced(plan, cost(plan))
            account = PrivacyAccount(connection, self._restored_at)
            return _Priced(plan, account.consult(order.order, plan, terms.terms, case.now))
        except CoopError as error:
            return _Priced(problem=error.problem)

    def _reserved(
        self,
        connection: Connection,
        permit: Permit,
        case: _Case,
        terms: ParsedAgreement,
        plan: Plan | None,
    ) -> Permit | Denial:
        period = period_of(terms)
        if period is None:
            return Denial(permit.gate, (no("c14", "unknown", "known", "there is no period"),))
        try:
            Budget(connection, period).reserve(case.order.order, case.now)
        except Refused as error:
            return Denial(permit.gate, (no("c14", "full", period.max_runs, error.problem),))
        PrivacyAccount(connection, self._restored_at).reserve(case.order.order, plan, case.now)
        return permit

    def _superseded(self, connection: Connection, terms: ParsedAgreement, now: datetime) -> bool:
        """Whether any later version of mine has come into force, also if yet another one waits."""
        return any(
            one.agreement.version > terms.agreement.version
            and came_into_force(connection, one, self._me, now)
            for one in signed_versions(connection, self._me)
        )

    def _refused(self, denial: Denial, order: ParsedOrder | None = None) -> Denial:
        known = {} if order is None else _names(order)
        self._journal("refusal", {**known, **journal_facts(denial)})
        return denial

    def _write(self, answer: Permit | Denial, order: ParsedOrder) -> None:
        if isinstance(answer, Permit):
            facts = {"gate": answer.gate.value, "allowed": True, "purpose": answer.purpose}
            self._journal("decision", {**facts, **_names(order)})
        elif answer.pending:
            self._journal("order", {**_names(order), "state": OrderState.PENDING.value})
        else:
            self._refused(answer, order)


def _ordered(signed_by: frozenset[str]) -> bool:
    """Whether the operator signed, alone or with approvers; the server's key orders nothing."""
    return OPERATOR in signed_by and COORDINATOR not in signed_by


def _names(order: ParsedOrder) -> dict[str, object]:
    return {
        "run": order.order.run,
        "order": order.id,
        "agreement": order.order.agreement,
        "workload": order.order.workload.digest,
    }


def _under_way(connection: Connection, order: ParsedOrder) -> bool:
    """Whether this very order was admitted before: its run ends under the version it began with."""
    known = Orders(connection).get(order.order.run)
    return (
        known is not None
        and known.order_id == order.id
        and known.state in (OrderState.ADMITTED, OrderState.RUNNING)
    )


def _remember(connection: Connection, case: _Case, answer: Permit | Denial) -> bool:
    """Keep the order with its state; whether the state is new. What is over stays over."""
    order, orders = case.order, Orders(connection)
    before = orders.get(order.order.run)
    if before is not None and before.state in FINISHED:
        return True  # asked again after its end: journalled each time, changed never
    if isinstance(answer, Permit):
        running = before is not None and before.state is OrderState.RUNNING
        state = OrderState.RUNNING if running else OrderState.ADMITTED
        reasons: tuple[str, ...] = ()
    else:
        state = OrderState.PENDING if answer.pending else OrderState.REFUSED
        reasons = tuple(map(str, answer.reasons))
    orders.put(
        StoredOrder(
            run=order.order.run,
            order_id=order.id,
            workload=order.order.workload.id,
            digest=order.order.workload.digest,
            jws=json_bytes(case.signed),
            state=state,
            reasons=reasons,
            received_at=case.now if before is None else before.received_at,
        ),
        case.now,
    )
    return before is None or before.state is not state
