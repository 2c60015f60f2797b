"""What the evaluation of a churn run sums, and the figures that follow from the noised sum.

Adding or removing one customer changes a member's vector by at most ``CUSTOMER_L2`` (in units
before scaling; everything is whole). Two kinds of figures, because of what one customer can move:

- the shared model's score of a customer depends on that customer alone. Each adds its score to a
  count by outcome and its squared error to a sum;
- the member's own baseline was taught by its customers, so one of them may move every score that
  it gives. Of own and blend therefore only one figure a member is summed, by how much the blend's
  mean squared error is smaller, cut to a small range: one customer can move it across the range,
  and no further.

A score p between two of the ``NODES`` counts for both, in such shares that their mean is p. Only
sums over all members become known, with noise; figures about parts of them are not collected.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError, Refused

# Closer together where scores crowd: most shops have customers who nearly all stay, or nearly all
# leave. More nodes carry more noise, fewer tell scores less apart (AUROC some 0.002 too low).
NODES: Final[tuple[float, ...]] = (
    *(0.0, 0.01, 0.02, 0.04, 0.06, 0.09, 0.12, 0.16, 0.2, 0.25, 0.3),
    *(0.4, 0.5, 0.6, 0.7, 0.8, 0.87, 0.92, 0.96, 0.98, 1.0),
)
SCALE: Final = 512
CLAMP: Final = 4096.0  # no coordinate of a member is larger; some seven thousand customers a node
CUSTOMER_L2: Final = 1.0
COUNT_UNITS: Final = 270  # one customer in the counts
ERROR_UNITS: Final = 170  # a squared error of 1
GAIN_UNITS: Final = 198  # a member's gain of GAIN_CUT; the range has both signs
GAIN_CUT: Final = 0.015  # a good gain at one member is some 0.01
MIN_CUSTOMERS: Final = 20

_COUNTS: Final = 2 * len(NODES)  # those who stayed, then those who left
SIZE: Final = _COUNTS + 2

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


def customer_rows(shared: Floats, left: NDArray[np.bool_]) -> Whole:
    """What each customer adds by the shared model's score, whole units int64 (N, SIZE).

    Args:
        shared: probability of leaving, float64 (N,) in [0, 1].
        left: whether the customer did leave, bool (N,).

    Raises:
        InputError: a score is not a probability.
    """
    count = len(left)
    score = np.asarray(shared, dtype=np.float64)
    if score.shape != (count,) or not ((score >= 0) & (score <= 1)).all():
        raise InputError(f"the scores are not {count} probabilities.")
    out = np.zeros((count, SIZE), dtype=np.int64)
    nodes = np.array(NODES)
    low = np.clip(np.searchsorted(nodes, score, side="right") - 1, 0, len(NODES) - 2)
    share = (score - nodes[low]) / (nodes[low + 1] - nodes[low])
    above = np.floor(share * COUNT_UNITS + 0.5).astype(np.int64)
    row, first = np.arange(count), np.where(left, len(NODES), 0) + low
    out[row, first] = COUNT_UNITS - above
    out[row, first + 1] = above
    out[:, _COUNTS] = np.floor(np.square(score - left) * ERROR_UNITS + 0.5)
    return out


def member_gain(own: Floats, blend: Floats, left: NDArray[np.bool_]) -> int:
    """By how much the blend's Brier score is below the own baseline's here, cut, whole units.

    0 without a customer to score, which lies inside the range.
    """
    if len(left) == 0:
        return 0
    errors = [float(np.mean(np.square(score - left))) for score in (own, blend)]
    if not np.isfinite(errors).all():
        raise InputError("the scores are not probabilities.")
    return round(min(max((errors[0] - errors[1]) / GAIN_CUT, -1), 1) * GAIN_UNITS)


def member_vector(rows: Whole, gain: int) -> Whole:
    """The member's vector: its customers' rows and its gain, clamped; int64 (SIZE,)."""
    bound = int(CLAMP * SCALE)
    total = rows.sum(axis=0, dtype=np.int64)
    total[-1] += gain
    out: Whole = np.clip(total, -bound, bound)
    return out


def metrics_from_sum(total: Floats, members: int, noise_multiplier: float) -> dict[str, float]:
    """The run's figures from the noised sum in whole units.

    Args:
        total: float64 (SIZE,).
        members: how many are in it.
        noise_multiplier: z of the evaluation.

    Returns:
        ``evaluated`` (members), ``customers`` and ``churn_rate`` (about). Of the shared model over
        all customers: ``auroc``, ``brier``, ``ece``, ``log_loss``, ``lift10``, and ``skill``, the
        share by which its Brier score is below that of the churn rate for everybody.
        ``brier_own`` and ``brier_blend``: only their difference is measured, the mean of the
        members' gains; for the level of the blend stands the shared model's. ``gain_brier`` is
        the difference as a share of ``brier_own``. ``noise_*``: one standard deviation of the
        noise in a figure, at least; no figure is better known than that.

    Raises:
        InputError: the sum has another length or is impossible.
        Refused: too few customers for figures that mean anything beside the noise.
    """
    total = np.asarray(total, dtype=np.float64)
    if total.shape != (SIZE,) or not np.isfinite(total).all():
        raise InputError(f"the sum of the metrics must hold {SIZE} finite numbers.")
    if members < 1 or np.abs(total).max() > 4 * members * CLAMP * SCALE:
        raise InputError(f"this sum of metrics is not possible with {members} members.")
    counts = (total[:_COUNTS] / COUNT_UNITS).reshape(2, len(NODES))
    noise = noise_multiplier * SCALE * CUSTOMER_L2
    stayed, left = (float(part.sum()) for part in counts)
    spread = noise / COUNT_UNITS * len(NODES) ** 0.5  # of either of the two
    least = max(MIN_CUSTOMERS, 2 * spread)
    error = float(total[_COUNTS]) / ERROR_UNITS
    if min(stayed, left) < least or error <= 2 * noise / ERROR_UNITS:
        raise Refused(
            f"about {max(stayed, 0):.0f} customers who stayed and {max(left, 0):.0f} who left "
            f"could be scored; at least {least:.0f} of both are needed beside the noise.",
            fix="Choose an earlier train_until, more members or a larger evaluation budget.",
        )
    customers = stayed + left
    brier = error / customers
    rate = left / customers
    gain = float(total[_COUNTS + 1]) / GAIN_UNITS * GAIN_CUT / members
    own = brier + gain
    return {
        "evaluated": float(members),
        "customers": customers,
        "churn_rate": rate,
        **_curve(counts[0], counts[1]),
        "brier": brier,
        "skill": 1 - brier / (rate * (1 - rate)),
        "brier_own": own,
        "brier_blend": brier,
        "gain_brier": gain / own,
        "noise_brier": noise / ERROR_UNITS / customers,
        "noise_auroc": _auroc_noise(counts[0], counts[1], noise / COUNT_UNITS),
        "noise_gain_brier": noise / GAIN_UNITS * GAIN_CUT / members / own,
    }


def _curve(stayed: Floats, left: Floats) -> dict[str, float]:
    """Figures of the scores from the two counts over the nodes, (NODES,) each, noise included.

    The calibration error can only look larger through noise, never better than it is on average.
    """
    nodes = np.array(NODES)
    below = np.cumsum(stayed) - stayed / 2
    auroc = float((left * below).sum() / (stayed.sum() * left.sum()))
    people = stayed + left
    inside = np.clip(nodes, 0.01, 0.99)
    loss = -(left * np.log(inside) + stayed * np.log1p(-inside)).sum()
    return {
        "auroc": min(max(auroc, 0.0), 1.0),
        "ece": float(np.abs(nodes * people - left).sum() / people.sum()),
        "log_loss": float(loss / people.sum()),
        "lift10": _lift(people, left),
    }


def _auroc_noise(stayed: Floats, left: Floats, noise: float) -> float:
    """Standard deviation of the AUROC for independent noise on each count, to first order."""
    below = (np.cumsum(stayed) - stayed / 2) / stayed.sum()
    above = (left.sum() - np.cumsum(left) + left / 2) / left.sum()
    auroc = float((left * below).sum() / left.sum())
    by_left = (below - auroc) / left.sum()
    by_stayed = (above - auroc) / stayed.sum()
    return noise * float(np.sqrt((by_left**2).sum() + (by_stayed**2).sum()))


def _lift(people: Floats, left: Floats) -> float:
    """Share of leavers among the tenth with the highest scores, over their share among all."""
    wanted = people.sum() / 10
    found = caught = 0.0
    for many, gone in zip(people[::-1], left[::-1], strict=True):
        if many <= 0:  # noise alone
            continue
        part = min(1.0, (wanted - found) / many)
        found += part * many
        caught += part * gone
        if part < 1:
            break
    base = left.sum() / people.sum()
    return float(caught / found / base) if found > 0 else 0.0
