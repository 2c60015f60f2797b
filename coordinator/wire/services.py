"""The ``link`` listener: mTLS, one stream of round stages a member, short calls beside it.

A servicer knows who calls from the client certificate and hands bodies to the ``Office``; it
decides nothing.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import Empty
from typing import NoReturn, Protocol

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from coordinator.wire.sessions import Close, MailNotice, Sessions, Task
from coordinator.wire.tls import bind
from protocols.chunks import Assembler, Piece, check_sha256, split
from protocols.errors import Code, CoopError, RemoteError
from protocols.ids import MemberId
from protocols.proto import link_pb2 as pb
from protocols.proto.link_pb2_grpc import LinkServicer, add_LinkServicer_to_server

WIRE_VERSION = 1
HEARTBEAT_S = 10.0
MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
MAX_MESSAGE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Letter:
    """One item of a member's durable mailbox."""

    seq: int
    kind: str
    id: str
    body: bytes = field(repr=False)


class Office(Protocol):
    """What the link needs of the rest of the coordinator."""

    def letters(self, member: MemberId, after: int) -> list[Letter]:
        """The member's mail after number ``after``."""

    def take(self, member: MemberId, kind: str, name: str, body: bytes) -> bool:
        """Keep a document from a member; True if it was known before."""

    def published(self, member: MemberId, kind: str, run: str, name: str) -> bytes:
        """A document that every member may read."""

    def renew(self, member: MemberId, csr_pem: bytes) -> bytes:
        """A new client certificate, PEM."""


class Link(LinkServicer):
    """Servicer of ``datacoop.link.v1.Link``.

    Args:
        office: the coordinator behind it.
        sessions: live streams.
        caller: the member behind a call's client certificate; raises CoopError if it is revoked.
        software: name and version.
        clock_ms: UTC milliseconds.
    """

    def __init__(
        self,
        office: Office,
        sessions: Sessions,
        caller: Callable[[grpc.ServicerContext], MemberId],
        software: str,
        clock_ms: Callable[[], int],
    ) -> None:
        self._office = office
        self._sessions = sessions
        self._caller = caller
        self._software = software
        self._clock_ms = clock_ms

    def Session(
        self, request_iterator: Iterator[pb.NodeFrame], context: grpc.ServicerContext
    ) -> Iterator[pb.CoordinatorFrame]:
        member = self._member(context)
        first = next(request_iterator, None)
        if first is None or first.WhichOneof("body") != "hello":
            fail(context, RemoteError("the stream did not begin with a greeting.", peer=member))
        if first.hello.protocol != WIRE_VERSION:
            versions = (
                f"this coordinator speaks version {WIRE_VERSION} of the link,"
                f" the node speaks {first.hello.protocol}."
            )
            fail(context, RemoteError(versions, peer=member, fix="Upgrade the older of the two."))
        session = self._sessions.open(member)
        reader = threading.Thread(
            target=self._read, args=(member, request_iterator, session.outbox.put), daemon=True
        )
        reader.start()
        try:
            yield pb.CoordinatorFrame(
                hello=pb.Hello(
                    protocol=WIRE_VERSION, software=self._software, clock_utc_ms=self._clock_ms()
                )
            )
            while context.is_active():
                try:
                    item = session.outbox.get(timeout=HEARTBEAT_S)
                except Empty:
                    beat = pb.Heartbeat(clock_utc_ms=self._clock_ms())
                    yield pb.CoordinatorFrame(heartbeat=beat)
                    continue
                if isinstance(item, Close):
                    problem = pb.Problem(code=Code.UNAVAILABLE.value, problem=item.reason)
                    yield pb.CoordinatorFrame(error=problem)
                    return
                yield from _frames(item)
        finally:
            self._sessions.close(session)

    def _read(
        self,
        member: MemberId,
        frames: Iterator[pb.NodeFrame],
        put: Callable[[Close], None],
    ) -> None:
        parts: dict[str, Assembler] = {}
        try:
            for frame in frames:
                kind = frame.WhichOneof("body")
                if kind == "reply":
                    self._reply(member, frame.reply, parts)
                elif kind == "error":
                    self._sessions.fail(member, frame.error.task_id, frame.error.problem[:200])
                elif kind is None:
                    raise RemoteError("a frame of an unknown kind came.", peer=member)
        except grpc.RpcError:
            put(Close("the connection broke"))
        except CoopError as error:
            put(Close(error.problem))
        else:
            put(Close("the node ended the stream"))

    def _reply(self, member: MemberId, part: pb.Part, parts: dict[str, Assembler]) -> None:
        assembler = parts.setdefault(part.task_id, Assembler(member))
        if len(parts) > 4:
            raise RemoteError("too many replies at once.", peer=member, code=Code.LIMIT)
        body = assembler.add(Piece(part.seq, part.last, part.total_bytes, part.data))
        if body is not None:
            del parts[part.task_id]
            self._sessions.reply(member, part.task_id, body)

    def Mail(self, request: pb.MailRequest, context: grpc.ServicerContext) -> Iterator[pb.MailItem]:
        member = self._member(context)
        try:
            letters = self._office.letters(member, request.after)
        except CoopError as error:
            fail(context, error)
        for letter in letters:
            sha256 = hashlib.sha256(letter.body).digest()
            for piece in split(letter.body):
                yield pb.MailItem(
                    seq=letter.seq,
                    kind=letter.kind,
                    id=letter.id,
                    size=piece.total_bytes,
                    sha256=sha256 if piece.seq == 0 else b"",
                    part=piece.seq,
                    last=piece.last,
                    data=piece.data,
                )

    def Submit(
        self, request_iterator: Iterator[pb.Chunk], context: grpc.ServicerContext
    ) -> pb.Receipt:
        member = self._member(context)
        try:
            kind, name, body, sha256 = _whole(request_iterator, member)
            known = self._office.take(member, kind, name, body)
        except CoopError as error:
            fail(context, error)
        return pb.Receipt(id=name, sha256=sha256, known_before=known)

    def Fetch(self, request: pb.FetchRequest, context: grpc.ServicerContext) -> Iterator[pb.Chunk]:
        member = self._member(context)
        try:
            body = self._office.published(member, request.kind, request.run, request.name)
        except CoopError as error:
            fail(context, error)
        sha256 = hashlib.sha256(body).digest()
        for piece in split(body):
            yield pb.Chunk(
                kind=request.kind if piece.seq == 0 else "",
                id=request.name if piece.seq == 0 else "",
                size=piece.total_bytes,
                sha256=sha256 if piece.seq == 0 else b"",
                seq=piece.seq,
                last=piece.last,
                data=piece.data,
            )

    def Renew(self, request: pb.RenewRequest, context: grpc.ServicerContext) -> pb.RenewReply:
        member = self._member(context)
        try:
            return pb.RenewReply(cert_pem=self._office.renew(member, request.csr_pem))
        except CoopError as error:
            fail(context, error)

    def _member(self, context: grpc.ServicerContext) -> MemberId:
        try:
            return self._caller(context)
        except CoopError as error:
            fail(context, error)


def fail(context: grpc.ServicerContext, error: CoopError) -> NoReturn:
    """End a call with the status of the error's code and our words for it."""
    problem = pb.Problem(
        code=error.code.value, problem=error.problem, where=error.where, fix=error.fix
    )
    context.set_trailing_metadata((("coop-problem-bin", problem.SerializeToString()),))
    context.abort(grpc.StatusCode[error.kind.grpc], error.problem)
    raise AssertionError("abort raises")


def _whole(chunks: Iterator[pb.Chunk], member: MemberId) -> tuple[str, str, bytes, bytes]:
    assembler = Assembler(member, MAX_DOCUMENT_BYTES)
    kind, name, sha256 = "", "", b""
    for chunk in chunks:
        if chunk.seq == 0:
            kind, name, sha256 = chunk.kind, chunk.id, chunk.sha256
        body = assembler.add(Piece(chunk.seq, chunk.last, chunk.size, chunk.data))
        if body is not None:
            check_sha256(body, sha256, member)
            return kind, name, body, sha256
    raise RemoteError("the document ended before its last part.", peer=member)


def _frames(item: Task | MailNotice) -> Iterator[pb.CoordinatorFrame]:
    if isinstance(item, MailNotice):
        yield pb.CoordinatorFrame(mail=pb.MailNotice(seq=item.seq))
        return
    for piece in split(item.body):
        yield pb.CoordinatorFrame(
            task=pb.Part(
                task_id=item.task_id,
                seq=piece.seq,
                last=piece.last,
                total_bytes=piece.total_bytes,
                data=piece.data,
            )
        )


def _health() -> health.HealthServicer:
    """The standard gRPC health service (grpc.health.v1); it says that this listener serves."""
    servicer = health.HealthServicer()
    for name in ("", "datacoop.link.v1.Link"):
        servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    return servicer


def serve_link(
    servicer: Link, address: str, credentials: grpc.ServerCredentials, members: int
) -> tuple[grpc.Server, int]:
    """Start the listener; the server and its port.

    Args:
        address: host:port, port 0 for any.
        members: how many streams may be open at once; each takes two threads.
    """
    server = grpc.server(
        ThreadPoolExecutor(max_workers=members + 32, thread_name_prefix="link"),
        options=(
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
            ("grpc.so_reuseport", 0),
        ),
    )
    add_LinkServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    health_pb2_grpc.add_HealthServicer_to_server(_health(), server)
    port = bind(server, address, credentials, "link_port")
    server.start()
    return server, port
