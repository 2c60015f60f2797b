"""What a simulated run is watched for: true inputs before masking, and all that leaves a node."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from protocols import aggregation
from protocols.secagg import _phases
from protocols.secagg.aggregator import Aggregator
from protocols.secagg.fixedpoint import centre, pack
from protocols.secagg.masks import low_bits
from protocols.secagg.params import RoundDescriptor

WINDOW = 40
PLAIN = 10


@dataclass(frozen=True)
class Input:
    """What one member put into one attempt, before any mask was on it."""

    member: bytes
    descriptor: RoundDescriptor
    update: Any  # float (dim,), with this member's noise if the round has noise
    lanes: Any  # uint32 (dim + 1,), two's complement
    parts: tuple[Any, ...] = ()  # in a round with noise: the sum before it, and the noise, int64

    @property
    def signed(self) -> Any:
        """The quantised update and the weight, int64."""
        lanes = self.lanes & low_bits(self.descriptor.bits)
        return centre(lanes, self.descriptor.bits)

    def traces(self) -> tuple[bytes, ...]:
        """Bytes that only this input has: if one of them is found anywhere, it has leaked."""
        bits = low_bits(self.descriptor.bits)
        forms = (
            pack(self.lanes & bits, self.descriptor.width),
            (self.lanes & bits).tobytes(),
            self.signed.tobytes(),
            self.update.astype("<f4").tobytes(),
        )
        parts = (_telling(part.tobytes()) for part in self.parts)
        plain = tuple(part for part in parts if len(set(part)) >= PLAIN)  # zeros are everywhere
        return (*(_telling(form) for form in forms), *plain)


def _telling(form: bytes) -> bytes:
    """The window of the bytes with the most different values."""
    step = max(8, len(form) // 60)
    starts = range(0, max(1, len(form) - WINDOW), step)
    best = max(starts, key=lambda at: len(set(form[at : at + WINDOW])))
    return form[best : best + WINDOW]


@dataclass
class Spies:
    """Installed for the length of one run."""

    inputs: list[Input] = field(default_factory=list)
    machines: list[Aggregator] = field(default_factory=list)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        mask, quantise, add_noise = _phases.mask, _phases.quantise, _phases.add_noise
        who = threading.local()

        def watched_mask(party: Any, phase: Any, update: Any, weight: int) -> Any:
            who.me = party.me
            return mask(party, phase, update, weight)

        def watched_quantise(update: Any, weight: int, rounding: Any, descriptor: Any) -> Any:
            lanes = quantise(update, weight, rounding, descriptor)
            self.inputs.append(Input(who.me, descriptor, np.array(update), np.array(lanes)))
            return lanes

        def watched_noise(whole: Any, noise: Any, descriptor: Any) -> Any:
            lanes = add_noise(whole, noise, descriptor)
            floats = (whole + noise) / descriptor.scale
            parts = (np.array(whole), np.array(noise))
            self.inputs.append(Input(who.me, descriptor, floats, np.array(lanes), parts))
            return lanes

        def watched_machine(*args: Any) -> Aggregator:
            machine = Aggregator(*args)
            self.machines.append(machine)
            return machine

        patch.setattr(_phases, "mask", watched_mask)
        patch.setattr(_phases, "quantise", watched_quantise)
        patch.setattr(_phases, "add_noise", watched_noise)
        watched = replace(aggregation.SA_Q1, aggregator=watched_machine)
        patch.setattr(aggregation, "MODES", {watched.protocol: watched})

    def input_of(self, member: bytes, round_number: int, attempt: int) -> Input:
        found = [
            one
            for one in self.inputs
            if (one.member, one.descriptor.round, one.descriptor.attempt)
            == (member, round_number, attempt)
        ]
        assert len(found) == 1, f"{len(found)} inputs of one member in one attempt"
        return found[0]


def held_bytes(thing: object, seen: set[int] | None = None) -> Iterator[bytes]:
    """Every run of bytes that can be reached from an object: what is in its memory."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, bytes | bytearray):
        yield bytes(thing)
    elif isinstance(thing, np.ndarray):
        yield thing.tobytes()
    elif isinstance(thing, Mapping):
        for key, value in thing.items():
            yield from held_bytes(key, seen)
            yield from held_bytes(value, seen)
    elif isinstance(thing, Sequence | AbstractSet) and not isinstance(thing, str):
        for value in thing:
            yield from held_bytes(value, seen)
    else:
        names = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
        for name in (*names, *getattr(thing, "__dict__", ())):
            yield from held_bytes(getattr(thing, name, None), seen)
