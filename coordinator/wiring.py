"""Puts the office together: folders, keys, database, log. Commands and the server start here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from coordinator import config
from coordinator.log.append import AuditLog
from coordinator.members.agreements import Agreements
from coordinator.members.enrolment import Enrolment
from coordinator.members.pki import (
    Office,
    Places,
    load_coordinator_key,
    load_office,
    load_operator_key,
    places,
)
from coordinator.store.database import Database
from protocols.errors import Code, LocalError
from protocols.signing import SigningKey

if TYPE_CHECKING:
    from coordinator.settings import CoordinatorSettings

SOFTWARE = "datacoop 0.1.0"


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
            fix="Run 'coop-coordinator init --name NAME', or name the right folder with --home.",
        )
    office = load_office(where)
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
