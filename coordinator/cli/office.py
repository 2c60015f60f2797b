"""``init``, ``serve``, ``verify``, ``doctor``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from coordinator.cli.shell import Json, answer, say, state
from protocols.errors import Code, InputError

JOIN_PORT, LINK_PORT = 8801, 8802


def register(app: typer.Typer) -> None:
    """Hang these commands at the top of the tree."""
    app.command(
        epilog="Example: coop-coordinator init --name 'Corner Shops' --host office.example.org"
    )(init)
    app.command(epilog="Example: coop-coordinator serve")(serve)
    app.command(epilog="Example: coop-coordinator doctor")(doctor)


def init(
    context: typer.Context,
    name: Annotated[str, typer.Option(help="What members call the cooperative.")],
    profile: Annotated[str, typer.Option(help="Competition profile: A, B or C.")] = "C",
    host: Annotated[str, typer.Option(help="Name or address under which nodes reach you.")] = "",
    join_port: Annotated[int | None, typer.Option(help="Port for enrolment.")] = None,
    link_port: Annotated[int | None, typer.Option(help="Port for members.")] = None,
    legal_id: Annotated[str, typer.Option(help="Register number of the operator's business.")] = "",
    country: Annotated[str, typer.Option(help="Where this machine stands, for example DE.")] = "",
    sub_processor: Annotated[
        list[str] | None, typer.Option(help="A business that works for you here; repeatable.")
    ] = None,
) -> None:
    """Create the cooperative: authority, server key, operator key, database."""
    from coordinator import settings as configuration
    from coordinator.config import CONFIG_FILE
    from coordinator.members.pki import create_cooperative
    from coordinator.store.database import Database
    from coordinator.wiring import locate, open_house, utc_now
    from protocols.audit.entries import Kind

    if profile not in {"A", "B", "C"}:
        raise InputError(
            f"there is no competition profile {profile!r}.",
            where="--profile",
            fix="A: not competitors. B: same trade in other areas. C: competitors.",
        )
    about: dict[str, str | tuple[str, ...]] = {
        "legal_id": legal_id,
        "country": country,
        "sub_processors": tuple(sub_processor or ()),
    }
    configuration.check(about)
    folder, settings, where = locate(state(context).home)
    if not (host or settings.host):
        raise InputError(
            "the name or address under which nodes reach this machine is missing.",
            code=Code.USAGE,
            where="--host",
            fix="For example --host office.example.org; to try it on one machine, "
            "--host 127.0.0.1.",
        )
    office = create_cooperative(
        where,
        name=name,
        profile=profile,
        hosts=(host or settings.host,),
        join_port=join_port or settings.join_port or JOIN_PORT,
        link_port=link_port or settings.link_port or LINK_PORT,
        now=utc_now(),
    )
    configuration.add(folder / CONFIG_FILE, about)
    Database.open(where.database, create=True).close()
    house = open_house(folder)
    with house.log() as log:
        log.append(Kind.START, {"note": "the cooperative was founded"})
    house.close()
    say(f"{name} lives in {folder}.")
    say(f"Operator's key: {where.operator_dir} (move it to a disk of your own: operator_dir).")
    say(f"Fingerprint of this office: {office.fingerprint}")
    say("Next: coop-coordinator serve, and in another window: coop-coordinator member invite NAME")


def serve(context: typer.Context) -> None:
    """Serve members until Ctrl-C or SIGTERM."""
    import logging
    import os
    import signal

    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"
    from coordinator.events import Events
    from coordinator.server import Server
    from coordinator.wiring import open_house, utc_now

    house = open_house(state(context).home)
    logging.basicConfig(stream=sys.stderr, level=house.settings.log_level.upper())
    server = Server(house, Events(sys.stdout, sys.stdout.isatty(), utc_now))
    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, server.stop)
    server.run()


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Look at keys, certificates, clock, disk, database and ports; each finding with its fix."""
    from coordinator.checkup import examine

    findings = examine(state(context).home)
    document = {
        "findings": [{"ok": f.ok, "what": f.what, "found": f.found, "fix": f.fix} for f in findings]
    }

    def lines() -> list[str]:
        return [
            f"{'ok   ' if f.ok else 'CHECK'}  {f.what}: {f.found}"
            + (f"  What to do: {f.fix}" if not f.ok else "")
            for f in findings
        ]

    answer(document, as_json, lines)
    if not all(f.ok for f in findings):
        raise typer.Exit(1)
