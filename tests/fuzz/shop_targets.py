"""What is fuzzed of a shop's own data: exports, mappings, categories and contracts.

As in ``fuzz_targets``: a target ends quietly or raises one of the families of ``protocols.errors``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from fuzz_form import NOW, ROOT, Target, kept_file

from protocols import canonical
from protocols.errors import CoopError, InputError

IMPORTS = ROOT / "tests" / "vectors" / "imports"
DELIMITERS = ",;\t|"


# ------------------------------------------------------------------------- exports


def _export(data: bytes) -> None:
    """As ``data add --dry-run`` reads it: sniffed, recognised, every cell converted."""
    from node.data import intake

    path = kept_file(data, "export.csv")
    options = intake.Options(timezone="Europe/Berlin", currency="EUR")
    intake.preview(path, options)


def _export_seeds() -> Sequence[bytes]:
    found = {path.parent: path for path in sorted((IMPORTS / "dialects").glob("*/*.csv"))}
    plain = [IMPORTS / f"{name}.csv" for name in ("good-till", "good-quoted", "good-kasse-de")]
    return [path.read_bytes() for path in [*found.values(), *plain]]


def _orders_seeds() -> Sequence[bytes]:
    text = (IMPORTS / "dialects" / "woo-rest-orders" / "v3.orders.json").read_text()
    return [json.dumps(json.loads(text)[:2]).encode()]


def _detect(data: bytes) -> None:
    """Any header and any cells: JSON ``[[header], [cell, ...], ...]``."""
    from node.data import connectors
    from node.data.mapping import guesses

    table = canonical.parse_json(b'{"t":' + data + b"}", "fuzz")["t"]
    good = isinstance(table, list) and table and all(isinstance(row, list) for row in table)
    if not good or not all(isinstance(cell, str) for row in table for cell in row):
        raise InputError("no table")
    header, sample = table[0], [row for row in table[1:] if len(row) == len(table[0])]
    with suppress(CoopError):
        connectors.choose(connectors.detect(header, sample))
    for name in ("sales_line", "customer", "stock"):
        with suppress(CoopError):
            guesses(header, sample, name)


def _detect_seeds() -> Sequence[bytes]:
    rows = (list(csv.reader(io.StringIO(one.decode()))) for one in _golden())
    return [json.dumps(one[:4]).encode() for one in rows]


def _golden() -> Sequence[bytes]:
    return [path.read_bytes() for path in sorted((IMPORTS / "dialects").glob("*/*.csv"))]


def _two_readers(data: bytes) -> None:
    """The quick reader and the exact one see the same cells; the first byte is the delimiter."""
    from node.data.source import Source

    if not data:
        return
    path = kept_file(data[1:], "two.csv")
    with Source(path, "utf-8", DELIMITERS[data[0] % 4]) as source:
        exact = _said(lambda: _slow(source))
        quick = _said(lambda: _quick(source))
    assert exact == quick


def _said(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except CoopError as error:
        return type(error).__name__, error.code


def _slow(source: Any) -> Any:
    chunks = list(source.chunks())
    if not chunks:
        return []
    cells = [one for chunk in chunks[1:] for one in zip(chunk.lines, chunk.rows, strict=True)]
    return cells, [(bad.line, bad.place) for chunk in chunks[1:] for bad in chunk.broken]


def _quick(source: Any) -> Any:
    head = next(source.chunks(), None)
    if head is None:
        return []
    width = len(head.rows[0])
    cells, broken = [], []
    for batch in source.batches(list(range(width))):
        # columns are found by name, and a header may have a name twice: one at a time then
        columns = [column.to_pylist() for column in batch.columns.values()]
        if len(columns) != width:
            return _slow(source)
        cells += [
            (line, list(row)) for line, *row in zip(batch.lines.tolist(), *columns, strict=True)
        ]
        broken += [(bad.line, bad.place) for bad in batch.broken]
    return cells, broken


def _two_readers_seeds() -> Sequence[bytes]:
    known = [IMPORTS / f"fix-{name}.csv" for name in ("quoted-newlines", "bom", "mac-line-ends")]
    own = b'a,b\r\n"x ""y""\r\nz",1\r\n\r\n , \n3,"4,5"\n"6\n7",8'
    return [b"\0" + one for one in [own, *(path.read_bytes() for path in known)]]


def _workbook(data: bytes) -> None:
    """The guard before the child, and what the child does, in this process."""
    from node.data import sheet_child, workbook
    from node.data.rawfile import RawFile

    raw = RawFile(kept_file(data, "book.xlsx"))
    try:
        workbook.require_harmless(raw, "book.xlsx")
    finally:
        raw.close()
    try:
        for document in sheet_child.documents(data, ""):
            json.dumps(document)
    except (sheet_child.Unusable, *sheet_child.DAMAGED) as error:  # the child says so itself
        raise InputError(str(error)) from error


def _workbook_seeds() -> Sequence[bytes]:
    found = [*sorted(IMPORTS.glob("fix-*.xlsx")), IMPORTS / "bad-two-sheets.xlsx"]
    return [path.read_bytes() for path in found]


def _mapping(data: bytes) -> None:
    """A mapping file that somebody shared, laid over the header that it names itself."""
    from node.data.connectors import Dialect
    from node.data.connectors.layout_file import parse_layout

    layout = parse_layout(data, "till.toml")
    header = list(dict.fromkeys(name for names in layout.columns.values() for name in names))
    with suppress(CoopError):  # its own header may lack what tells the format
        Dialect(layout).read(header, [["1"] * len(header)])


def _mapping_seeds() -> Sequence[bytes]:
    from node.data import connectors

    return [connectors.text_of(name).encode() for name in connectors.names()]


# ------------------------------------------------------------------------- categories


def _taxonomy(data: bytes) -> None:
    from protocols.taxonomy import form

    made = form.parse(data, "fuzz")
    again = form.parse(form.file_text(made).encode(), "fuzz")
    assert again.sha256 == made.sha256


def _brought(data: bytes) -> None:
    from protocols.taxonomy import form
    from protocols.taxonomy.brought import Wish, read_brought

    for level in (1, 3):
        with suppress(CoopError):
            made = read_brought(data, Wish("brought", "2030", level, "en"), "fuzz")
            assert form.parse(form.file_text(made).encode(), "fuzz").sha256 == made.sha256
    read_brought(data, Wish("brought", "2030", 2, "en"), "fuzz")


def _brought_seeds() -> Sequence[bytes]:
    google = b"# Google_Product_Taxonomy_Version: 2030-01-01\n1 - A & B\n12 - A & B > C\n2 - D\n"
    xml = (
        b'<?xml version="1.0" encoding="UTF-8"?><schema languageCode="EN">'
        b'<segment code="50000000" text="Food &amp; more"><family code="50100000" text="Dry">'
        b'<class code="50101000" text="Crisp"><brick code="10000001" text="Rusk"/></class>'
        b"</family></segment></schema>"
    )
    table = (
        b"SegmentCode;SegmentTitle;FamilyCode;FamilyTitle;ClassCode;ClassTitle;BrickCode;BrickTitle"
        b"\n50000000;Food;50100000;Dry;50101000;Crisp;10000001;Rusk\n"
    )
    return [google, xml, table]


def _taxonomy_seeds() -> Sequence[bytes]:
    from protocols.taxonomy import form
    from protocols.taxonomy.brought import Wish, read_brought

    wish = Wish("brought", "2030", 2, "en")
    return [form.file_text(read_brought(one, wish, "x")).encode() for one in _brought_seeds()]


def _categories(data: bytes) -> None:
    from node.data import categories

    made = categories.read(data, categories.installed(), "categories.toml")
    again = categories.read(categories.text(made).encode(), categories.installed(), "again")
    assert again.entries == made.entries


def _categories_seeds() -> Sequence[bytes]:
    from node.data import categories

    made = categories.Categories(categories.installed(), {})
    made = made.with_entry('Brot "7%"', "food.bakery.biscuit", categories.By.CONFIRMED)
    return [categories.text(made).encode()]


# ------------------------------------------------------------------------- contracts


@cache
def _vault() -> Any:
    from node.data.vault import Vault
    from vault_rows import KEY as VAULT_KEY
    from vault_rows import lines, take

    vault = Vault(kept_file(b"", "x").parent / "vault", VAULT_KEY)
    take(vault, lines(0, 20))
    return vault


def _contract(data: bytes) -> None:
    from node.data.contracts.check import check
    from node.data.contracts.read import read_contract

    check(read_contract(data, "fuzz.yaml"), _vault(), NOW)


def _contract_seeds() -> Sequence[bytes]:
    from node.data.contracts.make import document, generate

    text = [generate(name).encode() for name in ("sales_line", "customer", "stock")]
    return [*text, json.dumps(document("sales_line")).encode()]


EXPORTS: Mapping[str, Target] = {
    "export": Target(_export, _export_seeds, tries=12),
    "orders json": Target(_export, _orders_seeds, json=True, tries=20),
    "detect": Target(_detect, _detect_seeds, json=True),
    "two readers": Target(_two_readers, _two_readers_seeds),
    "workbook": Target(_workbook, _workbook_seeds),
    "mapping": Target(_mapping, _mapping_seeds),
    "taxonomy": Target(_taxonomy, _taxonomy_seeds, json=True),
    "brought": Target(_brought, _brought_seeds),
    "categories": Target(_categories, _categories_seeds),
    "contract": Target(_contract, _contract_seeds, tries=5),
    "contract json": Target(_contract, lambda: _contract_seeds()[-1:], json=True, tries=5),
}
