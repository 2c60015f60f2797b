"""How a run talks to its members, whatever engine carries the messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from protocols.ids import MemberId


@dataclass(frozen=True, slots=True)
class Answer:
    """One member's answer to one stage: an envelope, or why there is none."""

    member: MemberId
    envelope: bytes | None = field(repr=False)
    problem: str = ""


class Exchange(Protocol):
    """One stage: envelopes out, answers back."""

    def stage(
        self, round_number: int, envelopes: Mapping[MemberId, bytes], timeout_s: float
    ) -> Iterable[Answer]:
        """Send to each member; an answer for everybody, in the order in which they came."""

    def wait_for(self, members: Iterable[MemberId], timeout_s: float) -> frozenset[MemberId]:
        """Wait until these members are connected or the time is over; those who are."""

    def connections(self) -> Mapping[MemberId, int]:
        """Who is there, with a number that changes with each new connection."""
