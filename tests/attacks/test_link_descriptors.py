"""Attacks 1-8, 10-12, 31 and 40: what a coordinator may not put into a round's descriptor.

One run; each attempt of its first round shows everybody one lie, signed with the coordinator's
own key. Nobody sends keys under it. The attempt after the last lie is honest, and the run goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from attack_coop import ADVERTISE, GENERIC, Coop, Scenario
from attack_office import Lie

from protocols.secagg.messages import AdvertiseRequest
from protocols.secagg.params import quorum_size
from protocols.signing import SigningKey

Change = Callable[[Coop, Any], dict[str, Any]]
OTHER = bytes([7]) * 32


def to(**changes: Any) -> Change:
    return lambda coop, descriptor: changes


def one_less(name: str) -> Change:
    return lambda coop, descriptor: {name: getattr(descriptor, name) - 1}


def waits(at: int, seconds: int) -> Change:
    def change(coop: Coop, descriptor: Any) -> dict[str, Any]:
        found = list(descriptor.stage_timeouts_s)
        found[at] = seconds
        return {"stage_timeouts_s": tuple(found)}

    return change


# name -> (change, what every member's own log says)
LIES: dict[str, tuple[Change, str]] = {
    "01 threshold one": (to(threshold=1), "share threshold is 1"),
    "01 threshold below the formula": (one_less("threshold"), "share threshold is 3"),
    "02 quorum of three": (to(quorum=3), "the quorum is 3"),
    "02 quorum of none": (to(quorum=0), "the quorum is 0"),
    "03 cohort of two": (to(min_cohort=2), "smallest cohort is 2"),
    "03 cohort below the agreement": (to(min_cohort=4), "smallest cohort is 4"),
    "04 no colluders": (to(colluders=0, quorum=quorum_size(7, 0)), "0 colluders"),
    "04 fewer colluders": (to(colluders=1, quorum=quorum_size(7, 1)), "1 colluders"),
    "05 modulus wraps": (one_less("bits"), "modulus in bits"),
    "05 finer scale": (to(scale=2**20), "scale of the round"),
    "05 larger clip": (to(clip=2.0), "clip of the round is 2.0"),
    "05 more weight": (to(w_max=2), "w_max of the round"),
    "05 longer vector": (to(dim=100), "dim of the round"),
    "06 noise that nobody agreed on": (to(sigma_local=1.0), "1.0"),
    "07 degree two": (to(degree=2), "degree of the graph is 2"),
    "07 degree none": (to(degree=0), "degree of the graph is 0"),
    "08 another model": (to(model_hash=OTHER), "model_hash of the round"),
    "10 other code or settings": (to(task_hash=OTHER), "task_hash"),
    "10 evaluation dressed as training": (to(task="evaluate"), "task of the round"),
    "10 another order": (to(order_hash=OTHER), "order_hash"),
    "10 another agreement": (to(agreement=OTHER), "agreement"),
    "10 another cooperative": (to(coop=OTHER), "coop"),
    "10 another protocol": (to(protocol="SA-Q0"), "SA-Q"),
    "11 another roster": (to(roster_hash=OTHER), "roster_hash"),
    "12 a stranger more": (
        lambda coop, one: {"ids": tuple(sorted((*one.ids, OTHER)))},
        "1 more, 0 missing",
    ),
    "12 a stranger in a member's place": (
        lambda coop, one: {"ids": tuple(sorted((*one.ids[1:], OTHER)))},
        "1 more, 1 missing",
    ),
    "12 a member left out": (lambda coop, one: {"ids": one.ids[:-1]}, "0 more, 1 missing"),
    "40 training without end": (waits(2, 86_400), "stage_timeouts_s of the round"),
    "40 no time to agree": (waits(3, 1), "stage_timeouts_s of the round"),
    "40 an audit without end": (waits(5, 86_400), "stage_timeouts_s of the round"),
    "31 another run": (to(run=OTHER[:16]), "run of the round"),
    "31 another round": (to(round=2), "another attempt than its envelope"),
    "31 another history": (to(prev_transcript=OTHER), "prev_transcript"),
}
UNSIGNED = "31 a descriptor that the coordinator did not sign"


@dataclass
class Campaign:
    scenario: Scenario
    lies: dict[str, Lie]


def changed(coop: Coop, change: Change) -> Callable[[Any, bytes], AdvertiseRequest]:
    def edit(request: AdvertiseRequest, me: bytes) -> AdvertiseRequest:
        descriptor = request.descriptor
        return replace(request, descriptor=replace(descriptor, **change(coop, descriptor)))

    return edit


def resigned(request: AdvertiseRequest, me: bytes) -> AdvertiseRequest:
    stranger = SigningKey(OTHER)
    return replace(request, signature=stranger.sign("SAQ1 RD", request.descriptor.digest()))


@pytest.fixture(scope="module")
def campaign(coop: Coop) -> Campaign:
    lies = {name: coop.lie(ADVERTISE, changed(coop, change)) for name, (change, _) in LIES.items()}
    lies[UNSIGNED] = coop.lie(ADVERTISE, resigned)
    return Campaign(coop.play(*lies.values()), lies)


def refused_by_all(campaign: Campaign, name: str, words: str) -> None:
    lie = campaign.lies[name]
    coop = campaign.scenario.coop
    assert {one.member for one in lie.told} == coop.ids()
    assert lie.replies() == []
    assert all(one.problem == GENERIC for one in lie.told)
    for member, reasons in lie.refused.items():
        assert len(reasons) == 1, (coop.name_of(member), reasons)
        assert words in reasons[0]


def numbered(number: str) -> list[str]:
    return [name for name in LIES if name.startswith(number)]


@pytest.mark.parametrize("name", numbered("01"))
def test_01_threshold(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name, LIES[name][1])


@pytest.mark.parametrize("name", numbered("02"))
def test_02_quorum(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name, LIES[name][1])


@pytest.mark.parametrize("name", numbered("03"))
def test_03_smallest_cohort(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name, LIES[name][1])


@pytest.mark.parametrize("name", numbered("04"))
def test_04_colluders(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name, LIES[name][1])


@pytest.mark.parametrize("name", numbered("05"))
def test_05_modulus_and_fixed_point(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name, LIES[name][1])


@pytest.mark.parametrize("name", numbered("06"))
def test_06_noise(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name, LIES[name][1])


@pytest.mark.parametrize("name", numbered("07"))
def test_07_degree(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name, LIES[name][1])


@pytest.mark.parametrize("name", numbered("08"))
def test_08_model(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name, LIES[name][1])


@pytest.mark.parametrize("name", numbered("10"))
def test_10_task_order_agreement(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name, LIES[name][1])


@pytest.mark.parametrize("name", numbered("11"))
def test_11_roster_epoch(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name, LIES[name][1])


@pytest.mark.parametrize("name", numbered("12"))
def test_12_cohort_that_is_not_the_orders(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name, LIES[name][1])


@pytest.mark.parametrize("name", numbered("31"))
def test_31_descriptor_of_another_place(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name, LIES[name][1])


def test_31_descriptor_that_the_coordinator_did_not_sign(campaign: Campaign) -> None:
    refused_by_all(campaign, UNSIGNED, "does not verify")


@pytest.mark.parametrize("name", numbered("40"))
def test_40_time_limits_that_are_not_the_orders(campaign: Campaign, name: str) -> None:
    refused_by_all(campaign, name, LIES[name][1])


def test_the_run_goes_on_after_all_of_them(campaign: Campaign) -> None:
    """No keys, no shares, no vectors under a lie; then everybody is in both rounds."""
    scenario = campaign.scenario
    assert scenario.ended() in ("released", "refused")
    assert scenario.rounds() == [set(scenario.coop.names)] * 2
    honest = {one.attempt for one in scenario.said if one.round == 1 and one.reply is not None}
    assert honest == {len(campaign.lies)}
