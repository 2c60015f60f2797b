"""Orders that the office's own launch gate would never let out, posted to every member.

What somebody could do who took over the office: the real operator key, the real mailboxes, any
fields. Each changes one thing of an order that would be admitted.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from coordinator.drafts import workload_terms
from coordinator.store.mail import Mail
from coordinator.wiring import open_house
from protocols.agreement.order import (
    OPERATOR,
    USUAL_DROPOUT_PERCENT,
    make_order,
    stage_timeouts,
)
from protocols.agreement.roster import read_roster
from protocols.agreement.terms import Privacy, Term
from protocols.canonical import json_bytes
from protocols.ids import MemberId
from protocols.signing import SigningKey, jws_payload, jws_sign
from protocols.workloads import catalogue

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Forgery:
    """What is changed: fields of the order, given those of the honest one, or its signature."""

    changes: Callable[[Fields], Fields] = lambda honest: {}
    key: SigningKey | None = None


def post_order(office_home: Path, forgery: Forgery, config: Fields, rounds: int = 2) -> str:
    """Make an order under the agreement in force, change it, post it to all; its run id.

    Args:
        config: settings of the demand workload that the agreement leaves free.
    """
    house = open_house(office_home)
    try:
        parsed = house.agreement()
        assert parsed is not None
        _, signed_roster = house.agreements.in_force()
        roster = read_roster(jws_payload(signed_roster, "roster"), "roster")
        privacy, term = parsed.terms.block("c14", Privacy), parsed.terms.block("c30", Term)
        assert privacy is not None and term is not None
        recipe = workload_terms(catalogue.DEMAND, {}, rounds)
        now = house.clock().replace(microsecond=0)
        fields: Fields = {
            "coop": house.office.public.coop,
            "run": secrets.token_hex(16),
            "agreement": parsed.id,
            "roster": roster.id,
            "roster_epoch": roster.roster.epoch,
            "workload": recipe,
            "purpose": recipe["purpose"],
            "columns": recipe["columns"],
            "cohort": sorted(roster.voters()),
            "colluders": privacy.colluders,
            "min_cohort": privacy.min_cohort,
            "max_dropout_percent": USUAL_DROPOUT_PERCENT,
            "rounds": rounds,
            "config": {**recipe["config"], **config},
            "stage_timeouts_s": stage_timeouts(60),
            "rejoin_wait_s": 2.0,
            "issued": now,
            "deadline": now + timedelta(hours=1),
        }
        fields = {**fields, **forgery.changes({**fields, "agreement_ends": term.ends})}
        order = make_order(**fields)
        signed = jws_sign(order.document, OPERATOR, forgery.key or house.operator_key())
        with house.database.write() as db:
            for one in roster.voters():
                Mail(db).post(
                    MemberId(one),
                    kind="order",
                    document=order.id,
                    body=json_bytes(signed),
                    now=house.clock(),
                )
        return order.order.run
    finally:
        house.close()
