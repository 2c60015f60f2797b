"""Customers of small shops: who stops coming, and when.

No vault: lines enter where they are checked. Regulars come nearly every week until they leave;
leavers are told by the weeks since. Each shop has few customers: alone it learns little.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from hashlib import sha256

import numpy as np
import pandas as pd

from node import round as way
from node.data import customers
from node.data.stages import Basis, CheckedLines, Standing
from node.federation.participant import Ticket
from protocols.audit.consent import leaf
from protocols.course import Course
from protocols.workloads import churn
from sim_papers import Papers, papers
from small_coop import CHURN_DIGEST, NOW

FIRST = date(2025, 6, 2)  # a Monday
WEEKS, HORIZON_WEEKS = 24, 2
TRAIN_UNTIL = FIRST + timedelta(weeks=WEEKS - HORIZON_WEEKS, days=-1)
SETTINGS = {
    **churn.DEFAULTS,
    "train_until": TRAIN_UNTIL.isoformat(),
    "horizon_weeks": HORIZON_WEEKS,
    "active_weeks": 6,
    "history_weeks": 26,
    "snapshots": 1,
    "snapshot_every_weeks": 2,
    "expected_customers": 100,
    "noise_multiplier": 2.0,
    "evaluation_noise_multiplier": 0.25,
    "server": {"name": "fedavg", "lr": 1.0},
}


def lines(shop: int, count: int = 24) -> pd.DataFrame:
    """What ``node.data.consent`` gives for the columns of the workload."""
    chance = np.random.default_rng(1000 + shop)
    rows = []
    for number in range(count):
        key = f"{shop:02d}{number:04d}".ljust(64, "c")
        leaves = chance.integers(8, WEEKS + 10)
        for week in range(min(WEEKS, int(leaves))):
            if chance.random() < 0.85:
                day = FIRST + timedelta(weeks=week, days=int(chance.integers(0, 7)))
                rows.append((key, pd.Timestamp(day), float(chance.integers(5, 60)), "bread"))
    found = pd.DataFrame(rows, columns=["customer_key", "business_date", "net", "category_code"])
    for name in ("customer_key", "category_code"):
        found[name] = found[name].astype("category")
    found["business_date"] = found["business_date"].astype("datetime64[s]")
    return found.sort_values(["customer_key", "business_date"], ignore_index=True)


def churn_config(course: Course) -> churn.ChurnConfig:
    assert isinstance(course.recipe, churn.Churn)
    return course.recipe.config


def checked(shop: int, ticket: Ticket) -> CheckedLines:
    """Lines under the run's permit, everybody having agreed."""
    permit = replace(ticket.permit, purpose=churn.PURPOSE, columns=churn.COLUMNS)
    found = lines(shop)
    everybody = found["customer_key"].cat.categories
    ordered = sorted(leaf(churn.PURPOSE, sha256(key.encode()).hexdigest()) for key in everybody)
    standing = Standing.of(churn.PURPOSE, Basis.CONSENT, "", NOW, len(everybody), ordered)
    return CheckedLines(
        permit=permit, standing=standing, snapshot_root="5b" * 32, health=100, lines=found
    )


def prepare(shop: int, ticket: Ticket) -> way.Prepared:
    """``node.federation.participant.Tools.prepare`` of one shop."""
    course, found = ticket.course, checked(shop, ticket)
    config = churn_config(course)
    return way.PreparedChurn(
        course=course,
        config=config,
        table=customers.training_table(found, NOW, config),
        held_out=customers.held_out_table(found, NOW, config),
    )


def churn_papers(members: int = 7, *, rounds: int = 4, **settings: object) -> Papers:
    """Signed papers with a churn order; the budget has room for the little noise of a test."""
    order = {
        "workload": {"id": churn.ID, "version": churn.VERSION, "digest": CHURN_DIGEST},
        "purpose": churn.PURPOSE,
        "columns": list(churn.COLUMNS),
        "config": {**SETTINGS, **settings},
    }
    return papers(members, rounds=rounds, order=order, figures={"epsilon": 90.0})
