"""``categories.toml``: what a shop's own category names mean in the shared list.

The vault keeps what the till printed; the mapping is applied where rows are read, so it can be
changed without importing anything again. Only what a person confirmed, or accepted as suggested,
is in the file; a name that is not in it stays the shop's own.

    taxonomy = "retail:1"
    sha256 = "d655..."

    [confirmed]
    "Brot & Brötchen" = "food.bakery.mixed"

    [accepted]
    "Backw. 7%" = "food.bakery.mixed"
"""

from __future__ import annotations

import functools
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import protocols
from node import files
from protocols.errors import InputError
from protocols.taxonomy.form import Taxonomy, file_text, parse, shown
from protocols.taxonomy.suggest import Suggester, Suggestion, suggester

if TYPE_CHECKING:
    from node.data.vault import Vault

FILE: Final = "categories.toml"
REPLACED: Final = (
    "taxonomy.json"  # a list that the consortium brought; without it the installed one
)
INSTALLED: Final = "taxonomy/retail.json"
MAX_NAMES: Final = 10_000
MAX_NAME: Final = 1000  # characters
MAX_FILE_BYTES: Final = 4 * 1024 * 1024
MAX_PRODUCTS: Final = 20  # of each name, that a suggestion looks at
SURE: Final = 0.9  # suggestions of this score were right in all measured cases (SPEC.md section 4)
UNSORTED: Final = "other.unsorted."
MAX_STEPS: Final = 8  # of a dotted key; tomllib takes memory by the square of them
_LONG: Final = ('"""', "'''")
_TEXT = re.compile("|".join([*_LONG, r'"(?:\\.|[^"\\\n])*"', r"'[^'\n]*'", r"#[^\n]*"]))
_DOTTED = re.compile(rf"(?:\.[ \t]*[\w-]*[ \t]*){{{MAX_STEPS}}}")
HEAD: Final = (
    "# What this shop's categories mean in the shared list. One line each, as the till prints it:",
    '#   "Brot & Brötchen" = "food.bakery.mixed"',
    "# 'coop-node categories tree --search WORD' shows the codes. The file can be given to others.",
)


class By(StrEnum):
    """How an entry came about."""

    CONFIRMED = "confirmed"  # a person chose the code
    ACCEPTED = "accepted"  # a person accepted suggestions without choosing each


@dataclass(frozen=True, slots=True)
class Entry:
    """What one name means."""

    code: str
    by: By


@dataclass(frozen=True, slots=True)
class Categories:
    """A shop's names in one list. ``entries``: name as the till prints it -> what it means."""

    taxonomy: Taxonomy
    entries: Mapping[str, Entry]

    @property
    def applied(self) -> dict[str, str]:
        """Name -> code, as a vault's view wants it."""
        return {name: entry.code for name, entry in self.entries.items()}

    def meaning(self, name: str) -> str:
        """The code of a name; a name that is itself a code means that; empty if nobody said."""
        entry = self.entries.get(name)
        if entry is not None:
            return entry.code
        return name if name in self.taxonomy.leaf_set else ""

    def with_entry(self, name: str, code: str, by: By) -> Categories:
        """One more entry, or another for that name.

        Raises:
            InputError: the name is empty or too long, the code is no category of the list.
        """
        _check_name(name, "NAME")
        self.taxonomy.leaf(code, "CODE")
        return replace(self, entries={**self.entries, name: Entry(code, by)})

    def without(self, name: str) -> Categories:
        """One entry fewer; InputError if there is none of that name."""
        if name not in self.entries:
            raise InputError(f"{shown(name)} is not mapped.", where="NAME")
        return replace(self, entries={k: v for k, v in self.entries.items() if k != name})


@dataclass(frozen=True, slots=True)
class Printed:
    """One name in the vault: how many lines, and products under it, most frequent first."""

    name: str
    lines: int
    products: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far a mapping reaches: lines, and series (categories of a forecast) before and after.

    ``unsorted`` lines are in the list's place for what nobody sorted. It tells other members
    nothing, so they are not among the ``mapped`` ones: else a shop could meet clause 9 with it.
    """

    lines: int
    mapped: int
    names: int
    series: int
    unsorted: int = 0

    @property
    def percent(self) -> float:
        """Share of lines with a category of the list, 0 to 100; 0 for an empty vault."""
        return 100.0 * self.mapped / self.lines if self.lines else 0.0


def installed() -> Taxonomy:
    """The list that comes with the software."""
    return _parsed((Path(protocols.__file__).resolve().parent / INSTALLED).read_bytes(), INSTALLED)


@functools.lru_cache(maxsize=4)
def _parsed(text: bytes, where: str) -> Taxonomy:
    return parse(text, where)


def in_use(folder: Path) -> Taxonomy:
    """The list that this node uses; InputError if a brought one is damaged."""
    brought = folder / REPLACED
    if not brought.is_file():
        return installed()
    return _parsed(files.read(brought, MAX_FILE_BYTES), str(brought))


@functools.lru_cache(maxsize=4)
def _suggester(sha256: str, folder: Path) -> Suggester:
    return suggester(in_use(folder))


def desk(folder: Path) -> Suggester:
    """Suggestions over the list in use, made ready once."""
    return _suggester(in_use(folder).sha256, folder)


def load(folder: Path) -> Categories:
    """The mapping of a node's folder; no file means nothing is mapped.

    Raises:
        InputError: the file is not of this form or of another list; names the line.
    """
    taxonomy, path = in_use(folder), folder / FILE
    if not path.is_file():
        return Categories(taxonomy, MappingProxyType({}))
    return read(files.read(path, MAX_FILE_BYTES), taxonomy, str(path))


def applied(folder: Path) -> dict[str, str]:
    """Name -> code, for a vault; errors as ``load``. A node without a mapping reads no list."""
    return load(folder).applied if (folder / FILE).is_file() else {}


def save(folder: Path, categories: Categories) -> None:
    """Write the mapping; whole or not at all."""
    files.write(folder / FILE, text(categories).encode())


def use(folder: Path, taxonomy: Taxonomy) -> Categories:
    """Take another list into use. Entries whose code it has stay, the others go.

    The mapping is written last: until then it names the list before, and ``load`` says so.
    """
    kept = carried(load_any(folder), taxonomy)
    brought = folder / REPLACED
    if taxonomy.sha256 == installed().sha256:
        brought.unlink(missing_ok=True)
        files.sync_folder(folder)
    else:
        files.write(brought, file_text(taxonomy).encode())
    save(folder, kept)
    return kept


def load_any(folder: Path) -> Mapping[str, Entry]:
    """The entries, whichever list they are of: for going over to another."""
    path = folder / FILE
    if not path.is_file():
        return {}
    return _entries(_toml(files.read(path, MAX_FILE_BYTES), str(path)), None, str(path), {})


def carried(entries: Mapping[str, Entry], taxonomy: Taxonomy) -> Categories:
    """What of a mapping still means something in another list."""
    return Categories(
        taxonomy, {name: one for name, one in entries.items() if one.code in taxonomy.leaf_set}
    )


def read(raw: bytes, taxonomy: Taxonomy, where: str) -> Categories:
    """A mapping from the bytes of a file of unknown origin.

    Raises:
        InputError: not TOML, an unknown key, another list, an unknown code; names the line.
    """
    values = _toml(raw, where)
    lines = _lines(raw.decode("utf-8-sig"))
    for key in values:
        if key not in ("taxonomy", "sha256", *By):
            raise InputError(
                f"{shown(key)} is not known here.",
                where=f"{where}:{lines.get(('', key), 1)}",
                fix="Keys are taxonomy, sha256 and the tables [confirmed] and [accepted].",
            )
    if (values.get("taxonomy"), values.get("sha256")) != (taxonomy.id, taxonomy.sha256):
        raise InputError(
            f"the mapping is for the list {shown(str(values.get('taxonomy')))} "
            f"({str(values.get('sha256'))[:16]!r}), in use is {taxonomy.id} "
            f"({taxonomy.sha256[:16]}).",
            where=f"{where}:{lines.get(('', 'sha256'), 1)}",
            fix="'coop-node categories use FILE' changes the list; entries that fit stay.",
        )
    return Categories(taxonomy, _entries(values, taxonomy, where, lines))


def text(categories: Categories) -> str:
    """The file, sorted, so that two of them can be compared."""
    out = [
        *HEAD,
        f"taxonomy = {_quoted(categories.taxonomy.id)}",
        f"sha256 = {_quoted(categories.taxonomy.sha256)}",
    ]
    for by in By:
        rows = sorted((name, one.code) for name, one in categories.entries.items() if one.by == by)
        if rows:
            out += ["", f"[{by}]", *(f"{_quoted(name)} = {_quoted(code)}" for name, code in rows)]
    return "\n".join(out) + "\n"


def printed(vault: Vault) -> tuple[Printed, ...]:
    """Every category that the till printed, most lines first. For the owner's eyes only."""
    counts = vault.query(
        "SELECT category, count(*) FROM sales_line WHERE category IS NOT NULL AND category <> '' "
        "GROUP BY 1 ORDER BY 2 DESC, 1"
    )
    products: dict[str, list[str]] = {}
    for name, product in vault.query(
        "SELECT category, product FROM sales_line WHERE category IS NOT NULL "
        "AND product IS NOT NULL AND product <> '' GROUP BY 1, 2 "
        "QUALIFY row_number() OVER (PARTITION BY category ORDER BY count(*) DESC, product) "
        "<= $1 ORDER BY category, count(*) DESC, product",
        [MAX_PRODUCTS],
    ):
        products.setdefault(name, []).append(product)
    return tuple(Printed(name, lines, tuple(products.get(name, ()))) for name, lines in counts)


def coverage(vault: Vault, categories: Categories) -> Coverage:
    """How many lines have a category of the list; lines without any category count as not.

    Money given back for a whole receipt names no goods and is not looked at.
    """
    rows = vault.query(
        "SELECT category, count(*) FROM sales_line "
        "WHERE NOT (is_return AND qty = 0 AND category IS NULL) GROUP BY 1"
    )
    names = {name: lines for name, lines in rows if name}
    meant = {name: categories.meaning(name) for name in names}
    unsorted = sum(names[name] for name, code in meant.items() if code.startswith(UNSORTED))
    return Coverage(
        lines=sum(lines for _, lines in rows),
        mapped=sum(names[name] for name, code in meant.items() if code) - unsorted,
        names=len(names),
        series=len({code or name for name, code in meant.items()}),
        unsorted=unsorted,
    )


def suggestions(
    folder: Path, names: Iterable[Printed], categories: Categories, most: int = 3
) -> Iterator[tuple[Printed, tuple[Suggestion, ...]]]:
    """For each name that nobody mapped, what it may mean, best first."""
    asked = desk(folder)
    for one in names:
        if not categories.meaning(one.name):
            yield one, asked.suggest(one.name, one.products, most)


def _entries(
    values: Mapping[str, Any],
    taxonomy: Taxonomy | None,
    where: str,
    lines: Mapping[tuple[str, str], int],
) -> dict[str, Entry]:
    out: dict[str, Entry] = {}
    for by in By:
        table = values.get(by, {})
        if not isinstance(table, dict) or len(table) > MAX_NAMES:
            raise InputError(
                f"[{by}] is a table of at most {MAX_NAMES} names.",
                where=f"{where}:{lines.get(('', by), 1)}",
            )
        for name, code in table.items():
            spot = f"{where}:{lines.get((by, name), lines.get(('', by), 1))}"
            _check_name(name, spot)
            if not isinstance(code, str):
                raise InputError(f"the code of {shown(name)} is not text.", where=spot)
            if name in out:
                raise InputError(f"{shown(name)} stands in both tables; keep one.", where=spot)
            if taxonomy is not None:
                taxonomy.leaf(code, spot)
            out[name] = Entry(code, by)
    return out


def _check_name(name: str, where: str) -> None:
    if not name.strip() or len(name) > MAX_NAME:
        raise InputError(f"a category has 1 to {MAX_NAME} characters.", where=where)


def _toml(raw: bytes, where: str) -> dict[str, Any]:
    try:
        content = raw.decode("utf-8-sig")
        _check_flat(content, where)
        return tomllib.loads(content)
    except UnicodeDecodeError as error:
        raise InputError(
            f"byte {error.start} is not UTF-8.", where=where, fix="Save the file as UTF-8."
        ) from error
    except ValueError as error:  # of tomllib, or of int() for thousands of digits
        said = str(error) if isinstance(error, tomllib.TOMLDecodeError) else "a value is too long"
        raise InputError(
            f"this is not TOML: {said}.",
            where=where,
            fix='One name a line, in quotes: "Brot 7%" = "food.bakery.bread".',
        ) from error
    except RecursionError as error:  # nested a thousand times over
        raise InputError("it is nested too deep.", where=where) from error


def _check_flat(content: str, where: str) -> None:
    """Refuse what no mapping needs and a hostile one could fill the memory with."""
    for found in _TEXT.finditer(content):
        if found[0] in _LONG:
            line = content.count("\n", 0, found.start()) + 1
            raise InputError(
                "a text stands in three quotes; one each side is expected.", where=f"{where}:{line}"
            )
    bare = _TEXT.sub("", content)  # a text never goes over the end of a line, so lines stay
    deep = _DOTTED.search(bare)
    if deep is not None:
        line = bare.count("\n", 0, deep.start()) + 1
        raise InputError("a key has too many dots.", where=f"{where}:{line}")


def _lines(content: str) -> dict[tuple[str, str], int]:
    """(table, key) -> line, for keys that stand on a line of their own."""
    found: dict[tuple[str, str], int] = {}
    table = ""
    for number, line in enumerate(content.splitlines(), 1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        if bare.startswith("[") and bare.endswith("]"):
            table = bare.strip("[]").strip()
            found[("", table)] = number
            continue
        try:
            alone = tomllib.loads(bare)
        except ValueError:
            continue
        for key in alone:
            found.setdefault((table, key), number)
    return found


def _quoted(value: str) -> str:
    """A TOML string: JSON's, and DEL escaped, which TOML asks for beside."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
