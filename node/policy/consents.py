"""What customers said: entered here, counted here, and handed to a run as a ``Standing``.

Every purpose is off until a customer says yes. A purpose on the basis of a legitimate interest
names its assessment and leaves out everybody who objected.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from node.data.stages import Basis, Standing
from node.data.values import customer_key
from node.policy.consent_file import COLUMNS, KEYED, WORDING, Answers, Reading
from node.policy.consent_file import read as read_file
from node.policy.consent_records import Controller, Records
from node.store.consent_sql import Row, stored
from node.store.consents import Consents, Event, LegalBasis, State
from node.store.database import Database
from protocols.audit.consent import leaf
from protocols.errors import Code, InputError, Refused

Journal = Callable[[str, Mapping[str, object]], None]
BY_HAND: Final = "coop-node"
NO_FACTS: Final[Mapping[str, object]] = {}
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")


@dataclass(frozen=True, slots=True)
class ScopeStatus:
    """One purpose in figures.

    Args:
        scope: the purpose.
        basis: why lines may be read; ``Basis.NONE`` where none of a customer are.
        counts: customers by the state that counts for each.
        wordings: grants by the text that the customer saw; empty name: not known.
        history: every legal basis that was decided, oldest first.
    """

    scope: str
    basis: LegalBasis
    counts: Mapping[State, int]
    wordings: Mapping[str, int]
    history: tuple[LegalBasis, ...] = ()

    @property
    def without_wording(self) -> int:
        """Grants that do not say which text the customer saw."""
        return self.wordings.get("", 0)


@dataclass(frozen=True, slots=True)
class ConsentDesk:
    """The ledger's one door. Needs no membership: customers may be asked before joining.

    Args:
        database: the node's.
        secret: this member's own, for customer keys.
        scopes: purposes of the installed workloads that read customers' lines; all off until a
            customer says yes.
        journal: appends one entry (kind, facts); counts only, never who.
        clock: aware UTC time.
        restored_at: when the keys came back from a backup, or None.
        others: purposes of which some read no customer's lines: a customer who says no is left
            out of their sums even so, and a legal basis may be recorded.
        max_age_days: a yes that is older does not stand until it is given again; None: for ever.
    """

    database: Database
    secret: bytes = field(repr=False)
    scopes: frozenset[str]
    journal: Journal
    clock: Callable[[], datetime]
    restored_at: datetime | None = None
    others: frozenset[str] = frozenset()
    max_age_days: int | None = None

    @property
    def purposes(self) -> frozenset[str]:
        """Every purpose about which a customer can say something here."""
        return self.scopes | self.others

    # --- entering ---------------------------------------------------------------------------

    def preview(self, path: Path, *, timezone: str = "UTC", wording: str = "") -> Answers:
        """Read a file of answers; writes nothing.

        Args:
            path: the CSV file.
            timezone: the shop's IANA zone.
            wording: SHA-256 of the text behind grants that name none.

        Raises:
            InputError: a line cannot be used; names it.
        """
        return read_file(
            path,
            Reading(self.secret, self.purposes, _zone(timezone), self.clock(), wording),
        )

    def record(self, answers: Answers) -> int:
        """Enter all answers of a file, or none; returns how many were new."""
        now = self.clock()
        with self.database.write() as connection:
            ledger = Consents(connection)
            added = ledger.add_rows(answers.rows, now)
            ledger.note_import(answers.sha256, len(answers.rows), added, now)
            position = ledger.position()
        self.journal("consent", {"file": answers.sha256, "events": added, "position": position})
        return added

    def forbid(self, customer: str, scope: str, state: State) -> bool:
        """Enter one customer's no; it counts before the next run reads its first row.

        A yes is imported, with the text that the customer saw.

        Returns:
            Whether anything about this customer and purpose was known before.

        Raises:
            InputError: no such purpose, or no identifier, or this is a yes.
        """
        self._require_scope(scope)
        return self.forbid_all(customer, (scope,), state) > 0

    def forbid_all(
        self,
        customer: str,
        scopes: Iterable[str],
        state: State,
        *,
        source: str = BY_HAND,
        facts: Mapping[str, object] = NO_FACTS,
    ) -> int:
        """``forbid`` for several purposes in one transaction.

        Args:
            customer: the number as the till prints it.
            scopes: purposes of this node.
            state: a way of saying no.
            source: where it was said, a short name.
            facts: what else should stand in the journal.

        Returns:
            For how many of the purposes the customer had said something before.
        """
        if state is State.GRANTED:
            raise InputError(
                "a yes is imported from a file.", fix="coop-node consent import FILE.csv"
            )
        key = customer_key(self.secret, customer)
        if key is None:
            raise InputError("the customer is empty.", where="customer", code=Code.USAGE)
        now, known, wanted = self.clock(), 0, sorted(scopes)
        with self.database.write() as connection:
            ledger = Consents(connection)
            made = []
            for scope in wanted:
                before = ledger.newest(scope, leaf(scope, key))
                known += before is not None
                # never earlier than what was said before, even if a clock was set back
                at = now if before is None else max(now, before.at)
                made.append(Event(key, scope, state, at, "", source))
            added = ledger.add(made, now)
            position = ledger.position()
        told: dict[str, object] = {"state": state.value, "events": added, "position": position}
        told |= {"scope": wanted[0]} if len(wanted) == 1 else {"scopes": len(wanted)}
        self.journal("consent", {**told, **facts})
        return known

    def enter(
        self,
        rows: Sequence[Row],
        facts: Mapping[str, object] = NO_FACTS,
        *,
        just_said: Collection[int] = (),
    ) -> tuple[int, int]:
        """Enter answers that were read before, all or none: (how many were new, position).

        On the disk when this returns.

        Args:
            rows: the answers.
            facts: what else should stand in the journal.
            just_said: places of those that came without an instant: a no among them counts from
                now on, even if a clock was set back since the yes.
        """
        now = self.clock()
        with self.database.write() as connection:
            ledger = Consents(connection)
            listed = list(rows)
            for place in just_said:
                key, scope, state, at, wording, source = listed[place]
                before = ledger.newest(scope, leaf(scope, key.hex()))
                if before is not None and state != State.GRANTED:
                    listed[place] = (key, scope, state, max(at, stored(before.at)), wording, source)
            added = ledger.add_rows(listed, now)
            position = ledger.position()
        told = {"received": len(rows), "events": added, "position": position}
        self.journal("consent", {**told, **facts})
        return added, position

    def counts(self, scope: str) -> Mapping[State, int]:
        """Customers by the answer that counts; InputError if there is no such purpose."""
        self._require_scope(scope)
        with self.database.read() as connection:
            return Consents(connection).counts(scope)

    def set_basis(self, scope: str, basis: Basis, assessment: str) -> None:
        """Say why lines may be read for a purpose; counts for the next run.

        Raises:
            InputError: a legitimate interest without the reference of its assessment, or consent
                with one, or no such purpose.
        """
        self._require_scope(scope)
        if basis is Basis.LEGITIMATE_INTEREST and not _REFERENCE.fullmatch(assessment):
            raise InputError(
                "a legitimate interest needs an assessment: a short reference without blanks.",
                where="--assessment",
                fix=f"coop-node consent basis {scope} {basis.value} --assessment LIA-2026-01",
            )
        if basis is Basis.CONSENT and assessment:
            raise InputError("consent needs no assessment.", where="--assessment", code=Code.USAGE)
        with self.database.write() as connection:
            Consents(connection).set_basis(scope, basis.value, assessment, self.clock())
        facts = {"scope": scope, "basis": basis.value}
        self.journal("consent", {**facts, "assessment": assessment} if assessment else facts)

    # --- reading ----------------------------------------------------------------------------

    def standing(self, scope: str, now: datetime) -> Standing:
        """Who stands in a purpose at this instant, in one consistent view of the ledger.

        Raises:
            Refused: the node came back from a backup and answers given since are unknown.
            LocalError: the newest answers are not those of the ledger.
        """
        with self.database.read() as connection:
            ledger = Consents(connection)
            legal, position = self._basis(ledger, scope), ledger.position()
            basis = Basis(legal.basis)
            if basis is not Basis.NONE or position:  # a shop that never asked has nothing to lose
                self._require_whole(ledger)
            granted = basis is Basis.CONSENT
            oldest = self._oldest(now) if granted else None
            text = stored(oldest) if oldest is not None else ""
            ordered = ledger.standing(scope, granted=granted, oldest=text)
        return Standing.of(scope, basis, legal.assessment, now, position, ordered, oldest)

    def holds(self, standing: Standing, now: datetime) -> bool:
        """Whether a standing would be read the same now; asks for one number, not for customers."""
        with self.database.read() as connection:
            ledger = Consents(connection)
            legal, position = self._basis(ledger, standing.scope), ledger.position()
        oldest = self._oldest(now) if legal.basis == Basis.CONSENT else None
        return (position, legal.basis, legal.assessment, oldest) == (
            standing.position,
            standing.basis,
            standing.assessment,
            standing.oldest,
        )

    def _basis(self, ledger: Consents, scope: str) -> LegalBasis:
        legal = ledger.basis(scope)
        undecided = legal.at is None and scope not in self.scopes
        return replace(legal, basis=Basis.NONE.value) if undecided else legal

    def _oldest(self, now: datetime) -> datetime | None:
        if self.max_age_days is None:
            return None
        # whole days, so that who stands does not change with every second
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        return day - timedelta(days=self.max_age_days)

    def has_lapsed(self, state: State, at: datetime) -> bool:
        """Whether an answer is a yes that does not stand any more for its age."""
        oldest = self._oldest(self.clock())
        return state is State.GRANTED and oldest is not None and at < oldest

    def status(self) -> tuple[ScopeStatus, ...]:
        """Every purpose of this node, by name."""
        with self.database.read() as connection:
            ledger = Consents(connection)
            return tuple(
                ScopeStatus(
                    scope,
                    self._basis(ledger, scope),
                    ledger.counts(scope),
                    ledger.wordings(scope),
                    ledger.bases(scope),
                )
                for scope in sorted(self.purposes | set(ledger.scopes()))
            )

    def verify(self) -> int:
        """Hold what counts now against every event; how many events there are.

        Raises:
            LocalError: something differs.
        """
        with self.database.read() as connection:
            return Consents(connection).verify()

    def export(self) -> Iterator[str]:
        """The whole ledger as lines of CSV, without line ends; ``preview`` reads it again."""
        yield ",".join((KEYED, *COLUMNS[1:], WORDING, "recorded_at"))
        with self.database.read() as connection:
            for key, *cells in Consents(connection).rows():  # no cell holds a comma or a quote
                yield ",".join((key.hex(), *cells))

    # --- erasure ----------------------------------------------------------------------------

    def records(self, controller: Controller) -> Records:
        """Consent records and receipts, as of now."""
        bases = {one.scope: one.basis.basis for one in self.status()}
        return Records(self.database, controller, bases, self._oldest(self.clock()))

    def forget(self, customer_key: str, tombstone: bytes) -> int:
        """Put a tombstone where a person's key stood in the ledger; in every purpose it is a no.

        The leaves of the person stay in the ledger and in what runs have read: hashes under
        which it can be verified later, and under which older files do not bring the person back.

        Args:
            customer_key: 64 hex digits.
            tombstone: 32 random bytes.

        Returns:
            How many events had the key; none of them has it any more.
        """
        now = self.clock()
        with self.database.write() as connection:
            changed = Consents(connection).forget(customer_key, tombstone, self.purposes, now)
            position = Consents(connection).position()
        self.journal("consent", {"what": "forgotten", "events": changed, "position": position})
        self.database.empty_log()  # the old pages, out of the write-ahead log too
        return changed

    def is_whole(self) -> bool:
        """Whether every answer is known: False after a restore until a file was imported."""
        with self.database.read() as connection:
            return self._whole(Consents(connection))

    def _whole(self, ledger: Consents) -> bool:
        if self.restored_at is None:
            return True
        last = ledger.last_import()
        return last is not None and last > self.restored_at

    def _require_whole(self, ledger: Consents) -> None:
        if not self._whole(ledger):
            raise Refused(
                "this node came back from a backup; what customers withdrew since the backup was "
                "made is unknown here.",
                fix="Import the answers as your till knows them now: coop-node consent import "
                "FILE.csv",
            )

    def _require_scope(self, scope: str) -> None:
        if scope not in self.purposes:
            known = ", ".join(sorted(self.purposes)) or "none"
            raise InputError(
                f"{scope[:40]!r} is not a purpose of this node.",
                where="scope",
                fix=f"Purposes here: {known}.",
            )


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(
            f"{name!r} is not a time zone; expected a name such as Europe/Paris.",
            where="--timezone",
        ) from error
