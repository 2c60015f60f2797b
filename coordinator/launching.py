"""From a plan to an order in the members' mailboxes, with a second person where clause 5 asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from coordinator import costs, spending, taxonomies
from coordinator.incidents import check_not_frozen
from coordinator.plans import Asked, Basis, Past, RunPlan, judge, plan_run, read_basis
from coordinator.standing import standing_of
from coordinator.store.documents import Document, Documents, Signature, Signatures
from coordinator.store.mail import Mail
from coordinator.store.members import Status
from coordinator.store.runs import Answer, Run, RunMember, RunMembers, Runs, State
from coordinator.wiring import ORDER, House
from protocols.agreement.facts import Denial
from protocols.agreement.order import OPERATOR, ParsedOrder
from protocols.agreement.second import approver_kid, may_sign
from protocols.agreement.terms import Costs, Governance
from protocols.audit.entries import Fact, Kind
from protocols.canonical import json_bytes
from protocols.errors import Code, InputError, LocalError, Refused
from protocols.ids import MemberId, RunId
from protocols.signing import SigningKey, jws_merge, jws_sign

PLANNING = timedelta(minutes=1)  # more than it takes to look at everything


def basis_of(house: House) -> Basis:
    """The documents in force here; LocalError if there are none yet."""
    house.agreements.in_force()  # or says what is missing
    chain = house.agreements.roster_chain()
    return read_basis(house.agreements.agreement_under(chain), chain)


def planned(house: House, asked: Asked, active: Sequence[str] | None = None) -> RunPlan:
    """What ``run plan`` shows; over all active members, or over some of them.

    Raises:
        LocalError: no agreement is in force.
        InputError, Refused: as ``plan_run``.
    """
    basis = basis_of(house)
    past = Past(house.earlier_orders(), house.spent())
    until = house.clock() + asked.lasts + PLANNING  # no earlier than the order's deadline
    standing = standing_of(house, basis.agreement, until=until)
    members = [one.id for one in house.enrolment.members(Status.ACTIVE)]
    settings = taxonomies.vocabulary(
        house.home, basis.agreement.terms, asked.workload, asked.settings
    )
    return plan_run(
        house.office,
        basis,
        asked=replace(asked, settings=settings),
        active=members if active is None else active,
        past=past,
        standing=standing,
        now=house.clock(),  # read last: nothing that was found out is later
    )


def ask_again(house: House, plan: RunPlan) -> None:
    """Between a plan and a person's yes time passes: Refused if the gate says no by now."""
    governance = plan.agreement.terms.block("c05", Governance)
    keys = governance.approver_keys if governance is not None and plan.second_person else ()
    denial = judged_again(house, basis_of(house), plan.order, frozenset(keys))
    if denial is not None:
        raise denial.refused()


def launch(house: House, plan: RunPlan, *, by: str | None = None) -> Run:
    """Sign the order and send it; or keep it until somebody approves, if clause 5 says so.

    Args:
        by: the short id of the person, for the log.

    Raises:
        Refused: the launch gate said no.
    """
    if plan.denial is not None:
        raise plan.denial.refused()
    order, now = plan.order, house.clock()
    signed = jws_sign(order.document, OPERATOR, house.operator_key())
    with house.log() as log:
        log.append(Kind.ORDER, {"order": order.id, "run": order.order.run, **_person(by)})
    state = State.AWAITING if plan.second_person else State.LAUNCHED
    terms = plan.agreement.terms
    with house.database.write() as db:
        check_not_frozen(db)
        Documents(db).add(Document(order.id, ORDER, json_bytes(signed), now))
        spending.record(db, order, plan.course.privacy(), now)
        run = Runs(db).add(RunId(order.order.run), order.id, now, state=state, by=by)
        costs.record(db, order, terms.block("c19", Costs), now)
        if state is State.LAUNCHED:
            _post(db, order, signed, now)
    return run


def approve(house: House, run: Run, key: SigningKey, *, by: str | None = None) -> dict[str, Any]:
    """Sign a waiting order as the second person and send it; the signed order.

    The launch gate is asked again: what changed since the operator signed counts.

    Args:
        key: one of clause 5's approver keys.
        by: the short id of the person who approves.

    Raises:
        InputError: the run waits for nothing, or it is the wrong key.
        Refused: the same person or key twice, or the launch gate says no.
    """
    if run.state is not State.AWAITING:
        raise InputError(
            f"run {run.run} is {run.state.value}; it waits for no approval.", where="run"
        )
    basis = basis_of(house)
    _check_second(house, basis, run, key, by)
    signed, order = house.order_of(run)
    denial = judged_again(house, basis, order, frozenset({key.public.hex()}))
    if denial is not None:
        raise denial.refused()
    now, kid = house.clock(), approver_kid(key.public.hex())
    mine = jws_sign(order.document, kid, key)
    whole = jws_merge(signed, mine)
    with house.log() as log:
        log.append(
            Kind.APPROVAL,
            {"order": order.id, "run": run.run, "key": key.public.hex(), **_person(by)},
        )
    with house.database.write() as db:
        check_not_frozen(db)
        Runs(db).approve(run.run, now, by)
        Signatures(db).add(Signature(order.id, kid, json_bytes(mine), now))
        _post(db, order, whole, now)
    return whole


def judged_again(
    house: House, basis: Basis, order: ParsedOrder, approvers: frozenset[str]
) -> Denial | None:
    """The launch gate's answer today to an order that was planned before; None is yes."""
    run = order.order.run
    past = Past(house.earlier_orders(without=run), house.spent(without=run))
    until = order.order.deadline
    standing = standing_of(house, basis.agreement, until=until, without=run)
    now = house.clock()
    return judge(basis, order, past=past, standing=standing, approvers=approvers, now=now).denial


def _check_second(house: House, basis: Basis, run: Run, key: SigningKey, by: str | None) -> None:
    governance = basis.agreement.terms.block("c05", Governance)
    known = may_sign(governance, "launch") if governance is not None else {}
    if key.public in (house.office.public.operator_key, house.office.public.coordinator_key):
        raise Refused(
            "this is the office's own key; the second person needs another one.",
            clauses=("c05",),
            fix="Make one with 'people key NAME --out FILE' and have it put into clause 5.",
        )
    if known.get(approver_kid(key.public.hex())) != key.public:
        raise Refused(
            f"the key {key.public.hex()[:16]} is none of those that clause 5 lets approve "
            "a launch.",
            clauses=("c05",),
            fix="Use the key that the members signed, or propose a new agreement version.",
        )
    if by is not None and by == run.launched_by:
        raise Refused(
            f"{by} launched this run; nobody approves what they launched.",
            clauses=("c05",),
            fix="Let another person approve it: --as NAME.",
        )


def _post(db: Connection, order: ParsedOrder, signed: dict[str, Any], now: datetime) -> None:
    """Ask every member of the cohort; in the transaction that launches the run."""
    body, run = json_bytes(signed), RunId(order.order.run)
    for one in order.order.cohort:
        member = MemberId(one)
        RunMembers(db).put(RunMember(run, member, Answer.SILENT, (), now))
        Mail(db).post(member, kind=ORDER, document=order.id, body=body, now=now)


def _person(by: str | None) -> dict[str, Fact]:
    return {} if by is None else {"role": OPERATOR, "by": by}


def find_run(house: House, prefix: str, *, open_only: bool = True) -> Run:
    """The run whose id begins so; LocalError if it is none or several."""
    with house.database.read() as db:
        found = [one for one in Runs(db).list(open_only=open_only) if one.run.startswith(prefix)]
    if len(found) != 1:
        raise LocalError(
            f"{len(found)} {'open ' if open_only else ''}runs begin with {prefix!r}.",
            code=Code.NOT_FOUND,
            fix="'coop-coordinator run status' lists them.",
        )
    return found[0]
