"""Mapping files: read, refused with their line, made by the wizard, laid over a file."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dialect_files import DIALECTS, outcome, records
from node.cli import shell
from node.cli.app import app
from node.data import connectors, mapping
from node.data.columns import Fate, Role
from node.data.connectors.layout import Formats, Returns, Rule
from node.data.connectors.layout_file import MAX_BYTES, parse_layout
from node.data.intake import Options, preview
from protocols.errors import InputError

TILL = DIALECTS.parent / "good-kasse-de.csv"
HEAD = 'format = "datacoop-mapping/1"\nname = "my-till"\ntable = "sales_line"\n'
COLUMNS = '[columns]\ndate = "Day"\nquantity = "Qty"\ntotal = "Sum"\n'


def refused(text: str) -> InputError:
    with pytest.raises(InputError) as caught:
        parse_layout(text.encode(), "m.toml")
    return caught.value


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("name = ", 1, "not TOML"),
        ('name = "x"\n', 1, "not a mapping file of a known version"),
        ('format = "datacoop-mapping/2"\n', 1, "not a mapping file of a known version"),
        (HEAD.replace("my-till", "My Till") + COLUMNS, 2, "is not a name"),
        (HEAD.replace("sales_line", "people") + COLUMNS, 3, "expected one of sales_line"),
        (HEAD + 'path = "/etc"\n' + COLUMNS, 4, "'path' is not a setting here"),
        (HEAD + COLUMNS + 'colour = "Red"\n', 8, "'colour' is nothing that a sales_line has"),
        (HEAD + COLUMNS + 'on-hand = "Stock"\n', 8, "nothing that a sales_line has"),
        (HEAD + COLUMNS + "order = 7\n", 8, "neither a text nor a list"),
        (HEAD + COLUMNS + 'order = ["A", 7]\n', 8, "is not a text"),
        (HEAD + COLUMNS + 'order = "Day"\n', 8, "both the date and the order"),
        (HEAD + COLUMNS + 'product = "Customer name"\n', 8, "about a person"),
        (HEAD + '[columns]\ndate = "Day"\ntotal = "Sum"\n', 4, "is named for the quantity"),
        (HEAD + COLUMNS + '[formats]\ntimezone = "Mars/Base"\n', 9, "not a time zone"),
        (HEAD + COLUMNS + '[formats]\ndate_order = "dym"\n', 9, "not possible here"),
        (HEAD + COLUMNS + '[formats]\ncurrency = "Euro"\n', 9, "not a currency"),
        (HEAD + COLUMNS + '[formats]\nunit = "cents"\n', 9, "not possible here"),
        (HEAD + COLUMNS + '[[rule]]\ncolumn = "Status"\n', 8, "neither what to keep"),
        (HEAD + COLUMNS + '[[rule]]\nkeep = ["a"]\n', 8, "needs the name of a column"),
        (HEAD + COLUMNS + '[[rule]]\ncolumn = "A"\nkeep = "a"\n', 10, "is not a list"),
        (HEAD + COLUMNS + '[returns]\ncolumn = "Kind"\n', 8, "needs a column and its values"),
        (HEAD + COLUMNS + '[orders]\nfill = ["Day"]\n', 8, "names the order"),
        (HEAD + 'quirk = "shell"\n' + COLUMNS, 4, "not possible here"),
        (HEAD + COLUMNS + '[[version]]\nheader = ["Day"]\n[version.shapes]\nDay = "(a+)+"\n', 11,
         "built-in formats only"),
        (HEAD + "category_from_product = 1\n" + COLUMNS, 4, "neither true nor false"),
        (HEAD + "category_from_product = true\n" + COLUMNS + 'category = "C"\n', 4, "already"),
        (HEAD + COLUMNS + 'sku = "a\\u0007b"\n', 8, "do not print"),
    ],
)  # fmt: skip
def test_a_wrong_mapping_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    error = refused(text)
    assert says in error.problem
    assert error.where.startswith(f"m.toml:{line}:")
    assert error.fix


def test_a_mapping_that_is_too_long_or_no_file(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text("#" * (MAX_BYTES + 1))
    with pytest.raises(InputError, match="65537 bytes"):
        mapping.read_mapping(path)
    with pytest.raises(InputError, match="folder"):
        mapping.read_mapping(tmp_path)


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=80), at=st.integers(0, 120))
def test_any_text_is_a_mapping_or_refused(text: str, at: int) -> None:
    whole = HEAD + COLUMNS
    changed = whole[: at % len(whole)] + text + whole[at % len(whole) :]
    try:
        assert parse_layout(changed.encode("utf-8", "replace"), "m.toml").name
    except InputError as error:
        assert error.where.startswith("m.toml")


def test_rules_returns_units_and_orders_of_a_mapping() -> None:
    text = HEAD + (
        'title = "My till"\n[columns]\ndate = "Day"\norder = "No"\nquantity = "Qty"\n'
        'total = "Sum"\ndiscount = "Off"\ncustomer = ["Card", "Phone"]\n'
        '[formats]\nunit = "minor"\ncurrency = "EUR"\ntimezone = "Europe/Paris"\n'
        '[[rule]]\ncolumn = "State"\nleave_out = { "VOID" = "cancelled" }\n'
        '[[rule]]\ncolumn = "Kind"\nkeep = ["sale", "back"]\nother = "no sale"\n'
        '[returns]\ncolumn = "Kind"\nvalues = ["Back"]\n'
        '[orders]\nby = "No"\nfill = ["Day", "State"]\ndiscount = "Off"\n'
    )
    layout = parse_layout(text.encode(), "m.toml")
    header = ["Day", "No", "Qty", "Sum", "Off", "Card", "Phone", "State", "Kind", "Memo"]
    rows = [
        ["2025-01-02 10:00", "1", "2", "1000", "", "C1", "", "", "Sale", "x"],
        ["", "1", "1", "500", "300", "", "123456", "", "sale", "x"],
        ["2025-01-03 10:00", "2", "1", "500", "", "", "", "void", "sale", ""],
        ["2025-01-03 11:00", "3", "1", "700", "", "C1", "", "", "back", ""],
        ["2025-01-03 12:00", "4", "1", "700", "", "C1", "", "", "deposit", ""],
    ]
    dialect = connectors.Dialect(layout)
    reading = dialect.read(header, rows)
    made = outcome(reading, header, rows, {})
    cells = [row.split(" | ") for row in made["rows"]]
    assert [(c[0], c[1], c[6], c[8], c[9]) for c in cells] == [
        ("1", "2025-01-02T09:00:00Z", "2", "2", "10"),
        ("1", "2025-01-02T09:00:00Z", "1", "1", "5"),
        ("3", "2025-01-03T10:00:00Z", "-1", "0", "-7"),
    ]
    assert made["left_out"] == {"cancelled": 1, "no sale": 1}
    assert reading.name == "My till"
    assert [c.header for c in reading.columns if c.fate is Fate.IGNORED] == ["Memo"]
    with pytest.raises(InputError, match="lacks Kind"):
        dialect.read([name.replace("Kind", "Kynd") for name in header], rows)
    with pytest.raises(InputError, match="lacks Off"):
        dialect.read([name.replace("Off", "Less") for name in header], rows)
    with pytest.raises(InputError, match="speaks of religion"):
        dialect.read(header, [[*row[:7], "Catholic", *row[8:]] for row in rows])


def test_a_draft_written_down_reads_back_as_it_was() -> None:
    draft = mapping.Draft(
        "odd-till",
        "sales_line",
        {Role.DATE: ('Day "of" \\ sale',), Role.QUANTITY: ("Qty",), Role.TOTAL: ("Sum é",),
         Role.CUSTOMER: ("Card", "E-Mail")},
        Formats("dmy", ",", "Europe/Berlin", "EUR", "minor"),
        (Rule("State", frozenset({"", "ok"}), {"void": "gone", "": "empty"}, "", "", "bad"),
         Rule("Off at", filled="cancelled"), Rule("Sum é", zero="nothing")),
        Returns("Kind", frozenset({"back"})),
        by_product=True,
    )  # fmt: skip
    layout = parse_layout(mapping.text_of(draft).encode(), "m.toml")
    assert layout.columns == draft.columns
    assert layout.formats == draft.formats
    assert layout.rules == draft.rules
    assert layout.returns == draft.returns
    assert layout.by_product is draft.by_product
    assert (layout.name, layout.table) == (draft.name, draft.table)


def test_a_built_in_format_is_a_mapping_file_to_start_from() -> None:
    for name in connectors.names():
        if "shapes" not in connectors.text_of(name):
            text = connectors.text_of(name)
            assert parse_layout(text.encode(), f"{name}.toml") == connectors.find(name).layout


def test_guesses_show_no_cell_of_a_personal_column() -> None:
    header = ["Datum", "Menge", "Betrag", "Kundennummer", "E-Mail", "Kommentar", "Allergie", "Rest"]
    rows = [["2025-01-02", "1", "2,50", "K1", "a@example.test", "ring", "nuts", "x" * 99]] * 5
    found = mapping.guesses(header, rows, "sales_line")
    assert [(g.role, g.fate) for g in found] == [
        (Role.DATE, Fate.KEPT), (Role.QUANTITY, Fate.KEPT), (Role.TOTAL, Fate.KEPT),
        (Role.CUSTOMER, Fate.CUSTOMER), (None, Fate.PERSONAL), (None, Fate.IGNORED),
        (None, Fate.BLOCKED), (None, Fate.IGNORED),
    ]  # fmt: skip
    assert found[0].examples == ("2025-01-02",)
    assert found[3].examples == found[4].examples == found[6].examples == ()
    assert found[7].examples == ("x" * 27 + "...",)
    with pytest.raises(InputError, match="speaks of health"):
        mapping.guesses(header, rows, "sales_line", {Role.CATEGORY: ("Allergie",)})
    with pytest.raises(InputError, match="no column 'Nope'"):
        mapping.guesses(header, rows, "sales_line", {Role.CATEGORY: ("Nope",)})


def test_two_columns_for_one_thing_are_a_question() -> None:
    found = mapping.guesses(["Date", "Qty", "Net sales", "Total"], [], "sales_line")
    assert set(mapping.rivals(found)) == {Role.TOTAL}
    with pytest.raises(InputError) as caught:
        mapping.drafted("x", "sales_line", found, Formats())
    assert caught.value.fix == "Say which one: --column total='Total'"
    with pytest.raises(InputError, match="no column is the quantity yet"):
        mapping.drafted("x", "sales_line", (found[0], found[3]), Formats())


# --- commands ----------------------------------------------------------------------------------

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)

    def go(*words: str, typed: str | None = None) -> tuple[int, str]:
        if typed is not None:
            terminal = io.StringIO(typed)
            terminal.isatty = lambda: True  # type: ignore[method-assign]
            monkeypatch.setattr("sys.stdin", terminal)
        code = shell.run(app, list(words), "coop-node")
        caught = capsys.readouterr()
        return code, caught.out + caught.err

    return go


def test_a_mapping_is_made_checked_and_shown(run: Run, tmp_path: Path) -> None:
    code, out = run("mapping", "new", str(TILL), "--timezone", "Europe/Berlin",
                    "--currency", "eur", "--leave-out", "Rabatt=gratis:given away",
                    "--return", "Warengruppe=Pfand")  # fmt: skip
    assert code == 0, out
    assert "Kassierer" in out and "about a person: dropped" in out
    text = (tmp_path / "good-kasse-de.mapping.toml").read_text(encoding="utf-8")
    assert 'date = "Datum"' in text and 'date_order = "dmy"' in text and 'currency = "eur"' in text
    assert "Brötchen" not in text and str(TILL.parent) not in text
    code, out = run("mapping", "new", str(TILL))
    assert code == 5 and "nothing is written over" in out
    code, out = run(
        "mapping", "check", "good-kasse-de.mapping.toml", "--against", str(TILL), "--json"
    )
    document = json.loads(out)
    assert code == 0 and document["ok"]
    assert {"header": "Kassierer", "fate": "personal", "role": ""} in document["columns"]
    code, out = run("mapping", "show", "good-kasse-de.mapping.toml")
    assert code == 0 and "left out if Rabatt is gratis: given away" in out
    code, out = run("mapping", "show", "good-kasse-de.mapping.toml", "--toml")
    assert code == 0 and out.strip() == text.strip()


def test_the_wizard_asks_for_each_column(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "till.csv"
    source.write_text(
        "When,Count,Net sales,Total,Waiter,Kind of thing\n"
        "01/02/2025,1,2.00,2.40,Kim,Tea\n02/03/2025,1,2.00,2.40,Kim,Cup\n"
    )
    # a wrong answer is asked again; the waiter is about a person and is not asked for
    typed = "date\nquantity\ntotal\n-\nnonsense\ncategory\ndmy\nEurope/London\nGBP\n"
    code, out = run("mapping", "new", str(source), "--out", "m.toml", typed=typed)
    assert code == 0, out
    assert "Waiter" in out and "Kim" not in out and "01/02/2025" in out
    layout = mapping.read_mapping(tmp_path / "m.toml").layout
    assert layout.columns == {
        Role.DATE: ("When",), Role.QUANTITY: ("Count",), Role.TOTAL: ("Net sales",),
        Role.CATEGORY: ("Kind of thing",),
    }  # fmt: skip
    assert layout.formats == Formats("dmy", "", "Europe/London", "GBP", "major")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--column", "colour=Datum"), "nothing that a sales_line has"),
        (("--column", "date"), "no = between"),
        (("--column", "date=Tag"), "no column 'Tag'"),
        (("--table", "people"), "is not a table"),
        (("--leave-out", "Status"), "no = between"),
        (("--leave-out", "Status=void:gone"), "lacks Status"),
        (("--return", "A=b", "--return", "C=d"), "one column only"),
        (("--decimal", "dash"), "no decimal sign"),
        (("--timezone", "Mars"), "not a time zone"),
    ],
)
def test_a_wrong_answer_writes_nothing(
    run: Run, tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    code, out = run("mapping", "new", str(TILL), *words)
    assert code == 5 and says in out
    assert list(tmp_path.iterdir()) == []


def test_formats_are_listed_and_shown(run: Run) -> None:
    code, out = run("mapping", "list", "--json")
    listed = json.loads(out)["formats"]
    assert code == 0 and [one["name"] for one in listed] == list(connectors.names())
    assert all(one["needs"] for one in listed)
    for name in ("shopify-orders", "square-transactions"):
        code, out = run("mapping", "show", name)
        assert code == 0 and "Export: " in out and "Worked out: " in out


def test_detect_says_what_and_why(run: Run) -> None:
    path = DIALECTS / "square-items" / "2024.csv"
    code, out = run("data", "detect", str(path))
    assert code == 0 and "square-items (1.00): the columns that" in out
    assert "It would be read as Square item sales detail" in out
    code, out = run("data", "detect", str(TILL), "--json")
    assert code == 0 and json.loads(out)["formats"] == []
    header, *rows = records(DIALECTS / "woo-analytics-orders" / "2025.csv")
    source = Path("umsatz.csv")
    lines = [[f"Spalte {n}" for n in range(len(header))], *[row for row in rows if "×" in row[6]]]
    source.write_text("\n".join(";".join(line) for line in lines) + "\n", encoding="utf-8")
    code, out = run("data", "detect", str(source))
    assert code == 0 and "Not sure enough" in out and "--as woo-analytics-orders" in out


def test_a_translated_export_gets_a_mapping_with_the_tills_habit(run: Run, tmp_path: Path) -> None:
    source = tmp_path / "commandes.csv"
    source.write_text(
        'Jour,Commande,Produits,Net\n2025-01-02 10:00,7,"2× Thé, 1× Tasse",9.00\n',
        encoding="utf-8",
    )
    words = ["--column", "date=Jour", "--column", "order=Commande", "--column", "product=Produits",
             "--column", "total=Net", "--out", "m.toml"]  # fmt: skip
    code, out = run("mapping", "new", str(source), *words)
    assert code == 5 and "no column is the quantity yet" in out
    code, out = run("mapping", "new", str(source), *words, "--quirk", "woo-products")
    assert code == 0, out
    header, *rows = records(source)
    reading = mapping.read_mapping(tmp_path / "m.toml").read(header, rows)
    made = [row.split(" | ") for row in outcome(reading, header, rows, {})["rows"]]
    assert [(row[4], row[6], row[9]) for row in made] == [("Thé", "2", "6"), ("Tasse", "1", "3")]
    code, out = run("mapping", "new", str(source), *words[:-2], "--quirk", "shell")
    assert code == 5 and "not possible here" in out


def test_detect_looks_into_workbooks_and_parquet(run: Run, tmp_path: Path) -> None:
    header, *rows = records(DIALECTS / "toast-items" / "2024.csv")
    table = pa.table({name: [row[at] for row in rows] for at, name in enumerate(header)})
    pq.write_table(table, tmp_path / "toast.parquet")
    book = openpyxl.Workbook()
    for row in (header, *rows):
        book.active.append(row)
    book.save(tmp_path / "toast.xlsx")
    for name in ("toast.parquet", "toast.xlsx"):
        code, out = run("data", "detect", name, "--json")
        assert code == 0 and json.loads(out)["taken"] == "toast-items", out


@pytest.mark.parametrize(
    ("table", "header", "row", "options", "columns"),
    [
        ("stock", "Article;Stock;Place;Count day", "A1;5;Shop;2025-01-02",
         ["on-hand=Stock", "sku=Article", "location=Place", "as-of=Count day"], 4),
        ("customer", "Kunde;Land;Seit", "K1;DE;2020-01-02",
         ["customer=Kunde", "country=Land", "first-seen=Seit"], 3),
    ],
)  # fmt: skip
def test_a_mapping_of_another_table(
    run: Run, tmp_path: Path, table: str, header: str, row: str, options: list[str], columns: int
) -> None:
    source = tmp_path / "list.csv"
    source.write_text(f"{header}\n{row}\n", encoding="utf-8")
    words = [word for option in options for word in ("--column", option)]
    code, out = run("mapping", "new", str(source), "--table", table, "--out", "m.toml", *words)
    assert code == 0, out
    plan = preview(source, Options(mapping=tmp_path / "m.toml"))
    assert (plan.table, plan.rows, plan.bad_rows) == (table, 1, 0)
    assert sum(column.role is not None for column in plan.columns) == columns
