"""The agreement as a page to read and as a comparison of two versions. Plain text only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from textwrap import fill
from typing import Any

from protocols.agreement.effects import effects
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.terms import Clause

WIDTH = 92
BADGES = {
    "node": "enforced by every member's own software",
    "coordinator": "enforced by the coordinator's software",
    "both": "enforced by software on both sides",
    "attested": "a promise, not enforced by software",
}
STRICTER_IF_HIGHER = frozenset(
    {"colluders", "min_cohort", "min_contributors", "min_gain_percent", "min_members"}
    | {"min_rows", "min_weeks", "numerator", "members", "period_days"}
)
STRICTER_IF_LOWER = frozenset(
    {"delta", "ends", "epsilon", "max_rounds", "max_runs", "max_weight_percent"}
    | {"survivor_changes", "w_max"}
)


def page(parsed: ParsedAgreement) -> str:
    """What people read before they sign: the effects first, then every clause."""
    agreement = parsed.agreement
    lines = [
        agreement.title,
        "=" * min(WIDTH, len(agreement.title)),
        f"Version {agreement.version}",
        f"Fingerprint {_words(parsed.id)}",
    ]
    if agreement.prev is not None:
        lines.append(f"Replaces    {_words(agreement.prev)}")
    lines += ["", "What this lets others do, and what not", "-" * 38]
    for clause in agreement.clauses:
        if clause.machine is not None:
            lines += [_item(f"{line} ({clause.id})") for line in effects(clause.machine)]
    lines += ["", "The clauses", "-" * 11]
    for clause in agreement.clauses:
        lines += ["", *_clause(clause)]
    return "\n".join(lines) + "\n"


def _clause(clause: Clause) -> Iterator[str]:
    yield f"{clause.id}  {clause.title}  [{BADGES[clause.enforced_by]}]"
    for paragraph in clause.plain_text.split("\n"):
        yield fill(paragraph, WIDTH, initial_indent="     ", subsequent_indent="     ")


def _item(text: str) -> str:
    return fill(text, WIDTH, initial_indent="  - ", subsequent_indent="    ")


def _words(name: str) -> str:
    return " ".join(name[at : at + 4] for at in range(0, 32, 4))


@dataclass(frozen=True, slots=True)
class Change:
    """One clause that differs: ``added``, ``removed`` or ``changed``, and what that does."""

    clause: str
    title: str
    kind: str
    text_changed: bool
    effects: tuple[str, ...]


def compare(old: ParsedAgreement, new: ParsedAgreement) -> tuple[Change, ...]:
    """Every clause that differs, in order, with the machine effect in words."""
    before = {clause.id: clause for clause in old.agreement.clauses}
    after = {clause.id: clause for clause in new.agreement.clauses}
    found = []
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if was == now:
            continue
        found.append(_change(name, was, now))
    return tuple(found)


def _change(name: str, was: Clause | None, now: Clause | None) -> Change:
    if was is None and now is not None:
        said = effects(now.machine) if now.machine is not None else ()
        return Change(name, now.title, "added", True, said)
    if was is not None and now is None:
        said = effects(was.machine) if was.machine is not None else ()
        return Change(name, was.title, "removed", True, tuple(f"no longer: {s}" for s in said))
    assert was is not None and now is not None
    return Change(
        name,
        now.title,
        "changed",
        was.plain_text != now.plain_text or was.title != now.title,
        tuple(_figures(_flat(was), _flat(now))),
    )


def _flat(clause: Clause) -> dict[str, Any]:
    """Every figure of the machine block by its path, and who enforces the clause."""
    flat: dict[str, Any] = {"enforced_by": clause.enforced_by}
    if clause.machine is not None:
        _walk("", clause.machine.model_dump(mode="json"), flat)
    return flat


def _walk(path: str, value: Any, into: dict[str, Any]) -> None:
    if isinstance(value, Mapping):
        for key, one in value.items():
            _walk(f"{path}.{key}" if path else str(key), one, into)
    elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        for at, one in enumerate(value, start=1):
            _walk(f"{path}[{at}]", one, into)
    else:
        into[path] = value


def _figures(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for path in sorted(was.keys() | now.keys()):
        old, new = was.get(path), now.get(path)
        if old == new:
            continue
        if isinstance(old, list) and isinstance(new, list):
            yield from _lists(path, old, new)
        else:
            yield f"{path}: {_shown(old)} -> {_shown(new)}{_direction(path, old, new)}"


def _lists(path: str, old: list[Any], new: list[Any]) -> Iterator[str]:
    for one in old:
        if one not in new:
            yield f"{path}: without {_shown(one)}"
    for one in new:
        if one not in old:
            yield f"{path}: now with {_shown(one)}"
    if sorted(map(str, old)) == sorted(map(str, new)):
        yield f"{path}: the same in another order"


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value)


def _direction(path: str, old: Any, new: Any) -> str:
    key = path.rpartition(".")[2]
    comparable = isinstance(old, int | float) and isinstance(new, int | float)
    comparable = comparable or (isinstance(old, str) and isinstance(new, str) and key == "ends")
    if not comparable or key not in STRICTER_IF_HIGHER | STRICTER_IF_LOWER:
        return ""
    stricter = (new > old) == (key in STRICTER_IF_HIGHER)
    return " (tighter)" if stricter else " (looser)"


def comparison(old: ParsedAgreement, new: ParsedAgreement) -> str:
    """The comparison as text for people; says so if nothing changed."""
    changes = compare(old, new)
    head = f"Version {old.agreement.version} -> version {new.agreement.version}"
    if not changes:
        return f"{head}: every clause is the same.\n"
    lines = [head]
    for change in changes:
        lines.append(f"{change.clause}  {change.title}: {change.kind}")
        lines += [_item(said) for said in change.effects]
        if change.text_changed:
            lines.append("  - the text that people read has changed")
    return "\n".join(lines) + "\n"
