"""The documents of a small cooperative: real keys, a signed agreement, a roster, an order.

Members are called m1, m2, ... in the order of their ids, so that a test can be read aloud.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import small_coop
from coordinator.release.models import Source
from protocols.agreement.order import ParsedOrder, stage_timeouts
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.roster import ParsedRoster, make_roster, read_roster
from protocols.canonical import Json
from protocols.course import Course, chart
from protocols.evidence import Pins
from protocols.ids import MemberId, RosterId
from protocols.signing import SigningKey, identity_of, jws_sign
from sim_shops import SETTINGS
from small_coop import COORDINATOR, OPERATOR

RUN = "ab" * 16


@dataclass(frozen=True)
class Papers:
    """Everything that was signed before a run starts."""

    keys: Mapping[str, SigningKey] = field(repr=False)  # by name: "m1", "m2", ...
    agreement: ParsedAgreement
    signed_agreement: Json = field(repr=False)
    roster: ParsedRoster
    signed_roster: Json = field(repr=False)
    order: ParsedOrder
    signed_order: Json = field(repr=False)
    course: Course

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.keys)

    def member(self, name: str) -> MemberId:
        return identity_of(self.keys[name].public)

    def raw(self, name: str) -> bytes:
        return bytes.fromhex(self.member(name))

    def name_of(self, member: MemberId | bytes) -> str:
        hexed = member.hex() if isinstance(member, bytes) else member
        return next(name for name in self.keys if self.member(name) == hexed)

    def source(self, records: tuple[bytes, ...] = ()) -> Source:
        return Source(self.signed_agreement, [self.signed_roster], self.signed_order, records)

    @property
    def pins(self) -> Pins:
        return Pins(self.agreement.id, RosterId(self.roster.id), COORDINATOR.public)


@cache
def keys_of(count: int) -> Mapping[str, SigningKey]:
    made = [SigningKey(bytes([40 + n]) * 32) for n in range(count)]
    made.sort(key=lambda key: identity_of(key.public))
    return {f"m{at + 1}": key for at, key in enumerate(made)}


def papers(
    members: int = 7,
    *,
    rounds: int = 2,
    order: Mapping[str, Any] | None = None,
    figures: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Papers:
    """Sign everything; the same arguments give the same documents.

    Args:
        members: how many; with the template's figures 7 of them tolerate 2 that drop out.
        order: changes of the order's fields.
        figures: changes of the agreement's figures.
        settings: changes of the demand config.
    """
    changes = (order or {}, figures or {}, settings or {})
    return _papers(members, rounds, json.dumps(changes, sort_keys=True))


@cache
def _papers(members: int, rounds: int, changes: str) -> Papers:
    order, figures, settings = json.loads(changes)
    keys = keys_of(members)
    terms = small_coop.agreement(**figures)
    listed = make_roster(
        small_coop.COOP, [small_coop.party(key) for key in keys.values()], issued=small_coop.NOW
    )
    roster = read_roster(listed, "roster")
    fields: dict[str, Any] = {
        "run": RUN,
        "cohort": [identity_of(key.public) for key in keys.values()],
        "rounds": rounds,
        "config": {**SETTINGS, **settings},
        "stage_timeouts_s": stage_timeouts(5),
        "rejoin_wait_s": 0.0,
    }
    ordered = small_coop.order_under(terms, roster, **{**fields, **order})
    signers = list(keys.values())
    return Papers(
        keys=keys,
        agreement=terms,
        signed_agreement=small_coop.signed_by_all(terms.document, signers),
        roster=roster,
        signed_roster=small_coop.signed_by_all(listed, signers),
        order=ordered,
        signed_order=jws_sign(ordered.document, "operator", OPERATOR),
        course=chart(ordered, terms.terms, roster),
    )
