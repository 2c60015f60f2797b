"""The installed taxonomy keeps its promises, and no other file gets past the parser."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import protocols.agreement
import protocols.taxonomy
from protocols.canonical import json_id
from protocols.errors import InputError
from protocols.taxonomy import form
from protocols.workloads.demand import DEFAULTS, parse_config

FOLDER = Path(protocols.taxonomy.__file__).parent
SPEC = (FOLDER / "SPEC.md").read_text("utf-8")
RETAIL = (FOLDER / "retail.json").read_bytes()
SMALL: dict[str, Any] = {
    "kind": "datacoop-taxonomy",
    "v": 1,
    "name": "small",
    "version": "1",
    "title": "Small",
    "source": "test",
    "locales": ["en"],
    "ambiguous": [],
    "nodes": [
        {"code": "food", "names": {"en": "Food"}},
        {"code": "food.bread", "names": {"en": "Bread"}, "also": ["loaf"]},
        {"code": "food.cake", "names": {"en": "Cake"}, "also": ["tart"]},
    ],
}


def small(**changes: Any) -> bytes:
    return json.dumps({**SMALL, **changes}).encode()


def nodes(*changes: dict[str, Any]) -> bytes:
    return small(nodes=[*SMALL["nodes"], *changes])


def test_the_installed_one_has_three_levels_and_about_as_many_leaves_as_a_model_holds() -> None:
    retail = form.parse(RETAIL, "retail.json")
    assert {one.depth for one in retail.nodes if one.code in retail.leaf_set} == {3}
    assert all(one.depth == 3 or one.code not in retail.leaf_set for one in retail.nodes)
    assert 300 <= len(retail.leaves) <= form.MAX_LEAVES
    assert {one.code for one in retail.nodes if one.depth == 1} >= {
        *("food", "fashion", "home", "health", "services", "gastro")
    }
    assert retail.id == "retail:1" and retail.locales == ("en", "de")


def test_the_installed_one_knows_several_names_of_every_category() -> None:
    retail = form.parse(RETAIL, "retail.json")
    thin = [one.code for one in retail.nodes if one.code in retail.leaf_set and len(one.also) < 2]
    assert thin == []


def test_names_that_several_leaves_have_are_listed_and_no_others() -> None:
    retail = form.parse(RETAIL, "retail.json")
    at: dict[str, set[str]] = {}
    for node in retail.nodes:
        if node.code in retail.leaf_set:
            for word in {form.fold(one) for one in (*node.names.values(), *node.also)}:
                at.setdefault(word, set()).add(node.code)
    twice = {word for word, codes in at.items() if len(codes) > 1}
    assert twice == set(retail.ambiguous)


@pytest.mark.parametrize(
    "word",
    [
        "halal",
        "kosher",
        "koscher",
        "vegan",
        "diabet",
        "pregnan",
        "schwanger",
        "kondom",
        "condom",
        "incontinen",
        "inkontinen",
        "erotic",
        "erotik",
        "hiv",
        "glutenfr",
        "rosary",
        "bible",
        "bibel",
    ],
)
def test_no_category_tells_what_article_9_protects(word: str) -> None:
    assert word not in form.fold(RETAIL.decode())


def test_all_goods_of_a_pharmacy_are_one_category() -> None:
    retail = form.parse(RETAIL, "retail.json")
    found = [
        one.code
        for one in retail.nodes
        if {"medicine", "medikamente", "arzneimittel"} & set(one.also)
    ]
    assert found == ["health.drugstore.pharmacy-goods"]


def test_the_leaves_are_a_vocabulary_that_an_order_may_have() -> None:
    retail = form.parse(RETAIL, "retail.json")
    config = parse_config(
        {**DEFAULTS, "categories": list(retail.leaves), "train_until": "2026-01-01"}
    )
    assert config.categories == retail.leaves


def test_the_file_is_what_the_writer_makes_and_the_fingerprint_ignores_its_layout() -> None:
    retail = form.parse(RETAIL, "retail.json")
    assert form.file_text(retail).encode() == RETAIL
    squeezed = json.dumps(json.loads(RETAIL), separators=(",", ":")).encode()
    assert form.parse(squeezed, "x").sha256 == retail.sha256 == json_id(json.loads(RETAIL))


def test_a_stranger_gets_the_same_fingerprint_with_the_commands_of_the_specification(
    tmp_path: Path,
) -> None:
    command = re.findall(r"python3 -c '(.*?)' taxonomy.json", SPEC, re.S)[0]
    (tmp_path / "taxonomy.json").write_bytes(RETAIL)
    found = subprocess.run(
        [sys.executable, "-c", command, "taxonomy.json"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert found.stdout.strip() == form.parse(RETAIL, "x").sha256


@pytest.mark.parametrize("template", ["bakery-group", "competing-grocers"])
def test_templates_name_the_installed_list(template: str) -> None:
    folder = Path(protocols.agreement.__file__).parent / "templates"
    agreed = json.loads((folder / f"{template}.json").read_text("utf-8"))["figures"]["taxonomy"]
    retail = form.parse(RETAIL, "x")
    assert (agreed["id"], agreed["sha256"]) == (retail.id, retail.sha256)


def test_a_word_more_is_another_fingerprint() -> None:
    before = form.parse(small(), "x")
    after = form.parse(nodes({"code": "food.roll", "names": {"en": "Roll"}}), "x")
    assert before.sha256 != after.sha256


def test_a_path_is_said_in_the_language_or_in_the_first_there_is() -> None:
    retail = form.parse(RETAIL, "retail.json")
    assert retail.path("food.bakery.bread", "de-AT") == "Lebensmittel > Backwaren > Brot"
    assert retail.path("food.bakery.bread", "pt") == "Food > Bakery > Bread"


@pytest.mark.parametrize(
    ("code", "words"),
    [("food.nothing", "not a code"), ("food", "below it"), ("\x1b[2J", "not a code")],
)
def test_only_leaves_can_be_mapped_to(code: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        form.parse(small(), "x").leaf(code, "categories.toml:3")
    assert caught.value.where == "categories.toml:3"
    assert "\x1b" not in str(caught.value)


BAD = {
    "not-json": (b"{", "not JSON"),
    "another-kind": (small(kind="recipe"), "not a taxonomy"),
    "another-version": (small(v=2), "not a taxonomy"),
    "version-true": (small(v=True), "not a taxonomy"),
    "key-missing": (
        json.dumps({k: v for k, v in SMALL.items() if k != "source"}).encode(),
        "'source' is missing",
    ),
    "key-unknown": (small(extra=1), "'extra' is unknown"),
    "name": (small(name="Small Shops"), "not a name and version"),
    "no-locale": (small(locales=[]), "locales are two letters"),
    "locale": (small(locales=["english"]), "locales are two letters"),
    "ambiguous-not-folded": (small(ambiguous=["Käse"]), "lower case"),
    "no-node": (small(nodes=[]), "0 categories"),
    "node-a-text": (nodes("bread"), "an object is expected"),  # type: ignore[arg-type]
    "code-capital": (nodes({"code": "food.Bread", "names": {"en": "B"}}), "a code is words"),
    "code-empty-part": (nodes({"code": "food..x", "names": {"en": "B"}}), "a code is words"),
    "code-too-deep": (nodes({"code": "a.b.c.d.e.f.g", "names": {"en": "B"}}), "a code is words"),
    "code-twice": (nodes({"code": "food.bread", "names": {"en": "B"}}), "stands twice"),
    "no-parent": (nodes({"code": "drinks.tea", "names": {"en": "Tea"}}), "does not stand before"),
    "name-missing": (nodes({"code": "food.x", "names": {"de": "X"}}), "a name is needed in en"),
    "names-empty": (nodes({"code": "food.x", "names": {}}), "locale and name"),
    "siblings": (nodes({"code": "food.x", "names": {"en": "BREAD"}}), "stands twice beside"),
    "other-name-twice": (
        nodes({"code": "food.x", "names": {"en": "X"}, "also": ["Loaf"]}),
        "'loaf' stands at",
    ),
    "invisible": (nodes({"code": "food.x", "names": {"en": "a\u202eb"}}), "cannot be seen"),
    "terminal": (nodes({"code": "food.x", "names": {"en": "\x1b[2J"}}), "cannot be seen"),
    "long": (nodes({"code": "food.x", "names": {"en": "x" * 121}}), "1 to 120"),
    "also-many": (
        nodes({"code": "food.x", "names": {"en": "X"}, "also": [str(n) for n in range(401)]}),
        "at most 400",
    ),
    "leaves-many": (
        nodes(*({"code": f"food.x{n}", "names": {"en": f"X{n}"}} for n in range(399))),
        "1 to 400 can be used",
    ),
    "nodes-many": (
        nodes(*({"code": f"x{n}", "names": {"en": f"X{n}"}} for n in range(2000))),
        "at most 2000",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_refused(name: str) -> None:
    text, words = BAD[name]
    with pytest.raises(InputError, match=words) as caught:
        form.parse(text, "list.json")
    assert caught.value.where.startswith("list.json")


def test_an_ambiguous_name_may_stand_at_two_leaves() -> None:
    text = small(
        ambiguous=["loaf"],
        nodes=[*SMALL["nodes"], {"code": "food.x", "names": {"en": "X"}, "also": ["Loaf"]}],
    )
    assert form.parse(text, "x").ambiguous == ("loaf",)
