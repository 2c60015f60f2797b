"""``people add | list | remove | key``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coordinator.cli.guard import passphrase_of
from coordinator.cli.shell import Json, Yes, answer, confirm, person, say, state, table
from protocols.errors import Refused

NEW_PASSPHRASE = "COOP_NEW_PASSPHRASE"  # noqa: S105 - the name of a variable
app = typer.Typer(no_args_is_help=True, help="Who works in this office: operators and auditors.")
Who = Annotated[str, typer.Argument(help="The name.")]


@app.command(epilog="Example: coop-coordinator people add Anna --role operator")
def add(
    context: typer.Context,
    name: Who,
    role: Annotated[str, typer.Option(help="operator (acts) or auditor (looks and verifies).")],
) -> None:
    """Register a person. From the first one on, every command needs --as NAME."""
    import secrets

    from coordinator.members import people
    from coordinator.wiring import open_house
    from protocols.audit.entries import Kind

    house = open_house(state(context).home)
    passphrase = passphrase_of(f"{name} (new)", NEW_PASSPHRASE)
    with house.database.write() as db:
        made = people.add(
            db,
            name=name,
            role=role,
            passphrase=passphrase,
            now=house.clock(),
            entropy=secrets.token_bytes,
        )
    with house.log() as log:
        facts = {"person": made.id, "role": made.role, "state": "added"}
        log.append(Kind.PERSON, {**facts, **_by(context)})
    say(f"{name} is {role} here, under {made.id} in the log.")
    say(f"From now on: coop-coordinator --as NAME ..., for example --as '{name}' run status")


@app.command("list", epilog="Example: coop-coordinator people list")
def list_all(context: typer.Context, as_json: Json = False) -> None:
    """Everybody who is registered."""
    from coordinator.store.people import People
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    with house.database.read() as db:
        listed = People(db).list()
    document = [
        {
            "id": one.id,
            "name": one.name,
            "role": one.role,
            "added_at": one.added_at.isoformat(),
            "approver_key": one.approver_key.hex() if one.approver_key else None,
        }
        for one in listed
    ]
    rows = [
        [one.name, one.role, one.id, one.approver_key.hex()[:16] if one.approver_key else "-"]
        for one in listed
    ]
    answer(
        {"people": document},
        as_json,
        lambda: table(
            rows,
            ["name", "role", "in the log", "approver key"],
            "Nobody: whoever has the account on this machine acts as the operator.",
        ),
    )


@app.command(epilog="Example: coop-coordinator people remove Anna")
def remove(context: typer.Context, name: Who, yes: Yes = False) -> None:
    """Somebody works here no longer. Approver keys go with the next agreement version."""
    from coordinator.members import people
    from coordinator.wiring import open_house
    from protocols.audit.entries import Kind

    house = open_house(state(context).home)
    confirm(f"Remove {name}?", yes)
    with house.database.write() as db:
        gone = people.remove(db, name, house.clock())
    with house.log() as log:
        facts = {"person": gone.id, "role": gone.role, "state": "removed"}
        log.append(Kind.PERSON, {**facts, **_by(context)})
    say(f"{name} is removed.")
    if gone.approver_key is not None:
        say("Their approver key is good until the members sign a version without it.")


@app.command(epilog="Example: coop-coordinator --as Bea people key Bea --out /media/bea/bea.key")
def key(
    context: typer.Context,
    name: Who,
    out: Annotated[Path, typer.Option(help="Where the key file goes: a disk of their own.")],
    as_json: Json = False,
) -> None:
    """Make the key with which this person approves what another one has launched."""
    import secrets

    from coordinator.members import people
    from coordinator.store.people import People
    from coordinator.wiring import open_house
    from protocols.audit.entries import Kind

    house = open_house(state(context).home)
    with house.database.read() as db:
        found = people.find(db, name)
    if found.id != person(context):
        raise Refused(
            "everybody makes their own key.", where="--as", fix=f"Let {name} do it: --as '{name}'."
        )
    made = people.new_key(out, secrets.token_bytes)
    with house.database.write() as db:
        People(db).give_key(found.id, made.public)
    with house.log() as log:
        facts = {"person": found.id, "role": found.role, "state": "key"}
        log.append(Kind.PERSON, {**facts, "key": made.public.hex()})
    public = made.public.hex()

    def lines() -> list[str]:
        return [
            f"The key of {name} is in {out}. Keep it away from this machine.",
            f"Its public part, for clause 5: {public}",
            f"  coop-coordinator agreement new draft.toml --approver-key {public}",
        ]

    answer({"person": found.id, "approver_key": public, "file": str(out)}, as_json, lines)


def _by(context: typer.Context) -> dict[str, str]:
    found = person(context)
    return {} if found is None else {"by": found}
