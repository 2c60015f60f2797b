"""Data contracts: made from facts, read with places, held against the rows."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from importlib import resources
from typing import Any

import jsonschema
import pytest
import yaml

from node.data import tables
from node.data.contracts import check as checking
from node.data.contracts import measure
from node.data.contracts.check import Breach, check
from node.data.contracts.make import document, generate
from node.data.contracts.read import profile, read_contract
from node.data.schema import STORED
from protocols.errors import InputError
from shop_rows import LAST, RowsVault, customer_row, sale, sound, stock_row
from small_coop import agreement

NOW = datetime.combine(LAST + timedelta(days=1), datetime.min.time(), UTC)
TERMS = agreement().terms
VAULT = RowsVault(sound(28, LAST - timedelta(days=27)), [customer_row()], [stock_row()])


def changed(table: str, change: Callable[[dict[str, Any]], object]) -> bytes:
    made = document(table, TERMS)
    change(made)
    return yaml.safe_dump(made, sort_keys=False).encode()


def breaches(
    change: Callable[[dict[str, Any]], object], vault: RowsVault = VAULT, table: str = "sales_line"
) -> tuple[Breach, ...]:
    return check(read_contract(changed(table, change), "c.yaml"), vault, NOW)


def column(made: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in made["schema"][0]["properties"] if one["name"] == name)


def line_of(text: bytes, words: str) -> int:
    """The line that says exactly this, or else the first that has it."""
    lines = text.decode().splitlines()
    exact = [k for k, line in enumerate(lines, 1) if line.strip(" -") == words]
    return exact[0] if exact else next(k for k, line in enumerate(lines, 1) if words in line)


# --- making ------------------------------------------------------------------------------------


def test_the_facts_are_those_of_the_vaults_tables() -> None:
    names = {"category"}  # the view's own: what the till printed
    for name, facts in tables.TABLES.items():
        stored = {field.name: field for field in STORED[name]}
        for one in facts.fields:
            if one.name not in names:
                assert one.required == (not stored[one.name].nullable), one.name
    assert set(tables.TABLES) == set(STORED)


@pytest.mark.parametrize("table", tables.TABLES)
@pytest.mark.parametrize("terms", [None, TERMS])
def test_what_is_made_is_read_again_fits_the_profile_and_holds(table: str, terms: Any) -> None:
    text = generate(table, terms)
    contract = read_contract(text.encode(), "c.yaml")
    assert contract.document == document(table, terms)
    assert check(contract, VAULT, NOW) == ()


def test_the_terms_of_the_agreement_stand_in_it() -> None:
    made = document("sales_line", TERMS)
    assert made["status"] == "active" and made["tenant"] == TERMS.coop
    assert made["slaProperties"][0] | {"description": ""} == {
        "property": "latency", "value": 60, "unit": "d", "element": "sales_line.business_date",
        "driver": "operational", "description": "",
    }  # fmt: skip
    custom = {one["property"]: one["value"] for one in made["customProperties"]}
    assert custom["agreement"] == TERMS.id and custom["minimumHealth"] == 50
    read = {one["name"] for one in made["schema"][0]["properties"] if "customProperties" in one}
    assert read and "customer_key" not in {one["name"] for one in made["team"]["members"]
                                          if "name" in one}  # fmt: skip
    assert "train:demand" in made["description"]["purpose"]
    alone = document("sales_line")
    assert alone["status"] == "draft" and "slaProperties" not in alone
    assert "No agreement lets others use this table." in alone["description"]["limitations"]


def test_there_is_no_other_table() -> None:
    with pytest.raises(InputError, match="expected one of sales_line, customer, stock"):
        generate("orders")


def test_the_profile_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(profile())


# --- reading -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (lambda c: c.update(kind="Contract"), "kind: Contract", "expected DataContract"),
        (lambda c: c.update(apiVersion="v2.2.2"), "apiVersion", "expected v3.1.0"),
        (lambda c: c.pop("status"), "apiVersion", "lacks status"),
        (lambda c: c.update(colour="red"), "apiVersion", "has colour, which is unknown"),
        (lambda c: column(c, "qty").update(logicalType="money"), "logicalType: money",
         "expected string or date"),
        (lambda c: column(c, "qty").update(name='q"; DROP'), "DROP", "does not match"),
        (lambda c: column(c, "sku").update(logicalTypeOptions={"minimum": 3}), "minimum: 3",
         "has minimum, which is unknown"),
        (lambda c: c["schema"][0]["quality"][0].pop("mustBeGreaterThan"),
         "name: there are rows", "exactly one comparison"),
        (lambda c: c["schema"][0]["quality"][0].update(mustBe=3),
         "name: there are rows", "exactly one comparison"),
    ],
)  # fmt: skip
def test_what_is_no_contract_is_refused_with_its_line(
    change: Callable[[dict[str, Any]], object], line: str, words: str
) -> None:
    text = changed("sales_line", change)
    with pytest.raises(InputError) as error:
        read_contract(text, "c.yaml")
    assert words in error.value.problem
    at = int(error.value.where.split(":")[1])
    assert abs(at - line_of(text, line)) <= 1
    assert "coop-node data contract" in error.value.fix


@pytest.mark.parametrize(
    "text", [b"", b"a: [", b"a: &x 1\nb: *x\n", b"\xff\xfe", b"- 1\n", b"a: !!python/object:os.x 1"]
)
def test_a_file_that_is_no_plain_yaml_is_refused(text: bytes) -> None:
    with pytest.raises(InputError):
        read_contract(text, "c.yaml")


# --- holding it against the rows ---------------------------------------------------------------


def rule(**more: Any) -> Callable[[dict[str, Any]], None]:
    def change(made: dict[str, Any]) -> None:
        made["schema"][0]["quality"] = [more]

    return change


def on(place: str, /, **more: Any) -> Callable[[dict[str, Any]], None]:
    return lambda made: column(made, place).update(more)


LINES = len(VAULT.sales_line)
BROKEN: list[tuple[str, Callable[[dict[str, Any]], object], RowsVault, str, str]] = [
    ("no such table", lambda c: c["schema"][0].update(physicalName="orders"), VAULT,
     "there is no table 'orders'", "name: sales_line"),
    ("no such column", on("sku", name="ean", physicalName="ean"), VAULT,
     "sales_line has no column ean", "name: ean"),
    ("another type", on("sku", logicalType="number", logicalTypeOptions={}), VAULT,
     "sales_line.sku is of type VARCHAR, the contract says number", "logicalType: number"),
    ("another physical type", on("sku", physicalType="BIGINT"), VAULT,
     "the contract says BIGINT", "physicalType: BIGINT"),
    ("nulls", on("customer_key", required=True), VAULT,
     f"sales_line.customer_key is empty in {LINES} rows", "name: customer_key"),
    ("not unique", on("order_ref", unique=True),
     RowsVault([*VAULT.sales_line, VAULT.sales_line[0]]), "order_ref repeats a value in 1 rows",
     "unique: true"),
    ("minimum", on("qty", logicalTypeOptions={"minimum": 1.5}), VAULT, "is below 1.5 in",
     "minimum: 1.5"),
    ("maximum of a day", on("business_date", logicalTypeOptions={"maximum": "2024-07-01"}), VAULT,
     "business_date is above 2024-07-01 in 135 rows", "maximum: '2024-07-01'"),
    ("pattern", on("sku", logicalTypeOptions={"pattern": "^[0-9]+$"}), VAULT,
     f"sku is not of the form ^[0-9]+$ in {LINES} rows", "pattern: ^[0-9]+$"),
    ("length", on("sku", logicalTypeOptions={"maxLength": 5}), VAULT,
     "longer than 5 characters in", "maxLength: 5"),
    ("too few rows", rule(metric="rowCount", mustBeGreaterThan=10_000), VAULT,
     f"rowCount is {LINES}, must be greater than 10000.", "metric: rowCount"),
    ("own sql", rule(type="sql", query="SELECT max(net) FROM ${table}", mustBeLessThan=1), VAULT,
     "must be less than 1", "type: sql"),
    ("valid values", on("location", quality=[{"metric": "invalidValues", "mustBe": 0,
     "arguments": {"validValues": ["Market"]}}]), VAULT,
     f"sales_line.location: invalidValues is {LINES}, must be 0.", "metric: invalidValues"),
    ("percent", on("customer_key", quality=[{"metric": "nullValues", "mustBeLessThan": 50,
     "unit": "percent"}]), VAULT, "nullValues is 100 %, must be less than 50.",
     "unit: percent"),
    ("missing values", on("sku", quality=[{"metric": "missingValues", "mustBe": 0,
     "arguments": {"missingValues": ["s-tea", None]}}]), VAULT, "missingValues is 28",
     "metric: missingValues"),
    ("not recent", lambda c: c["slaProperties"][0].update(value=0.5), VAULT,
     "the newest row of sales_line is 1 days old", "property: latency"),
    ("empty and not recent", lambda c: c["schema"][0].update(quality=[]), RowsVault(),
     "has no row, so it is not recent", "property: latency"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "vault", "words", "line"), [one[1:] for one in BROKEN],
                         ids=[one[0] for one in BROKEN])  # fmt: skip
def test_what_the_rows_do_not_fulfil_is_said_with_its_line(
    change: Callable[[dict[str, Any]], object], vault: RowsVault, words: str, line: str
) -> None:
    text = changed("sales_line", change)
    found = check(read_contract(text, "c.yaml"), vault, NOW)
    worst = [one for one in found if one.severity != "note"]
    assert len(worst) == 1 and words in worst[0].sentence
    at = int(worst[0].where.split(":")[1])
    assert abs(at - line_of(text, line)) <= 10


def test_what_fits_the_profile_fits_the_official_schema() -> None:
    """ODCS v3.1.0 as its Python package brings it: what is made, and what is read here."""
    package = pytest.importorskip("open_data_contract_standard")
    text = resources.files(package).joinpath("schema.json").read_text(encoding="utf-8")
    official = jsonschema.Draft201909Validator(json.loads(text))
    made = [document(name, terms) for name in tables.TABLES for terms in (None, TERMS)]
    read = [yaml.safe_load(changed("sales_line", one[1])) for one in BROKEN]
    for one in (*made, *read):
        assert [error.message for error in official.iter_errors(one)] == []
        assert not list(jsonschema.Draft202012Validator(profile()).iter_errors(one))
    assert list(official.iter_errors(document("stock") | {"kind": "Contract"}))


def test_keys_that_repeat_and_columns_that_are_not_named() -> None:
    vault = RowsVault(stock=[stock_row(), stock_row(on_hand=Decimal(8)), stock_row("s-tea")])
    found = breaches(lambda c: c["schema"][0]["properties"].pop(3), vault, "stock")
    said = " ".join(one.sentence for one in found)
    assert "1 rows have the key (sku, location, as_of) of another row" in said
    assert "columns that the contract does not name: incoming" in said
    assert "each row once is 1, must be 0." in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (rule(type="sql", query="DELETE FROM sales_line", mustBe=0), "one SELECT"),
        (rule(type="sql", query="SELECT 1; SELECT 2", mustBe=0), "one SELECT"),
        (rule(type="sql", query="COPY sales_line TO 'x.csv'", mustBe=0), "one SELECT"),
        (rule(type="sql", query="ATTACH 'x.db'", mustBe=0), "one SELECT"),
        (rule(type="sql", query="SELECT customer_key FROM sales_line", mustBe=0), "one number"),
        (rule(type="sql", query="SELECT 'x'", mustBe=0), "one number"),
        (rule(type="sql", query="SELECT nothing FROM ${object}", mustBe=0), "cannot be asked"),
        (rule(type="sql", query="SELECT count(*) FROM read_text('/etc/*')", mustBe=0),
         "cannot be asked"),
        (rule(type="sql", query="SELECT count(*) FROM glob('/*')", mustBe=0), "cannot be asked"),
        (rule(type="sql", query="INSTALL httpfs", mustBe=0), "one SELECT"),
        (rule(metric="duplicateValues", mustBe=0, arguments={"properties": ["nothing"]}),
         "cannot be asked"),
        (rule(metric="nullValues", mustBe=0), "needs a column"),
        (on("sku", quality=[{"metric": "invalidValues", "mustBe": 0}]), "validValues or pattern"),
        (on("sku", quality=[{"metric": "invalidValues", "mustBe": 0,
                             "arguments": {"pattern": "("}}]), "cannot be asked"),
        (on("sku", logicalTypeOptions={"pattern": "("}), "cannot be used as a limit"),
        (on("business_date", logicalTypeOptions={"minimum": "soon"}), "cannot be used as a limit"),
        (lambda c: c["slaProperties"][0].update(unit="moon"), "a unit (d or h)"),
        (lambda c: c["slaProperties"][0].update(element="sales_line.x"), "an element such as"),
    ],
)  # fmt: skip
def test_a_rule_that_cannot_be_asked_is_refused_with_its_place(
    change: Callable[[dict[str, Any]], object], words: str
) -> None:
    with pytest.raises(InputError) as error:
        breaches(change)
    assert words in error.value.problem
    assert error.value.where.startswith("c.yaml:") and error.value.where.count(":") == 2


def test_a_contract_with_any_bytes_changed_is_refused_or_answered() -> None:
    """Nothing but a sentence with a place comes out of a file that somebody has changed."""
    source = random.Random(5)
    text, small = generate("stock", TERMS).encode(), RowsVault(stock=[stock_row()])
    answered = 0
    for _ in range(40):
        changed_text = bytearray(text)
        for _ in range(source.randrange(1, 4)):
            at = source.randrange(len(changed_text))
            changed_text[at : at + source.randrange(3)] = source.choice(
                [b"", b"9" * 30, b"x", b"-", b": ", b"'", b"\x00", b"null", b"\n", b"1e9"]
            )
        try:
            check(read_contract(bytes(changed_text), "c.yaml"), small, NOW)
            answered += 1
        except InputError as error:
            assert error.where.startswith("c.yaml")
    assert answered > 3


def test_a_question_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "SECONDS", 0.2)
    endless = "SELECT count(*) FROM range(100000000000) a WHERE a.range % 7 = 9"
    with pytest.raises(InputError, match="no answer after"):
        breaches(rule(type="sql", query=endless, mustBe=0))


@pytest.mark.parametrize(
    ("sign", "wanted", "good", "bad"),
    [
        ("mustBe", 3, 3, 4), ("mustNotBe", 3, 4, 3), ("mustBeGreaterThan", 3, 4, 3),
        ("mustBeGreaterOrEqualTo", 3, 3, 2), ("mustBeLessThan", 3, 2, 3),
        ("mustBeLessOrEqualTo", 3, 3, 4), ("mustBeBetween", [1, 3], 3, 4),
        ("mustNotBeBetween", [1, 3], 4, 1),
    ],
)  # fmt: skip
def test_comparisons(sign: str, wanted: Any, good: float, bad: float) -> None:
    assert measure.holds({sign: wanted, "metric": "rowCount"}, good)
    assert not measure.holds({sign: wanted}, bad)
    if sign in ("mustBe", "mustNotBe"):
        assert measure.holds({sign: "three"}, 3) == (sign == "mustNotBe")


def test_the_summary() -> None:
    assert checking.summary(()) == "The rows fulfil the contract."
    found = breaches(on("sku", physicalType="BIGINT"), RowsVault([sale(LAST, 1)]))
    assert checking.summary(found).startswith("1 points are not fulfilled: sales_line.sku is of")
