"""Data health as one HTML page that stands by itself: words, a small plot, and its table.

Rules of the page: every plot is followed by the table of what it shows; colour never says
anything alone; nothing is loaded from anywhere; whatever a till printed is text.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Final

from node.data.findings import Finding, Severity
from node.policy.quality import Look
from node.store.quality import Scored

POINTS: Final = 60  # the newest of them are drawn and listed
_WIDTH, _HEIGHT, _LEFT, _EDGE, _FOOT = 360, 150, 34, 12, 18
_STYLE: Final = """
body{font:1rem/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem;
color:#1a1a1a;background:#fff}
table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}
caption{text-align:left;font-weight:600;padding:.25rem 0}
th,td{text-align:left;border-bottom:1px solid #767676;padding:.25rem .5rem;vertical-align:top}
.score{font-size:1.5rem;font-weight:600}
svg{width:100%;height:auto;max-width:28rem;color:#1a1a1a}
.wide{overflow-x:auto}
@media print{body{margin:0;max-width:none}}
"""
_WORDS: Final = {
    Severity.ERROR: "Error",
    Severity.WARNING: "Warning",
    Severity.NOTE: "Note",
}
_NAMES: Final = {"sales": "Sales", "customers": "Customers", "stock": "Stock"}


def page(looks: Sequence[Look], now: datetime, said: Sequence[str] = ()) -> str:
    """The page as HTML, UTF-8.

    Args:
        looks: the data sets, as ``survey`` gives them.
        now: when it was made, UTC.
        said: sentences about the newest import, a heading first.
    """
    body = "".join(_section(look) for look in looks) + _newest(said)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Health of your data</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>Health of your data</h1><p>As of {now:%d %B %Y, %H:%M} UTC. 100 is the best score. "
        "Each finding says how many rows it is about and what to do.</p>"
        f"{body}</main></body></html>\n"
    )


def _newest(said: Sequence[str]) -> str:
    if not said:
        return ""
    points = "".join(f"<li>{escape(one.strip())}</li>" for one in said[1:])
    return f"<section><h2>The newest import</h2><p>{escape(said[0])}</p><ul>{points}</ul></section>"


def _section(look: Look) -> str:
    name = escape(_NAMES.get(look.dataset, f"Customers' purchases, for {look.dataset}"))
    rows = look.history[-POINTS:]
    return (
        f"<section><h2>{name}</h2>"
        f'<p class="score">{look.report.score} of 100</p>'
        f"<p>{escape(look.trend.sentence())}</p>"
        f"{_findings(look.report.findings)}{_plot(rows, look.dataset)}{_history(rows)}</section>"
    )


def _plot(rows: Sequence[Scored], dataset: str) -> str:
    """Scores over time as a line with a mark at each; drawn from the second score on."""
    if len(rows) < 2:
        return ""
    points = _places(rows)
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    marks = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in points)
    grid = "".join(
        f'<line x1="{_LEFT}" y1="{_height(score):.1f}" x2="{_WIDTH - _EDGE}" '
        f'y2="{_height(score):.1f}" stroke="#767676" stroke-width="0.5"/>'
        f'<text x="{_LEFT - 6}" y="{_height(score) + 4:.1f}" text-anchor="end" '
        f'font-size="12">{score}</text>'
        for score in (0, 50, 100)
    )
    days = (
        f'<text x="{x}" y="{_HEIGHT - 2}" text-anchor="{side}" font-size="12">'
        f"{one.at:%Y-%m-%d}</text>"
        for x, side, one in ((_LEFT, "start", rows[0]), (_WIDTH - _EDGE, "end", rows[-1]))
    )
    name = f"plot-{''.join(char if char.isalnum() else '-' for char in dataset)}"
    said = (
        f"{len(rows)} scores from {rows[0].at:%d %B %Y} to {rows[-1].at:%d %B %Y}, between "
        f"{min(one.score for one in rows)} and {max(one.score for one in rows)}. The table below "
        "has them all."
    )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-labelledby="{name}-title {name}-text">'
        f'<title id="{name}-title">Health of {escape(dataset)} over time</title>'
        f'<desc id="{name}-text">{said}</desc>{grid}{"".join(days)}'
        f'<polyline points="{line}" fill="none" stroke="#0b4f9e" stroke-width="2"/>'
        f'<g fill="#0b4f9e">{marks}</g></svg>'
    )


def _places(rows: Sequence[Scored]) -> list[tuple[float, float]]:
    """Each score on the plot: time runs to the right, 100 is on top."""
    first = rows[0].at
    span = max((rows[-1].at - first).total_seconds(), 1.0)
    wide = _WIDTH - _LEFT - _EDGE
    return [
        (_LEFT + wide * (one.at - first).total_seconds() / span, _height(one.score)) for one in rows
    ]


def _height(score: int) -> float:
    return _EDGE + (_HEIGHT - _FOOT - 2 * _EDGE) * (1 - score / 100)


def _history(rows: Sequence[Scored]) -> str:
    cells = "".join(
        f"<tr><td>{one.at:%Y-%m-%d %H:%M}</td><td>{one.score}</td></tr>" for one in reversed(rows)
    )
    return (
        "<table><caption>Scores, newest first</caption><thead><tr>"
        '<th scope="col">When (UTC)</th><th scope="col">Score</th></tr></thead>'
        f"<tbody>{cells}</tbody></table>"
    )


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return "<p>Nothing was found.</p>"
    cells = "".join(
        f"<tr><td>{_WORDS[one.severity]}</td><td>{escape(one.sentence)}</td>"
        f"<td>{escape(one.fix)}</td><td>{_lost(one)}</td><td>{escape(one.rule)}</td></tr>"
        for one in findings
    )
    return (
        '<div class="wide" role="region" tabindex="0" aria-label="Findings">'
        "<table><caption>Findings, heaviest first</caption><thead><tr>"
        '<th scope="col">Kind</th><th scope="col">What</th><th scope="col">What to do</th>'
        '<th scope="col">Points lost</th><th scope="col">Rule</th></tr></thead>'
        f"<tbody>{cells}</tbody></table></div>"
        "<p>The rows behind a finding: <code>coop-node data health --rule RULE</code></p>"
    )


def _lost(one: Finding) -> str:
    return f"{one.penalty:.1f}" if one.penalty >= 0.05 else "hardly any"
