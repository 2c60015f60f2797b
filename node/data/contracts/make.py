"""A contract for a canonical table, from its facts and from the agreement that is in force."""

from __future__ import annotations

from typing import Any, Final

import yaml

from node.data.tables import EARLIEST, LATEST, SALES_LINE, TEXT_CHARS, Field, Kind, TableFacts, find
from protocols.agreement.blocks import Datasets, Purposes, Workloads
from protocols.agreement.duties import DataRoles, Quality, Retention
from protocols.agreement.terms import Terms

API_VERSION: Final = "v3.1.0"
VERSION: Final = "1.0.0"  # of the tables' own form
LOGICAL: Final = {
    Kind.TEXT: "string",
    Kind.DAY: "date",
    Kind.INSTANT: "timestamp",
    Kind.AMOUNT: "number",
    Kind.FLAG: "boolean",
}
PHYSICAL: Final = {
    Kind.TEXT: "VARCHAR",
    Kind.DAY: "DATE",
    Kind.INSTANT: "TIMESTAMP WITH TIME ZONE",
    Kind.AMOUNT: "DECIMAL(18,6)",
    Kind.FLAG: "BOOLEAN",
}
_DUTIES: Final = {
    "owner": "Answers for the data of this shop and decides about its use.",
    "steward": "Looks after its quality and its meaning.",
    "custodian": "Runs the computer that it lies on.",
    "viewer": "Looks at figures and results.",
}
_HOUSE: Final = (
    "The rows never leave the node. Customers stand in it as keyed hashes only; names, addresses "
    "and card numbers are dropped at the door."
)


def generate(table: str, terms: Terms | None = None) -> str:
    """The contract of a table as YAML.

    Args:
        table: ``sales_line``, ``customer`` or ``stock``.
        terms: of the agreement in force; without one nobody but the member may use the data.

    Raises:
        InputError: there is no such table.
    """
    text: str = yaml.safe_dump(
        document(table, terms), sort_keys=False, allow_unicode=True, width=100
    )
    return text


def document(table: str, terms: Terms | None = None) -> dict[str, Any]:
    """The same as values; arguments and errors as ``generate``."""
    facts = find(table)
    made: dict[str, Any] = {
        "apiVersion": API_VERSION,
        "kind": "DataContract",
        "id": f"datacoop-{facts.name.replace('_', '-')}",
        "name": facts.title,
        "version": VERSION,
        "status": "active" if terms is not None else "draft",
        "domain": "retail",
        "dataProduct": "datacoop",
        "tags": ["retail", "local-only"],
        "description": _use(facts, terms),
        "schema": [_table(facts, terms)],
        "team": _team(terms),
        "roles": _roles(terms),
    }
    if terms is not None:
        made["tenant"] = terms.coop
        made["slaProperties"] = _sla(facts, terms)
        made["customProperties"] = _of_agreement(terms)
    return made


# --- fundamentals ------------------------------------------------------------------------------


def _use(facts: TableFacts, terms: Terms | None) -> dict[str, str]:
    """Terms of use: for what, how, and what not."""
    purposes = terms.block("c07", Purposes) if terms is not None else None
    if purposes is None or not _readable(facts, terms):
        return {
            "purpose": f"{facts.words} For this shop's own figures and forecasts.",
            "usage": "By people of this shop, on this node.",
            "limitations": f"No agreement lets others use this table. {_HOUSE}",
        }
    return {
        "purpose": f"{facts.words} For: {', '.join(purposes.allowed)}.",
        "usage": "By runs that the signed agreement allows, on this node; others see sums over "
        "several members only. A run reads the columns that are marked mayBeReadInRuns.",
        "limitations": f"Never for: {', '.join(purposes.forbidden) or 'nothing is named'}. "
        f"{_HOUSE}",
    }


def _readable(facts: TableFacts, terms: Terms | None) -> frozenset[str]:
    """The columns of a table that clause 8 opens to runs."""
    block = terms.block("c08", Datasets) if terms is not None else None
    if block is None:
        return frozenset()
    return frozenset(
        column for table in block.tables if table.table == facts.name for column in table.columns
    )


def _of_agreement(terms: Terms) -> list[dict[str, Any]]:
    quality = terms.block("c09", Quality)
    workloads = terms.block("c13", Workloads)
    out: list[dict[str, Any]] = [
        {"property": "agreement", "value": terms.id},
        {"property": "agreementVersion", "value": terms.version},
    ]
    if quality is not None:
        out.append(
            {
                "property": "minimumHealth",
                "value": quality.min_health,
                "description": "Clause 9: below this health score a run does not start here.",
            }
        )
    if workloads is not None:
        names = [f"{one.id} {one.version}" for one in workloads.workloads]
        out.append({"property": "workloads", "value": names})
    return out


def _team(terms: Terms | None) -> dict[str, Any]:
    """Roles, not names: who fills them is the member's own business."""
    names = ("owner", "steward", "custodian") if terms is not None else ("owner",)
    return {
        "name": "The people of this shop",
        "members": [
            {"username": name, "role": name, "description": _DUTIES[name]} for name in names
        ],
    }


def _roles(terms: Terms | None) -> list[dict[str, str]]:
    block = terms.block("c06", DataRoles) if terms is not None else None
    approvers = ", ".join(block.approve_orders) if block is not None else "owner"
    return [
        {
            "role": name,
            "access": "read" if name == "viewer" else "read-write",
            "description": words,
            "firstLevelApprovers": approvers,
        }
        for name, words in _DUTIES.items()
    ]


def _sla(facts: TableFacts, terms: Terms) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    quality, retention = terms.block("c09", Quality), terms.block("c28", Retention)
    if quality is not None and facts is SALES_LINE:
        out.append(
            {
                "property": "latency",
                "value": quality.max_age_days,
                "unit": "d",
                "element": f"{facts.name}.{facts.fresh}",
                "driver": "operational",
                "description": "Clause 9: how old the newest sale may be when a run begins.",
            }
        )
    if retention is not None:
        out.append(
            {
                "property": "retention",
                "value": retention.models_days,
                "unit": "d",
                "driver": "regulatory",
                "description": "Clause 28: how long models are kept. The rows are kept as long as "
                "the member decides.",
            }
        )
    return out


# --- schema ------------------------------------------------------------------------------------


def _table(facts: TableFacts, terms: Terms | None) -> dict[str, Any]:
    readable = _readable(facts, terms)
    return {
        "name": facts.name,
        "physicalName": facts.name,
        "physicalType": "view",
        "logicalType": "object",
        "businessName": facts.title,
        "description": facts.words,
        "properties": [_property(facts, one, one.name in readable) for one in facts.fields],
        "quality": _rules(facts),
    }


def _property(facts: TableFacts, one: Field, readable: bool) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": one.name,
        "physicalName": one.name,
        "logicalType": LOGICAL[one.kind],
        "physicalType": PHYSICAL[one.kind],
        "description": one.words,
        "required": one.required,
        "classification": "confidential" if one.about_people else "internal",
    }
    if one.name in facts.key:
        made["primaryKey"] = True
        made["primaryKeyPosition"] = facts.key.index(one.name) + 1
    options = _options(one)
    if options:
        made["logicalTypeOptions"] = options
    if one.required:
        made["quality"] = [
            {
                "type": "library",
                "metric": "nullValues",
                "mustBe": 0,
                "unit": "rows",
                "dimension": "completeness",
                "severity": "error",
            }
        ]
    if readable:
        made["customProperties"] = [{"property": "mayBeReadInRuns", "value": True}]
    return made


def _options(one: Field) -> dict[str, Any]:
    if one.kind is Kind.TEXT:
        shape = {"pattern": f"^{one.pattern}$"} if one.pattern else {}
        return {"minLength": 1, "maxLength": TEXT_CHARS, **shape}
    if one.kind is Kind.DAY:
        return {"minimum": EARLIEST.isoformat(), "maximum": LATEST.isoformat()}
    if one.kind is Kind.INSTANT:
        return {"timezone": True, "defaultTimezone": "Etc/UTC"}
    if one.kind is Kind.AMOUNT:
        return {"minimum": one.least, "maximum": one.most}
    return {}


def _rules(facts: TableFacts) -> list[dict[str, Any]]:
    """Quality of the table: the library's own measures, and SQL for what it cannot say."""
    rules: list[dict[str, Any]] = []
    if facts.key:
        rules.append(
            {
                "name": "each row once",
                "type": "library",
                "metric": "duplicateValues",
                "arguments": {"properties": list(facts.key)},
                "mustBe": 0,
                "unit": "rows",
                "dimension": "uniqueness",
                "severity": "error",
            }
        )
    if facts is SALES_LINE:
        rules += [
            {
                "name": "there are rows",
                "type": "library",
                "metric": "rowCount",
                "mustBeGreaterThan": 0,
                "dimension": "coverage",
                "severity": "error",
            },
            _sql(
                "negative prices",
                "unit_price < 0 OR (qty > 0 AND net < 0)",
                0.05,
                "A price below nothing that is no return.",
                "accuracy",
            ),
            _sql(
                "instant and day fit",
                "abs(date_diff('hour', business_date::TIMESTAMP, "
                "make_timestamp(epoch_us(ts_utc)))) > 38",
                0.01,
                "The instant of a sale lies on its day, somewhere on Earth.",
                "consistency",
            ),
        ]
    if "on_hand" in {one.name for one in facts.fields}:
        rules.append(
            _sql("negative stock", "on_hand < 0", 0.2, "Less than nothing on hand.", "accuracy")
        )
    return rules


def _sql(name: str, bad: str, most: float, words: str, dimension: str) -> dict[str, Any]:
    """A rule over the share of rows that fulfil a condition."""
    return {
        "name": name,
        "type": "sql",
        "description": words,
        "query": f"SELECT coalesce(avg(({bad})::INT), 0) FROM ${{object}}",  # noqa: S608
        "mustBeLessOrEqualTo": most,
        "dimension": dimension,
        "severity": "warning",
    }
