"""``init``, ``join``, ``start``, ``backup``, ``restore``, ``doctor``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli import rights
from node.cli.acting import acting_home
from node.cli.shell import Json, Yes, answer, confirm, say, state
from protocols.errors import Code, InputError
from protocols.plain import key_words

if TYPE_CHECKING:
    from node.federation.channel import Offer

Passphrase = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="Read the passphrase from a file instead of asking."),
]


def register(app: typer.Typer) -> None:
    """Hang these commands at the top of the tree."""
    app.command(epilog="Example: coop-node init")(init)
    app.command(epilog="Example: coop-node join 'office.example.org:8801#9f..:k3..'")(join)
    app.command(epilog="Example: coop-node start")(start)
    app.command(epilog="Example: coop-node backup /media/usb/node.backup")(backup)
    app.command(epilog="Example: coop-node --home NEW restore /media/usb/node.backup")(restore)
    app.command(epilog="Example: coop-node doctor")(doctor)


def init(
    context: typer.Context,
    key_store: Annotated[
        str, typer.Option("--key-store", help="Where the key of the rows lies: file or os.")
    ] = "file",
) -> None:
    """Make this member's keys. They never leave this computer."""
    from node import config, keys, vault_key

    if key_store not in ("file", "os"):
        raise InputError(
            f"{key_store!r} is not possible; expected file or os.", where="--key-store"
        )
    folder = config.resolve_home(state(context).home)
    if key_store == "os":
        vault_key.require_store()  # before there is anything
    made = keys.create(folder)
    if key_store == "os":
        vault_key.to_store(folder / keys.KEYS, made.vault, made.member)
        say("The key of your rows lies in the key store of this computer.")
    say(f"This node lives in {folder}.")
    say(f"Its key words: {key_words(made.member)}")
    say("Next: coop-node data add FILE.csv, or with an invitation: coop-node join 'LINK'")


def join(
    context: typer.Context,
    link: Annotated[str, typer.Argument(help="The invitation, in quotes.")],
    name: Annotated[str, typer.Option(help="What others call your shop.")] = "",
    legal_id: Annotated[str, typer.Option(help="Register or tax number.")] = "",
    trade: Annotated[str, typer.Option(help="For example: grocer.")] = "",
    region: Annotated[str, typer.Option(help="For example: a town.")] = "",
    again: Annotated[
        bool, typer.Option("--again", help="Come back with a fresh invitation.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Join a cooperative: shows who is asking, then sends your name and public keys."""
    from node.federation.channel import join as join_cooperative
    from protocols.joining import Profile

    home = acting_home(context, "membership")
    shop = name or typer.prompt("What do others call your shop?")

    def agreed(offer: Offer) -> bool:
        say(f"{offer.cooperative.name} at {offer.address} asks you to join.")
        say(f"  office software: {offer.software}")
        say(f"  key words of the office: {key_words(offer.fingerprint)}")
        say("  Compare the key words with your operator on the telephone if you can.")
        say(f"What is sent: the name {shop!r}, what you gave with it, and your public keys.")
        confirm("Join?", yes)
        return True

    profile = Profile(shop, legal_id, trade, region)
    joined = join_cooperative(home.folder, link, profile, agreed, home.clock, again=again)
    public = joined.membership.public
    home.journal("enrolment", {"coop": public.coop, "member": joined.membership.member})
    say(f"You are a member of {public.name}.")
    say("Next: coop-node start (keeps you connected), then: coop-node agreement show")


def start(context: typer.Context) -> None:
    """Stay connected until Ctrl-C or SIGTERM: letters, orders, rounds."""
    import logging
    import os
    import signal

    os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
    os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"
    from node import config
    from node.events import Events
    from node.house import open_member, utc_now
    from node.policy import renewal
    from node.policy.alone import alone
    from node.wiring import Daemon

    folder = config.resolve_home(state(context).home)
    with alone(folder):
        renewal.finish_interrupted(folder, utc_now())
        again = True
        while again:
            member = open_member(folder)
            logging.basicConfig(stream=sys.stderr, level=member.home.settings.log_level.upper())
            member.require_whole()
            rights.remind(member.home, member.database)
            daemon = Daemon(member, Events(sys.stdout, sys.stdout.isatty(), utc_now))
            for one in (signal.SIGTERM, signal.SIGINT):
                signal.signal(one, daemon.stop)
            daemon.run()
            again = daemon.renewing
            if again:  # the members accepted this member's new key
                home = member.home
                renewal.switch(folder, member.database, home.journal, home.clock())
                member.close()


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to write; must not exist.")],
    passphrase_file: Passphrase = None,
) -> None:
    """Write keys, documents and log into one encrypted file. Sales rows are not in it."""
    from node import backup as vaulted

    home = acting_home(context, "keys", salvage=True)
    home.journal("backup", {})
    contents = vaulted.backup(
        home.folder, file, _passphrase(passphrase_file, twice=True), home.clock()
    )
    say(f"{len(contents.paths)} files are in {file}. Without the passphrase it is useless.")


def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The backup.")],
    passphrase_file: Passphrase = None,
    evidence: Annotated[
        Path | None,
        typer.Option(help="Folder with evidence of erasures since the backup (old home: rights/)."),
    ] = None,
) -> None:
    """Put a backup into an empty folder (--home). Takes part in runs ordered from now on."""
    from node import backup as vaulted
    from node import config
    from node.house import open_home, utc_now

    folder = config.resolve_home(state(context).home)
    contents = vaulted.restore(file, folder, _passphrase(passphrase_file, twice=False), utc_now())
    open_home(folder).journal("restore", {})
    say(f"Restored {len(contents.paths)} files into {folder}.")
    for line in rights.after_restore(folder, evidence, contents.made_at):
        say(line)
    say("Next: coop-node data add for your sales, then coop-node start.")


def doctor(context: typer.Context, as_json: Json = False) -> None:
    """Look at keys, certificate, clock, disk, rows and connection; each finding with its fix."""
    from node.checkup import examine

    findings = examine(state(context).home)
    document = {
        "findings": [{"ok": f.ok, "what": f.what, "found": f.found, "fix": f.fix} for f in findings]
    }

    def lines() -> list[str]:
        return [
            f"{'ok   ' if f.ok else 'CHECK'}  {f.what}: {f.found}"
            + (f"  What to do: {f.fix}" if not f.ok and f.fix else "")
            for f in findings
        ]

    answer(document, as_json, lines)
    if not all(f.ok for f in findings):
        raise typer.Exit(1)


def _passphrase(file: Path | None, *, twice: bool) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    if not sys.stdin.isatty():
        raise InputError(
            "a passphrase is needed and there is nobody to ask.",
            code=Code.USAGE,
            fix="Run it in a terminal, or use --passphrase-file.",
        )
    return str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=twice))
