"""The agreement as a page to read, and the comparison of two versions. Plain text only.

``pages`` has the same as HTML. What the page says under "what this lets others do" is made from
the machine blocks alone (``effects``); the clauses' texts follow and cannot change it.
"""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import fill

from protocols.agreement.compare import Change, Difference, compare
from protocols.agreement.effects import effects
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.plural import name_of
from protocols.agreement.terms import Clause

__all__ = ["BADGES", "GROUPS", "Change", "Difference", "compare", "comparison", "grouped", "page"]

WIDTH = 92
BADGES = {
    "node": "enforced by every member's own software",
    "coordinator": "enforced by the coordinator's software",
    "both": "enforced by software on both sides",
    "attested": "a promise, not enforced by software",
}
GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("What your data may be used for", ("c07", "c08", "c10", "c13", "c16")),
    ("What hides you and your customers", ("c14", "c17", "c27")),
    ("What comes out, who gets it and for what", ("c15", "c18", "c20", "c21", "c22", "c26")),
    ("What you have to do", ("c06", "c09", "c11", "c12", "c23")),
    ("Who decides and who answers", ("c01", "c04", "c05", "c19")),
    ("How you can check, and what happens when something goes wrong", ("c24", "c25", "c28")),
    ("How it ends", ("c29", "c30")),
)
"""The clauses with machine blocks by what a reader asks; each stands in one group."""


def grouped(parsed: ParsedAgreement) -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    """Headings with their (sentence, clause) pairs; from the machine blocks alone."""
    blocks = {one.id: one.machine for one in parsed.agreement.clauses if one.machine is not None}
    known = {name for _, names in GROUPS for name in names}
    groups = (*GROUPS, ("Besides", tuple(sorted(set(blocks) - known))))
    out = []
    for heading, names in groups:
        said = tuple(
            (sentence, name)
            for name in names
            if name in blocks
            for sentence in effects(blocks[name])
        )
        if said:
            out.append((heading, said))
    return tuple(out)


def page(parsed: ParsedAgreement) -> str:
    """What people read before they sign: the effects first, then every clause."""
    agreement = parsed.agreement
    lines = [
        agreement.title,
        "=" * min(WIDTH, len(agreement.title)),
        f"Version {agreement.version} of the cooperative {name_of(agreement.coop)}",
        f"Fingerprint {name_of(parsed.id)}",
    ]
    if agreement.prev is not None:
        lines.append(f"Replaces    {name_of(agreement.prev)}")
    lines += ["", "What this lets others do, and what not", "-" * 38]
    for heading, said in grouped(parsed):
        lines += ["", heading]
        lines += [_item(f"{sentence} ({clause})") for sentence, clause in said]
    lines += ["", "The clauses", "-" * 11]
    for clause in agreement.clauses:
        lines += ["", *_clause(clause)]
    return "\n".join(lines) + "\n"


def _clause(clause: Clause) -> Iterator[str]:
    yield from _filled(f"{clause.id}  {clause.title}  [{BADGES[clause.enforced_by]}]", "")
    for paragraph in clause.plain_text.split("\n"):
        yield from _filled(paragraph, "     ")


def _filled(text: str, indent: str) -> list[str]:
    return fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent or "     ").split("\n")


def _item(text: str) -> str:
    paragraphs = text.split("\n")
    first = fill(paragraphs[0], WIDTH, initial_indent="  - ", subsequent_indent="    ")
    # what follows is somebody's text: marked, so that no line of it passes for a sentence of ours
    rest = [
        fill(one, WIDTH, initial_indent="    | ", subsequent_indent="    | ")
        for one in paragraphs[1:]
    ]
    return "\n".join([first, *rest])


def comparison(old: ParsedAgreement, new: ParsedAgreement) -> str:
    """The comparison as text for people; says so if nothing changed."""
    changes = compare(old, new)
    head = f"Version {old.agreement.version} -> version {new.agreement.version}"
    same = old.agreement.title == new.agreement.title
    title = "" if same else f"\nThe title is now: {new.agreement.title}"
    if not changes:
        return f"{head}: every clause is the same.{title}\n"
    lines = [head + title, tally(changes)]
    for change in changes:
        lines.append(f"{change.clause}  {change.title}: {change.kind}")
        if change.kind != "changed":
            lines += [_item(said) for said in change.effects]
            continue
        lines += [
            _item(f"{one}: {one.says}" if one.says else str(one)) for one in change.differences
        ]
        lines += [_item(f"no longer: {said}") for said in change.was]
        lines += [_item(f"now: {said}") for said in change.now]
        if change.text_changed:
            lines.append("  - the text that people read has changed")
    return "\n".join(lines) + "\n"


def tally(changes: tuple[Change, ...]) -> str:
    """How many figures became tighter and looser, in one sentence."""
    found = [one.direction for change in changes for one in change.differences]
    tighter, looser = found.count("tighter"), found.count("looser")
    other = len(found) - tighter - looser
    return (
        f"{len(changes)} of the clauses differ. Figures that are tighter for others: {tighter}; "
        f"looser: {looser}; neither: {other}."
    )


def differences(old: ParsedAgreement, new: ParsedAgreement) -> list[dict[str, object]]:
    """The comparison as plain values, for programs."""
    return [
        {
            "clause": change.clause,
            "title": change.title,
            "kind": change.kind,
            "text_changed": change.text_changed,
            "figures": [
                {
                    "path": one.path,
                    "old": one.old,
                    "new": one.new,
                    "direction": one.direction,
                    "says": one.says,
                }
                for one in change.differences
            ],
            "was": list(change.was),
            "now": list(change.now),
        }
        for change in compare(old, new)
    ]
