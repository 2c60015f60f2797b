"""Clauses about results after a run: benefit, licence, confidentiality, keeping, membership.

SPEC.md section 6.2; the rules of ``clauses_parties`` hold here too. At the release gate the facts
are what the card would say, at the use gate what the signed card says and what happened since.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from protocols.agreement.facts import Facts, MemberFacts, Reason, ReleaseFacts, Request
from protocols.agreement.saying import Says, day, minute, no, short, some, unknown
from protocols.agreement.terms import (
    Benefit,
    Confidentiality,
    Ip,
    Membership,
    Retention,
    Term,
    Terms,
)
from protocols.permit import Gate

RESULTS = (Gate.RELEASE, Gate.USE)
SECOND = timedelta(seconds=1)  # a card has whole seconds


def benefit(terms: Terms, request: Request, facts: Facts) -> Says:
    """c18: a result goes to everybody who is entitled, and to nobody else."""
    block, release = terms.block("c18", Benefit), facts.release
    if block is None or request.gate not in RESULTS:
        return
    if release is None:
        yield unknown("c18", "who gets this result")
    elif request.gate is Gate.USE:
        yield from _entitled(block, release, facts.mine)
    elif block.recipients == "members":
        members = facts.roster.members if facts.roster is not None else frozenset[str]()
        yield from _everybody(release, members)
    else:
        riders = release.recipients - release.contributors
        if riders or not release.recipients:
            yield no(
                "c18",
                f"{len(release.recipients)} recipients, {len(riders)} without a contribution",
                f"the {len(release.contributors)} contributors",
                f"the result would go to {len(release.recipients)} members, {len(riders)} of "
                "whom have no update in it; agreed are only those who have",
            )


def _entitled(block: Benefit, release: ReleaseFacts, mine: MemberFacts | None) -> Says:
    if mine is None or mine.id not in release.recipients:
        yield no(
            "c18",
            "not a recipient",
            f"one of {len(release.recipients)} recipients",
            f"this member is not among the {len(release.recipients)} that the result was released "
            f"for ({block.recipients})",
        )


def _everybody(release: ReleaseFacts, members: frozenset[str]) -> Says:
    left_out, strangers = members - release.recipients, release.recipients - members
    if left_out or strangers:
        yield no(
            "c18",
            f"{len(release.recipients)} recipients",
            f"all {len(members)} members",
            f"the result would go to {len(release.recipients)} recipients: {len(left_out)} of "
            f"{len(members)} members would not get it, {len(strangers)} are not members",
        )


def ip(terms: Terms, request: Request, facts: Facts) -> Says:
    """c20: the agreed licence, purposes and dates; not revoked, not past its date."""
    block, release = terms.block("c20", Ip), facts.release
    if block is None or request.gate not in RESULTS:
        return
    if release is None:
        yield unknown("c20", "the licence of this result")
        return
    if release.licence != block.licence:
        yield no(
            "c20",
            short(release.licence),
            block.licence,
            f"the result carries the licence {short(release.licence)!r}, agreed is "
            f"{block.licence!r}",
        )
    if release.purposes != set(block.uses):
        uses = ", ".join(sorted(block.uses))
        yield no(
            "c20",
            some(release.purposes) or "none",
            uses,
            f"the result says that it may be used for {some(release.purposes) or 'nothing'}, "
            f"agreed is {uses}",
        )
    yield from _expiry(_agreed_end(terms, block, release.created), release)
    if request.gate is Gate.USE:
        yield from _usable(request, release, facts.now)


def _agreed_end(terms: Terms, block: Ip, created: datetime) -> datetime | None:
    """The earliest of the ends that clauses 20, 28 and 30 set."""
    retention, term = terms.block("c28", Retention), terms.block("c30", Term)
    if retention is None or term is None:
        return None
    days = timedelta(days=min(block.use_days, retention.models_days))
    try:
        return min(created + days, term.ends)
    except OverflowError:  # a date after the year 9999
        return term.ends


def _expiry(agreed: datetime | None, release: ReleaseFacts) -> Says:
    if agreed is not None and abs(release.expires - agreed) > SECOND:
        yield no(
            "c20",
            minute(release.expires),
            minute(agreed),
            f"the result says that it may be used until {minute(release.expires)} UTC, agreed is "
            f"until {minute(agreed)} UTC",
        )


def _usable(request: Request, release: ReleaseFacts, now: datetime) -> Says:
    if release.revoked:
        yield no(
            "c20",
            "revoked",
            "not revoked",
            f"the result was revoked: {short(release.revoked)}",
        )
    if now >= release.expires:
        yield no(
            "c20",
            day(now),
            day(release.expires),
            f"the result could be used until {minute(release.expires)} UTC, it is {minute(now)} "
            "UTC; use a newer one",
        )
    if request.purpose not in release.purposes:
        allowed = some(release.purposes) or "nothing"
        yield no(
            "c20",
            short(request.purpose),
            allowed,
            f"the result may not be used for {short(request.purpose)!r}, only for {allowed}",
        )


def confidentiality(terms: Terms, request: Request, facts: Facts) -> Says:
    """c21: a result is not asked so often that somebody could look behind it."""
    block = terms.block("c21", Confidentiality)
    if block is None or request.gate is not Gate.USE:
        return
    used = facts.release.uses_today if facts.release is not None else None
    if used is None:
        yield unknown("c21", "how often this result was used today")
    elif not 0 <= used < block.max_uses_per_day:
        yield no(
            "c21",
            used,
            block.max_uses_per_day,
            f"this result was used {used} times today on this node, {block.max_uses_per_day} "
            "times a day are agreed",
        )


def pull_refused(terms: Terms, pulls_today: int | None) -> Reason | None:
    """c21 at the coordinator: whether a member may not fetch one more result today, and why.

    ``pulls_today`` does not count the pull that is asked about; None, not counted, refuses.
    """
    block = terms.block("c21", Confidentiality)
    most = block.max_pulls_per_day if block is not None else 0
    if pulls_today is None:
        return unknown("c21", "how many results this member fetched today")
    if 0 <= pulls_today < most:
        return None
    return no(
        "c21",
        pulls_today,
        most,
        f"this member fetched results {pulls_today} times today, {most} times a day are agreed",
    )


def retention(terms: Terms, request: Request, facts: Facts) -> Says:
    """c28: nothing is kept longer than agreed, on the side that asks."""
    block = terms.block("c28", Retention)
    if block is None or request.gate is Gate.RELEASE:
        return
    if request.gate is Gate.LAUNCH:
        yield from _kept_by_office(block, facts)
        return
    days = facts.mine.oldest_result_days if facts.mine is not None else None
    yield from _age("the oldest result on this node", days, block.models_days)
    if request.gate is Gate.USE:
        made = facts.release.created if facts.release is not None else None
        age = (facts.now - made) / timedelta(days=1) if made is not None else None
        yield from _age("this result", age, block.models_days, least=-1.0)


def _kept_by_office(block: Retention, facts: Facts) -> Says:
    office = facts.office
    update = office.oldest_update_days if office is not None else None
    hours = update * 24 if update is not None else None
    yield from _age("the oldest hidden update", hours, block.updates_hours, unit="hours")
    release = office.oldest_release_days if office is not None else None
    yield from _age("the oldest published result", release, block.models_days)


def _age(
    what: str, age: float | None, most: int, *, unit: str = "days", least: float = 0.0
) -> Says:
    if age is None:
        yield unknown("c28", f"the age of {what}")
    elif not least <= age <= most:  # also not a number
        found = f"{age:.1f} {unit}" if not abs(age) > 1e9 else f"an unknown number of {unit}"
        yield no(
            "c28",
            found,
            f"{most} {unit}",
            f"{what} is {found} old, at most {most} {unit} are agreed; delete what is older",
        )


def membership(terms: Terms, request: Request, facts: Facts) -> Says:
    """c29: whoever paused or left is left alone; models that a leaver is in, as agreed."""
    block = terms.block("c29", Membership)
    if block is None:
        return
    if request.gate is Gate.LAUNCH:
        yield from _away(request, facts)
    elif request.gate is Gate.ADMIT:
        yield from _pausing(facts.mine, request.order.deadline)
    else:
        if request.gate is Gate.USE:
            yield from _gone(facts.mine, facts.now)
        yield from _past_models(block, facts)


def _away(request: Request, facts: Facts) -> Says:
    away = facts.office.away if facts.office is not None else None
    if away is None:
        yield unknown("c29", "which members have paused or are leaving")
        return
    asked = away & set(request.order.cohort)
    if asked:
        yield no(
            "c29",
            len(asked),
            0,
            f"{len(asked)} members of the cohort have paused or are leaving, 0 may be asked: "
            f"{some({one[:16] for one in asked})}",
        )


def _pausing(mine: MemberFacts | None, deadline: datetime) -> Says:
    if mine is None:
        yield unknown("c29", "whether this member has paused")
        return
    if mine.suspended_since is not None:
        since = minute(mine.suspended_since)
        yield no("c29", f"paused since {since}", "not paused", f"this member paused at {since} UTC")
    if mine.leaving_at is not None and mine.leaving_at < deadline:
        yield no(
            "c29",
            minute(deadline),
            minute(mine.leaving_at),
            f"this member leaves at {minute(mine.leaving_at)} UTC, the run may last until "
            f"{minute(deadline)} UTC",
        )


def _gone(mine: MemberFacts | None, now: datetime) -> Says:
    if mine is not None and mine.leaving_at is not None and mine.leaving_at <= now:
        yield no(
            "c29",
            day(now),
            day(mine.leaving_at),
            f"this member left at {minute(mine.leaving_at)} UTC; results are for members",
        )


def _past_models(block: Membership, facts: Facts) -> Says:
    release = facts.release
    if release is None:
        yield unknown("c29", "whether somebody left whose data this result learned from")
        return
    if not release.left or block.past_models == "keep":
        return
    who = f"{len(release.left)} members that helped to make this result have left"
    if block.past_models == "retire":
        yield no("c29", len(release.left), 0, f"{who}; agreed is that it is used no longer")
        return
    if release.left_at is None:
        yield unknown("c29", "when the first member left whose data this result learned from")
        return
    gone = facts.now - release.left_at
    if gone > timedelta(days=block.retrain_days):
        yield no(
            "c29",
            f"{gone.days} days",
            f"{block.retrain_days} days",
            f"{who}, the first {gone.days} days ago; agreed is that a new one without them takes "
            f"its place within {block.retrain_days} days",
        )
