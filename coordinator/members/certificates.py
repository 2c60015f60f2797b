"""X.509 as the cooperative needs it: one authority, one server, many members.

Certificates only open connections. Who somebody is in a round is the Ed25519 key in the roster.
Serial numbers and ECDSA draw their own entropy; that is why this lies in the shell.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from protocols.errors import Code, InputError, LocalError
from protocols.ids import MemberId
from protocols.joining import MAX_CSR_BYTES, SERVER_NAME, fingerprint_of

BACKDATE = timedelta(days=1)  # clocks differ; the real check on clocks is at enrolment
AUTHORITY_FOR = timedelta(days=3650)
SERVER_FOR = timedelta(days=365)  # renewed by ``coordinator.upkeep``
MEMBER_FOR = timedelta(days=90)

_PRIVATE = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def new_key_pem() -> bytes:
    """A fresh P-256 private key, PKCS #8 PEM."""
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(*_PRIVATE)


def load_key(pem: bytes, where: str) -> ec.EllipticCurvePrivateKey:
    """A P-256 private key from PEM; LocalError if it is something else."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise LocalError(
            "this is not a readable private key.",
            where=where,
            fix="Restore the file from a backup.",
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise LocalError("the private key is not a P-256 key.", where=where)
    return key


def spki(key: ec.EllipticCurvePublicKey) -> bytes:
    """SubjectPublicKeyInfo, DER."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_fingerprint(key_pem: bytes, where: str) -> str:
    """What an invitation pins: SHA-256 over the public key, 64 hex digits."""
    return fingerprint_of(spki(load_key(key_pem, where).public_key()))


@dataclass(frozen=True, slots=True)
class Authority:
    """The cooperative's certificate authority with its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Issued:
    """A client certificate that was just made."""

    serial: str
    member: MemberId
    not_after: datetime
    pem: bytes


def new_authority(name: str, key_pem: bytes, now: datetime) -> bytes:
    """The self-signed certificate of the authority, PEM."""
    key = load_key(key_pem, "ca")
    subject = _name(f"{name} (cooperative)"[:64])
    made = (
        _start(subject, subject, key.public_key(), now, AUTHORITY_FOR)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def server_certificate(
    authority: Authority, key_pem: bytes, hosts: Iterable[str], now: datetime
) -> bytes:
    """The certificate of the link listener, signed by the authority, PEM."""
    key = load_key(key_pem, "server")
    made = _server(authority.certificate.subject, key, hosts, now).add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
        critical=False,
    )
    return made.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def join_certificate(key_pem: bytes, hosts: Iterable[str], now: datetime) -> bytes:
    """The same server key, self-signed, for the join listener, PEM.

    A node that has seen and pinned it uses it as its only root, so the pinned key and nothing else
    opens that connection.
    """
    key = load_key(key_pem, "server")
    made = _server(_name(SERVER_NAME), key, hosts, now)
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


def issue(authority: Authority, csr_pem: bytes, member: MemberId, now: datetime) -> Issued:
    """A client certificate for one member: CN = member id, 90 days, clientAuth only.

    Only the public key is taken from the request; everything else is ours.

    Raises:
        InputError: not a request, another key type, another name, a wrong signature.
    """
    public = checked_request(csr_pem, member)
    not_after = now + MEMBER_FOR
    serial = x509.random_serial_number()
    made = (
        _start(authority.certificate.subject, _name(member), public, now, MEMBER_FOR, serial=serial)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
    )
    pem = made.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.PEM)
    return Issued(f"{serial:x}", member, not_after.replace(microsecond=0), pem)


def checked_request(csr_pem: bytes, member: MemberId) -> ec.EllipticCurvePublicKey:
    """The public key of a certificate request that is what it must be."""
    if not 1 <= len(csr_pem) <= MAX_CSR_BYTES:
        raise InputError(
            f"a certificate request has 1 to {MAX_CSR_BYTES} bytes, this one {len(csr_pem)}.",
            where="csr",
        )
    try:
        request = x509.load_pem_x509_csr(csr_pem)
        public = request.public_key()
        valid = request.is_signature_valid
        names = request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError("this is not a certificate request.", where="csr") from error
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(
        public.curve, ec.SECP256R1
    ):
        raise InputError("the key of a certificate request must be P-256.", where="csr")
    if not valid:
        raise InputError(
            "the signature of the certificate request does not verify.",
            where="csr",
            code=Code.TAMPERED,
        )
    if [entry.value for entry in names] != [member]:
        raise InputError(
            f"the certificate request must name the member {member[:16]} and nobody else.",
            where="csr",
        )
    return public


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _start(
    issuer: x509.Name,
    subject: x509.Name,
    public: ec.EllipticCurvePublicKey,
    now: datetime,
    lasts: timedelta,
    *,
    serial: int | None = None,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(serial if serial is not None else x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + lasts)
    )


def _server(
    issuer: x509.Name, key: ec.EllipticCurvePrivateKey, hosts: Iterable[str], now: datetime
) -> x509.CertificateBuilder:
    return (
        _start(issuer, _name(SERVER_NAME), key.public_key(), now, SERVER_FOR)
        .add_extension(x509.SubjectAlternativeName(_alternatives(hosts)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )


def _alternatives(hosts: Iterable[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = [x509.DNSName(SERVER_NAME)]
    for host in sorted(set(hosts) - {SERVER_NAME}):
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def _usage(*, sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        encipher_only=False,
        decipher_only=False,
    )
