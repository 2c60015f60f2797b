"""Two versions of an agreement, clause by clause: each figure that changed, and what that does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from protocols.agreement.base import Document, same_json, utc_text
from protocols.agreement.effects import effects
from protocols.agreement.effects_people import quorum
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.terms import Clause, Fraction, Hours, Members, SharedCategories
from protocols.agreement.words import Figure, figure
from protocols.canonical import json_bytes

NAMED_BY = ("id", "table", "purpose", "duty", "locale", "unit", "name")
"""Keys by which the entries of a list are told apart, so that an order of entries says nothing."""
ALL_DAY = 24


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure: its path in the block, both values in words, and which way it went.

    ``old`` or ``new`` is empty where an entry of a list came or went. ``direction`` is
    ``tighter``, ``looser``, the figure's own words, or empty.
    """

    path: str
    old: str
    new: str
    direction: str
    says: str

    def __str__(self) -> str:
        way = f" ({self.direction})" if self.direction else ""
        if self.old and self.new:
            return f"{self.path}: {self.old} -> {self.new}{way}"
        if self.new:
            return f"{self.path}: now with {self.new}{way}"
        return f"{self.path}: without {self.old}{way}"


@dataclass(frozen=True, slots=True)
class Change:
    """One clause that differs: ``added``, ``removed`` or ``changed``, and what that does.

    ``was`` and ``now`` are the sentences of the machine block that hold in one version only.
    """

    clause: str
    title: str
    kind: str
    text_changed: bool
    differences: tuple[Difference, ...]
    was: tuple[str, ...]
    now: tuple[str, ...]

    @property
    def effects(self) -> tuple[str, ...]:
        """The figures in lines; for a clause that came or went, its sentences."""
        if self.kind == "added":
            return self.now
        if self.kind == "removed":
            return tuple(f"no longer: {one}" for one in self.was)
        return tuple(map(str, self.differences))


def compare(old: ParsedAgreement, new: ParsedAgreement) -> tuple[Change, ...]:
    """Every clause that differs, in order, with the machine effect in words."""
    before = {clause.id: clause for clause in old.agreement.clauses}
    after = {clause.id: clause for clause in new.agreement.clauses}
    pairs = [(before.get(name), after.get(name)) for name in sorted(before.keys() | after.keys())]
    return tuple(_change(was, now) for was, now in pairs if _form(was) != _form(now))


def _form(clause: Clause | None) -> bytes:
    """The canonical form, where ``true`` is not 1 and 5.0 is 5."""
    return json_bytes(clause.model_dump(mode="json")) if clause is not None else b""


def _change(was: Clause | None, now: Clause | None) -> Change:
    known = now or was
    assert known is not None
    said, says = _sentences(was), _sentences(now)
    kind = "added" if was is None else "removed" if now is None else "changed"
    return Change(
        known.id,
        known.title,
        kind,
        was is None or now is None or (was.plain_text, was.title) != (now.plain_text, now.title),
        tuple(_differences(was, now)) if was is not None and now is not None else (),
        tuple(one for one in said if one not in says),
        tuple(one for one in says if one not in said),
    )


def _sentences(clause: Clause | None) -> tuple[str, ...]:
    return effects(clause.machine) if clause is not None and clause.machine is not None else ()


def _differences(was: Clause, now: Clause) -> Iterator[Difference]:
    if was.enforced_by != now.enforced_by:
        says = "who enforces the clause"
        yield Difference("enforced_by", was.enforced_by, now.enforced_by, "", says)
    if was.machine is not None and now.machine is not None:
        yield from _models("", was.machine, now.machine)


def _models(path: str, old: Document, new: Document) -> Iterator[Difference]:
    for name in type(new).model_fields:
        known = figure(type(new).__name__, name)
        here = f"{path}.{name}" if path else name
        if name != "type":
            yield from _values(here, getattr(old, name), getattr(new, name), known or Figure(""))


def _values(path: str, old: Any, new: Any, known: Figure) -> Iterator[Difference]:
    if old == new and type(old) is type(new) and not isinstance(old, dict | tuple):
        return  # in lists and settings there may be a true where there was a 1
    if isinstance(old, tuple) and isinstance(new, tuple):
        yield from _lists(path, old, new, known)
    elif isinstance(old, dict) and isinstance(new, dict):
        yield from _settings(path, old, new, known)
    elif isinstance(old, Members | Fraction) and isinstance(new, Members | Fraction):
        direction = _quorums(old, new)
        yield Difference(path, quorum(old), quorum(new), direction, known.says)
    elif isinstance(old, SharedCategories) and isinstance(new, SharedCategories):
        yield from _models(path, old, new)
    elif isinstance(old, SharedCategories) or isinstance(new, SharedCategories):
        direction = "tighter" if old is None else "looser"
        yield Difference(path, shown(old), shown(new), direction, known.says)
    elif isinstance(old, Hours | None) and isinstance(new, Hours | None):
        direction = "tighter" if _open(new) < _open(old) else "looser"
        direction = direction if _open(new) != _open(old) else ""
        yield Difference(path, shown(old), shown(new), direction, known.says)
    else:
        direction = known.change(old, new)
        if isinstance(old, datetime) and isinstance(new, datetime):
            direction = known.change(utc_text(old), utc_text(new))
        yield Difference(path, shown(old), shown(new), direction, known.says)


def _quorums(old: Members | Fraction, new: Members | Fraction) -> str:
    """Two forms cannot be compared without knowing how many members there are."""
    if isinstance(old, Members) and isinstance(new, Members):
        return "tighter" if new.members > old.members else "looser"
    if isinstance(old, Fraction) and isinstance(new, Fraction):
        left, right = new.numerator * old.denominator, old.numerator * new.denominator
        return "tighter" if left > right else "looser" if left < right else ""
    return ""


def _open(hours: Hours | None) -> int:
    return ALL_DAY if hours is None else sum(hours.holds(hour) for hour in range(ALL_DAY))


def _lists(path: str, old: tuple[Any, ...], new: tuple[Any, ...], known: Figure) -> Any:
    if not all(isinstance(one, Document) for one in (*old, *new)):
        yield from _entries(path, old, new, known)
        return
    before, after = _named(old), _named(new)
    for name, one in before.items():
        if name in after:
            yield from _models(f"{path}[{name}]", one, after[name])
        else:
            yield Difference(path, name, "", known.entry(added=False), known.says)
    for name in after:
        if name not in before:
            yield Difference(path, "", name, known.entry(added=True), known.says)


def _named(entries: tuple[Any, ...]) -> dict[str, Document]:
    out: dict[str, Document] = {}
    for one in entries:
        key = next((key for key in NAMED_BY if key in type(one).model_fields), "")
        name = str(getattr(one, key, "")) or str(len(out) + 1)
        out[name if name not in out else f"{name} {len(out) + 1}"] = one
    return out


def _entries(path: str, old: tuple[Any, ...], new: tuple[Any, ...], known: Figure) -> Any:
    for one in old:
        if one not in new:
            yield Difference(path, shown(one), "", known.entry(added=False), known.says)
    for one in new:
        if one not in old:
            yield Difference(path, "", shown(one), known.entry(added=True), known.says)
    if old != new and sorted(map(str, old)) == sorted(map(str, new)):
        yield Difference(path, shown(old), shown(new), "", "the same in another order")


def _settings(path: str, old: Mapping[str, Any], new: Mapping[str, Any], known: Figure) -> Any:
    for key in sorted(old.keys() | new.keys()):
        was, now = old.get(key), new.get(key)
        if key not in new:
            yield Difference(path, f"{key} = {was}", "", "looser", known.says)
        elif key not in old:
            yield Difference(path, "", f"{key} = {now}", "tighter", known.says)
        elif not same_json(was, now):
            yield Difference(f"{path}.{key}", shown(was), shown(now), "", known.says)


def shown(value: Any) -> str:
    """A value in a line."""
    if value is None:
        return "nothing"
    if isinstance(value, datetime):
        return utc_text(value)
    if isinstance(value, Hours):
        return f"{value.from_hour}:00 to {value.to_hour}:00 UTC"
    if isinstance(value, SharedCategories):
        return f"{value.id} ({value.sha256[:16]}), {value.min_mapped_percent} % of lines"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "nothing"
    return str(value) or "nothing"
