"""Denials in words: for the journal, and what an unsigned version would have changed."""

from __future__ import annotations

from sqlalchemy import Connection

from node.store.documents import Documents
from protocols.agreement.facts import Denial, Reason
from protocols.agreement.order import ParsedOrder
from protocols.agreement.parse import ParsedAgreement, read_agreement
from protocols.agreement.render import compare
from protocols.agreement.saying import no
from protocols.canonical import parse_json
from protocols.errors import InputError
from protocols.permit import Gate, Permit

MAX_NOTE = 240  # of one journal entry
MAX_CLAUSES = 32
MAX_DIFFERENCES = 20


def nothing_signed(gate: Gate) -> Denial:
    """This member has signed no version that could allow anything."""
    sentence = "this member has signed no agreement that could allow this"
    return Denial(gate, (no("c05", "not signed", "signed by this member", sentence),))


def unreadable(gate: Gate, error: InputError) -> Denial:
    """What came is not a signed document of the expected kind."""
    sentence = f"what was sent cannot be read: {error.problem}"
    return Denial(gate, (no("c05", "unreadable", "a signed document", sentence),))


def journal_facts(denial: Denial) -> dict[str, object]:
    """Clauses and one printable sentence, within the limits of a journal entry."""
    note = "".join(char if char.isprintable() else " " for char in str(denial))
    return {
        "gate": denial.gate.value,
        "clauses": denial.clauses[:MAX_CLAUSES],
        "note": note if len(note) <= MAX_NOTE else note[: MAX_NOTE - 3] + "...",
    }


def with_differences(
    connection: Connection, answer: Permit | Denial, order: ParsedOrder, signed: ParsedAgreement
) -> Permit | Denial:
    """If the order names a version that I have and did not sign: say what it would change."""
    if isinstance(answer, Permit) or order.order.agreement == signed.id:
        return answer
    document = Documents(connection).get(order.order.agreement)
    if document is None:
        return answer
    try:
        other = read_agreement(parse_json(document.body, "agreement"), "agreement")
    except InputError:
        return answer  # a roster, or not readable any more: nothing to add to the denial
    changes = [
        (change.clause, effect)
        for change in compare(signed, other)
        for effect in (change.effects or ("the text that people read",))
    ]
    extra = tuple(
        Reason(
            clause,
            "changed",
            effect,
            "as signed",
            f"the order's agreement, which this member has not signed, changes {effect}",
        )
        for clause, effect in changes[:MAX_DIFFERENCES]
    )
    return Denial(answer.gate, answer.reasons + extra)
