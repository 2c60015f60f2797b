"""Joining a cooperative, and opening the connection of a member.

The order in ``join`` is the point: look at the server's key without sending anything, compare it
with the invitation, only then speak; read who is asking, let a person say yes, only then send the
identity; check everything that comes back, only then keep it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import grpc

from node import files, keys, membership
from node.federation.link import remote_error
from node.federation.probe import Probe, check_clock, diagnose, pin, probe
from node.membership import Membership, authority_pem
from protocols.errors import Code, InputError, LocalError, RemoteError
from protocols.ids import coop_id
from protocols.joining import (
    MAX_ENROL_BYTES,
    PROTOCOL,
    SERVER_NAME,
    Address,
    Cooperative,
    Invitation,
    Profile,
    parse_address,
    parse_link,
    prove,
)
from protocols.proto import link_pb2 as pb
from protocols.proto.link_pb2_grpc import JoinStub, LinkStub

CALL_S = 30.0
RENEW_BEFORE = timedelta(days=30)
MAX_MESSAGE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Offer:
    """Who is asking, for the person who says yes or no."""

    cooperative: Cooperative
    address: Address
    fingerprint: str
    software: str


@dataclass(frozen=True, slots=True)
class Joined:
    """The outcome of ``join``."""

    membership: Membership
    cert_not_after: datetime


def describe(invitation: Invitation, seen: Probe, now: Callable[[], datetime]) -> Offer:
    """Ask the pinned server who it is, and compare clocks.

    Raises:
        RemoteError: no answer, another protocol version, a description that does not hold.
        LocalError: the clocks differ by more than 5 minutes.
    """
    with _pinned_channel(invitation.address, seen) as channel:
        stub = JoinStub(channel)  # type: ignore[no-untyped-call]
        try:
            reply = stub.Describe(pb.DescribeRequest(), timeout=CALL_S)
        except grpc.RpcError as error:
            raise remote_error(error) from error
    if reply.protocol != PROTOCOL:
        raise RemoteError(
            f"the office speaks version {reply.protocol} of the link, this node {PROTOCOL}.",
            peer=str(invitation.address),
            where=str(invitation.address),
            fix="Upgrade the older of the two.",
        )
    check_clock(reply.clock_utc_ms, now())
    software = "".join(c for c in reply.software[:60] if c.isprintable())
    return Offer(_face(reply.cooperative), invitation.address, seen.fingerprint, software)


def join(
    home: Path,
    link: str,
    profile: Profile,
    confirm: Callable[[Offer], bool],
    now: Callable[[], datetime],
    *,
    again: bool = False,
) -> Joined:
    """Become a member. May be repeated after any failure; the same request gets the same answer.

    Args:
        home: the node's home, with keys.
        link: the invitation as text.
        profile: what the member says about itself.
        confirm: shown who is asking, before anything about us is sent; False stops.
        now: aware UTC time.
        again: come back to the cooperative that this node is a member of, with a fresh
            invitation: its certificate has ended, or it was restored from a backup.

    Raises:
        InputError: the text is no invitation, or the answer was no.
        RemoteError: wrong fingerprint, used or expired token, no answer, a certificate that does
            not hold.
        LocalError: no keys, joined already, another cooperative, clock skew, disk full.
    """
    invitation = parse_link(link)
    own = keys.load(home)
    known = membership.load(home) if membership.is_enrolled(home) else None
    if known is not None and not again:
        raise _member_already(home, known, same=invitation.fingerprint == known.fingerprint)
    seen = pin(invitation, now())
    offer = describe(invitation, seen, now)
    if known is not None and offer.cooperative.coop != known.public.coop:
        raise _member_already(home, known, same=False)
    if not confirm(offer):
        raise InputError(
            "you said no; nothing was sent and the invitation can still be used.", code=Code.USAGE
        )
    reply = _enrol(invitation, seen, offer, own, profile)
    moment = now()
    membership.check_certificate(
        reply.cert_pem, offer.cooperative.ca_der, own.member, keys.tls_public(own), moment
    )
    made = Membership(
        public=offer.cooperative,
        member=own.member,
        join=invitation.address,
        link=parse_address(str(Address(reply.link_host, reply.link_port)), "link address"),
        fingerprint=seen.fingerprint,
        joined_at=moment,
    )
    membership.store(home, made, reply.cert_pem)
    return Joined(made, membership.own_certificate(home).not_valid_after_utc)


def _enrol(
    invitation: Invitation, seen: Probe, offer: Offer, own: keys.NodeKeys, profile: Profile
) -> pb.EnrolReply:
    coop = offer.cooperative.coop
    request = pb.EnrolRequest(
        token=invitation.token,
        csr_pem=own.csr_pem,
        identity_key=own.identity.public,
        encryption_key=own.encryption_public,
        proof=prove(
            own.identity, coop, invitation.token, own.csr_pem, profile, own.encryption_public
        ),
        profile=pb.Profile(
            name=profile.name,
            legal_id=profile.legal_id,
            trade=profile.trade,
            region=profile.region,
        ),
    )
    with _pinned_channel(invitation.address, seen) as channel:
        stub = JoinStub(channel)  # type: ignore[no-untyped-call]
        try:
            reply: pb.EnrolReply = stub.Enrol(request, timeout=CALL_S)
        except grpc.RpcError as error:
            raise remote_error(error) from error
    if _face(reply.cooperative) != offer.cooperative:
        raise RemoteError(
            "the office described itself differently after we had said yes; nothing was kept.",
            peer=str(invitation.address),
            code=Code.TAMPERED,
            where=str(invitation.address),
            fix="Tell your operator.",
        )
    return reply


def link_channel(home: Path) -> grpc.Channel:
    """An mTLS channel to the office; it connects when first used and reconnects on its own.

    Raises:
        LocalError: not enrolled, keys unreadable.
    """
    known, own = membership.load(home), keys.load(home)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=authority_pem(known),
        private_key=own.tls_key_pem,
        certificate_chain=files.read(home / keys.KEYS / keys.TLS_CERT),
    )
    return grpc.secure_channel(
        str(known.link),
        credentials,
        options=(
            ("grpc.ssl_target_name_override", SERVER_NAME),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.keepalive_time_ms", 20_000),
            ("grpc.keepalive_timeout_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 0),
            ("grpc.initial_reconnect_backoff_ms", 200),
            ("grpc.max_reconnect_backoff_ms", 15_000),
            ("grpc.enable_retries", 0),
        ),
    )


def needs_renewal(home: Path, now: datetime, before: timedelta = RENEW_BEFORE) -> bool:
    """Does the certificate end within ``before``?"""
    return membership.own_certificate(home).not_valid_after_utc - now <= before


def renew(home: Path, channel: grpc.Channel, now: Callable[[], datetime]) -> datetime:
    """Get a new certificate for the same key, check it, put it in place; when it ends (UTC).

    The channel keeps the old one, which stays good; the next ``link_channel`` takes the new one.
    """
    known, own = membership.load(home), keys.load(home)
    stub = LinkStub(channel)  # type: ignore[no-untyped-call]
    try:
        reply = stub.Renew(pb.RenewRequest(csr_pem=own.csr_pem), timeout=CALL_S)
    except grpc.RpcError as error:
        raise remote_error(error) from error
    membership.check_certificate(
        reply.cert_pem, known.public.ca_der, known.member, keys.tls_public(own), now()
    )
    files.write(home / keys.KEYS / keys.TLS_CERT, reply.cert_pem, 0o644)
    return membership.own_certificate(home).not_valid_after_utc


def _pinned_channel(address: Address, seen: Probe) -> grpc.Channel:
    """Only the very key that was probed and compared can open this connection."""
    return grpc.secure_channel(
        str(address),
        grpc.ssl_channel_credentials(root_certificates=seen.cert_pem),
        options=(
            ("grpc.ssl_target_name_override", SERVER_NAME),
            ("grpc.max_receive_message_length", MAX_ENROL_BYTES),
            ("grpc.max_send_message_length", MAX_ENROL_BYTES),
            ("grpc.enable_retries", 0),
        ),
    )


def _face(message: pb.Cooperative) -> Cooperative:
    try:
        return Cooperative(
            coop=coop_id(message.coop),
            name=message.name,
            profile=message.profile,
            ca_der=message.ca_der,
            operator_key=message.operator_key,
            coordinator_key=message.coordinator_key,
        )
    except InputError as error:
        raise RemoteError(
            f"the office describes itself in a way that does not hold: {error.problem}",
            peer="coordinator",
            code=error.code,
            where="coordinator",
            fix="Tell your operator; do not go on.",
        ) from error


def _member_already(home: Path, known: Membership, *, same: bool) -> LocalError:
    if same:
        problem = f"this node is a member of {known.public.name!r} already."
        fix = "Nothing is left to do; 'coop-node start' connects."
    else:
        problem = (
            f"this node belongs to {known.public.name!r}; the invitation is of another cooperative."
        )
        fix = "Make another node for it: 'coop-node init --home ANOTHER-FOLDER'."
    return LocalError(problem, code=Code.USAGE, where=str(home), fix=fix)


__all__ = [
    "Joined",
    "Offer",
    "Probe",
    "check_clock",
    "describe",
    "diagnose",
    "join",
    "link_channel",
    "needs_renewal",
    "parse_link",
    "pin",
    "probe",
    "renew",
]
