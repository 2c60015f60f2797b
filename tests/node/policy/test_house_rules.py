from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.policy.house_rules import EXAMPLE, load, parse
from protocols.agreement.house import NO_HOUSE_RULES, HouseRules
from protocols.errors import InputError


def test_no_file_means_no_rules(tmp_path: Path) -> None:
    assert load(tmp_path / "house_rules.toml") == NO_HOUSE_RULES


def test_the_example_is_valid_as_it_is_and_with_every_rule_on(tmp_path: Path) -> None:
    file = tmp_path / "house_rules.toml"
    file.write_text(EXAMPLE, encoding="utf-8")
    assert load(file) == NO_HOUSE_RULES
    lines = EXAMPLE.splitlines()
    file.write_text("\n".join([lines[0], *(x.removeprefix("# ") for x in lines[1:])]), "utf-8")
    rules = load(file)
    assert rules.purposes == {"train:demand"}
    assert rules.columns_never == {"product"}
    assert rules.manual_approval
    assert rules.hours_utc is not None
    assert rules.hours_utc.holds(21)
    assert not rules.hours_utc.holds(12)
    assert (rules.min_cohort, rules.min_colluders, rules.max_rounds, rules.max_runs) == (
        8,
        2,
        40,
        4,
    )
    assert rules.countries == {"FR", "DE"}
    assert rules.max_uses_per_day == 20


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("min_cohort = 8\nmax_round = 3\n", ":2", "Did you mean 'max_rounds'"),
        ("\n\nallow_everything = true\n", ":3", "Known are"),
        ("min_cohort = -1\n", ":1", "whole number"),
        ("min_cohort = true\n", ":1", "whole number"),
        ("\nmax_rounds = 1.5\n", ":2", "whole number"),
        ('approval = "automatic"\n', ":1", "never loosen"),
        ("purposes = []\n", ":1", "one or more"),
        ('purposes = "train:demand"\n', ":1", "one or more"),
        ("columns_never = [5]\n", ":1", "one or more"),
        ("hours_utc = [8]\n", ":1", "two hours"),
        ("hours_utc = [8, 25]\n", ":1", "two hours"),
        ("hours_utc = [true, 5]\n", ":1", "two hours"),
        ("hours_utc = [8, 8]\n", ":1", "that differ"),
        ('countries = ["fr"]\n', ":1", "two capitals"),
        ("countries = []\n", ":1", "two capitals"),
        ('countries = "FR"\n', ":1", "two capitals"),
        ("max_uses_per_day = -1\n", ":1", "whole number"),
        ("purposes = [\n", "", "not TOML"),
        ("min_cohort = = 2\n", ":1:14", "not TOML"),
        ("[house]\nmin_cohort = 2\n", ":1", "no house rule"),
    ],
)
def test_a_rule_that_cannot_be_used_names_its_line(text: str, where: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text.encode(), "house_rules.toml")
    assert words in str(caught.value)
    assert caught.value.where.startswith(f"house_rules.toml{where}")


def test_other_encodings_and_gigantic_files(tmp_path: Path) -> None:
    assert parse(b"\xef\xbb\xbfmin_cohort = 6\n", "x").min_cohort == 6
    with pytest.raises(InputError, match="not UTF-8"):
        parse("# Öl".encode("latin-1"), "x")
    huge = tmp_path / "huge.toml"
    huge.write_bytes(b"#" * (64 * 1024 + 1))
    with pytest.raises(InputError, match="longer than"):
        load(huge)
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_rules_or_a_sentence(raw: bytes) -> None:
    try:
        assert isinstance(parse(raw, "x"), HouseRules)
    except InputError as error:
        assert error.problem
