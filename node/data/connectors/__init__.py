"""What tills and shops export: tables of names and types, and small functions for their quirks.

``detect`` names the dialects that a header may be, best first; ``choose`` takes the best one or
asks; ``find`` gives one by its name. A dialect is a TOML table in ``dialects/`` with the vendor's
headers (facts, no copied data); what a table cannot say is a function in ``quirks``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

from node.data.batch import Reading
from node.data.connectors.layout import Layout
from node.data.connectors.layout_file import parse_layout
from node.data.connectors.reading import Sample, fit, read
from node.data.connectors.special import special_columns
from protocols.errors import InputError

__all__ = [
    "SURE",
    "Detected",
    "Dialect",
    "choose",
    "detect",
    "find",
    "names",
    "special_columns",
    "text_of",
]

SURE: Final = 0.8  # from here on a dialect is taken without asking
CLOSE: Final = 0.05  # two that are nearer than this are a question


@dataclass(frozen=True, slots=True)
class Detected:
    """One dialect that a header may be; ``name`` is for ``--as``, ``reason`` for people."""

    name: str
    reading: Reading
    confidence: float
    reason: str


@dataclass(frozen=True, slots=True)
class Dialect:
    """A built-in dialect or a mapping file, ready to be laid over a header."""

    layout: Layout

    @property
    def name(self) -> str:
        """For ``--as``."""
        return self.layout.name

    def read(
        self,
        header: Sequence[str],
        sample: Sample = (),
        said: Mapping[str, str] | None = None,
    ) -> Reading:
        """The reading of a file with this header.

        Args:
            header: the header's cells as written in the file.
            sample: some records (cells in the header's order); may be empty.
            said: what the member said, of ``date_order``, ``currency``, ``as_of``.

        Raises:
            InputError: the header lacks a column, or has one twice, or a column that is mapped
                holds special-category data.
        """
        return read(self.layout, header, sample, said)


@cache
def _dialects() -> Mapping[str, Dialect]:
    folder = resources.files(__name__) / "dialects"
    out = {}
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        if file.name.endswith(".toml"):
            layout = parse_layout(file.read_bytes(), "built in")
            out[layout.name] = Dialect(layout)
    return out


def names() -> tuple[str, ...]:
    """Names of the built-in dialects."""
    return tuple(_dialects())


def find(name: str) -> Dialect:
    """The built-in dialect of this name.

    Raises:
        InputError: there is none.
    """
    found = _dialects().get(name.strip().lower())
    if found is None:
        raise InputError(
            f"{name!r} is not a format that is known; expected one of {', '.join(names())}.",
            where="--as",
            fix="See what each needs with: coop-node mapping list",
        )
    return found


def text_of(name: str) -> str:
    """The table of a built-in dialect as TOML, to start a mapping file from.

    Raises:
        InputError: there is none of that name.
    """
    found = find(name).name
    return (resources.files(__name__) / "dialects" / f"{found}.toml").read_text(encoding="utf-8")


def detect(
    header: Sequence[str], sample: Sample = (), said: Mapping[str, str] | None = None
) -> tuple[Detected, ...]:
    """The dialects that a header may be, best first; empty if none fits.

    Args:
        header: the header's cells as written, in any order and any case.
        sample: some records (cells in the header's order); more certain with a few.
        said: what the member said, of ``date_order``, ``currency``, ``as_of``.

    Raises:
        InputError: a column that a fitting dialect reads stands twice.
    """
    out = []
    for name, dialect in _dialects().items():
        found = fit(dialect.layout, header, sample)
        if found is not None:
            reading = dialect.read(header, sample, said)
            out.append(Detected(name, reading, found.confidence, found.why))
    return tuple(sorted(out, key=lambda one: (-one.confidence, one.name)))


def choose(found: Sequence[Detected]) -> Reading | None:
    """The reading to take without asking; None if no dialect is certain enough.

    Raises:
        InputError: two dialects fit about as well; the member has to say which (``--as``).
    """
    sure = [one for one in found if one.confidence >= SURE]
    if len(sure) > 1 and sure[0].confidence - sure[1].confidence < CLOSE:
        first, second = sure[:2]
        raise InputError(
            f"the file may be {first.reading.name} ({first.confidence:.2f}) or "
            f"{second.reading.name} ({second.confidence:.2f}).",
            where="header:1:1",
            fix=f"Say which one: --as {first.name} or --as {second.name}",
        )
    return sure[0].reading if sure else None
