"""The parts of the page about the agreement: who signed it, what it stopped, what proves it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from examples.complete_journey.tables import table

Refusals = Sequence[tuple[str, str, str]]  # store, clause, sentence


@dataclass(frozen=True, slots=True)
class Signed:
    """The agreement in force and who signed what."""

    agreement: str  # its id
    page: str  # file beside the report: the agreement, to read and print
    clauses: int
    effects: Sequence[tuple[str, str]]  # clause, what it lets others do
    rows: Sequence[tuple[str, str, str, str]]  # store, agreement and list signed, key until


@dataclass(frozen=True, slots=True)
class FrozenResult:
    """An incident that stopped all runs while it was open."""

    what: str
    office: str  # what the office's own gate said
    refusals: Refusals  # what each store said to an order that went past that gate


@dataclass(frozen=True, slots=True)
class Proof:
    """Who countersigned the log, and the pack that anybody can check."""

    witnesses: Sequence[tuple[str, str, str]]  # store, entries of the log, when
    file: str
    size_bytes: int
    checks: Sequence[str]


@dataclass(frozen=True, slots=True)
class RulesResult:
    """What the agreement allowed and stopped in this demo."""

    signed: Signed
    purpose: str  # that was asked for and is forbidden
    purpose_refusals: Refusals
    use: str  # what the use gate said to that purpose; empty without a released model
    frozen: FrozenResult
    proof: Proof


def opening(found: RulesResult) -> list[str]:
    """What was agreed, and who signed it."""
    signed = found.signed
    return [
        "<h2>What the stores agreed on</h2>",
        f"<p>{len(signed.rows)} stores signed {signed.clauses} clauses. Software wrote these "
        "sentences from the figures that it obeys. <a href='"
        f"{escape(signed.page, quote=True)}'>The whole agreement</a> is a page of its own. "
        "The sales are of 2017, and a store with rows that old may usually take part in nothing: "
        "the members of this demo agreed to it.</p>",
        table("What this lets others do, and what not", ["clause", "says"], signed.effects, True),
        table(
            "Who signed what, and how long each key is good",
            ["store", "agreement signed", "list of members signed", "key until"],
            signed.rows,
            True,
        ),
    ]


def refused(found: RulesResult) -> list[str]:
    """A forbidden purpose, and an incident."""
    frozen = found.frozen
    parts = [
        "<h2>A purpose that was never agreed</h2>",
        f"<p>The same office ordered a run for <code>{escape(found.purpose)}</code>, under the "
        "agreement that all had signed.</p>",
        table(*_ANSWERS, found.purpose_refusals, True),
    ]
    if found.use:
        parts.append(
            f"<p>A store that asked its own copy of the shared model for the same purpose got "
            f"nothing either: {escape(found.use)}</p>"
        )
    return [
        *parts,
        "<h2>An incident stopped everything</h2>",
        f"<p>The office wrote an incident down: <q>{escape(frozen.what)}</q>. Its own gate then "
        f"refused to launch a run: {escape(frozen.office)}</p>",
        table(
            "What each store said to an order past that gate", *_ANSWERS[1:], frozen.refusals, True
        ),
        "<p>The members were told, and the incident was closed.</p>",
    ]


_ANSWERS = ("What each store answered", ["store", "clause", "reason"])


def closing(found: RulesResult) -> list[str]:
    """Countersignatures and the evidence pack."""
    proof = found.proof
    return [
        "<h2>What a stranger can check</h2>",
        "<p>Each store countersigned the office's log, so the office cannot show different "
        "histories to different stores without being found out.</p>",
        table(
            "Who vouches for the office's log",
            ["store", "up to entry", "when"],
            proof.witnesses,
            True,
        ),
        f"<p>The office packed what was agreed and done into one file, "
        f"<a href='{escape(proof.file, quote=True)}'>{escape(proof.file)}</a> "
        f"({proof.size_bytes / 1000:.0f} kB, no row and no customer in it). Somebody with an empty "
        "folder, who knows only the fingerprint of the agreement "
        f"(<code>{escape(found.signed.agreement[:16])}</code>), checked it:</p><ul>",
        *[f"<li>{escape(line)}</li>" for line in proof.checks],
        "</ul>",
    ]
