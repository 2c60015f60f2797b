"""Who has to agree before the office takes a member out: clause 5 may ask for a second person.

The list of members itself changes only with a quorum's signatures. This is about what the office
does at once: it ends the member's connection, also when it says that the member's keys are lost.
"""

from __future__ import annotations

from protocols.agreement.order import OPERATOR
from protocols.agreement.second import approver_kid, may_sign
from protocols.agreement.terms import Governance
from protocols.audit.entries import Entry, Fact, Kind
from protocols.audit.writer import LogWriter
from protocols.errors import Refused
from protocols.ids import MemberId
from protocols.signing import SigningKey

ACT, LOST = "remove", "keys-lost"
TAG = "removal"  # the second person signs: tag, cooperative, member, earlier removals of it


def agreed(
    log: LogWriter,
    governance: Governance | None,
    coop: str,
    member: MemberId,
    key: SigningKey | None,
    by: str | None,
) -> bool:
    """Write down who agrees to take a member out; whether all that clause 5 asks for do.

    Args:
        log: the office's; what was agreed before stands there.
        governance: clause 5 of the agreement in force, if there is one.
        coop: the cooperative.
        member: who is to be taken out.
        key: of the second person, when they are the one who acts now.
        by: short id of who acts; None where nobody is registered.

    Raises:
        Refused: a key that clause 5 does not name for this, or one person would be both.
    """
    if governance is None or ACT not in governance.two_person:
        return True
    before = _cut_off(log, member)
    if key is None:
        log.append(Kind.APPROVAL, {"member": member, "act": ACT, "by": OPERATOR, **_person(by)})
        return False
    kid = approver_kid(key.public.hex())
    if may_sign(governance, ACT).get(kid) != key.public:
        raise Refused(
            f"the key {key.public.hex()[:16]} is none of those that clause 5 lets approve a "
            "removal.",
            clauses=("c05",),
            fix="Use the key that the members signed, or propose a new agreement version.",
        )
    if by is not None and not _asked(log, member, since=max(before, default=-1)) - {by}:
        raise Refused(
            f"nobody but {by} has asked for this removal; a second person is another person.",
            clauses=("c05",),
            fix="One asks for it (member remove), another one approves (with --approver-key).",
        )
    signature = key.sign(TAG, coop, member, len(before)).hex()
    facts: dict[str, Fact] = {"member": member, "act": ACT, "by": kid, "signature": signature}
    log.append(Kind.APPROVAL, {**facts, **_person(by)})
    return True


def _cut_off(log: LogWriter, member: MemberId) -> tuple[int, ...]:
    """Numbers of the entries by which the office ended a member's connection, in order."""
    removed = [one.seq for one in log.entries(Kind.REMOVAL) if _about(one, member)]
    lost = [
        one.seq
        for one in log.entries(Kind.MEMBERSHIP)
        if _about(one, member) and one.facts.get("state") == LOST
    ]
    return tuple(sorted(removed + lost))


def _asked(log: LogWriter, member: MemberId, *, since: int) -> frozenset[str]:
    """Persons that asked for the removal of a member after an entry of the log."""
    return frozenset(
        str(one.facts.get("person"))
        for one in log.entries(Kind.APPROVAL)
        if one.seq > since
        and _about(one, member)
        and (one.facts.get("act"), one.facts.get("by")) == (ACT, OPERATOR)
    )


def _about(entry: Entry, member: MemberId) -> bool:
    return entry.facts.get("member") == member


def _person(by: str | None) -> dict[str, Fact]:
    return {} if by is None else {"person": by}
