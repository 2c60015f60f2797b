"""What the evaluation of a churn run sums, and the figures that follow from the noised sum.

One customer adds at most ``CUSTOMER_L2`` (in units before scaling) to the vector, in whole units:

- three counts of scores by outcome, one a method (own, shared, blend). A score p between two of
  the ``NODES`` counts for both, in such shares that their mean is p; so sums of scores are exact;
- the squared error of the member's own score, and by how much that of the shared and the blended
  score is smaller, the latter cut to +-``GAIN_CUT``: a difference is small and therefore cheap.

Only sums over all members' customers become known, with noise. Figures about parts of the members
are not collected.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError, Refused

METHODS: Final[tuple[str, ...]] = ("own", "shared", "blend")
NODES: Final[tuple[float, ...]] = tuple(at / 10 for at in range(11))
SCALE: Final = 2**12
CLAMP: Final = 4096.0  # times SCALE it leaves room for 120 members in 32 bits
CUSTOMER_L2: Final = 1.0
COUNT_WEIGHT: Final = 1840  # units that one customer adds to one method's counts
ERROR_WEIGHT: Final = 1430  # units for a squared error of 1
GAIN_WEIGHT: Final = 1430  # units for a gain of GAIN_CUT
GAIN_CUT: Final = 0.25
MIN_CUSTOMERS: Final = 20

_PER_METHOD: Final = 2 * len(NODES)  # stayed, then left
_SUMS: Final = len(METHODS) * _PER_METHOD
SIZE: Final = _SUMS + 3  # error of own; gain of shared; gain of blend

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


def customer_rows(scores: Mapping[str, Floats], left: NDArray[np.bool_]) -> Whole:
    """What each customer adds, whole units int64 (N, SIZE); each row's L2 norm <= SCALE.

    Args:
        scores: probability of leaving by method, float64 (N,) in [0, 1].
        left: whether the customer did leave, bool (N,).

    Raises:
        InputError: a method is missing, or a score is not a probability.
    """
    count = len(left)
    out = np.zeros((count, SIZE), dtype=np.int64)
    if set(scores) != set(METHODS):
        raise InputError(f"scores of {', '.join(METHODS)} are expected.")
    for at, method in enumerate(METHODS):
        score = np.asarray(scores[method], dtype=np.float64)
        if score.shape != (count,) or not ((score >= 0) & (score <= 1)).all():
            raise InputError(f"the scores of {method} are not {count} probabilities.")
        low = np.minimum((score * (len(NODES) - 1)).astype(np.int64), len(NODES) - 2)
        share = score * (len(NODES) - 1) - low
        above = np.floor(share * COUNT_WEIGHT + 0.5).astype(np.int64)
        first = at * _PER_METHOD + np.where(left, len(NODES), 0) + low
        row = np.arange(count)
        out[row, first] = COUNT_WEIGHT - above
        out[row, first + 1] = above
    errors = {name: (np.asarray(scores[name]) - left) ** 2 for name in METHODS}
    out[:, _SUMS] = np.floor(errors["own"] * ERROR_WEIGHT + 0.5)
    for at, method in enumerate(("shared", "blend")):
        gain = np.clip((errors["own"] - errors[method]) / GAIN_CUT, -1, 1)
        out[:, _SUMS + 1 + at] = np.rint(gain * GAIN_WEIGHT)
    return out


def member_vector(rows: Whole) -> Whole:
    """The member's vector: the sum of its customers' rows, clamped; int64 (SIZE,)."""
    bound = int(CLAMP * SCALE)
    out: Whole = np.clip(rows.sum(axis=0), -bound, bound)
    return out


def metrics_from_sum(
    total: NDArray[np.float64], members: int, noise_multiplier: float
) -> dict[str, float]:
    """Figures over all customers of the members, from the noised sum in whole units.

    Args:
        total: float64 (SIZE,).
        members: how many are in it; each of them reported.
        noise_multiplier: z of the evaluation.

    Returns:
        evaluated, customers (about), churn_rate; for each method auroc, brier, ece, log_loss,
        lift10; gain_brier (share by which the blend's error is smaller than the own one's);
        gain_noise, the noise that is in gain_brier, one standard deviation, at least.

    Raises:
        InputError: the sum has another length.
        Refused: too few customers for figures that mean anything.
    """
    total = np.asarray(total, dtype=np.float64)
    if total.shape != (SIZE,) or not np.isfinite(total).all():
        raise InputError(f"the sum of the metrics must hold {SIZE} finite numbers.")
    if members < 1 or np.abs(total).max() > 4 * members * CLAMP * SCALE:
        raise InputError(f"this sum of metrics is not possible with {members} members.")
    counts = (total[:_SUMS] / COUNT_WEIGHT).reshape(len(METHODS), 2, len(NODES))
    stayed, left = counts.sum(axis=2).mean(axis=0)  # three times the same people, other noise
    noise = noise_multiplier * SCALE
    least = max(MIN_CUSTOMERS, 2 * noise / COUNT_WEIGHT)
    if min(stayed, left) < least:
        raise Refused(
            f"about {max(stayed, 0):.0f} customers who stayed and {max(left, 0):.0f} who left "
            f"could be scored; at least {least:.0f} of both are needed beside the noise.",
            fix="Choose an earlier train_until, more members or a larger evaluation budget.",
        )
    customers = float(stayed + left)
    own = float(total[_SUMS]) / ERROR_WEIGHT / customers
    gains = total[_SUMS + 1 :] * GAIN_CUT / GAIN_WEIGHT / customers
    briers = {"own": own, "shared": own - float(gains[0]), "blend": own - float(gains[1])}
    out = {
        "evaluated": float(members),
        "customers": customers,
        "churn_rate": float(left) / customers,
    }
    for at, method in enumerate(METHODS):
        out[f"brier_{method}"] = briers[method]
        for name, value in _curve(counts[at, 0], counts[at, 1]).items():
            out[f"{name}_{method}"] = value
    out["gain_brier"] = float(gains[1]) / own if own > 0 else 0.0
    spread = noise * GAIN_CUT / GAIN_WEIGHT / customers
    out["gain_noise"] = spread / own if own > 0 else math.inf
    return out


def _curve(stayed: Floats, left: Floats) -> dict[str, float]:
    """Figures of one method from its two counts over the nodes, (NODES,) each, noise included."""
    nodes = np.array(NODES)
    people_stayed, people_left = stayed.sum(), left.sum()
    below = np.concatenate([[0.0], np.cumsum(stayed)[:-1]])
    auroc = float((left * (below + stayed / 2)).sum() / (people_stayed * people_left))
    people = stayed + left
    gap = np.abs(nodes * people - left)
    inside = np.clip(nodes, 0.01, 0.99)
    loss = -(left * np.log(inside) + stayed * np.log1p(-inside)).sum()
    everybody = people.sum()
    return {
        "auroc": min(max(auroc, 0.0), 1.0),
        "ece": float(gap.sum() / everybody),
        "log_loss": float(loss / everybody),
        "lift10": _lift(people, left),
    }


def _lift(people: Floats, left: Floats) -> float:
    """Share of leavers among the tenth with the highest scores, over their share among all."""
    wanted = people.sum() / 10
    found = caught = 0.0
    for many, gone in zip(people[::-1], left[::-1], strict=True):
        part = min(1.0, (wanted - found) / many) if many > 0 else 0.0
        found += part * max(many, 0.0)
        caught += part * gone
        if found >= wanted:
            break
    base = left.sum() / people.sum()
    return float(caught / found / base) if found > 0 and base > 0 else 0.0
