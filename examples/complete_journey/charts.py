"""Small SVG charts for a page that must work from one file, offline and on paper.

Marks differ in shape as well as in colour, and every chart is followed by its table on the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

OWN, SHARED, BLEND, INK, GRID = "#b45309", "#0369a1", "#15803d", "#1f2937", "#d1d5db"


@dataclass(frozen=True, slots=True)
class StoreErrors:
    """Error of one store's three ways on what it held out; lower is better."""

    name: str
    cold: bool
    own: float
    shared: float
    blend: float


def _svg(width: int, height: int, title: str, body: Sequence[str]) -> str:
    return (
        f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {width} {height}" '
        f'xmlns="http://www.w3.org/2000/svg" style="width:100%;max-width:{width}px">'
        f"<title>{escape(title)}</title>{''.join(body)}</svg>"
    )


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 13) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'fill="{INK}">{escape(text)}</text>'
    )


def _mark(kind: str, x: float, y: float) -> str:
    if kind == "own":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{OWN}"/>'
    if kind == "shared":
        points = f"{x:.1f},{y - 7:.1f} {x + 7:.1f},{y:.1f} {x:.1f},{y + 7:.1f} {x - 7:.1f},{y:.1f}"
        return f'<polygon points="{points}" fill="{SHARED}"/>'
    return f'<rect x="{x - 5.5:.1f}" y="{y - 5.5:.1f}" width="11" height="11" fill="{BLEND}"/>'


def error_chart(
    stores: Sequence[StoreErrors],
    title: str = "Forecast error (WAPE) of each store, lower is better",
    own: str = "own forecast",
) -> str:
    """One row a store, three marks: how far off each way was."""
    left, right, row, top = 190, 30, 34, 48
    width, height = 820, top + row * len(stores) + 34
    values = [v for s in stores for v in (s.own, s.shared, s.blend)]
    low, high = min(values) - 0.03, max(values) + 0.03

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (width - left - right)

    body = []
    for i, (kind, label) in enumerate(
        (("own", own), ("shared", "shared model"), ("blend", "blend of both"))
    ):
        body += [_mark(kind, left + i * 150, 16), _text(left + 12 + i * 150, 21, label)]
    step = 0.05 if high - low > 0.2 else 0.02
    tick = round(low / step + 0.5) * step
    while tick < high:
        body.append(
            f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{top - 10}" '
            f'y2="{height - 28}" stroke="{GRID}"/>'
        )
        body.append(_text(x(tick), height - 10, f"{tick:.2f}", "middle", 12))
        tick += step
    for i, store in enumerate(stores):
        y = top + row * i + 12
        name = store.name + (" (cold)" if store.cold else "")
        body.append(_text(left - 14, y + 5, name, "end"))
        ends = (store.own, store.shared, store.blend)
        body.append(
            f'<line x1="{x(min(ends)):.1f}" x2="{x(max(ends)):.1f}" y1="{y}" y2="{y}" '
            f'stroke="{INK}" stroke-width="1"/>'
        )
        body += [_mark(kind, x(v), y) for kind, v in zip(("own", "shared", "blend"), ends)]  # noqa: B905
    return _svg(width, height, title, body)


def epsilon_chart(agreed: float, spent: float, further: float) -> str:
    """A year's budget as a bar: what is spent, what is left, and what a further run would need."""
    left, right, width, height = 20, 20, 820, 96
    most = max(agreed, spent, further) * 1.05

    def x(value: float) -> float:
        return left + value / most * (width - left - right)

    body = [
        f'<rect x="{left}" y="34" width="{x(further) - left:.1f}" height="26" fill="none" '
        f'stroke="{OWN}" stroke-dasharray="5 4"/>',
        f'<rect x="{left}" y="34" width="{x(spent) - left:.1f}" height="26" fill="{SHARED}"/>',
        f'<line x1="{x(agreed):.1f}" x2="{x(agreed):.1f}" y1="24" y2="70" stroke="{INK}" '
        'stroke-width="2"/>',
        _text(x(agreed), 18, f"agreed: {agreed:g}", "middle"),
        _text(left, 84, f"filled: {spent:.2f} spent; dashed: {further:.2f} with a further run"),
    ]
    return _svg(width, height, "Epsilon of each customer: spent, agreed, and asked for", body)


def attendance_chart(names: Sequence[str], survivors: Sequence[frozenset[str]]) -> str:
    """Rounds from left to right: a filled cell where the store's update was in the sum."""
    left, top, cell = 190, 14, max(8, min(18, 600 // max(1, len(survivors))))
    width, height = left + cell * len(survivors) + 20, top + 22 * len(names) + 30
    body = []
    for i, name in enumerate(names):
        y = top + 22 * i
        body.append(_text(left - 14, y + 13, name, "end"))
        for r, there in enumerate(survivors):
            fill = f'fill="{SHARED}"' if name in there else f'fill="none" stroke="{OWN}"'
            body.append(
                f'<rect x="{left + r * cell}" y="{y + 2}" width="{cell - 3}" height="14" {fill}/>'
            )
    for r in range(0, len(survivors), 5):
        body.append(_text(left + r * cell + cell / 2, height - 8, str(r + 1), "middle", 12))
    return _svg(width, height, "Which store's update was in each round's sum", body)


def forecast_chart(
    weeks: Sequence[str],
    sold: Sequence[float],
    low: Sequence[float],
    middle: Sequence[float],
    high: Sequence[float],
) -> str:
    """Units a week: what was sold, then the forecast with the band for eight weeks in ten.

    ``weeks`` names the weeks of ``sold`` and, after them, those of the forecast.
    """
    left, right, top, bottom, width, height = 50, 20, 34, 34, 820, 300
    most = max([*sold, *high]) * 1.1 + 1
    first = len(sold)

    def x(i: int) -> float:
        return left + i / max(1, len(weeks) - 1) * (width - left - right)

    def y(value: float) -> float:
        return height - bottom - value / most * (height - top - bottom)

    def line(start: int, values: Sequence[float]) -> str:
        return " ".join(f"{x(start + i):.1f},{y(v):.1f}" for i, v in enumerate(values))

    backwards = " ".join(f"{x(first + i):.1f},{y(v):.1f}" for i, v in reversed([*enumerate(low)]))
    body = [
        f'<polygon points="{line(first, high)} {backwards}" fill="{BLEND}" opacity="0.18"/>',
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        value = share * most
        body.append(
            f'<line x1="{left}" x2="{width - right}" y1="{y(value):.1f}" y2="{y(value):.1f}" '
            f'stroke="{GRID}"/>'
        )
        body.append(_text(left - 8, y(value) + 4, f"{value:.0f}", "end", 12))
    for start, values, colour, dash in ((0, sold, INK, ""), (first, middle, BLEND, "6 4")):
        body.append(
            f'<polyline points="{line(start, values)}" fill="none" stroke="{colour}" '
            f'stroke-width="2.5" stroke-dasharray="{dash}"/>'
        )
    body += [_text(x(i), height - 10, week, "middle", 11) for i, week in enumerate(weeks)]
    body.append(_text(left, 18, "solid: sold; dashed: forecast; band: 8 weeks in 10 fall inside"))
    return _svg(width, height, "Units sold, and the forecast of the weeks ahead", body)
