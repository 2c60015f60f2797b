"""A shop's names in the shared list: the file, its line numbers, and what the vault shows then."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.data import categories as room
from node.data.categories import By, Categories, Entry
from node.data.features import own_table, panel
from node.data.intake import add, preview
from node.data.vault import Vault
from node.policy.mapped import mapped
from protocols.errors import InputError, LocalError
from protocols.taxonomy.form import file_text, parse

RETAIL = room.installed()
NOW = datetime(2026, 1, 5, tzinfo=UTC)
HEADER = f'taxonomy = "{RETAIL.id}"\nsha256 = "{RETAIL.sha256}"\n'
OTHER = parse(
    json.dumps(
        {
            "kind": "datacoop-taxonomy", "v": 1, "name": "other", "version": "1", "title": "Other",
            "source": "test", "locales": ["en"], "ambiguous": [],
            "nodes": [
                {"code": "food", "names": {"en": "Food"}},
                {"code": "food.bakery", "names": {"en": "Bakery"}},
                {"code": "food.bakery.bread", "names": {"en": "Bread"}},
            ],
        }
    ).encode(),
    "other.json",
)  # fmt: skip


def read(text: str) -> Categories:
    return room.read((HEADER + text).encode(), RETAIL, "categories.toml")


def test_the_example_of_the_module_is_read() -> None:
    found = read(
        '\n[confirmed]\n"Brot & Brötchen" = "food.bakery.mixed"\n'
        '\n[accepted]\n"Backw. 7%" = "food.bakery.mixed"\n'
    )
    assert found.applied == {
        "Brot & Brötchen": "food.bakery.mixed",
        "Backw. 7%": "food.bakery.mixed",
    }
    assert found.entries["Backw. 7%"].by is By.ACCEPTED


BAD = {
    "not-toml": ("[confirmed\n", "not TOML", ""),
    "unknown-table": ('[guessed]\n"A" = "food.bakery.bread"\n', "'guessed' is not known", ":3"),
    "unknown-code": ('[confirmed]\n"A" = "food.bakery.bread"\n"B" = "bread"\n', "not a code", ":5"),
    "inner-code": ('[confirmed]\n"A" = "food.bakery"\n', "below it", ":4"),
    "code-number": ('[confirmed]\n"A" = 5\n', "not text", ":4"),
    "table-not": ('confirmed = "A"\n', "is a table", ":3"),
    "name-empty": ('[confirmed]\n"" = "food.bakery.bread"\n', "1 to 1000", ":4"),
    "name-long": (f'[confirmed]\n"{"x" * 1001}" = "food.bakery.bread"\n', "1 to 1000", ":4"),
    "in-both": (
        '[confirmed]\n"A" = "food.bakery.bread"\n[accepted]\n"A" = "food.bakery.rolls"\n',
        "stands in both",
        ":6",
    ),
    "twice": ('[confirmed]\n"A" = "food.bakery.bread"\n"A" = "food.dairy.milk"\n', "not TOML", ""),
    "deep": ("x = " + "[" * 5000 + "]" * 5000, "nested too deep|not TOML", ""),
}


@pytest.mark.parametrize("name", BAD)
def test_refused_with_its_line(name: str) -> None:
    text, words, line = BAD[name]
    with pytest.raises(InputError, match=words) as caught:
        read(text)
    assert caught.value.where == f"categories.toml{line}"


def test_a_mapping_of_another_list_is_refused_by_its_line() -> None:
    text = HEADER.replace(RETAIL.sha256, "0" * 64)
    with pytest.raises(InputError, match="in use is retail:1") as caught:
        room.read(text.encode(), RETAIL, "categories.toml")
    assert caught.value.where == "categories.toml:2"


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(InputError, match="byte 0 is not UTF-8"):
        room.read(b"\xff", RETAIL, "x")


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(
    lambda name: bool(name.strip())
)


@given(st.dictionaries(NAMES, st.sampled_from([*By]), max_size=6))
@settings(max_examples=60, deadline=None)
def test_whatever_a_till_prints_comes_back(names: dict[str, By]) -> None:
    made = Categories(RETAIL, {name: Entry("food.bakery.bread", by) for name, by in names.items()})
    again = room.read(room.text(made).encode(), RETAIL, "x")
    assert again.entries == made.entries


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    room.save(tmp_path, read("").with_entry("Brot", "food.bakery.bread", By.CONFIRMED))
    assert (tmp_path / room.FILE).stat().st_mode & 0o077 == 0
    assert room.load(tmp_path).applied == {"Brot": "food.bakery.bread"}


def test_no_file_means_nothing_is_mapped(tmp_path: Path) -> None:
    assert room.load(tmp_path) == Categories(RETAIL, {})


def test_a_name_that_is_a_code_means_that(tmp_path: Path) -> None:
    found = room.load(tmp_path)
    assert found.meaning("food.bakery.bread") == "food.bakery.bread"
    assert found.meaning("food.bakery") == found.meaning("Brot") == ""


def test_an_unknown_code_and_a_name_that_is_not_mapped() -> None:
    with pytest.raises(InputError, match="not a code"):
        read("").with_entry("Brot", "bread", By.CONFIRMED)
    with pytest.raises(InputError, match="is not mapped"):
        read("").without("Brot")


def test_another_list_keeps_what_it_has_and_says_what_goes(tmp_path: Path) -> None:
    mine = read("").with_entry("Brot", "food.bakery.bread", By.CONFIRMED)
    room.save(tmp_path, mine.with_entry("Milch", "food.dairy.milk", By.ACCEPTED))
    kept = room.use(tmp_path, OTHER)
    assert kept.applied == {"Brot": "food.bakery.bread"}
    assert room.load(tmp_path) == kept and room.in_use(tmp_path) == OTHER
    room.use(tmp_path, RETAIL)
    assert not (tmp_path / room.REPLACED).exists()
    assert room.load(tmp_path).taxonomy == RETAIL


def test_a_crash_between_the_two_files_is_told_and_can_be_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.save(tmp_path, read("").with_entry("Brot", "food.bakery.bread", By.CONFIRMED))

    def crash(*_: object) -> None:
        raise LocalError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(room, "save", crash)
        with pytest.raises(LocalError):
            room.use(tmp_path, OTHER)
    with pytest.raises(InputError, match="in use is other:1") as caught:
        room.load(tmp_path)
    assert "categories use" in caught.value.fix
    assert room.use(tmp_path, OTHER).applied == {"Brot": "food.bakery.bread"}


def test_a_damaged_list_is_told(tmp_path: Path) -> None:
    (tmp_path / room.REPLACED).write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="not JSON"):
        room.in_use(tmp_path)


# --- with rows ------------------------------------------------------------------------------


def sales(folder: Path, name: str, bread: str, milk: str, rest: str = "Diverses") -> Vault:
    """Thirty weeks of three categories, as a till of that shop calls them."""
    rows = [
        f"2025-{1 + day // 28:02d}-{1 + day % 28:02d},R{day}{place},{what},{what} {place},"
        f"{2 + (day + place) % 5},2.00"
        for day in range(196)
        for place, what in enumerate((bread, milk, rest))
    ]
    path = folder / f"{name}.csv"
    path.write_text(
        "\n".join(["date,receipt,category,product,qty,total", *rows, ""]), encoding="utf-8"
    )
    vault = Vault(folder / name, bytes(32))
    add(vault, preview(path), bytes(32), NOW)
    return vault


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> tuple[Vault, Vault]:
    """Two shops with the same goods under their own names."""
    folder = tmp_path_factory.mktemp("shops")
    return (
        sales(folder, "north", "Brot", "Milch & Sahne"),
        sales(folder, "south", "BREAD LOAVES", "dairy-milk"),
    )


def opened(vault: Vault, mapping: dict[str, str]) -> Vault:
    return Vault(vault.root, bytes(32), mapping)


def vocabulary(vault: Vault) -> set[int]:
    """Places in the embedding of the common model that this shop's rows train."""
    seen = panel(vault.weekly_for_owner("monday"), "monday", date(2025, 7, 13))
    return set(own_table(seen, RETAIL.leaves, 4).rows.vocabulary.tolist())


def test_shops_with_other_names_train_the_same_part_of_the_model_once_mapped(
    shops: tuple[Vault, Vault],
) -> None:
    north, south = shops
    assert vocabulary(north) == vocabulary(south) == {0}  # unknown: nothing is shared
    mine = {
        north: {"Brot": "food.bakery.bread", "Milch & Sahne": "food.dairy.milk"},
        south: {"BREAD LOAVES": "food.bakery.bread", "dairy-milk": "food.dairy.milk"},
    }
    places = [vocabulary(opened(vault, mapping)) for vault, mapping in mine.items()]
    shared = {RETAIL.leaves.index(code) + 1 for code in ("food.bakery.bread", "food.dairy.milk")}
    assert places == [{0, *shared}, {0, *shared}]  # what nobody mapped stays unknown


def test_the_digest_of_the_rows_knows_the_mapping(shops: tuple[Vault, Vault]) -> None:
    north, _ = shops
    one = opened(north, {"Brot": "food.bakery.bread"})
    other = opened(north, {"Brot": "food.bakery.rolls"})
    assert len({north.data_digest(), one.data_digest(), other.data_digest()}) == 3


def test_names_are_counted_with_their_products(shops: tuple[Vault, Vault]) -> None:
    names = room.printed(shops[0])
    assert [(one.name, one.lines) for one in names] == [
        ("Brot", 196),
        ("Diverses", 196),
        ("Milch & Sahne", 196),
    ]
    assert names[0].products == ("Brot 0",)


def test_coverage_counts_lines_and_series(shops: tuple[Vault, Vault]) -> None:
    empty = Categories(RETAIL, {})
    found = room.coverage(shops[0], empty)
    assert (found.lines, found.mapped, found.names, found.series) == (588, 0, 3, 3)
    some = empty.with_entry("Brot", "food.bakery.bread", By.CONFIRMED).with_entry(
        "Diverses", "food.bakery.bread", By.ACCEPTED
    )
    found = room.coverage(shops[0], some)
    assert (found.mapped, found.series) == (392, 2)
    assert found.percent == pytest.approx(66.67, abs=0.01)


def test_what_is_unsorted_is_not_mapped(shops: tuple[Vault, Vault]) -> None:
    lazy = Categories(RETAIL, {})
    for name in ("Brot", "Diverses"):
        lazy = lazy.with_entry(name, "other.unsorted.unsorted", By.CONFIRMED)
    found = room.coverage(shops[0], lazy)
    assert (found.mapped, found.unsorted, found.percent) == (0, 392, 0.0)


def test_money_given_back_for_a_receipt_needs_no_category(tmp_path: Path) -> None:
    rows = [["2025-01-02", "1", "Brot", "2", "9.00"], ["2025-01-02", "1", "", "0", "-9.00"]]
    kinds = ["sale", "return"]
    text = "".join(f"{','.join(row)},{kind}\n" for row, kind in zip(rows, kinds, strict=True))
    path = tmp_path / "till.csv"
    path.write_text(
        f"Date,Receipt no,Category,Quantity,Total,Transaction type\n{text}", encoding="utf-8"
    )
    vault = Vault(tmp_path / "vault", bytes(32))
    add(vault, preview(path), bytes(32), datetime(2025, 1, 6, tzinfo=UTC))
    mine = Categories(RETAIL, {}).with_entry("Brot", "food.bakery.bread", By.CONFIRMED)
    found = room.coverage(vault, mine)
    assert (found.lines, found.mapped) == (1, 1)


def test_an_empty_vault_has_nothing_mapped(tmp_path: Path) -> None:
    found = room.coverage(Vault(tmp_path / "v", bytes(32)), Categories(RETAIL, {}))
    assert (found.lines, found.percent) == (0, 0.0)


def test_suggestions_leave_out_what_is_mapped(shops: tuple[Vault, Vault], tmp_path: Path) -> None:
    mine = Categories(RETAIL, {}).with_entry("Brot", "food.bakery.bread", By.CONFIRMED)
    found = dict(room.suggestions(tmp_path, room.printed(shops[0]), mine))
    assert {one.name: likely[0].code for one, likely in found.items()} == {
        "Milch & Sahne": "food.dairy.milk",
        "Diverses": "other.unsorted.unsorted",
    }


def test_the_gate_is_told_list_and_share_or_nothing(
    shops: tuple[Vault, Vault], tmp_path: Path
) -> None:
    assert mapped(tmp_path, shops[0]) == (RETAIL.sha256, 0.0)
    room.save(tmp_path, Categories(RETAIL, {"Brot": Entry("food.bakery.bread", By.CONFIRMED)}))
    assert mapped(tmp_path, shops[0])[1] == pytest.approx(33.33, abs=0.01)
    (tmp_path / room.FILE).write_text("[", encoding="utf-8")
    assert mapped(tmp_path, shops[0]) == ("", None)


def test_the_file_text_of_a_list_is_what_use_writes(tmp_path: Path) -> None:
    room.use(tmp_path, OTHER)
    assert (tmp_path / room.REPLACED).read_text("utf-8") == file_text(OTHER)


def _given(text: str) -> bytes:
    taxonomy = room.installed()
    return f'taxonomy = "{taxonomy.id}"\nsha256 = "{taxonomy.sha256}"\n{text}\n'.encode()


@pytest.mark.parametrize(
    ("text", "problem", "line"),
    [
        (".".join(["a"] * 50_000) + " = 1", "too many dots", ":3"),
        ("[" + " . ".join(["'a'"] * 50_000) + "]", "too many dots", ":3"),
        ('x = { y = """\n""", ' + ".".join(["a"] * 50_000) + " = '' }", "three quotes", ":3"),
        ("x = " + "1" * 5000, "too long", ""),
    ],
    ids=["key", "table", "hidden", "number"],
)
def test_a_file_that_would_fill_the_memory_is_refused(text: str, problem: str, line: str) -> None:
    with pytest.raises(InputError) as refused:
        room.read(_given(text), room.installed(), "theirs.toml")
    assert problem in refused.value.problem
    assert refused.value.where == f"theirs.toml{line}"


@pytest.mark.parametrize(
    "name", ['a"""b', "a'''b", "1.2.3.4.5.6.7.8.9.10", "# a", "a\nb", "a\\", "\u2028", "=[x]", "'"]
)
def test_any_name_of_a_till_comes_back_from_the_file(name: str) -> None:
    entry = room.Entry("food.bakery.bread", room.By.CONFIRMED)
    held = room.Categories(room.installed(), {f"x{name}": entry})
    again = room.read(room.text(held).encode(), held.taxonomy, "mine.toml")
    assert again.entries == held.entries
