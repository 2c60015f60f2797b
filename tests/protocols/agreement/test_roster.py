from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
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
    departures,
    difference,
    make_roster,
    parse_roster,
    read_roster,
    replay,
    successors,
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
    return {**make_roster(COOP, people, previous, issued=NOW), **changes}


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
        make_roster(COOP, [person(KEYS[0]), twice], issued=NOW)


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
    document = make_roster(COOP, people, ROSTER, issued=NOW)
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
    old = read_roster(make_roster(COOP, stale, issued=NOW), "roster")
    with pytest.raises(Refused, match="expired"):
        verify_first(signed_by_all(old.document), RULES, COOP, ME, NOW)
    renewed = make_roster(COOP, [person(key) for key in KEYS], old, issued=NOW)
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
    seen = read_roster(make_roster(COOP, [*ROSTER.roster.members, watcher], issued=NOW), "roster")
    assert watcher.id in seen.keys
    assert watcher.id not in seen.voters()


def test_a_roster_is_sorted_and_every_business_counts_once() -> None:
    document = copy.deepcopy(dict(ROSTER.document))
    document["members"] = list(reversed(document["members"]))
    with pytest.raises(InputError, match="out of order"):
        read_roster(document, "roster")
    with pytest.raises(InputError, match="stands twice; a business"):
        make_roster(
            COOP, [person(KEYS[0], legal_id="same"), person(KEYS[1], legal_id="same")], issued=NOW
        )
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


# ------------------------------------------------------------ renewal, leaving and what changed

NEW = SigningKey(b"\x77" * 32)
LATER = NOW + timedelta(days=1)


def business(key: SigningKey, of: SigningKey, **changes: Any) -> Member:
    """The business of ``of`` under another key."""
    values: dict[str, Any] = {"replaces": person(of).id, "legal_id": person(of).legal_id}
    return person(key, **(values | changes))


def after(people: list[Member], previous: ParsedRoster = ROSTER) -> ParsedRoster:
    return read_roster(make_roster(COOP, people, previous, issued=LATER), "roster")


def test_a_business_renews_its_key_with_the_quorum_of_the_epoch_before() -> None:
    people = [person(key) for key in KEYS[1:]]
    parsed = after([*people, business(NEW, KEYS[0])])
    signed = signed_by_all(parsed.document, [*KEYS[2:], NEW])
    assert verify_next(signed, ROSTER, RULES, LATER).id == parsed.id
    with pytest.raises(Refused, match="5 members of epoch 1"):  # the new key does not count
        verify_next(signed_by_all(parsed.document, [*KEYS[3:], NEW]), ROSTER, RULES, LATER)
    found = difference(parsed, ROSTER)
    assert [(old.id, new.id) for old, new in found.renewed] == [(IDS[0], person(NEW).id)]
    assert not (found.joined or found.gone or found.changed)


@pytest.mark.parametrize(
    ("people", "problem"),
    [
        (lambda rest: [*rest, business(NEW, KEYS[0], replaces=None)], "does not say that it"),
        (lambda rest: [*rest, business(NEW, KEYS[0], legal_id="HRB other")], "not an entry of"),
        (lambda rest: [*rest, business(NEW, KEYS[0], replaces="ee" * 32)], "not an entry of"),
        (lambda rest: [*rest, business(NEW, KEYS[0], replaces=IDS[1])], "not an entry of"),
        (
            lambda rest: [*rest, person(KEYS[0]), business(NEW, KEYS[0], legal_id="HRB other")],
            "not an entry of",
        ),
    ],
)
def test_an_entry_replaces_only_its_own_business(
    people: Callable[[list[Member]], list[Member]], problem: str
) -> None:
    rest = [person(key) for key in KEYS[1:]]
    with pytest.raises(Refused, match=problem) as caught:
        after(people(rest))
    assert caught.value.clauses == ("c01",)
    document = forged(people(rest))
    with pytest.raises(Refused, match=problem):  # and a quorum cannot sign it into force
        verify_next(signed_by_all(document), ROSTER, RULES, LATER)


def forged(people: list[Member]) -> dict[str, Any]:
    """The document that ``make_roster`` does not make."""
    document = dict(make_roster(COOP, [person(key) for key in KEYS], ROSTER, issued=LATER))
    listed = sorted(people, key=lambda one: one.id)
    document["members"] = [
        json.loads(one.model_dump_json(exclude={"not_after"}))
        | {"not_after": "2028-01-01T00:00:00Z"}
        for one in listed
    ]
    return document


def test_the_old_and_the_new_key_of_a_business_never_stand_side_by_side() -> None:
    with pytest.raises(InputError, match="stands twice; a business counts once"):
        after([*(person(key) for key in KEYS), business(NEW, KEYS[0])])


def test_who_stood_before_replaces_nobody() -> None:
    second = after([*(person(key) for key in KEYS[1:]), business(NEW, KEYS[0])])
    third = after([person(key) for key in KEYS[1:]] + [business(NEW, KEYS[0])], second)
    assert third.members[person(NEW).id].replaces is None
    assert not difference(third, second)
    document = forged([*(person(key) for key in KEYS[1:]), business(NEW, KEYS[0])])
    document |= {"epoch": 3, "prev": second.id}
    with pytest.raises(Refused, match="it replaces nobody"):
        verify_next(signed_by_all(document, KEYS[1:]), second, RULES, LATER)
    first = dict(ROSTER.document) | {"members": document["members"]}
    with pytest.raises(InputError, match="in epoch 1 there is nobody"):
        read_roster(first, "roster")


def test_nobody_is_removed_without_a_quorum_and_a_leaver_may_sign() -> None:
    smaller = after([person(key) for key in KEYS[1:]])
    with pytest.raises(Refused, match="5 members of epoch 1 have signed the roster, 6 of 8"):
        verify_next(signed_by_all(smaller.document, KEYS[1:6]), ROSTER, RULES, LATER)
    assert verify_next(signed_by_all(smaller.document, KEYS[:6]), ROSTER, RULES, LATER)


def test_an_epoch_below_the_least_number_of_members_is_accepted() -> None:
    few = after([person(key) for key in KEYS[:2]])
    accepted = verify_next(signed_by_all(few.document), ROSTER, RULES, LATER)
    assert len(accepted.voters()) == 2  # the decision refuses every run then (c01)


def test_time_goes_on_between_epochs_and_not_ahead() -> None:
    later = after([person(key) for key in KEYS[1:]])
    back = {**make_roster(COOP, [person(k) for k in KEYS[2:]], later, issued=LATER)}
    back["issued"] = "2026-03-10T11:00:00Z"
    with pytest.raises(Refused, match="before epoch 2"):
        verify_next(signed_by_all(back, KEYS[1:]), later, RULES, LATER)
    with pytest.raises(Refused, match="Check the clock"):
        verify_next(signed_by_all(later.document), ROSTER, RULES, NOW)
    ahead = read_roster(make_roster(COOP, [person(k) for k in KEYS], issued=LATER), "roster")
    with pytest.raises(Refused, match="Check the clock"):
        verify_first(signed_by_all(ahead.document), RULES, COOP, ME, NOW)


def test_departures_say_who_left_and_when_through_renewals() -> None:
    second = after([*(person(key) for key in KEYS[1:]), business(NEW, KEYS[0])])
    third = after([person(key) for key in KEYS[1:]], second)
    assert departures([ROSTER, second]) == {}
    left = departures([ROSTER, second, third])
    assert set(left) == {IDS[0], person(NEW).id}  # the earlier id of the business as well
    assert {(one.epoch, one.at) for one in left.values()} == {(3, LATER)}
    back = after([*(person(key) for key in KEYS[1:]), person(NEW)], third)
    assert departures([ROSTER, second, third, back]) == {}
    assert successors([ROSTER, second, third]) == {IDS[0]: person(NEW).id}


def test_a_changed_entry_is_shown_as_changed() -> None:
    moved = after([person(KEYS[0], region="elsewhere"), *(person(key) for key in KEYS[1:])])
    found = difference(moved, ROSTER)
    assert [(old.region, new.region) for old, new in found.changed] == [
        (person(KEYS[0]).region, "elsewhere")
    ]
    assert not (found.joined or found.gone or found.renewed)
    assert len(difference(ROSTER, None).joined) == len(KEYS)
