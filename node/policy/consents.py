"""What customers said: entered here, counted here, and handed to a run as a ``Standing``.

Every purpose is off until a customer says yes. A purpose on the basis of a legitimate interest
names its assessment and leaves out everybody who objected.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from node.data.stages import Basis, Standing
from node.data.values import customer_key
from node.policy.consent_file import COLUMNS, KEYED, WORDING, Answers, Reading
from node.policy.consent_file import read as read_file
from node.store.consents import Consents, Event, LegalBasis, State
from node.store.database import Database
from protocols.errors import Code, InputError, Refused

Journal = Callable[[str, Mapping[str, object]], None]
BY_HAND: Final = "coop-node"
_REFERENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")


@dataclass(frozen=True, slots=True)
class ScopeStatus:
    """One purpose in figures.

    Args:
        scope: the purpose.
        basis: why lines may be read.
        counts: customers by the state that counts for each.
        without_wording: grants that do not say which text the customer saw.
    """

    scope: str
    basis: LegalBasis
    counts: Mapping[State, int]
    without_wording: int


@dataclass(frozen=True, slots=True)
class ConsentDesk:
    """The ledger's one door. Needs no membership: customers may be asked before joining.

    Args:
        database: the node's.
        secret: this member's own, for customer keys.
        scopes: purposes of the installed workloads that read customers' lines.
        journal: appends one entry (kind, facts); counts only, never who.
        clock: aware UTC time.
        restored_at: when the keys came back from a backup, or None.
        others: purposes that read no customer's lines, for which a legal basis may be recorded.
    """

    database: Database
    secret: bytes = field(repr=False)
    scopes: frozenset[str]
    journal: Journal
    clock: Callable[[], datetime]
    restored_at: datetime | None = None
    others: frozenset[str] = frozenset()

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
            Reading(self.secret, self.scopes, _zone(timezone), self.clock(), wording),
        )

    def record(self, answers: Answers) -> int:
        """Enter all answers of a file, or none; returns how many were new."""
        now = self.clock()
        with self.database.write() as connection:
            ledger = Consents(connection)
            added = ledger.add(answers.events, now)
            ledger.note_import(answers.sha256, len(answers.events), added, now)
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
        if state is State.GRANTED:
            raise InputError(
                "a yes is imported from a file.", fix="coop-node consent import FILE.csv"
            )
        key = customer_key(self.secret, customer)
        if key is None:
            raise InputError("the customer is empty.", where="customer", code=Code.USAGE)
        now = self.clock()
        with self.database.write() as connection:
            ledger = Consents(connection)
            before = ledger.last_instant(key, scope)
            # never earlier than what was said before, even if a clock was set back
            at = now if before is None else max(now, before)
            added = ledger.add([Event(key, scope, state, at, "", BY_HAND)], now)
            position = ledger.position()
        facts = {"scope": scope, "state": state.value, "events": added, "position": position}
        self.journal("consent", facts)
        return before is not None

    def set_basis(self, scope: str, basis: Basis, assessment: str) -> None:
        """Say why lines may be read for a purpose; counts for the next run.

        Raises:
            InputError: a legitimate interest without the reference of its assessment, or consent
                with one, or no such purpose.
        """
        if scope not in self.others:
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
        """
        with self.database.read() as connection:
            ledger = Consents(connection)
            self._require_whole(ledger)
            legal, position = ledger.basis(scope), ledger.position()
            latest = ledger.latest(scope, position)
        basis = Basis(legal.basis)
        granted = basis is Basis.CONSENT
        named = frozenset(k for k, s in latest.items() if (s is State.GRANTED) is granted)
        return Standing(scope, basis, legal.assessment, now, position, named)

    def status(self) -> tuple[ScopeStatus, ...]:
        """Every purpose of this node, by name."""
        with self.database.read() as connection:
            ledger = Consents(connection)
            return tuple(
                ScopeStatus(
                    scope,
                    ledger.basis(scope),
                    Counter(ledger.latest(scope).values()),
                    ledger.without_wording(scope),
                )
                for scope in sorted(self.scopes | set(ledger.scopes()))
            )

    def export(self) -> Iterator[str]:
        """The whole ledger as lines of CSV, without line ends; ``preview`` reads it again."""
        header = (KEYED, *COLUMNS[1:], WORDING, "recorded_at")
        yield ",".join(header)
        with self.database.read() as connection:
            for event, recorded_at in Consents(connection).events():
                row = io.StringIO()
                csv.writer(row, lineterminator="").writerow(
                    (
                        event.customer_key,
                        event.scope,
                        event.state.value,
                        event.at.isoformat(),
                        event.source,
                        event.wording,
                        recorded_at.isoformat(),
                    )
                )
                yield row.getvalue()

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
        if scope not in self.scopes:
            known = ", ".join(sorted(self.scopes)) or "none"
            raise InputError(
                f"{scope[:40]!r} is not a purpose for which this node reads customers' lines.",
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
