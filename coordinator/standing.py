"""What the office finds out about itself before it asks the launch gate.

Each fact is read from where it is true: the configuration, the certificate on the disk, the
database, the folders. What was not looked at stays None, and the gate says no to it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from importlib.metadata import version

from coordinator import costs, upkeep
from coordinator.log.witness import fresh
from coordinator.members.life import away, ended
from coordinator.plans import Standing
from coordinator.store import instants
from coordinator.store.documents import Documents
from coordinator.store.incidents import Incidents
from coordinator.store.members import Members, Status
from coordinator.store.runs import Answer, RunMembers
from coordinator.wiring import House
from protocols.agreement.facts import AuditFacts, OfficeFacts
from protocols.agreement.incident import Incident, frozen, read_incident
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.terms import Audit, Costs
from protocols.canonical import parse_json
from protocols.signing import jws_payload

INCIDENT = "incident"
QUALITY = "c09"
ASK_AGAIN = timedelta(days=1)  # only the member's node knows when its data is good again


def standing_of(
    house: House, agreement: ParsedAgreement, *, until: datetime | None = None, without: str = ""
) -> Standing:
    """Everything about the office that the launch gate asks for.

    Args:
        until: the order's deadline: who leaves before it would refuse. Else now.
        without: a run that is left out of what earlier ones cost.
    """
    now = house.clock()
    with house.database.read() as db:
        terminated = ended(db, agreement.id) is not None
    return Standing(
        office=office_facts(house, agreement, now, until=until or now, without=without),
        audit=audit_facts(house, agreement, now),
        frozen=frozen(steps(house)),
        newest_seen=_newest(house),
        terminated=terminated,
    )


def office_facts(
    house: House, agreement: ParsedAgreement, now: datetime, *, until: datetime, without: str = ""
) -> OfficeFacts:
    """What the coordinator knows of itself."""
    settings = house.settings
    with house.database.read() as db:
        listed = Incidents(db).list(open_only=True)
        members = [one.id for one in Members(db).list(Status.ACTIVE)]
        gone = away(db, members, now) | away(db, members, until)
        answers = RunMembers(db).last().values()
    return OfficeFacts(
        legal_id=house.legal_id,
        country=settings.country,
        sub_processors=frozenset(settings.sub_processors),
        certificate_days=upkeep.certificate_days(house),
        software=version("datacoop"),
        runs_paid_in_period=_runs_paid(house, agreement, now, without),
        open_incidents=len(listed),
        overdue_notices=sum(one.overdue(now) for one in listed),
        oldest_update_days=_days(upkeep.oldest_update(house.home), now),
        oldest_release_days=_days(upkeep.oldest_release(house.releases), now),
        away=gone,
        # This version passes no customer's request on: customers ask the member that serves them.
        overdue_requests=0,
        quality_unknown=frozenset(
            one.member
            for one in answers
            if one.answer is Answer.REFUSED
            and now - one.at < ASK_AGAIN
            and any(reason.split(" ", 1)[0].strip(":") == QUALITY for reason in one.reasons)
        ),
    )


def audit_facts(house: House, agreement: ParsedAgreement, now: datetime) -> AuditFacts:
    """What is known about this office's own log: who countersigned it lately enough."""
    block = agreement.terms.block("c24", Audit)
    if block is None:
        return AuditFacts()
    return AuditFacts(
        witnesses=fresh(house.database, now, timedelta(hours=block.max_checkpoint_age_hours))
    )


def steps(house: House) -> tuple[Incident, ...]:
    """Every step of every incident that this office signed, oldest first."""
    with house.database.read() as db:
        listed = Documents(db).list(INCIDENT)
    return tuple(
        read_incident(jws_payload(parse_json(one.body, INCIDENT), INCIDENT), INCIDENT).incident
        for one in listed
    )


def _runs_paid(house: House, agreement: ParsedAgreement, now: datetime, without: str) -> int | None:
    block = agreement.terms.block("c19", Costs)
    if block is None:
        return None
    since = now - timedelta(days=block.period_days)
    with house.database.read() as db:
        listed = costs.charges(db, without=without)
    return len(costs.between(listed, since, now))


def _newest(house: House) -> datetime | None:
    with house.database.read() as db:
        return instants.newest(db)


def _days(oldest: datetime | None, now: datetime) -> float:
    """Age in days; 0 if there is nothing."""
    return 0.0 if oldest is None else max(0.0, (now - oldest) / timedelta(days=1))
