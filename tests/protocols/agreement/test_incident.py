"""Steps of an incident: who may say them, what they freeze, and what an old one cannot undo."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from protocols.agreement.incident import (
    MAX_WHAT,
    NEXT,
    Incident,
    State,
    frozen,
    make_incident,
    newest,
    read_incident,
    verify_incident,
)
from protocols.errors import InputError
from protocols.signing import jws_sign
from small_coop import COOP, COORDINATOR, NOW, OPERATOR

ONE, TWO = "1f" * 16, "2e" * 16


def step(state: State = "opened", **changes: Any) -> Incident:
    fields: dict[str, Any] = {
        "coop": COOP,
        "incident": ONE,
        "state": state,
        "freeze": True,
        "what": "A laptop of the office was stolen.",
        "at": NOW,
    }
    return make_incident(**{**fields, **changes}).incident


def test_a_step_that_the_operator_signed_is_read_back() -> None:
    made = make_incident(
        coop=COOP, incident=ONE, state="opened", freeze=True, what="A theft.", at=NOW
    )
    signed = jws_sign(made.document, "operator", OPERATOR)
    found = verify_incident(signed, coop=COOP, operator_key=OPERATOR.public, where="letter")
    assert found == made


@pytest.mark.parametrize(
    ("kid", "key", "coop", "problem"),
    [
        ("operator", COORDINATOR, COOP, "does not verify"),
        ("coordinator", COORDINATOR, COOP, "not a party"),
        ("operator", OPERATOR, "aa" * 32, "of cooperative"),
    ],
)
def test_the_server_alone_freezes_nothing(kid: str, key: Any, coop: str, problem: str) -> None:
    made = make_incident(coop=coop, incident=ONE, state="opened", freeze=True, what="x", at=NOW)
    signed = jws_sign(made.document, kid, key)
    with pytest.raises(InputError, match=problem):
        verify_incident(signed, coop=COOP, operator_key=OPERATOR.public, where="letter")


@pytest.mark.parametrize(
    "change",
    [
        {"state": "forgotten"},
        {"what": ""},
        {"what": "a\nb"},
        {"what": "x" * (MAX_WHAT + 1)},
        {"freeze": 1},
        {"at": "2026-03-01"},
        {"who": "me"},
        {"incident": "1f"},
    ],
)
def test_what_is_not_of_the_form_is_refused(change: dict[str, Any]) -> None:
    made = make_incident(coop=COOP, incident=ONE, state="opened", freeze=True, what="x", at=NOW)
    with pytest.raises(InputError):
        read_incident({**made.document, **change}, "letter")


def test_an_open_incident_freezes_until_it_is_closed() -> None:
    opened, closed = step(), step("closed")
    told = step("notified", at=NOW + timedelta(hours=2))
    assert "stolen" in frozen([opened])
    assert "since 2026-03-01T12:00:00Z: A laptop" in frozen([told, opened])
    assert frozen([opened, told, closed]) == ""
    assert frozen([]) == ""


def test_an_old_letter_that_comes_again_does_not_undo_a_later_step() -> None:
    assert frozen([step(), step("closed"), step()]) == ""
    assert [one.state for one in newest([step("closed"), step(), step("notified")])] == ["closed"]


def test_a_later_step_cannot_quietly_thaw_without_closing() -> None:
    assert frozen([step(), step("notified", freeze=False)]) != ""


def test_an_incident_that_does_not_freeze_stops_nothing() -> None:
    assert frozen([step(freeze=False)]) == ""


def test_two_open_incidents_are_counted_and_the_older_is_named() -> None:
    later = step(incident=TWO, what="A second one.", at=NOW + timedelta(hours=1))
    said = frozen([later, step()])
    assert "stolen" in said and "(and 1 more)" in said
    assert "second" in frozen([later, step(), step("closed")])


def test_every_state_leads_to_the_end() -> None:
    assert set(NEXT) == {"opened", "notified", "closed"}
    assert NEXT["opened"] == ("notified",)  # nobody closes what the members were not told of
    assert NEXT["closed"] == ()
