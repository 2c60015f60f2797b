"""How good the own baseline, the shared model and the blend are on the member's own customers.

The member sees exact figures; the cooperative sees the noised sum of ``churn_metrics``. Both are
about the customers of ``customers.held_out_table``: as they were at ``train_until``, judged by what
they did in the weeks after it, which nothing has been trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from node.data.customers import CustomerTable
from node.training import churn_baseline, churn_fit
from protocols.errors import InputError
from protocols.workloads import churn, churn_metrics

Floats = NDArray[np.float64]

OWN_SHARE: Final = 0.3  # of the own baseline in the blend, where many customers taught it
HALF_CUSTOMERS: Final = 20.0  # customers at which it has half of that
BINS: Final = 10


@dataclass(frozen=True, slots=True)
class Scores:
    """Probabilities of leaving by method (own, shared, blend), each float64 (N,)."""

    by_method: Mapping[str, Floats] = field(repr=False)
    own_method: str
    own_weight: float


@dataclass(frozen=True, slots=True)
class Figures:
    """One method on some customers. ``auroc`` is NaN where all or none of them left.

    ``brier`` mean squared error; ``ece`` calibration error over ten bins of equal width; ``lift10``
    share of leavers among the tenth with the highest scores, over their share among all.
    """

    auroc: float
    brier: float
    ece: float
    log_loss: float
    lift10: float


@dataclass(frozen=True, slots=True)
class Report:
    """A member's own figures, exact; they stay here."""

    customers: int
    left: int
    own_method: str
    own_weight: float
    figures: Mapping[str, Figures]


def scores(
    params: NDArray[np.float32],
    table: CustomerTable,
    ask: CustomerTable,
    config: churn.ChurnConfig,
) -> Scores:
    """Own baseline (taught by ``table``), shared model and blend for the rows of ``ask``.

    The own baseline's say grows with the customers who taught it, to ``OWN_SHARE``: measured on
    members with sixty and with six hundred customers, more lifts fewer members than it harms.

    Raises:
        InputError: parameters of another layout.
    """
    own = churn_baseline.own_scores(table, ask)
    shared = churn_fit.scores(params, ask.inputs, config)
    weight = own_weight(table.customers)
    mixed = weight * own.scores + (1 - weight) * shared
    return Scores({"own": own.scores, "shared": shared, "blend": mixed}, own.method, weight)


def own_weight(customers: int) -> float:
    """The own baseline's share of the blend, taught by so many customers."""
    return OWN_SHARE * customers / (customers + HALF_CUSTOMERS)


def run_metrics(
    params: NDArray[np.float32],
    table: CustomerTable,
    held_out: CustomerTable,
    config: churn.ChurnConfig,
) -> tuple[NDArray[np.int64], Report | None]:
    """The evaluation's vector before noise and masks, int64 (SIZE,), and the report behind it.

    A member without customers to score adds zeros (and its noise); its report is None.

    Raises: as ``scores``; InputError if the outcomes are not known.
    """
    if not held_out.known:
        raise InputError("whether these customers left is not known yet.")
    if len(held_out) == 0:
        nothing = np.zeros(0)
        rows = churn_metrics.customer_rows(nothing, held_out.left)
        return churn_metrics.member_vector(rows, 0), None
    found = scores(params, table, held_out, config)
    by = found.by_method
    rows = churn_metrics.customer_rows(by["shared"], held_out.left)
    gain = churn_metrics.member_gain(by["own"], by["blend"], held_out.left)
    report = Report(
        customers=len(held_out),
        left=int(held_out.left.sum()),
        own_method=found.own_method,
        own_weight=found.own_weight,
        figures={name: figures_of(score, held_out.left) for name, score in by.items()},
    )
    return churn_metrics.member_vector(rows, gain), report


def figures_of(score: Floats, left: NDArray[np.bool_]) -> Figures:
    """Exact figures of scores (N,) against outcomes (N,); InputError if there are none."""
    if len(left) == 0 or score.shape != left.shape:
        raise InputError("as many scores as outcomes are needed, and at least one.")
    inside = np.clip(score, 1e-3, 1 - 1e-3)
    bins = np.minimum((score * BINS).astype(np.int64), BINS - 1)
    gap = np.bincount(bins, weights=score - left, minlength=BINS)
    top = np.argsort(-score, kind="stable")[: max(1, len(score) // 10)]
    base = float(left.mean())
    return Figures(
        auroc=_auroc(score, left),
        brier=float(np.mean(np.square(score - left))),
        ece=float(np.abs(gap).sum() / len(score)),
        log_loss=float(-np.mean(np.where(left, np.log(inside), np.log1p(-inside)))),
        lift10=float(left[top].mean()) / base if base > 0 else 0.0,
    )


def _auroc(score: Floats, left: NDArray[np.bool_]) -> float:
    """Share of pairs (one left, one stayed) in the right order; half for equal scores."""
    gone, stayed = int(left.sum()), int((~left).sum())
    if not gone or not stayed:
        return float("nan")
    _, place, many = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(many) - (many - 1) / 2
    return float((rank[place[left]].sum() - gone * (gone + 1) / 2) / (gone * stayed))
