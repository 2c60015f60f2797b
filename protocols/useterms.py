"""What a result may be used for, by whom and until when; from the agreement and the run alone.

protocols/SPEC.md section 1.

A release carries these terms on its card. Whoever has followed the run derives them again, so a
coordinator can neither favour a member nor stretch a date. Figures beside models would carry the
same section; this version releases none.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from protocols.agreement.base import Document, parse_utc, utc_text
from protocols.agreement.facts import ReleaseFacts
from protocols.agreement.terms import Benefit, Ip, Retention, Term
from protocols.canonical import Json
from protocols.course import Course
from protocols.errors import Code, InputError, Refused
from protocols.ids import MemberId, member_id

_FIELDS = {"licence", "purposes", "expires", "recipients", "contributors", "foreground"}
_FIELDS |= {"no_onward", "decision_support"}
MAX_MEMBERS = 1000


@dataclass(frozen=True, slots=True)
class UseTerms:
    """The use terms of one release.

    Args:
        licence: clause 20.
        purposes: clause 20; a result is used for nothing else.
        expires: clauses 20, 28 and 30, whichever ends first.
        rule: clause 18, ``contributors`` or ``members``.
        recipients: who gets the result by that rule, ascending.
        contributors: whose updates are in the model, ascending (clause 29 asks for them).
        foreground: clause 20, whose property the result is.
    """

    licence: str
    purposes: tuple[str, ...]
    expires: datetime
    rule: str
    recipients: tuple[MemberId, ...]
    contributors: tuple[MemberId, ...]
    foreground: str

    def document(self) -> dict[str, Any]:
        """The section ``use`` of a card. Nobody hands a result on (clause 22), and a result
        supports a person's decision, it takes none (clause 26)."""
        return {
            "licence": self.licence,
            "purposes": list(self.purposes),
            "expires": utc_text(self.expires),
            "recipients": {"rule": self.rule, "members": list(self.recipients)},
            "contributors": list(self.contributors),
            "foreground": self.foreground,
            "no_onward": True,
            "decision_support": True,
        }

    def facts(self, created: datetime) -> ReleaseFacts:
        """The same, for a decision; what happened since is for the caller to add."""
        return ReleaseFacts(
            licence=self.licence,
            purposes=frozenset(self.purposes),
            created=created,
            expires=self.expires,
            recipients=frozenset(map(str, self.recipients)),
            contributors=frozenset(map(str, self.contributors)),
        )


def use_terms(course: Course, survivors: Sequence[Set[str]], created: datetime) -> UseTerms:
    """Derive the terms of a release.

    Args:
        course: of the run.
        survivors: members in each published sum, in order of rounds, the evaluation last.
        created: when the release was made.

    Raises:
        Refused: the agreement lacks a clause that says how results may be used.
    """
    terms = course.terms
    benefit, ip = terms.block("c18", Benefit), terms.block("c20", Ip)
    retention, term = terms.block("c28", Retention), terms.block("c30", Term)
    missing = _missing(c18=benefit, c20=ip, c28=retention, c30=term)
    if benefit is None or ip is None or retention is None or term is None:
        raise Refused(
            f"the agreement does not say how results may be used: {', '.join(missing)} is missing.",
            clauses=missing,
            fix="Agree on a version with all 30 clauses.",
        )
    created = created.replace(microsecond=0)  # as the card says it
    days = timedelta(days=min(ip.use_days, retention.models_days))
    return UseTerms(
        licence=ip.licence,
        purposes=tuple(sorted(ip.uses)),
        expires=min(created + days, term.ends),
        rule=benefit.recipients,
        recipients=_recipients(course, survivors, benefit),
        contributors=_contributors(course, survivors),
        foreground=ip.foreground,
    )


def read_use(card: Json, where: str) -> ReleaseFacts:
    """The use terms that a signed card states, for a decision; they are not derived here.

    Raises:
        InputError: the card has no such section, or one that cannot be read.
    """
    use = card.get("use")
    if not isinstance(use, dict) or use.keys() != _FIELDS:
        raise _bad(where)
    recipients = use["recipients"]
    if not isinstance(recipients, dict) or recipients.keys() != {"rule", "members"}:
        raise _bad(where)
    licence, purposes = use["licence"], use["purposes"]
    if not isinstance(licence, str) or not _texts(purposes):
        raise _bad(where)
    try:
        created, expires = parse_utc(card.get("created")), parse_utc(use["expires"])
    except ValueError as error:
        raise _bad(where) from error
    return ReleaseFacts(
        licence=licence,
        purposes=frozenset(purposes),
        created=created,
        expires=expires,
        recipients=_ids(recipients["members"], where),
        contributors=_ids(use["contributors"], where),
    )


def _recipients(
    course: Course, survivors: Sequence[Set[str]], benefit: Benefit
) -> tuple[MemberId, ...]:
    if benefit.recipients == "members":
        return tuple(sorted(course.roster.voters()))
    least = benefit.min_rounds_percent * len(survivors)
    taken = {
        one: sum(one in present for present in survivors)
        for one in _contributors(course, survivors)
    }
    return tuple(one for one in sorted(taken) if 100 * taken[one] >= least)


def _contributors(course: Course, survivors: Sequence[Set[str]]) -> tuple[MemberId, ...]:
    trained = frozenset[str]().union(*survivors[: course.training_rounds])
    return tuple(MemberId(one) for one in sorted(trained))


def _missing(**blocks: Document | None) -> tuple[str, ...]:
    return tuple(clause for clause, block in blocks.items() if block is None)


def _ids(found: object, where: str) -> frozenset[str]:
    if not _texts(found) or not isinstance(found, list):
        raise _bad(where)
    return frozenset(str(member_id(one)) for one in found)


def _texts(found: object) -> bool:
    return (
        isinstance(found, list)
        and len(found) <= MAX_MEMBERS
        and all(isinstance(one, str) for one in found)
    )


def _bad(where: str) -> InputError:
    return InputError(
        "the card does not say in a readable way how the release may be used.",
        code=Code.TAMPERED,
        where=where,
    )
