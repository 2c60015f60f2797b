"""Changes a JSON document at one place, so that fuzzing gets behind the parser."""

from __future__ import annotations

import json
from random import Random
from typing import Any

POOL: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**53, 2**64, 10**30, 0.5, 1e308, -0.0, 5e-324,
    "", " ", "\u0000", "\ud800", "\u202e", "а", "é", "𝒂", "x" * 300, "2026-01-31T08:00:00Z",
    "9999-12-31T23:59:60Z", "0000-01-01T00:00:00Z", "ab" * 32, "c14", "$x", "../x",
    [], {}, [[]], [{}], {"type": "privacy"}, {"members": 1}, {"numerator": 1, "denominator": 1000},
)  # fmt: skip


def places(value: Any, found: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Every (container, key) of a document."""
    items: Any = ()
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for key, inner in items:
        found.append((value, key))
        places(inner, found)
    return found


def mutate(data: bytes, random: Random) -> bytes | None:
    """Another document, or None if ``data`` is not JSON that can be written again."""
    try:
        document = json.loads(data)
        spots = places(document, [])
        for _ in range(random.choice((1, 1, 1, 2, 4))):
            _change(spots, random)
        return json.dumps(document, ensure_ascii=random.random() < 0.5).encode(
            "utf-8", "surrogatepass"
        )
    except (ValueError, RecursionError):
        return None


def _change(spots: list[tuple[Any, Any]], random: Random) -> None:
    if not spots:
        return
    holder, key = random.choice(spots)
    if isinstance(holder, list) and key >= len(holder):
        return
    if isinstance(holder, dict) and key not in holder:
        return
    step = random.randrange(6)
    if step == 0:
        del holder[key]
    elif step == 1 and isinstance(holder, dict):
        holder[random.choice(("type", "x", "", key.upper(), "kind", "v"))] = holder.pop(key)
    elif step == 2 and isinstance(holder, list):
        holder.append(holder[key])
    elif step == 3:
        other, name = random.choice(spots)
        if (isinstance(other, dict) and name in other) or (
            isinstance(other, list) and name < len(other)
        ):
            holder[key] = json.loads(json.dumps(other[name]))
    elif step == 4 and isinstance(holder[key], (int, float)) and not isinstance(holder[key], bool):
        holder[key] = random.choice(
            (holder[key] + 1, holder[key] - 1, -holder[key], holder[key] / 3)
        )
    else:
        holder[key] = random.choice(POOL)
