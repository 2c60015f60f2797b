"""What the gate tells ``decide``: facts from bytes and ledgers; what nobody saw is unknown."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from agreement_world import (
    BOTH,
    CHURN_DIGEST,
    COOP,
    COORDINATOR_KEY,
    DIGEST,
    ME,
    NOW,
    OPERATOR_KEY,
    RUN,
    STRANGER,
    churn_order,
    order,
)
from privacy_world import HISTORY, ONE_DAY, Shop, run_name

from known_house import in_order
from node.data.stages import Basis
from node.policy import incidents
from node.policy.approvals import ApprovalDesk
from node.policy.clock import accept
from node.policy.consents import ConsentDesk
from node.policy.evidence import Me
from node.policy.facts import NOTHING_KNOWN, newest_seen
from node.policy.gate import History
from node.policy.life import Life
from node.policy.notices import NoticeDesk
from node.policy.people import Actor
from node.policy.subjects import SubjectDesk
from node.store.releases import Releases, ReleaseState, StoredRelease
from node.store.requests import RequestKind
from protocols.agreement.facts import AuditFacts, Consent, Denial, Facts, MemberFacts
from protocols.agreement.house import HouseRules
from protocols.agreement.incident import State, make_incident
from protocols.agreement.order import OPERATOR, ParsedOrder
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.saying import no
from protocols.agreement.template import amend
from protocols.canonical import Json, json_bytes
from protocols.errors import InputError, Refused
from protocols.permit import Gate, Permit
from protocols.signing import SigningKey, identity_of, jws_merge, jws_sign

SECRET = bytes(range(32))
A1, A2 = SigningKey(b"\xa1" * 32), SigningKey(b"\xa2" * 32)
PURPOSE = "train:churn"
MYSELF = Me(identity_of(ME.public), ME.public)
Ask = Callable[..., Facts]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "node.db").sign()


@pytest.fixture
def ask(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask the gate, and return the facts that ``decide`` was told."""

    def facts_of(signed: Json | None = None, history: History = HISTORY, **changes: Any) -> Facts:
        told: list[Facts] = []

        def listen(terms: object, request: object, facts: Facts) -> Permit | Denial:
            told.append(facts)
            return Denial(Gate.ADMIT, (no("c05", "heard", "heard", "heard"),))

        with monkeypatch.context() as patch:
            patch.setattr("node.policy.gate.decide", listen)
            given = signed or signed_by(churn(shop), OPERATOR_KEY)
            shop.gate.admit(given, history)
        return told[-1]

    return facts_of


def churn(shop: Shop, run: str = RUN, **changes: Any) -> ParsedOrder:
    wanted: ParsedOrder = churn_order(run=run, agreement=shop.parsed.id, **changes)
    return wanted


def signed_by(wanted: ParsedOrder, *keys: SigningKey) -> Json:
    """Signed as the operator by the first key, as an approver by the others."""
    names = [OPERATOR, *(f"approver:{key.public.hex()[:16]}" for key in keys[1:])]
    parts = [jws_sign(wanted.document, name, key) for name, key in zip(names, keys, strict=True)]
    return jws_merge(parts[0], *parts[1:])


def mine(facts: Facts) -> MemberFacts:
    assert facts.mine is not None
    return facts.mine


def under(tmp_path: Path, *changes: tuple[str, dict[str, Any]]) -> Shop:
    """A shop that signed an amended version."""
    version: ParsedAgreement = BOTH
    for clause, fields in changes:
        version = amend(version, clause, fields)
    return Shop(tmp_path / "amended.db", parsed=replace_first(version)).sign()


def replace_first(version: ParsedAgreement) -> ParsedAgreement:
    """The same clauses as a first version, so that no earlier one has to be signed before."""
    from protocols.agreement.parse import read_agreement

    return read_agreement({**version.document, "version": 1, "prev": None}, "agreement")


# ---------------------------------------------------------------------------- unknown is unknown


def test_what_nobody_looked_at_stays_unknown(shop: Shop, ask: Ask, monkeypatch: Any) -> None:
    monkeypatch.setattr("privacy_world.in_order", lambda clock: NOTHING_KNOWN)
    facts = ask(history=History(52, 10_000))
    found = mine(facts)
    assert (found.health, found.data_age_days, found.certificate_days) == (None, None, None)
    assert (found.software, found.oldest_result_days, facts.audit) == ("", None, None)
    assert (found.taxonomy, found.mapped_percent) == ("", None)


def test_what_is_known_is_told(ask: Ask) -> None:
    facts = ask(history=History(52, 10_000, 61.0, 4, taxonomy="c9" * 32, mapped_percent=81.5))
    found = mine(facts)
    assert (found.taxonomy, found.mapped_percent) == ("c9" * 32, 81.5)
    assert (found.health, found.data_age_days, found.certificate_days) == (61.0, 4, 90)
    assert (found.software, found.oldest_result_days) == ("99.0.0", 0)
    assert facts.audit == AuditFacts(verified_at=NOW)
    assert facts.frozen == "" and not facts.evidence.terminated


# ------------------------------------------------------------------------------- second signature


@pytest.fixture
def two(tmp_path: Path) -> Shop:
    keys = [A1.public.hex(), A2.public.hex()]
    return under(tmp_path, ("c05", {"approver_keys": keys, "two_person": ["launch"]}))


def evidence(shop: Shop, signed: Json, monkeypatch: pytest.MonkeyPatch) -> Any:
    told: list[Facts] = []

    def listen(terms: object, request: object, facts: Facts) -> Denial:
        told.append(facts)
        return Denial(Gate.ADMIT, (no("c05", "heard", "heard", "heard"),))

    with monkeypatch.context() as patch:
        patch.setattr("node.policy.gate.decide", listen)
        shop.gate.admit(signed, HISTORY)
    return told[-1].evidence


def test_an_approver_is_known_by_the_signature_over_the_order(
    two: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = churn(two)
    alone = evidence(two, signed_by(wanted, OPERATOR_KEY), monkeypatch)
    assert (alone.operator, alone.approvers) == (True, frozenset())
    both = evidence(two, signed_by(wanted, OPERATOR_KEY, A2), monkeypatch)
    assert (both.operator, both.approvers) == (True, frozenset({A2.public.hex()}))


def forged(wanted: ParsedOrder) -> dict[str, Json]:
    name = f"approver:{A1.public.hex()[:16]}"
    good = jws_sign(wanted.document, OPERATOR, OPERATOR_KEY)
    other = jws_sign(churn_order(run=run_name(9)).document, name, A1)
    return {
        "signed by somebody else": jws_merge(good, jws_sign(wanted.document, name, STRANGER)),
        "an approver of another agreement": signed_by(wanted, OPERATOR_KEY, STRANGER),
        "over another order": {**good, "signatures": good["signatures"] + other["signatures"]},
        "without the operator": jws_sign(wanted.document, name, A1),
        "with the server's key": jws_merge(
            good, jws_sign(wanted.document, "coordinator", COORDINATOR_KEY)
        ),
        "the operator as approver": jws_merge(good, jws_sign(wanted.document, name, OPERATOR_KEY)),
        "the same approver twice": {
            **good,
            "signatures": [
                *good["signatures"],
                *(jws_sign(wanted.document, name, A1)["signatures"] * 2),
            ],
        },
    }


@pytest.mark.parametrize("how", sorted(forged(order())))
def test_a_forged_second_signature_makes_the_order_nobodys(
    two: Shop, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = evidence(two, forged(churn(two))[how], monkeypatch)
    assert found.operator is False
    if how != "without the operator":
        assert found.approvers == frozenset() or how == "with the server's key"


# ------------------------------------------------------------------------------------ legal basis


def consents(shop: Shop) -> ConsentDesk:
    purposes = frozenset({PURPOSE})
    return ConsentDesk(shop.database, SECRET, purposes, shop.journal, lambda: shop.now)


def entry(purpose: str, basis: str, scope: str | None, reference: str | None) -> dict[str, Any]:
    return {"purpose": purpose, "basis": basis, "scope": scope, "reference": reference}


def test_the_basis_is_the_one_on_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = under(
        tmp_path, ("c10", {"purposes": [entry(PURPOSE, "legitimate-interest", None, "LIA 1")]})
    )
    assert basis(made, monkeypatch) == "consent"  # nothing was decided here yet
    consents(made).set_basis(PURPOSE, Basis.LEGITIMATE_INTEREST, "LIA-1")
    assert basis(made, monkeypatch) == "legitimate-interest"


@pytest.mark.parametrize(
    "listed",
    [
        entry(PURPOSE, "consent", "train:everything", None),
        entry("train:demand", "none", None, None),
        entry(PURPOSE, "none", None, None),
    ],
    ids=["another scope is read", "no entry", "none, over customers' columns"],
)
def test_there_is_no_basis_then(
    tmp_path: Path, listed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = under(tmp_path, ("c10", {"purposes": [listed]}))
    assert basis(made, monkeypatch) == ""


def basis(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> str:
    told: list[Facts] = []

    def listen(terms: object, request: object, facts: Facts) -> Denial:
        told.append(facts)
        return Denial(Gate.ADMIT, (no("c05", "heard", "heard", "heard"),))

    with monkeypatch.context() as patch:
        patch.setattr("node.policy.gate.decide", listen)
        shop.gate.admit(signed_by(churn(shop), OPERATOR_KEY), HISTORY)
    return mine(told[-1]).basis


# -------------------------------------------------------------------------- notices and requests


def test_only_the_text_that_the_members_signed_is_in_use(shop: Shop, ask: Ask) -> None:
    desk = NoticeDesk(shop.database, shop.parsed.terms, shop.journal, lambda: shop.now)
    text = desk.texts()[0]
    desk.drop(text.locale)  # the shop of these tests has it in use
    assert mine(ask()).notices == frozenset()
    assert desk.adopt(text.locale).since == NOW
    desk.adopt(text.sha256[:8])  # once more changes nothing
    assert mine(ask()).notices == {text.sha256}
    assert len(desk.history()) == 3
    desk.drop(text.locale)
    assert mine(ask()).notices == frozenset()
    with pytest.raises(InputError, match="no text for customers"):
        desk.adopt("xx")
    assert shop.entries.count("notice") == 4


def subjects(shop: Shop) -> SubjectDesk:
    return SubjectDesk(shop.database, SECRET, shop.parsed.terms, shop.journal, lambda: shop.now)


def test_an_overdue_request_is_counted_until_it_is_closed(shop: Shop, ask: Ask) -> None:
    desk = subjects(shop)
    made = desk.open(RequestKind.ERASE, "4711", NOW - timedelta(days=20))
    assert made.due == NOW + timedelta(days=10)  # 30 days of clause 12
    assert mine(ask()).overdue_requests == 0
    shop.now = NOW + timedelta(days=11)
    assert mine(ask()).overdue_requests == 1
    (late,) = desk.list(only_open=True)
    assert late.late
    with pytest.raises(InputError, match="time to answer is over"):
        desk.extend(made.request.id, "five years of receipts")
    desk.close(made.request.id[:4], "deleted by hand, told by letter")
    assert mine(ask()).overdue_requests == 0
    assert desk.list(only_open=True) == ()
    with pytest.raises(InputError, match="no such request"):
        desk.close(made.request.id, "again")


def test_a_request_is_extended_once_with_a_reason(shop: Shop) -> None:
    desk = subjects(shop)
    made = desk.open(RequestKind.ACCESS, "4711")
    with pytest.raises(InputError, match="1 to 200 characters"):
        desk.extend(made.request.id, " ")
    longer = desk.extend(made.request.id, "five years of receipts")
    assert longer.due > made.due
    with pytest.raises(InputError, match="extended before"):
        desk.extend(made.request.id, "again")


def test_no_customer_s_number_is_kept(shop: Shop) -> None:
    desk = subjects(shop)
    desk.open(RequestKind.OBJECT, "Kundin-04711")
    shop.database.close()
    assert b"04711" not in b"".join(one.read_bytes() for one in shop.path.parent.glob("node.db*"))
    for wrong, when in (("", None), ("4711", NOW + timedelta(days=2))):
        with pytest.raises(InputError):
            desk.open(RequestKind.OBJECT, wrong, when)


# -------------------------------------------------------------------------------------- approvals


def desk_of(shop: Shop, role: str) -> ApprovalDesk:
    return ApprovalDesk(shop.database, shop.journal, lambda: shop.now, Actor(role, "0a1b2c3d"))


def test_the_role_that_approved_is_told(shop: Shop, ask: Ask) -> None:
    assert (ask().consent, ask().approved_role) == (Consent.ALWAYS, "owner")
    desk_of(shop, "steward").approve_workload(CHURN_DIGEST)
    assert (ask().consent, ask().approved_role) == (Consent.ALWAYS, "steward")
    assert desk_of(shop, "owner").revoke(CHURN_DIGEST)
    assert (ask().consent, ask().approved_role) == (Consent.NONE, "")


def test_a_house_rule_that_asks_each_time_overrides_an_always(shop: Shop, ask: Ask) -> None:
    shop.rules = HouseRules(manual_approval=True)
    assert ask().consent is Consent.NONE
    other = run_name(4)
    waits = shop.ask(other)
    assert isinstance(waits, Denial) and waits.pending, waits
    desk_of(shop, "owner").approve(other, always=True)
    assert isinstance(shop.ask(other), Permit)  # this order; the next one is asked about again
    again = shop.ask(run_name(5))
    assert isinstance(again, Denial) and again.pending


def test_an_always_is_found_by_its_first_digits(shop: Shop) -> None:
    desk = desk_of(shop, "owner")
    assert desk.find_always(CHURN_DIGEST[:6]) == CHURN_DIGEST
    for wrong in ("", "ff", CHURN_DIGEST[0]):
        with pytest.raises(InputError):
            desk.find_always(wrong)
    assert DIGEST[0] == CHURN_DIGEST[0]  # so one digit names two


# -------------------------------------------------------------------------------------- incidents


def letter(
    state: State, *, freeze: bool = True, coop: str = COOP, key: Any = OPERATOR_KEY
) -> bytes:
    made = make_incident(
        coop=coop, incident="1f" * 16, state=state, freeze=True, what="A laptop.", at=NOW
    )
    return json_bytes(jws_sign(made.document, OPERATOR, key))


def test_an_incident_freezes_until_it_is_closed(shop: Shop, ask: Ask) -> None:
    def take(raw: bytes) -> None:
        incidents.receive(shop.database, COOP, MYSELF, raw, shop.journal, shop.now)

    assert ask().frozen == ""
    take(letter("opened"))
    assert "A laptop." in ask().frozen
    with shop.database.read() as connection, pytest.raises(Refused, match="runs are frozen"):
        incidents.refuse_if_frozen(connection, shop.parsed.terms)
    take(letter("notified"))
    assert ask().frozen
    take(letter("closed"))
    assert ask().frozen == ""
    take(letter("opened"))  # an old letter that comes again
    assert ask().frozen == ""
    assert shop.entries.count("incident") == 3


@pytest.mark.parametrize(
    "raw",
    [
        letter("closed", key=COORDINATOR_KEY),
        letter("closed", key=STRANGER),
        letter("closed", coop="c1" * 32),
        b"{}",
    ],
    ids=["the server", "a stranger", "another cooperative", "nothing"],
)
def test_nobody_else_freezes_or_thaws(shop: Shop, ask: Ask, raw: bytes) -> None:
    incidents.receive(shop.database, COOP, MYSELF, letter("opened"), shop.journal, NOW)
    with pytest.raises(InputError):
        incidents.receive(shop.database, COOP, MYSELF, raw, shop.journal, NOW)
    assert ask().frozen


def test_an_incident_of_before_the_first_signature_is_kept(tmp_path: Path) -> None:
    newcomer = Shop(tmp_path / "new.db")

    def take(pinned: bytes | None) -> None:
        incidents.receive(
            newcomer.database, COOP, MYSELF, letter("opened"), newcomer.journal, NOW, pinned
        )

    for other in (None, COORDINATOR_KEY.public):
        with pytest.raises(InputError):
            take(other)
    take(OPERATOR_KEY.public)
    with newcomer.database.read() as connection:
        assert incidents.frozen(connection)


def test_a_letter_that_was_damaged_here_freezes(shop: Shop, ask: Ask) -> None:
    incidents.receive(shop.database, COOP, MYSELF, letter("closed"), shop.journal, NOW)
    with shop.database.write() as connection:
        connection.exec_driver_sql("UPDATE incidents SET jws = X'7b'")
    assert "damaged" in ask().frozen


# ------------------------------------------------------------------------------ membership, clock


def test_suspension_and_leaving_are_told(shop: Shop, ask: Ask) -> None:
    life = Life(shop.database, COOP, ME, shop.journal, lambda: shop.now)
    assert (mine(ask()).suspended_since, mine(ask()).leaving_at) == (None, None)
    life.suspend()
    assert mine(ask()).suspended_since == NOW
    shop.now = NOW + ONE_DAY
    life.resume()
    until = life.leave()
    assert (mine(ask()).suspended_since, mine(ask()).leaving_at) == (None, until)


def test_the_newest_instant_of_any_ledger_is_told(shop: Shop, ask: Ask, monkeypatch: Any) -> None:
    assert ask().newest_seen == NOW
    shop.now = NOW + ONE_DAY
    consents(shop).set_basis(PURPOSE, Basis.CONSENT, "")
    subjects(shop).open(RequestKind.ACCESS, "4711")
    shop.now = NOW
    assert ask().newest_seen == NOW + ONE_DAY
    later = NOW + 2 * ONE_DAY
    monkeypatch.setattr(
        "privacy_world.in_order", lambda clock: in_order(clock, newest_entry=lambda: later)
    )
    assert ask().newest_seen == later


def test_instants_that_others_give_do_not_move_the_clock(shop: Shop, ask: Ask) -> None:
    far = NOW + timedelta(days=4000)
    raw = json_bytes(
        jws_sign(
            make_incident(
                coop=COOP, incident="2f" * 16, state="opened", freeze=False, what="Far.", at=far
            ).document,
            OPERATOR,
            OPERATOR_KEY,
        )
    )
    incidents.receive(shop.database, COOP, MYSELF, raw, shop.journal, NOW)
    ask(signed_by(churn(shop, issued=far, deadline=far + ONE_DAY), OPERATOR_KEY))
    assert ask().newest_seen == NOW


def test_the_oldest_result_is_told_in_days(shop: Shop, ask: Ask) -> None:
    with shop.database.write() as connection:
        for at, state in enumerate((ReleaseState.OFFERED, ReleaseState.USED)):
            Releases(connection).put(
                StoredRelease(f"{at}" * 64, RUN, state, b"{}", NOW - timedelta(days=40 - 10 * at))
            )
    assert mine(ask()).oldest_result_days == 30


# ------------------------------------------------------------------------------------- the clock


def test_a_clock_that_was_set_back_is_refused(shop: Shop) -> None:
    assert shop.admits(RUN)
    shop.now = NOW - timedelta(hours=1)
    answer = shop.ask(run_name(2), issued=NOW - ONE_DAY, deadline=NOW + ONE_DAY)
    assert isinstance(answer, Denial)
    assert any(one.clause == "c30" and "before" in one.sentence for one in answer.reasons)


def test_a_clock_that_ran_ahead_can_be_told_and_nothing_comes_back(shop: Shop) -> None:
    year = timedelta(days=400)
    shop.now = NOW + year
    desk_of(shop, "owner").approve_workload(DIGEST)
    later = {"issued": NOW - ONE_DAY, "deadline": NOW + ONE_DAY}
    shop.now = NOW
    assert isinstance(shop.ask(RUN, **later), Denial)
    with shop.database.read() as connection:
        newest = newest_seen(connection, in_order(lambda: NOW))
    accept(shop.database, newest, shop.journal, NOW)
    assert isinstance(shop.ask(run_name(2), **later), Permit)
    shop.now = NOW - timedelta(hours=1)  # set back after that: refused as before
    again = shop.ask(run_name(3), issued=NOW - ONE_DAY, deadline=NOW + ONE_DAY)
    assert isinstance(again, Denial) and "c30" in again.clauses
    with pytest.raises(InputError, match="lies in the future"):
        accept(shop.database, NOW - ONE_DAY, shop.journal, NOW)
