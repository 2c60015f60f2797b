"""What a member acts on: the forecast, own or blended, and the customers who may not come back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from node import membership
from node.data.consent import lines_to_score
from node.data.vault import WeekStart
from node.federation.using import Usable, use_model
from node.house import Home, Member, open_member
from node.insights.churn_list import ChurnList, churn_list
from node.insights.forecasts import BEST, Forecast, own_forecast, shared_forecast
from protocols.errors import InputError, Refused
from protocols.workloads import churn, demand


@dataclass(frozen=True, slots=True)
class Advice:
    """A forecast, the method to act on, and the shared model behind it if one was used."""

    forecast: Forecast
    method: str
    used: Usable | None = None


@dataclass(frozen=True, slots=True)
class AtRiskAdvice:
    """The list, the model behind it, and how many lines were of customers left out."""

    listed: ChurnList
    used: Usable
    left_out: int


def best_forecast(home: Home, week_start: str, *, own_only: bool, purpose: str = "") -> Advice:
    """The member's forecast, with the shared model if one was pulled.

    Args:
        home: the node.
        week_start: monday or sunday, for a forecast without a shared model.
        own_only: leave the shared model aside.
        purpose: what the shared model is used for; that of its run if empty.

    Raises:
        InputError: no whole week of sales yet.
        Refused: a model was pulled and may not be used (now, here, for this).
    """
    if week_start not in ("monday", "sunday"):
        raise InputError(f"weeks start on monday or sunday, not {week_start!r}.", where="option")
    vault = home.vault()
    known_until = vault.last_day()
    if known_until is None:
        raise InputError(
            "there are no sales rows here yet.", fix="Add them first: coop-node data add FILE.csv"
        )
    used = None
    if not own_only and membership.is_enrolled(home.folder):
        with _member(home) as member:
            used = _used(member, demand.ID, purpose)
    if used is None:
        day: WeekStart = "monday" if week_start == "monday" else "sunday"
        weekly = vault.weekly_for_owner(week_start=day)
        made = own_forecast(weekly, week_start, known_until, cache=home.cache)
        return Advice(made, "own")
    config = demand.parse_config(used.order["config"], "order config")
    weekly = vault.weekly_for_owner(week_start=config.week_start)
    made = shared_forecast(weekly, used.parameters, config, known_until, cache=home.cache)
    return Advice(made, BEST, used)


@contextmanager
def _member(home: Home) -> Iterator[Member]:
    """The node that has joined, its database given back afterwards."""
    found = open_member(home.folder, home.acting)
    try:
        yield found
    finally:
        found.close()


def _used(member: Member, workload: str, purpose: str) -> Usable | None:
    """The model to use; a refusal names the way without it."""
    try:
        return use_model(member, workload, purpose)
    except Refused as refused:
        raise Refused(
            refused.problem,
            clauses=refused.clauses,
            code=refused.code,
            where=refused.where,
            fix="Your own forecast needs no shared model: coop-node forecast --own.",
        ) from refused


def customers_at_risk(home: Home, top: int | None, purpose: str = "") -> AtRiskAdvice:
    """Who may not come back. Only customers who stand in the purpose are scored, and only while
    the agreement and the house rules allow the use of the model.

    Args:
        home: the node.
        top: how many to list; all if None.
        purpose: what for; that of the model's run if empty.

    Raises:
        InputError: no sales yet, or no model of churn is in use.
        Refused: the use gate says no, or who stands cannot be told.
    """
    vault = home.vault()
    as_of = vault.last_day()
    if as_of is None:
        raise InputError(
            "there are no sales rows here yet.", fix="Add them first: coop-node data add FILE.csv"
        )
    used, standing = None, None
    if membership.is_enrolled(home.folder):
        with _member(home) as member:
            used = use_model(member, churn.ID, purpose)
            now = home.clock()
            if used is not None:
                standing = home.consents(member.database).standing(used.permit.purpose, now)
    if used is None or standing is None:
        raise InputError(
            "no shared model about customers is in use here.",
            fix="Take part in a run of the workload churn, then: coop-node models pull",
        )
    permit = used.permit
    config = churn.parse_config(used.order["config"], "order config")
    lines = lines_to_score(vault, permit, now, standing, churn.COLUMNS)
    made = churn_list(lines, used.parameters, config, as_of, top=top)
    return AtRiskAdvice(made, used, lines.left_out.not_standing)
