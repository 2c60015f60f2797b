"""``orders``, ``approve``, ``refuse``, ``approvals``, ``incidents``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.acting import acting_member
from node.cli.shell import Json, Yes, answer, confirm, say, state, table

if TYPE_CHECKING:
    from protocols.agreement.facts import PrivacyFacts

approvals_app = typer.Typer(
    no_args_is_help=True, help="What was said yes to for always, and how to take it back."
)


def register(app: typer.Typer) -> None:
    """Hang these commands at the top of the tree."""
    app.command(epilog="Example: coop-node orders")(orders)
    app.command(epilog="Example: coop-node approve 1f3a --always")(approve)
    app.command(epilog="Example: coop-node refuse 1f3a --reason stocktaking")(refuse)
    app.add_typer(approvals_app, name="approvals")
    app.command(epilog="Example: coop-node incidents")(incidents)


def orders(context: typer.Context, as_json: Json = False) -> None:
    """Orders that came, what your node answered, and why."""
    from node.house import open_member
    from node.store.orders import Approvals, Orders, OrderState
    from protocols.agreement.order import read_order
    from protocols.canonical import parse_json
    from protocols.signing import jws_payload

    member = open_member(state(context).home)
    with member.database.read() as db:
        found, said = Orders(db).list(), {one.subject: one for one in Approvals(db).list()}
    shown: list[dict[str, Any]] = []
    for one in found:
        signed = parse_json(one.jws, "order")
        order = read_order(jws_payload(signed, "order"), "order").order
        asks = one.state is OrderState.PENDING
        word = said.get(one.run) or said.get(one.digest)
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
                "rows": member.home.vault().summary().lines if asks else None,
                "privacy": _cost(member.gate.price(signed)) if asks else None,
                "answered": None if word is None else f"{word.answer} by {word.role} {word.by}",
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
                out += _asked(o)
        return out

    answer({"orders": shown}, as_json, lines)


def _asked(order: dict[str, Any]) -> list[str]:
    """What a person has to know before they say yes."""
    name = str(order["run"])[:8]
    return [
        f"  {name}: would run {order['workload']}, code digest {str(order['digest'])[:16]}, "
        f"for {order['purpose']}, {order['rounds']} rounds with {order['members']} members,",
        f"  {name}: over the columns {', '.join(order['columns'])} of at most {order['rows']} "
        f"lines here, until {str(order['deadline'])[:16]} UTC.",
        f"  {name}: {_said(order['privacy'])}",
        f"  Say yes: coop-node approve {name}, for every order of this digest: --always",
        f"  Say no:  coop-node refuse {name} --reason TEXT",
    ]


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
    member = acting_member(context, "approve")
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

    member = acting_member(context, "approve")
    order = member.approvals.refuse(run, reason)
    post_answer(member, order.run, "refused", ("c16 approval: this member refused the order",))
    say(f"Refused: run {order.run[:8]}.")


@approvals_app.command("list", epilog="Example: coop-node approvals list")
def list_approvals(context: typer.Context, as_json: Json = False) -> None:
    """Show the workload digests whose orders need no asking, and who said so."""
    from node.house import open_member

    member = open_member(state(context).home)
    found = member.approvals.always()
    document = {
        "always": [
            {"digest": one.subject, "role": one.role, "by": one.by, "at": one.at.isoformat()}
            for one in found
        ]
    }

    def lines() -> list[str]:
        out = table(
            [[one.subject[:16], one.role, one.by, f"{one.at:%Y-%m-%d}"] for one in found],
            ["digest", "role", "who", "since"],
            "Every order waits for your answer.",
        )
        if found and member.gate.asks_each_time:
            out.append("Your house rules ask for every order all the same.")
        return out

    answer(document, as_json, lines)


@approvals_app.command(epilog="Example: coop-node approvals revoke 1f3a9c0d")
def revoke(
    context: typer.Context,
    digest: Annotated[str, typer.Argument(help="First digits of the workload digest.")],
) -> None:
    """Take back an always; orders of this digest wait for an answer again."""
    member = acting_member(context, "approve")
    taken = member.approvals.revoke(member.approvals.find_always(digest))
    say("Taken back: orders wait for your answer again." if taken else "There was no always.")


def incidents(context: typer.Context, as_json: Json = False) -> None:
    """Show incidents that the operator announced, and whether they freeze runs here."""
    from node.house import open_member
    from node.policy.incidents import frozen, steps
    from protocols.agreement.incident import newest

    member = open_member(state(context).home)
    with member.database.read() as db:
        found, why = newest(steps(db)), frozen(db)
    document = {
        "frozen": why,
        "incidents": [
            {
                "incident": one.incident,
                "state": one.state,
                "freeze": one.freeze,
                "what": one.what,
                "at": one.at.isoformat(),
            }
            for one in found
        ],
    }

    def lines() -> list[str]:
        out = table(
            [[one.incident[:8], one.state, f"{one.at:%Y-%m-%d}", one.what] for one in found],
            ["incident", "state", "since", "what"],
            "The operator has announced no incident.",
        )
        if why:
            out.append(f"Runs are frozen here: {why}.")
        return out

    answer(document, as_json, lines)
