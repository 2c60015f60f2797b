"""Tables of the report page: a caption, header cells, every text escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def table(
    caption: str, headers: Sequence[str], rows: Sequence[Sequence[str]], words: bool = False
) -> str:
    """HTML of one table; ``words``: its cells are texts, not figures."""
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in headers)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    kind = ' class="words"' if words else ""
    return (
        f'<div class="scroll"><table{kind}><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
