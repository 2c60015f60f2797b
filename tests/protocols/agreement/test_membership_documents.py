"""What members say about themselves and about the end of an agreement: who must have signed."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from agreement_world import (
    AGREEMENT,
    COOP,
    IDS,
    KEYS,
    ME,
    NOW,
    ROSTER,
    STRANGER,
    roster,
    signed_by_all,
)

import small_coop
from protocols.agreement.membership import (
    Notice,
    Presence,
    State,
    earliest_leave,
    make_notice,
    make_succession,
    make_termination,
    presence,
    signers_of_termination,
    verify_notice,
    verify_succession,
    verify_termination,
)
from protocols.agreement.terms import Governance
from protocols.agreement.terms import Membership as MembershipTerms
from protocols.canonical import Json
from protocols.errors import Code, InputError, Refused
from protocols.signing import SigningKey, identity_of, jws_merge, jws_only, jws_sign

DAY = timedelta(days=1)
GOVERNANCE = AGREEMENT.terms.block("c05", Governance)
assert GOVERNANCE is not None
RULES: Governance = GOVERNANCE
NEW = SigningKey(b"\x66" * 32)


def notice(state: State = "suspended", key: SigningKey = ME, **changes: Any) -> Json:
    fields: dict[str, Any] = {"coop": COOP, "member": IDS[0], "state": state, "at": NOW}
    document = make_notice(**(fields | changes))
    return jws_sign(document, identity_of(key.public), key)


def test_a_notice_is_signed_by_the_member_that_it_is_about() -> None:
    keys = ROSTER.keys
    assert verify_notice(notice(), keys, COOP).state == "suspended"
    by_another = notice(key=KEYS[1])
    with pytest.raises(InputError, match="signed by that member alone"):
        verify_notice(by_another, keys, COOP)
    with pytest.raises(InputError, match="not a party"):
        verify_notice(notice(key=STRANGER), keys, COOP)
    both = jws_merge(notice(), jws_sign(_payload(notice()), IDS[1], KEYS[1]))
    with pytest.raises(InputError, match="signed by that member alone"):
        verify_notice(both, keys, COOP)
    with pytest.raises(InputError, match="of cooperative"):
        verify_notice(notice(), keys, "ee" * 32)
    moved = {**notice(), "payload": notice("resumed")["payload"]}
    with pytest.raises(InputError, match="does not verify"):
        verify_notice(moved, keys, COOP)


def _payload(signed: Json) -> Json:
    from protocols.signing import jws_payload

    return jws_payload(signed, "test")


def test_only_a_leaver_says_until_when() -> None:
    for state, until in (("leaving", None), ("suspended", NOW + DAY), ("leaving", NOW - DAY)):
        with pytest.raises(InputError):
            make_notice(coop=COOP, member=IDS[0], state=state, at=NOW, until=until)  # type: ignore[arg-type]


def said(state: State, hours: int, until: int | None = None) -> Notice:
    moment = NOW + timedelta(hours=hours)
    last = None if until is None else NOW + until * DAY
    return verify_notice(notice(state, at=moment, until=last), ROSTER.keys, COOP)


def test_the_newest_word_counts_whatever_the_order_of_arrival() -> None:
    words = [said("suspended", 1), said("resumed", 2), said("suspended", 3)]
    for order in (words, words[::-1], [words[1], words[2], words[0]]):
        assert presence(order).suspended_since == NOW + timedelta(hours=3)
        assert presence([one for one in order if one is not words[2]]) == Presence()
    at_once = [said("resumed", 1), said("suspended", 1)]
    assert presence(at_once).suspended_since is not None  # in doubt, nothing runs
    leaving = [said("leaving", 1, until=30), said("leaving", 2, until=40)]
    assert presence(leaving).leaving_at == NOW + 40 * DAY
    assert presence([*leaving, said("resumed", 3)]).leaving_at == NOW + 40 * DAY


def test_who_is_away() -> None:
    assert Presence(NOW).away(NOW - DAY)
    assert not Presence(None, NOW).away(NOW - DAY)
    assert Presence(None, NOW).away(NOW)
    assert not Presence().away(NOW)


def test_the_first_day_to_leave_follows_from_clause_29() -> None:
    block = AGREEMENT.terms.block("c29", MembershipTerms)
    assert block is not None
    longer = block.model_copy(update={"leave_notice_days": 30})
    assert earliest_leave(NOW, longer) == NOW + 30 * DAY
    with pytest.raises(Refused) as caught:
        earliest_leave(NOW, None)
    assert caught.value.clauses == ("c29",)


def succession(**changes: Any) -> Json:
    fields: dict[str, Any] = {
        "coop": COOP,
        "old": IDS[0],
        "public_key": NEW.public,
        "encryption_key": small_coop.sealed_to(NEW),
        "csr_sha256": "ab" * 32,
        "at": NOW,
    }
    return make_succession(**(fields | changes))


def test_a_succession_is_signed_by_the_old_key_and_the_new_one() -> None:
    new_id, document = identity_of(NEW.public), succession()
    old, new = jws_sign(document, IDS[0], ME), jws_sign(document, new_id, NEW)
    assert verify_succession(jws_merge(old, new), ROSTER.keys, COOP).member == new_id
    for alone in (old, new):
        with pytest.raises(InputError, match="the old key and by the new one"):
            verify_succession(alone, ROSTER.keys, COOP)
    thief = jws_sign(document, IDS[0], STRANGER)
    with pytest.raises(InputError, match="does not verify"):
        verify_succession(jws_merge(thief, new), ROSTER.keys, COOP)
    helped = jws_merge(old, new, jws_sign(document, IDS[1], KEYS[1]))
    with pytest.raises(InputError, match="not a party"):
        verify_succession(helped, ROSTER.keys, COOP)
    with pytest.raises(InputError, match="cannot succeed itself"):
        succession(public_key=ME.public)
    with pytest.raises(InputError, match="nothing can be sealed"):
        succession(encryption_key=bytes(32))


END = make_termination(coop=COOP, agreement=AGREEMENT.id, at=NOW, reason="We part as friends.")


def ended_by(*signers: SigningKey, document: Json = END) -> Json:
    return signed_by_all(document, list(signers))


def test_a_termination_needs_the_quorum_of_clause_5() -> None:
    needed = RULES.quorum_terminate.needed(len(KEYS))
    assert 1 < needed <= len(KEYS)
    whole = ended_by(*KEYS[:needed])
    assert verify_termination(whole, ROSTER, RULES, COOP, AGREEMENT.id).reason.startswith("We")
    with pytest.raises(Refused, match=rf"{needed - 1} of 8 members .* {needed} are needed") as no:
        verify_termination(ended_by(*KEYS[: needed - 1]), ROSTER, RULES, COOP, AGREEMENT.id)
    assert no.value.clauses == ("c05",)


def test_strangers_repetitions_and_other_versions_end_nothing() -> None:
    def tampered(signed: Json, match: str) -> None:
        with pytest.raises(InputError, match=match) as caught:
            verify_termination(signed, ROSTER, RULES, COOP, AGREEMENT.id)
        assert caught.value.code is Code.TAMPERED

    whole = ended_by(*KEYS)
    tampered(ended_by(*KEYS, STRANGER), "not a party")
    tampered({**whole, "signatures": whole["signatures"] + whole["signatures"][:1]}, "signed twice")
    other = make_termination(coop=COOP, agreement="ee" * 32, at=NOW, reason="another")
    tampered(ended_by(*KEYS, document=other), "ends agreement")
    tampered({**whole, "payload": ended_by(*KEYS, document=other)["payload"]}, "ends agreement")
    foreign = make_termination(coop="ee" * 32, agreement=AGREEMENT.id, at=NOW, reason="another")
    tampered(ended_by(*KEYS, document=foreign), "of cooperative")


def test_members_of_a_later_epoch_count_for_that_epoch() -> None:
    fewer = roster(KEYS[:4])
    of_all = ended_by(*KEYS)
    with pytest.raises(InputError, match="not a party"):
        signers_of_termination(of_all, fewer, COOP, AGREEMENT.id)
    theirs = jws_only(of_all, fewer.keys)
    assert theirs is not None
    _, signers = signers_of_termination(theirs, fewer, COOP, AGREEMENT.id)
    assert signers == fewer.voters()
    assert jws_only(of_all, {"ff" * 32}) is None


def test_a_reason_is_one_line() -> None:
    for reason in ("", "two\nlines", "x" * 501):
        with pytest.raises(InputError):
            make_termination(coop=COOP, agreement=AGREEMENT.id, at=NOW, reason=reason)
