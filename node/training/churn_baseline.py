"""The member's own churn baseline: what its own customers alone can teach.

A logistic model with a ridge, fitted by Newton steps; from ``MANY`` customers on, the mean of it
and LightGBM (in its child process). Measured on members with some sixty customers the ridge is
clearly better than trees, and well calibrated, so it is the honest opponent of the shared model.
Every customer counts once, however many snapshots it has.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from node.data.customers import CustomerTable
from node.training import child
from protocols.errors import InputError, LocalError

Floats = NDArray[np.float64]

RIDGE: Final = 10.0  # as strong as some ten customers; the intercept is nearly free
RIDGE_INTERCEPT: Final = 0.1
MANY: Final = 1000  # customers from which trees begin to pay
MIN_CUSTOMERS: Final = 10
NEWTON_STEPS: Final = 30
TIMEOUT_S: Final = 120.0
CHILD: Final = "node.training.churn_child"


@dataclass(frozen=True, slots=True)
class OwnScores:
    """``scores`` float64 (N,), probability of leaving of the rows asked for; and by what."""

    scores: Floats = field(repr=False)
    method: str


def own_scores(table: CustomerTable, ask: CustomerTable) -> OwnScores:
    """Train on ``table``, score the rows of ``ask``.

    With fewer than ``MIN_CUSTOMERS`` customers the share of those who left, drawn towards a half.

    Where trees cannot be grown the logistic model answers alone, and the method says so: a member
    that dropped out for it would show that it has ``MANY`` customers.

    Raises:
        InputError: the labels of ``table`` are not known.
    """
    if not table.known:
        raise InputError("whether these customers left is not known; nothing can be learnt.")
    if table.customers < MIN_CUSTOMERS:
        weight = customer_weights(table)
        left = float((weight * table.left).sum())
        return OwnScores(np.full(len(ask), (left + 1) / (weight.sum() + 2)), "share")
    own = logistic_scores(table, ask)
    if table.customers < MANY:
        return OwnScores(own, "logistic")
    try:
        trees = tree_scores(table, ask)
    except LocalError:
        return OwnScores(own, "logistic (LightGBM failed)")
    return OwnScores((own + trees) / 2, "logistic and LightGBM")


def customer_weights(table: CustomerTable) -> Floats:
    """One over the number of the customer's rows, (N,)."""
    many = np.bincount(table.customer) if len(table) else np.zeros(0, dtype=np.int64)
    out: Floats = 1 / many[table.customer]
    return out


def logistic_scores(table: CustomerTable, ask: CustomerTable) -> Floats:
    """Probabilities of a ridge logistic regression, (N,)."""
    weights = fit_logistic(table)
    return _logistic(_design(ask) @ weights)


def fit_logistic(table: CustomerTable) -> Floats:
    """Weights, then the intercept, (INPUTS + 1,); Newton's method from 0."""
    x, y, share = _design(table), table.left.astype(np.float64), customer_weights(table)
    ridge = np.full(x.shape[1], RIDGE)
    ridge[-1] = RIDGE_INTERCEPT
    weights = np.zeros(x.shape[1])
    for _ in range(NEWTON_STEPS):
        p = _logistic(x @ weights)
        slope = x.T @ (share * (p - y)) + ridge * weights
        bend = (x * (share * p * (1 - p))[:, None]).T @ x + np.diag(ridge)
        move = np.linalg.solve(bend, slope)
        weights -= np.clip(move, -2, 2)
        if np.abs(move).max() < 1e-8:
            break
    return weights


def tree_scores(table: CustomerTable, ask: CustomerTable, timeout_s: float = TIMEOUT_S) -> Floats:
    """Probabilities of LightGBM from its child process, (N,).

    Raises:
        LocalError: the child ended early, ran out of time or answered nonsense.
    """
    weight = customer_weights(table)
    answer = child.run(
        CHILD,
        {
            "inputs": table.inputs.astype(np.float64),
            "left": table.left,
            "weight": weight * len(table) / weight.sum(),
            "ask": ask.inputs.astype(np.float64),
        },
        timeout_s,
    )
    try:
        with np.load(io.BytesIO(answer), allow_pickle=False) as data:
            scores = np.asarray(data["scores"], dtype=np.float64)
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise LocalError(f"the own baseline answered something unreadable: {error}.") from error
    if scores.shape != (len(ask),) or not ((scores >= 0) & (scores <= 1)).all():
        raise LocalError(
            f"the own baseline answered an array of shape {scores.shape}; expected "
            f"({len(ask)},) probabilities."
        )
    return scores


def _design(table: CustomerTable) -> Floats:
    return np.column_stack([table.inputs.astype(np.float64), np.ones(len(table))])


def _logistic(logit: Floats) -> Floats:
    out: Floats = 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
    return out
