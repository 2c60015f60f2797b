"""Puts the office together: folders, keys, database, log. Commands and the server start here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coordinator import config
from coordinator.log.append import AuditLog
from coordinator.members.agreements import Agreements
from coordinator.members.enrolment import Enrolment
from coordinator.members.life import Life
from coordinator.members.pki import (
    Office,
    Places,
    load_coordinator_key,
    load_office,
    load_operator_key,
    places,
)
from coordinator.rounds.ending import end_run
from coordinator.store.database import Database
from coordinator.store.documents import Documents, Signatures
from coordinator.store.runs import Run, RunMembers, Runs, State
from protocols.agreement.order import Order, ParsedOrder, read_order
from protocols.agreement.parse import ParsedAgreement, read_agreement
from protocols.agreement.roster import parse_roster
from protocols.audit.entries import Kind
from protocols.audit.writer import Facts
from protocols.canonical import parse_json
from protocols.errors import Code, LocalError
from protocols.ids import MemberId
from protocols.signing import SigningKey, jws_merge, jws_payload

if TYPE_CHECKING:
    from coordinator.release.publishing import ReleaseDesk
    from coordinator.settings import CoordinatorSettings
    from protocols.privacy.budget import Line

ORDER = "order"


def utc_now() -> datetime:
    """The clock of this process; everything inside takes it as an argument."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class House:
    """One coordinator's home, opened."""

    settings: CoordinatorSettings
    where: Places
    office: Office
    database: Database
    enrolment: Enrolment
    agreements: Agreements
    key: SigningKey = field(repr=False)
    clock: Callable[[], datetime] = utc_now

    @property
    def home(self) -> Path:
        """The folder."""
        return self.where.home

    @property
    def legal_id(self) -> str:
        """Of the business that runs this office; its name where nobody set a register number."""
        return self.settings.legal_id or self.office.public.name

    @property
    def life(self) -> Life:
        """What members say about themselves and about the end of an agreement."""
        return Life(self.database, self.where, self.office.public.coop, self.clock)

    def propose_roster(self, log: AuditLog) -> tuple[str, ...]:
        """Propose the next epoch if members changed; what was proposed, written to the log."""
        done = self.agreements.propose(None)
        for one in done:
            name = one.partition(" ")[2]
            log.append(Kind.ROSTER, {"roster": name, "epoch": self.epoch_of(name)})
        return done

    def log(self) -> AuditLog:
        """The audit log, opened; several processes may append."""
        return AuditLog(self.home / "audit", self.key, self.clock)

    def operator_key(self) -> SigningKey:
        """The key that signs orders; on another disk if the configuration says so."""
        return load_operator_key(self.where)

    def run_folder(self, run: str) -> Path:
        """Where one run's files lie."""
        return self.home / "runs" / run

    @property
    def releases(self) -> Path:
        """Where release bundles lie."""
        return self.home / "releases"

    def release_desk(self, log: AuditLog) -> ReleaseDesk:
        """What happens to releases after they were made."""
        from coordinator.release.publishing import ReleaseDesk

        return ReleaseDesk(
            self.database, self.releases, self.key, log, self.agreements.roster_chain, self.clock
        )

    def earlier_orders(self, *, without: str = "") -> tuple[tuple[datetime, Order], ...]:
        """Orders posted so far with their instants, oldest first; ``without`` leaves a run out.

        One that waits for approval counts, so that no second one takes its place; one that was
        given up before anybody was asked does not.
        """
        with self.database.read() as db:
            known = {
                str(run.order_id): run.created_at
                for run in Runs(db).list()
                if run.run != without and (not run.over or RunMembers(db).of(run.run))
            }
            found = [(known[d.id], d) for d in Documents(db).list(ORDER) if d.id in known]
        return tuple(
            (at, read_order(jws_payload(parse_json(d.body, "order"), "order"), "order").order)
            for at, d in found
        )

    def spent(self, *, without: str = "") -> tuple[Line, ...]:
        """What earlier runs cost in privacy; as ``coordinator.spending.lines``."""
        from coordinator import spending

        with self.database.read() as db:
            return spending.lines(db, without=without)

    def agreement(self) -> ParsedAgreement | None:
        """The version in force, or None before the first."""
        try:
            signed, _ = self.agreements.in_force()
        except LocalError:
            return None
        return read_agreement(jws_payload(signed, "agreement"), "agreement")

    def epoch_of(self, roster: str) -> int:
        """The epoch of a roster that was proposed here."""
        with self.database.read() as db:
            document = Documents(db).get(roster)
        if document is None:
            raise LocalError("there is no such roster.", where=roster[:16], code=Code.NOT_FOUND)
        return parse_roster(document.body, "roster").roster.epoch

    def order_of(self, run: Run) -> tuple[dict[str, Any], ParsedOrder]:
        """The signed order of a run, with every approver's signature."""
        with self.database.read() as db:
            document = Documents(db).get(run.order_id)
            approvals = Signatures(db).of(run.order_id)
        if document is None:
            raise LocalError("the order of this run is missing.", where=run.run)
        parts = [parse_json(one.jws, "approval") for one in approvals]
        signed = jws_merge(parse_json(document.body, "order"), *parts)
        return signed, read_order(jws_payload(signed, "order"), "order")

    def abort(self, run: Run, detail: str, journal: Callable[[Kind, Facts], object]) -> bool:
        """End a run now: members forget the round in hand, nothing is released; False if it is
        over already."""
        journal(Kind.RUN, {"run": run.run, "state": State.ABORTED.value})
        _, order = self.order_of(run)
        cohort = [MemberId(one) for one in order.order.cohort]
        with self.database.write() as db:
            if Runs(db).require(run.run).over:
                return False
            end_run(db, run.run, State.ABORTED, detail, cohort, self.clock())
        return True

    def close(self) -> None:
        """Give the database back."""
        self.database.close()


def locate(home: Path | None) -> tuple[Path, CoordinatorSettings, Places]:
    """Folder, settings and places; works before ``init``."""
    folder = config.resolve_home(home)
    settings = config.load(folder)
    return folder, settings, places(folder, settings.ca_dir, settings.operator_dir)


def open_house(home: Path | None) -> House:
    """Open a coordinator's home.

    Raises:
        LocalError: there is no cooperative here yet.
    """
    folder, settings, where = locate(home)
    if not where.coop_file.exists():
        raise LocalError(
            "no cooperative lives here yet.",
            code=Code.NOT_ENROLLED,
            where=str(folder),
            fix="Run 'coop-coordinator init --name NAME --host HOST', or name the right folder"
            " with --home.",
        )
    office = load_office(where).reached_at(settings.host, settings.join_port, settings.link_port)
    database = Database.open(where.database)
    return House(
        settings=settings,
        where=where,
        office=office,
        database=database,
        enrolment=Enrolment(database, where, office),
        agreements=Agreements(database, office.public.coop, utc_now),
        key=load_coordinator_key(where),
    )
