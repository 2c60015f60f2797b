"""Writes the example agreements of this folder from the packaged templates.

    python -m examples.agreements.generate

The cooperatives, keys and code fingerprints are made up, so that the files stay the same when
the programs change: nobody can sign with them, and no node would run what they name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from coordinator.drafts import installed_workload, template_document, workload_terms
from protocols.agreement.authoring import Syntax, syntax_of
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.template import make_agreement
from protocols.agreement.writing import write

FOLDER = Path(__file__).resolve().parent
STARTS, ENDS = datetime(2027, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)


def made_up(what: str) -> str:
    """64 hexadecimal digits that stand for a key, an id or a fingerprint."""
    return hashlib.sha256(f"datacoop example: {what}".encode()).hexdigest()


EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "bakery-group.toml": {
        "template": "bakery-group",
        "name": "Morning Bread",
        "figures": {"operator_legal_id": "HRB 10001 Freiburg", "run_cost_cents": 500},
    },
    "competing-grocers.yaml": {
        "template": "competing-grocers",
        "name": "Market Town Grocers",
        "figures": {
            "operator_legal_id": "GnR 20002 Marburg",
            "approver_keys": [made_up("approver of Market Town Grocers")],
            "two_person": ["launch", "release", "revoke"],
            "sub_processors": [
                {"name": "Rack and Power", "country": "DE", "service": "houses the server"}
            ],
        },
    },
    "franchise.toml": {
        "template": "franchise",
        "name": "Corner Coffee",
        "figures": {
            "operator_legal_id": "FN 30003 Linz",
            "coordinator_country": "AT",
            "law": "Austria",
            "approver_keys": [made_up("elected franchisee of Corner Coffee")],
            "two_person": ["release", "remove"],
        },
    },
    "salon-association.yaml": {
        "template": "salon-association",
        "name": "Fine Cut",
        "figures": {"operator_legal_id": "VR 40004 Kassel"},
    },
}
"""File names with the template and the values that fill it."""


def example(file: str) -> ParsedAgreement:
    """The agreement of one file."""
    chosen = EXAMPLES[file]
    template, name = template_document(str(chosen["template"])), str(chosen["name"])
    recipes = [installed_workload(one, file) for one in template["workloads"]]
    return make_agreement(
        template,
        name=name,
        coop=made_up(name),
        operator_key=made_up(f"operator of {name}"),
        coordinator_key=made_up(f"coordinator of {name}"),
        workloads=[
            workload_terms(one, {}, 200) | {"digest": made_up(f"code of {one.id}")}
            for one in recipes
        ],
        starts=STARTS,
        ends=ENDS,
        figures=chosen["figures"],
    )


def text(file: str) -> str:
    """What stands in one file."""
    syntax: Syntax = syntax_of(file)
    return write(example(file).document, syntax)


def main() -> None:
    """Write all files."""
    for file in EXAMPLES:
        (FOLDER / file).write_text(text(file), encoding="utf-8", newline="\n")
        print(f"examples/agreements/{file}")


if __name__ == "__main__":
    main()
