"""What privacy costs the churn workload, and what sharing gains, on Complete Journey (and CDNOW).

    python tests/benchmarks/bench_privacy.py --seeds 3
    python tests/benchmarks/bench_privacy.py --cdnow transactions_cdnow.parquet

Every number comes from the functions that nodes and coordinator run: features, the private step,
rounding, discrete Gaussian noise sized by the plan for the fewest survivors and the agreed
colluders, sums modulo 2^b, the server step, own baseline, blend, evaluation vector and its
figures. Only the masks are left out: they cancel exactly.

A member is a store, a customer a household at that store. Members are the 58 stores with the most
receipt lines; training looks back from every second week 12 to 36 (labels end in week 44), the
test is who of week 44 stays away in weeks 45 to 52. Features, clip, steps and rates were chosen on
weeks up to 44 (training 12 to 28, judged at 36) and on earlier weeks of CDNOW, never on the test.

Rows: the noise of customers on the secure sum; each member adding the whole noise alone, without
trust in any sum; each member training alone with the noise (DP-SGD without a cooperative, told
its own number of customers for free); no noise; own baselines; one pool of all rows (the ceiling,
not allowed). Epsilon is that of all steps and the noised evaluation together.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from node.data import customers
from node.data.customers import CustomerTable
from node.training import churn_baseline, churn_evaluate, churn_fit
from protocols import canonical
from protocols.privacy import accountant, noise
from protocols.privacy.plan import Phase, Plan, aimed_plan, make_plan
from protocols.privacy.rounding import norm_bound
from protocols.secagg import params as secagg
from protocols.workloads import churn, server

MEMBERS = 58
COLLUDERS_SHARE = 0.1
EVALUATION_SHARE = 0.65  # epsilon of the evaluation alone, as a share of all
CDNOW_MEMBERS = 40
CDNOW_FIRST = date(1997, 1, 1)
METHODS = ("auroc", "brier", "ece", "log_loss", "lift10")
# The measures that the design asks for: (must, aim).
GOALS = {
    "complete journey": {"auroc": (0.849, 0.855), "brier": (0.143, 0.139), "ece": (0.035, 0.02)},
    "cdnow": {"auroc": (0.836, 0.838), "brier": (0.092, 0.0912)},
}
PRICE = (0.005, 0.002)


@dataclass(frozen=True)
class Member:
    """One member's customers at the snapshots of training, and those of the test."""

    table: CustomerTable
    held_out: CustomerTable


@dataclass(frozen=True)
class World:
    """A data set as a cooperative."""

    name: str
    members: list[Member]
    recipe: churn.Churn
    rounds: int

    @property
    def left(self) -> np.ndarray:
        """Outcomes of all test customers, member after member."""
        return np.concatenate([one.held_out.left for one in self.members])

    def plan(self, epsilon: float) -> Plan:
        """Noise for a whole run of this epsilon, as a course would size it."""
        colluders = max(1, round(COLLUDERS_SHARE * len(self.members)))
        floor = secagg.least_cohort(colluders)
        survivors = max(secagg.quorum_size(len(self.members), colluders), floor)
        phases = []
        for task in ("train", "evaluate"):
            asked, shape = self.recipe.noise(task), self.recipe.shape(task)
            assert asked is not None
            bound = asked.clip_l2 * shape.scale
            steps, multiplier = 1, 1.0
            if asked.rounded:
                bound = norm_bound(shape.scale, asked.clip_l2, shape.dim)
                steps = self.rounds
            else:
                share = EVALUATION_SHARE * epsilon
                multiplier = accountant.noise_multiplier(share, self.recipe.config.delta, 1.0, 1)
            phases.append(Phase(task, multiplier, asked.sample_rate, steps, bound, shape.dim))
        start = make_plan(
            unit="customer",
            delta=self.recipe.config.delta,
            least_survivors=survivors,
            colluders=colluders,
            phases=tuple(phases),
        )
        return aimed_plan(start, "train", epsilon)


def generator(*parts: object) -> Callable[[int], bytes]:
    """Repeatable bytes, so that the table can be made again; a node asks its operating system."""
    key = hashlib.sha256(repr(parts).encode()).digest()
    count = itertools.count()

    def draw(many: int) -> bytes:
        return hashlib.shake_256(key + next(count).to_bytes(8, "big")).digest(many)

    return draw


# --- data --------------------------------------------------------------------------------------


def complete_journey(members: int, overrides: dict[str, object]) -> World:
    """The busiest stores; weeks run from Monday to Sunday, week 44 ends on 29 October 2017."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the examples are not installed
    from examples.complete_journey import export

    seen = export.lines()
    lines = pd.DataFrame(
        {
            "store": seen["store_id"],
            "customer_key": seen["household_id"].astype(str),
            "business_date": seen["local"].dt.normalize(),
            "net": seen["sales_value"],
            "category_code": seen["product_category"],
        }
    )
    train_until = export.FIRST_MONDAY + timedelta(weeks=44, days=-1)
    chosen = export.busiest_stores()[:members]
    parts = [part for _, part in lines[lines["store"].isin(chosen)].groupby("store")]
    return _world("complete journey", parts, {"train_until": train_until.isoformat(), **overrides})


def cdnow(path: Path, overrides: dict[str, object]) -> World:
    """All 23,570 customers of the 1997 cohort, dealt to 40 members by a hash; 13 weeks."""
    seen = pd.read_parquet(path)
    lines = pd.DataFrame(
        {
            "customer_key": seen["customer_id"].astype(str),
            "business_date": seen["date"],
            "net": seen["amount"],
            "category_code": "music",
        }
    )
    lot = {
        key: int.from_bytes(hashlib.sha256(key.encode()).digest(), "big") % CDNOW_MEMBERS
        for key in lines["customer_key"].unique()
    }
    parts = [part for _, part in lines.groupby(lines["customer_key"].map(lot))]
    train_until = CDNOW_FIRST + timedelta(weeks=65, days=-1)
    settings = {
        "train_until": train_until.isoformat(),
        "horizon_weeks": 13,
        "min_visits": 1,
        "active_weeks": 520,
        **overrides,
    }
    return _world("cdnow", parts, settings)


def _world(name: str, parts: list[pd.DataFrame], settings: dict[str, object]) -> World:
    rounds = int(str(settings.pop("rounds", churn.DEFAULT_ROUNDS)))
    recipe = churn.configure({**churn.DEFAULTS, "expected_customers": 10, **settings})
    made = []
    for part in parts:
        table = customers.own_table(part, recipe.config.snapshot_days, recipe.config)
        held_out = customers.own_table(part, (recipe.config.train_until,), recipe.config)
        made.append(Member(table, held_out))
    total = sum(one.table.customers for one in made)
    guess = max(10, round(total, -(len(str(total)) - 1)))  # as a cooperative would guess: one digit
    config = recipe.config.model_copy(update={"expected_customers": guess})
    return World(name, made, replace(recipe, config=config), rounds)


# --- training ----------------------------------------------------------------------------------


def secure_sum(
    world: World, vectors: list[np.ndarray], sigma: float, task: str, draw: Callable[[int], bytes]
) -> np.ndarray:
    """The sum that the coordinator would publish: each adds its noise, all is modulo 2^b."""
    shape = world.recipe.shape(task)  # type: ignore[arg-type]
    bits = secagg.sum_bits(len(vectors), shape.scale, shape.clip, shape.w_max, sigma)
    assert bits <= secagg.MAX_BITS, f"{bits} bits"
    total = np.zeros(shape.dim, dtype=np.int64)
    for vector in vectors:
        share = noise.discrete_gaussian(sigma, shape.dim, draw) if sigma else 0
        total = (total + vector + share) % 2**bits
    return np.where(total >= 2 ** (bits - 1), total - 2**bits, total)


def federate(world: World, sigma: float, seed: int) -> np.ndarray:
    """The model after all steps; ``sigma`` of each member's noise in whole units, 0 for none."""
    recipe = world.recipe
    state = server.start(recipe.init(canonical.digest("init", seed)))
    draw = generator("train", world.name, sigma, seed)
    for _ in range(world.rounds):
        vectors = [
            churn_fit.step(state.params, one.table, recipe.config, draw) for one in world.members
        ]
        total = secure_sum(world, vectors, sigma, "train", draw)
        state = recipe.step(state, total.astype(np.float64), len(vectors))
    return state.params


def alone(world: World, sigma: float, seed: int) -> np.ndarray:
    """Scores when each member trains by itself with its own noise."""
    scores = []
    for at, one in enumerate(world.members):
        many = max(10, one.table.customers)
        config = world.recipe.config.model_copy(update={"expected_customers": many})
        recipe = replace(world.recipe, config=config)
        state = server.start(recipe.init(canonical.digest("init", seed)))
        draw = generator("alone", world.name, sigma, seed, at)
        for _ in range(world.rounds):
            vector = churn_fit.step(state.params, one.table, config, draw)
            vector = vector + noise.discrete_gaussian(sigma, len(vector), draw)
            state = recipe.step(state, vector.astype(np.float64), 1)
        scores.append(churn_fit.scores(state.params, one.held_out.inputs, config))
    return np.concatenate(scores)


def shared_scores(world: World, params: np.ndarray) -> np.ndarray:
    """The shared model on all test customers."""
    config = world.recipe.config
    return np.concatenate(
        [churn_fit.scores(params, one.held_out.inputs, config) for one in world.members]
    )


def blend_scores(world: World, params: np.ndarray) -> list[dict[str, np.ndarray]]:
    """own, shared and blend of each member."""
    config = world.recipe.config
    return [
        dict(churn_evaluate.scores(params, one.table, one.held_out, config).by_method)
        for one in world.members
        if len(one.held_out)
    ]


def pooled(world: World) -> CustomerTable:
    """All training rows as if they were one member's."""
    return _stack([one.table for one in world.members])


def _stack(tables: list[CustomerTable]) -> CustomerTable:
    first = np.cumsum([0, *(len(one.keys) for one in tables)])
    return CustomerTable(
        keys=tuple(key for one in tables for key in one.keys),
        inputs=np.concatenate([one.inputs for one in tables]),
        customer=np.concatenate(
            [one.customer + at for one, at in zip(tables, first, strict=False)]
        ),
        snapshot=np.concatenate([one.snapshot for one in tables]),
        left=np.concatenate([one.left for one in tables]),
        known=True,
    )


# --- figures -----------------------------------------------------------------------------------


def figures(world: World, scores: np.ndarray) -> dict[str, float]:
    """Exact figures over all test customers."""
    found = churn_evaluate.figures_of(scores, world.left)
    return {name: getattr(found, name) for name in METHODS}


def row(name: str, epsilon: str, runs: list[dict[str, float]]) -> dict[str, object]:
    """Mean and spread (standard deviation over seeds)."""
    out: dict[str, object] = {"method": name, "epsilon": epsilon}
    for key in runs[0]:
        values = [run[key] for run in runs]
        out[key] = float(np.mean(values))
        if len(values) > 1 and key in ("auroc", "brier"):
            out[f"{key}_spread"] = float(np.std(values, ddof=1))
    return out


def members_gain(parts: list[dict[str, np.ndarray]], world: World) -> dict[str, float]:
    """Blend against own baseline, member by member, in log loss."""
    lefts = [one.held_out.left for one in world.members if len(one.held_out)]
    own, blend = (
        np.array(
            [
                churn_evaluate.figures_of(part[method], left).log_loss
                for part, left in zip(parts, lefts, strict=True)
            ]
        )
        for method in ("own", "blend")
    )
    ratio = blend / own - 1
    return {
        "log_loss_change": float(ratio.mean()),
        "members_better": float((ratio < 0).mean()),
        "members_worse_2pct": float((ratio > 0.02).mean()),
    }


def evaluation(world: World, params: np.ndarray, plan: Plan, seed: int) -> dict[str, float]:
    """What the cooperative learns from the noised evaluation of this model."""
    config = world.recipe.config
    vectors = [
        churn_evaluate.run_metrics(params, one.table, one.held_out, config)[0]
        for one in world.members
    ]
    draw = generator("evaluate", world.name, seed)
    total = secure_sum(world, vectors, plan.sigma_local("evaluate"), "evaluate", draw)
    multiplier = plan.phase("evaluate").noise_multiplier
    config = config.model_copy(update={"evaluation_noise_multiplier": multiplier})
    return churn.Churn(config).metrics(total.astype(np.float64), len(vectors))


def measure(world: World, epsilons: list[float], seeds: int, full: bool) -> dict[str, object]:
    """All rows of one data set."""
    rows: list[dict[str, object]] = []
    gains: list[dict[str, object]] = []
    seen: list[dict[str, object]] = []

    def shared_runs(name: str, epsilon: str, sigma: float) -> list[np.ndarray]:
        models = [federate(world, sigma, seed) for seed in range(seeds)]
        rows.append(row(name, epsilon, [figures(world, shared_scores(world, m)) for m in models]))
        return models

    def blended(name: str, epsilon: str, models: list[np.ndarray]) -> None:
        parts = [blend_scores(world, model) for model in models]
        for method in ("blend", "own") if name == "no noise" else ("blend",):
            found = [figures(world, np.concatenate([p[method] for p in part])) for part in parts]
            label = f"{name}, blended" if method == "blend" else "own baseline"
            rows.append(row(label, epsilon if method == "blend" else "-", found))
        gains.append(row(name, epsilon, [members_gain(part, world) for part in parts]))

    exact = shared_runs("no noise", "none", 0.0)
    blended("no noise", "none", exact)
    for epsilon in epsilons:
        plan = world.plan(epsilon)
        text = f"{plan.epsilon_colluders:.2f}"
        models = shared_runs("noise in the sum", text, plan.sigma_local("train"))
        blended("noise in the sum", text, models)
        seen.append(
            row(
                "noised evaluation",
                text,
                [evaluation(world, model, plan, seed) for seed, model in enumerate(models)],
            )
        )
        if full:
            phase = plan.phase("train")
            whole = phase.noise_multiplier * phase.norm_bound
            shared_runs("each member the whole noise", text, whole)
            found = [figures(world, alone(world, whole, seed)) for seed in range(seeds)]
            rows.append(row("each member by itself", text, found))
        print(f"{world.name}: epsilon {text} done", file=sys.stderr)
    ask = _stack([one.held_out for one in world.members])
    if full:
        own = [
            churn_baseline.tree_scores(one.table, one.held_out)
            for one in world.members
            if len(one.held_out)
        ]
        rows.append(row("own LightGBM", "-", [figures(world, np.concatenate(own))]))
    one_pool = pooled(world)
    for name, scores in (
        ("pooled logistic (ceiling)", churn_baseline.logistic_scores(one_pool, ask)),
        ("pooled LightGBM (ceiling)", churn_baseline.tree_scores(one_pool, ask)),
    ):
        rows.append(row(name, "-", [figures(world, scores)]))
    return {"rows": rows, "gains": gains, "evaluation": seen, "verdicts": verdicts(world, rows)}


def verdicts(world: World, rows: list[dict[str, object]]) -> list[str]:
    """The goals, and whether they are met: the best of shared and blended at each epsilon."""
    lines = []
    named = {(str(one["method"]), str(one["epsilon"])): one for one in rows}
    goals = GOALS[world.name]
    for (method, epsilon), one in named.items():
        if not method.startswith(("no noise", "noise in the sum")):
            continue
        parts = []
        for measure_, (must, aim) in goals.items():
            value = float(str(one[measure_]))
            sign = 1 if measure_ == "auroc" else -1
            word = "aim" if sign * value >= sign * aim else "must"
            word = word if sign * value >= sign * must else "MISSED"
            parts.append(f"{measure_} {value:.4f} {word}")
        lines.append(f"{method}, epsilon {epsilon}: " + ", ".join(parts))
    exact = float(str(named["no noise", "none"]["auroc"]))
    for (method, epsilon), one in named.items():
        if method == "noise in the sum":
            price = exact - float(str(one["auroc"]))
            lines.append(f"price of epsilon {epsilon} in AUROC: {price:+.4f} (must {PRICE[0]})")
    return lines


# --- output ------------------------------------------------------------------------------------


def table(rows: list[dict[str, object]]) -> str:
    """Plain columns; a dash where a row has no such figure."""
    names = list(dict.fromkeys(name for one in rows for name in one))

    def cell(value: object) -> str:
        if value is None:
            return "-"
        return f"{value:.4f}" if isinstance(value, float) else str(value)

    cells = [names, *([cell(one.get(name)) for name in names] for one in rows)]
    widths = [max(len(line[at]) for line in cells) for at in range(len(names))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if at < 2 else text.rjust(width)
            for at, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in cells
    )


def plot(rows: list[dict[str, object]]) -> str:
    """AUROC as bars of text, from the worst to the best."""
    named = [
        (f"{one['method']} (epsilon {one['epsilon']})", float(str(one["auroc"]))) for one in rows
    ]
    named.sort(key=lambda pair: pair[1])
    low = math.floor(named[0][1] * 20) / 20
    width = max(len(name) for name, _ in named)
    return "\n".join(
        f"{name.ljust(width)}  {'#' * max(1, round((value - low) * 400))} {value:.4f}"
        for name, value in named
    )


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--members", type=int, default=MEMBERS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epsilon", type=float, nargs="+", default=[1.0, 4.0, 8.0])
    parser.add_argument("--cdnow", type=Path, help="transactions of CDNOW as Parquet")
    parser.add_argument("--only-cdnow", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=JSON", help="a setting")
    parser.add_argument("--plot", type=Path, help="write the bars of text to a file")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    options = parser.parse_args()
    overrides = {
        key: json.loads(text) for key, _, text in (one.partition("=") for one in options.set)
    }
    worlds = []
    if not options.only_cdnow:
        worlds.append((complete_journey(options.members, dict(overrides)), True))
    if options.cdnow:
        worlds.append((cdnow(options.cdnow, dict(overrides)), False))
    everything, bars = {}, []
    for world, full in worlds:
        began = time.perf_counter()
        found = measure(world, options.epsilon, options.seeds, full)
        spent = time.perf_counter() - began
        left = world.left
        head = (
            f"{world.name}: {len(world.members)} members, "
            f"{sum(one.table.customers for one in world.members)} customers to learn from "
            f"({sum(len(one.table) for one in world.members)} snapshots), "
            f"{len(left)} test customers, {left.mean():.1%} left; {world.rounds} steps, "
            f"delta {world.recipe.config.delta:g}, {options.seeds} seeds, {spent:.0f} s"
        )
        everything[world.name] = {"about": head, **found}
        bars.append(f"{head}\n{plot(found['rows'])}")  # type: ignore[arg-type]
        if not options.json:
            print(f"\n{head}\n\n{table(found['rows'])}")  # type: ignore[arg-type]
            print(f"\nblend against each member's own baseline\n\n{table(found['gains'])}")  # type: ignore[arg-type]
            print(f"\nwhat the cooperative sees, noised\n\n{table(found['evaluation'])}\n")  # type: ignore[arg-type]
            print("\n".join(found["verdicts"]))  # type: ignore[arg-type]
    if options.json:
        print(json.dumps(everything))
    if options.plot:
        options.plot.write_text("\n\n".join(bars) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
