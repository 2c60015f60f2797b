"""What each machine block does, in words: the software's reading of a clause.

The sentences follow from the block alone, never from the clause's text, and every figure of a
block stands in one of them. So a text that promises more than the software does can be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from protocols.agreement import effects_people, effects_results, effects_runs
from protocols.agreement.terms import Machine

_SENTENCES: Mapping[type, Callable[[Any], tuple[str, ...]]] = {
    **effects_people.SENTENCES,
    **effects_runs.SENTENCES,
    **effects_results.SENTENCES,
}


def effects(block: Machine) -> tuple[str, ...]:
    """Sentences of one block, in the order in which its figures matter; never empty."""
    return _SENTENCES[type(block)](block)
