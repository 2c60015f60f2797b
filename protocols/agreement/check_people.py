"""Linter rules about members: who decides, who answers, leaving, the term.

One-sided clauses are those that EU Data Act art. 13 calls unfair when one enterprise imposes them
on others: change, end or interpretation by one side alone, no way out, no way to check.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from protocols.agreement.findings import Found, error, warning
from protocols.agreement.saying import day
from protocols.agreement.terms import (
    Approval,
    Governance,
    Ip,
    Membership,
    Parties,
    Privacy,
    Quorum,
    Roles,
    Term,
    Terms,
    cohort_floor,
)
from protocols.agreement.terms import Competition as Guard

USUAL_NOTICE_DAYS = 14
MOST_LEAVE_DAYS, USUAL_LEAVE_DAYS = 365, 90
MOST_YEARS = 5
PLACEHOLDER = "to be filled in"
NAMES = (
    "operator-unnamed",
    "same-key",
    "two-halves",
    "quorum-too-high",
    "ended-by-one",
    "ended-by-few",
    "change-without-notice",
    "approvers-idle",
    "start-below-floor",
    "automatic",
    "no-way-out",
    "long-way-out",
    "retrain-at-once",
    "retrain-without-effect",
    "retrain-beyond-use",
    "ended",
    "review-past",
    "review-late",
    "long-term",
    "starts-without-notice",
)


def _roles(terms: Terms) -> Found:
    block = terms.block("c04", Roles)
    if block is not None and block.operator_legal_id.strip().lower() == PLACEHOLDER:
        yield error(
            "operator-unnamed",
            "c04",
            "operator_legal_id",
            "the business that operates the coordinator is not named; no run could start.",
            "Write its legal number, the same as in the coordinator's settings.",
        )


def _keys(terms: Terms) -> Found:
    block = terms.block("c05", Governance)
    if block is None:
        return
    if block.operator_key == block.coordinator_key:
        yield error(
            "same-key",
            "c05",
            "coordinator_key",
            "orders and releases are signed with the same key.",
            "Keep the operator's key apart from the server's key.",
        )
    if block.approver_keys and not block.two_person:
        yield warning(
            "approvers-idle",
            "c05",
            "approver_keys",
            "second persons have keys, and no act needs them.",
            "Name the acts in two_person, or remove the keys.",
        )
    if block.notice_days < USUAL_NOTICE_DAYS:
        yield warning(
            "change-without-notice",
            "c05",
            "notice_days",
            f"a new version may start {block.notice_days} days after it was proposed; whoever "
            "proposes changes the terms faster than others can ask an adviser.",
            f"{USUAL_NOTICE_DAYS} days or more are usual.",
        )


def _quorums(terms: Terms) -> Found:
    block, people = terms.block("c05", Governance), terms.block("c01", Parties)
    if block is None or people is None:
        return
    for field, what, quorum in (
        ("quorum_agreement", "the agreement", block.quorum_agreement),
        ("quorum_roster", "the roster", block.quorum_roster),
    ):
        needed = quorum.needed(people.min_members)
        if 2 * needed <= people.min_members:
            yield error(
                "two-halves",
                "c05",
                field,
                f"{needed} of {people.min_members} members could sign {what}; two halves could "
                "sign two different ones.",
                "Ask for more than half.",
            )
        if needed > people.min_members:
            yield warning(
                "quorum-too-high",
                "c05",
                field,
                f"{what} needs {needed} signatures, but {people.min_members} members are enough "
                "to start.",
                "Lower the quorum or raise the number of members in c01.",
            )
    yield from _end(block.quorum_terminate, people.min_members)


def _end(quorum: Quorum, members: int) -> Found:
    needed = quorum.needed(members)
    if needed == 1:
        yield error(
            "ended-by-one",
            "c05",
            "quorum_terminate",
            f"one member alone could end the agreement for all {members}.",
            "Ask for more than half.",
        )
    elif 2 * needed <= members:
        yield warning(
            "ended-by-few",
            "c05",
            "quorum_terminate",
            f"{needed} of {members} members could end the agreement for the others.",
            "Ask for more than half.",
        )


def _start(terms: Terms) -> Found:
    people, privacy = terms.block("c01", Parties), terms.block("c14", Privacy)
    guard = terms.block("c27", Guard)
    if people is None or privacy is None or guard is None:
        return
    floor = cohort_floor(privacy, guard)
    if people.min_members < floor:
        yield warning(
            "start-below-floor",
            "c01",
            "min_members",
            f"{people.min_members} members are enough to start, but a run needs {floor}.",
            "Raise min_members.",
        )


def _approval(terms: Terms) -> Found:
    block = terms.block("c16", Approval)
    if block is not None and block.mode == "automatic":
        yield warning(
            "automatic",
            "c16",
            "mode",
            "orders are approved without a person.",
            "Manual is the default; a member can still approve one workload always.",
        )


def _leaving(terms: Terms) -> Found:
    block, ip = terms.block("c29", Membership), terms.block("c20", Ip)
    if block is None:
        return
    if block.leave_notice_days > USUAL_LEAVE_DAYS:
        far = block.leave_notice_days > MOST_LEAVE_DAYS
        yield (error if far else warning)(
            "no-way-out" if far else "long-way-out",
            "c29",
            "leave_notice_days",
            f"a member that wants to leave is bound for {block.leave_notice_days} days more.",
            f"{USUAL_LEAVE_DAYS} days or less are usual, {MOST_LEAVE_DAYS} the most (Data Act "
            "art. 13).",
        )
    if block.past_models != "retrain" and block.retrain_days:
        yield warning(
            "retrain-without-effect",
            "c29",
            "retrain_days",
            f"{block.retrain_days} days are given to train again, and past_models is "
            f"{block.past_models!r}.",
            "Write 0, or past_models retrain.",
        )
    if block.past_models == "retrain" and not block.retrain_days:
        yield warning(
            "retrain-at-once",
            "c29",
            "retrain_days",
            "models are to be made again, and the old ones stop on the day somebody leaves.",
            "Give some weeks, or write past_models retire.",
        )
    if ip is not None and block.past_models == "retrain" and block.retrain_days > ip.use_days:
        yield warning(
            "retrain-beyond-use",
            "c29",
            "retrain_days",
            f"old models may be used for {block.retrain_days} days after somebody left, and for "
            f"{ip.use_days} days at all (c20).",
            "Write the smaller figure.",
        )


def term(terms: Terms, now: datetime) -> Found:
    """Rules that compare the term with the clock."""
    block, rules = terms.block("c30", Term), terms.block("c05", Governance)
    if block is None:
        return
    if now >= block.ends:
        yield error(
            "ended", "c30", "ends", f"the agreement ended on {day(block.ends)}.", "Set a later end."
        )
    elif now >= block.review_by:
        yield error(
            "review-past",
            "c30",
            "review_by",
            f"the members wanted to look at it again by {day(block.review_by)}; no run would "
            "start.",
            "Review it, then set a later date.",
        )
    if block.review_by - block.starts > timedelta(days=366):
        yield warning(
            "review-late",
            "c30",
            "review_by",
            f"it is looked at again only on {day(block.review_by)}.",
            "Once a year is usual.",
        )
    if block.ends - block.starts > timedelta(days=MOST_YEARS * 366):
        yield warning(
            "long-term",
            "c30",
            "ends",
            f"it runs for more than {MOST_YEARS} years.",
            "Set an earlier end; a new version can follow.",
        )
    waits = timedelta(days=rules.notice_days) if rules is not None else timedelta()
    if terms.version > 1 and now < block.ends and block.starts < now + waits - timedelta(days=1):
        yield warning(
            "starts-without-notice",
            "c30",
            "starts",
            f"it starts on {day(block.starts)}, sooner than the {waits.days} days of notice in "
            "c05.",
            f"Let it start on {day(now + waits)} or later.",
        )


RULES = (
    _roles,
    _keys,
    _quorums,
    _start,
    _approval,
    _leaving,
)
