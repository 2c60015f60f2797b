"""Puts the node together: folder, keys, store, journal, gate. Commands and the daemon start here.

Light to import: torch, pandas and flwr come in only where they are used.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import node
from node import config, keys, membership, vault_key
from node.data.stages import CUSTOMER_COLUMNS
from node.membership import Membership
from node.policy import house_rules, incidents, renewal
from node.policy.agreements import Agreements
from node.policy.approvals import ApprovalDesk
from node.policy.consents import ConsentDesk
from node.policy.evidence import Me
from node.policy.facts import Surroundings, oldest_release_days
from node.policy.gate import Gate
from node.policy.journal import Journal
from node.policy.ledgers import open_whole, require_whole
from node.policy.life import Life
from node.policy.people import Actor, PeopleDesk
from node.policy.results import Results
from node.policy.run_books import RunBooks
from node.policy.witnessed import Witnessed
from node.store.database import Database
from protocols.audit.entries import Kind
from protocols.errors import CoopError
from protocols.workloads import catalogue

if TYPE_CHECKING:
    from node.data.vault import Vault
    from node.settings import NodeSettings


def utc_now() -> datetime:
    """The clock of this process; everything inside takes it as an argument."""
    return datetime.now(UTC)


def installed_source(path: str) -> bytes:
    """Bytes of an installed source file, by its path from the packages' common folder."""
    return (Path(node.__file__).resolve().parent.parent / path).read_bytes()


def customer_purposes() -> frozenset[str]:
    """The purposes for which installed workloads read customers' lines."""
    return frozenset(
        one.purpose for one in catalogue.CATALOGUE.values() if CUSTOMER_COLUMNS & set(one.columns)
    )


@dataclass(frozen=True, slots=True)
class Home:
    """A node with keys; it may or may not have joined a cooperative."""

    folder: Path
    settings: NodeSettings
    keys: keys.NodeKeys
    log: Journal = field(repr=False)
    clock: Callable[[], datetime] = utc_now
    acting: Actor | None = None  # the person behind a command, for the journal

    def journal(self, kind: str, facts: Mapping[str, object]) -> None:
        """Append one entry, with the role that acts; on the disk when this returns."""
        who = {} if self.acting is None else self.acting.facts()
        entry: dict[str, Any] = {**facts, **who}
        self.log.append(Kind(kind), entry)

    def database(self) -> Database:
        """The node's ledgers; LocalError if they are gone or damaged, never from zero again."""
        return open_whole(self.folder, keys.restored_at(self.folder))

    def people(self, database: Database) -> PeopleDesk:
        """Who may do what here."""
        return PeopleDesk(database, self.journal, self.clock, pause=time.sleep)

    def consents(self, database: Database) -> ConsentDesk:
        """What customers said about each purpose."""
        return ConsentDesk(
            database,
            secret=self.keys.customer_secret,
            scopes=customer_purposes(),
            journal=self.journal,
            clock=self.clock,
            restored_at=keys.restored_at(self.folder),
            others=frozenset(one.purpose for one in catalogue.CATALOGUE.values()),
            max_age_days=self._consent_max_age_days(),
        )

    def _consent_max_age_days(self) -> int | None:
        """The stricter of the setting and the house rule; None if neither is set."""
        rules = house_rules.load(self.folder / house_rules.FILE_NAME)
        given = (self.settings.consent_max_age_days, rules.consent_max_age_days)
        return min((days for days in given if days is not None), default=None)

    def run_books(self, database: Database) -> RunBooks:
        """What runs have read, kept and proven."""
        return RunBooks(database, self.folder, self.journal)

    def vault(self) -> Vault:
        """The member's rows."""
        from node.data import categories
        from node.data.vault import Vault

        shared = categories.applied(self.folder)
        return Vault(self.folder / "vault", self.vault_key(), shared)

    def vault_key(self) -> bytes:
        """The key of the vault as it is now; another process may have changed it meanwhile.

        Finishes a change of the key that a crash interrupted.
        """
        folder = self.folder / keys.KEYS
        found = vault_key.load(folder, sealed=(self.folder / keys.SEALED).exists())
        coming = vault_key.pending(folder)
        if coming is not None:
            from node.data.layout import Layout

            later = Layout(self.folder / "vault", coming)
            if later.opens():
                later.alone(lambda: vault_key.finish(folder, found))
                return coming
        return found.read()

    @property
    def retention_days(self) -> dict[str, int]:
        """How many days each table of the vault is kept: ``purge --by-retention`` removes more."""
        return {
            "sales_line": self.settings.retention_days_sales_line,
            "customer": self.settings.retention_days_customer,
            "stock": self.settings.retention_days_stock,
            "quarantine": self.settings.retention_days_quarantine,
        }

    @property
    def cache(self) -> Path:
        """Trained baselines and other things that can be made again."""
        return self.folder / "cache"

    def run_folder(self, run: str) -> Path:
        """Where one run's files lie."""
        return self.folder / "runs" / run

    @property
    def models(self) -> Path:
        """Where pulled releases lie."""
        return self.folder / "models"


@dataclass(frozen=True, slots=True)
class Member:
    """A node that has joined: its cooperative, store and gate."""

    home: Home
    membership: Membership
    database: Database
    agreements: Agreements
    approvals: ApprovalDesk
    gate: Gate
    witnessed: Witnessed  # the coordinator's log, as far as this node has seen it

    @property
    def results(self) -> Results:
        """What became of released results here."""
        me = Me(self.membership.member, self.home.keys.identity.public)
        coop = self.membership.public.coop
        return Results(self.database, coop, me, self.home.journal, self.home.clock)

    @property
    def keepers(self) -> dict[str, Callable[[bytes], str]]:
        """Kind of a letter -> who keeps it and says what it is called; for the mailroom."""
        home, public = self.home, self.membership.public
        me = Me(self.membership.member, home.keys.identity.public)
        return {
            incidents.LETTER: incidents.keeper(
                self.database, public.coop, me, home.journal, home.clock, public.operator_key
            ),
            "termination": self.life.receive_end,
            "succession": lambda body: renewal.receive(home.folder, body, home.clock()),
        }

    @property
    def around(self) -> Surroundings:
        """What the gate asks about this node besides its database."""
        return surroundings(self.home, self.witnessed)

    def require_whole(self) -> tuple[int, int]:
        """Hold the ledgers against the journal: runs and spent rounds; LocalError if damaged."""
        folder = self.home.folder
        return require_whole(self.database, folder, keys.restored_at(folder))

    @property
    def life(self) -> Life:
        """The desk for suspending, resuming, leaving and ending an agreement."""
        home, coop = self.home, self.membership.public.coop
        return Life(self.database, coop, home.keys.identity, home.journal, home.clock)

    def close(self) -> None:
        """Give the database back."""
        self.database.close()


def open_home(given: Path | None, acting: Actor | None = None) -> Home:
    """Open a node's folder; LocalError if ``init`` has not been run."""
    folder = config.resolve_home(given)
    settings = config.load(folder)
    own = keys.load(folder)
    log = Journal(folder / "audit", own.journal, utc_now)
    return Home(folder, settings, own, log, acting=acting)


def open_member(given: Path | None, acting: Actor | None = None) -> Member:
    """Open a node that has joined; LocalError if it has not, or its ledgers are damaged."""
    home = open_home(given, acting)
    known = membership.load(home.folder)
    database = home.database()
    witnessed = Witnessed(
        home.folder / "audit",
        home.keys.identity,
        known.public.coordinator_key,
        home.journal,
        home.clock,
    )
    return Member(
        home=home,
        membership=known,
        database=database,
        agreements=Agreements(
            database, known.public.coop, home.keys.identity, home.journal, home.clock
        ),
        approvals=ApprovalDesk(database, home.journal, home.clock, acting),
        gate=Gate(
            database,
            public=home.keys.identity.public,
            installed=catalogue.digests(installed_source),
            journal=home.journal,
            clock=home.clock,
            house=house_rules.load(home.folder / "house_rules.toml"),
            restored_at=keys.restored_at(home.folder),
            around=surroundings(home, witnessed),
        ),
        witnessed=witnessed,
    )


def surroundings(home: Home, witnessed: Witnessed) -> Surroundings:
    """What the gate asks about this node besides its database, each time anew."""
    return Surroundings(
        software=version("datacoop"),
        certificate_days=lambda: certificate_days(home.folder),
        newest_entry=home.log.newest_at,
        audit=witnessed.facts,
        oldest_result_days=oldest_release_days,
    )


def certificate_days(folder: Path) -> int | None:
    """The lifetime in days of this node's TLS certificate; None if it cannot be read."""
    try:
        own = membership.own_certificate(folder)
    except CoopError:
        return None
    return (own.not_valid_after_utc - own.not_valid_before_utc).days
