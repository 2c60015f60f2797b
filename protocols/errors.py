"""Every way a thing can fail, in four families and one table.

- ``InputError``: what a person gave us is wrong; names the place, what was expected, the fix.
- ``RemoteError``: the other side is wrong or absent; names the peer.
- ``Refused``: a policy said no; names the clause and the figure.
- ``LocalError``: our own machine or our own bug.

``TABLE`` maps each code to a gRPC status name and an exit code; shells translate with it and
with nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """What kind of failure it is. The exit codes follow the conventions of the command line."""

    INPUT = "input"
    USAGE = "usage"
    NOT_FOUND = "not-found"
    NOT_ENROLLED = "not-enrolled"
    REFUSED = "refused"
    BUDGET = "budget"
    TAMPERED = "tampered"
    PROTOCOL = "protocol"
    UNAUTHENTICATED = "unauthenticated"
    LIMIT = "limit"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Kind:
    """How a code looks outside: gRPC status name, process exit code, heading for people."""

    grpc: str
    exit_code: int
    heading: str


TABLE: Mapping[Code, Kind] = {
    Code.INPUT: Kind("INVALID_ARGUMENT", 5, "This input cannot be used"),
    Code.USAGE: Kind("INVALID_ARGUMENT", 2, "This command is not complete"),
    Code.NOT_FOUND: Kind("NOT_FOUND", 1, "Not found"),
    Code.NOT_ENROLLED: Kind("FAILED_PRECONDITION", 4, "Not set up yet"),
    Code.REFUSED: Kind("PERMISSION_DENIED", 3, "Refused by the agreement"),
    Code.BUDGET: Kind("RESOURCE_EXHAUSTED", 6, "The budget is used up"),
    Code.TAMPERED: Kind("DATA_LOSS", 5, "This does not verify"),
    Code.PROTOCOL: Kind("FAILED_PRECONDITION", 1, "The other side broke the protocol"),
    Code.UNAUTHENTICATED: Kind("UNAUTHENTICATED", 1, "The other side could not be authenticated"),
    Code.LIMIT: Kind("RESOURCE_EXHAUSTED", 1, "A size limit was reached"),
    Code.UNAVAILABLE: Kind("UNAVAILABLE", 75, "Not available now"),
    Code.INTERNAL: Kind("INTERNAL", 1, "Something is wrong on this machine"),
}


class CoopError(Exception):
    """Base of all failures that we raise on purpose.

    Args:
        problem: one plain sentence: what is wrong, with the figure.
        code: the kind, a key of ``TABLE``.
        where: file:line:column, clause id, peer or option; may be empty.
        fix: what to do next; may be empty only where there is nothing to do.
    """

    default = Code.INTERNAL

    def __init__(
        self, problem: str, *, code: Code | None = None, where: str = "", fix: str = ""
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.code = code if code is not None else self.default
        self.where = where
        self.fix = fix

    @property
    def kind(self) -> Kind:
        """Status, exit code and heading of this failure."""
        return TABLE[self.code]

    def __str__(self) -> str:
        head = f"{self.where}: {self.problem}" if self.where else self.problem
        return f"{head} {self.fix}".rstrip()


class InputError(CoopError):
    """What a person gave us cannot be used."""

    default = Code.INPUT


class LocalError(CoopError):
    """Our machine or our bug: a full disk, a port in use, a broken invariant."""

    default = Code.INTERNAL


class RemoteError(CoopError):
    """The other side is wrong, silent or lying. ``peer`` says who."""

    default = Code.PROTOCOL

    def __init__(
        self,
        problem: str,
        *,
        peer: str = "",
        code: Code | None = None,
        where: str = "",
        fix: str = "",
    ) -> None:
        super().__init__(problem, code=code, where=where, fix=fix)
        self.peer = peer


class Refused(CoopError):
    """A policy said no. ``clauses`` are the ids of every clause that did."""

    default = Code.REFUSED

    def __init__(
        self,
        problem: str,
        *,
        clauses: tuple[str, ...] = (),
        code: Code | None = None,
        where: str = "",
        fix: str = "",
    ) -> None:
        super().__init__(problem, code=code, where=where or ", ".join(clauses), fix=fix)
        self.clauses = clauses
