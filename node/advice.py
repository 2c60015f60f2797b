"""What a member acts on: the forecast, own or blended, and the customers who may not come back."""

from __future__ import annotations

from node import membership
from node.data.consent import lines_to_score
from node.data.vault import WeekStart
from node.federation import releases
from node.federation.pulling import use_permit, used_model
from node.house import Home, open_member
from node.insights.churn_list import ChurnList, churn_list
from node.insights.forecasts import BEST, Forecast, own_forecast, shared_forecast
from protocols.errors import InputError
from protocols.workloads import churn, demand


def best_forecast(home: Home, week_start: str, *, own_only: bool) -> tuple[Forecast, str, str]:
    """Forecast, the method to act on, and the id of the shared model (empty if none is used).

    Raises:
        InputError: no whole week of sales yet.
    """
    if week_start not in ("monday", "sunday"):
        raise InputError(f"weeks start on monday or sunday, not {week_start!r}.", where="option")
    vault = home.vault()
    known_until = vault.last_day()
    if known_until is None:
        raise InputError(
            "there are no sales rows here yet.", fix="Add them first: coop-node data add FILE.csv"
        )
    found = None
    if not own_only and membership.is_enrolled(home.folder):
        member = open_member(home.folder)
        found = used_model(member, demand.ID)
    if found is None:
        day: WeekStart = "monday" if week_start == "monday" else "sunday"
        weekly = vault.weekly_for_owner(week_start=day)
        made = own_forecast(weekly, week_start, known_until, cache=home.cache)
        return made, "own", ""
    model, order = found
    config = demand.parse_config(order["config"], "order config")
    params = releases.parameters(home.models, model)
    weekly = vault.weekly_for_owner(week_start=config.week_start)
    made = shared_forecast(weekly, params, config, known_until, cache=home.cache)
    return made, BEST, model


def customers_at_risk(home: Home, top: int | None) -> tuple[ChurnList, str, int]:
    """The list, the id of the model behind it, and how many lines were of customers left out.

    Only customers who stand in the purpose of the model's run are scored, and only while the
    agreement and the house rules allow the use of the model.

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
    found = None
    if membership.is_enrolled(home.folder):
        member = open_member(home.folder)
        found = used_model(member, churn.ID)
    if found is None:
        raise InputError(
            "no shared model about customers is in use here.",
            fix="Take part in a run of the workload churn, then: coop-node models pull",
        )
    model, order = found
    permit, now = use_permit(member, model), home.clock()
    config = churn.parse_config(order["config"], "order config")
    standing = home.consents(member.database).standing(permit.purpose, now)
    lines = lines_to_score(vault, permit, now, standing, churn.COLUMNS)
    made = churn_list(lines, releases.parameters(home.models, model), config, as_of, top=top)
    return made, model, lines.left_out.not_standing
