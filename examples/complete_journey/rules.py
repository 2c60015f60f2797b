"""The steps of a demo about the agreement: signed, obeyed, frozen, and proved to a stranger."""

from __future__ import annotations

from collections.abc import Sequence

from examples.complete_journey import lying
from examples.complete_journey.cooperative import (
    COORDINATOR,
    NODE,
    Demo,
    refusals_of,
    show_refusals,
    step,
)
from examples.complete_journey.processes import CommandFailed
from examples.complete_journey.report_rules import (
    FrozenResult,
    Proof,
    Refusals,
    Signed,
)
from protocols.agreement.parse import read_agreement
from protocols.agreement.render import grouped
from protocols.errors import Refused

PAGE = "agreement.html"
PACK = "evidence.zip"
SHOWN = ("c07", "c08", "c14", "c15", "c20", "c22", "c25", "c29")  # of all clauses, on the page
INCIDENT = "A laptop of the office was stolen"
REFUSED = 3  # exit code
MINUTES = len("2026-01-31T12:34")


def signed(demo: Demo) -> Signed:
    """Write the agreement as a page, and read who signed what."""
    run = demo.commands
    with step(demo, "What the agreement lets others do, as a page; who signed it"):
        words = ("agreement", "show", "--html", str(demo.out / PAGE))
        shown = run.json(COORDINATOR, demo.office_home, *words)
        sheets = run.json(COORDINATOR, demo.office_home, "agreement", "status")["documents"]
    parsed = read_agreement(shown["agreement"], "agreement")
    effects: dict[str, str] = {}
    for _, said in grouped(parsed):
        for sentence, clause in said:
            effects[clause] = f"{effects.get(clause, '')} {sentence}".strip()
    when = {
        one["kind"]: {cell["name"]: cell["signed_at"] for cell in one["members"]} for one in sheets
    }
    until = {cell["name"]: cell["key_until"] for one in sheets for cell in one["members"]}
    rows = [
        (
            store.name,
            _minute(when["agreement"][store.name]),
            _minute(when["roster"][store.name]),
            (until[store.name] or "-")[: len("2026-01-31")],
        )
        for store in demo.stores
    ]
    missing = [row[0] for row in rows if "missing" in row]
    if missing:
        raise CommandFailed(f"these stores have not signed: {', '.join(missing)}")
    clauses = len(parsed.agreement.clauses)
    demo.console.print(
        f"  {len(rows)} of {len(demo.stores)} stores signed {clauses} clauses; to read: {PAGE}",
        soft_wrap=True,
    )
    for clause in ("c07", "c15"):
        demo.console.print(f"  [bold]{clause}[/bold] {effects[clause]}")
    chosen = [(name, effects[name]) for name in SHOWN if name in effects]
    return Signed(shown["id"], PAGE, clauses, chosen, rows)


def other_purpose(demo: Demo) -> Refusals:
    """An order for a purpose that the agreement forbids; every store's refusal."""
    with step(demo, f"The office orders a run for {lying.PURPOSE}, which nobody agreed to"):
        start = len(demo.board.events)
        run = lying.send_order_for(demo.office_home, lying.PURPOSE)
        refusals = refusals_of(demo, start, run, "c07")
    show_refusals(demo, refusals)
    return refusals


def other_use(demo: Demo) -> str:
    """A store asks its own copy of the model for that purpose; what the use gate says."""
    from node.sdk import Cooperative

    store = demo.stores[0]
    with step(demo, f"A store asks the shared model for {lying.PURPOSE}"):
        try:
            Cooperative.local(store.home).forecast(purpose=lying.PURPOSE)
        except Refused as refused:
            said = _sentence(lying.shown(refused.problem, "c07"))
        else:
            raise CommandFailed(f"{store.name} could use the model for {lying.PURPOSE}")
    demo.console.print(f"  {store.name}: [bold]{said[:3]}[/bold]{said[3:]}")
    return said


def incident(demo: Demo, words: Sequence[str]) -> FrozenResult:
    """Open an incident that freezes runs, try to run all the same, tell the members, close it.

    Args:
        words: of ``run plan``, for a run that the agreement would allow.
    """
    run, home = demo.commands, demo.office_home
    with step(demo, "The office opens an incident: nothing may run until it is closed"):
        opened = run.json(COORDINATOR, home, "incident", "open", "--what", INCIDENT, "--yes")
        number = str(opened["incident"])
        plan = run.json(COORDINATOR, home, "run", "plan", *words, expect=REFUSED)
        reasons = [str(one) for one in plan["refused"] if str(one).startswith("c25")]
        if not reasons:
            raise CommandFailed(f"the office's gate does not name the incident: {plan['refused']}")
        start = len(demo.board.events)
        ordered = lying.send_order_again(home)
        refusals = refusals_of(demo, start, ordered, "c25")
        run.run(COORDINATOR, home, "incident", "notify", number, "--yes")
        run.run(COORDINATOR, home, "incident", "close", number, "--yes")
    demo.console.print(f"  the office's own gate: {reasons[0]}")
    show_refusals(demo, refusals)
    demo.console.print("  the members were told, and the incident is closed")
    return FrozenResult(INCIDENT, reasons[0], refusals)


def proof(demo: Demo, agreement: str) -> Proof:
    """Who countersigned the log; one file for strangers, checked in an empty folder."""
    run, home = demo.commands, demo.office_home
    with step(demo, "Every store has countersigned the office's log"):
        found = run.json(COORDINATOR, home, "log", "witnesses")["witnesses"]
    never = [one["name"] for one in found if one["at"] is None]
    if never:
        raise CommandFailed(f"these stores have not countersigned: {', '.join(never)}")
    rows = [(one["name"], str(one["size"]), _minute(one["at"])) for one in found]
    least = min(one["size"] for one in found)
    demo.console.print(f"  all {len(rows)} vouch for at least {least} entries")
    pack, stranger = demo.out / PACK, demo.out / "stranger"
    with step(demo, "evidence: one file; a stranger with an empty folder verifies it"):
        made = run.json(COORDINATOR, home, "evidence", "--out", str(pack))
        stranger.mkdir()
        checks = run.json(NODE, stranger, "verify", str(pack), "--agreement", agreement)["checks"]
    demo.console.print(f"  {made['bytes'] / 1000:.0f} kB, {len(checks)} checks passed")
    return Proof(rows, PACK, int(made["bytes"]), checks)


def _minute(at: str | None) -> str:
    return at[:MINUTES].replace("T", " ") if at else "missing"


def _sentence(said: tuple[str, str]) -> str:
    return " ".join(said)
