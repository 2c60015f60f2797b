"""A lying coordinator, for the demo: an order under an agreement with one figure changed, one for a
purpose that is forbidden, one during an incident, and one that spends more privacy than is left.

The office's own launch gate would refuse them all, so the orders are made beside it, with the real
operator key and the real mailboxes: what an attacker who took over the office could do.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from coordinator.drafts import workload_terms
from coordinator.store.mail import Mail
from coordinator.wiring import House, open_house
from protocols.agreement.base import utc_text
from protocols.agreement.order import (
    OPERATOR,
    USUAL_DROPOUT_PERCENT,
    ParsedOrder,
    make_order,
    read_order,
    stage_timeouts,
)
from protocols.agreement.roster import ParsedRoster, read_roster
from protocols.agreement.template import amend
from protocols.agreement.terms import Privacy
from protocols.canonical import json_bytes
from protocols.ids import MemberId
from protocols.signing import jws_payload, jws_sign
from protocols.workloads import catalogue

PURPOSE = "price_setting"  # clause 7 forbids it


@dataclass(frozen=True, slots=True)
class Forged:
    """The run id of the forged order, and what was changed, in a sentence."""

    run: str
    sentence: str


def send_forged_order(office_home: Path, rounds: int) -> Forged:
    """Change clause 14's smallest cohort, order a run under it, and mail it to every member."""
    house = open_house(office_home)
    parsed = house.agreement()
    assert parsed is not None
    _, signed_roster = house.agreements.in_force()
    roster = read_roster(jws_payload(signed_roster, "roster"), "roster")
    privacy = parsed.terms.block("c14", Privacy)
    assert privacy is not None
    changed = amend(parsed, "c14", {"min_cohort": 3})
    earlier = house.earlier_orders()[-1][1]
    terms = workload_terms(catalogue.DEMAND, {}, rounds)
    now = house.clock().replace(microsecond=0)
    order = make_order(
        coop=house.office.public.coop,
        run=secrets.token_hex(16),
        agreement=changed.id,
        roster=roster.id,
        roster_epoch=roster.roster.epoch,
        workload=terms,
        purpose=terms["purpose"],
        columns=terms["columns"],
        cohort=sorted(roster.voters()),
        colluders=privacy.colluders,
        min_cohort=3,
        max_dropout_percent=USUAL_DROPOUT_PERCENT,
        rounds=rounds,
        config=dict(earlier.config),
        stage_timeouts_s=stage_timeouts(60),
        rejoin_wait_s=5.0,
        issued=now,
        deadline=now + timedelta(hours=1),
    )
    agreement = ("agreement", changed.id, json_bytes(changed.document))
    _post(house, roster, [agreement, _signed(house, order)])
    house.close()
    return Forged(
        order.order.run,
        f"Somebody with the office's keys changed one figure of clause c14, the smallest cohort "
        f"from {privacy.min_cohort} to 3, and ordered a run under the changed agreement. "
        "Nobody had signed it.",
    )


def send_order_again(office_home: Path) -> str:
    """Order the newest run once more, past the launch gate; its run."""
    return _send_again(office_home, {})


def send_order_for(office_home: Path, purpose: str) -> str:
    """Order the newest run once more for another purpose, past the launch gate; its run."""
    return _send_again(office_home, {"purpose": purpose})


def _send_again(office_home: Path, changes: dict[str, str]) -> str:
    house = open_house(office_home)
    earlier = house.earlier_orders()[-1][1]
    _, signed_roster = house.agreements.in_force()
    roster = read_roster(jws_payload(signed_roster, "roster"), "roster")
    now = house.clock().replace(microsecond=0)
    document = {
        **earlier.model_dump(mode="json"),
        "run": secrets.token_hex(16),
        "issued": utc_text(now),
        "deadline": utc_text(now + timedelta(hours=1)),
        **changes,
    }
    order = read_order(document, "forged order")
    _post(house, roster, [_signed(house, order)])
    house.close()
    return order.order.run


def _signed(house: House, order: ParsedOrder) -> tuple[str, str, bytes]:
    signed = jws_sign(order.document, OPERATOR, house.operator_key())
    return "order", order.id, json_bytes(signed)


def _post(house: House, roster: ParsedRoster, letters: list[tuple[str, str, bytes]]) -> None:
    """Kind, id and body of each letter into every member's mailbox."""
    with house.database.write() as db:
        for one in roster.voters():
            for kind, document, body in letters:
                Mail(db).post(
                    MemberId(one), kind=kind, document=document, body=body, now=house.clock()
                )


def shown(reasons: str, wanted: str) -> tuple[str, str]:
    """The reason that names the clause which the order breaks, else the first: clause, sentence."""
    parts = [one.strip() for one in reasons.split("; ") if one.strip()]
    best = next((one for one in parts if one.startswith(wanted)), parts[0])
    clause, _, sentence = best.partition(" ")
    return clause, sentence
