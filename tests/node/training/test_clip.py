"""No update leaves that is longer than the agreement says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from node.training.clip import bounded
from protocols.errors import InputError, LocalError

vectors = arrays(np.float32, st.integers(1, 40), elements=st.floats(-1e6, 1e6, width=32))


@settings(deadline=None, max_examples=200)
@given(vectors, st.floats(1e-3, 1e3))
def test_the_bound_holds_for_the_numbers_that_leave(delta: np.ndarray, clip_l2: float) -> None:
    update = bounded(delta, clip_l2)
    assert np.linalg.norm(update.values.astype(np.float64)) <= clip_l2
    assert np.abs(update.values).max() <= clip_l2
    if np.linalg.norm(delta.astype(np.float64)) <= clip_l2:
        np.testing.assert_array_equal(update.values, delta)
        assert not update.clipped


def test_a_long_update_keeps_its_direction() -> None:
    update = bounded(np.array([3.0, -4.0], np.float32), 1.0)
    np.testing.assert_allclose(update.values, [0.6, -0.8], rtol=1e-6)
    assert update.norm_before == 5
    assert update.clipped
    assert "0.6" not in repr(update)


def test_the_update_cannot_be_written() -> None:
    update = bounded(np.ones(3, np.float32), 1.0)
    with pytest.raises(ValueError, match="read-only"):
        update.values[0] = 9


def test_wrong_updates_are_refused() -> None:
    for wrong in (
        np.array([np.nan], np.float32),
        np.ones((2, 2), np.float32),
        np.ones(2, np.float64),
    ):
        with pytest.raises(LocalError):
            bounded(wrong, 1.0)
    for norm in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError):
            bounded(np.ones(2, np.float32), norm)
