"""The ``join`` listener: server TLS, ``Describe`` and ``Enrol``, nothing else.

This is the only door that a stranger can knock at, so it is narrow: small messages, few at a
time, rate-limited, a deadline on every call, and no word about members.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import grpc

from coordinator.members.enrolment import Enrolment, Request
from coordinator.wire.limits import RateLimiter
from coordinator.wire.services import fail
from coordinator.wire.tls import bind, join_credentials
from protocols.errors import Code, CoopError, LocalError, RemoteError
from protocols.joining import MAX_ENROL_BYTES, PROTOCOL, Cooperative, Profile
from protocols.proto import link_pb2 as pb
from protocols.proto.link_pb2_grpc import JoinServicer, add_JoinServicer_to_server

MAX_CALL_S = 60.0
T = TypeVar("T")
logger = logging.getLogger(__name__)


class Join(JoinServicer):
    """Servicer of ``datacoop.link.v1.Join``.

    Args:
        enrolment: the desk that decides.
        link_port: where enrolled nodes connect.
        limiter: counts every call.
        software: name and version.
        now: aware UTC time.
    """

    def __init__(
        self,
        enrolment: Enrolment,
        link_port: int,
        limiter: RateLimiter,
        software: str,
        now: Callable[[], datetime],
    ) -> None:
        self._enrolment = enrolment
        self._link_port = link_port
        self._limiter = limiter
        self._software = software
        self._now = now

    def Describe(
        self, request: pb.DescribeRequest, context: grpc.ServicerContext
    ) -> pb.DescribeReply:
        """Who runs this office, and its clock."""

        def answer() -> pb.DescribeReply:
            return pb.DescribeReply(
                protocol=PROTOCOL,
                software=self._software,
                clock_utc_ms=int(self._now().timestamp() * 1000),
                cooperative=_face(self._enrolment.office.public),
            )

        return self._guarded(context, answer)

    def Enrol(self, request: pb.EnrolRequest, context: grpc.ServicerContext) -> pb.EnrolReply:
        """Spend one invitation."""

        def answer() -> pb.EnrolReply:
            profile = request.profile
            enrolled = self._enrolment.enrol(
                Request(
                    token=request.token,
                    csr_pem=request.csr_pem,
                    identity_key=request.identity_key,
                    proof=request.proof,
                    profile=Profile(profile.name, profile.legal_id, profile.trade, profile.region),
                    encryption_key=request.encryption_key,
                ),
                self._now(),
            )
            logger.info("member %s enrolled", enrolled.member[:16])
            return pb.EnrolReply(
                cooperative=_face(self._enrolment.office.public),
                cert_pem=enrolled.cert_pem,
                link_host=self._enrolment.office.link.host,
                link_port=self._link_port,
            )

        return self._guarded(context, answer)

    def _guarded(self, context: grpc.ServicerContext, answer: Callable[[], T]) -> T:
        try:
            self._limiter.take(context.peer())
            left_s = context.time_remaining()
            if left_s is None or left_s > MAX_CALL_S:
                raise RemoteError(
                    f"every call here needs a deadline of at most {MAX_CALL_S:.0f} s.",
                    peer=context.peer(),
                )
            return answer()
        except CoopError as error:
            logger.info("a call was turned away: %s", error.problem)
            fail(context, error)
        except Exception:  # outermost shell: a stranger must not read our internals
            logger.exception("a call of the join listener failed")
            fail(context, LocalError("the office could not answer.", code=Code.INTERNAL))


def _face(public: Cooperative) -> pb.Cooperative:
    return pb.Cooperative(
        coop=public.coop,
        name=public.name,
        profile=public.profile,
        ca_der=public.ca_der,
        operator_key=public.operator_key,
        coordinator_key=public.coordinator_key,
    )


@dataclass(frozen=True, slots=True)
class JoinListener:
    """A running listener."""

    server: grpc.Server
    port: int

    def stop(self, grace_s: float = 2.0) -> None:
        """Take no more calls, finish those in hand, return."""
        self.server.stop(grace_s).wait()


def serve_join(
    enrolment: Enrolment,
    address: str,
    *,
    link_port: int,
    limiter: RateLimiter,
    software: str,
    now: Callable[[], datetime],
) -> JoinListener:
    """Start the listener on ``host:port`` (0 = any port).

    Raises:
        LocalError: the port cannot be had; says why and which setting to change.
    """
    server = grpc.server(
        ThreadPoolExecutor(max_workers=4, thread_name_prefix="join"),
        maximum_concurrent_rpcs=32,
        options=(
            ("grpc.max_receive_message_length", MAX_ENROL_BYTES),
            ("grpc.max_send_message_length", MAX_ENROL_BYTES),
            ("grpc.max_concurrent_streams", 4),
            ("grpc.max_connection_idle_ms", 30_000),
            ("grpc.max_connection_age_ms", 120_000),
            ("grpc.max_connection_age_grace_ms", 10_000),
            ("grpc.so_reuseport", 0),
        ),
    )
    add_JoinServicer_to_server(Join(enrolment, link_port, limiter, software, now), server)  # type: ignore[no-untyped-call]
    port = bind(server, address, join_credentials(enrolment.where), "join_port")
    server.start()
    return JoinListener(server, port)
