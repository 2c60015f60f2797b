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
    ENDS,
    IDS,
    KEYS,
    NOW,
    TEMPLATE,
    WORKLOAD,
    agreement,
    order,
)

from protocols.agreement.base import parse_utc, same_json, utc_text
from protocols.agreement.check import Level, check
from protocols.agreement.order import parse_order, stage_timeouts
from protocols.agreement.parse import parse_agreement
from protocols.agreement.render import comparison, page
from protocols.agreement.status import Standing, State, status, unsigned
from protocols.agreement.template import amend, make_agreement
from protocols.agreement.terms import MANDATORY, TYPE_OF, cohort_floor, weight_cap
from protocols.canonical import json_bytes, json_id
from protocols.errors import InputError


def text(document: Any) -> bytes:
    return json.dumps(document).encode()


def altered(change: Callable[[dict[str, Any]], None]) -> bytes:
    document = copy.deepcopy(dict(AGREEMENT.document))
    change(document)
    return text(document)


def clause(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in document["clauses"] if one["id"] == name)


def test_the_template_gives_an_agreement_without_findings() -> None:
    assert check(AGREEMENT.agreement, AGREEMENT.terms, NOW) == ()
    again = parse_agreement(json_bytes(AGREEMENT.document), "a.json")
    assert again.id == AGREEMENT.id == json_id(AGREEMENT.document)
    assert set(AGREEMENT.terms.blocks) == set(TYPE_OF)


def test_text_and_machine_come_from_one_figure() -> None:
    made = agreement({"min_cohort": 7})
    said = next(one.plain_text for one in made.agreement.clauses if one.id == "c14")
    assert "fewer than 7 members" in said


def remove(name: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        document["clauses"] = [one for one in document["clauses"] if one["id"] != name]

    return change


@pytest.mark.parametrize("name", MANDATORY)
def test_a_missing_mandatory_clause_is_named(name: str) -> None:
    with pytest.raises(InputError, match=f"missing: {name}"):
        parse_agreement(altered(remove(name)), "a.json")


BAD: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda d: clause(d, "c14")["machine"].update(min_cohort=2), "c14 privacy min_cohort"),
    (lambda d: clause(d, "c14")["machine"].update(min_cohort="5"), "c14 privacy min_cohort"),
    (lambda d: clause(d, "c14")["machine"].update(min_cohort=5.5), "c14 privacy min_cohort"),
    (lambda d: clause(d, "c14")["machine"].update(epsilon=1), "c14 privacy epsilon: this key"),
    (lambda d: clause(d, "c14")["machine"].pop("colluders"), "c14 privacy colluders: .*missing"),
    (lambda d: clause(d, "c14")["machine"].update(type="budget"), "c14: this type of clause"),
    (lambda d: clause(d, "c14").pop("machine"), "c14 needs a machine block of type privacy"),
    (lambda d: clause(d, "c02").update(enforced_by="node"), "c02 says enforced_by"),
    (
        lambda d: clause(d, "c14").update(machine=clause(d, "c16")["machine"]),
        "c14 needs a machine block of type privacy, found approval",
    ),
    (lambda d: clause(d, "c07")["machine"].update(allowed=[]), "c07 purposes allowed: .*empty"),
    (lambda d: clause(d, "c07")["machine"].update(allowed=["A b"]), r"c07 purposes allowed\[0\]"),
    (lambda d: clause(d, "c08")["machine"].update(tables=[]), "c08 datasets tables: .*empty"),
    (lambda d: clause(d, "c13")["machine"].update(workloads=[]), "c13 workloads.* empty"),
    (
        lambda d: clause(d, "c13")["machine"].update(workloads=[WORKLOAD, WORKLOAD]),
        "same digest",
    ),
    (lambda d: clause(d, "c16")["machine"].update(mode="automatic"), "needs hours_utc"),
    (lambda d: clause(d, "c30")["machine"].update(ends="2026-03-01"), "c30 term ends: .*UTC"),
    (lambda d: clause(d, "c30")["machine"].update(ends="2026-02-01T00:00:00Z"), "ends before"),
    (lambda d: clause(d, "c02").update(plain_text=" "), "c02 plain_text"),
    (lambda d: clause(d, "c02").update(title="Two\nlines"), "c02 title: .*one line"),
    (lambda d: d.update(title="A\nVersion 9"), "title: .*one line"),
    (lambda d: d.update(clauses=list(reversed(d["clauses"]))), "out of order"),
    (lambda d: d.update(v=2), "v: "),
    (lambda d: d.update(version=2), "names the one before"),
    (lambda d: d.update(prev="ab" * 32), "version 1 has no prev"),
    (lambda d: d.update(extra=1), "extra: this key is not known"),
    (lambda d: d.update(coop="short"), "coop: "),
]


@pytest.mark.parametrize(("change", "words"), BAD)
def test_a_bad_document_names_clause_and_field(
    change: Callable[[dict[str, Any]], Any], words: str
) -> None:
    with pytest.raises(InputError, match=words) as caught:
        parse_agreement(altered(change), "a.json")
    assert caught.value.where == "a.json"


def test_bad_json_names_line_and_column() -> None:
    with pytest.raises(InputError) as caught:
        parse_agreement(b'{"kind": "datacoop/agreement",\n "v": ,}', "a.json")
    assert caught.value.where == "a.json:2:7"


ORDERS: list[tuple[dict[str, Any], str]] = [
    ({"cohort": [IDS[1], IDS[0]]}, "cohort: .*ascending"),
    ({"cohort": [IDS[0], IDS[0]]}, "cohort: .*ascending"),
    ({"cohort": []}, "cohort: .*empty"),
    ({"columns": []}, "columns: .*empty"),
    ({"columns": ["qty", "business_date"]}, "columns: .*ascending"),
    ({"run": "zz"}, "run: "),
    ({"deadline": "2026-01-01T00:00:00Z"}, "not after the instant"),
    ({"issued": "2026-01-01 00:00"}, "issued: .*UTC instant"),
    ({"stage_timeouts_s": stage_timeouts(0)}, "stage_timeouts_s.advertise"),
    ({"stage_timeouts_s": stage_timeouts(30) | {"audit": 86_401}}, "stage_timeouts_s.audit"),
    ({"stage_timeouts_s": stage_timeouts(30) | {"mask": 1.5}}, "stage_timeouts_s.mask"),
    ({"stage_timeouts_s": {"advertise": 30}}, "stage_timeouts_s.share"),
    ({"stage_timeouts_s": 30}, "stage_timeouts_s"),
    ({"max_dropout_percent": 9}, "max_dropout_percent"),
    ({"max_dropout_percent": 46}, "max_dropout_percent"),
    ({"rounds": True}, "rounds"),
    ({"code": "print()"}, "code: this key is not known"),
]


def test_the_stages_have_waits_of_their_own_in_the_order_of_a_round() -> None:
    waits = order().order.stage_timeouts_s
    assert waits.in_order == (30, 30, 600, 30, 30, 60)
    assert set(stage_timeouts(7).values()) == {7}


@pytest.mark.parametrize(("change", "words"), ORDERS)
def test_a_bad_order_names_its_field(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_order(text(dict(order().document) | change), "order")


def test_an_order_survives_its_own_bytes() -> None:
    made = order(config={"lr": 5.0, "w_max": 1})
    again = parse_order(json_bytes(made.document), "order")
    assert again.id == made.id
    assert same_json(again.order.config, {"lr": 5, "w_max": 1})
    assert not same_json({"a": True}, {"a": 1})
    assert not same_json([1], [1, 2])


FINDINGS: list[tuple[dict[str, Any], str, str]] = [
    ({"min_cohort": 4}, "c14", "competition profile B ask for 5"),
    ({"colluders": 4}, "c14", "4 colluders"),
    ({"profile_members": 4}, "c27", "asks for 5 contributors, the clause says 4"),
    ({"max_weight_percent": 30}, "c27", "caps a member's weight at 25 %, the clause says 30"),
    ({"profile": "C"}, "c27", "asks for 10"),
    ({"w_max": 2}, "c17", "is 1, the clause says 2"),
    ({"min_contributors": 4}, "c15", "c14 and c27 ask for 5"),
    ({"release": ["model", "forecasts"]}, "c15", "'forecasts' may not leave"),
    ({"release": ["model", "price"]}, "c15", "'price' may not leave"),
    ({"purposes_forbidden": ["train:demand"]}, "c07", "both allowed and forbidden"),
    ({"quorum_numerator": 1, "quorum_denominator": 3}, "c05", "two halves"),
]


@pytest.mark.parametrize(("figures", "name", "words"), FINDINGS)
def test_the_linter_names_clause_and_figure(figures: dict[str, Any], name: str, words: str) -> None:
    made = agreement(figures)
    errors = [one for one in check(made.agreement, made.terms, NOW) if one.level is Level.ERROR]
    assert any(one.clause == name and words in one.sentence for one in errors), errors


def test_the_linter_finds_other_contradictions() -> None:
    def errors(made: Any, now: datetime = NOW) -> dict[str, str]:
        found = check(made.agreement, made.terms, now)
        return {one.clause: str(one) for one in found if one.level is Level.ERROR}

    assert "ended on" in errors(AGREEMENT, ENDS)["c30"]
    same = agreement(operator_key="11" * 32, coordinator_key="11" * 32)
    assert "same key" in errors(same)["c05"]
    fewer = amend(AGREEMENT, "c08", {"tables": [{"table": "sales_line", "columns": ["qty"]}]})
    assert "business_date, category_code" in errors(fewer)["c13"]
    other = amend(AGREEMENT, "c07", {"allowed": ["train:churn"]})
    assert "does not allow" in errors(other)["c13"]
    fixed = agreement(workloads=[WORKLOAD | {"config": {"w_max": 1, "lr": 1}, "free": ["lr"]}])
    assert "both fixed and free" in errors(fixed)["c13"]
    risky = agreement(workloads=[WORKLOAD | {"purpose": "employment"}])
    assert "AI Act" in errors(risky)["c07"]


def test_the_linter_warns() -> None:
    made = agreement({"approval": "automatic", "hours_utc": {"from_hour": 0, "to_hour": 24}})
    warned = {one.clause for one in check(made.agreement, made.terms, NOW)}
    assert warned == {"c16"}


def test_floor_and_weight() -> None:
    privacy, guard = AGREEMENT.terms.blocks["c14"], AGREEMENT.terms.blocks["c27"]
    assert cohort_floor(privacy, guard) == 5  # type: ignore[arg-type]
    assert cohort_floor(privacy, guard, 9) == 11  # type: ignore[arg-type]
    assert [weight_cap(n) for n in (3, 5, 7, 10, 13)] == [1, 1, 2, 3, 4]
    for n in range(5, 200):
        assert weight_cap(n) / (weight_cap(n) + n - 1) <= 0.25


def test_the_page_says_what_others_may_do_before_the_clauses() -> None:
    said = page(AGREEMENT)
    assert said.index("What this lets others do") < said.index("The clauses")
    assert "at least 5" in said
    assert "no differential-privacy guarantee" in " ".join(said.split())
    assert "[a promise, not enforced by software]" in said
    assert max(map(len, said.splitlines())) <= 92
    for one in AGREEMENT.agreement.clauses:
        assert f"{one.id}  {one.title}" in said


def test_a_comparison_says_what_a_figure_does() -> None:
    looser = amend(AGREEMENT, "c14", {"min_cohort": 3})
    assert "min_cohort: 5 -> 3 (looser)" in comparison(AGREEMENT, looser)
    tighter = amend(AGREEMENT, "c13", {"workloads": [WORKLOAD | {"max_rounds": 20}]})
    said = comparison(AGREEMENT, tighter)
    assert "workloads[demand].max_rounds: 40 -> 20 (tighter)" in said
    more = amend(AGREEMENT, "c07", {"allowed": ["train:demand", "benchmark"]})
    assert "allowed: now with benchmark" in comparison(AGREEMENT, more)
    longer = amend(AGREEMENT, "c30", {"ends": "2028-03-01T00:00:00Z"})
    assert "(looser)" in comparison(AGREEMENT, longer)
    worded = amend(AGREEMENT, "c14", {}, plain_text="Something else.")
    assert "text that people read has changed" in comparison(AGREEMENT, worded)
    assert "every clause is the same" in comparison(AGREEMENT, AGREEMENT)
    assert looser.agreement.prev == AGREEMENT.id
    assert looser.agreement.version == 2


def test_templates_refuse_what_they_do_not_know() -> None:
    with pytest.raises(InputError, match="no figure min_cohrt"):
        agreement({"min_cohrt": 5})
    broken = {**TEMPLATE, "agreement": {**TEMPLATE["agreement"], "title": "$nothing"}}
    values = {
        "name": "x",
        "coop": COOP,
        "operator_key": "11" * 32,
        "coordinator_key": "22" * 32,
        "workloads": [WORKLOAD],
        "starts": NOW,
        "ends": ENDS,
    }
    with pytest.raises(InputError, match="'nothing' has no value"):
        make_agreement(broken, **values)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="not an agreement template"):
        make_agreement({}, **values)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no figure"):
        amend(AGREEMENT, "c14", {"cohort": 3})
    with pytest.raises(InputError, match="no clause"):
        amend(AGREEMENT, "c02", {})


STATES = [
    (Standing(False, frozenset(), frozenset(IDS)), NOW, State.DRAFT),
    (Standing(True, frozenset(), frozenset(IDS)), NOW, State.PROPOSED),
    (Standing(True, frozenset(), frozenset()), NOW, State.PROPOSED),
    (Standing(True, frozenset(IDS[:5]), frozenset(IDS)), NOW, State.SIGNING),
    (Standing(True, frozenset(IDS[:6]), frozenset(IDS)), NOW, State.IN_FORCE),
    (Standing(True, frozenset(["ee" * 32, *IDS[:5]]), frozenset(IDS)), NOW, State.SIGNING),
    (Standing(True, frozenset(IDS), frozenset(IDS)), NOW - timedelta(days=30), State.SIGNING),
    (Standing(True, frozenset(IDS), frozenset(IDS)), ENDS, State.EXPIRED),
    (Standing(True, frozenset(IDS), frozenset(IDS), True), NOW, State.SUPERSEDED),
    (Standing(True, frozenset(IDS), frozenset(IDS), False, True), NOW, State.TERMINATED),
]


@pytest.mark.parametrize(("standing", "now", "state"), STATES)
def test_the_life_of_a_version(standing: Standing, now: datetime, state: State) -> None:
    found = status(AGREEMENT.terms, standing, now)
    assert (found.state, found.needed) == (state, max(1, -(-len(standing.members) * 2 // 3)))
    assert unsigned(standing) == standing.members - standing.signers


def test_instants_have_one_spelling() -> None:
    assert utc_text(parse_utc("2026-03-10T12:00:00Z")) == "2026-03-10T12:00:00Z"
    for wrong in ("2026-03-10T12:00:00+00:00", "2026-03-10", "2026-13-10T12:00:00Z", 5, None):
        with pytest.raises(ValueError):
            parse_utc(wrong)
    with pytest.raises(InputError, match="time zone"):
        utc_text(datetime(2026, 1, 1))  # noqa: DTZ001
    assert len(KEYS) == 8
    assert datetime(2026, 1, 1, tzinfo=UTC) == parse_utc("2026-01-01T00:00:00Z")
