"""Files as operators write them: one document whatever the syntax, every error at its place."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from agreement_drafts import FILES, FRANCHISE, clause, document, made
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.agreement.authoring import Syntax, completed, parse_draft, problems, read_source
from protocols.agreement.parse import parse_agreement
from protocols.agreement.source import MAX_SOURCE_BYTES, MAX_VALUES, Source, walk
from protocols.agreement.writing import write
from protocols.canonical import json_id
from protocols.errors import InputError

VECTORS = Path(__file__).parents[2] / "vectors" / "agreements"
REFUSALS: dict[str, dict[str, str]] = json.loads((VECTORS / "refusals.json").read_text("utf-8"))


@pytest.mark.parametrize("name", sorted(REFUSALS))
def test_a_bad_file_is_refused_at_its_place(name: str) -> None:
    expected = REFUSALS[name]
    data = (VECTORS / name).read_bytes()
    try:
        source = read_source(data, name)
    except InputError as error:
        assert error.where == f"{name}:{expected['at']}"
        assert expected["says"] in str(error)
        return
    found = [(f"{one.place.line}:{one.place.column}", one.sentence) for one in problems(source)]
    assert any(at == expected["at"] and expected["says"] in said for at, said in found), found
    with pytest.raises(InputError):
        parse_draft(data, name)


def test_the_corpus_is_complete() -> None:
    files = {one.name for one in VECTORS.iterdir()} - {"refusals.json", "README.md"}
    assert files == set(REFUSALS)


LARGE: list[tuple[str, Callable[[], bytes], str]] = [
    ("a.toml", lambda: b"# " + b"x" * MAX_SOURCE_BYTES, "bytes, at most"),
    ("a.yaml", lambda: b"# " + b"x" * MAX_SOURCE_BYTES, "bytes, at most"),
    ("a.json", lambda: b" " * (MAX_SOURCE_BYTES + 1), "bytes, at most"),
    ("a.toml", lambda: b"a = " + b"[" * 200_000, "nested deeper"),
    ("a.toml", lambda: b"a = " + b"{b=" * 100_000, "nested deeper"),
    ("a.toml", lambda: b"a" + b".a" * 100_000 + b" = 1", "nested deeper"),
    ("a.toml", lambda: b'"""' + b'\\"""' * 100_000, "not TOML"),
    ("a.toml", lambda: b"\n".join(b"a%d=1" % n for n in range(MAX_VALUES + 9)), "more than"),
    ("a.yaml", lambda: b"a: " + b"[" * 200_000, "nested deeper"),
    ("a.yaml", lambda: b"a: " + b"- " * 100_000, "not YAML"),
    ("a.yaml", lambda: b"a: [" + b"1," * 100_000 + b"]", "more than"),
    ("a.yaml", lambda: b"? " * 100_000, "a key must be a word"),
    ("a.json", lambda: b'{"a": ' + b"[" * 200_000, "nested deeper"),
    ("a.json", lambda: b'{"a": [' + b"1," * 100_000 + b"1]}", "more than"),
]


@pytest.mark.parametrize(("name", "data", "words"), LARGE)
def test_large_and_deep_files_are_refused(name: str, data: Callable[[], bytes], words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_draft(data(), name)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("syntax", list(Syntax))
def test_writing_and_reading_is_the_same_document(file: str, syntax: Syntax) -> None:
    text = write(made(file).document, syntax)
    found = parse_draft(text.encode(), f"x.{syntax}")
    assert found.parsed.id == made(file).id
    assert found.parsed.document == made(file).document
    assert found.parsed.id == json_id(found.parsed.document)
    windows = b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()
    assert parse_draft(windows, "x", syntax).parsed.id == made(file).id


def test_other_readers_read_the_same_values() -> None:
    """The files are plain TOML and YAML: the standard readers see what ours see."""
    for file in FILES:
        whole = made(file).document
        assert completed(tomllib.loads(write(whole, Syntax.TOML))) == whole
        assert yaml.safe_load(write(whole, Syntax.YAML)) == whole
        assert json.loads(write(whole, Syntax.JSON)) == whole


TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"), include_characters='\n"\\ #:-'),
    max_size=300,
)
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def without_null(value: Any) -> bool:
    return all(one is not None for _, one in walk(value))


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.dictionaries(TEXTS, VALUES, max_size=6), st.sampled_from(list(Syntax)))
def test_any_text_and_any_setting_comes_back(
    text: str, config: dict[str, Any], syntax: Syntax
) -> None:
    whole = document(FRANCHISE)
    clause(whole, "c02")["plain_text"] = text
    clause(whole, "c13")["machine"]["workloads"][0]["config"] = config
    if syntax is Syntax.TOML and not without_null(config):
        with pytest.raises(InputError, match="TOML cannot say"):
            write(whole, syntax)
        return
    back = read_source(write(whole, syntax).encode(), "x", syntax)
    assert completed(back.document) == completed(whole)
    assert repr(clause(dict(back.document), "c13")) == repr(clause(whole, "c13"))  # 1 is not 1.0


def paths(value: Any) -> Iterator[tuple[str | int, ...]]:
    yield from (path for path, _ in walk(value) if path)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("syntax", list(Syntax))
def test_every_value_has_its_place(file: str, syntax: Syntax) -> None:
    text = write(made(file).document, syntax)
    source = read_source(text.encode(), "x", syntax)
    lines = text.split("\n")
    for path in paths(source.document):
        place = source.places[path]
        rest = lines[place.line - 1][place.column - 1 :]
        if isinstance(path[-1], str):
            bare = rest.lstrip("[").removeprefix("clauses.").removeprefix("machine.")
            bare = bare if path[-1] == "taxonomy" else bare.removeprefix("taxonomy.")
            dotted = bare if path[-1] == "config" else bare.removeprefix("config.")
            assert dotted.lstrip('"').startswith(path[-1]), (path, rest)
    deepest = source.place(("clauses", 13, "machine", "nothing", 3, "here"))
    assert deepest == source.places[("clauses", 13, "machine")]


ROUGH = """\
title = 'x' # [[not]] = "this"
"quoted key" . inner = {a = 1, "b c" = ["#", [2, {d = 3}]]}
text = \"\"\"
[clauses] # no header
\"\"\"\"\"
[[clauses]]
id = '''c01'''
machine.min_members = [
  # a comment with ] and "
  [1,
   2], [3]
]
[clauses.more]
when = 2027-01-01T00:00:00Z
[[clauses]]
[[clauses.parts]]
n = 1.5
[[clauses.parts]]
n = +2
"""


def test_toml_in_its_stranger_forms() -> None:
    source = read_source(ROUGH.encode(), "x.toml")
    assert set(paths(source.document)) <= set(source.places)
    at = {path: (place.line, place.column) for path, place in source.places.items()}
    assert at[("quoted key", "inner", "b c", 1, 1, "d")] == (
        2,
        1 + ROUGH.split("\n")[1].index("d = 3"),
    )
    assert at[("clauses", 0, "machine", "min_members", 0, 1)] == (11, 4)
    assert at[("clauses", 0, "machine", "min_members", 1)] == (11, 8)
    assert at[("clauses", 0, "more", "when")] == (14, 1)
    assert at[("clauses", 1, "parts", 1, "n")] == (19, 1)
    assert source.document["clauses"][0]["more"]["when"] == "2027-01-01T00:00:00Z"
    assert source.document["text"] == '[clauses] # no header\n""'


PLAIN = [
    ("a: true", True),
    ("a: null", None),
    ("a: -7", -7),
    ("a: 1.5e3", 1500.0),
    ("a: 'yes'", "yes"),
    ("a: manual", "manual"),
    ("a: 2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
    ("a: 0.1.0", "0.1.0"),
    ("a: |\n  two\n  lines\n", "two\nlines\n"),
    ("a: [x, 'y']", ["x", "y"]),
]


@pytest.mark.parametrize(("text", "value"), PLAIN)
def test_yaml_has_one_meaning(text: str, value: Any) -> None:
    found = read_source(text.encode(), "x.yaml").document["a"]
    assert found == value
    assert type(found) is type(value)


def test_absent_and_null_are_one_in_a_draft_and_two_in_a_signed_document() -> None:
    whole = document()
    del clause(whole, "c16")["machine"]["hours_utc"]
    del clause(whole, "c10")["machine"]["purposes"][1]["reference"]
    del whole["prev"]
    clause(whole, "c02")["machine"] = None
    data = json.dumps(whole).encode()
    assert parse_draft(data, "x.json").parsed.id == made().id
    with pytest.raises(InputError, match="missing"):
        parse_agreement(data, "x.json")


def test_all_problems_are_told_in_the_order_of_the_text() -> None:
    text = write(made().document, Syntax.TOML)
    text = text.replace("min_cohort = 5", "min_cohort = 2").replace("min_health", "min_helth")
    text = text.replace('controller = "joint"', 'controller = "nobody"')
    with pytest.raises(InputError) as caught:
        parse_draft(text.encode(), "d.toml")
    before = text[: text.index('controller = "nobody"')]
    line = 1 + before.count("\n")
    assert caught.value.where == f"d.toml:{line}:1"
    assert caught.value.problem.startswith("c04 roles controller: 'joint' or 'each' is expected")
    lines = [one.place.line for one in problems(read_source(text.encode(), "d.toml"))]
    assert lines == sorted(lines)
    assert len(lines) == 4
    assert "agreement schema" in caught.value.fix


def test_a_name_without_an_ending_is_not_guessed() -> None:
    for name in ("draft", "draft.txt", "draft.toml.bak"):
        with pytest.raises(InputError, match="not clear"):
            parse_draft(b"{}", name)
    assert read_source(b"{}", "a.JSON").document == {}
    assert read_source(b"{}", "draft", Syntax.JSON).document == {}


@settings(deadline=None)
@given(st.binary(max_size=200), st.sampled_from(list(Syntax)))
def test_any_bytes_are_read_or_refused(data: bytes, syntax: Syntax) -> None:
    _read_or_refuse(data, syntax)


WORDS = 'a 1 " \' """ [[ ]] [ ] { } = : . , # \\ &a *a !t | > ? % --- 0x1 2027-01-01'
MARKS = st.lists(st.sampled_from([*WORDS.split(), "\n", " ", "- ", "\t"]), max_size=40).map("".join)


@settings(deadline=None)
@given(MARKS, st.sampled_from(list(Syntax)))
def test_any_marks_are_read_or_refused(text: str, syntax: Syntax) -> None:
    _read_or_refuse(text.encode(), syntax)


def _read_or_refuse(data: bytes, syntax: Syntax) -> None:
    try:
        source: Source = read_source(data, "x", syntax)
    except InputError as error:
        assert error.where.startswith("x")
        return
    assert set(paths(source.document)) <= set(source.places)
    assert problems(source) != ()
