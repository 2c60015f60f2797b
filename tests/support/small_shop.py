"""A shop with everything answered, in the small cooperative: what documents are made from."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import small_coop
from protocols.agreement.parse import ParsedAgreement
from protocols.documents.given import (
    DPIA_QUESTIONS,
    Coop,
    DataTable,
    House,
    Import,
    Place,
    Scope,
    Shop,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SHOP = Shop(
    name="Café Zoë",
    owner="Zoë Świerczyńska",
    address="Marktplatz 1, 10115 Berlin",
    email="zoe@cafe.example",
    phone="+49 30 123456",
    country="DE",
    dpo="none",
    authority="Berliner Beauftragte für Datenschutz, Berlin",
    helpers="Ελένη (IT help)",
    interest="We want to order the right quantities.",
    backups="a disk in the safe",
    answers={one.key: f"Answer to {one.key}." for one in DPIA_QUESTIONS},
)
LINES = DataTable(
    "sales_line",
    ("business_date", "category_code", "customer_key", "net", "qty"),
    5000,
    date(2025, 1, 1),
    date(2026, 5, 1),
    730,
)
HOUSE = House(
    software="datacoop 1",
    shop=SHOP,
    tables=(LINES,),
    imports=(Import(NOW, "orders_export.csv", "sales_line", 5000, 2, 1),),
    places=(
        Place("vault", "rows", "rows encrypted; only this account may read it", False, 1_200_000),
        Place("node.db", "ledgers", "not encrypted by this program", True, 90_000),
    ),
    scopes=(Scope("train:churn", "consent", "", 500, 3, 2, 1, 0),),
    customers=812,
)


def house(parsed: ParsedAgreement | None = None, **changes: Any) -> House:
    """The shop under an agreement of the small cooperative, with some things changed."""
    found = parsed if parsed is not None else small_coop.agreement(**FIGURES)
    coop = Coop("Six shops", found.agreement.title, found.terms)
    return replace(HOUSE, **{"coop": coop, **changes})


FIGURES = {"operator_legal_id": "HRB 4711 Amtsgericht Musterstadt"}
INTEREST = {**FIGURES, "basis": "legitimate-interest", "basis_reference": "LIA-2026-01"}
ABROAD = {
    **FIGURES,
    "countries": ["DE", "US"],
    "sub_processors": [{"name": "Hosting Inc", "country": "US", "service": "server"}],
}
