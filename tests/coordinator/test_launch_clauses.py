"""Clauses of the coordinator: each broken where it is true, each refusal with its figure.

The office is the product's own, on disk; the launch gate is asked as 'run launch' asks it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from coordinator import incidents, upkeep
from coordinator.launching import launch, planned
from coordinator.members import certificates
from protocols.agreement.base import utc_text
from protocols.bundle import CARD, MODEL
from protocols.canonical import json_bytes
from protocols.errors import Refused
from small_office import NAME, NOW, SmallOffice, quick, signed_office

Break = Callable[[SmallOffice], None]
HOME = {"legal_id": NAME, "country": "DE", "sub_processors": ["Hosting AG"]}
AGREED: Mapping[str, Any] = {
    "sub_processors": [{"name": "Hosting AG", "country": "DE", "service": "a machine"}],
    "run_cost_cents": 1000,
    "period_cap_cents": 1999,
    "updates_hours": 48,
    "models_days": 30,
    "notify_hours": 24,
}


def configured(**changes: Any) -> Break:
    def act(office: SmallOffice) -> None:
        text = "".join(f"{key} = {_toml(value)}\n" for key, value in {**HOME, **changes}.items())
        (office.folder / "config.toml").write_text(text, encoding="utf-8")
        office.open()

    return act


def _toml(value: Any) -> str:
    return json_bytes({"x": value}).decode()[5:-1]


def a_run_before(office: SmallOffice) -> None:
    launch(office.house, planned(office.house, quick()))


def an_open_incident(office: SmallOffice) -> None:
    incidents.open_incident(office.house, what="A theft.", freeze=True, entropy=secrets.token_bytes)


def a_late_notice(office: SmallOffice) -> None:
    an_open_incident(office)
    office.now += timedelta(hours=25)


def an_old_answer(office: SmallOffice) -> None:
    file = office.folder / "runs" / "ab" / "stages" / "0001.0.log"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    at_s = (NOW - timedelta(hours=50)).timestamp()
    os.utime(file, (at_s, at_s))


def an_old_release(office: SmallOffice) -> None:
    folder = office.folder / "releases" / ("ab" * 32)
    folder.mkdir(parents=True)
    (folder / MODEL).write_bytes(b"x")
    (folder / CARD).write_bytes(json_bytes({"created": utc_text(NOW - timedelta(days=40))}))


def a_clock_put_back(office: SmallOffice) -> None:
    a_run_before(office)
    office.now -= timedelta(hours=2)


def a_long_certificate(office: SmallOffice) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(certificates, "SERVER_FOR", timedelta(days=3650))
        late = NOW + timedelta(days=400)
        upkeep.renew_certificate(office.house, late, lambda kind, facts: None)


def nothing(office: SmallOffice) -> None:
    """As agreed."""


CASES: list[tuple[str, Mapping[str, Any], Break, str]] = [
    ("c04", {}, configured(legal_id="HRB 2"), "business is 'HRB 2', agreed is 'Six shops'"),
    ("c19", {}, a_run_before, "would pay 20.00 EUR in 365 days, at most 19.99 EUR is agreed"),
    ("c22", {}, configured(country="US"), "the coordinator runs in US, agreed is DE"),
    ("c22", {}, configured(country=""), "the country in which the coordinator runs"),
    (
        "c22",
        {},
        configured(sub_processors=["Hosting AG", "Other Ltd"]),
        "Other Ltd works for the coordinator and is not agreed",
    ),
    ("c23", {}, a_long_certificate, "valid for 3651 days, at most 400 are agreed"),
    ("c23", {"min_software": "99.0"}, nothing, "at least 99.0 is agreed"),
    ("c24", {"witnesses": 2}, nothing, "0 members have countersigned"),
    ("c25", {}, an_open_incident, "1 incidents are open at the coordinator"),
    ("c25", {}, a_late_notice, "not been told of 1 incidents within 24 hours"),
    ("c26", {"slices": ["region"]}, nothing, "slices"),
    ("c28", {}, an_old_answer, "update is 50.0 hours old, at most 48 hours are agreed"),
    ("c28", {}, an_old_release, "result is 40.0 days old, at most 30 days are agreed"),
    ("c30", {}, a_clock_put_back, "was written down at 2026-03-01 12:00 UTC before"),
]


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., SmallOffice]:
    def make(**figures: Any) -> SmallOffice:
        office = signed_office(tmp_path / "office", **{**AGREED, **figures})
        configured()(office)
        return office

    return make


def test_as_agreed_it_is_launched(made: Callable[..., SmallOffice]) -> None:
    office = made()
    launch(office.house, planned(office.house, quick()))
    assert len(office.letters(kind="order")) == 1


@pytest.mark.parametrize(
    ("clause", "figures", "act", "words"), CASES, ids=[f"{one[0]} {one[3][:24]}" for one in CASES]
)
def test_one_broken_clause_says_no_with_its_figure(
    made: Callable[..., SmallOffice],
    clause: str,
    figures: Mapping[str, Any],
    act: Break,
    words: str,
) -> None:
    office = made(**figures)
    act(office)
    before = len(office.letters(kind="order"))
    plan = planned(office.house, quick())
    assert plan.denial is not None
    assert plan.denial.clauses == (clause,)
    assert words in str(plan.denial)
    with pytest.raises(Refused) as error:
        launch(office.house, plan)
    assert error.value.clauses == (clause,)
    assert len(office.letters(kind="order")) == before
