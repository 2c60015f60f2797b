"""For notebooks and shop systems: the cooperative's results on this member's own node.

    from node.sdk import Cooperative

    coop = Cooperative.local()
    found = coop.forecast(purpose="train:demand")
    found.to_pandas()
    found.provenance.expires

Nothing leaves the node. Each call asks the use gate, like the commands: a result that was
revoked, has expired, is not for this member or not for this purpose raises ``Refused``, which
names the clause and the figures. Errors are those of ``protocols.errors``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self

from protocols.errors import Refused

if TYPE_CHECKING:
    import pandas as pd

    from node.federation.using import Usable
    from node.house import Home
    from node.insights.churn_list import AtRisk
    from node.insights.forecasts import Line

Check = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a result comes from and on what terms it may be used.

    Args:
        model, card, agreement, order, run: ids; the card's is the SHA-256 of its canonical form.
        log_entry, log_size: its line in the coordinator's log, and the log's size in the proof.
        licence, purposes, expires: the use terms on the card (clauses 20, 28, 30).
        purpose: what it was used for this time.
        contributors, recipients: how many members.
        privacy: what the card says about it, in a sentence.
    """

    model: str
    card: str
    agreement: str
    order: str
    run: str
    log_entry: int
    log_size: int
    licence: str
    purposes: tuple[str, ...]
    expires: datetime
    purpose: str
    contributors: int
    recipients: int
    privacy: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """Units for the weeks ahead. ``provenance`` is None if only the own baseline was used."""

    method: str
    known_until: date
    history_weeks: int
    lines: tuple[Line, ...] = field(repr=False)
    provenance: Provenance | None
    _may_take_out: Check = field(repr=False)

    def to_pandas(self) -> pd.DataFrame:
        """One row a category and week: category_code, week_start, horizon, p10, p50, p90, mean.

        Raises:
            Refused: this role may not take results out of the node (clause 6).
        """
        return _frame(self._may_take_out, [asdict(one) for one in self.lines])


@dataclass(frozen=True, slots=True)
class CustomersAtRisk:
    """Customers who may not come back, the most probable first; for a person who decides."""

    as_of: date
    horizon_weeks: int
    scored: int
    expected_to_leave: float
    left_out: int
    customers: tuple[AtRisk, ...] = field(repr=False)
    provenance: Provenance
    _may_take_out: Check = field(repr=False)

    def to_pandas(self) -> pd.DataFrame:
        """One row a customer: customer_key, probability, own, shared, last_visit, reasons (text).

        Raises:
            Refused: this role may not take results out of the node (clause 6).
        """
        rows = [
            {
                "customer_key": one.customer_key,
                "probability": one.probability,
                "own": one.own,
                "shared": one.shared,
                "last_visit": one.last_visit,
                "reasons": "; ".join(reason.words for reason in one.reasons),
            }
            for one in self.customers
        ]
        return _frame(self._may_take_out, rows)


@dataclass(frozen=True, slots=True)
class Model:
    """A release that was offered here. ``stands``: offered, in use, revoked, expired, refused or
    not yours."""

    model: str
    run: str
    workload: str
    stands: str
    licence: str
    purposes: tuple[str, ...]
    expires: str
    uses_today: int
    metrics: dict[str, float]


class Cooperative:
    """One member's view of its cooperative; make it with ``local``."""

    def __init__(self, home: Home, may_take_out: Check) -> None:
        self._home, self._may_take_out = home, may_take_out

    @classmethod
    def local(
        cls, home: Path | str | None = None, *, acts_as: str = "", passphrase: str = ""
    ) -> Self:
        """The node on this computer.

        Args:
            home: its folder; where the commands look if None.
            acts_as, passphrase: of a registered person, if people are registered on this node.

        Raises:
            LocalError: there is no node here.
            InputError: people are registered and nobody is named, or the passphrase is wrong.
            Refused: this role may not use results.
        """
        from node.house import open_home
        from node.policy.people import OS_USER, require_may
        from protocols.agreement.roles import Action

        found = open_home(Path(home) if home is not None else None)
        actor, clause = OS_USER, None
        if (found.folder / "node.db").is_file() or acts_as:
            database = found.database()
            try:
                actor = found.people(database).identify(acts_as, lambda: passphrase)
                clause = _data_roles(database)
            finally:
                database.close()
        require_may(actor, Action.USE, clause)
        return cls(
            open_home(found.folder, actor), lambda: require_may(actor, Action.EXPORT, clause)
        )

    def models(self) -> tuple[Model, ...]:
        """Every release that was offered or pulled, oldest first; asks no gate, uses nothing."""
        from node.federation.pulling import kept_models
        from node.house import open_member

        member = open_member(self._home.folder, self._home.acting)
        try:
            found = kept_models(member)
        finally:
            member.close()
        return tuple(
            Model(
                model=one["model"],
                run=one["run"],
                workload=str(one["workload"]),
                stands=one["stands"],
                licence=str(one["licence"] or ""),
                purposes=tuple(one["purposes"]),
                expires=str(one["expires"] or ""),
                uses_today=int(one["uses_today"] or 0),
                metrics=dict(one["metrics"] or {}),
            )
            for one in found
        )

    def forecast(
        self, *, purpose: str, week_start: str = "monday", own_only: bool = False
    ) -> Forecast:
        """Units for the weeks ahead, with the newest shared model that may be used.

        Args:
            purpose: what the result is for; clause 20 says for what a model may be used.
            week_start: monday or sunday; a shared model brings its own.
            own_only: leave shared models aside.

        Raises:
            InputError: no whole week of sales.
            Refused: a model was pulled and may not be used now, here, for this purpose.
        """
        from node.advice import best_forecast

        found = best_forecast(self._home, week_start, own_only=own_only, purpose=_required(purpose))
        made = found.forecast
        return Forecast(
            method=found.method,
            known_until=made.known_until,
            history_weeks=made.history_weeks,
            lines=made.only(found.method),
            provenance=_provenance(found.used) if found.used is not None else None,
            _may_take_out=self._may_take_out,
        )

    def customers_at_risk(self, *, purpose: str, top: int | None = None) -> CustomersAtRisk:
        """Who may not come back. Only customers who stand in the purpose are looked at.

        Args:
            purpose: what the result is for.
            top: how many to list; all if None.

        Raises:
            InputError: no sales, or no model about customers.
            Refused: the model may not be used now, here, for this purpose.
        """
        from node.advice import customers_at_risk

        found = customers_at_risk(self._home, top, _required(purpose))
        made = found.listed
        return CustomersAtRisk(
            as_of=made.as_of,
            horizon_weeks=made.horizon_weeks,
            scored=made.scored,
            expected_to_leave=made.expected_to_leave,
            left_out=found.left_out,
            customers=made.customers,
            provenance=_provenance(found.used),
            _may_take_out=self._may_take_out,
        )

    def benchmark(self, figure: str, *, category: str = "") -> NoReturn:
        """A shared figure beside the own one: not made by this version.

        Raises:
            Refused: always; naming clause 15.
        """
        about = f" for {category!r}" if category else ""
        raise Refused(
            f"c15 outputs: this version makes no figures, so there is no benchmark of "
            f"{figure!r}{about}; released are metrics and models (0 figures).",
            clauses=("c15",),
            fix="Use forecast() or customers_at_risk().",
        )


def _required(purpose: str) -> str:
    if not purpose:
        raise Refused(
            "c07 purposes: a result is used for a purpose, and none was named.",
            clauses=("c07",),
            fix="Name one that clause 20 allows, for example purpose='train:demand'.",
        )
    return purpose


def _provenance(used: Usable) -> Provenance:
    from protocols.canonical import json_id
    from protocols.useterms import read_use

    card, terms = used.card, read_use(used.card, "card")
    return Provenance(
        model=used.model,
        card=json_id(card),
        agreement=str(card["agreement"]),
        order=str(card["order"]),
        run=str(card["run"]),
        log_entry=used.log_entry,
        log_size=used.log_size,
        licence=terms.licence,
        purposes=tuple(sorted(terms.purposes)),
        expires=terms.expires,
        purpose=used.permit.purpose,
        contributors=len(terms.contributors),
        recipients=len(terms.recipients),
        privacy=str(card["privacy"]["statement"]),
    )


def _data_roles(database: Any) -> Any:
    """Clause 6 of the newest version that this member signed, or None before that."""
    from node.policy.agreements import newest_signed
    from protocols.agreement.terms import DataRoles

    with database.read() as connection:
        mine = newest_signed(connection)
    return mine.terms.block("c06", DataRoles) if mine is not None else None


def _frame(may_take_out: Check, rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    may_take_out()
    return pd.DataFrame.from_records(list(rows))


__all__ = ["Cooperative", "CustomersAtRisk", "Forecast", "Model", "Provenance"]
