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
    One,
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

Seconds = Annotated[int, Field(ge=1, le=86_400)]
MIN_DROPOUT_PERCENT, MAX_DROPOUT_PERCENT = 10, 45
USUAL_DROPOUT_PERCENT = 20


class WorkloadRef(Document):
    """Which recipe: the node runs it only if its own installed code has this digest."""

    id: Name
    version: Version
    digest: Hex64


class StageTimeouts(Document):
    """The longest wait for each stage of a round, in whole seconds (secagg SPEC section 3)."""

    advertise: Seconds
    share: Seconds
    mask: Seconds  # training lies in this one
    agree: Seconds
    unmask: Seconds
    audit: Seconds

    @property
    def in_order(self) -> tuple[int, int, int, int, int, int]:
        """All six, in the order of the stages."""
        return self.advertise, self.share, self.mask, self.agree, self.unmask, self.audit


class Order(Document):
    """What a run may do, as the operator signed it. ``config`` is the workload's own.

    ``max_dropout_percent`` of the members may be missing in a round; the sparse graph of a large
    cohort is sized from it (secagg SPEC section 3).
    """

    kind: Literal["datacoop/order"]
    v: One
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
    max_dropout_percent: Annotated[int, Field(ge=MIN_DROPOUT_PERCENT, le=MAX_DROPOUT_PERCENT)]
    rounds: Annotated[int, Field(ge=1, le=100_000)]
    config: Config
    stage_timeouts_s: StageTimeouts
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


def stage_timeouts(stage_s: int, training_s: int = 0, audit_s: int = 0) -> dict[str, int]:
    """Six waits from one; training and audit may have longer ones, 0 means like the others."""
    names = ("advertise", "share", "mask", "agree", "unmask", "audit")
    return {
        **dict.fromkeys(names, stage_s),
        "mask": training_s or stage_s,
        "audit": audit_s or stage_s,
    }


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
    max_dropout_percent: int,
    rounds: int,
    config: Mapping[str, Any],
    stage_timeouts_s: Mapping[str, int],
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
        "max_dropout_percent": max_dropout_percent,
        "rounds": rounds,
        "config": dict(config),
        "stage_timeouts_s": dict(stage_timeouts_s),
        "rejoin_wait_s": rejoin_wait_s,
        "issued": utc_text(issued),
        "deadline": utc_text(deadline),
    }
    return read_order(document, "new order")
