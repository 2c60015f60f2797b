"""Names of things: parsed where they come in, never guessed later.

Ids travel as lowercase hexadecimal in documents and as raw bytes in secure aggregation.
"""

from __future__ import annotations

import re
from typing import NewType

from protocols.errors import Code, InputError

MemberId = NewType("MemberId", str)  # SHA-256 over the identity key, 64 hex digits
CoopId = NewType("CoopId", str)  # 64 hex digits
RunId = NewType("RunId", str)  # 32 hex digits, drawn by the operator's shell
AgreementId = NewType("AgreementId", str)  # SHA-256 of the canonical agreement, 64 hex digits
RosterId = NewType("RosterId", str)  # SHA-256 of the canonical roster, 64 hex digits
OrderId = NewType("OrderId", str)  # SHA-256 of the canonical order, 64 hex digits
ModelId = NewType("ModelId", str)  # SHA-256 of the parameters, 64 hex digits

_HEX = re.compile(r"[0-9a-f]+")


def _hex(text: str, digits: int, what: str) -> str:
    if len(text) != digits or not _HEX.fullmatch(text):
        raise InputError(
            f"{text[:80]!r} is not a {what}: expected {digits} lowercase hexadecimal digits.",
            code=Code.INPUT,
        )
    return text


def member_id(text: str) -> MemberId:
    """Parse a member id; InputError if it is not 64 hex digits."""
    return MemberId(_hex(text, 64, "member id"))


def coop_id(text: str) -> CoopId:
    """Parse a cooperative id."""
    return CoopId(_hex(text, 64, "cooperative id"))


def run_id(text: str) -> RunId:
    """Parse a run id; InputError if it is not 32 hex digits."""
    return RunId(_hex(text, 32, "run id"))


def agreement_id(text: str) -> AgreementId:
    """Parse an agreement id."""
    return AgreementId(_hex(text, 64, "agreement id"))


def roster_id(text: str) -> RosterId:
    """Parse a roster id."""
    return RosterId(_hex(text, 64, "roster id"))


def order_id(text: str) -> OrderId:
    """Parse an order id."""
    return OrderId(_hex(text, 64, "order id"))


def model_id(text: str) -> ModelId:
    """Parse a model id."""
    return ModelId(_hex(text, 64, "model id"))
