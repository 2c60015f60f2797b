"""What became of released results here: taken back, used how often, who has left since.

The use gate asks for it; the terms themselves stand on the signed card. A revocation is verified
from its bytes before it is kept, and what is kept is never undone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from node.policy.evidence import Me, newest_signed_version, signed_version
from node.store.database import Database
from node.store.documents import AcceptedRoster, AcceptedRosters
from node.store.releases import Releases, Revocations, StoredRevocation, Uses
from protocols.agreement.facts import ReleaseFacts
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.revocation import ParsedRevocation, read_revocation, verify_revocation
from protocols.agreement.roster import Roster, read_roster
from protocols.agreement.terms import Governance
from protocols.canonical import Json, json_bytes, parse_json
from protocols.errors import InputError, Refused
from protocols.signing import jws_payload
from protocols.useterms import read_use

Journal = Callable[[str, Mapping[str, object]], None]
WHERE = "revocation"


@dataclass(frozen=True, slots=True)
class Results:
    """Released results of one member.

    Args:
        database: the node's store.
        coop: the cooperative, 64 hex digits.
        me: this member.
        journal: appends one entry and returns once it is on the disk.
        clock: aware UTC now.
    """

    database: Database
    coop: str
    me: Me
    journal: Journal
    clock: Callable[[], datetime]

    def take_back(self, body: bytes) -> str:
        """Verify a revocation and keep it; the model's id. Receiving it twice changes nothing.

        Raises:
            InputError: malformed, or not signed by those whom clause 5 of an agreement that this
                member signed names.
            Refused: this member has signed no agreement yet, or a signature is missing.
        """
        signed = parse_json(body, WHERE)
        found = read_revocation(jws_payload(signed, WHERE), WHERE)
        with self.database.read() as db:
            if Revocations(db).get(found.revocation.model) is not None:
                return found.revocation.model
            versions = self._versions(db, found.revocation.model)
        parsed = self._verified(signed, versions)
        one = parsed.revocation
        facts = {"model": one.model, "run": one.run, "revocation": parsed.id}
        self.journal("revocation", facts)
        with self.database.write() as db:
            Revocations(db).add(
                StoredRevocation(one.model, one.reason, json_bytes(signed), self.clock())
            )
        return one.model

    def facts(self, model: str, card: Json) -> ReleaseFacts | None:
        """The use terms on a card and what happened since; None if the card has none.

        ``uses_today`` does not count the use that is asked about.
        """
        try:
            stated = read_use(card, "release")
        except InputError:
            return None
        with self.database.read() as db:
            revoked = Revocations(db).get(model)
            left, left_at = departures(stated.contributors, AcceptedRosters(db).chain())
            uses = Uses(db).on(model, self.clock())
        return replace(
            stated,
            revoked=revoked.reason if revoked is not None else "",
            left=left,
            left_at=left_at,
            uses_today=uses,
        )

    def count_use(self, model: str) -> int:
        """Count one more use of a result before it is shown; how many there were today before."""
        with self.database.write() as db:
            before = Uses(db).on(model, self.clock())
            Uses(db).add(model, self.clock())
        return before

    def return_use(self, model: str) -> None:
        """The use that was counted last did not happen."""
        with self.database.write() as db:
            Uses(db).add(model, self.clock(), -1)

    def revoked(self, model: str) -> str:
        """Why a model was taken back; empty if it was not."""
        with self.database.read() as db:
            found = Revocations(db).get(model)
        return found.reason if found is not None else ""

    def _versions(self, db: Connection, model: str) -> tuple[ParsedAgreement, ...]:
        """Whose clause 5 may take this model back: the newest version that this member signed,
        and the one under which the model was released here."""
        newest = newest_signed_version(db, self.me)
        known = Releases(db).get(model)
        found = [newest] if newest is not None else []
        if known is not None:
            card = jws_payload(parse_json(known.card, "release"), "release")
            older = signed_version(db, str(card.get("agreement")), self.me)
            found += [older] if older is not None and older not in found else []
        return tuple(found)

    def _verified(self, signed: Json, versions: Sequence[ParsedAgreement]) -> ParsedRevocation:
        problem: InputError | Refused | None = None
        for version in versions:
            governance = version.terms.block("c05", Governance)
            if governance is None:
                continue
            try:
                return verify_revocation(signed, governance, coop=self.coop, where=WHERE)
            except (InputError, Refused) as error:
                problem = problem or error
        raise problem or Refused(
            "who may take a model back stands in the agreement, which is not signed yet.",
            clauses=("c05",),
            fix="Read and sign the agreement first: coop-node agreement show.",
        )


def departures(
    contributors: frozenset[str], chain: Sequence[AcceptedRoster]
) -> tuple[frozenset[str], datetime | None]:
    """Contributors that are no members any more, and when the first of them was seen to leave.

    A business that renewed its identity key (``replaces``) has not left.

    Args:
        contributors: member ids.
        chain: accepted epochs, oldest first.
    """
    heirs: dict[str, str] = {}
    seen: frozenset[str] = frozenset()
    first: dict[str, datetime] = {}
    for epoch in chain:
        roster = _roster(epoch)
        heirs |= {one.replaces: one.id for one in roster.members if one.replaces is not None}
        here = frozenset(one.id for one in roster.members if "member" in one.roles)
        seen |= here
        for one in contributors & seen:
            if _now_called(one, heirs) in here:
                first.pop(one, None)
            else:
                first.setdefault(one, epoch.accepted_at)
    if chain:  # a contributor that no accepted epoch ever named: nothing says that it is here
        for one in contributors - seen:
            first[one] = chain[-1].accepted_at
    return frozenset(first), min(first.values(), default=None)


def _now_called(member: str, heirs: Mapping[str, str]) -> str:
    for _ in range(len(heirs)):  # a chain of renewals; two that name each other end it too
        if member not in heirs:
            break
        member = heirs[member]
    return member


def _roster(epoch: AcceptedRoster) -> Roster:
    return read_roster(jws_payload(parse_json(epoch.jws, "roster"), "roster"), "roster").roster
