"""The form of a descriptor, and figures that cannot make a round whatever anybody agreed."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from secagg_world import World

from protocols.errors import InputError, Refused
from protocols.secagg import Demands, RoundDescriptor
from protocols.secagg.params import (
    check_figures,
    least_cohort,
    max_weight,
    quorum_size,
    share_threshold,
    sum_bits,
    value_bound,
)

GOOD = World(n=7).descriptor()


@pytest.mark.parametrize(
    "changes",
    [
        {"coop": bytes(31)},
        {"run": bytes(15)},
        {"prev_transcript": b""},
        {"task": "test"},
        {"round": -1},
        {"attempt": 2**32},
        {"scale": 2**32},
        {"clip": -0.0},
        {"clip": float("inf")},
        {"sigma_local": -1.0},
        {"ids": (*GOOD.ids[:-1], b"\xff" * 33)},
        {"ids": GOOD.ids[::-1]},
        {"ids": GOOD.ids[:2]},
        {"dim": 0},
        {"dim": 10_000_000},
        {"stage_timeouts_s": (60,) * 5},
        {"stage_timeouts_s": (60,) * 5 + (-1,)},
    ],
    ids=lambda c: next(iter(c)),
)
def test_a_malformed_descriptor_cannot_be_made(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="malformed"):
        replace(GOOD, **changes)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"colluders": 0}, "honest pair"),
        ({"colluders": 6}, "honest pair"),
        ({"colluders": 2, "quorum": 5, "min_cohort": 3}, "smallest cohort"),
        ({"min_cohort": 8}, "smallest cohort"),
        ({"w_max": 0}, "weight cap"),
        ({"w_max": 2}, "weight cap"),
        ({"scale": 0}, "above 0"),
        ({"clip": 0.0}, "above 0"),
        ({"scale": 2**31}, "at most 32"),
        ({"bits": 31}, "modulus"),
        ({"bits": 10}, "modulus"),
        ({"quorum": 6}, "quorum"),
        ({"threshold": 5}, "threshold"),
        ({"degree": 7}, "degree"),
    ],
    ids=str,
)
def test_figures_that_make_no_round(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(Refused, match=match):
        check_figures(replace(GOOD, **changes))


@pytest.mark.parametrize("figures", [(0, 3, 1), (-1, 3, 1), (1, 2, 1), (1, 3, 0)], ids=str)
def test_demands_that_ask_for_nothing_are_refused(figures: tuple[int, int, int]) -> None:
    with pytest.raises(InputError):
        Demands(*figures)


def test_every_field_of_a_descriptor_is_in_its_digest() -> None:
    changes: dict[str, Any] = {"task": "evaluate", "ids": GOOD.ids[:-1], "protocol": "SA-Q2"}
    seen = {GOOD.digest()}
    for one in fields(RoundDescriptor):
        value = getattr(GOOD, one.name)
        if one.name in changes:
            other = changes[one.name]
        elif isinstance(value, bytes):
            other = bytes([value[0] ^ 1]) + value[1:]
        elif one.name == "stage_timeouts_s":
            other = (*value[:-1], value[-1] + 1)
        else:
            other = value + 1
        seen.add(replace(GOOD, **{one.name: other}).digest())
    assert len(seen) == len(fields(RoundDescriptor)) + 1


@settings(deadline=None)
@given(st.integers(3, 300), st.data())
def test_what_the_formulas_promise(n: int, data: st.DataObject) -> None:
    c = data.draw(st.integers(1, n - 2))
    q, t = quorum_size(n, c), share_threshold(n, c)
    assert c < t <= n and q <= n
    assert 2 * q - n > c  # two quorums share more members than can collude
    w_max = max_weight(least_cohort(c))
    scale, clip = data.draw(st.integers(1, 2**20)), data.draw(st.floats(0.001, 8.0))
    largest = n * max(value_bound(scale, clip), w_max)
    bits = sum_bits(n, scale, clip, w_max)
    assert -(2 ** (bits - 1)) <= -largest and largest < 2 ** (bits - 1)
    floor = data.draw(st.integers(4, 300))
    w = max_weight(floor)
    assert w * 4 <= w + (floor - 1) or w == 1  # a quarter, whatever the others weigh
