"""Which of the versions that this member signed counts: the newest that has come into force.

A version that is signed here and waits for the others changes nothing: not whose orders are obeyed,
not who may change the list of members, not whose letters freeze or end anything.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from node.policy.evidence import Me, signed_version, verified_signers
from node.store.documents import AcceptedRosters, Documents, SignedAgreements
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.roster import ParsedRoster, read_roster
from protocols.agreement.terms import Governance, Term
from protocols.canonical import parse_json
from protocols.signing import jws_payload


def signed_versions(connection: Connection, me: Me) -> tuple[ParsedAgreement, ...]:
    """Every version with my own valid signature, the newest first."""
    listed = [
        signed_version(connection, one.agreement, me)
        for one in reversed(SignedAgreements(connection).list())
    ]
    return tuple(one for one in listed if one is not None)


def came_into_force(
    connection: Connection, version: ParsedAgreement, me: Me, now: datetime
) -> bool:
    """Whether a version has started and once had the quorum of its clause 5.

    Counted over the epoch that was accepted when the version came, and over every later one: who
    joins after a version came into force does not bring back the one before.
    """
    governance = version.terms.block("c05", Governance)
    term = version.terms.block("c30", Term)
    if governance is None or term is None or now < term.starts:
        return False
    for epoch in _epochs_since(connection, version):
        voters = epoch.voters()
        needed = max(1, governance.quorum_agreement.needed(len(voters)))
        if len(voters & verified_signers(connection, version, epoch, me)) >= needed:
            return True
    return False


def version_in_force(connection: Connection, me: Me, now: datetime) -> ParsedAgreement | None:
    """The newest version of mine that has come into force, or nothing."""
    found = signed_versions(connection, me)
    return next((one for one in found if came_into_force(connection, one, me, now)), None)


def governing(connection: Connection, me: Me, now: datetime) -> ParsedAgreement | None:
    """Whose clause 5 counts here: the version in force; before there is any, the first signed."""
    found = version_in_force(connection, me, now)
    if found is not None:
        return found
    signed = signed_versions(connection, me)
    return signed[-1] if signed else None


def _epochs_since(connection: Connection, version: ParsedAgreement) -> tuple[ParsedRoster, ...]:
    """Accepted epochs from the one that stood when the version came here; verified then."""
    document = Documents(connection).get(version.id)
    chain = AcceptedRosters(connection).chain()
    if document is None or not chain:
        return ()
    before = [at for at, one in enumerate(chain) if one.accepted_at < document.received_at]
    first = before[-1] if before else 0
    return tuple(
        read_roster(jws_payload(parse_json(one.jws, "roster"), "roster"), "roster")
        for one in chain[first:]
    )
