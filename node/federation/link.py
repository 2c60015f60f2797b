"""The gRPC listen loop: one outbound stream for round stages, short calls for everything else.

The node dials, the coordinator never does. A stream that breaks is dialled again with growing
pauses; a task that comes twice (the coordinator could not know that we had answered) gets the
same reply from memory and is not worked on again.
"""

from __future__ import annotations

import hashlib
import logging
import random
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import grpc

from protocols.chunks import MAX_BODY_BYTES, Assembler, Piece, check_sha256, split
from protocols.errors import Code, CoopError, RemoteError
from protocols.plain import printable
from protocols.proto import link_pb2 as pb
from protocols.proto.link_pb2_grpc import LinkStub

_log = logging.getLogger(__name__)
WIRE_VERSION = 1
HEARTBEAT_S = 10.0
SILENCE_S = 45.0
CALL_S = 30.0
REMEMBERED_REPLIES = 8
MAX_TASKS = 8  # waiting for the worker; an honest coordinator sends one at a time
MAX_LETTER_BYTES = 8 * 1024 * 1024
MAX_SAID = 500
PEER = "coordinator"


@dataclass(frozen=True, slots=True)
class Letter:
    """One item of the durable mailbox."""

    seq: int
    kind: str
    id: str
    body: bytes = field(repr=False)


def remote_error(error: grpc.RpcError) -> RemoteError:
    """Our error for a failed call: the coordinator's own words when it sent some."""
    for key, value in getattr(error, "trailing_metadata", tuple)() or ():
        if key == "coop-problem-bin":
            said = pb.Problem.FromString(value)
            code = Code(said.code) if said.code in set(Code) else Code.PROTOCOL
            return RemoteError(
                printable(said.problem, MAX_SAID),
                peer=PEER,
                code=code,
                where=printable(said.where, 200) or PEER,
                fix=printable(said.fix, MAX_SAID),
            )
    status = error.code() if hasattr(error, "code") else grpc.StatusCode.UNKNOWN
    # cancelled: our own side closed the connection, so what was sent may not have arrived
    if status in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return RemoteError(
            "the coordinator does not answer.",
            peer=PEER,
            code=Code.UNAVAILABLE,
            where=PEER,
            fix="Check the network; the node keeps trying, nothing is lost.",
        )
    if status is grpc.StatusCode.DEADLINE_EXCEEDED:
        return RemoteError(
            "the coordinator took too long to answer.",
            peer=PEER,
            code=Code.UNAVAILABLE,
            where=PEER,
        )
    details = printable(str(error.details() if hasattr(error, "details") else error), MAX_SAID)
    return RemoteError(f"the call failed ({status.name}): {details}", peer=PEER, where=PEER)


def _begin(method: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Begin a call; RemoteError if another thread has closed the channel meanwhile."""
    try:
        return method(*args, **options)
    except ValueError as error:  # gRPC's word for a closed channel; it has no class of its own
        raise RemoteError(
            "the connection was closed.", peer=PEER, code=Code.UNAVAILABLE, where=PEER
        ) from error


class Calls:
    """Short calls on the mTLS channel; every one has a deadline."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = LinkStub(channel)  # type: ignore[no-untyped-call]

    def mail(self, after: int) -> Iterator[Letter]:
        """Letters after number ``after``; asking acknowledges the earlier ones."""
        assembler: Assembler | None = None
        sha256 = b""
        try:
            for item in _begin(self._stub.Mail, pb.MailRequest(after=after), timeout=CALL_S * 4):
                if item.part == 0:
                    assembler, sha256 = Assembler(PEER, MAX_LETTER_BYTES), item.sha256
                if assembler is None:
                    raise RemoteError("a letter began in the middle.", peer=PEER)
                body = assembler.add(Piece(item.part, item.last, item.size, item.data))
                if body is not None:
                    check_sha256(body, sha256, PEER)
                    yield Letter(item.seq, item.kind, item.id, body)
                    assembler = None
        except grpc.RpcError as error:
            raise remote_error(error) from error

    def submit(self, kind: str, name: str, body: bytes) -> None:
        """Hand over one document; the same document twice is accepted and changes nothing."""
        sha256 = hashlib.sha256(body).digest()

        def parts() -> Iterator[pb.Chunk]:
            for piece in split(body):
                chunk = pb.Chunk(
                    size=piece.total_bytes, seq=piece.seq, last=piece.last, data=piece.data
                )
                if piece.seq == 0:
                    chunk.kind, chunk.id, chunk.sha256 = kind, name, sha256
                yield chunk

        try:
            receipt = _begin(self._stub.Submit, parts(), timeout=CALL_S)
        except grpc.RpcError as error:
            raise remote_error(error) from error
        if receipt.sha256 != sha256:
            raise RemoteError("the receipt is for another document.", peer=PEER)

    def fetch(self, kind: str, run: str, name: str, max_bytes: int = MAX_BODY_BYTES) -> bytes:
        """A published document: sums, releases, proofs."""
        assembler, sha256 = Assembler(PEER, max_bytes), b""
        try:
            request = pb.FetchRequest(kind=kind, run=run, name=name)
            for chunk in _begin(self._stub.Fetch, request, timeout=CALL_S * 4):
                sha256 = chunk.sha256 if chunk.seq == 0 else sha256
                body = assembler.add(Piece(chunk.seq, chunk.last, chunk.size, chunk.data))
                if body is not None:
                    check_sha256(body, sha256, PEER)
                    return body
        except grpc.RpcError as error:
            raise remote_error(error) from error
        raise RemoteError(f"{kind} {name} ended before its last part.", peer=PEER)


class Session:
    """The stream of round stages; survives its connections.

    Args:
        software: name and version, for the greeting.
        clock_ms: UTC milliseconds.
        handle: the work: a task's envelope in, the reply's envelope out. Called in one thread,
            one task at a time. A ``CoopError`` becomes a refusal without its reasons: those stay
            in the member's own journal.
        on_mail: called when the coordinator says that mail lies ready.
    """

    def __init__(
        self,
        software: str,
        clock_ms: Callable[[], int],
        handle: Callable[[bytes], bytes],
        on_mail: Callable[[], None],
    ) -> None:
        self._software = software
        self._clock_ms = clock_ms
        self._handle = handle
        self._on_mail = on_mail
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="round")
        self._replies: OrderedDict[str, bytes] = OrderedDict()
        self._busy: set[str] = set()
        self._lock = threading.Lock()
        self._outbox: SimpleQueue[pb.NodeFrame | None] = SimpleQueue()

    def run(self, channel: grpc.Channel, stop: threading.Event) -> None:
        """Serve one connection until it ends or ``stop`` is set; RemoteError when it breaks."""
        outbox: SimpleQueue[pb.NodeFrame | None] = SimpleQueue()
        self._outbox = outbox
        stub = LinkStub(channel)  # type: ignore[no-untyped-call]
        call = _begin(stub.Session, self._frames(outbox, stop))
        watch = _Watchdog(call, stop, SILENCE_S)
        try:
            parts: dict[str, Assembler] = {}
            for frame in call:
                watch.alive()
                self._frame(frame, parts)
        except grpc.RpcError as error:
            if not stop.is_set():
                raise remote_error(error) from error
        finally:
            watch.stop()
            outbox.put(None)
            call.cancel()

    def close(self) -> None:
        """Wait for the task in hand and stop."""
        self._worker.shutdown(wait=True)

    def _frames(
        self, outbox: SimpleQueue[pb.NodeFrame | None], stop: threading.Event
    ) -> Iterator[pb.NodeFrame]:
        hello = pb.Hello(
            protocol=WIRE_VERSION, software=self._software, clock_utc_ms=self._clock_ms()
        )
        yield pb.NodeFrame(hello=hello)
        while not stop.is_set():
            try:
                frame = outbox.get(timeout=HEARTBEAT_S)
            except Empty:
                frame = pb.NodeFrame(heartbeat=pb.Heartbeat(clock_utc_ms=self._clock_ms()))
            if frame is None:
                return
            yield frame

    def _frame(self, frame: pb.CoordinatorFrame, parts: dict[str, Assembler]) -> None:
        body = frame.WhichOneof("body")
        if body == "task":
            part = frame.task
            assembler = parts.setdefault(part.task_id, Assembler(PEER))
            if len(parts) > REMEMBERED_REPLIES:
                raise RemoteError("too many tasks at once.", peer=PEER, code=Code.LIMIT)
            whole = assembler.add(Piece(part.seq, part.last, part.total_bytes, part.data))
            if whole is not None:
                del parts[part.task_id]
                self._task(part.task_id, whole)
        elif body == "mail":
            self._on_mail()
        elif body == "hello":
            if frame.hello.protocol != WIRE_VERSION:
                raise RemoteError(
                    f"the coordinator speaks version {frame.hello.protocol} of the link,"
                    f" this node speaks {WIRE_VERSION}.",
                    peer=PEER,
                    fix="Upgrade the older of the two.",
                )
        elif body == "error":
            problem = printable(frame.error.problem, MAX_SAID)
            raise RemoteError(problem, peer=PEER, code=Code.UNAVAILABLE, where=PEER)
        elif body is None:
            raise RemoteError("a frame of an unknown kind came.", peer=PEER)

    def _task(self, task_id: str, envelope: bytes) -> None:
        with self._lock:
            known = self._replies.get(task_id)
            if known is None and task_id in self._busy:
                return
            if known is None and len(self._busy) >= MAX_TASKS:
                raise RemoteError("too many tasks at once.", peer=PEER, code=Code.LIMIT)
            if known is None:
                self._busy.add(task_id)
        if known is not None:
            self._send(task_id, known)
            return
        future = self._worker.submit(self._handle, envelope)
        future.add_done_callback(lambda done: self._done(task_id, done))

    def _done(self, task_id: str, done: Future[bytes]) -> None:
        error = done.exception()
        if error is None:
            reply = done.result()
            with self._lock:
                self._replies[task_id] = reply
                while len(self._replies) > REMEMBERED_REPLIES:
                    self._replies.popitem(last=False)
                self._busy.discard(task_id)
            self._send(task_id, reply)
            return
        with self._lock:
            self._busy.discard(task_id)
        code = error.code if isinstance(error, CoopError) else Code.INTERNAL
        if not isinstance(error, CoopError):
            _log.error("a round stage failed", exc_info=error)
        problem = pb.Problem(code=code.value, problem="this member does not go on", task_id=task_id)
        self._outbox.put(pb.NodeFrame(error=problem))

    def _send(self, task_id: str, reply: bytes) -> None:
        for piece in split(reply):
            part = pb.Part(
                task_id=task_id,
                seq=piece.seq,
                last=piece.last,
                total_bytes=piece.total_bytes,
                data=piece.data,
            )
            self._outbox.put(pb.NodeFrame(reply=part))


class _Watchdog:
    """Cancels a call that has been silent for too long or that should stop."""

    def __init__(self, call: grpc.Call, stop: threading.Event, silence_s: float) -> None:
        self._call = call
        self._stop = stop
        self._silence_s = silence_s
        self._alive = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def alive(self) -> None:
        self._alive.set()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        quiet_s, step_s = 0.0, 0.2
        while not self._ended.wait(step_s):
            quiet_s = 0.0 if self._alive.is_set() else quiet_s + step_s
            self._alive.clear()
            if self._stop.is_set() or quiet_s > self._silence_s:
                self._call.cancel()
                return


def pauses(first_s: float = 0.5, most_s: float = 30.0) -> Iterator[float]:
    """Growing pauses between attempts to connect, with jitter so that members do not march."""
    pause_s = first_s
    while True:
        yield pause_s * (0.5 + random.random())  # noqa: S311 - spreads load, guards nothing
        pause_s = min(most_s, pause_s * 2)
