"""Attacks 33, 40, 41 and 46: orders and cohorts, signed by an operator who lies as well.

What the launch gate says holds nobody up here; each member's own gate decides. Accepted cohorts
and rounds stand in the members' ledgers, so this module has a cooperative of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from attack_coop import AGREE, GENERIC, MASK, Coop, Scenario, cooperative
from attack_office import Lie
from attack_shop import Shop

from coordinator.plans import RunPlan
from protocols.agreement.base import utc_text
from protocols.agreement.order import read_order
from protocols.audit.entries import Kind
from protocols.secagg.messages import Stage

ALL = tuple(f"m{number}" for number in range(1, 8))


@pytest.fixture(scope="module")
def coop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coop]:
    with cooperative(tmp_path_factory.mktemp("ordered")) as made:
        yield made


def altered(plan: RunPlan, **changes: Any) -> RunPlan:
    """Another order; the operator signs it all the same."""
    order = read_order({**plan.order.document, **changes}, "order")
    return replace(plan, order=order)


def refused_by(coop: Coop, plan: RunPlan, words: str, *names: str) -> Scenario:
    """Each of these members says no to the order, and no round begins."""
    coop.malice.forget()
    since = {name: len(coop.shops[name].lines.events) for name in names}
    scenario = coop.launch(plan=plan)
    for name in names:
        said = coop.shops[name].lines.wait(
            lambda one: one["event"] == "order" and one["run"] == scenario.run, since[name]
        )
        assert said["answer"] == "refused" and words in said["reasons"], said
    assert scenario.ended() == "failed"
    assert scenario.said == []
    for name in names:
        journal = coop.shops[name].journal(Kind.REFUSAL)
        assert [one for one in journal if one.get("run") == scenario.run], name
    return scenario


def test_33_a_cohort_that_differs_by_one_again_and_again(coop: Coop) -> None:
    """All, all but m7, all: two near changes. The third difference of one is refused."""
    for active in (ALL, ALL[:6], ALL):
        coop.malice.forget()
        scenario = coop.launch(plan=coop.plan(active=active))
        assert scenario.ended() in ("released", "refused")
        assert scenario.rounds() == [set(active)] * 2
    without = tuple(name for name in ALL if name != "m6")
    # m7 was not asked about the cohort without it, so it counts one difference less
    refused_by(coop, coop.plan(active=without), "c14", *ALL[:5])
    coop.malice.forget()
    assert coop.launch(plan=coop.plan(active=ALL)).ended() in ("released", "refused")


def test_33_two_releases_do_not_come_from_one_model(coop: Coop) -> None:
    """The same settings, with one member less: nothing starts where the other run started."""
    one, other = coop.plan(active=ALL), coop.plan(active=ALL[:6])
    assert one.order.order.config == other.order.order.config
    first, second = (plan.course.first_model().params for plan in (one, other))
    assert abs(float(first @ second)) < 0.2 * float(first @ first)
    again = coop.plan(active=ALL)
    assert again.course.first_model().params.tobytes() != first.tobytes()


def test_40_an_order_out_of_its_time(coop: Coop) -> None:
    plan = coop.plan()
    issued = plan.order.order.issued
    hour = timedelta(hours=1)
    over = altered(plan, issued=utc_text(issued - 3 * hour), deadline=utc_text(issued - hour))
    refused_by(coop, over, "deadline was", *ALL)
    later = altered(
        coop.plan(), issued=utc_text(issued + hour), deadline=utc_text(issued + 2 * hour)
    )
    refused_by(coop, later, "is dated", *ALL)
    years = altered(coop.plan(), deadline=utc_text(issued + 2000 * hour))
    refused_by(coop, years, "after the agreement ends", *ALL)


def test_40_a_stage_that_comes_after_its_time(coop: Coop) -> None:
    """The office lets an attempt rest: the members have forgotten its keys."""
    waited: list[Stage] = []

    def watch(number: int, attempt: int, stage: Stage) -> None:
        if stage is MASK and not waited:
            waited.append(stage)
            for name in ALL:  # their clocks move on; what they hold has a time
                participant = coop.shops[name].participant(scenario.run)
                participant._due = participant._tools.monotonic() - 0.001

    coop.malice.forget()
    coop.malice.watch = watch
    scenario = coop.launch()
    assert scenario.ended() in ("released", "refused")
    late = [one for one in scenario.said if (one.attempt, one.stage) == (0, MASK)]
    first = [one for one in late if one.round == 1]
    assert len(first) == 7 and all(one.problem == GENERIC for one in first)
    for name in ALL:
        (reason,) = scenario.refusals(name)
        assert "after its time was over" in reason or "no part in the attempt" in reason
    assert scenario.rounds() == [set(ALL)] * 2  # with fresh keys


def test_46_survivors_that_differ_by_one_beyond_the_clause(coop: Coop) -> None:
    """m7 is left out of a round and comes back: twice. m6 out as well would be the third time."""

    def left_out(name: str, number: int) -> Lie:
        return Lie(MASK, coop.ids([name]), lambda envelope, me: None, round=number)

    scenario = coop.play(left_out("m7", 2), left_out("m6", 4), rounds=4)
    assert scenario.ended() == "failed" and "was spent" in scenario.detail()
    assert scenario.rounds() == [set(ALL), set(ALL) - {"m7"}, set(ALL)]
    asked = [one for one in scenario.said if (one.round, one.stage) == (4, AGREE)]
    assert len(asked) == 6 and all(one.problem == GENERIC for one in asked)
    for name in set(ALL) - {"m6"}:
        assert (
            "at most 2" in scenario.refusals(name)[0]
            or "2 are allowed" in (scenario.refusals(name)[0])
        )
        spent = [
            one["round"]
            for one in coop.shops[name].journal(Kind.SPENT)
            if one["run"] == scenario.run
        ]
        assert spent == ([1, 3] if name == "m7" else [1, 2, 3])


def test_41_a_cohort_with_a_stranger(coop: Coop) -> None:
    """The office has enrolled a member of its own; no list that members signed holds it."""
    stranger = Shop("Shop 8", coop.root / "shop-8", 8)
    stranger.found()
    stranger.join(coop.invitation(stranger.name))
    plan = coop.plan(active=ALL)
    assert stranger.id not in plan.order.order.cohort
    cohort = sorted([*plan.order.order.cohort[1:], stranger.id])
    there = [name for name in ALL if coop.id(name) in cohort]
    refused_by(coop, altered(plan, cohort=cohort), "c01", *there)


def test_41_a_member_that_was_removed(coop: Coop) -> None:
    """Its certificate opens nothing any more, however often it dials."""
    shop, house = coop.shops["m7"], coop.office.house
    since = len(shop.lines.events)
    house.enrolment.remove(shop.id, house.clock())
    first = shop.lines.wait(lambda one: one["event"] == "waiting", since)
    assert "removed" in first["problem"]
    again = len(shop.lines.events)
    assert "removed" in shop.lines.wait(lambda one: one["event"] == "waiting", again)["problem"]
    assert shop.id not in coop.office.server._sessions.connected()
