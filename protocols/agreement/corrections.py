"""After a customer was erased, rectified or restricted at a member: what the office is told, and
what becomes of models that were trained before (SPEC.md section 10).

The office is told how many people and in which runs they were (GDPR art. 19), never who:

    {"count": 1, "runs": ["3f..", "a0.."], "what": "erased"}

No clause prescribes it: clause 29 speaks of members who leave, not of their customers. So this is
a proposal, made from what the members did agree to, with its reason; people decide. It rests on
clause 14 where noise hides each customer, and on clause 29 by analogy where nothing does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

from protocols.agreement.terms import Membership, Privacy, Terms
from protocols.canonical import json_bytes, parse_json
from protocols.errors import InputError

CORRECTION = "correction"  # kind of the letter
UNIT = "customer"
MAX_RUNS, MAX_COUNT = 1000, 1_000_000
What = Literal["erased", "rectified", "restricted"]
_RUN = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Correction:
    """What a member tells the office: what was done, for how many people, in which runs they
    were. Runs are distinct and in order."""

    what: What
    count: int
    runs: tuple[str, ...]


def make_correction(what: What, count: int, runs: Iterable[str]) -> bytes:
    """The letter; its three fields are all that leaves."""
    listed = sorted(set(runs))[:MAX_RUNS]
    return json_bytes({"what": what, "count": count, "runs": listed})


def read_correction(body: bytes, where: str = CORRECTION) -> Correction:
    """A letter from bytes of unknown origin; InputError for anything but the three fields."""
    document = parse_json(body, where)
    what, count, runs = (document.get(key) for key in ("what", "count", "runs"))
    if (
        set(document) != {"what", "count", "runs"}
        or what not in get_args(What)
        or type(count) is not int
        or not 1 <= count <= MAX_COUNT
        or not isinstance(runs, list)
        or len(runs) > MAX_RUNS
        or not all(isinstance(one, str) and _RUN.fullmatch(one) for one in runs)
        or runs != sorted(set(runs))
    ):
        raise InputError("this is not a correction: what, count and runs.", where=where)
    return Correction(cast(What, what), count, tuple(runs))


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to do with one model, the clause that it rests on (or none), and why."""

    decision: Literal["keep", "retrain", "retire"]
    clause: str
    why: str

    def words(self) -> str:
        """For people: that this is a proposal, too."""
        return f"No clause prescribes this. Proposed: {self.decision}, because {self.why}."


def past_model(terms: Terms | None, privacy: Mapping[str, Any]) -> Proposal:
    """The proposal for one model.

    Args:
        terms: the agreement under which the model was made; None if it is not known here.
        privacy: the section ``privacy`` of its card.
    """
    epsilon = _epsilon(privacy)
    block = terms.block("c14", Privacy) if terms is not None else None
    budget = block.budget(UNIT) if block is not None else None
    if epsilon is not None and budget is not None and epsilon <= budget.epsilon:
        return Proposal(
            "keep",
            "c14",
            f"noise hides whether any one customer is in it (epsilon {epsilon:g}, within the "
            f"{budget.epsilon:g} of clause 14)",
        )
    why = (
        "no noise hides a single customer in it"
        if epsilon is None
        else f"its epsilon of {epsilon:g} is not within what clause 14 allows"
    )
    leavers = terms.block("c29", Membership) if terms is not None else None
    if leavers is None:
        return Proposal("retrain", "", why)
    if leavers.past_models == "retire":
        return Proposal("retire", "c29", f"{why}, and clause 29 retires models of who leaves")
    return Proposal(
        "retrain",
        "c29",
        f"{why}; clause 29 gives {leavers.retrain_days} days for it when a member leaves",
    )


def _epsilon(privacy: Mapping[str, Any]) -> float | None:
    """The promise to each customer: what the coordinator with the agreed colluders sees."""
    if privacy.get("claim") != UNIT:
        return None
    stated = privacy.get("epsilon")
    found = stated.get("colluders") if isinstance(stated, Mapping) else None
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None
