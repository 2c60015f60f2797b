from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from agreement_world import (
    AGREEMENT,
    COOP,
    IDS,
    KEYS,
    NOW,
    ROSTER,
    STRANGER,
    person,
    roster,
    signed_by_all,
)
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from pydantic import ValidationError

import small_coop
from protocols.agreement.roster import (
    Member,
    ParsedRoster,
    make_roster,
    parse_roster,
    read_roster,
    replay,
    verify_chain,
    verify_first,
    verify_next,
)
from protocols.agreement.survivors import near_changes, survivor_change
from protocols.agreement.terms import Governance
from protocols.canonical import json_bytes
from protocols.errors import InputError, Refused
from protocols.signing import SigningKey, identity_of, jws_sign

GOVERNANCE = AGREEMENT.terms.block("c05", Governance)
assert GOVERNANCE is not None
RULES: Governance = GOVERNANCE
ME = IDS[0]


def first(signers: list[SigningKey] | None = None, document: Any = None) -> dict[str, Any]:
    return signed_by_all(document or ROSTER.document, signers)


def grown(previous: ParsedRoster = ROSTER, **changes: Any) -> dict[str, Any]:
    people = [*previous.roster.members, person(STRANGER)]
    return {**make_roster(COOP, people, previous), **changes}


def test_the_first_roster_needs_a_quorum_of_its_own_members() -> None:
    assert verify_first(first(), RULES, COOP, ME, NOW).id == ROSTER.id
    assert verify_first(first(KEYS[:6]), RULES, COOP, ME, NOW).roster.epoch == 1
    with pytest.raises(Refused, match=r"5 members of epoch 1 .* 6 of 8"):
        verify_first(first(KEYS[:5]), RULES, COOP, ME, NOW)


def test_the_first_roster_must_name_me_and_my_cooperative() -> None:
    stranger = identity_of(STRANGER.public)
    with pytest.raises(Refused, match="not a member"):
        verify_first(first(), RULES, COOP, stranger, NOW)
    with pytest.raises(Refused, match="of cooperative"):
        verify_first(first(), RULES, "ee" * 32, ME, NOW)


def test_the_first_roster_is_epoch_one() -> None:
    second = signed_by_all(grown(), [*KEYS, STRANGER])
    with pytest.raises(Refused, match="must be epoch 1, this is epoch 2"):
        verify_first(second, RULES, COOP, ME, NOW)
    for change in ({"prev": "ee" * 32}, {"epoch": 2}):
        with pytest.raises(InputError, match="epoch 1 has no prev"):
            read_roster({**ROSTER.document, **change}, "roster")


def test_nothing_that_cannot_be_sealed_to_is_an_encryption_key() -> None:
    field = 2**255 - 19
    points = [0, 1, field - 1, field, field + 1, 2**255 + 1]
    points += [
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    ]
    mine = small_coop.opens_with(KEYS[0])
    for point in points:
        raw = point.to_bytes(32, "little")
        with pytest.raises(ValueError):  # the library agrees that these are no keys
            mine.exchange(X25519PublicKey.from_public_bytes(raw))
        with pytest.raises(ValidationError, match="nothing can be sealed"):
            person(KEYS[0], encryption_key=raw.hex())
    twice = person(KEYS[1], encryption_key=person(KEYS[0]).encryption_key)
    with pytest.raises(InputError, match="two members have the same encryption key"):
        make_roster(COOP, [person(KEYS[0]), twice])


def test_an_entry_does_not_replace_itself() -> None:
    with pytest.raises(ValidationError, match="replaces itself"):
        person(KEYS[0], replaces=IDS[0])


def test_a_strangers_signature_is_refused() -> None:
    with pytest.raises(InputError, match="not a party"):
        verify_first(first([*KEYS, STRANGER]), RULES, COOP, ME, NOW)


def test_a_signature_twice_or_over_another_version_is_refused() -> None:
    twice = first()
    twice["signatures"].append(copy.deepcopy(twice["signatures"][0]))
    with pytest.raises(InputError, match="signed twice"):
        verify_first(twice, RULES, COOP, ME, NOW)
    other = first()
    other["payload"] = jws_sign(grown(), ME, KEYS[0])["payload"]
    with pytest.raises((InputError, Refused)):
        verify_first(other, RULES, COOP, ME, NOW)


def test_the_next_epoch_needs_a_quorum_of_the_one_before() -> None:
    document = grown()
    accepted = verify_next(signed_by_all(document, KEYS[:6]), ROSTER, RULES, NOW)
    assert accepted.roster.epoch == 2
    assert identity_of(STRANGER.public) in accepted.voters()


def test_strangers_do_not_make_a_quorum() -> None:
    invented = [SigningKey(bytes([200 + i]) * 32) for i in range(8)]
    people = [*ROSTER.roster.members, *map(person, invented)]
    document = make_roster(COOP, people, ROSTER)
    with pytest.raises(Refused, match="5 members of epoch 1"):
        verify_next(signed_by_all(document, [*invented, *KEYS[:5]]), ROSTER, RULES, NOW)
    outside = signed_by_all(grown(), [*KEYS, SigningKey(b"\xaa" * 32)])
    with pytest.raises(InputError, match="not a party"):
        verify_next(outside, ROSTER, RULES, NOW)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"prev": "ee" * 32}, "continues eeee"),
        ({"epoch": 3}, "does not follow epoch 1"),
        ({"coop": "ee" * 32}, "of cooperative"),
    ],
)
def test_a_wrong_link_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        verify_next(signed_by_all(grown(**change)), ROSTER, RULES, NOW)


def test_an_expired_key_is_refused_and_does_not_vote() -> None:
    soon = datetime(2026, 3, 9, tzinfo=UTC)
    stale = [person(key, not_after=soon) for key in KEYS[:3]] + [person(k) for k in KEYS[3:]]
    old = read_roster(make_roster(COOP, stale), "roster")
    with pytest.raises(Refused, match="expired"):
        verify_first(signed_by_all(old.document), RULES, COOP, ME, NOW)
    renewed = make_roster(COOP, [person(key) for key in KEYS], old)
    with pytest.raises(Refused, match="5 members"):
        verify_next(signed_by_all(renewed), old, RULES, NOW)
    assert len(old.voters(NOW)) == 5
    assert len(old.voters()) == 8


def test_a_newcomer_follows_the_whole_chain() -> None:
    second = grown()
    chain = [first(KEYS[:6]), signed_by_all(second, KEYS[2:])]
    newcomer = identity_of(STRANGER.public)
    assert verify_chain(chain, RULES, COOP, newcomer, NOW)[-1].roster.epoch == 2
    assert [one.roster.epoch for one in replay(chain, RULES, COOP)] == [1, 2]
    with pytest.raises(Refused, match="starts at epoch 2"):
        verify_chain(chain[1:], RULES, COOP, newcomer, NOW)
    with pytest.raises(Refused, match="no roster"):
        verify_chain([], RULES, COOP, newcomer, NOW)
    with pytest.raises(Refused, match="not a member"):
        verify_chain(chain[:1], RULES, COOP, newcomer, NOW)


def test_observers_neither_vote_nor_train() -> None:
    watcher = person(STRANGER, roles=("observer",))
    seen = read_roster(make_roster(COOP, [*ROSTER.roster.members, watcher]), "roster")
    assert watcher.id in seen.keys
    assert watcher.id not in seen.voters()


def test_a_roster_is_sorted_and_every_business_counts_once() -> None:
    document = copy.deepcopy(dict(ROSTER.document))
    document["members"] = list(reversed(document["members"]))
    with pytest.raises(InputError, match="out of order"):
        read_roster(document, "roster")
    with pytest.raises(InputError, match="stands twice; a business"):
        make_roster(COOP, [person(KEYS[0], legal_id="same"), person(KEYS[1], legal_id="same")])
    with pytest.raises(ValidationError, match="does not follow from its public key"):
        Member.model_validate({**person(KEYS[0]).model_dump(), "id": IDS[1]})
    with pytest.raises(InputError, match="members"):
        parse_roster(json_bytes({**ROSTER.document, "members": []}), "roster")
    assert roster(KEYS[:5]).roster.epoch == 1


A, B, C, D, E, F, G, H = "abcdefgh"
FULL = frozenset({A, B, C, D, E, F, G, H})


@pytest.mark.parametrize(
    ("previous", "new", "allowed", "says"),
    [
        ([], FULL, 0, None),
        ([FULL], FULL, 0, None),
        ([FULL], FULL - {A}, 1, None),
        ([FULL], FULL - {A}, 0, "1. time"),
        ([FULL, FULL - {A}], FULL, 1, "2. time"),
        ([FULL, FULL - {A}], FULL, 2, None),
        ([FULL, FULL - {A}, FULL], FULL, 2, None),
        ([FULL, FULL - {A}, FULL], FULL - {A}, 2, "3. time"),
        ([FULL, FULL - {A}, FULL, FULL], FULL - {B}, 2, "3. time"),
        ([FULL], frozenset({A, B, C, D}), 9, "4 members are left"),
        ([FULL], frozenset({A, B, C, "i", "j"}), 0, None),  # seven differ: not near
    ],
)
def test_survivors_may_change_by_a_few_only_so_often(
    previous: list[frozenset[str]], new: frozenset[str], allowed: int, says: str | None
) -> None:
    found = survivor_change(previous, new, 5, allowed)
    if says is None:
        assert found is None
    else:
        assert found is not None
        assert says in found.sentence
        assert found.clause == "c14"


def test_coming_near_an_earlier_set_by_way_of_a_far_one_counts() -> None:
    far = frozenset({A, B, C, "i", "j"})
    assert near_changes([FULL, far, FULL - {A}], 5) == 1
    assert near_changes([FULL, far, FULL], 5) == 0
