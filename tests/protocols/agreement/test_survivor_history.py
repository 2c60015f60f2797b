"""Near changes counted over rows of bits are those that the definition gives."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.agreement.survivors import near_changes, survivor_change

POOL = [f"m{number}" for number in range(70)]  # more than one word of bits
missing = st.frozensets(st.sampled_from(POOL), max_size=6)
sets = st.lists(missing.map(lambda gone: frozenset(POOL) - gone) | missing, max_size=9)


def near(previous: list[frozenset[str]], new: frozenset[str], n_min: int) -> bool:
    """SPEC.md section 6.4, word by word."""
    if not previous or new == previous[-1]:
        return False
    return any(1 <= len(earlier ^ new) < n_min for earlier in previous)


@settings(deadline=None, max_examples=300)
@given(
    history=sets,
    gone=missing,
    strangers=st.integers(0, 3),
    n_min=st.integers(1, 9),
    allowed=st.integers(0, 4),
)
def test_bits_and_definition_agree(
    history: list[frozenset[str]], gone: frozenset[str], strangers: int, n_min: int, allowed: int
) -> None:
    count = sum(near(history[:at], one, n_min) for at, one in enumerate(history))
    assert near_changes(history, n_min) == count
    new = frozenset(POOL) - gone | {f"new{number}" for number in range(strangers)}
    found = survivor_change(history, new, n_min, allowed)
    expected = near(history, new, n_min) and count + 1 > allowed
    assert (found is not None) == expected
    if found is not None:
        assert (found.found, found.allowed) == (str(count + 1), f"at most {allowed}")


def test_a_history_of_equal_but_separate_sets_is_one_set() -> None:
    full = [frozenset(list(POOL)) for _ in range(50)]
    assert near_changes(full, 5) == 0
    assert survivor_change(full, set(POOL), 5, 0) is None
    assert survivor_change(full, set(POOL[1:]), 5, 0) is not None
