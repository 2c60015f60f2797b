"""Linter rules about a member's house and its customers: roles, legal bases, notices, requests."""

from __future__ import annotations

from collections import Counter

from protocols.agreement.findings import Found, error, warning
from protocols.agreement.terms import (
    DataRoles,
    LegalBasis,
    Notice,
    Purposes,
    Rights,
    Terms,
    Workloads,
)

NAMES = (
    "viewer-exports",
    "custodian-signs",
    "basis-missing",
    "basis-unused",
    "basis-none",
    "scope-bundled",
    "notice-missing",
    "notice-unused",
    "answer-late",
)


def _house(terms: Terms) -> Found:
    block = terms.block("c06", DataRoles)
    if block is None:
        return
    if "viewer" in block.export_results:
        yield warning(
            "viewer-exports",
            "c06",
            "export_results",
            "somebody who may only look may take results with customers in them out of the house.",
            "Leave it to the owner and the steward.",
        )
    if "custodian" in block.sign_agreement:
        yield warning(
            "custodian-signs",
            "c06",
            "sign_agreement",
            "whoever looks after the computer may bind the business.",
            "Leave it to the owner.",
        )


def _bases(terms: Terms) -> Found:
    block, purposes = terms.block("c10", LegalBasis), terms.block("c07", Purposes)
    recipes = terms.block("c13", Workloads)
    if block is None:
        return
    for purpose in sorted(set(purposes.allowed) if purposes is not None else ()):
        if block.of(purpose) is None:
            yield error(
                "basis-missing",
                "c10",
                "purposes",
                f"no legal basis stands for {purpose!r}, which c07 allows.",
                "Add an entry for it.",
            )
    for number, one in enumerate(block.purposes):
        if purposes is not None and one.purpose not in purposes.allowed:
            yield warning(
                "basis-unused",
                "c10",
                f"purposes.{number}",
                f"a legal basis stands for {one.purpose!r}, which c07 does not allow.",
                "Remove the entry.",
            )
    for entry in recipes.workloads if recipes is not None else ():
        basis = block.of(entry.purpose)
        if entry.privacy != "none" and basis is not None and basis.basis == "none":
            yield error(
                "basis-none",
                "c10",
                f"purposes.{block.purposes.index(basis)}.basis",
                f"workload {entry.id} reads lines of each {entry.privacy} for {entry.purpose!r}, "
                "and no legal basis is named.",
                "Write consent with its scope, or legitimate-interest with its assessment.",
            )
    scopes = Counter(one.scope for one in block.purposes if one.basis == "consent")
    for scope in sorted(str(name) for name, times in scopes.items() if times > 1):
        yield error(
            "scope-bundled",
            "c10",
            "purposes",
            f"one consent ({scope!r}) is asked for several purposes at once.",
            "Ask for each purpose on its own (GDPR art. 7).",
        )


def _notices(terms: Terms) -> Found:
    block, bases = terms.block("c11", Notice), terms.block("c10", LegalBasis)
    if block is None or bases is None:
        return
    for one in bases.purposes:
        if one.basis != "none" and one.purpose not in block.purposes:
            yield error(
                "notice-missing",
                "c11",
                "purposes",
                f"customers' lines are read for {one.purpose!r} ({one.basis}), and no notice is "
                "asked for.",
                "Add the purpose, and a text.",
            )
    for purpose in block.purposes:
        if bases.of(purpose) is None:
            yield warning(
                "notice-unused",
                "c11",
                "purposes",
                f"a notice is asked for {purpose!r}, which has no legal basis in c10.",
                "Remove the purpose, or add its legal basis.",
            )


def _rights(terms: Terms) -> Found:
    block = terms.block("c12", Rights)
    if block is not None and block.answer_days + block.extend_days > 90:
        yield warning(
            "answer-late",
            "c12",
            "extend_days",
            f"a customer may wait {block.answer_days + block.extend_days} days for an answer.",
            "One month, and two more for a difficult request, is the most (GDPR art. 12).",
        )


RULES = (_house, _bases, _notices, _rights)
