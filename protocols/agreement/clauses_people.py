"""Clauses about people: roles, data roles, legal basis, notice, customers' rights, oversight.

SPEC.md section 6.2; the rules of ``clauses_parties`` hold here too.
"""

from __future__ import annotations

from protocols.agreement.facts import Consent, Facts, Request
from protocols.agreement.roles import OFFICE_ROLES, Action, may, may_under
from protocols.agreement.saying import Says, no, recipe_of, short, unknown
from protocols.agreement.terms import (
    DataRoles,
    LegalBasis,
    Notice,
    Oversight,
    PurposeBasis,
    Rights,
    Roles,
    Terms,
    WorkloadTerms,
)
from protocols.permit import Gate

NO_BASIS = "none"


def roles(terms: Terms, request: Request, facts: Facts) -> Says:
    """c04: the business that operates the server is the one that the members signed for."""
    block = terms.block("c04", Roles)
    if block is None or request.gate is not Gate.LAUNCH:
        return
    if facts.office is None or not facts.office.legal_id:
        yield unknown("c04", "the legal id of the operator's business")
    elif facts.office.legal_id != block.operator_legal_id:
        yield no(
            "c04",
            short(facts.office.legal_id),
            block.operator_legal_id,
            f"the operator's business is {short(facts.office.legal_id)!r}, agreed is "
            f"{short(block.operator_legal_id)!r}",
        )


def data_roles(terms: Terms, request: Request, facts: Facts) -> Says:
    """c06: who approved the order was allowed to; so was who launches, where people have names."""
    block = terms.block("c06", DataRoles)
    if request.gate is Gate.LAUNCH:
        yield from _launched_by(facts.approved_role)
    if block is None or request.gate is not Gate.ADMIT:
        return
    if facts.consent not in (Consent.ONCE, Consent.ALWAYS):
        return  # nobody approved: clause 16 says whether somebody has to
    role = facts.approved_role
    if not role:
        yield unknown("c06", "the role of the person who approved the order")
    elif not may_under(role, Action.APPROVE, block):
        allowed = ", ".join(block.approve_orders)
        yield no(
            "c06",
            short(role),
            allowed,
            f"a person in the role {short(role)!r} approved the order, only these may: {allowed}",
        )


def _launched_by(role: str) -> Says:
    # No role: nobody is registered, and who can use the operator's key is the operator.
    if role and not may(role, Action.LAUNCH):
        allowed = ", ".join(one for one in OFFICE_ROLES if may(one, Action.LAUNCH))
        yield no(
            "c06",
            short(role),
            allowed,
            f"a person in the role {short(role)!r} would launch the run, only these may: {allowed}",
        )


def legal_basis(terms: Terms, request: Request, facts: Facts) -> Says:
    """c10: the purpose has a legal basis, and this member has it on record."""
    block = terms.block("c10", LegalBasis)
    if block is None or request.gate not in (Gate.LAUNCH, Gate.ADMIT):
        return
    purpose = request.order.purpose
    entry = block.of(purpose)
    if entry is None:
        listed = ", ".join(one.purpose for one in block.purposes)
        yield no(
            "c10", purpose, listed, f"no legal basis is agreed for {purpose!r} (agreed: {listed})"
        )
        return
    recipe = recipe_of(terms, request.order)
    if recipe is not None:
        yield from _reads_nobody(entry, recipe)
    if request.gate is Gate.ADMIT:
        yield from _on_record(entry, facts)


def _reads_nobody(entry: PurposeBasis, recipe: WorkloadTerms) -> Says:
    if entry.basis == NO_BASIS and recipe.privacy != "none":
        yield no(
            "c10",
            NO_BASIS,
            "consent or legitimate-interest",
            f"the clause says that {entry.purpose!r} needs no legal basis, but workload "
            f"{recipe.id} learns from single {recipe.privacy}s",
        )


def _on_record(entry: PurposeBasis, facts: Facts) -> Says:
    found = facts.mine.basis if facts.mine is not None else ""
    if not found:
        yield no(
            "c10",
            "nothing",
            entry.basis,
            f"this node has no legal basis on record for {entry.purpose!r}, agreed is "
            f"{entry.basis}",
        )
    elif found != entry.basis:
        yield no(
            "c10",
            short(found),
            entry.basis,
            f"this node has {short(found)!r} on record as legal basis for {entry.purpose!r}, "
            f"agreed is {entry.basis}",
        )


def notice(terms: Terms, request: Request, facts: Facts) -> Says:
    """c11: customers have been told, in the agreed words."""
    block = terms.block("c11", Notice)
    if block is None or request.gate is not Gate.ADMIT:
        return
    if request.order.purpose not in block.purposes:
        return
    agreed = {one.digest: one.locale for one in block.texts}
    shown = facts.mine.notices if facts.mine is not None else frozenset[str]()
    if not agreed.keys() & shown:
        texts = ", ".join(f"{locale} {name[:16]}" for name, locale in sorted(agreed.items()))
        yield no(
            "c11",
            f"{len(shown)} other notices" if shown else "no notice",
            texts,
            f"runs for {request.order.purpose!r} need a notice to customers in the agreed words "
            f"({texts}), and this node shows {f'{len(shown)} others' if shown else 'none'}",
        )


def rights(terms: Terms, request: Request, facts: Facts) -> Says:
    """c12: no customer waits longer than agreed for an answer."""
    block = terms.block("c12", Rights)
    if block is None or request.gate not in (Gate.LAUNCH, Gate.ADMIT):
        return
    here = request.gate is Gate.ADMIT
    side = facts.mine if here else facts.office
    late = side.overdue_requests if side is not None else None
    place = "this node" if here else "the coordinator"
    if late is None:
        yield unknown("c12", f"how many requests of customers are overdue at {place}")
    elif late != 0:
        limit = f"an answer within {block.answer_days} days"
        yield no(
            "c12",
            f"{late} overdue",
            "0 overdue",
            f"{late} requests of customers are overdue at {place}, 0 may be; agreed is {limit}",
            outside=f"requests of customers are overdue at {place}; agreed is {limit}",
        )


def oversight(terms: Terms, request: Request, facts: Facts) -> Says:
    """c26: this version measures no slices, so a clause that asks for some denies."""
    block = terms.block("c26", Oversight)
    if block is None or request.gate is Gate.USE:
        return
    if block.slices:
        names = ", ".join(block.slices)
        yield no(
            "c26",
            "no slices measured",
            names,
            f"the clause asks for equal quality in {names}; this version of datacoop measures no "
            "fairness slices (0 measured), so nothing may run under it",
        )
