"""Follow a run through its published sums, round by round, believing nothing.

A round's record is its descriptor with the coordinator's signature and its published sum. Each
must be what follows from the rounds before; then the model takes the server step. Members do
this while they train, the coordinator before it releases, auditors from files.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from protocols.aggregation import mode
from protocols.bundle import Vector, model_file, model_parameters
from protocols.canonical import encode
from protocols.codec import decode_published, decode_request, encode_message
from protocols.course import Course, model_name
from protocols.errors import Code, InputError
from protocols.ids import ModelId
from protocols.secagg.messages import AdvertiseRequest, Stage
from protocols.secagg.params import NO_TRANSCRIPT, RoundDescriptor
from protocols.secagg.published import PublishedSum
from protocols.signing import verify
from protocols.workloads.server import ServerState

FORMAT = b"datacoop/round/1"
COORDINATOR = "coordinator"


@dataclass(frozen=True, slots=True)
class Record:
    """One round as it is kept and handed on."""

    request: AdvertiseRequest
    published: PublishedSum

    @property
    def descriptor(self) -> RoundDescriptor:
        """The round's descriptor."""
        return self.request.descriptor


def record_bytes(record: Record) -> bytes:
    """The record as a file: three length-prefixed fields."""
    return encode(FORMAT, encode_message(record.request), encode_message(record.published))


def read_record(raw: bytes, where: str) -> Record:
    """A record from bytes of unknown origin; nothing in it is verified yet.

    Raises:
        InputError, RemoteError: malformed, or written in any other way than ``record_bytes`` does.
    """
    fields: list[bytes] = []
    at = 0
    while at < len(raw) and len(fields) < 3:
        size = int.from_bytes(raw[at : at + 8], "little")
        fields.append(raw[at + 8 : at + 8 + size])
        at += 8 + size
    if len(fields) != 3 or fields[0] != FORMAT or encode(*fields) != raw:
        raise InputError("this is not the record of a round.", code=Code.TAMPERED, where=where)
    request = decode_request(Stage.ADVERTISE, fields[1])
    assert isinstance(request, AdvertiseRequest)  # the stage has no other
    return Record(request, decode_published(fields[2]))


@dataclass(frozen=True, slots=True)
class Trace:
    """A run after ``number`` verified rounds.

    ``survivors`` are the members in each sum, hex ids; ``last`` the last record.
    """

    course: Course
    state: ServerState = field(repr=False)
    number: int = 0
    transcript: bytes = NO_TRANSCRIPT
    survivors: tuple[frozenset[str], ...] = ()
    last: Record | None = field(default=None, repr=False)

    @property
    def finished(self) -> bool:
        """Whether the evaluation round is in."""
        return self.number == self.course.last_round

    @property
    def model(self) -> ModelId:
        """The model after these rounds."""
        return model_name(self.state)

    def metrics(self) -> dict[str, float]:
        """Means over the members, once the evaluation round is in.

        Raises:
            InputError: it is not, or the sum is impossible.
            Refused: too few members could evaluate.
        """
        if not self.finished or self.last is None:
            raise InputError(f"the run has had {self.number} of {self.course.last_round} rounds.")
        return self.course.metrics_of(self.last.published.total, len(self.survivors[-1]))

    def model_file(self) -> bytes:
        """The safetensors file of the model, the same bytes for everybody."""
        order = self.course.order
        layout = [(block.name, block.shape) for block in self.course.recipe.layout()]
        metadata = {
            "agreement": order.order.agreement,
            "format": "datacoop/model/1",
            "model": self.model,
            "order": order.id,
            "workload": f"{order.order.workload.id} {order.order.workload.version}",
        }
        return model_file(self.state.params, layout, metadata)


def begin(course: Course) -> Trace:
    """Before the first round: model_0 from the order."""
    return Trace(course, course.first_model())


def follow(trace: Trace, raw: bytes, coordinator_key: bytes, where: str) -> Trace:
    """Verify the next round's record and take its step.

    Args:
        trace: the run so far.
        raw: the record.
        coordinator_key: Ed25519 public key of the coordinator, from the agreement.
        where: name of the record, for errors.

    Raises:
        InputError, RemoteError: the record is malformed, the descriptor is not the one that
            follows or not signed, the certificate does not verify, or the sum leads nowhere.
    """
    course, number = trace.course, trace.number + 1
    record = read_record(raw, where)
    descriptor, published = record.descriptor, record.published
    expected = course.descriptor(
        number, descriptor.attempt, trace.state, descriptor.log, trace.transcript
    )
    if descriptor != expected:
        raise InputError(
            f"its descriptor is not the one that follows: {_differing(descriptor, expected)}.",
            code=Code.TAMPERED,
            where=where,
        )
    verify(
        coordinator_key,
        record.request.signature,
        "SAQ1 RD",
        descriptor.digest(),
        peer=COORDINATOR,
    )
    mode(descriptor.protocol).check(published, descriptor, course.roster_keys)
    state = course.next_model(trace.state, descriptor, published.total, published.weight_sum)
    return replace(
        trace,
        state=state,
        number=number,
        transcript=published.a3,
        survivors=(
            *trace.survivors,
            frozenset(one.hex() for one in published.survivors(descriptor)),
        ),
        last=record,
    )


def read_parameters(file: bytes, model: ModelId, where: str) -> Vector:
    """The flat float32 vector of a model file, if it is the model of that id; else InputError."""
    parameters, _ = model_parameters(file, where)
    found = hashlib.sha256(parameters.astype("<f4").tobytes()).hexdigest()
    if found != model:
        raise InputError(
            f"the file holds model {found[:16]}, expected {model[:16]}.",
            code=Code.TAMPERED,
            where=where,
            fix="Remove it and pull the release again.",
        )
    return parameters


def _differing(found: RoundDescriptor, expected: RoundDescriptor) -> str:
    names = [
        name
        for name in RoundDescriptor.__dataclass_fields__
        if getattr(found, name) != getattr(expected, name)
    ]
    return f"it differs in {', '.join(names)}"
