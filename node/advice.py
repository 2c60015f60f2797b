"""The forecast that a member acts on: its own baseline, or the blend with the model in use."""

from __future__ import annotations

from node import membership
from node.data.vault import WeekStart
from node.federation import releases
from node.federation.pulling import used_model
from node.house import Home, open_member
from node.insights.forecasts import BEST, Forecast, own_forecast, shared_forecast
from protocols.errors import InputError
from protocols.workloads import demand


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
