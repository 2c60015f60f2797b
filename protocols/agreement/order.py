"""The order of one run, signed by the operator's own key (SPEC.md section 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from protocols.agreement.base import (
    Config,
    Document,
    Hex32,
    Hex64,
    Name,
    OrderedColumns,
    OrderedIds,
    Utc,
    utc_text,
)
from protocols.agreement.parse import validated
from protocols.agreement.terms import Version
from protocols.canonical import Json, json_id, parse_json
from protocols.ids import OrderId

KIND = "datacoop/order"
OPERATOR = "operator"  # the key id under which orders are signed
COORDINATOR = "coordinator"  # the key id of releases and checkpoints

Seconds = Annotated[float, Field(gt=0, le=86_400)]


class WorkloadRef(Document):
    """Which recipe: the node runs it only if its own installed code has this digest."""

    id: Name
    version: Version
    digest: Hex64


class Order(Document):
    """What a run may do, as the operator signed it. ``config`` is the workload's own."""

    kind: Literal["datacoop/order"]
    v: Literal[1]
    coop: Hex64
    run: Hex32
    agreement: Hex64
    roster: Hex64
    roster_epoch: Annotated[int, Field(ge=1, le=1_000_000)]
    workload: WorkloadRef
    purpose: Name
    columns: OrderedColumns
    cohort: OrderedIds
    colluders: Annotated[int, Field(ge=0, le=998)]
    min_cohort: Annotated[int, Field(ge=1, le=1000)]
    rounds: Annotated[int, Field(ge=1, le=100_000)]
    config: Config
    stage_timeout_s: Seconds
    rejoin_wait_s: Annotated[float, Field(ge=0, le=86_400)]
    issued: Utc
    deadline: Utc

    @model_validator(mode="after")
    def _forward(self) -> Order:
        if self.deadline <= self.issued:
            raise ValueError("the deadline is not after the instant of issue")
        return self


@dataclass(frozen=True, slots=True)
class ParsedOrder:
    """A well-formed order; nobody's signature is implied."""

    id: OrderId
    document: Json
    order: Order


def parse_order(text: bytes, where: str) -> ParsedOrder:
    """An order from bytes; InputError with line and column, or naming the field."""
    return read_order(parse_json(text, where), where)


def read_order(document: Json, where: str) -> ParsedOrder:
    """An order from a JSON object, for example the payload of a signature."""
    return ParsedOrder(OrderId(json_id(document)), document, validated(Order, document, where))


def make_order(
    *,
    coop: str,
    run: str,
    agreement: str,
    roster: str,
    roster_epoch: int,
    workload: Mapping[str, Any],
    purpose: str,
    columns: Sequence[str],
    cohort: Sequence[str],
    colluders: int,
    min_cohort: int,
    rounds: int,
    config: Mapping[str, Any],
    stage_timeout_s: float,
    rejoin_wait_s: float,
    issued: datetime,
    deadline: datetime,
) -> ParsedOrder:
    """A new order; columns and cohort are sorted. InputError if a field is out of range."""
    document: dict[str, Any] = {
        "kind": KIND,
        "v": 1,
        "coop": coop,
        "run": run,
        "agreement": agreement,
        "roster": roster,
        "roster_epoch": roster_epoch,
        "workload": {key: workload[key] for key in ("id", "version", "digest")},
        "purpose": purpose,
        "columns": sorted(set(columns)),
        "cohort": sorted(set(cohort)),
        "colluders": colluders,
        "min_cohort": min_cohort,
        "rounds": rounds,
        "config": dict(config),
        "stage_timeout_s": stage_timeout_s,
        "rejoin_wait_s": rejoin_wait_s,
        "issued": utc_text(issued),
        "deadline": utc_text(deadline),
    }
    return read_order(document, "new order")
