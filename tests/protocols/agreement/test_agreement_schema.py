"""The packaged JSON Schema, the packaged templates and the example files."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest
from agreement_drafts import FILES, NOW, document, made
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from coordinator.drafts import template_document, template_names
from examples.agreements.generate import EXAMPLES, FOLDER, text
from protocols.agreement.authoring import parse_draft
from protocols.agreement.check import check
from protocols.agreement.parse import read_agreement
from protocols.agreement.schema import agreement_schema
from protocols.agreement.source import walk
from protocols.agreement.variants import complete
from protocols.errors import InputError

PACKAGED = files("protocols.agreement").joinpath("agreement.schema.json")
SCHEMA: dict[str, Any] = json.loads(PACKAGED.read_text("utf-8"))
VALIDATOR = Draft202012Validator(SCHEMA)


def test_the_packaged_schema_is_what_the_models_say() -> None:
    """After a change of a block: coop-coordinator agreement schema > that file."""
    made_now = json.dumps(agreement_schema(), indent=2, ensure_ascii=False) + "\n"
    assert PACKAGED.read_text("utf-8") == made_now


def test_the_schema_is_one_and_describes_every_key() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    silent = []
    for path, value in walk(SCHEMA):
        if path and isinstance(value, dict) and path[-1] == "properties":
            silent += [
                (*path, key)
                for key, one in value.items()
                if not one.get("description")
                and key not in ("type", "id")
                and one.get("type") != "null"
            ]
    assert silent == []


@pytest.mark.parametrize("file", FILES)
def test_the_examples_fit_the_schema(file: str) -> None:
    assert list(VALIDATOR.iter_errors(made(file).document)) == []


BAD: list[tuple[str, Any]] = [
    ("v", True),
    ("version", 0),
    ("version", "1"),
    ("coop", "short"),
    ("extra", 1),
    ("clauses", []),
    ("clauses.0.id", "c02"),
    ("clauses.0.enforced_by", "attested"),
    ("clauses.1.enforced_by", "both"),
    ("clauses.1.machine", {"type": "parties", "min_members": 5}),
    ("clauses.13.machine.min_cohort", 2),
    ("clauses.13.machine.min_cohort", 5.5),
    ("clauses.13.machine.type", "outputs"),
    ("clauses.13.machine.more", 1),
    ("clauses.20.machine.no_inversion", 1),
    ("clauses.20.machine.no_inversion", False),
    ("clauses.21.machine.onward", 0),
    ("clauses.21.machine.countries", ["de"]),
    ("clauses.29.machine.ends", "2027-01-01"),
    ("clauses.4.machine.quorum_roster", {"members": 1, "numerator": 1}),
]


def put(whole: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    holder: Any = whole
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps:
        holder = holder[step]
    holder[last] = value
    return whole


@pytest.mark.parametrize(("path", "value"), BAD)
def test_what_the_schema_refuses_the_parser_refuses(path: str, value: Any) -> None:
    whole = put(document(), path, value)
    assert not VALIDATOR.is_valid(whole)
    with pytest.raises(InputError):
        read_agreement(whole, "x")


PATHS = [path for path, _ in walk(document()) if path]
STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-10, 10**7),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=70),
    st.just([]),
    st.just({}),
    st.sampled_from(["DE", "owner", "f" * 64, "2027-01-01T00:00:00Z", "2027-13-01T00:00:00Z"]),
    st.just("__remove__"),
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PATHS), STRANGE)
def test_the_schema_never_refuses_what_the_parser_takes(
    path: tuple[str | int, ...], value: Any
) -> None:
    whole = document()
    holder: Any = whole
    for step in path[:-1]:
        holder = holder[step]
    if value == "__remove__":
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    try:
        read_agreement(whole, "x")
    except InputError:
        return
    assert VALIDATOR.is_valid(whole)


@pytest.mark.parametrize("file", FILES)
def test_the_example_files_are_what_the_templates_make(file: str) -> None:
    """After a change of a template: python -m examples.agreements.generate."""
    there = (FOLDER / file).read_text("utf-8")
    assert there == text(file)
    draft = parse_draft(there.encode(), file)
    assert draft.parsed.id == made(file).id
    assert check(draft.parsed.agreement, draft.parsed.terms, NOW) == ()
    assert max(map(len, there.split("\n"))) <= 110


def test_every_template_has_an_example_or_is_the_demos() -> None:
    used = {str(one["template"]) for one in EXAMPLES.values()}
    assert used | {"grocers"} == set(template_names())
    said = (FOLDER / "README.md").read_text("utf-8")
    for name in (*template_names(), *EXAMPLES):
        assert f"`{name}`" in said, name
    listed = {one.name for one in FOLDER.iterdir() if one.suffix in (".toml", ".yaml", ".json")}
    assert listed == set(EXAMPLES)


@pytest.mark.parametrize("name", template_names())
def test_templates_use_all_their_figures(name: str) -> None:
    whole = template_document(name)
    assert whole["about"]
    assert whole["workloads"]
    assert {one["id"] for one in whole["agreement"]["clauses"]} == {
        one["id"] for one in document()["clauses"]
    }


TEMPLATE = {"kind": "datacoop/agreement-template", "v": 1}
BASE = TEMPLATE | {
    "figures": {"a": 1},
    "agreement": {"clauses": [{"id": "c01", "title": "T", "plain_text": "P"}]},
}
VARIANTS: list[tuple[dict[str, Any], str]] = [
    ({"kind": "other"}, "not an agreement template"),
    (TEMPLATE | {"extends": "base", "figures": {"b": 1}}, "figures b are not known"),
    (TEMPLATE | {"extends": "base", "texts": {"c02": {}}}, "clauses c02 are not known"),
    (TEMPLATE | {"extends": "base", "texts": {"c01": {"machine": {}}}}, "keys of c01 machine"),
    (TEMPLATE | {"extends": "base", "agreement": {}}, "keys agreement are not known"),
    (TEMPLATE | {"extends": "own"}, "extends too many others, or itself"),
]


@pytest.mark.parametrize(("own", "words"), VARIANTS)
def test_a_variant_changes_what_is_there(own: dict[str, Any], words: str) -> None:
    known = {"base": BASE, "own": own}
    with pytest.raises(InputError, match=words):
        complete("own", known.__getitem__)


def test_a_variant_keeps_what_it_does_not_name() -> None:
    own = TEMPLATE | {"extends": "base", "about": "x", "texts": {"c01": {"title": "U"}}}
    made = complete("own", {"base": BASE, "own": own}.__getitem__)
    assert made["figures"] == {"a": 1}
    assert made["agreement"]["clauses"] == [{"id": "c01", "title": "U", "plain_text": "P"}]
    assert BASE["agreement"]["clauses"][0]["title"] == "T"
