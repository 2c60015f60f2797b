"""``models list | pull | remove``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from node.cli.shell import Json, Yes, answer, confirm, table

app = typer.Typer(no_args_is_help=True, help="Shared models: pulled, verified, used by forecast.")


@app.command("list", epilog="Example: coop-node models list --json")
def list_models(context: typer.Context, as_json: Json = False) -> None:
    """Releases that were offered or pulled, whether you may use them, what they do for you."""
    from node.cli.acting import acting_member
    from node.federation.pulling import kept_models

    found = kept_models(acting_member(context, "see"))

    def lines() -> list[str]:
        rows = [
            [
                str(one["model"])[:16],
                str(one["workload"]),
                str(one["stands"]),
                str(one["expires"] or "-")[:10],
                *_errors(one),
            ]
            for one in found
        ]
        headers = ["model", "workload", "stands", "until", "your error: own", "shared", "blend"]
        said = table(rows, headers, "No release yet: it comes when a run has finished.")
        return said + [
            f"Model {str(one['model'])[:16]} was taken back: {one['revoked']}"
            for one in found
            if one["revoked"]
        ]

    answer({"models": found}, as_json, lines)


@app.command(epilog="Example: coop-node models pull")
def pull(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="First digits; the newest if left out.")] = "",
    as_json: Json = False,
) -> None:
    """Fetch a release, open it, check it from the agreement to the last parameter, keep it."""
    from node.cli.acting import acting_member
    from node.federation.pulling import pull_release

    name, lines = pull_release(acting_member(context, "use"), model)
    answer(
        {"model": name, "checks": list(lines)},
        as_json,
        lambda: [*[f"ok  {line}" for line in lines], f"Model {name[:16]} is in use now."],
    )


@app.command(epilog="Example: coop-node models remove 3fa9")
def remove(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="First digits.")],
    yes: Yes = False,
) -> None:
    """Delete a pulled release from this node. It can be pulled again while it is offered."""
    from node.cli.acting import acting_member
    from node.federation.pulling import one_release
    from node.federation.using import drop

    member = acting_member(context, "use")
    found = one_release(member, model)
    confirm(f"Delete model {found.model[:16]} from this node?", yes)
    drop(member, found.model)
    answer({}, False, lambda: [f"Model {found.model[:16]} is deleted from this node."])


def _errors(one: dict[str, Any]) -> list[str]:
    errors = one.get("own_scores", {}).get("errors", {})
    return [f"{errors[name]:.3f}" if name in errors else "-" for name in ("own", "shared", "blend")]
