"""Mapping files: a member's own table of names and rules for an export that no dialect knows.

A mapping file is TOML of the same form as the built-in dialects (``connectors.layout_file``). It
holds column names and rules, no path, no secret and no row, so it can be passed on to a shop with
the same till. ``draft`` proposes one for a file, ``text_of`` writes it, ``read_mapping`` reads it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from node.data.columns import NAMES, ROLES, Fate, Role, is_personal, plain
from node.data.connectors import Dialect
from node.data.connectors.layout import Formats, Returns, Rule, key
from node.data.connectors.layout_file import FORMAT, MAX_BYTES, NEEDED, parse_layout
from node.data.connectors.special import special_columns
from node.data.rawfile import open_regular
from node.data.values import day_readings, has_one_reading
from protocols.errors import InputError

EXAMPLES: Final = 3
EXAMPLE_CHARS: Final = 30
_GOODS: Final = frozenset([Role.PRODUCT, Role.CATEGORY, Role.SKU, Role.ORDER, Role.LOCATION])


@dataclass(frozen=True, slots=True)
class Guess:
    """What one column of a file may be.

    ``examples`` are distinct cells of the first rows, none of a personal or blocked column; ``why``
    is a sentence for a column that is not offered.
    """

    place: int
    header: str
    fate: Fate
    role: Role | None
    examples: tuple[str, ...] = field(default=(), repr=False)
    why: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A mapping that is being made."""

    name: str
    table: str
    columns: Mapping[Role, tuple[str, ...]]
    formats: Formats = field(default_factory=Formats)
    rules: tuple[Rule, ...] = ()
    returns: Returns | None = None
    quirk: str = ""
    by_product: bool = False


def read_mapping(path: Path) -> Dialect:
    """A mapping file, ready to be laid over a header with ``read``.

    Raises:
        InputError: no such file, too long, not TOML, or something in it cannot be; names
            file:line:column.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        data = file.read(MAX_BYTES + 1)
    return Dialect(parse_layout(data, path.name))


def guesses(
    header: Sequence[str],
    sample: Sequence[Sequence[str]],
    table: str,
    chosen: Mapping[Role, tuple[str, ...]] | None = None,
) -> tuple[Guess, ...]:
    """What each column may be, by what the member said and by its name.

    Args:
        header: the header's cells.
        sample: some records (cells in the header's order).
        table: ``sales_line``, ``customer`` or ``stock``.
        chosen: role -> headers, as the member said.

    Raises:
        InputError: a chosen column is not there, holds special-category data, or two columns
            could be the same thing and the member chose neither.
    """
    said = _said(header, chosen or {})
    aliases = {name: role for role, names in NAMES.items() for name in names.split("|")}
    taken = set(said.values())
    roles: dict[int, Role] = dict(said)
    for place, name in enumerate(header, start=1):
        role = aliases.get(plain(name))
        if place not in said and role in ROLES[table] and role is not None and role not in taken:
            roles[place] = role
    goods = frozenset(place for place, role in roles.items() if role in _GOODS)
    special = special_columns(header, sample, goods)
    out = []
    for place, name in enumerate(header, start=1):
        if place in special:
            if place in said:
                raise InputError(
                    special[place].removesuffix("."),
                    where=f"--column {said[place]}={name.strip()}",
                    fix="Leave this column out; the rest of the file can be read.",
                )
            out.append(Guess(place, name, Fate.BLOCKED, None, (), special[place]))
            continue
        role = roles.get(place)
        if role is Role.CUSTOMER:
            out.append(Guess(place, name, Fate.CUSTOMER, role, (), "becomes a keyed hash"))
        elif role is None and is_personal(name):
            out.append(Guess(place, name, Fate.PERSONAL, None, (), "about a person: dropped"))
        else:
            fate = Fate.KEPT if role is not None else Fate.IGNORED
            out.append(Guess(place, name, fate, role, _examples(sample, place)))
    return tuple(out)


def rivals(found: Sequence[Guess]) -> dict[Role, list[Guess]]:
    """Roles that several columns could be; each is a question."""
    by_role: dict[Role, list[Guess]] = {}
    for guess in found:
        if guess.role is not None:
            by_role.setdefault(guess.role, []).append(guess)
    return {role: several for role, several in by_role.items() if len(several) > 1}


def drafted(
    name: str, table: str, found: Sequence[Guess], formats: Formats, quirk: str = ""
) -> Draft:
    """A draft with one column for each role that was found.

    Where a product is named and no category, the product stands for it. ``quirk`` is one of
    ``layout_file.QUIRKS``, for a till's format under other names.

    Raises:
        InputError: two columns could be the same thing, or the table lacks what it needs.
    """
    for role, several in rivals(found).items():
        if role is not Role.CUSTOMER:
            first, second = several[:2]
            raise InputError(
                f"both {first.header.strip()!r} (column {first.place}) and "
                f"{second.header.strip()!r} (column {second.place}) could be the {role}.",
                where=f"header:1:{second.place}",
                fix=f"Say which one: --column {role}={second.header.strip()!r}",
            )
    columns: dict[Role, tuple[str, ...]] = {}
    for guess in found:
        if guess.role is not None:
            columns[guess.role] = (*columns.get(guess.role, ()), guess.header.strip())
    for group in NEEDED[table] if not quirk else ():
        if not any(role in columns for role in group):
            raise InputError(
                f"no column is the {' or the '.join(group)} yet.",
                where="header:1:1",
                fix=f"Say which one it is: --column {group[0]}='Name of the column'",
            )
    by_product = Role.PRODUCT in columns and Role.CATEGORY not in columns
    return Draft(name, table, columns, formats, quirk=quirk, by_product=by_product)


def date_orders(found: Sequence[Guess], sample: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The orders in which the first days can be read; several are a question."""
    days = [guess.place for guess in found if guess.role in (Role.DATE, Role.FIRST_SEEN)]
    cells = [row[place - 1] for place in days for row in sample if len(row) >= place]
    readable = [text for text in cells if day_readings(text)]
    if not readable or all(map(has_one_reading, readable)):
        return ("ymd",)
    return tuple(o for o in ("dmy", "mdy", "ymd") if all(o in day_readings(t) for t in readable))


def text_of(draft: Draft) -> str:
    """The mapping file as TOML; reading it back gives the same mapping."""
    out = [
        "# What the columns of an export are. No rows, paths or secrets in it: it can be shared.",
        f"format = {_quoted(FORMAT)}",
        f"name = {_quoted(draft.name)}",
        f"table = {_quoted(draft.table)}",
    ]
    if draft.quirk:
        out.append(f"quirk = {_quoted(draft.quirk)}")
    if draft.by_product:
        out.append("category_from_product = true")
    out += ["", "[columns]"]
    out += [f"{role} = {_texts(names)}" for role, names in draft.columns.items()]
    formats = draft.formats
    said = {
        "date_order": formats.date_order,
        "decimal": formats.decimal,
        "timezone": formats.timezone,
        "currency": formats.currency,
        "unit": formats.unit if formats.unit != "major" else "",
    }
    if any(said.values()):
        out += ["", "[formats]"]
        out += [f"{name} = {_quoted(text)}" for name, text in said.items() if text]
    for rule in draft.rules:
        out += ["", "[[rule]]", f"column = {_quoted(rule.column)}"]
        if rule.keep:
            out.append(f"keep = [{', '.join(map(_quoted, sorted(rule.keep)))}]")
        if rule.leave_out:
            pairs = (f"{_quoted(v)} = {_quoted(why)}" for v, why in rule.leave_out.items())
            out.append(f"leave_out = {{ {', '.join(pairs)} }}")
        out += [
            f"{n} = {_quoted(t)}" for n, t in (("filled", rule.filled), ("zero", rule.zero)) if t
        ]
        if rule.other != "keep":
            out.append(f"other = {_quoted(rule.other)}")
    if draft.returns is not None:
        values = ", ".join(map(_quoted, sorted(draft.returns.values)))
        out += [
            "",
            "[returns]",
            f"column = {_quoted(draft.returns.column)}",
            f"values = [{values}]",
        ]
    return "\n".join([*out, ""])


def name_from(text: str) -> str:
    """A name for a mapping, from a file's name: lower-case letters, digits and hyphens."""
    clean = re.sub(r"[^a-z0-9]+", "-", plain(text)).strip("-")[:60].strip("-")
    return clean if len(clean) > 1 else "my-till"


def _said(header: Sequence[str], chosen: Mapping[Role, tuple[str, ...]]) -> dict[int, Role]:
    at = {key(name): place for place, name in reversed(list(enumerate(header, start=1)))}
    out: dict[int, Role] = {}
    for role, names in chosen.items():
        for name in names:
            place = at.get(key(name))
            if place is None:
                raise InputError(
                    f"the file has no column {name!r}; it has "
                    f"{', '.join(repr(one.strip()) for one in header[:40])}.",
                    where=f"--column {role}={name}",
                    fix="Write the name as it stands in the first line of the file.",
                )
            if out.get(place, role) is not role:
                raise InputError(
                    f"the column {name!r} was chosen both as {out[place]} and as {role}.",
                    where=f"--column {role}={name}",
                    fix="Choose each column once.",
                )
            out[place] = role
    return out


def _examples(sample: Sequence[Sequence[str]], place: int) -> tuple[str, ...]:
    cells = (row[place - 1].strip() for row in sample if len(row) >= place)
    short = (c if len(c) <= EXAMPLE_CHARS else c[: EXAMPLE_CHARS - 3] + "..." for c in cells if c)
    return tuple(dict.fromkeys(short))[:EXAMPLES]


def _quoted(text: str) -> str:
    """A TOML basic string: JSON's escapes are TOML's."""
    return json.dumps(text, ensure_ascii=False)


def _texts(names: Sequence[str]) -> str:
    return _quoted(names[0]) if len(names) == 1 else f"[{', '.join(map(_quoted, names))}]"
