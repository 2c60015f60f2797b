"""The roster: who the members are, as a chain of epochs that the members sign (SPEC.md 4).

The roster is the defence against invented members: an order's cohort counts only if a quorum
of the members of the epoch before has signed the epoch that names it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from protocols.agreement.base import MAX_MEMBERS, Document, Hex64, One, Title, Utc, utc_text
from protocols.agreement.glyphs import skeleton
from protocols.agreement.parse import validated
from protocols.agreement.terms import Governance
from protocols.canonical import Json, json_id, parse_json
from protocols.errors import Code, Refused
from protocols.ids import MemberId, RosterId
from protocols.signing import check_encryption_key, identity_of, jws_payload, jws_verify

KIND = "datacoop/roster"
CLAUSE = "c01"
CLOCK_SKEW = timedelta(minutes=5)


class Member(Document):
    """One party. ``id`` is derived from ``public_key``; ``member`` votes and trains.

    ``encryption_key`` (X25519) is what releases are sealed to. ``replaces`` names the entry of
    the same business in the epoch before, when its identity key is new; else null.
    """

    id: Hex64
    name: Title
    legal_id: Title
    trade: Title
    region: Title
    public_key: Hex64
    encryption_key: Hex64
    replaces: Hex64 | None
    not_after: Utc
    roles: Annotated[tuple[Literal["member", "observer"], ...], Field(min_length=1, max_length=2)]

    @model_validator(mode="after")
    def _key_gives_id(self) -> Member:
        if identity_of(bytes.fromhex(self.public_key)) != self.id:
            raise ValueError(f"the id of {self.name!r} does not follow from its public key")
        check_encryption_key(bytes.fromhex(self.encryption_key), f"member {self.name!r}")
        if self.replaces == self.id:
            raise ValueError(f"the entry of {self.name!r} replaces itself")
        return self


class Roster(Document):
    """One epoch: members in ascending order of id, each business once."""

    kind: Literal["datacoop/roster"]
    v: One
    coop: Hex64
    epoch: Annotated[int, Field(ge=1, le=1_000_000)]
    prev: Hex64 | None
    issued: Utc
    members: Annotated[tuple[Member, ...], Field(min_length=1, max_length=MAX_MEMBERS)]

    @model_validator(mode="after")
    def _each_once(self) -> Roster:
        ids = [member.id for member in self.members]
        if ids != sorted(set(ids)):
            raise ValueError("members stand out of order or twice; expected ascending ids")
        legal = [skeleton(member.legal_id) for member in self.members]  # as people see them
        if len(set(legal)) != len(legal):
            at = next(at for at, one in enumerate(legal) if one in legal[:at])
            twice = self.members[at].legal_id
            raise ValueError(f"the legal id {twice!r} stands twice; a business counts once")
        sealed_to = [member.encryption_key for member in self.members]
        if len(set(sealed_to)) != len(sealed_to):
            raise ValueError("two members have the same encryption key; each has its own")
        if (self.epoch == 1) != (self.prev is None):
            raise ValueError("epoch 1 has no prev; every later epoch names the one before")
        if self.prev is None and any(member.replaces for member in self.members):
            raise ValueError("in epoch 1 there is nobody before whom an entry could replace")
        return self


@dataclass(frozen=True, slots=True)
class Departure:
    """Who left with which epoch, and when that epoch was proposed."""

    member: MemberId
    epoch: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Difference:
    """What one epoch changes of the one before; entries as they are in the new epoch, and those
    that are gone as they were."""

    joined: tuple[Member, ...] = ()
    renewed: tuple[tuple[Member, Member], ...] = ()  # old entry, new entry
    changed: tuple[tuple[Member, Member], ...] = ()  # the same key, something else differs
    gone: tuple[Member, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.joined or self.renewed or self.changed or self.gone)


@dataclass(frozen=True, slots=True)
class ParsedRoster:
    """A valid epoch, its signatures not yet looked at."""

    id: RosterId
    document: Json
    roster: Roster

    @property
    def keys(self) -> dict[str, bytes]:
        """Member id -> Ed25519 public key, of everybody listed."""
        return {one.id: bytes.fromhex(one.public_key) for one in self.roster.members}

    @property
    def members(self) -> dict[str, Member]:
        """Member id -> entry."""
        return {one.id: one for one in self.roster.members}

    def voters(self, now: datetime | None = None) -> frozenset[MemberId]:
        """Members that vote and train; with ``now``, only those whose key has not expired."""
        return frozenset(
            MemberId(one.id)
            for one in self.roster.members
            if "member" in one.roles and (now is None or now <= one.not_after)
        )


def make_roster(
    coop: str,
    members: Sequence[Member],
    previous: ParsedRoster | None = None,
    *,
    issued: datetime,
) -> dict[str, object]:
    """The document of the next epoch, members sorted; nobody has signed it yet.

    Who stood in the epoch before replaces nobody any more.
    """
    before = previous.keys if previous else {}
    members = [
        one.model_copy(update={"replaces": None}) if one.id in before else one for one in members
    ]
    document: dict[str, object] = {
        "kind": KIND,
        "v": 1,
        "coop": coop,
        "epoch": previous.roster.epoch + 1 if previous else 1,
        "prev": previous.id if previous else None,
        "issued": utc_text(issued),
        "members": [
            one.model_dump(mode="json", exclude={"not_after"})
            | {"not_after": utc_text(one.not_after)}
            for one in sorted(members, key=lambda one: one.id)
        ],
    }
    parsed = read_roster(document, "new roster")
    if previous is not None:
        _continues(parsed, previous)
    return document


def parse_roster(text: bytes, where: str) -> ParsedRoster:
    """A roster from bytes; InputError with line and column, or naming the field."""
    return read_roster(parse_json(text, where), where)


def read_roster(document: Json, where: str) -> ParsedRoster:
    """A roster from a JSON object. Its chain and signatures are checked by ``verify_*``."""
    return ParsedRoster(RosterId(json_id(document)), document, validated(Roster, document, where))


def verify_first(
    signed: Json, governance: Governance, coop: str, me: MemberId, now: datetime
) -> ParsedRoster:
    """Accept epoch 1: signed by a quorum of its own members, and I am one of them.

    Raises:
        InputError: malformed, a stranger's signature, or one that does not verify.
        Refused: not epoch 1, another cooperative, an expired key, no quorum, or I am not in it.
    """
    parsed, signers = _verified(signed, None)
    _same_coop(parsed, coop)
    if parsed.roster.epoch != 1:
        raise _refused(
            f"the first roster must be epoch 1, this is epoch {parsed.roster.epoch}.",
            "Ask the operator for all epochs from 1 on.",
        )
    if me not in parsed.voters():
        raise _refused("you are not a member in this roster.", "Ask the operator to enrol you.")
    _not_expired(parsed, now)
    _not_of_tomorrow(parsed, now)
    _quorum(parsed, parsed.voters(), signers, governance)
    return parsed


def verify_next(
    signed: Json, previous: ParsedRoster, governance: Governance, now: datetime
) -> ParsedRoster:
    """Accept epoch e+1: it continues ``previous`` and a quorum of *its* members signed.

    Newcomers may sign too; only members of the epoch before count. Keys that have expired at
    ``now`` do not count.

    Raises:
        InputError: malformed, a stranger's signature, or one that does not verify.
        Refused: wrong epoch, wrong prev, another cooperative, an expired key, no quorum.
    """
    parsed = _link(signed, previous, governance, previous.voters(now))
    _not_expired(parsed, now)
    _not_of_tomorrow(parsed, now)
    return parsed


def verify_chain(
    chain: Sequence[Json], governance: Governance, coop: str, me: MemberId, now: datetime
) -> tuple[ParsedRoster, ...]:
    """Accept all epochs from 1 to the one that names me, for a member that joins later.

    Keys in earlier epochs may have expired since; only the last epoch must be fresh.

    Raises:
        InputError, Refused: as ``verify_first`` and ``verify_next``.
    """
    parsed = replay(chain, governance, coop)
    _not_expired(parsed[-1], now)
    _not_of_tomorrow(parsed[-1], now)
    if me not in parsed[-1].voters():
        raise _refused("you are not a member in the last roster.", "Ask the operator.")
    return parsed


def replay(chain: Sequence[Json], governance: Governance, coop: str) -> tuple[ParsedRoster, ...]:
    """Verify every link of a chain from epoch 1, whoever asks and whenever.

    Raises:
        InputError, Refused: as ``verify_first`` and ``verify_next``, but not for expired keys.
    """
    if not chain:
        raise _refused("no roster was given.", "Ask the operator for the roster.")
    first, signers = _verified(chain[0], None)
    _same_coop(first, coop)
    if first.roster.epoch != 1:
        raise _refused(f"the chain starts at epoch {first.roster.epoch}, not at 1.")
    _quorum(first, first.voters(), signers, governance)
    parsed = [first]
    for link in chain[1:]:
        parsed.append(_link(link, parsed[-1], governance, parsed[-1].voters()))
    return tuple(parsed)


def difference(parsed: ParsedRoster, previous: ParsedRoster | None) -> Difference:
    """What ``parsed`` changes of ``previous``; of nothing, everybody has joined."""
    before = previous.members if previous else {}
    now = parsed.members
    renewed = {one.replaces for one in now.values() if one.replaces in before}
    return Difference(
        joined=tuple(
            one for one in now.values() if one.id not in before and one.replaces not in before
        ),
        renewed=tuple(
            (before[one.replaces], one) for one in now.values() if one.replaces in before
        ),
        changed=tuple(
            (before[one.id], one)
            for one in now.values()
            if one.id in before
            and one != before[one.id].model_copy(update={"replaces": one.replaces})
        ),
        gone=tuple(one for one in before.values() if one.id not in now and one.id not in renewed),
    )


def departures(chain: Sequence[ParsedRoster]) -> dict[MemberId, Departure]:
    """Every member that a chain of accepted epochs lost, by its id at that time.

    A renewed key is no departure; when that business leaves later, its earlier ids leave with it.
    Somebody who left and came back with the same key is a member again and stands here no more.
    ``chain`` is in order of the epochs, verified before.
    """
    found: dict[MemberId, Departure] = {}
    earlier: dict[str, tuple[str, ...]] = {}  # id -> earlier ids of the same business
    for previous, parsed in pairwise(chain):
        changes = difference(parsed, previous)
        for old, new in changes.renewed:
            earlier[new.id] = (old.id, *earlier.get(old.id, ()))
        for one in changes.gone:
            for name in map(MemberId, (one.id, *earlier.get(one.id, ()))):
                found[name] = Departure(name, parsed.roster.epoch, parsed.roster.issued)
        for one in parsed.roster.members:
            for name in map(MemberId, (one.id, *earlier.get(one.id, ()))):
                found.pop(name, None)
    return found


def successors(chain: Sequence[ParsedRoster]) -> dict[MemberId, MemberId]:
    """Old id -> the id that the same business has in the newest epoch it stands in."""
    found: dict[MemberId, MemberId] = {}
    for parsed in reversed(chain):
        for one in parsed.roster.members:
            if one.replaces is not None:
                newest = found.get(MemberId(one.id), MemberId(one.id))
                found[MemberId(one.replaces)] = newest
    return found


def _link(
    signed: Json, previous: ParsedRoster, governance: Governance, voters: frozenset[MemberId]
) -> ParsedRoster:
    parsed, signers = _verified(signed, previous)
    _same_coop(parsed, previous.roster.coop)
    if parsed.roster.epoch != previous.roster.epoch + 1:
        raise _refused(
            f"roster epoch {parsed.roster.epoch} does not follow epoch {previous.roster.epoch}."
        )
    if parsed.roster.prev != previous.id:
        raise _refused(
            f"roster epoch {parsed.roster.epoch} continues {str(parsed.roster.prev)[:16]}, "
            f"the epoch that you accepted is {previous.id[:16]}.",
            "Somebody shows different rosters to different members: call the others.",
        )
    _continues(parsed, previous)
    _quorum(previous, voters, signers, governance)
    return parsed


def _continues(parsed: ParsedRoster, previous: ParsedRoster) -> None:
    """Rules between two epochs: time goes on, and a business changes its key in the open."""
    if parsed.roster.issued < previous.roster.issued:
        raise _refused(
            f"roster epoch {parsed.roster.epoch} is dated {utc_text(parsed.roster.issued)}, "
            f"before epoch {previous.roster.epoch} ({utc_text(previous.roster.issued)})."
        )
    before, now = previous.members, parsed.members
    gone = {one.legal_id: one for one in before.values() if one.id not in now}
    for one in now.values():
        if one.id in before:
            if one.replaces is not None:
                raise _refused(
                    f"the entry of {one.name!r} stood in the epoch before; it replaces nobody."
                )
            continue
        same = gone.get(one.legal_id)
        named = before.get(one.replaces) if one.replaces is not None else None
        if one.replaces is None and same is not None:
            raise _refused(
                f"{one.name!r} has the legal id {one.legal_id!r} of {same.name!r} "
                f"({same.id[:16]}), which is gone, and does not say that it replaces it.",
                "A business with a new key names its old entry: member invite --replaces.",
            )
        if one.replaces is not None and (named is None or named is not same):
            raise _refused(
                f"the entry of {one.name!r} replaces {one.replaces[:16]}, which is not an entry of "
                "the same business that stood in the epoch before and is gone now."
            )


def _verified(signed: Json, previous: ParsedRoster | None) -> tuple[ParsedRoster, frozenset[str]]:
    where = "roster"
    parsed = read_roster(jws_payload(signed, where), where)
    keys = parsed.keys | (previous.keys if previous else {})
    return parsed, frozenset(jws_verify(signed, keys, where))


def _same_coop(parsed: ParsedRoster, coop: str) -> None:
    if parsed.roster.coop != coop:
        raise _refused(
            f"the roster is of cooperative {parsed.roster.coop[:16]}, yours is {coop[:16]}.",
            code=Code.TAMPERED,
        )


def _not_expired(parsed: ParsedRoster, now: datetime) -> None:
    for one in parsed.roster.members:
        if now > one.not_after:
            raise _refused(
                f"the key of {one.name!r} expired at {one.not_after.isoformat()}.",
                "That member renews its key before the roster is signed.",
            )


def _not_of_tomorrow(parsed: ParsedRoster, now: datetime) -> None:
    if parsed.roster.issued > now + CLOCK_SKEW:
        raise _refused(
            f"roster epoch {parsed.roster.epoch} is dated {utc_text(parsed.roster.issued)} and it "
            f"is {utc_text(now)}.",
            "Check the clock of this computer.",
        )


def _quorum(
    electorate: ParsedRoster,
    voters: frozenset[MemberId],
    signers: frozenset[str],
    governance: Governance,
) -> None:
    needed = governance.quorum_roster.needed(len(electorate.voters()))
    count = len(voters & signers)
    if count < needed:
        raise Refused(
            f"{count} members of epoch {electorate.roster.epoch} have signed the roster, "
            f"{needed} of {len(electorate.voters())} are needed.",
            clauses=("c05",),
            fix="More members read and sign it first.",
        )


def _refused(problem: str, fix: str = "", code: Code | None = None) -> Refused:
    return Refused(problem, clauses=(CLAUSE,), fix=fix, code=code)
