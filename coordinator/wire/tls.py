"""TLS of the two listeners, who is calling, and what to say when a port cannot be had.

``join`` shows the self-signed certificate over the server's key, which nodes pin. ``link`` shows
the one of the authority and lets nobody in who has no certificate of the same authority. A
certificate that verifies is not enough: revoked ones and removed members are looked up.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import cast

import grpc
from cryptography import x509
from cryptography.x509.oid import NameOID

from coordinator import files
from coordinator.members.enrolment import Enrolment
from coordinator.members.pki import Places
from protocols.errors import Code, CoopError, InputError, LocalError, RemoteError
from protocols.ids import MemberId, member_id
from protocols.joining import parse_address


def join_credentials(where: Places) -> grpc.ServerCredentials:
    """Server TLS with the certificate that nodes pin; no client certificates."""
    key = files.read(where.keys_dir / "server.key.pem")
    certificate = files.read(where.keys_dir / "join.cert.pem")
    return grpc.ssl_server_credentials([(key, certificate)])


def link_credentials(where: Places) -> grpc.ServerCredentials:
    """Mutual TLS under the cooperative's own authority and nothing else."""
    key = files.read(where.keys_dir / "server.key.pem")
    certificate = files.read(where.keys_dir / "server.cert.pem")
    authority = files.read(where.ca_certificate)
    return grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=authority, require_client_auth=True
    )


@dataclass(frozen=True, slots=True)
class Peer:
    """Who presented a certificate: still to be looked up."""

    member: MemberId
    serial: str


def peer_certificate(context: grpc.ServicerContext) -> Peer:
    """The client certificate of a call; RemoteError if there is none or it names no member."""
    found = cast("dict[str, list[bytes]]", context.auth_context()).get("x509_pem_cert", [])
    try:
        certificate = x509.load_pem_x509_certificate(b"".join(found))
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        (name,) = (str(entry.value) for entry in names)
        return Peer(member_id(name), f"{certificate.serial_number:x}")
    except (ValueError, InputError) as error:
        raise RemoteError(
            "the connection carries no member's certificate.",
            peer=context.peer(),
            code=Code.UNAUTHENTICATED,
        ) from error


def peer_member(
    context: grpc.ServicerContext, enrolment: Enrolment, now: Callable[[], datetime]
) -> MemberId:
    """The active member behind a call on the link.

    Raises:
        RemoteError: no certificate, revoked, expired, or a member that was removed.
    """
    peer = peer_certificate(context)
    enrolment.check(peer.member, peer.serial, now())
    return peer.member


def bind(
    server: grpc.Server, address: str, credentials: grpc.ServerCredentials, option: str
) -> int:
    """Let the server listen on ``host:port`` (0 = any port); the port.

    Args:
        option: the setting to change when it fails, such as ``join_port``.

    Raises:
        LocalError: the port is taken, needs more rights, or the address is not of this machine.
    """
    try:
        return server.add_secure_port(address, credentials)
    except RuntimeError as error:  # gRPC says only "failed to bind"
        raise _bind_problem(address, option) from error


def _bind_problem(address: str, option: str) -> CoopError:
    where = parse_address(address, option)
    reason = 0
    try:
        family = socket.AF_INET6 if ":" in where.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((where.host, where.port))
    except OSError as error:
        reason = error.errno or 0
    if reason == errno.EACCES:
        problem = f"port {where.port} may only be opened by an administrator."
        fix = f"Set {option} in config.toml to a port above 1023."
    elif reason == errno.EADDRNOTAVAIL:
        problem = f"{where.host} is not an address of this machine."
        fix = "Set bind in config.toml to 0.0.0.0 or to an address of this machine."
    elif reason == errno.EADDRINUSE:
        problem = f"port {where.port} is in use by another program."
        fix = f"Stop it (is a coordinator running already?), or set {option} in config.toml."
    else:
        problem = f"this machine does not let us listen on {address}."
        fix = f"Check bind and {option} in config.toml."
    return LocalError(problem, code=Code.UNAVAILABLE, where=option, fix=fix)
