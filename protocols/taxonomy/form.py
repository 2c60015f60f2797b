"""A taxonomy as a value and as a file (SPEC.md sections 1 and 2). Bytes in, checked value out.

A node is known by its code, dotted from the root: ``food.bakery.bread``. Leaves are what a shop's
categories are mapped to; everything above them is for people who look for one.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from protocols.canonical import Json, json_id, parse_json
from protocols.errors import InputError

KIND: Final = "datacoop-taxonomy"
VERSION: Final = 1
MAX_NODES: Final = 2000
MAX_LEAVES: Final = 400  # a model's vocabulary holds no more (protocols.workloads.demand)
MAX_DEPTH: Final = 6
MAX_ALSO: Final = 400  # other names of one node
MAX_TEXT: Final = 120  # characters of a name
MAX_CODE: Final = 100  # characters; a category of an order is no longer
MAX_AMBIGUOUS: Final = 2000

_CODE = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*(?:\.[a-z0-9]+(?:-[a-z0-9]+)*)*")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_RELEASE = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,19}")
_LOCALE = re.compile(r"[a-z]{2}")
_TOP = ("kind", "v", "name", "version", "title", "source", "locales", "ambiguous", "nodes")


@dataclass(frozen=True, slots=True)
class Node:
    """One category: its code, its name in each locale, and other names that tills give it."""

    code: str
    names: Mapping[str, str]
    also: tuple[str, ...] = ()

    @property
    def depth(self) -> int:
        """1 for a node without a parent."""
        return self.code.count(".") + 1

    @property
    def parent(self) -> str:
        """Code of the node above; empty at the top."""
        return self.code.rpartition(".")[0]

    def said(self, locale: str) -> str:
        """The name in a locale (``de-AT`` is read as ``de``), or else the first there is."""
        return self.names.get(locale[:2].lower()) or next(iter(self.names.values()))


@dataclass(frozen=True)
class Taxonomy:
    """All nodes, parents before children. Made by ``parse`` or ``build``, which check it.

    Args:
        name, version: together what people call it, ``retail:1``.
        source: whose work it is and under which terms it may be passed on.
        ambiguous: names, folded, that may stand at several leaves; they decide nothing alone.
    """

    name: str
    version: str
    title: str
    source: str
    locales: tuple[str, ...]
    nodes: tuple[Node, ...]
    ambiguous: tuple[str, ...] = ()
    _by_code: dict[str, Node] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._by_code.update((node.code, node) for node in self.nodes)

    @property
    def id(self) -> str:
        """``name:version``, as an agreement names it beside the fingerprint."""
        return f"{self.name}:{self.version}"

    @cached_property
    def sha256(self) -> str:
        """The fingerprint: SHA-256 of the canonical form (RFC 8785), 64 hex digits."""
        return json_id(document(self))

    @cached_property
    def leaves(self) -> tuple[str, ...]:
        """Codes without anything below them, sorted: the categories of a model."""
        inner = {node.parent for node in self.nodes}
        return tuple(sorted(node.code for node in self.nodes if node.code not in inner))

    def node(self, code: str) -> Node | None:
        """The node of that code, if there is one."""
        return self._by_code.get(code)

    def leaf(self, code: str, where: str = "") -> Node:
        """The leaf of that code.

        Raises:
            InputError: unknown, or something stands below it.
        """
        node = self._by_code.get(code)
        if node is None:
            raise InputError(
                f"{shown(code)} is not a code of the taxonomy {self.id}.",
                where=where,
                fix="'coop-node categories tree --search WORD' shows the codes.",
            )
        if code not in self.leaf_set:
            raise InputError(
                f"{code} has categories below it; one of those is needed.",
                where=where,
                fix=f"'coop-node categories tree --search {code}' shows them.",
            )
        return node

    @cached_property
    def leaf_set(self) -> frozenset[str]:
        """``leaves`` for looking up."""
        return frozenset(self.leaves)

    def above(self, code: str) -> tuple[Node, ...]:
        """The nodes from the top down to that code, itself included."""
        parts = code.split(".")
        dotted = (".".join(parts[: n + 1]) for n in range(len(parts)))
        return tuple(node for one in dotted if (node := self._by_code.get(one)) is not None)

    def path(self, code: str, locale: str) -> str:
        """``Food > Bakery > Bread``."""
        return " > ".join(node.said(locale) for node in self.above(code))


def fold(text: str) -> str:
    """The form in which names are compared: lower case, one blank, no accents, ss for sharp s."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    return " ".join("".join(c for c in plain if not unicodedata.combining(c)).split())


def shown(text: str) -> str:
    """A name in quotes, safe to print, cut where it is long."""
    clean = "".join(char if char.isprintable() else "?" for char in text)
    return repr(clean if len(clean) <= 60 else clean[:57] + "...")


def parse(text: bytes, where: str) -> Taxonomy:
    """A taxonomy from the bytes of a file of unknown origin.

    Raises:
        InputError: not the form of SPEC.md section 2; names the node.
    """
    return read(parse_json(text, where), where)


def read(found: Json, where: str) -> Taxonomy:
    """The same from a JSON object."""
    if found.get("kind") != KIND or found.get("v") != VERSION or isinstance(found["v"], bool):
        raise InputError(
            f"this is not a taxonomy of this version ({KIND}, v {VERSION}).",
            where=where,
            fix="'coop-coordinator taxonomy import FILE -o taxonomy.json' makes one of a Google or "
            "GPC file.",
        )
    _keys(found, _TOP, _TOP, where)
    rows = _list(found["nodes"], MAX_NODES, f"{where}: nodes")
    return build(
        name=_text(found["name"], f"{where}: name"),
        version=_text(found["version"], f"{where}: version"),
        title=_text(found["title"], f"{where}: title"),
        source=_text(found["source"], f"{where}: source", 400),
        locales=_texts(found["locales"], 10, f"{where}: locales"),
        ambiguous=_texts(found["ambiguous"], MAX_AMBIGUOUS, f"{where}: ambiguous"),
        nodes=(_node(row, f"{where}: nodes.{number}") for number, row in enumerate(rows)),
        where=where,
    )


def build(
    *,
    name: str,
    version: str,
    title: str,
    source: str,
    locales: Iterable[str],
    nodes: Iterable[Node],
    ambiguous: Iterable[str] = (),
    where: str,
) -> Taxonomy:
    """A checked taxonomy.

    Raises:
        InputError: a rule of SPEC.md section 2 does not hold; names the node.
    """
    made = Taxonomy(
        name, version, title, source, tuple(locales), tuple(nodes), tuple(sorted(set(ambiguous)))
    )
    if not _NAME.fullmatch(name) or not _RELEASE.fullmatch(version):
        raise InputError(f"{shown(made.id)} is not a name and version.", where=where)
    if not made.locales or not all(_LOCALE.fullmatch(one) for one in made.locales):
        raise InputError("locales are two letters each, such as en; at least one.", where=where)
    if any(fold(one) != one for one in made.ambiguous):
        raise InputError("ambiguous names are in lower case without accents.", where=where)
    _check_nodes(made, where)
    if not 1 <= len(made.leaves) <= MAX_LEAVES:
        raise InputError(
            f"there are {len(made.leaves)} categories at the end of branches, 1 to {MAX_LEAVES} "
            "can be used.",
            where=where,
            fix="Import fewer levels: --level.",
        )
    return made


def document(taxonomy: Taxonomy) -> dict[str, Any]:
    """The taxonomy as a JSON object; its canonical form has the fingerprint."""
    return {
        "kind": KIND,
        "v": VERSION,
        "name": taxonomy.name,
        "version": taxonomy.version,
        "title": taxonomy.title,
        "source": taxonomy.source,
        "locales": list(taxonomy.locales),
        "ambiguous": list(taxonomy.ambiguous),
        "nodes": [
            {"code": one.code, "names": dict(one.names), "also": list(one.also)}
            for one in taxonomy.nodes
        ],
    }


def file_text(taxonomy: Taxonomy) -> str:
    """The file: one node a line, so that two versions can be compared line by line."""
    parts = document(taxonomy)
    nodes = parts.pop("nodes")
    head = "".join(f" {_json(key)}: {_json(value)},\n" for key, value in parts.items())
    rows = ",\n".join(f"  {_json(row)}" for row in nodes)
    return f'{{\n{head} "nodes": [\n{rows}\n ]\n}}\n'


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _check_nodes(made: Taxonomy, where: str) -> None:
    seen: set[str] = set()
    siblings: set[tuple[str, str, str]] = set()
    if len(made.nodes) > MAX_NODES:
        raise InputError(f"there are more than {MAX_NODES} nodes.", where=where)
    for node in made.nodes:
        spot = f"{where}: {shown(node.code)}"
        if not _CODE.fullmatch(node.code) or len(node.code) > MAX_CODE or node.depth > MAX_DEPTH:
            raise InputError("a code is words-with-hyphens.joined.by.dots.", where=spot)
        if node.code in seen:
            raise InputError("the code stands twice.", where=spot)
        if node.parent and node.parent not in seen:
            raise InputError(f"its parent {node.parent} does not stand before it.", where=spot)
        if set(node.names) != set(made.locales):
            raise InputError(f"a name is needed in {', '.join(made.locales)}.", where=spot)
        for locale, name in node.names.items():
            _name(name, spot)
            if (node.parent, locale, fold(name)) in siblings:
                raise InputError(f"the name {shown(name)} stands twice beside it.", where=spot)
            siblings.add((node.parent, locale, fold(name)))
        seen.add(node.code)
    _check_others(made, where)


def _check_others(made: Taxonomy, where: str) -> None:
    """A name that two leaves have is listed as ambiguous; so it can never decide by itself."""
    owners: dict[str, str] = {}
    for node in made.nodes:
        if len(node.also) > MAX_ALSO:
            raise InputError(
                f"it has more than {MAX_ALSO} other names.", where=f"{where}: {node.code}"
            )
        for other in node.also:
            _name(other, f"{where}: {node.code}")
        for word in {fold(one) for one in node.also} if node.code in made.leaf_set else ():
            owner = owners.setdefault(word, node.code)
            if owner != node.code and word not in made.ambiguous:
                raise InputError(
                    f"the name {shown(word)} stands at {owner} and at {node.code}.",
                    where=where,
                    fix="Keep one, or list it under 'ambiguous'.",
                )


def _name(text: str, where: str) -> None:
    if not text.strip() or len(text) > MAX_TEXT or not text.isprintable():
        raise InputError(
            f"{shown(text)} is not a name: 1 to {MAX_TEXT} visible characters.", where=where
        )


def _node(row: object, where: str) -> Node:
    if not isinstance(row, dict):
        raise InputError("an object is expected.", where=where)
    _keys(row, ("code", "names"), ("code", "names", "also"), where)
    names = row["names"]
    if not isinstance(names, dict) or not names:
        raise InputError("names are an object of locale and name.", where=where)
    return Node(
        _text(row["code"], f"{where}.code"),
        {_text(key, where): _text(value, f"{where}.names") for key, value in names.items()},
        _texts(row.get("also", []), MAX_ALSO, f"{where}.also"),
    )


def _keys(found: Json, needed: tuple[str, ...], known: tuple[str, ...], where: str) -> None:
    missing, extra = [one for one in needed if one not in found], sorted(set(found) - set(known))
    if missing or extra:
        what = f"the key {missing[0]!r} is missing" if missing else f"{shown(extra[0])} is unknown"
        raise InputError(f"{what}.", where=where)


def _list(value: object, most: int, where: str) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise InputError(f"a list of at most {most} entries is expected.", where=where)
    return value


def _text(value: object, where: str, most: int = MAX_TEXT) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > most:
        raise InputError(f"a text of 1 to {most} characters is expected.", where=where)
    if not value.isprintable():
        raise InputError("there are characters in it that cannot be seen.", where=where)
    return value


def _texts(value: object, most: int, where: str) -> tuple[str, ...]:
    rows: Iterator[object] = iter(_list(value, most, where))
    return tuple(_text(one, where) for one in rows)
