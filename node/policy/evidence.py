"""Facts from bytes: which signatures verify, who the members are, what the ledgers say.

Nothing is taken from a column of the database that could be established from a signature.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from sqlalchemy import Connection

from node.policy.approvals import answered
from node.policy.budget import Budget, Period
from node.store.documents import AcceptedRosters, Documents, Signatures, SignedAgreements
from node.store.orders import FINISHED, Approvals, Orders
from protocols.agreement.facts import Consent, LedgerFacts, RosterFacts
from protocols.agreement.house import HouseRules
from protocols.agreement.order import COORDINATOR, OPERATOR, Order, ParsedOrder
from protocols.agreement.parse import ParsedAgreement, read_agreement
from protocols.agreement.roster import ParsedRoster, replay
from protocols.agreement.terms import Governance, Privacy
from protocols.canonical import Json, json_bytes, parse_json
from protocols.errors import InputError, Refused
from protocols.ids import MemberId
from protocols.signing import jws_payload, jws_verify

REMEMBERED: Final = 16  # agreements whose signature was verified in this process


@dataclass(frozen=True, slots=True)
class Me:
    """This member: id and identity key."""

    id: MemberId
    public: bytes


def signed_version(connection: Connection, agreement: str, me: Me) -> ParsedAgreement | None:
    """A version that carries my own valid signature over exactly these bytes, or nothing."""
    mine = SignedAgreements(connection).get(agreement)
    document = Documents(connection).get(agreement)
    if mine is None or document is None:
        return None
    parsed = _signed(document.body, mine.jws, me)
    return parsed if parsed is not None and parsed.id == agreement else None


@lru_cache(maxsize=REMEMBERED)
def _signed(body: bytes, jws: bytes, me: Me) -> ParsedAgreement | None:
    """An agreement from its bytes, if my signature is over exactly these; asked at every stage.

    The same bytes have the same answer, so it is remembered under the bytes themselves.
    """
    try:
        parsed = read_agreement(parse_json(body, "agreement"), "agreement")
        signature = parse_json(jws, "agreement")
        jws_verify(signature, {me.id: me.public}, "agreement")
        same = json_bytes(jws_payload(signature, "agreement")) == json_bytes(parsed.document)
    except InputError:
        return None
    return parsed if same else None


def newest_signed_version(connection: Connection, me: Me) -> ParsedAgreement | None:
    """The highest version with my own valid signature, or nothing."""
    for one in reversed(SignedAgreements(connection).list()):
        parsed = signed_version(connection, one.agreement, me)
        if parsed is not None:
            return parsed
    return None


def current_roster(connection: Connection, agreement: ParsedAgreement) -> ParsedRoster | None:
    """The newest accepted epoch, its whole chain of signatures verified again, or nothing."""
    governance = agreement.terms.block("c05", Governance)
    chain = AcceptedRosters(connection).chain()
    if governance is None or not chain:
        return None
    try:
        signed = [parse_json(one.jws, "roster") for one in chain]
        return replay(signed, governance, agreement.agreement.coop)[-1]
    except (InputError, Refused):
        return None


def roster_named(
    connection: Connection, agreement: ParsedAgreement, name: str
) -> ParsedRoster | None:
    """An accepted epoch by its id, the chain verified as in ``current_roster``, or nothing."""
    governance = agreement.terms.block("c05", Governance)
    chain = AcceptedRosters(connection).chain()
    if governance is None or not chain:
        return None
    try:
        signed = [parse_json(one.jws, "roster") for one in chain]
        epochs = replay(signed, governance, agreement.agreement.coop)
    except (InputError, Refused):
        return None
    return next((one for one in epochs if one.id == name), None)


def roster_facts(roster: ParsedRoster | None, now: datetime) -> RosterFacts | None:
    """What a decision needs of a roster: members whose key has not expired."""
    if roster is None:
        return None
    return RosterFacts(roster.id, roster.roster.epoch, frozenset(roster.voters(now)))


def verified_signers(
    connection: Connection, agreement: ParsedAgreement, roster: ParsedRoster | None, me: Me
) -> frozenset[str]:
    """Members whose received signature over this version verifies; a bad one does not count."""
    if roster is None:
        return frozenset()
    keys, good = roster.keys, set()
    parts = Signatures(connection).of(agreement.id)
    mine = SignedAgreements(connection).get(agreement.id)
    if mine is not None:
        parts[me.id] = mine.jws
    for party, raw in parts.items():
        if party not in keys:
            continue
        try:
            part = parse_json(raw, "signature")
            kids = jws_verify(part, {party: keys[party]}, "signature")
            same = json_bytes(jws_payload(part, "signature")) == json_bytes(agreement.document)
        except InputError:
            continue
        if same and kids == (party,):
            good.add(party)
    return frozenset(good)


def signers(signed: Json, document: Json, agreement: ParsedAgreement) -> frozenset[str]:
    """Who of clause 5's keys signed a document: "operator", "coordinator", approvers' keys in hex.

    Nobody at all if any signature on it is a stranger's, stands twice or does not verify, or if it
    is over another document.
    """
    block = agreement.terms.block("c05", Governance)
    if block is None:
        return frozenset()
    names = approver_names(block.approver_keys)
    keys = {name: bytes.fromhex(key) for name, key in names.items()}
    keys[OPERATOR] = bytes.fromhex(block.operator_key)
    keys[COORDINATOR] = bytes.fromhex(block.coordinator_key)
    try:
        kids = jws_verify(signed, keys, "signature")
        if json_bytes(jws_payload(signed, "signature")) != json_bytes(document):
            return frozenset()
    except InputError:
        return frozenset()
    return frozenset(names.get(kid, kid) for kid in kids)


def approver_names(keys: Iterable[str]) -> dict[str, str]:
    """Key id of a signature (``approver:<16 digits>``) -> approver's key in hex.

    Two keys that begin alike cannot be told apart in a signature, so neither counts.
    """
    names: dict[str, list[str]] = {}
    for key in keys:
        names.setdefault(f"approver:{key[:16]}", []).append(key)
    return {name: found[0] for name, found in names.items() if len(found) == 1}


def ledger_facts(
    connection: Connection, agreement: ParsedAgreement, order: Order, now: datetime
) -> LedgerFacts | None:
    """Runs in the period of clause 14 and cohorts of earlier runs, or nothing."""
    period = period_of(agreement)
    return Budget(connection, period).consult(order, now) if period is not None else None


def period_of(agreement: ParsedAgreement) -> Period | None:
    """The period of clause 14."""
    block = agreement.terms.block("c14", Privacy)
    return Period(block.period_days, block.max_runs) if block is not None else None


def answer_to(connection: Connection, order: Order, house: HouseRules) -> tuple[Consent, str]:
    """What a person of this member said about the order, and their role.

    A house rule that asks for every order overrides an earlier "always".
    """
    return answered(
        Approvals(connection),
        order.run,
        order.workload.digest,
        each_time=house.manual_approval,
    )


def earlier_order(connection: Connection, order: ParsedOrder) -> tuple[bool, bool]:
    """Whether another order has this run, and whether the run is over here."""
    known = Orders(connection).get(order.order.run)
    if known is None:
        return False, False
    return known.order_id != order.id, known.state in FINISHED
