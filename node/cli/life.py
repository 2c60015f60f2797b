"""``roster``, ``key``, ``suspend``, ``resume``, ``leave``: who belongs, and our own part in it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.acting import acting_member
from node.cli.shell import Json, Yes, answer, confirm, note, say, state
from protocols.errors import Code, CoopError, InputError, LocalError
from protocols.plain import key_words

if TYPE_CHECKING:
    from node.house import Member
    from node.policy.agreements import Agreements
    from protocols.agreement.roster import Difference, ParsedRoster
    from protocols.agreement.roster import Member as Party

roster_app = typer.Typer(no_args_is_help=True, help="Who the members are, and who signs for it.")
key_app = typer.Typer(no_args_is_help=True, help="This member's own keys.")


def register(app: typer.Typer) -> None:
    """Hang these commands into the tree."""
    app.add_typer(roster_app, name="roster")
    app.add_typer(key_app, name="key")
    app.command(epilog="Example: coop-node suspend")(suspend)
    app.command(epilog="Example: coop-node resume")(resume)
    app.command(epilog="Example: coop-node leave --on 2027-01-31")(leave)


def post(member: Member) -> None:
    """Fetch and send letters now; without a connection, they wait for the running node."""
    from node.federation.post import exchange

    try:
        exchange(member)
    except CoopError as error:
        note(f"(Not connected: {error.problem} Letters wait until the node is.)")


def roster_lines(desk: Agreements, roster: ParsedRoster) -> list[str]:
    """What a person compares before signing a roster: who is new, renewed, changed, gone."""
    from protocols.agreement.roster import difference

    accepted = desk.accepted_roster()
    before = accepted if accepted is not None and accepted.id != roster.id else None
    found = difference(roster, before if roster.roster.epoch > 1 else None)
    lines = [f"Roster epoch {roster.roster.epoch}, proposed on {roster.roster.issued:%Y-%m-%d}:"]
    lines += _changes(found) or ["  nothing changes."]
    if found.joined or found.renewed:
        lines += [
            "Call those who are new or have a new key, on a number that you knew before, and",
            "compare the key words ('coop-node key show' prints them). Your signature says that "
            "you did.",
        ]
    rival = desk.rival_of(roster)
    if rival is not None:
        lines.append(
            f"CAREFUL: you have signed another list of this epoch ({rival[:16]}). Sign this one "
            "only if the operator says why, and ask the others which one they have."
        )
    return lines


def _changes(found: Difference) -> list[str]:
    lines = [f"  new      {_who(one)}: {key_words(one.id)}" for one in found.joined]
    for old, new in found.renewed:
        lines += [
            f"  new key  {_who(new)}: {key_words(new.id)}",
            f"           instead of {key_words(old.id)}",
        ]
    for old, new in found.changed:
        fields = ("name", "legal_id", "trade", "region", "encryption_key", "not_after", "roles")
        what = [name for name in fields if getattr(old, name) != getattr(new, name)]
        lines.append(f"  changed  {_who(new)}: {', '.join(what).replace('_', ' ')}")
    return lines + [f"  gone     {_who(one)}" for one in found.gone]


def _who(one: Party) -> str:
    return f"{one.name}, {one.region} ({one.legal_id})"


def _document(found: Difference) -> dict[str, Any]:
    def entry(one: Party) -> dict[str, str]:
        return {"id": one.id, "name": one.name, "key_words": key_words(one.id)}

    return {
        "joined": [entry(one) for one in found.joined],
        "renewed": [{"old": entry(old), "new": entry(new)} for old, new in found.renewed],
        "changed": [{"old": entry(old), "new": entry(new)} for old, new in found.changed],
        "gone": [entry(one) for one in found.gone],
    }


@roster_app.command(epilog="Example: coop-node roster show")
def show(context: typer.Context, as_json: Json = False) -> None:
    """The members that you accepted, and the list that waits for signatures."""
    from node.house import open_member

    member = open_member(state(context).home)
    post(member)
    accepted, proposed = member.agreements.accepted_roster(), member.agreements.roster_to_sign()
    document = {
        "accepted": accepted.document if accepted else None,
        "id": accepted.id if accepted else None,
        "proposed": proposed.document if proposed else None,
        "proposed_id": proposed.id if proposed else None,
    }

    def lines() -> list[str]:
        out = ["You have accepted no list of members yet."]
        if accepted is not None:
            out = [f"Roster epoch {accepted.roster.epoch} ({accepted.id[:16]}):"]
            out += [
                f"  {_who(one)}, key until {one.not_after:%Y-%m-%d}: {key_words(one.id)}"
                for one in accepted.roster.members
            ]
        if proposed is not None:
            signed = member.membership.member in member.agreements.signers(proposed.id)
            out += [
                "",
                f"Epoch {proposed.roster.epoch} waits for signatures"
                + (", yours is there." if signed else ": coop-node roster diff, roster sign."),
            ]
        return out

    answer(document, as_json, lines)


@roster_app.command("diff", epilog="Example: coop-node roster diff")
def roster_diff(context: typer.Context, as_json: Json = False) -> None:
    """What the proposed list of members changes, with the key words to compare."""
    from node.house import open_member
    from protocols.agreement.roster import difference

    member = open_member(state(context).home)
    post(member)
    roster = _to_sign(member)
    found = difference(roster, member.agreements.accepted_roster())
    document = {"id": roster.id, "epoch": roster.roster.epoch, **_document(found)}
    answer(document, as_json, lambda: roster_lines(member.agreements, roster))


@roster_app.command("sign", epilog="Example: coop-node roster sign")
def roster_sign(context: typer.Context, yes: Yes = False) -> None:
    """Sign the proposed list of members; your agreement stays as it is."""
    member = acting_member(context, "sign")
    post(member)
    roster = _to_sign(member)
    for line in roster_lines(member.agreements, roster):
        say(line)
    confirm("Sign this list of members with your key?", yes)
    member.agreements.sign_roster(roster.id)
    post(member)
    say(f"Signed: {roster.id[:16]}. It counts when enough members have signed.")


def _to_sign(member: Member) -> ParsedRoster:
    roster = member.agreements.roster_to_sign()
    if roster is None:
        raise LocalError(
            "no list of members waits for your signature.",
            code=Code.NOT_FOUND,
            fix="The accepted one: coop-node roster show.",
        )
    return roster


@key_app.command("show", epilog="Example: coop-node key show")
def key_show(context: typer.Context, as_json: Json = False) -> None:
    """Your key words, for others to compare, and until when your key is good."""
    from node import keys
    from node.house import open_home
    from node.policy.renewal import pending

    home = open_home(state(context).home)
    new = pending(home.folder)
    document = {
        "member": home.keys.member,
        "key_words": key_words(home.keys.member),
        "encryption_key": home.keys.encryption_public.hex(),
        "next": None
        if new is None
        else {
            "member": new.member,
            "key_words": key_words(new.member),
            "certificate": (home.folder / keys.NEXT / keys.TLS_CERT).is_file(),
        },
    }

    def lines() -> list[str]:
        out = [f"Your key words: {key_words(home.keys.member)}"]
        if new is not None:
            out.append(f"Key words of your new key, not in use yet: {key_words(new.member)}")
        return out

    answer(document, as_json, lines)


@key_app.command("renew", epilog="Example: coop-node key renew")
def key_renew(
    context: typer.Context,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="Forget a renewal that the members did not sign.")
    ] = False,
    yes: Yes = False,
) -> None:
    """Make new keys for this member; they count once the members signed the list with them.

    May be run again at any time: it goes on where it stands.
    """
    from node import config
    from node.house import utc_now
    from node.policy import renewal
    from node.policy.alone import alone

    folder = config.resolve_home(state(context).home)
    if renewal.interrupted(folder):
        with alone(folder):
            renewal.finish_interrupted(folder, utc_now())
    member = acting_member(context, "keys")
    home = member.home
    if give_up:
        given = renewal.give_up(folder)
        say("The new keys are gone." if given else "No renewal was begun.")
        return
    post(member)
    if renewal.ready(folder, member.database):
        with alone(folder):
            new = renewal.switch(folder, member.database, home.journal, home.clock())
        say(f"Your new key is in use. Key words: {key_words(new)}")
        say("Make a new backup now: coop-node backup FILE")
        return
    if renewal.pending(folder) is None:
        confirm("Make new keys? The old ones stay in use until the members signed.", yes)
    made = renewal.begin(folder, member.database, home.journal, home.clock())
    post(member)
    post(member)  # the certificate and the proposed list came after our letter
    say(f"Key words of your new key: {key_words(made.member)}")
    say("Read them to the other members when they call. What is left to do:")
    say("  1. they, and you, sign the new list of members: coop-node roster sign")
    say("  2. the running node then takes the new key by itself; without one: key renew again")


def suspend(context: typer.Context, yes: Yes = False, as_json: Json = False) -> None:
    """Take part in nothing from this moment, in the running node too."""
    member = acting_member(context, "membership")
    confirm("Suspend this member? Runs that go on end here.", yes)
    new = member.life.suspend()
    post(member)
    _told(member, as_json, "You are suspended." if new else "You were suspended before.")


def resume(context: typer.Context, yes: Yes = False, as_json: Json = False) -> None:
    """Take part again after ``suspend``."""
    member = acting_member(context, "membership")
    confirm("Take part in runs again?", yes)
    new = member.life.resume()
    post(member)
    _told(member, as_json, "You take part again." if new else "You were not suspended.")


def leave(
    context: typer.Context,
    on: Annotated[str, typer.Option(help="The last day, for example 2027-01-31 (UTC).")] = "",
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Give notice. Until that day everything stays as it is; then this node refuses."""
    member = acting_member(context, "membership")
    until = _day(on) if on else None
    confirm(f"Leave the cooperative{f' on {on}' if on else ''}?", yes)
    last = member.life.leave(until)
    post(member)
    _told(member, as_json, f"You leave the cooperative on {last:%Y-%m-%d} at {last:%H:%M} UTC.")


def _day(text: str) -> datetime:
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise InputError(
            f"{text[:40]!r} is not a day.", where="--on", fix="Write it as 2027-01-31."
        ) from error
    return day.replace(hour=23, minute=59, second=59)


def _told(member: Member, as_json: bool, sentence: str) -> None:
    known = member.life.presence()
    document = {
        "suspended_since": known.suspended_since,
        "leaving_at": known.leaving_at,
        "said": sentence,
    }
    answer(document, as_json, lambda: [sentence])
