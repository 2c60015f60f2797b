"""The specification and the code name the same things."""

from __future__ import annotations

import json
import re
from pathlib import Path

import protocols.agreement
from protocols.agreement.order import Order
from protocols.agreement.roster import Member
from protocols.agreement.terms import TYPE_OF, Clause, Machine
from protocols.agreement.terms import __dict__ as terms_names

SPEC = (Path(protocols.agreement.__file__).parent / "SPEC.md").read_text("utf-8")


def test_every_machine_key_stands_in_its_row() -> None:
    rows = dict(re.findall(r"^\| (c\d\d) \| \w+ \| (.*) \|$", SPEC.split("## 4.")[0], re.M))
    assert set(rows) == set(TYPE_OF)
    models = {one.model_fields["type"].annotation.__args__[0]: one for one in Machine.__args__}  # type: ignore[union-attr]
    for clause, kind in TYPE_OF.items():
        for key in set(models[kind].model_fields) - {"type"}:
            assert f"`{key}`" in rows[clause], (clause, key)
    assert "WorkloadTerms" in terms_names


def test_every_field_of_order_and_member_is_named() -> None:
    for key in Order.model_fields:
        assert f"`{key}`" in SPEC, key
    for key in Member.model_fields:
        assert f'"{key}"' in SPEC, key


def test_the_example_is_made_of_valid_clauses() -> None:
    block = re.search(r"```json\n(.*?)```", SPEC, re.S)
    assert block is not None
    for clause in json.loads(block[1])["clauses"]:
        Clause.model_validate_json(json.dumps(clause))
