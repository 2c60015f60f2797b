"""Clauses about who and when: parties, governance, approval, term.

SPEC.md section 6.2. Each function yields a reason for every no; a clause that is missing or of
a wrong type says no. None raises on a parsed order, whatever the terms and the facts are.
"""

from __future__ import annotations

from protocols.agreement.facts import Consent, Facts, Request
from protocols.agreement.order import OPERATOR
from protocols.agreement.saying import (
    CLOCK_SKEW,
    Says,
    day,
    hours,
    minute,
    no,
    some,
    unknown,
)
from protocols.agreement.terms import Approval, Governance, Parties, Term, Terms
from protocols.permit import Gate


def parties(terms: Terms, request: Request, facts: Facts) -> Says:
    """c01: the cohort stands in the accepted roster, and so do I."""
    block = terms.block("c01", Parties)
    order, roster = request.order, facts.roster
    if roster is None:
        yield no("c01", "none", "an accepted roster", "this node has accepted no roster yet")
        return
    running = request.gate in (Gate.LAUNCH, Gate.ADMIT)  # later epochs may follow a run
    if running and (order.roster, order.roster_epoch) != (roster.id, roster.epoch):
        yield no(
            "c01",
            f"epoch {order.roster_epoch} ({order.roster[:16]})",
            f"epoch {roster.epoch} ({roster.id[:16]})",
            f"the order counts on roster epoch {order.roster_epoch} ({order.roster[:16]}), "
            f"the accepted one is epoch {roster.epoch} ({roster.id[:16]})",
        )
    if block is not None and len(roster.members) < block.min_members:
        yield no(
            "c01",
            len(roster.members),
            block.min_members,
            f"the roster has {len(roster.members)} members with a valid key, "
            f"at least {block.min_members} are needed",
        )
    strangers = set(order.cohort) - roster.members
    if strangers and running:
        yield no(
            "c01",
            f"{len(strangers)} strangers",
            0,
            f"{len(strangers)} of {len(order.cohort)} in the cohort are not members with a "
            f"valid key in the accepted roster: {some({one[:16] for one in strangers})}",
        )
    yield from _me(request, facts, roster.members)


def _me(request: Request, facts: Facts, members: frozenset[str]) -> Says:
    if request.gate not in (Gate.ADMIT, Gate.USE):
        return
    if facts.mine is None:
        yield no("c01", "unknown", "a member", "this node does not know which member it is")
    elif facts.mine.id not in members:
        yield no(
            "c01", facts.mine.id[:16], "a member", "this node is not a member with a valid key"
        )
    elif request.gate is Gate.ADMIT and facts.mine.id not in request.order.cohort:
        yield no(
            "c01", "not in the cohort", "in the cohort", "this node is not in the cohort of the run"
        )


def governance(terms: Terms, request: Request, facts: Facts) -> Says:
    """c05: the right version, signed by me and by a quorum; the order signed by the operator."""
    block = terms.block("c05", Governance)
    order, evidence = request.order, facts.evidence
    if order.coop != terms.coop:
        yield no(
            "c05",
            order.coop[:16],
            terms.coop[:16],
            f"the order is of cooperative {order.coop[:16]}, this one is {terms.coop[:16]}",
        )
    if order.agreement != terms.id:
        yield no(
            "c05",
            order.agreement[:16],
            terms.id[:16],
            f"the order is under agreement {order.agreement[:16]}, "
            f"which is not the signed version {terms.version} ({terms.id[:16]})",
        )
    yield from _replays(terms, request, facts)
    if request.gate in (Gate.ADMIT, Gate.USE) and not evidence.signed_by_me:
        yield no(
            "c05",
            "not signed",
            "signed by this member",
            f"this member has not signed agreement version {terms.version} ({terms.id[:16]})",
        )
    if request.gate is not Gate.LAUNCH and not evidence.operator:
        yield no(
            "c05",
            "not verified",
            "signed by the operator's key",
            "the order does not carry a valid signature of the operator's key in this clause",
        )
    if request.gate is Gate.USE and not evidence.coordinator:
        yield no(
            "c05",
            "not verified",
            "signed by the coordinator's key",
            "the release does not carry a valid signature of the coordinator's key in this clause",
        )
    if block is not None:
        yield from _second_person(block, request, facts)
        yield from _in_force(block, facts)


def _second_person(block: Governance, request: Request, facts: Facts) -> Says:
    """A release is held, not refused, until it carries both: so only its use is asked here."""
    keys, evidence = set(block.approver_keys), facts.evidence
    running = request.gate in (Gate.LAUNCH, Gate.ADMIT)
    if running and "launch" in block.two_person and not keys & evidence.approvers:
        yield no(
            "c05",
            "0 approvers",
            f"1 of {len(keys)} approvers",
            "the order needs a second person's signature beside the operator's, by one of "
            f"{len(keys)} keys in this clause, and carries 0",
        )
    if request.gate is not Gate.USE or "release" not in block.two_person:
        return
    signed = evidence.release_signers
    if OPERATOR not in signed or not keys & signed:
        yield no(
            "c05",
            f"{len((keys | {OPERATOR}) & signed)} of 2 signatures",
            "the operator and an approver",
            f"the release needs the signatures of the operator and of one of {len(keys)} "
            f"approvers, and carries {len(keys & signed)} of an approver and "
            f"{int(OPERATOR in signed)} of the operator",
        )


def _replays(terms: Terms, request: Request, facts: Facts) -> Says:
    order, evidence = request.order, facts.evidence
    running = request.gate in (Gate.LAUNCH, Gate.ADMIT)
    if evidence.terminated:
        yield no(
            "c05",
            "ended",
            "in force",
            f"the members have ended agreement version {terms.version} ({terms.id[:16]})",
        )
    if evidence.run_reused:
        yield no(
            "c05",
            order.run,
            "a run id once",
            f"another order of run {order.run} was seen before; a run has one order",
        )
    if evidence.run_over and running:
        yield no("c05", "over", "not yet run", f"run {order.run} has ended; a new run has a new id")
    if evidence.superseded and running:
        yield no(
            "c05",
            f"version {terms.version}",
            "the version in force",
            f"version {terms.version} was replaced by a later version that is in force",
        )


def _in_force(block: Governance, facts: Facts) -> Says:
    members = facts.roster.members if facts.roster is not None else frozenset()
    needed = max(1, block.quorum_agreement.needed(len(members)))
    count = len(members & facts.evidence.signers)
    if count < needed:
        yield no(
            "c05",
            count,
            needed,
            f"{count} of {len(members)} members have signed this version, {needed} are needed "
            "before it is in force",
        )


def approval(terms: Terms, request: Request, facts: Facts) -> Says:
    """c16: within the hours, and approved by a person unless automatic."""
    block = terms.block("c16", Approval)
    if block is None or request.gate is not Gate.ADMIT:
        return
    yield from hours("c16", block.hours_utc, facts)
    if facts.consent is Consent.REFUSED:
        yield no("c16", "refused", "approved", "this member has refused the order")
    each = facts.house.manual_approval  # then an approval for always is not enough
    manual = block.mode == "manual" or each
    always = facts.consent is Consent.ALWAYS
    if manual and (facts.consent is Consent.NONE or (always and each)):
        yield no(
            "c16",
            "not approved",
            "approved",
            "this order waits for the approval of this member"
            + (", whose house rules ask for each order by itself" if each else ""),
            pending=True,
        )


def term(terms: Terms, request: Request, facts: Facts) -> Says:
    """c30: the agreement runs, and so does the order."""
    block = terms.block("c30", Term)
    now, order = facts.now, request.order
    if block is not None and now < block.starts:
        yield no("c30", day(now), day(block.starts), f"the agreement starts on {day(block.starts)}")
    if block is not None and now >= block.ends:
        yield no("c30", day(now), day(block.ends), f"the agreement ended on {day(block.ends)}")
    if request.gate not in (Gate.LAUNCH, Gate.ADMIT):
        return
    if block is not None and now >= block.review_by:
        yield no(
            "c30",
            day(now),
            day(block.review_by),
            f"the members wanted to look at the agreement again by {day(block.review_by)}, it is "
            f"{day(now)}; new runs wait for a new version",
        )
    if now > order.deadline:
        yield no(
            "c30",
            minute(now),
            minute(order.deadline),
            f"the order's deadline was {minute(order.deadline)} UTC",
        )
    if order.issued - now > CLOCK_SKEW:
        yield no(
            "c30",
            minute(order.issued),
            minute(now),
            f"the order is dated {minute(order.issued)} UTC and it is {minute(now)} UTC; check "
            "the clock of this computer",
        )
    if block is not None and order.deadline > block.ends:
        yield no(
            "c30",
            day(order.deadline),
            day(block.ends),
            f"the order would run until {day(order.deadline)}, after the agreement ends on "
            f"{day(block.ends)}",
        )


def clock(terms: Terms, request: Request, facts: Facts) -> Says:
    """c30: a clock that was put back would bring spent budgets and ended terms back to life."""
    if request.gate is Gate.RELEASE:
        return  # asked again later by members that did not see it happen
    newest, now = facts.newest_seen, facts.now
    if newest is None:
        yield unknown("c30", "the latest instant in the ledgers of this computer")
    elif newest - now > CLOCK_SKEW:
        yield no(
            "c30",
            minute(now),
            minute(newest),
            f"it is {minute(now)} UTC by this clock, but something was written down at "
            f"{minute(newest)} UTC before; set the clock right",
        )
