"""Looking at a server before trusting it: its key, our clock, why nothing answers."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from node import keys, membership
from node.membership import authority_pem
from protocols.errors import Code, CoopError, LocalError, RemoteError
from protocols.joining import (
    MAX_CLOCK_SKEW_S,
    SERVER_NAME,
    Address,
    Invitation,
    fingerprint_of,
)

PROBE_S = 10.0


@dataclass(frozen=True, slots=True)
class Probe:
    """The key that a server showed, before a word was said to it."""

    fingerprint: str
    cert_pem: bytes
    not_before: datetime
    not_after: datetime


def probe(address: Address, timeout_s: float = PROBE_S) -> Probe:
    """Read the server's certificate in a TLS handshake; no byte of ours follows it.

    Nothing is verified here: the caller compares the fingerprint with the one it was given.

    Raises:
        RemoteError: nobody answers, or it is not a TLS server.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((address.host, address.port), timeout=timeout_s) as raw,
            context.wrap_socket(raw, server_hostname=SERVER_NAME) as tls,
        ):
            der = tls.getpeercert(binary_form=True)
    except OSError as error:
        raise _unreachable(address, error) from error
    try:
        certificate = x509.load_der_x509_certificate(der or b"")
        public = certificate.public_key()
        spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise RemoteError(
            "the server shows no certificate that can be read.",
            peer=str(address),
            where=str(address),
            fix="Check the address in the invitation.",
        ) from error
    return Probe(
        fingerprint_of(spki),
        certificate.public_bytes(Encoding.PEM),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def pin(invitation: Invitation, now: datetime) -> Probe:
    """Probe the address of an invitation and insist on its fingerprint.

    Raises:
        RemoteError: nobody answers; or another server does (code ``tampered``).
        LocalError: our clock is far off.
    """
    seen = probe(invitation.address)
    if seen.fingerprint != invitation.fingerprint:
        raise RemoteError(
            f"another server answers here: its key has the fingerprint {seen.fingerprint[:16]}..., "
            f"the invitation says {invitation.fingerprint[:16]}... Nothing was sent to it.",
            peer=str(invitation.address),
            code=Code.TAMPERED,
            where=str(invitation.address),
            fix="Compare the link with your operator on the telephone; do not go on otherwise.",
        )
    if not seen.not_before <= now <= seen.not_after:
        raise _clock(
            f"this machine's clock says {now:%Y-%m-%d %H:%M} UTC, but the certificate of the "
            f"office is for {seen.not_before:%Y-%m-%d} to {seen.not_after:%Y-%m-%d}"
        )
    return seen


def check_clock(their_utc_ms: int, now: datetime) -> None:
    """LocalError if the office's clock and ours differ by more than 5 minutes."""
    apart_s = now.timestamp() - their_utc_ms / 1000
    if abs(apart_s) > MAX_CLOCK_SKEW_S:
        word = "ahead of" if apart_s > 0 else "behind"
        raise _clock(
            f"this machine's clock is {_span(abs(apart_s))} {word} the clock of the office; "
            f"{MAX_CLOCK_SKEW_S // 60} minutes are allowed"
        )


def diagnose(home: Path, now: datetime, timeout_s: float = PROBE_S) -> None:
    """Why the link does not come up, in one sentence: raises it, or returns if TLS works.

    gRPC only says "unavailable"; this tries the same handshake step by step.

    Raises:
        LocalError: not enrolled; our certificate has ended.
        RemoteError: nobody answers, or the server is not of our cooperative.
    """
    known = membership.load(home)
    keys.load(home)
    ends = membership.own_certificate(home).not_valid_after_utc
    if now > ends:
        raise LocalError(
            f"the certificate of this node ended on {ends:%Y-%m-%d}.",
            code=Code.NOT_ENROLLED,
            fix="Ask your operator for a new invitation and run 'coop-node join --again'.",
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    context.load_verify_locations(cadata=authority_pem(known).decode())
    folder = home / keys.KEYS
    context.load_cert_chain(folder / keys.TLS_CERT, folder / keys.TLS_KEY)
    try:
        with (
            socket.create_connection((known.link.host, known.link.port), timeout=timeout_s) as raw,
            context.wrap_socket(raw, server_hostname=SERVER_NAME),
        ):
            return
    except ssl.SSLCertVerificationError as error:
        raise RemoteError(
            f"the server at {known.link} shows a certificate that is not of the cooperative "
            f"{known.public.name!r} ({error.verify_message}). Nothing was sent to it.",
            peer=str(known.link),
            code=Code.TAMPERED,
            where=str(known.link),
            fix="Ask your operator whether the office has moved.",
        ) from error
    except OSError as error:
        raise _unreachable(known.link, error) from error


def _unreachable(address: Address, error: OSError) -> CoopError:
    if isinstance(error, ssl.SSLError):
        problem = f"what answers at {address} is not the office of a cooperative (no TLS)."
    elif isinstance(error, TimeoutError):
        problem = f"nobody answers at {address} (no reply in time)."
    elif isinstance(error, socket.gaierror):
        problem = f"the name {address.host!r} is not known to the network."
    else:
        problem = f"nobody answers at {address} ({error.strerror or error})."
    return RemoteError(
        problem,
        peer=str(address),
        code=Code.UNAVAILABLE,
        where=str(address),
        fix="Is the coordinator running ('coop-coordinator serve'), and the address right?",
    )


def _clock(sentence: str) -> LocalError:
    return LocalError(
        f"{sentence}.",
        where="clock",
        fix="Set the clock (turn on automatic time) and try again.",
    )


def _span(seconds: float) -> str:
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours" if seconds < 72 * 3600 else f"{seconds / 86400:.0f} days"
