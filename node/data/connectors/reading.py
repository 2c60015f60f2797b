"""A layout laid over one header: how well it fits, and the reading that comes of it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from node.data.batch import Reading
from node.data.columns import Column, Fate, Role, is_personal
from node.data.connectors.layout import Layout, Version, key
from node.data.connectors.passes import LayoutPass
from node.data.connectors.quirks import PLACE
from node.data.connectors.special import special_columns
from node.data.connectors.zones import zone_of
from protocols.errors import InputError

PASSES: Final = "datacoop/passes/2"  # counts up when the same layout reads rows differently
BASE: Final = 0.7  # all required columns are there; known columns add the rest
BY_SHAPE: Final = 0.75  # below what is taken without asking
SHAPE_CHARS: Final = 200  # of a cell that are compared with a shape
SHAPES_HOLD: Final = 0.8
ENOUGH_SHAPES: Final = 4  # columns that have to look right where no name is known
ENOUGH_CELLS: Final = 3
_GOODS: Final = frozenset([Role.PRODUCT, Role.CATEGORY, Role.SKU, Role.ORDER, Role.LOCATION])
Sample = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Fit:
    """How a layout lies over a header.

    ``at``: key -> place from 1; ``by_shape``: names were translated, places were found by what
    stands in the columns.
    """

    confidence: float
    why: str
    at: Mapping[str, int]
    by_shape: bool = False


def fit(layout: Layout, header: Sequence[str], sample: Sample = ()) -> Fit | None:
    """How well a layout fits; None if a column that it needs is missing."""
    at: dict[str, int] = {}
    for place, name in enumerate(header, start=1):
        at.setdefault(key(name), place)
    missing = [one for one in layout.signature.required if not _has(at, one)]
    if missing or any(_has(at, one) for one in layout.signature.absent):
        return _fit_by_shape(layout, header, sample)
    known = _known(layout)
    unknown = [name for name in at if not known(name)]
    if layout.quirk == "stock-by-place":
        places = [name for name in unknown if name]
        at |= {f"{PLACE}{name}": at[name] for name in places}
        unknown = []
    version = _nearest(layout, at)
    confidence = BASE + (1 - BASE) * (1 - len(unknown) / max(1, len(at)))
    why = (
        f"the columns that {layout.words.title} always has are there "
        f"({', '.join(one.split('|')[0] for one in layout.signature.required[:6])})"
    )
    if version is not None:
        why += f"; the header is nearest to version {version.name}"
        wrong = _shapes_broken(version, at, sample)
        if wrong:
            confidence -= 0.3
            why += f"; but what stands in {wrong!r} does not look like it"
    if unknown:
        why += f"; {len(unknown)} of {len(at)} columns are not known and are left alone"
    return Fit(round(confidence, 2), why, at)


def _has(at: Mapping[str, int], one: str) -> bool:
    return any(key(name) in at for name in one.split("|"))


def _known(layout: Layout) -> Callable[[str], bool]:
    names = {key(name) for version in layout.signature.versions for name in version.header}
    names |= layout.used()
    stars = tuple(
        name[:-1] for name in (*names, *map(key, layout.signature.personal)) if name.endswith("*")
    )
    names |= {key(name) for name in layout.signature.personal}
    return lambda name: name in names or (bool(stars) and name.startswith(stars))


def _nearest(layout: Layout, at: Mapping[str, int]) -> Version | None:
    def likeness(version: Version) -> float:
        names = set(map(key, version.header))
        return len(names & at.keys()) / len(names | at.keys())

    return max(layout.signature.versions, key=likeness, default=None)


def _shapes_broken(version: Version, at: Mapping[str, int], sample: Sample) -> str:
    """The first column whose cells have another shape than the version's; "" if none."""
    for name, shape in version.shapes.items():
        place = at.get(key(name), 0)
        cells = [row[place - 1].strip() for row in sample if place and len(row) >= place]
        cells = [text[:SHAPE_CHARS] for text in cells if text]
        if cells and sum(bool(re.fullmatch(shape, t)) for t in cells) < SHAPES_HOLD * len(cells):
            return name
    return ""


def _shown(version: Version, at: Mapping[str, int], sample: Sample) -> bool:
    """Whether enough cells of every shape stand in the sample to go by."""
    places = [at[key(name)] for name in version.shapes]
    return all(
        sum(bool(row[place - 1].strip()) for row in sample if len(row) >= place) >= ENOUGH_CELLS
        for place in places
    )


def _fit_by_shape(layout: Layout, header: Sequence[str], sample: Sample) -> Fit | None:
    """Translated headers: as many columns as a version, and cells of the same shapes in them."""
    for version in layout.signature.versions:
        if len(version.shapes) < ENOUGH_SHAPES or len(version.header) != len(header):
            continue
        at = {key(name): place for place, name in enumerate(version.header, start=1)}
        if _shown(version, at, sample) and not _shapes_broken(version, at, sample):
            why = (
                f"{len(header)} columns with the same shapes as {layout.words.title} (version "
                f"{version.name}), under other names: perhaps a translated export"
            )
            return Fit(BY_SHAPE, why, at, by_shape=True)
    return None


def read(
    layout: Layout,
    header: Sequence[str],
    sample: Sample = (),
    said: Mapping[str, str] | None = None,
) -> Reading:
    """The reading of a file with this header.

    Args:
        layout: a dialect or a mapping file.
        header: the header's cells as written.
        sample: some records, for translated headers and for special-category content.
        said: what the member said: ``date_order``, ``currency``, ``as_of``; all optional.

    Raises:
        InputError: a needed column is missing or stands twice, or special-category data is mapped.
    """
    found = fit(layout, header, sample)
    if found is None:
        raise _missing(layout, header)
    said = {name: text for name, text in (said or {}).items() if text}
    used = _used(layout, found)
    _refuse_twins(header, used)
    columns = _columns(layout, header, sample, found)
    names = {name: header[place - 1] for name, place in used.items()}
    memory = dict(said) | {
        name: header[place - 1].strip() for name, place in used.items() if name.startswith(PLACE)
    }
    text = json.dumps([PASSES, layout.digest, sorted(names), sorted(said.items())])
    return Reading(
        name=layout.words.title,
        table=layout.table,
        columns=columns,
        wanted=tuple(dict.fromkeys(names.values())),
        start=lambda: LayoutPass(layout, names, used, memory),
        derived=_derived(layout),
        confidence=found.confidence,
        why=found.why,
        fixed=_fixed(layout, found, sample),
        notes=layout.words.notes + _special_notes(header, sample, columns),
        digest=hashlib.sha256(text.encode()).hexdigest(),
        replaces=layout.name if layout.replaces and _names_orders(layout, found) else "",
    )


def _names_orders(layout: Layout, found: Fit) -> bool:
    """Whether the header has the column of the order; some old exports lack it."""
    return any(key(name) in found.at for name in layout.columns.get(Role.ORDER, ()))


def _used(layout: Layout, found: Fit) -> dict[str, int]:
    wanted = layout.used()
    stars = tuple(name[:-1] for name in wanted if name.endswith("*"))
    return {
        name: place
        for name, place in found.at.items()
        if name in wanted or name.startswith(PLACE) or (stars and name.startswith(stars))
    }


def _columns(
    layout: Layout, header: Sequence[str], sample: Sample, found: Fit
) -> tuple[Column, ...]:
    roles: dict[int, Role] = {}
    for mapped, several in layout.columns.items():
        present = [found.at[key(name)] for name in several if key(name) in found.at]
        # of other columns the first is what people know the role by; all customers are hashed
        for place in present if mapped is Role.CUSTOMER else present[:1]:
            roles.setdefault(place, mapped)
    used = set(_used(layout, found).values())
    goods = frozenset(place for place, role in roles.items() if role in _GOODS)
    shops = frozenset(place for name, place in found.at.items() if name.startswith(PLACE))
    special = special_columns(header, sample, goods, shops)
    personal = [key(name) for name in layout.signature.personal]
    whole = {name for name in personal if not name.endswith("*")}
    stars = tuple(name[:-1] for name in personal if name.endswith("*"))
    known_at = {place: name for name, place in found.at.items()}
    out = []
    for place, name in enumerate(header, start=1):
        role = roles.get(place)
        mine = known_at.get(place, key(name))
        if place in special:
            if place in used:
                raise InputError(
                    special[place].removesuffix("."), where=f"header:1:{place}",
                    fix="Take this column out of the mapping; nothing else of the file is refused.",
                )  # fmt: skip
            out.append(Column(place, name, Fate.BLOCKED, None, 0.0))
        elif role is Role.CUSTOMER:
            out.append(Column(place, name, Fate.CUSTOMER, role, found.confidence))
        elif role is not None:
            out.append(Column(place, name, Fate.KEPT, role, found.confidence))
        elif place in used:
            out.append(Column(place, name, Fate.USED, None, found.confidence))
        elif mine in whole or (stars and mine.startswith(stars)) or is_personal(mine):
            out.append(Column(place, name, Fate.PERSONAL, None, 0.0))
        else:
            out.append(Column(place, name, Fate.IGNORED, None, 0.0))
    return tuple(out)


def _special_notes(
    header: Sequence[str], sample: Sample, columns: Sequence[Column]
) -> tuple[str, ...]:
    blocked = {column.place for column in columns if column.fate is Fate.BLOCKED}
    found = special_columns(header, sample) if blocked else {}
    return tuple(found[place] for place in sorted(blocked) if place in found)


def _derived(layout: Layout) -> tuple[str, ...]:
    out = list(layout.words.derived)
    out += [f"{role.replace('-', '_')} is {text!r} for every row"
            for role, text in layout.constants.items() if role is not Role.QUANTITY]  # fmt: skip
    if layout.by_product:
        out.append(
            "category from the product without its variant: no column names one. Say what these "
            "names mean in the shared list with: coop-node categories"
        )
    out += [f"rows with {rule.column} are left out: {rule.filled}"
            for rule in layout.rules if rule.filled]  # fmt: skip
    return tuple(out)


def _fixed(layout: Layout, found: Fit, sample: Sample) -> dict[str, str]:
    formats = layout.formats
    out = {
        name: text
        for name, text in (
            ("date_order", formats.date_order),
            ("decimal", formats.decimal),
            ("timezone", formats.timezone),
            ("currency", formats.currency),
        )
        if text
    }
    place = found.at.get("time zone", 0)
    if layout.quirk in ("square-moments", "payments") and place:
        zones = {row[place - 1].strip() for row in sample if len(row) >= place} - {""}
        zone = zone_of(next(iter(zones))) if len(zones) == 1 else None
        if zone is not None:
            out["timezone"] = zone.key
    return out


def _refuse_twins(header: Sequence[str], used: Mapping[str, int]) -> None:
    for place, name in enumerate(header, start=1):
        first = used.get(key(name), place)
        if first != place:
            raise InputError(
                f"the column {name.strip()!r} stands twice, as column {first} and column {place}; "
                "each name is expected once.",
                where=f"header:1:{place}",
                fix="Rename or delete one of the two columns and add the file again.",
            )


def _missing(layout: Layout, header: Sequence[str]) -> InputError:
    at = {key(name) for name in header}
    lacking = [
        one.replace("|", " or ")
        for one in layout.signature.required
        if not any(key(name) in at for name in one.split("|"))
    ]
    shown = ", ".join(repr(name.strip()[:40]) for name in header[:30])
    return InputError(
        f"this is not {layout.words.title}: the header lacks {', '.join(lacking[:8]) or 'its form'}"
        f". It reads: {shown}.",
        where="header:1:1",
        fix="Leave --as out to have the format found, or make a mapping: coop-node mapping new "
        "FILE.csv",
    )
