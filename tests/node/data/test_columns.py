from __future__ import annotations

import pytest

from node.data.columns import Fate, Role, is_personal, recognise, required_roles_missing
from protocols.errors import InputError


def roles(header: list[str], **chosen: str) -> dict[str, str | None]:
    return {c.header: c.role for c in recognise(header, chosen, "f.csv")}


def test_columns_are_found_by_name_in_any_case_and_order() -> None:
    found = roles(["\ufeffTOTAL", "receipt #", "  Qty ", "Product Category", "DATE"])
    assert list(found.values()) == [
        Role.TOTAL,
        Role.ORDER,
        Role.QUANTITY,
        Role.CATEGORY,
        Role.DATE,
    ]


def test_units_in_brackets_and_accents_do_not_hide_a_column() -> None:
    assert roles(["Unit price (USD)", "Quantité", "Catégorie"]) == {
        "Unit price (USD)": Role.UNIT_PRICE,
        "Quantité": Role.QUANTITY,
        "Catégorie": Role.CATEGORY,
    }


PERSONAL = (
    "Name|Customer Name|Email|E-mail|Billing Street|Shipping Zip|Phone|Card Brand|PAN Suffix|"
    "Card number|Employee|Staff Name|Cashier|Notes|First Name|Kassierer|IP address|Date of birth|"
    "Billing Name|Ship Address1|Server"
)


@pytest.mark.parametrize("header", PERSONAL.split("|"))
def test_personal_columns_are_dropped(header: str) -> None:
    (column,) = recognise([header], {}, "f.csv")
    assert column.fate is Fate.PERSONAL and column.role is None


@pytest.mark.parametrize("header", ["Product name", "Item", "Device", "Tax", "Weight", "Filename"])
def test_other_columns_are_not_personal(header: str) -> None:
    assert is_personal(header) is False


def test_a_personal_column_may_be_chosen_as_customer() -> None:
    (column,) = recognise(["E-mail"], {"customer": "e-mail"}, "f.csv")
    assert column.fate is Fate.CUSTOMER and column.confidence == 1.0


def test_a_choice_beats_the_known_name() -> None:
    found = roles(["Total", "Net sales"], total="Net sales")
    assert found == {"Total": None, "Net sales": Role.TOTAL}


def test_two_columns_for_one_role_are_a_question() -> None:
    with pytest.raises(InputError, match="could be the date") as caught:
        roles(["Date", "Created at"])
    assert caught.value.where == "f.csv:1:2"
    assert "--column date=" in caught.value.fix


def test_a_name_that_stands_twice_is_refused_even_if_unused() -> None:
    with pytest.raises(InputError, match="stands twice"):
        roles(["Date", "Tax", "tax "])
    assert roles(["Date", "", ""]) == {"Date": Role.DATE, "": None}


def test_choosing_one_column_twice_is_refused() -> None:
    with pytest.raises(InputError, match="chosen both"):
        roles(["Total", "Date"], total="Total", discount="Total")


def test_what_a_sales_line_needs() -> None:
    def missing(*header: str) -> int:
        return len(required_roles_missing(recognise(header, {}, "f.csv")))

    assert missing("Date", "Qty", "Price", "SKU") == 0
    assert missing("Date", "Qty", "Total", "Category") == 0
    assert missing("Date", "Qty", "Total") == 1
    assert missing("Colour") == 4


@pytest.mark.parametrize(
    ("role", "name"),
    [("product", "Customer name"), ("location", "Billing Address"), ("category", "E-Mail"),
     ("channel", "Cashier")],
)  # fmt: skip
def test_a_personal_column_is_no_other_thing_although_the_member_says_so(
    role: str, name: str
) -> None:
    with pytest.raises(InputError, match="about a person"):
        recognise(["Date", "Qty", "Total", name], {role: name}, "x.csv")


def test_a_name_may_be_that_of_a_product_or_a_customer_number_be_said() -> None:
    header = ["Date", "Qty", "Total", "Name", "Phone"]
    found = recognise(header, {"product": "Name", "customer": "Phone"}, "x.csv")
    assert [one.fate for one in found[3:]] == [Fate.KEPT, Fate.CUSTOMER]
