"""A cooperative of real stores on this machine, from sales rows to a shared forecast.

    python -m examples.complete_journey.demo --stores 8 --rounds 40

Every store is a process with a folder of its own, and so is the coordinator; they speak over TLS
on the loopback interface. One store is killed in mid-round and comes back; a forged agreement, a
forbidden purpose and an order during an incident are refused by all; at the end everything is
checked from files alone, also by a stranger.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from examples.complete_journey import churn, export, lying, own, rules
from examples.complete_journey.cooperative import (
    COORDINATOR,
    NODE,
    Demo,
    Store,
    everybody,
    memory,
    refusals_of,
    show_refusals,
    step,
    watch,
    workload_digest,
)
from examples.complete_journey.outcome import forecast_example, results, show, verify
from examples.complete_journey.processes import CommandFailed, Daemon, Event, free_ports, words
from examples.complete_journey.report import DemoResult, page
from examples.complete_journey.report_rules import RulesResult

OFFICE_LEGAL_ID = "CG-0001"  # the agreement names the operator's business, the office has to match
# The receipts are of 2017. A node whose newest row is older than the members agreed refuses every
# run (clause 9), so the members of this demo agree to ten years.
MAX_AGE_DAYS = 3660


def found_cooperative(demo: Demo) -> None:
    """The coordinator: keys, database, and its process."""
    join, link = free_ports(2)
    demo.commands.run(
        COORDINATOR,
        demo.office_home,
        *("init", "--name", "Corner Grocers", "--profile", "B", "--host", "127.0.0.1"),
        *("--join-port", str(join), "--link-port", str(link)),
    )
    (demo.office_home / "config.toml").write_text(
        f'bind = "127.0.0.1"\nlegal_id = "{OFFICE_LEGAL_ID}"\ncountry = "DE"\n'
        "join_per_minute = 600\njoin_per_minute_total = 600\n"
    )
    demo.office = Daemon(
        "coordinator",
        words(COORDINATOR, demo.office_home, "serve"),
        demo.out / "coordinator.log",
        lambda name, event: on_event(demo, name, event),
    )
    demo.board.wait(lambda _, event: event["event"] == "listening", 30)


def enrol(demo: Demo, store: Store) -> None:
    """Keys, rows, a first forecast from the store's own rows, and membership."""
    run = demo.commands.run
    run(NODE, store.home, "init")
    run(NODE, store.home, "data", "add", str(store.csv), "--timezone", export.TIMEZONE, "--yes")
    forecast = run(NODE, store.home, "forecast", "--week-start", export.WEEK_START, "--json")
    (store.home / "first-forecast.json").write_text(forecast)
    link = demo.commands.json(COORDINATOR, demo.office_home, "member", "invite", store.name)
    run(
        NODE,
        store.home,
        *("join", link["link"], "--name", store.name, "--trade", "grocer"),
        *("--region", f"town {store.choice.store_id}", "--legal-id", f"S{store.choice.store_id}"),
        "--yes",
    )


def agree(demo: Demo) -> None:
    """A draft from the template, proposed, and signed by every store."""
    settings = demo.out / "agreed-settings.json"
    agreed: dict[str, Any] = {"week_start": export.WEEK_START}
    both: tuple[str, ...] = ()
    if demo.churn:
        agreed = {"demand": agreed, "churn": churn.AGREED}
        both = ("--workload", "demand", "--workload", "churn")
    settings.write_text(json.dumps(agreed))
    draft = demo.out / "agreement.json"
    run = demo.commands.run
    run(
        COORDINATOR,
        demo.office_home,
        *("agreement", "new", str(draft), "--settings", str(settings), *both),
        *("--set", "profile=B", "--set", "colluders=2", "--set", "min_cohort=5"),
        *("--set", f"max_age_days={MAX_AGE_DAYS}"),
        *("--max-rounds", str(max(100, demo.rounds))),
    )
    run(COORDINATOR, demo.office_home, "agreement", "propose", str(draft))
    everybody(
        demo,
        "Every store reads and signs the agreement",
        lambda store: run(NODE, store.home, "agreement", "sign", "--yes"),
    )


def start_nodes(demo: Demo) -> None:
    """Every store's process; approval is manual by default, so each says yes visibly."""
    digest = workload_digest(demo, "demand")

    def start(store: Store) -> None:
        demo.commands.run(NODE, store.home, "approve", digest, "--always", "--yes")
        store.daemon = Daemon(
            store.name,
            words(NODE, store.home, "start"),
            demo.out / f"{store.home.name}.log",
            demo.board.put,
        )

    everybody(demo, "Every store approves this workload and starts its node", start)
    names = {store.name for store in demo.stores}
    demo.board.wait(
        lambda name, event: name in names and event["event"] == "connected", 60, len(names)
    )


def run_words(demo: Demo) -> tuple[str, ...]:
    """The words of ``run plan`` and ``run launch`` for the forecast."""
    settings = demo.out / "run-settings.json"
    settings.write_text(
        json.dumps(
            {
                "categories": sorted(export.categories()),
                "train_until": export.TRAIN_UNTIL.isoformat(),
                "holdout_weeks": export.HOLDOUT_WEEKS,
            }
        )
    )
    words = ("--workload", "demand", "--rounds", str(demo.rounds))
    return (*words, "--settings", str(settings))


def train(demo: Demo) -> str:
    """Launch the run; kill one store after it sent its masked update; the run's final state."""
    names = {
        one["id"]: one["name"]
        for one in demo.commands.json(COORDINATOR, demo.office_home, "member", "list")["members"]
    }
    start = len(demo.board.events)
    demo.kill_in_round = min(3, demo.rounds)
    demo.commands.run(
        COORDINATOR,
        demo.office_home,
        *("run", "launch", *run_words(demo), "--yes"),
    )

    def in_round(event: Event) -> None:
        demo.attendance.append(frozenset(names[one] for one in event["members"]))
        if event["round"] == demo.rounds:
            demo.memory = memory(demo)

    return watch(demo, start, demo.rounds, in_round)


def on_event(demo: Demo, name: str, event: Event) -> None:
    """Called by the reader threads: the first store whose masked update came in is killed."""
    demo.board.put(name, event)
    if event["event"] != "masked":
        return
    name = event["name"]
    with demo.lock:
        if demo.killed[0] or event["round"] != demo.kill_in_round:
            return
        demo.killed = (name, event["round"])
    store = next(one for one in demo.stores if one.name == name)
    assert store.daemon is not None
    store.daemon.kill()
    demo.board.put(name, {"event": "killed", "round": event["round"]})
    store.daemon.restart()


def pull(demo: Demo) -> None:
    """Every store fetches the release, checks it to the last parameter, and uses it."""
    demo.board.wait(
        lambda name, event: event["event"] == "document" and event["kind"] == "release",
        60,
        len(demo.stores),
    )

    def one(store: Store) -> None:
        demo.commands.run(NODE, store.home, "models", "pull")
        forecast = demo.commands.run(NODE, store.home, "forecast", "--json")
        (store.home / "shared-forecast.json").write_text(forecast)

    everybody(demo, "Every store pulls, verifies and uses the release", one)


def forged_order(demo: Demo) -> tuple[list[tuple[str, str, str]], str]:
    """A lying coordinator: an order under the agreement with one figure changed."""
    start = len(demo.board.events)
    forged = lying.send_forged_order(demo.office_home, demo.rounds)
    return refusals_of(demo, start, forged.run, "c14"), forged.sentence


def conduct(demo: Demo, count: int) -> DemoResult:
    """All steps; the result for the report."""
    started = time.monotonic()
    with step(demo, "Real sales, exported as each store's till would write them"):
        choices = export.choose_stores(count)
        files = export.write_exports(demo.out / "exports", choices)
    demo.stores = [
        Store(choice, demo.out / "nodes" / f"store-{choice.store_id}", file)
        for choice, file in zip(choices, files, strict=True)
    ]
    with step(demo, "A coordinator founds the cooperative and listens"):
        found_cooperative(demo)
    everybody(
        demo,
        "Each store: keys, own rows, own forecast, joins",
        lambda store: enrol(demo, store),
    )
    agree(demo)
    signed = rules.signed(demo)
    start_nodes(demo)
    state = train(demo)
    demo.console.print(f"[bold]The run ended:[/bold] {state}")
    if state.startswith("released"):
        pull(demo)
    elif not state.startswith("refused"):
        raise CommandFailed(f"the run ended as {state}")
    with step(demo, "A lying coordinator sends an order under a changed agreement"):
        refusals, amendment = forged_order(demo)
    show_refusals(demo, refusals)
    purpose = rules.other_purpose(demo)
    use = rules.other_use(demo) if state.startswith("released") else ""
    frozen = rules.incident(demo, run_words(demo))
    stores = results(demo)
    customers = churn.conduct(demo) if demo.churn else None
    person = own.conduct(demo)
    states = [state] + ([customers.state] if customers is not None else [])
    with step(demo, "verify: every log, and the release back to its agreement"):
        checks = verify(demo, states)
    proof = rules.proof(demo, signed.agreement)
    show(demo, stores)
    places = [
        ("report", str(demo.out / "report.html")),
        ("the agreement, to read and print", str(demo.out / rules.PAGE)),
        ("evidence for strangers", str(demo.out / rules.PACK)),
        (f"papers of {person.store}", str(demo.stores[0].home / "documents")),
        ("commands and what they printed", str(demo.out / "commands.log")),
        ("coordinator", str(demo.office_home)),
        *[(store.name, str(store.home)) for store in demo.stores],
    ]
    return DemoResult(
        stores=stores,
        rounds=demo.rounds,
        seconds=time.monotonic() - started,
        attendance=demo.attendance,
        killed=demo.killed[0],
        killed_in_round=demo.killed[1],
        release=f"The release gate: {state}.",
        refusals=refusals,
        amendment=amendment,
        checks=checks,
        places=places,
        memory=demo.memory,
        example=forecast_example(demo) if state.startswith("released") else None,
        churn=customers,
        rules=RulesResult(signed, lying.PURPOSE, purpose, use, frozen, proof),
        person=person,
    )


def stop(demo: Demo) -> None:
    """SIGTERM to everybody; each ends cleanly."""
    daemons = [store.daemon for store in demo.stores] + [demo.office]
    for daemon in daemons:
        if daemon is not None and daemon.process.poll() is None:
            daemon.process.terminate()
    for daemon in daemons:
        if daemon is not None:
            daemon.stop()


def keep(demo: Demo) -> None:
    """Leave the cooperative running until Ctrl-C."""
    home = demo.stores[0].home
    demo.console.print("The cooperative keeps running; Ctrl-C ends it. Try, in another window:")
    for line in (
        f"coop-coordinator --home {demo.office_home} run status",
        f"coop-node --home {home} forecast",
        f"coop-node --home {home} agreement show",
        f"coop-node --home {home} verify",
        *([f"coop-node --home {home} budget"] if demo.churn else []),
    ):
        demo.console.print(f"  {line}", soft_wrap=True)
    while True:
        time.sleep(1)


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The options, checked; ends the program if they make no demo."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--stores", type=int, default=8, help="6 to 100")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path("demo-out"))
    parser.add_argument("--keep", action="store_true", help="leave it running at the end")
    parser.add_argument(
        "--churn", action="store_true", help="then learn which customers leave, with noise"
    )
    args = parser.parse_args(words)
    if not 6 <= args.stores <= 100 or args.rounds < 1:
        parser.error("6 to 100 stores and at least one round")
    return args


def main() -> int:
    """Entry point."""
    args = arguments()
    out = args.out.resolve()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    demo = Demo(out, args.rounds, Console(), churn=args.churn)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no process is left behind
    try:
        result = conduct(demo, args.stores)
        (out / "report.html").write_text(page(result), encoding="utf-8")
        (out / "result.json").write_text(_plain(result))
        demo.console.print(
            f"Took {result.seconds:.0f} s. Report: {out / 'report.html'}", soft_wrap=True
        )
        demo.console.print(f"Everything lies in {out}", soft_wrap=True)
        if args.keep:
            keep(demo)
    except KeyboardInterrupt:
        demo.console.print("Stopped.")
    except (CommandFailed, TimeoutError) as error:
        demo.console.print(f"[red]The demo failed:[/red] {error}")
        demo.console.print(f"Logs lie in {out}", soft_wrap=True)
        return 1
    finally:
        stop(demo)
    return 0


def _plain(result: DemoResult) -> str:
    document: dict[str, Any] = {
        "seconds": round(result.seconds, 1),
        "rounds": result.rounds,
        "release": result.release,
        "stores": [
            {"name": s.name, "cold": s.cold, "wape": s.wape, "wql": s.wql} for s in result.stores
        ],
        "memory_mb": {name: round(mb) for name, mb in result.memory},
        "killed": [result.killed, result.killed_in_round],
        "survivors": [len(one) for one in result.attendance],
    }
    if result.churn is not None:
        document["churn"] = asdict(result.churn)
    if result.rules is not None:
        document["rules"] = asdict(result.rules)
    if result.person is not None:
        document["person"] = asdict(result.person)
    return json.dumps(document, indent=1)


if __name__ == "__main__":
    sys.exit(main())
