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
from node.store.documents import AcceptedRosters
from node.store.releases import Releases, Revocations, StoredRevocation, Uses
from protocols.agreement.facts import ReleaseFacts
from protocols.agreement.order import COORDINATOR
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.revocation import ParsedRevocation, read_revocation, verify_revocation
from protocols.agreement.roster import ParsedRoster, departures, read_roster, successors
from protocols.agreement.second import may_sign
from protocols.agreement.terms import Governance
from protocols.canonical import Json, json_bytes, parse_json
from protocols.errors import Code, InputError, Refused
from protocols.ids import MemberId
from protocols.signing import jws_payload, jws_verify
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
        """Verify a revocation and keep it; the model's id, or nothing if it was kept before.

        Raises:
            InputError: malformed, or not signed by those whom clause 5 of an agreement that this
                member signed names.
            Refused: this member has signed no agreement yet, or a signature is missing.
        """
        signed = parse_json(body, WHERE)
        found = read_revocation(jws_payload(signed, WHERE), WHERE)
        with self.database.read() as db:
            if Revocations(db).get(found.revocation.model) is not None:
                return ""
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

    def check_offer(self, signed: Json) -> None:
        """A card that came as a letter is signed by the coordinator, if this member has signed
        the version that it is under; under any other it cannot be pulled.

        Raises:
            InputError: somebody else's signature, or one that does not verify.
        """
        agreement = jws_payload(signed, "release").get("agreement")
        with self.database.read() as db:
            version = signed_version(db, str(agreement), self.me)
        if version is not None:
            card_signers(signed, version)

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
            uses = Uses(db).on(model, self.clock())
            known = since_then(stated, accepted(db))
        reason = revoked.reason if revoked is not None else ""
        return replace(known, revoked=reason, uses_today=uses)

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


def card_signers(signed: Json, version: ParsedAgreement) -> tuple[str, ...]:
    """Who signed the card of a release, the coordinator among them, as clause 5 names them.

    Raises:
        InputError: somebody else's signature, none of the coordinator, or one that does not verify.
    """
    governance = version.terms.block("c05", Governance)
    kids = jws_verify(signed, may_sign(governance, "release") if governance else {}, "release")
    if COORDINATOR not in kids:
        raise InputError(
            "the coordinator has not signed this card.", code=Code.TAMPERED, where="release"
        )
    return kids


def since_then(stated: ReleaseFacts, chain: Sequence[ParsedRoster]) -> ReleaseFacts:
    """The terms on a card as the list of members stands now.

    Whoever renewed a key is the same business: entitled as before, and not gone. A contributor
    that no accepted epoch names counts as gone: nothing says that it is a member.

    Args:
        stated: from the card.
        chain: accepted epochs, oldest first.
    """
    heirs, gone = successors(chain), departures(chain)
    ever = {name for epoch in chain for name in epoch.members}
    left = {one: gone[MemberId(one)].at for one in stated.contributors & gone.keys()}
    left |= {one: chain[-1].roster.issued for one in stated.contributors - ever if chain}
    now_called = {str(heirs[MemberId(one)]) for one in stated.recipients & heirs.keys()}
    return replace(
        stated,
        recipients=stated.recipients | now_called,
        left=frozenset(left),
        left_at=min(left.values(), default=None),
    )


def accepted(db: Connection) -> tuple[ParsedRoster, ...]:
    """The epochs that this node accepted, oldest first; they were verified then."""
    return tuple(
        read_roster(jws_payload(parse_json(one.jws, "roster"), "roster"), "roster")
        for one in AcceptedRosters(db).chain()
    )
