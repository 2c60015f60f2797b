"""``customers``: who may not come back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from node.cli.shell import Json, answer, table
from protocols.errors import InputError

if TYPE_CHECKING:
    from node.house import Home
    from node.insights.churn_list import AtRisk, ChurnList

MAX_NAMES = 1_000_000
SHOWN = 20


def customers(
    context: typer.Context,
    top: Annotated[int, typer.Option(min=1, help="How many to list.")] = SHOWN,
    names: Annotated[
        Path | None,
        typer.Option(help="Text file with your customer numbers, one a line, to show them."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Customers who will probably not come back, each with three reasons."""
    from node.advice import customers_at_risk
    from node.cli.acting import acting_home

    home = acting_home(context, "use")
    known = _known(home, names)
    found = customers_at_risk(home, top)
    made, model, left_out = found.listed, found.used.model, found.left_out
    document = made.document() | {"model": model, "lines_left_out": left_out}
    for one in document["customers"]:
        if one["customer_key"] in known:
            one["customer"] = known[one["customer_key"]]

    answer(document, as_json, lambda: _lines(made, known, model, left_out))


def _known(home: Home, names: Path | None) -> dict[str, str]:
    """Customer key -> the number that the shop knows; kept in memory only."""
    if names is None:
        return {}
    from node.data.values import customer_key

    try:
        text = names.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "this file cannot be read as text.", where=str(names), fix="Save it as UTF-8 text."
        ) from error
    keys = ((customer_key(home.keys.customer_secret, line), line) for line in text[:MAX_NAMES])
    return {key: line.strip() for key, line in keys if key is not None}


def _lines(made: ChurnList, known: dict[str, str], model: str, left_out: int) -> list[str]:
    rows: list[list[str]] = []
    for one in made.customers:
        name = known.get(one.customer_key, one.shown)
        rows.append([name, f"{one.probability:.0%}", str(one.last_visit), _why(one)])
    out = table(
        rows,
        ["customer", "leaves", "last visit", "because"],
        "No customer is active enough to be judged.",
    )
    out.append(
        f"As of {made.as_of}: {made.scored} active customers, about "
        f"{made.expected_to_leave:.0f} of them will not buy within {made.horizon_weeks} weeks."
    )
    out.append(
        f"Model {model[:16]} and your own ({made.own_method}) together; your own counts "
        f"{made.own_weight:.0%}."
    )
    if left_out:
        out.append(
            f"{left_out} lines of customers who did not agree, or who objected, were not looked at."
        )
    return out


def _why(one: AtRisk) -> str:
    said: list[Any] = [
        reason.words if reason.share > 0 else f"but {reason.words}" for reason in one.reasons
    ]
    return "; ".join(said)
