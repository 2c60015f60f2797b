"""Events: values in range, JSON both ways, and nothing unknown gets a price."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.canonical import json_bytes, parse_json
from protocols.errors import InputError, Refused
from protocols.privacy.events import NoisedSums, from_json

GOOD = NoisedSums("customer", 1.5, 0.25, 100, 1e-20, 1e-9)

events = st.builds(
    NoisedSums,
    unit=st.sampled_from(["customer", "member"]),
    noise_multiplier=st.floats(1e-6, 1e9),
    sample_rate=st.floats(1e-9, 1),
    steps=st.integers(1, 10_000_000),
    sampler_distance=st.floats(0, 1),
    lattice_distance=st.floats(0, 1),
)


@given(events)
def test_an_event_survives_its_canonical_bytes(event: NoisedSums) -> None:
    assert from_json(parse_json(json_bytes(event.to_json()), "ledger")) == event


def test_a_whole_number_is_written_without_a_point_and_read_back() -> None:
    event = NoisedSums("customer", 2.0, 1.0, 3)
    assert b'"noise_multiplier":2,' in json_bytes(event.to_json())
    back = from_json(json.loads(json_bytes(event.to_json())))
    assert back == event
    assert isinstance(back.noise_multiplier, float)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "gaussian"},
        {"kind": None},
        {"v": 2},
        {"v": True},
        {"v": 1.0},
    ],
)
def test_an_unknown_kind_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(Refused, match="nobody can say what it costs"):
        from_json({**GOOD.to_json(), **change})


@pytest.mark.parametrize(
    "change",
    [
        {"unit": "shop"},
        {"unit": ["customer"]},
        {"noise_multiplier": 0},
        {"noise_multiplier": -1},
        {"noise_multiplier": math.inf},
        {"noise_multiplier": math.nan},
        {"noise_multiplier": True},
        {"noise_multiplier": "1"},
        {"noise_multiplier": 10**400},
        {"sample_rate": 0},
        {"sample_rate": 1.01},
        {"sample_rate": math.nan},
        {"steps": 0},
        {"steps": 1.0},
        {"steps": True},
        {"steps": 10_000_001},
        {"sampler_distance": -1e-9},
        {"lattice_distance": 2},
        {"lattice_distance": math.nan},
        {"note": "more"},
    ],
)
def test_a_malformed_event_is_no_event(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="malformed"):
        from_json({**GOOD.to_json(), **change})


@pytest.mark.parametrize("name", sorted(set(GOOD.to_json()) - {"kind", "v"}))
def test_nothing_may_be_left_out(name: str) -> None:
    document = GOOD.to_json()
    del document[name]
    with pytest.raises(InputError, match="the fields are"):
        from_json(document)
