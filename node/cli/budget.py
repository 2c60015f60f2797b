"""``budget``: what runs have spent of your customers' privacy, and what is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from node.cli.shell import Json, answer, state, table

if TYPE_CHECKING:
    from datetime import datetime

    from node.policy.privacy import Standing

STATES = {"reserved": "counts until the run ends", "used": "spent", "returned": "not spent"}


def register(app: typer.Typer) -> None:
    """Hang the command at the top of the tree."""
    app.command(epilog="Example: coop-node budget")(budget)


def budget(context: typer.Context, as_json: Json = False) -> None:
    """Show the privacy account: for each budget of the agreement what is spent and left."""
    from node import keys
    from node.house import open_member
    from node.policy.privacy import PrivacyAccount, standing
    from protocols.agreement.terms import Privacy

    member = open_member(state(context).home)
    now, restored = member.home.clock(), keys.restored_at(member.home.folder)
    with member.database.read() as db:
        lines = PrivacyAccount(db, restored).lines()
    current = member.agreements.current()
    block = current.terms.block("c14", Privacy) if current is not None else None
    limits = block.budgets if block is not None else ()
    found = [standing(one, lines, now, restored) for one in limits]
    without = sum(line.unit == "none" for line in lines)
    document = {"budgets": [_document(one) for one in found], "runs_without_promise": without}
    answer(document, as_json, lambda: _lines(found, without))


def _document(one: Standing) -> dict[str, Any]:
    from node.policy.privacy import price_of

    return {
        "unit": one.budget.unit,
        "epsilon": one.budget.epsilon,
        "delta": one.budget.delta,
        "period_days": one.budget.period_days,
        "spent": one.spent,
        "left": one.left,
        "lifetime": one.lifetime,
        "frees_at": _text(one.frees_at),
        "restored": one.restored,
        "runs": [
            {
                "run": line.run,
                "workload": line.workload,
                "state": line.state.value,
                "epsilon": price_of(line, one.budget.delta),
                "reserved_at": _text(line.reserved_at),
                "until": _text(line.until),
                "frees_at": _text(line.until + one.budget.period),
                "events": [dict(event) for event in line.events],
            }
            for line in one.lines
        ],
    }


def _lines(found: list[Standing], without: int) -> list[str]:
    out: list[str] = []
    for one in found:
        out += _standing(one)
    if not found:
        out.append("The agreement in force has no privacy budget: no workload here spends any.")
    if without:
        out.append(f"{without} runs of workloads that add no noise; nothing is counted for them.")
    return out


def _standing(one: Standing) -> list[str]:
    from node.policy.privacy import price_of
    from protocols.agreement.saying import day, eps

    limit = one.budget
    out = [
        f"Privacy of each {limit.unit}: {eps(one.spent)} of {limit.epsilon:g} epsilon spent in the "
        f"last {limit.period_days} days, {eps(one.left, up=False)} left (delta {limit.delta:g}).",
    ]
    if one.restored:
        out.append(
            "  This node was restored from a backup. What it spent between the backup and the "
            "restore is not known, so everything counts as spent."
        )
    if one.frees_at is not None:
        out.append(f"  The first of it comes back on {day(one.frees_at)}.")
    rows = [
        [
            line.run[:8],
            line.workload,
            eps(price_of(line, limit.delta)),
            STATES[line.state.value],
            day(line.until),
            "" if line.state.value == "returned" else day(line.until + limit.period),
        ]
        for line in one.lines
    ]
    headers = ["run", "workload", "epsilon", "state", "on", "comes back"]
    out += table(rows, headers, "  No run has spent any yet.")
    if len(rows) > 1:
        out.append(
            f"  Together they cost less than the sum of the column. Over all time: "
            f"{eps(one.lifetime)}."
        )
    return out


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
