"""What the evaluation of a churn run sums, and the figures that follow from the noised sum.

Adding or removing one customer changes a member's vector by at most ``CUSTOMER_L2`` (in units
before scaling; everything is whole). Two kinds of figures, because of what one customer can move:

- the shared model's score of a customer depends on that customer alone. Each adds its score to a
  count by outcome and its squared error to a sum;
- the member's own baseline was taught by its customers, so one of them may move every score that
  it gives. Own and blend therefore appear as three figures a member, each cut to a range that
  is small and agreed: one customer can move them across the range, and no further.

A score p between two of the ``NODES`` counts for both, in such shares that their mean is p. Only
sums over all members become known, with noise; figures about parts of them are not collected.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import InputError, Refused

NODES: Final[tuple[float, ...]] = tuple(at / 10 for at in range(11))
SCALE: Final = 512
CLAMP: Final = 4096.0  # no coordinate of a member is larger; some seven thousand customers a node
CUSTOMER_L2: Final = 1.0
COUNT_UNITS: Final = 300  # one customer in the counts
ERROR_UNITS: Final = 200  # a squared error of 1
OWN_UNITS: Final = 112  # a member's mean squared error of OWN_CUT
OWN_CUT: Final = 0.4
GAIN_UNITS: Final = 136  # a member's gain of GAIN_CUT; the range has both signs
GAIN_CUT: Final = 0.02
BETTER_UNITS: Final = 176  # a member whose blend is better than its own baseline
MIN_CUSTOMERS: Final = 20

_COUNTS: Final = 2 * len(NODES)  # those who stayed, then those who left
SIZE: Final = _COUNTS + 4

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
    low = np.minimum((score * (len(NODES) - 1)).astype(np.int64), len(NODES) - 2)
    above = np.floor((score * (len(NODES) - 1) - low) * COUNT_UNITS + 0.5).astype(np.int64)
    row, first = np.arange(count), np.where(left, len(NODES), 0) + low
    out[row, first] = COUNT_UNITS - above
    out[row, first + 1] = above
    out[:, _COUNTS] = np.floor(np.square(score - left) * ERROR_UNITS + 0.5)
    return out


def member_figures(own: Floats, blend: Floats, left: NDArray[np.bool_]) -> Whole:
    """What the member adds by its own and its blended scores, whole units int64 (SIZE,).

    Without a customer to score all are 0, which lies inside every range.
    """
    out = np.zeros(SIZE, dtype=np.int64)
    if len(left) == 0:
        return out
    errors = [float(np.mean(np.square(score - left))) for score in (own, blend)]
    if not np.isfinite(errors).all():
        raise InputError("the scores are not probabilities.")
    gain = min(max((errors[0] - errors[1]) / GAIN_CUT, -1), 1)
    out[_COUNTS + 1] = round(min(errors[0] / OWN_CUT, 1) * OWN_UNITS)
    out[_COUNTS + 2] = round(gain * GAIN_UNITS)
    out[_COUNTS + 3] = BETTER_UNITS if errors[1] < errors[0] else 0
    return out


def member_vector(rows: Whole, figures: Whole) -> Whole:
    """The member's vector: its customers' rows and its figures, clamped; int64 (SIZE,)."""
    bound = int(CLAMP * SCALE)
    out: Whole = np.clip(rows.sum(axis=0, dtype=np.int64) + figures, -bound, bound)
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
        share by which its Brier score is below that of the churn rate for everybody. Means over
        members: ``brier_own``, ``brier_blend``, ``gain_brier`` (share), ``blend_better`` (share of
        members). ``noise_*``: one standard deviation of the noise in a figure, at least; the
        figures are no better known than that.

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
    if min(stayed, left) < least:
        raise Refused(
            f"about {max(stayed, 0):.0f} customers who stayed and {max(left, 0):.0f} who left "
            f"could be scored; at least {least:.0f} of both are needed beside the noise.",
            fix="Choose an earlier train_until, more members or a larger evaluation budget.",
        )
    customers = stayed + left
    brier = float(total[_COUNTS]) / ERROR_UNITS / customers
    rate = left / customers
    own = max(float(total[_COUNTS + 1]) / OWN_UNITS * OWN_CUT / members, 1e-3)
    gain = float(total[_COUNTS + 2]) / GAIN_UNITS * GAIN_CUT / members
    return {
        "evaluated": float(members),
        "customers": customers,
        "churn_rate": rate,
        **_curve(counts[0], counts[1]),
        "brier": brier,
        "skill": 1 - brier / (rate * (1 - rate)),
        "brier_own": own,
        "brier_blend": own - gain,
        "gain_brier": gain / own,
        "blend_better": float(total[_COUNTS + 3]) / BETTER_UNITS / members,
        "noise_brier": noise / ERROR_UNITS / customers,
        "noise_auroc": _auroc_noise(counts[0], counts[1], noise / COUNT_UNITS),
        "noise_gain_brier": noise / GAIN_UNITS * GAIN_CUT / members / own,
        "noise_blend_better": noise / BETTER_UNITS / members,
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
