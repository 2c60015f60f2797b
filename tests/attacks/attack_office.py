"""The attacked cooperative's office: the real coordinator, with a liar between it and the wire.

Everything is the product's: two listeners with TLS, database, folders, letters, the run and its
stage logs, sums and releases. Two places are opened: where envelopes leave for members (Flower's
``Grid`` over the link) and where members fetch documents (the ``Desk``). There ``Malice`` acts,
with the coordinator's own key. What members answer is kept for the tests to look at.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from attack_lines import Lines
from flwr.app import ConfigRecord, Error, Message

from coordinator import server as serving
from coordinator.desk import Desk
from coordinator.events import Events
from coordinator.rounds import run as conducting
from coordinator.wire.grid import STAGE, UNANSWERED, LinkGrid, envelope_of, node_number, record
from coordinator.wiring import open_house, utc_now
from protocols import codec
from protocols.ids import MemberId
from protocols.secagg.messages import AdvertiseRequest, Reply, Request, Stage
from protocols.signing import SigningKey

Edit = Callable[[bytes, bytes], bytes | Sequence[bytes] | None]  # (envelope, member) -> what goes


@dataclass(frozen=True)
class Said:
    """One request that went out to a member, and what came back over the link."""

    member: MemberId
    run: str
    round: int
    attempt: int
    stage: Stage
    asked: bytes = field(repr=False)
    reply: bytes | None = field(repr=False)
    problem: str = ""

    def answer(self) -> Reply | None:
        """The reply, decoded; None if the member said no, or confirmed a sum."""
        if self.reply is None or self.stage is Stage.AUDIT:
            return None
        found = codec.peek_envelope(self.reply)
        return codec.decode_reply(found.stage, found.body, self.member)


@dataclass
class Lie:
    """What these members get in place of the coordinator's envelope, at the first chance.

    ``edit`` gives another envelope, None to send nothing, or several to be sent one after the
    other: the honest part of the office gets the answer to the last. ``told`` is what came of it,
    ``refused`` what these members wrote down meanwhile.
    """

    stage: Stage
    members: frozenset[MemberId]
    edit: Edit
    round: int | None = None
    attempt: int | None = None
    times: int = 1
    told: list[Said] = field(default_factory=list)
    refused: dict[MemberId, list[str]] = field(default_factory=dict)

    def replies(self) -> list[Reply]:
        """What the members in it answered; a refusal is no reply."""
        return [reply for one in self.told if (reply := one.answer()) is not None]


Script = Callable[["Wire", Mapping[MemberId, bytes]], None]


@dataclass
class TakeOver:
    """From this stage on a script talks to the members; the honest office hears nothing."""

    stage: Stage
    script: Script
    round: int = 1
    raised: list[BaseException] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)


@dataclass
class Malice:
    """What the office does besides its work."""

    key: SigningKey | None = field(default=None, repr=False)
    lies: list[Lie] = field(default_factory=list)
    takeovers: list[TakeOver] = field(default_factory=list)
    fetched: Callable[[MemberId, str, str, str, bytes], bytes] | None = None
    watch: Callable[[int, int, Stage], None] | None = None
    reasons: Callable[[MemberId], list[str]] = lambda member: []
    said: list[Said] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def forget(self) -> None:
        """Before the next run: honest again."""
        self.lies, self.takeovers, self.fetched, self.watch = [], [], None, None

    # -------------------------------------------------------------- sealed again

    def sealed(self, envelope: bytes, **changes: Any) -> bytes:
        """The envelope with some fields changed, signed with the coordinator's key."""
        assert self.key is not None
        found = codec.peek_envelope(envelope)
        fields = {
            name: getattr(found, name)
            for name in ("run", "round", "attempt", "stage", "agreement", "body")
        }
        return codec.seal(key=self.key, sender=codec.COORDINATOR, **{**fields, **changes})

    def with_request(self, envelope: bytes, edit: Callable[[Any], Any]) -> bytes:
        """The envelope with another request in it; a changed descriptor is signed again."""
        assert self.key is not None
        found = codec.peek_envelope(envelope)
        before: Any = (
            codec.decode_audit_request(found.body)
            if found.stage is Stage.AUDIT
            else codec.decode_request(found.stage, found.body)
        )
        request = edit(before)
        if isinstance(request, AdvertiseRequest) and request.signature == before.signature:
            signature = self.key.sign("SAQ1 RD", request.descriptor.digest())
            request = replace(request, signature=signature)
        return self.sealed(envelope, body=codec.encode_message(request))

    def asking(self, edit: Callable[[Any, bytes], Request]) -> Edit:
        """A lie's edit that changes the request inside the envelope; it knows the member."""
        return lambda envelope, member: self.with_request(
            envelope, lambda request: edit(request, member)
        )


class Wire:
    """What a script does over the link, as the coordinator."""

    def __init__(self, grid: EvilGrid, malice: Malice, found: codec.Envelope) -> None:
        self._grid, self._malice, self._found = grid, malice, found

    def ask(
        self,
        stage: Stage,
        requests: Mapping[MemberId, Request],
        *,
        attempt: int | None = None,
        round: int | None = None,
        timeout_s: float = 20.0,
    ) -> dict[MemberId, Reply]:
        """One request to each; the decoded replies of those who answered."""
        said = self.send(
            {
                member: self.seal(stage, request, attempt=attempt, round=round)
                for member, request in requests.items()
            },
            timeout_s,
        )
        replies = {one.member: one.answer() for one in said}
        return {member: reply for member, reply in replies.items() if reply is not None}

    def seal(
        self,
        stage: Stage,
        request: Request,
        *,
        attempt: int | None = None,
        round: int | None = None,
    ) -> bytes:
        """A request in an envelope of this run, signed with the coordinator's key."""
        assert self._malice.key is not None
        one = self._found
        return codec.seal(
            key=self._malice.key,
            sender=codec.COORDINATOR,
            run=one.run,
            round=one.round if round is None else round,
            attempt=one.attempt if attempt is None else attempt,
            stage=stage,
            agreement=one.agreement,
            body=codec.encode_message(request),
        )

    def send(self, envelopes: Mapping[MemberId, bytes], timeout_s: float = 20.0) -> list[Said]:
        """Envelopes as they are, all at once; what came of each."""
        return self._grid.exchange(envelopes, timeout_s)


class EvilGrid(LinkGrid):
    """The product's grid over live sessions; ``malice`` decides what goes out."""

    def __init__(self, malice: Malice, *args: Any) -> None:
        super().__init__(*args)
        self._malice = malice

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        listed = list(messages)
        envelopes = {self.members[m.metadata.dst_node_id]: envelope_of(m) for m in listed}
        by_member = {self.members[m.metadata.dst_node_id]: m for m in listed}
        if not envelopes:
            return
        first = codec.peek_envelope(next(iter(envelopes.values())))
        if self._malice.watch is not None:
            self._malice.watch(first.round, first.attempt, first.stage)
        taken = self._taken(first)
        if taken is not None:
            try:
                taken.script(Wire(self, self._malice, first), envelopes)
            except BaseException as error:  # noqa: BLE001 - the test raises it in its own thread
                taken.raised.append(error)
            finally:
                taken.done.set()
            for message in listed:
                yield Message(Error(UNANSWERED, "not asked"), reply_to=message)
            return
        for one in self._told(first, envelopes, timeout or 60.0):
            message = by_member[one.member]
            if one.reply is None:
                yield Message(Error(UNANSWERED, one.problem), reply_to=message)
            else:
                yield Message(record(one.reply), reply_to=message)

    def _taken(self, found: codec.Envelope) -> TakeOver | None:
        for one in self._malice.takeovers:
            if (one.stage, one.round) == (found.stage, found.round) and not one.done.is_set():
                return one
        return None

    def _told(
        self, found: codec.Envelope, envelopes: Mapping[MemberId, bytes], timeout_s: float
    ) -> list[Said]:
        lie = self._lie(found)
        if lie is None:
            return self.exchange(envelopes, timeout_s)
        before = {member: len(self._malice.reasons(member)) for member in lie.members}
        plans: dict[MemberId, list[bytes]] = {}
        silent: list[Said] = []
        for member, envelope in envelopes.items():
            told = lie.edit(envelope, _raw(member)) if member in lie.members else envelope
            if told is None:
                silent.append(_said(member, envelope, None, "not asked"))
            else:
                plans[member] = [told] if isinstance(told, bytes) else list(told)
        out: dict[MemberId, Said] = {}
        while plans:
            now = {member: rest.pop(0) for member, rest in plans.items()}
            for one in self.exchange(now, timeout_s):
                out[one.member] = one
                if one.member in lie.members:
                    lie.told.append(one)
            plans = {member: rest for member, rest in plans.items() if rest}
        for member, count in before.items():
            lie.refused[member] = self._malice.reasons(member)[count:]
        return [*out.values(), *silent]

    def _lie(self, found: codec.Envelope) -> Lie | None:
        for one in self._malice.lies:
            fits = one.stage is found.stage and one.round in (None, found.round)
            if fits and one.attempt in (None, found.attempt) and one.times > 0:
                one.times -= 1
                return one
        return None

    def exchange(self, envelopes: Mapping[MemberId, bytes], timeout_s: float) -> list[Said]:
        """Send as the product does and wait; every exchange is remembered."""
        messages = [
            self.create_message(record(envelope), STAGE, node_number(member), "-", timeout_s + 60)
            for member, envelope in envelopes.items()
        ]
        out = []
        for reply in super().send_and_receive(messages, timeout=timeout_s):
            member = self.members[reply.metadata.src_node_id]
            body = None if reply.has_error() else _body(reply)
            problem = (reply.error.reason or "") if reply.has_error() else ""
            out.append(_said(member, envelopes[member], body, problem))
        with self._malice.lock:
            self._malice.said += out
        return out


def _raw(member: MemberId) -> bytes:
    return bytes.fromhex(member)


def _body(reply: Message) -> bytes:
    content = reply.content["envelope"]
    assert isinstance(content, ConfigRecord)
    value = content["bytes"]
    assert isinstance(value, bytes)
    return value


def _said(member: MemberId, asked: bytes, reply: bytes | None, problem: str) -> Said:
    try:
        found = codec.peek_envelope(asked)
    except Exception:  # noqa: BLE001 - garbage was sent on purpose
        return Said(member, "", 0, 0, Stage.ADVERTISE, asked, reply, problem)
    place = (found.run.hex(), found.round, found.attempt, found.stage)
    return Said(member, *place, asked, reply, problem)


class EvilDesk(Desk):
    """The product's desk; ``malice`` may change what a member fetches."""

    malice: Malice

    def published(self, member: MemberId, kind: str, run: str, name: str) -> bytes:
        raw = super().published(member, kind, run, name)
        change = self.malice.fetched
        return raw if change is None else change(member, kind, run, name, raw)


@contextmanager
def opened(malice: Malice) -> Iterator[None]:
    """The two places are open, and nobody waits longer than a small test needs."""

    class Ours(EvilDesk):
        pass

    Ours.malice = malice
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serving, "LinkGrid", lambda *args: EvilGrid(malice, *args))
        patch.setattr(serving, "Desk", Ours)
        patch.setattr(serving, "TICK_S", 0.05)
        patch.setattr(conducting, "POLL_S", 0.02)
        patch.setattr(conducting, "MAX_ATTEMPTS", 40)
        yield


class Office:
    """``coop-coordinator serve`` in a thread."""

    def __init__(self, folder: Path, malice: Malice) -> None:
        self.folder, self.malice = folder, malice
        self.lines = Lines()

    def start(self) -> None:
        since = len(self.lines.events)
        self.house = open_house(self.folder)
        self.malice.key = self.house.key
        self.server = serving.Server(self.house, Events(self.lines, False, utc_now))  # type: ignore[arg-type]
        self._thread = threading.Thread(target=self.server.run, name="office")
        self._thread.start()
        self.lines.wait(lambda one: one["event"] == "listening", since)

    def stop(self) -> None:
        self.server.stop()
        self._thread.join()
        self.house.close()
