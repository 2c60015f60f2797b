from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from agreement_world import (
    AGREEMENT,
    CONFIG,
    COOP,
    COORDINATOR_KEY,
    DIGEST,
    GOOD_FIGURES,
    IDS,
    KEYS,
    ME,
    NOW,
    OPERATOR_KEY,
    RELEASE,
    ROSTER,
    RUN,
    STRANGER,
    WORKLOAD,
    order,
    person,
    signed_by_all,
    signed_order,
)

from known_house import healthy, in_order
from node.policy.agreements import Agreements
from node.policy.approvals import ApprovalDesk
from node.policy.budget import Budget, Period, settle
from node.policy.gate import Gate, Price
from node.policy.survivors import admit_survivors
from node.store.budgets import RunBudget
from node.store.database import Database
from node.store.documents import Signatures
from node.store.orders import Orders, OrderState
from node.store.outbox import Outbox
from protocols.agreement.facts import Denial
from protocols.agreement.house import HouseRules
from protocols.agreement.roster import make_roster, read_roster
from protocols.agreement.template import amend
from protocols.audit.entries import Entry, Kind, encode
from protocols.canonical import json_bytes
from protocols.errors import Code, InputError, LocalError, Refused
from protocols.permit import Permit
from protocols.signing import SigningKey, identity_of, jws_merge, jws_sign

HISTORY = healthy(weeks=52, rows=10_000)
OTHER_RUN = "cd" * 16


def free_of_charge(order: object, terms: object, roster: object) -> None:
    """The workload of these tests is not installed; it promises nothing."""


@dataclass
class House:
    """One member's node without its network."""

    database: Database
    now: Any = NOW
    entries: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)
    rules: HouseRules = field(default_factory=HouseRules)
    installed: frozenset[str] = frozenset({DIGEST})
    price: Price = free_of_charge

    def journal(self, kind: str, facts: Mapping[str, object]) -> None:
        # every entry must be one that the audit log takes
        encode(Entry(len(self.entries), "2026-03-10T12:00:00.000000Z", Kind(kind), facts))  # type: ignore[arg-type]
        self.entries.append((kind, facts))

    @property
    def agreements(self) -> Agreements:
        return Agreements(self.database, COOP, ME, self.journal, lambda: self.now)

    @property
    def desk(self) -> ApprovalDesk:
        return ApprovalDesk(self.database, self.journal, lambda: self.now)

    @property
    def gate(self) -> Gate:
        return Gate(
            self.database,
            public=ME.public,
            installed=self.installed,
            journal=self.journal,
            clock=lambda: self.now,
            house=self.rules,
            price=self.price,
            around=in_order(lambda: self.now),
        )

    def state(self, run: str = RUN) -> OrderState | None:
        with self.database.read() as connection:
            found = Orders(connection).get(run)
        return found.state if found else None

    def in_force(self) -> House:
        self.agreements.receive("agreement", json_bytes(AGREEMENT.document))
        self.agreements.receive("roster", json_bytes(ROSTER.document))
        self.agreements.sign(AGREEMENT.id, ROSTER.id)
        self.agreements.receive("roster-signed", json_bytes(signed_by_all(ROSTER.document)))
        self.agreements.receive("agreement-signed", json_bytes(signed_by_all(AGREEMENT.document)))
        self.desk.approve_workload(DIGEST)
        self.entries.clear()
        return self


@pytest.fixture
def empty(tmp_path: Path) -> House:
    return House(Database.open(tmp_path / "node.db", create=True))


@pytest.fixture
def house(empty: House) -> House:
    return empty.in_force()


def no(answer: Permit | Denial, clause: str, *words: str) -> Denial:
    assert isinstance(answer, Denial)
    texts = " | ".join(str(one) for one in answer.reasons if one.clause == clause)
    assert texts, f"{clause} did not say no: {answer}"
    assert all(word in texts for word in words), texts
    return answer


def test_a_signed_order_under_my_agreement_is_permitted_and_journalled(house: House) -> None:
    answer = house.gate.admit(signed_order(), HISTORY)
    assert isinstance(answer, Permit)
    assert house.state() is OrderState.ADMITTED
    kind, facts = house.entries[-1]
    assert (kind, facts["allowed"], facts["order"]) == ("decision", True, order().id)
    with house.database.read() as connection:
        assert RunBudget(connection).get(RUN) is not None


def test_the_journal_is_written_before_the_permit_and_its_failure_denies(house: House) -> None:
    def broken(kind: str, facts: Mapping[str, object]) -> None:
        raise LocalError("the disk is full.")

    gate = Gate(
        house.database,
        public=ME.public,
        installed=house.installed,
        journal=broken,
        clock=lambda: NOW,
        price=free_of_charge,
        around=in_order(lambda: NOW),
    )
    with pytest.raises(LocalError, match="disk is full"):
        gate.admit(signed_order(), HISTORY)
    assert house.state() is None
    with house.database.read() as connection:
        assert RunBudget(connection).get(RUN) is None


def test_nothing_signed_nothing_allowed(empty: House) -> None:
    no(empty.gate.admit(signed_order(), HISTORY), "c05", "signed no agreement")
    empty.agreements.receive("agreement-signed", json_bytes(signed_by_all(AGREEMENT.document)))
    empty.agreements.receive("roster-signed", json_bytes(signed_by_all(ROSTER.document)))
    # everybody else has signed, this member has not: the quorum does not matter
    no(empty.gate.admit(signed_order(), HISTORY), "c05", "signed no agreement")
    assert empty.entries[-1][0] == "refusal"


def test_my_signature_alone_does_not_put_it_in_force(empty: House) -> None:
    empty.agreements.receive("agreement", json_bytes(AGREEMENT.document))
    empty.agreements.receive("roster-signed", json_bytes(signed_by_all(ROSTER.document)))
    empty.agreements.sign(AGREEMENT.id)
    empty.desk.approve_workload(DIGEST)
    no(empty.gate.admit(signed_order(), HISTORY), "c05", "1 of 8 members have signed", "6 are")
    five = signed_by_all(AGREEMENT.document, KEYS[1:5])
    empty.agreements.receive("agreement-signed", json_bytes(five))
    no(empty.gate.admit(signed_order(), HISTORY), "c05", "5 of 8")
    empty.agreements.receive("agreement-signed", json_bytes(signed_by_all(AGREEMENT.document)))
    assert isinstance(empty.gate.admit(signed_order(), HISTORY), Permit)


def test_forged_signatures_do_not_count_towards_the_quorum(empty: House) -> None:
    empty.agreements.receive("roster-signed", json_bytes(signed_by_all(ROSTER.document)))
    empty.agreements.receive("agreement", json_bytes(AGREEMENT.document))
    empty.agreements.sign(AGREEMENT.id)
    empty.desk.approve_workload(DIGEST)
    forged = [jws_sign(AGREEMENT.document, name, STRANGER) for name in IDS[1:]]
    with pytest.raises(InputError, match="does not verify"):
        empty.agreements.receive("agreement-signed", json_bytes(jws_merge(forged[0], *forged[1:])))
    with empty.database.write() as connection:  # and kept by whatever way, they do not count
        for name, one in zip(IDS[1:], forged, strict=True):
            Signatures(connection).put(AGREEMENT.id, name, json_bytes(one), NOW)
    no(empty.gate.admit(signed_order(), HISTORY), "c05", "1 of 8")


def tampered(field_name: str, value: object) -> dict[str, Any]:
    signed = signed_order()
    other = jws_sign({**order().document, field_name: value}, "operator", STRANGER)
    return {"payload": other["payload"], "signatures": signed["signatures"]}


@pytest.mark.parametrize(("name", "value"), [("rounds", 1), ("colluders", 3), ("rounds", 40)])
def test_a_tampered_order_is_refused(house: House, name: str, value: object) -> None:
    changed = tampered(name, value)
    answer = house.gate.admit(changed, HISTORY)
    if value == 40:
        assert isinstance(answer, Permit)  # the same bytes: the signature holds
    else:
        no(answer, "c05", "operator")
        assert house.state() is None


def test_an_order_of_a_stranger_or_of_the_server_is_refused(house: House) -> None:
    for key, kid in ((STRANGER, "operator"), (COORDINATOR_KEY, "operator"), (ME, IDS[0])):
        no(house.gate.admit(jws_sign(order().document, kid, key), HISTORY), "c05", "operator")
    both = jws_merge(signed_order(), jws_sign(order().document, IDS[0], ME))
    no(house.gate.admit(both, HISTORY), "c05", "operator")


@pytest.mark.parametrize(
    "junk",
    [
        {},
        {"payload": "e30", "signatures": []},
        {"payload": "!!", "signatures": [{}]},
        {"payload": 5},
        {"payload": "eyJhIjoxfQ", "signatures": [{"protected": "e30", "signature": ""}]},
    ],
)
def test_what_cannot_be_read_is_denied_not_raised(house: House, junk: dict[str, Any]) -> None:
    no(house.gate.admit(junk, HISTORY), "c05", "cannot be read")
    assert house.entries[-1][0] == "refusal"


CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"purpose": "price_setting"}, "c07", "forbidden"),
    ({"workload": WORKLOAD | {"digest": "ee" * 32}}, "c13", "eeee"),
    ({"columns": ["customer_key", "qty"]}, "c08", "customer_key"),
    ({"cohort": IDS[:4], "min_cohort": 4}, "c14", "4 members, at least 5"),
    ({"colluders": 1}, "c14", "at least 2"),
    ({"rounds": 400}, "c13", "400"),
    ({"config": CONFIG | {"lr": 9}}, "c13", "'lr' is 9"),
    ({"cohort": sorted([*IDS, identity_of(STRANGER.public)])}, "c01", "1 of 9"),
    ({"deadline": NOW - timedelta(seconds=1), "issued": NOW - timedelta(days=1)}, "c30", "line"),
]


@pytest.mark.parametrize(("change", "clause", "words"), CASES)
def test_the_refusal_names_the_clause_and_is_remembered(
    house: House, change: dict[str, Any], clause: str, words: str
) -> None:
    answer = no(house.gate.admit(signed_order(**change), HISTORY), clause, words)
    assert house.state() is OrderState.REFUSED
    kind, facts = house.entries[-1]
    assert kind == "refusal"
    assert facts["clauses"] == answer.clauses


def test_too_little_history_and_a_missing_workload(house: House) -> None:
    answer = no(house.gate.admit(signed_order(), healthy(3, 5)), "c17", "3 weeks", "5 rows")
    told = [one.told for one in answer.reasons]  # others learn which figure is short, not how much
    assert told == [
        "c17 contribution: this node has fewer than 8 weeks of history",
        "c17 contribution: this node has fewer than 100 rows",
    ]
    house.installed = frozenset()
    no(house.gate.admit(signed_order(), HISTORY), "c13", "not installed")


def test_house_rules_tighten(house: House) -> None:
    house.rules = HouseRules(max_rounds=10)
    no(house.gate.admit(signed_order(), HISTORY), "house", "allow 10")


def test_an_amendment_by_one_figure_is_refused_and_the_clause_is_named(house: House) -> None:
    looser = amend(AGREEMENT, "c14", {"min_cohort": 3})
    ordered = signed_order(agreement=looser.id, cohort=IDS[:3], min_cohort=3, colluders=1)
    unknown = no(house.gate.admit(ordered, HISTORY), "c05", looser.id[:16])
    assert "c14" in unknown.clauses
    house.agreements.receive("agreement", json_bytes(looser.document))
    everybody = signed_by_all(looser.document, KEYS[1:])
    house.agreements.receive("agreement-signed", json_bytes(everybody))
    ordered = signed_order(agreement=looser.id)  # an order that hides the change
    answer = house.gate.admit(ordered, HISTORY)
    no(answer, "c05", "not the signed version 1")
    no(answer, "c14", "min_cohort: 5 -> 3 (looser)")


def test_a_later_version_that_i_signed_replaces_the_one_before(house: House) -> None:
    tighter = amend(AGREEMENT, "c14", {"min_cohort": 6})
    house.agreements.receive("agreement", json_bytes(tighter.document))
    with pytest.raises(Refused, match="the notice that you agreed on is over on 2026-03-24"):
        house.agreements.sign(tighter.id)
    house.agreements.sign(tighter.id, short_notice=True)
    assert isinstance(house.gate.admit(signed_order(), HISTORY), Permit)  # not in force yet
    house.agreements.receive("agreement-signed", json_bytes(signed_by_all(tighter.document)))
    no(house.gate.admit(signed_order(run=OTHER_RUN), HISTORY), "c05", "replaced by a later")
    under = signed_order(run="ef" * 16, agreement=tighter.id, min_cohort=6)
    assert isinstance(house.gate.admit(under, HISTORY), Permit)


def test_a_withdrawn_signature_ends_it_at_once(house: House) -> None:
    house.agreements.withdraw(AGREEMENT.id)
    no(house.gate.admit(signed_order(), HISTORY), "c05", "signed no agreement")


def test_approval_is_asked_for_once_and_then_holds_for_this_run(house: House) -> None:
    house.desk.revoke(DIGEST)
    answer = house.gate.admit(signed_order(), HISTORY)
    assert no(answer, "c16", "waits for the approval").pending
    assert house.state() is OrderState.PENDING
    written = len(house.entries)
    house.gate.admit(signed_order(), HISTORY)
    assert len(house.entries) == written  # asked again, nothing new
    assert [one.run for one in house.desk.waiting()] == [RUN]
    house.desk.approve(RUN[:8])
    assert isinstance(house.gate.admit_stored(RUN, HISTORY), Permit)
    assert house.desk.waiting() == ()
    again = house.gate.admit(signed_order(run=OTHER_RUN), HISTORY)
    assert isinstance(again, Denial)
    assert again.pending


def test_always_holds_for_the_digest_until_revoked(house: House) -> None:
    house.desk.revoke(DIGEST)
    house.gate.admit(signed_order(), HISTORY)
    house.desk.approve(RUN, always=True)
    assert isinstance(house.gate.admit(signed_order(run=OTHER_RUN), HISTORY), Permit)
    assert [one.subject for one in house.desk.always()] == [DIGEST]
    assert house.desk.revoke(DIGEST)
    third = house.gate.admit(signed_order(run="ef" * 16), HISTORY)
    assert isinstance(third, Denial)
    assert third.pending


def test_a_refused_order_stays_refused_although_the_workload_is_approved(house: House) -> None:
    house.gate.admit(signed_order(), HISTORY)
    with pytest.raises(InputError, match="reason"):
        house.desk.refuse(RUN, " ")
    house.desk.refuse(RUN, "stocktaking this week")
    assert house.state() is OrderState.REFUSED
    no(house.gate.admit(signed_order(), HISTORY), "c16", "refused")
    with pytest.raises(InputError, match="no such order"):
        house.desk.approve("ff")


def test_a_run_has_one_order_and_ends_once(house: House) -> None:
    house.gate.admit(signed_order(), HISTORY)
    second = house.gate.admit(signed_order(rounds=30), HISTORY)
    no(second, "c05", "another order")
    assert house.state() is OrderState.ADMITTED
    with house.database.write() as connection:
        Orders(connection).move(RUN, OrderState.RUNNING, NOW)
    assert isinstance(house.gate.admit(signed_order(), HISTORY), Permit)
    assert house.state() is OrderState.RUNNING
    with house.database.write() as connection:
        Orders(connection).move(RUN, OrderState.DONE, NOW)
    no(house.gate.admit(signed_order(), HISTORY), "c05", "has ended")
    assert house.state() is OrderState.DONE
    with pytest.raises(InputError, match="over"):
        house.desk.approve(RUN)


def test_the_runs_of_a_period_are_counted(house: House) -> None:
    for i in range(12):
        assert isinstance(house.gate.admit(signed_order(run=f"{i:032x}"), HISTORY), Permit)
    full = house.gate.admit(signed_order(), HISTORY)
    no(full, "c14", "12 runs were started in the last 30 days, 12 are allowed")
    with house.database.write() as connection:
        settle(connection, f"{3:032x}", NOW, spent_rounds=False)
    assert isinstance(house.gate.admit(signed_order(), HISTORY), Permit)
    house.now = NOW + timedelta(days=31)
    fresh = {"issued": house.now, "deadline": house.now + timedelta(hours=1)}
    assert isinstance(house.gate.admit(signed_order(run=OTHER_RUN, **fresh), HISTORY), Permit)


def test_a_reservation_is_checked_again_when_it_is_made(house: House) -> None:
    period = Period(days=30, max_runs=1)
    with house.database.write() as connection:
        ledger = Budget(connection, period)
        ledger.reserve(order().order, NOW)
        ledger.reserve(order().order, NOW)  # the same run: once
        assert ledger.consult(order().order, NOW).runs_in_period == 0
        other = order(run=OTHER_RUN).order
        assert ledger.consult(other, NOW).runs_in_period == 1
        with pytest.raises(Refused, match="1 runs were started") as caught:
            ledger.reserve(other, NOW)
        assert caught.value.code is Code.BUDGET


def test_rosters_are_accepted_along_the_chain_only(house: House) -> None:
    people = [*ROSTER.roster.members, person(STRANGER)]
    second = read_roster(make_roster(COOP, people, ROSTER, issued=NOW), "roster")
    invented = [STRANGER, *KEYS[:5]]
    house.agreements.receive("roster-signed", json_bytes(signed_by_all(second.document, invented)))
    assert isinstance(house.gate.admit(signed_order(), HISTORY), Permit)  # still epoch 1
    with_him = sorted([*IDS, identity_of(STRANGER.public)])
    wider = {"roster": second.id, "roster_epoch": 2, "cohort": with_him, "run": OTHER_RUN}
    no(house.gate.admit(signed_order(**wider), HISTORY), "c01", "epoch 2", "1 of 9")
    sixth = signed_by_all(second.document, KEYS[5:6])
    house.agreements.receive("roster-signed", json_bytes(sixth))
    assert [entry[0] for entry in house.entries].count("roster") == 2  # received, accepted
    answer = house.gate.admit(signed_order(**wider), HISTORY)
    # one newcomer may join; the cohort then differs by one from the run before, once
    assert isinstance(answer, Permit)


def test_documents_may_come_twice_and_in_any_order(empty: House) -> None:
    desk = empty.agreements
    roster_letter = json_bytes(signed_by_all(ROSTER.document))
    agreement_letter = json_bytes(signed_by_all(AGREEMENT.document))
    for _ in range(2):
        desk.receive("roster-signed", roster_letter)
        desk.receive("agreement-signed", agreement_letter)
    assert [one.id for one in desk.proposed()] == [AGREEMENT.id]
    assert desk.current() is None
    assert desk.sign(AGREEMENT.id, ROSTER.id).new
    assert not desk.sign(AGREEMENT.id, ROSTER.id).new
    assert desk.proposed() == ()
    current, newest = desk.current(), desk.newest_roster()
    assert current is not None
    assert newest is not None
    assert (current.id, newest.id) == (AGREEMENT.id, ROSTER.id)
    assert desk.find(AGREEMENT.id[:8]).id == AGREEMENT.id
    assert desk.signers(AGREEMENT.id) == frozenset(IDS)
    with empty.database.read() as connection:
        letters = Outbox(connection).open()
    assert [letter.kind for letter in letters] == ["signature", "signature"]
    empty.desk.approve_workload(DIGEST)
    assert isinstance(empty.gate.admit(signed_order(), HISTORY), Permit)


def test_foreign_documents_are_refused(empty: House) -> None:
    desk = empty.agreements
    foreign = {**AGREEMENT.document, "coop": "ee" * 32}
    with pytest.raises(InputError, match="of cooperative eeee"):
        desk.receive("agreement", json_bytes(foreign))
    with pytest.raises(InputError, match="not a kind"):
        desk.receive("model", b"{}")
    with pytest.raises(InputError, match="has not been received"):
        desk.sign(AGREEMENT.id)
    with pytest.raises(InputError, match="no such agreement"):
        desk.find("00")


def test_a_version_must_follow_the_one_that_i_signed(house: House) -> None:
    elsewhere = amend(amend(AGREEMENT, "c17", {"min_weeks": 9}), "c17", {"min_weeks": 10})
    house.agreements.receive("agreement", json_bytes(elsewhere.document))
    with pytest.raises(Refused, match="you have signed version 1"):
        house.agreements.sign(elsewhere.id)


def test_a_newcomer_takes_the_whole_chain(tmp_path: Path) -> None:
    newcomer = House(Database.open(tmp_path / "node.db", create=True))
    people = [*ROSTER.roster.members, person(STRANGER)]
    second = read_roster(make_roster(COOP, people, ROSTER, issued=NOW), "roster")
    chain = [signed_by_all(ROSTER.document), signed_by_all(second.document)]
    desk = Agreements(newcomer.database, COOP, STRANGER, newcomer.journal, lambda: NOW)
    with pytest.raises(Refused, match="not signed yet"):
        desk.receive_chain(chain)
    desk.receive("agreement-signed", json_bytes(signed_by_all(AGREEMENT.document)))
    desk.sign(AGREEMENT.id)
    assert desk.receive_chain(chain) == 2
    assert desk.receive_chain(chain) == 2


def card(**changes: Any) -> dict[str, Any]:
    base = {"kind": "datacoop/release", "run": RUN, "agreement": AGREEMENT.id, "order": order().id}
    return base | changes


@pytest.mark.parametrize(
    ("document", "key", "clause", "words"),
    [
        (card(), COORDINATOR_KEY, "", ""),
        (card(), STRANGER, "c05", "coordinator"),
        (card(), OPERATOR_KEY, "c05", "coordinator"),
        (card(run=OTHER_RUN), COORDINATOR_KEY, "c05", "coordinator"),
        (card(order="ee" * 32), COORDINATOR_KEY, "c05", "coordinator"),
    ],
)
def test_a_release_is_used_only_with_the_coordinators_signature(
    house: House, document: dict[str, Any], key: SigningKey, clause: str, words: str
) -> None:
    signed = jws_sign(document, "coordinator", key)
    answer = house.gate.use(
        signed,
        signed_order(),
        GOOD_FIGURES,
        purpose="train:demand",
        outputs=("metrics", "model"),
        release=RELEASE,
    )
    if clause:
        no(answer, clause, words)
    else:
        assert isinstance(answer, Permit)
        worse = replace(GOOD_FIGURES, blend_error=0.9)
        refused = house.gate.use(
            signed,
            signed_order(),
            worse,
            purpose="train:demand",
            outputs=("model",),
            release=RELEASE,
        )
        no(refused, "c15", "0.9000, it must be below 0.7000")
    other = house.gate.use(
        signed, signed_order(), None, purpose="price_setting", outputs=("forecasts",)
    )
    no(other, "c07", "forbidden")
    no(other, "c20", "the licence of this result is not known")
    no(other, "c15", "'forecasts' is never released", "no evaluated figures")


def test_survivors_are_recorded_and_may_change_only_so_often(house: House) -> None:
    full, fewer = frozenset(IDS), frozenset(IDS[:7])

    def go(round_number: int, members: frozenset[str]) -> None:
        admit_survivors(house.database, RUN, round_number, members, n_min=5, allowed=2)

    go(1, full)
    go(1, full)
    go(2, fewer)
    go(3, full)
    go(4, full)
    with pytest.raises(Refused, match=r"3\. time, 2 are allowed") as caught:
        go(5, fewer)
    assert caught.value.clauses == ("c14",)
    with pytest.raises(Refused, match="4 members are left"):
        go(5, frozenset(IDS[:4]))
    go(5, full)
