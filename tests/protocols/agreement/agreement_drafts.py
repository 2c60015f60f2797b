"""Agreements to break: clean ones from the packaged templates, and ways to change them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from examples.agreements.generate import EXAMPLES, example
from protocols.agreement.parse import ParsedAgreement, read_agreement

NOW = datetime(2027, 1, 5, tzinfo=UTC)
FRANCHISE, GROCERS = "franchise.toml", "competing-grocers.yaml"
BAKERIES, SALONS = "bakery-group.toml", "salon-association.yaml"
FILES = tuple(EXAMPLES)
Change = Callable[[dict[str, Any]], Any]


@cache
def made(file: str = FRANCHISE) -> ParsedAgreement:
    """The example; nobody may change its document."""
    return example(file)


def document(file: str = FRANCHISE) -> dict[str, Any]:
    """A copy to change."""
    copied: dict[str, Any] = json.loads(json.dumps(made(file).document))  # no list is shared
    return copied


def clause(document: dict[str, Any], name: str) -> dict[str, Any]:
    """One clause of a document."""
    found: dict[str, Any] = next(one for one in document["clauses"] if one["id"] == name)
    return found


def figures(name: str, **values: Any) -> Change:
    """Change figures of one machine block."""
    return lambda whole: clause(whole, name)["machine"].update(values)


def changed(*changes: Change, file: str = FRANCHISE) -> ParsedAgreement:
    """The example with changes, read again."""
    whole = document(file)
    for change in changes:
        change(whole)
    return read_agreement(whole, file)
