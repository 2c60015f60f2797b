"""``orders``, ``approve``, ``refuse``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.shell import Json, Yes, answer, confirm, say, state, table

if TYPE_CHECKING:
    from protocols.agreement.facts import PrivacyFacts


def register(app: typer.Typer) -> None:
    """Hang these commands at the top of the tree."""
    app.command(epilog="Example: coop-node orders")(orders)
    app.command(epilog="Example: coop-node approve 1f3a --always")(approve)
    app.command(epilog="Example: coop-node refuse 1f3a --reason stocktaking")(refuse)


def orders(context: typer.Context, as_json: Json = False) -> None:
    """Orders that came, what your node answered, and why."""
    from node.house import open_member
    from node.store.orders import Orders, OrderState
    from protocols.agreement.order import read_order
    from protocols.canonical import parse_json
    from protocols.signing import jws_payload

    member = open_member(state(context).home)
    with member.database.read() as db:
        found = Orders(db).list()
    shown: list[dict[str, Any]] = []
    for one in found:
        signed = parse_json(one.jws, "order")
        order = read_order(jws_payload(signed, "order"), "order").order
        asks = one.state is OrderState.PENDING
        shown.append(
            {
                "run": one.run,
                "state": one.state.value,
                "reasons": list(one.reasons),
                "workload": f"{order.workload.id} {order.workload.version}",
                "digest": one.digest,
                "purpose": order.purpose,
                "columns": list(order.columns),
                "members": len(order.cohort),
                "rounds": order.rounds,
                "deadline": order.deadline.isoformat(),
                "privacy": _cost(member.gate.price(signed)) if asks else None,
            }
        )

    def lines() -> list[str]:
        rows = [
            [str(o[k]) for k in ("run", "state", "workload", "purpose", "members", "rounds")]
            for o in shown
        ]
        out = table(
            [[r[0][:8], *r[1:]] for r in rows],
            ["run", "state", "workload", "purpose", "members", "rounds"],
            "No orders yet. Your operator sends one when a run is planned.",
        )
        for o in shown:
            out += [f"  {str(o['run'])[:8]}: {reason}" for reason in o["reasons"]]
            if o["state"] == "pending":
                out.append(f"  {str(o['run'])[:8]}: {_said(o['privacy'])}")
                out.append(f"  Approve it: coop-node approve {str(o['run'])[:8]}")
        return out

    answer({"orders": shown}, as_json, lines)


def _cost(found: PrivacyFacts | None) -> dict[str, Any] | None:
    """What a run would spend, as a document; None if that is not known."""
    if found is None:
        return None
    return {
        "unit": found.unit,
        "delta": found.delta,
        "epsilon": found.epsilon_run,
        "spent_before": found.epsilon_before,
        "spent_after": found.epsilon_after,
    }


def _said(cost: dict[str, Any] | None) -> str:
    from protocols.agreement.saying import eps

    if cost is None:
        return "what it costs in privacy is not known; it would be refused."
    if cost["unit"] == "none":
        return "it adds no noise, so nothing bounds what the common model shows."
    return (
        f"it spends {eps(cost['epsilon'])} of epsilon of each {cost['unit']}'s privacy; "
        f"{eps(cost['spent_before'])} is spent now, {eps(cost['spent_after'])} would be then."
    )


def approve(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="First digits of the run, or a workload digest.")],
    always: Annotated[
        bool, typer.Option("--always", help="Every order of this workload digest from now on.")
    ] = False,
    revoke: Annotated[
        bool, typer.Option("--revoke", help="Take back an earlier --always of this digest.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Say yes to an order, once or always for its workload. Your agreement still binds it."""
    from node.house import open_member

    member = open_member(state(context).home)
    if revoke:
        had = member.approvals.revoke(run)
        say("Taken back: orders wait for your answer again." if had else "There was no --always.")
        return
    if len(run) == 64:
        confirm(f"Approve every order of workload digest {run[:16]} from now on?", yes)
        member.approvals.approve_workload(run)
        say(f"Always approved: workload digest {run[:16]}.")
        return
    order = member.approvals.find(run)
    what = (
        f"every order of workload digest {order.digest[:16]}" if always else f"run {order.run[:8]}"
    )
    confirm(f"Approve {what}?", yes)
    member.approvals.approve(run, always=always)
    say(f"Approved: {what}. The running node takes it from here.")


def refuse(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="First digits of the run.")],
    reason: Annotated[str, typer.Option(help="For your own log; it stays on this node.")],
) -> None:
    """Say no to an order."""
    from node.federation.post import post_answer
    from node.house import open_member

    member = open_member(state(context).home)
    order = member.approvals.refuse(run, reason)
    post_answer(member, order.run, "refused", ("c16 approval: this member refused the order",))
    say(f"Refused: run {order.run[:8]}.")
