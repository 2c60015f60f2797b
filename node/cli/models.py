"""``models list | pull``."""

from __future__ import annotations

from typing import Annotated

import typer

from node.cli.shell import Json, answer, state, table

app = typer.Typer(no_args_is_help=True, help="Shared models: pulled, verified, used by forecast.")


@app.command("list", epilog="Example: coop-node models list --json")
def list_models(context: typer.Context, as_json: Json = False) -> None:
    """Releases that were offered or pulled, and what they do for you."""
    from node.federation.pulling import kept_models
    from node.house import open_member

    member = open_member(state(context).home)
    found = kept_models(member)

    def lines() -> list[str]:
        rows = []
        for one in found:
            errors = one.get("own_scores", {}).get("errors", {})
            rows.append(
                [str(one["model"])[:16], str(one["workload"]), str(one["state"])]
                + [
                    f"{errors[name]:.3f}" if name in errors else "-"
                    for name in ("own", "shared", "blend")
                ]
            )
        headers = ["model", "workload", "state", "your error: own", "shared", "blend"]
        return table(rows, headers, "No release yet: it comes when a run has finished.")

    answer({"models": found}, as_json, lines)


@app.command(epilog="Example: coop-node models pull")
def pull(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="First digits; the newest if left out.")] = "",
    as_json: Json = False,
) -> None:
    """Fetch a release, check it from the agreement to the last parameter, keep it."""
    from node.federation.pulling import pull_release
    from node.house import open_member

    member = open_member(state(context).home)
    name, lines = pull_release(member, model)
    answer(
        {"model": name, "checks": list(lines)},
        as_json,
        lambda: [*[f"ok  {line}" for line in lines], f"Model {name[:16]} is in use now."],
    )
