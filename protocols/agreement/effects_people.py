"""What the clauses about people say in words: members, roles, customers, membership, term."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from protocols.agreement.plural import counted, days, listed, name_of
from protocols.agreement.saying import day, minute
from protocols.agreement.terms import (
    Approval,
    DataRoles,
    Fraction,
    Governance,
    LegalBasis,
    Members,
    Membership,
    Notice,
    Parties,
    Purposes,
    Rights,
    Roles,
    Term,
)

Sentences = tuple[str, ...]
_ACTS = {
    "launch": "starting a run",
    "release": "releasing a result",
    "revoke": "calling a result back",
    "remove": "removing a member",
}
_DUTIES = {
    "information": "customers being told what happens",
    "requests": "requests of customers",
    "breach": "reporting a leak",
    "security": "security",
    "contact": "questions",
}
_BY = {
    "member": "each member for its own customers",
    "cooperative": "the members together",
    "operator": "the operator",
}
_CONTROLLER = {
    "joint": "The members decide together why and how customers' data are used, and all of them "
    "answer for it to customers.",
    "each": "Each member alone answers for the use of its own customers' data.",
}
_PAST = {
    "keep": "Models that it helped to train go on being used.",
    "retire": "Models that it helped to train are not used any more from the day it has left.",
    "retrain": "Models that it helped to train are made again without it",
}
_INSOLVENCY = {
    "delete": "If the operator cannot pay any more, everything on its server is deleted.",
    "hand-over": "If the operator cannot pay any more, another operator that the members choose "
    "takes over everything on its server.",
}


def quorum(block: Members | Fraction) -> str:
    """A quorum in words."""
    if isinstance(block, Members):
        return counted(block.members, "member")
    return f"{block.numerator} in {block.denominator} members (rounded up)"


def _parties(block: Parties) -> Sentences:
    return (f"Nothing runs with fewer than {counted(block.min_members, 'member')}.",)


def _roles(block: Roles) -> Sentences:
    return (
        _CONTROLLER[block.controller],
        f"The business {block.operator_legal_id} operates the coordinator; a server of another "
        "business starts no run.",
        f"Customers may turn to: {block.contact}.",
        *(f"For {_DUTIES[one.duty]} answers: {_BY[one.by]}." for one in block.duties),
    )


def _governance(block: Governance) -> Sentences:
    if block.two_person:
        acts = listed(_ACTS[act] for act in block.two_person)
        second = f"A second person has to sign as well for {acts}."
    else:
        second = "No act of the operator needs the signature of a second person."
    keys = listed(name_of(key) for key in block.approver_keys)
    return (
        f"This agreement counts once {quorum(block.quorum_agreement)} have signed it.",
        f"A new list of members counts once {quorum(block.quorum_roster)} of the list before "
        "have signed it.",
        f"{_capital(quorum(block.quorum_terminate))} together can end this agreement.",
        f"Orders are signed with the key {name_of(block.operator_key)}.",
        f"Results are signed with the key {name_of(block.coordinator_key)}.",
        second,
        *([f"Second persons sign with these keys: {keys}."] if keys else []),
        f"A new version can start {days(block.notice_days)} after it was proposed."
        if block.notice_days
        else "A new version can start at once; you see it before only if you look.",
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _data_roles(block: DataRoles) -> Sentences:
    return (
        f"In your house these roles may sign an agreement: {listed(block.sign_agreement)}.",
        f"In your house these roles may approve an order: {listed(block.approve_orders)}.",
        f"In your house these roles may take results out: {listed(block.export_results)}.",
    )


def _purposes(block: Purposes) -> Sentences:
    return (
        f"Your data and the common results may be used for: {listed(block.allowed)}; for nothing "
        "else.",
        f"Never for: {listed(block.forbidden)}.",
    )


def _legal_basis(block: LegalBasis) -> Sentences:
    out = []
    for one in block.purposes:
        if one.basis == "consent":
            said = f"only customers who said yes to {one.scope} are in the data"
        elif one.basis == "legitimate-interest":
            said = "customers are in the data without being asked, unless they object"
        else:
            said = "no line is read as one of a person"
        scope = f" (scope {one.scope})" if one.scope and one.basis != "consent" else ""
        reference = f" The assessment of it is: {one.reference}." if one.reference else ""
        out.append(f"For {one.purpose}{scope} {said}.{reference}")
    return tuple(out)


def _notice(block: Notice) -> Sentences:
    texts = tuple(f"Customers are told ({one.locale}): {one.text}" for one in block.texts)
    if not block.purposes:
        return ("No purpose needs a notice to customers.", *texts)
    return (
        f"You take part in runs for {listed(block.purposes)} only while your customers are told "
        "in one of these texts.",
        *texts,
    )


def _rights(block: Rights) -> Sentences:
    return (
        f"A customer's request is answered within {days(block.answer_days)}"
        + (f", or {days(block.extend_days)} more if it is difficult." if block.extend_days else ".")
        + " While one is late at your house you take part in no run.",
    )


def _approval(block: Approval) -> Sentences:
    window = ""
    if block.hours_utc is not None:
        hours = block.hours_utc
        window = f" Runs start from {hours.from_hour}:00 to {hours.to_hour}:00 UTC."
    if block.mode == "manual":
        return (
            "You approve each order yourself, unless you approve one workload always." + window,
        )
    return ("Orders under this agreement start without asking you." + window,)


def _membership(block: Membership) -> Sentences:
    past = _PAST[block.past_models]
    retrain = days(block.retrain_days)
    if block.past_models == "retrain":
        past += f"; the old ones are used for {retrain} more at most."
    elif block.retrain_days:
        past += f" (The {retrain} for making models again have no effect.)"
    return (
        "You may pause at once: no run with you starts from that moment."
        if block.suspend_at_once
        else "You may not pause.",
        f"A member that gives notice has left {days(block.leave_notice_days)} later."
        if block.leave_notice_days
        else "A member that gives notice has left at once.",
        past,
    )


def _term(block: Term) -> Sentences:
    return (
        f"It holds from {_instant(block.starts)} until {_instant(block.ends)}.",
        f"After {_instant(block.review_by)} no new run starts until the members have signed a "
        "new version.",
        f"The law that applies: {block.law}.",
        _INSOLVENCY[block.insolvency],
    )


def _instant(moment: Any) -> str:
    whole = not (moment.hour or moment.minute or moment.second)
    return day(moment) if whole else f"{minute(moment)}:{moment.second:02d} UTC"


SENTENCES: Mapping[type, Callable[[Any], Sentences]] = {
    Parties: _parties,
    Roles: _roles,
    Governance: _governance,
    DataRoles: _data_roles,
    Purposes: _purposes,
    LegalBasis: _legal_basis,
    Notice: _notice,
    Rights: _rights,
    Approval: _approval,
    Membership: _membership,
    Term: _term,
}
