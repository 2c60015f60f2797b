"""``corrections list``: how many customers members erased or corrected, and in which runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from coordinator.cli.shell import Json, answer, state, table

if TYPE_CHECKING:
    from coordinator.wiring import House
    from protocols.agreement.terms import Terms

app = typer.Typer(
    no_args_is_help=True,
    help="What members erased or corrected after runs: how many, never who.",
)


@app.command("list", epilog="Example: coop-coordinator corrections list")
def list_all(context: typer.Context, as_json: Json = False) -> None:
    """Show each letter, and for every release what the agreement suggests."""
    from coordinator.cli.release import cards_of
    from coordinator.members.corrections import Corrections
    from coordinator.wiring import open_house

    house = open_house(state(context).home)
    desk = Corrections(house.database, house.clock)
    listed = desk.list()
    affected = desk.affected(cards_of(house.releases), lambda name: _terms(house, name))
    document = {
        "corrections": [
            {
                "member": one.member,
                "at": one.at.isoformat(),
                "what": one.correction.what,
                "count": one.correction.count,
                "runs": list(one.correction.runs),
            }
            for one in listed
        ],
        "releases": [
            {
                "model": one.model,
                "run": one.run,
                "people": dict(one.counts),
                "proposal": one.proposal.decision,
                "clause": one.proposal.clause or None,
                "why": one.proposal.why,
            }
            for one in affected
        ],
    }

    def lines() -> list[str]:
        rows = [
            [
                f"{one.at:%Y-%m-%d}",
                house.enrolment.name_of(one.member),
                f"{one.correction.count} {one.correction.what}",
                ", ".join(run[:8] for run in one.correction.runs) or "none",
            ]
            for one in listed
        ]
        out = table(rows, ["day", "member", "customers", "in runs"], "No correction so far.")
        for found in affected:
            people = ", ".join(f"{number} {what}" for what, number in sorted(found.counts.items()))
            out.append(f"Model {found.model[:16]}: {people} since. {found.proposal.words()}")
        return out

    answer(document, as_json, lines)


def _terms(house: House, agreement: str) -> Terms | None:
    from coordinator.members.agreements import parsed_agreement
    from coordinator.store.documents import Documents

    with house.database.read() as db:
        found = Documents(db).get(agreement)
    return parsed_agreement(found.body).terms if found is not None else None
