"""Lists that a consortium brings: Google's text with ids, GS1 GPC as XML and as a table.

The categories here are invented; only the forms are those of the publishers.
"""

from __future__ import annotations

import pytest

from protocols.errors import InputError
from protocols.taxonomy import brought, form
from protocols.taxonomy.brought import Wish, read_brought

GOOGLE = """# Google_Product_Taxonomy_Version: 2030-01-01
1 - Things & More
12 - Things & More > Round Things
123 - Things & More > Round Things > Balls
124 - Things & More > Round Things > Rings
13 - Things & More > Flat Things
2 - Stuff
21 - Stuff > Rings
"""
GPC = """<?xml version="1.0" encoding="UTF-8"?>
<schema languageCode="EN" dateUtc="1/1/2030">
 <segment code="50000000" text="Eatables &amp; more" definition="x">
  <family code="50100000" text="Crunchy">
   <class code="50101000" text="Very crunchy">
    <brick code="10000001" text="Crackers">
     <attType code="20000001" text="Salted"><attValue code="30000001" text="YES"/></attType>
    </brick>
    <brick code="10000002" text="Rusk"/>
   </class>
  </family>
  <family code="50200000" text="Soft"/>
 </segment>
</schema>
"""
TABLE = """SegmentCode;SegmentTitle;SegmentDefinition;FamilyCode;FamilyTitle;ClassCode;ClassTitle;\
BrickCode;BrickTitle;AttributeCode
50000000;Eatables;x;50100000;Crunchy;50101000;Very crunchy;10000001;Crackers;20000001
50000000;Eatables;x;50100000;Crunchy;50101000;Very crunchy;10000001;Crackers;20000002
50000000;Eatables;x;50100000;Crunchy;50101000;Very crunchy;10000002;Rusk;20000001
50000000;Eatables;x;50200000;Soft;;;;;
"""


def wish(level: int = 2, only: frozenset[str] = frozenset()) -> Wish:
    return Wish("brought", "2030", level, "en", only)


def made(text: str, level: int = 2) -> form.Taxonomy:
    return read_brought(text.encode(), wish(level), "file")


def test_google_by_number_down_to_the_level() -> None:
    found = made(GOOGLE)
    assert found.leaves == ("1.12", "1.13", "2.21")
    assert found.path("1.12", "en") == "Things & More > Round Things"
    round_things = found.node("1.12")
    assert round_things is not None and round_things.also == ("Balls", "Rings")


def test_what_two_categories_have_below_them_says_nothing() -> None:
    text = GOOGLE.replace("21 - Stuff > Rings", "21 - Stuff > Box\n22 - Stuff > Box > Rings")
    round_things = made(text).node("1.12")
    assert round_things is not None and round_things.also == ("Balls",)


def test_google_keeps_some_of_the_top() -> None:
    found = read_brought(GOOGLE.encode(), wish(only=frozenset({"2"})), "file")
    assert found.leaves == ("2.21",)
    with pytest.raises(InputError, match="no number at the top"):
        read_brought(GOOGLE.encode(), wish(only=frozenset({"9"})), "file")


def test_gpc_xml_and_its_table_are_the_same_list() -> None:
    from_xml = made(GPC.replace(" &amp; more", ""), 3)
    from_table = made(TABLE, 3)
    assert from_xml == from_table
    assert from_xml.leaves == ("50000000.50100000.50101000", "50000000.50200000")
    inner = from_xml.node("50000000.50100000.50101000")
    assert inner is not None and inner.also == ("Crackers", "Rusk")


@pytest.mark.parametrize("mark", [",", "\t"])
def test_gpc_table_with_other_marks_and_a_byte_order_mark(mark: str) -> None:
    text = "\ufeff" + TABLE.replace(";", mark)
    assert made(text, 3) == made(TABLE, 3)


def test_what_was_read_is_a_taxonomy_like_any_other() -> None:
    found = made(GPC, 4)
    again = form.parse(form.file_text(found).encode(), "again")
    assert again == found and again.sha256 == found.sha256


BOMB = """<!DOCTYPE schema [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<schema><segment code="50000000" text="&b;"/></schema>"""
OUTSIDE = '<!DOCTYPE schema SYSTEM "file:///etc/passwd"><schema/>'
BAD = {
    "empty": ("", "no column"),
    "google-without-ids": ("# Google_Product_Taxonomy_Version: 1\nThings > Balls\n", "number"),
    "google-orphan": ("# x\n1 - A > B\n", "parent does not stand"),
    "google-twice": ("# x\n1 - A\n2 - A\n", "stands twice"),
    "google-same-number": ("# x\n1 - A\n1 - B\n", "stands twice"),
    "google-comment-only": ("# x\n", "no category"),
    "xml-entity": (BOMB, "document type or an entity"),
    "xml-outside": (OUTSIDE, "document type or an entity"),
    "xml-broken": ("<schema><segment", "not XML"),
    "xml-undefined-entity": ('<schema><segment code="50000000" text="&x;"/></schema>', "not XML"),
    "xml-no-code": ('<schema><segment text="A"/></schema>', "no code of 8 digits"),
    "xml-order": ('<schema><brick code="50000000" text="A"/></schema>', "where none belongs"),
    "xml-deep": ("<a>" * 40 + "</a>" * 40, "nested too deep"),
    "xml-nothing": ("<schema/>", "no category"),
    "table-column": ("SegmentCode;SegmentTitle\n50000000;A\n", "family's code"),
    "table-short-line": (TABLE.splitlines()[0] + "\n50000000;A\n", "2 cells"),
    "table-code": (TABLE.replace("10000002", "rusk"), "no code of 8 digits"),
    "table-gap": (TABLE.replace("50101000;Very crunchy;10000002", ";;10000002"), "class has no"),
    "table-quote": (TABLE.replace("Rusk", '"Rusk"x'), "not a table"),
}


@pytest.mark.parametrize("name", BAD)
def test_refused_with_its_place(name: str) -> None:
    text, words = BAD[name]
    with pytest.raises(InputError, match=words) as caught:
        made(text, 4)
    assert caught.value.where.startswith("file")


def test_a_line_is_named() -> None:
    with pytest.raises(InputError) as caught:
        made(GOOGLE + "nonsense\n")
    assert caught.value.where == "file:9"


def test_too_much_is_not_read() -> None:
    with pytest.raises(InputError, match="bytes"):
        read_brought(b"#" * (brought.MAX_BYTES + 1), wish(), "file")
    with pytest.raises(InputError, match="too long"):
        made("# x\n1 - " + "A" * 20_000)


def test_too_many_categories_need_a_shorter_level() -> None:
    text = "# x\n1 - A\n" + "".join(f"{n} - A > B{n}\n" for n in range(2, 450))
    with pytest.raises(InputError, match="1 to 400") as caught:
        made(text)
    assert "--level" in caught.value.fix
    assert made(text, 1).leaves == ("1",)


def test_xml_in_an_encoding_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InputError, match="encoding"):
        read_brought(b'<?xml version="1.0" encoding="utf-7"?><a/>', wish(2), "gpc.xml")
