"""What this node knows about its cooperative, once it has joined (``coop.json``)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node import files
from node.keys import CA, KEYS, TLS_CERT
from protocols.canonical import parse_json
from protocols.errors import Code, LocalError, RemoteError
from protocols.ids import MemberId, member_id
from protocols.joining import (
    MAX_CERT_BYTES,
    Address,
    Cooperative,
    cooperative_from_json,
    parse_address,
)

COOP_FILE = "coop.json"


@dataclass(frozen=True, slots=True)
class Membership:
    """The cooperative, who we are in it, and where its office is."""

    public: Cooperative
    member: MemberId
    join: Address
    link: Address
    fingerprint: str  # of the server's key, as pinned when we joined
    joined_at: datetime

    def to_json(self) -> dict[str, Any]:
        """For coop.json."""
        return {
            "v": 1,
            **self.public.to_json(),
            "member": self.member,
            "join": str(self.join),
            "link": str(self.link),
            "fingerprint": self.fingerprint,
            "joined_at": self.joined_at.astimezone(UTC).isoformat(),
        }


def is_enrolled(home: Path) -> bool:
    """Has this node joined a cooperative?"""
    return (home / COOP_FILE).is_file()


def load(home: Path) -> Membership:
    """Read coop.json; LocalError if the node has not joined, or the file is damaged."""
    file = home / COOP_FILE
    if not file.is_file():
        raise LocalError(
            "this node has not joined a cooperative.",
            code=Code.NOT_ENROLLED,
            where=str(home),
            fix="Run 'coop-node join' with the invitation of your operator.",
        )
    value = parse_json(files.read(file), str(file))
    try:
        if value["v"] != 1:
            raise LocalError(
                f"{COOP_FILE} has version {value['v']!r}; this software reads version 1.",
                where=str(file),
                fix="Install the newer release that wrote it.",
            )
        return Membership(
            public=cooperative_from_json(value, str(file)),
            member=member_id(value["member"]),
            join=parse_address(value["join"], str(file)),
            link=parse_address(value["link"], str(file)),
            fingerprint=str(value["fingerprint"]),
            joined_at=datetime.fromisoformat(value["joined_at"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LocalError(
            f"the note about the cooperative is damaged ({error}).",
            where=str(file),
            fix="Restore the node from its backup.",
        ) from error


def store(home: Path, membership: Membership, cert_pem: bytes) -> None:
    """Keep what enrolment brought. The description is last: it is what makes us a member."""
    files.write(home / KEYS / CA, authority_pem(membership), 0o644)
    files.write(home / KEYS / TLS_CERT, cert_pem, 0o644)
    text = json.dumps(membership.to_json(), indent=1, sort_keys=True).encode()
    files.write(home / COOP_FILE, text, 0o644)


def rewrite(home: Path, membership: Membership) -> None:
    """Keep a changed description of the same cooperative: our id is new."""
    text = json.dumps(membership.to_json(), indent=1, sort_keys=True).encode()
    files.write(home / COOP_FILE, text, 0o644)


def authority_pem(known: Membership) -> bytes:
    """The authority's certificate: the only root that the link trusts."""
    return x509.load_der_x509_certificate(known.public.ca_der).public_bytes(Encoding.PEM)


def own_certificate(home: Path) -> x509.Certificate:
    """The certificate in use; LocalError if it is not there or damaged."""
    file = home / KEYS / TLS_CERT
    try:
        return x509.load_pem_x509_certificate(files.read(file))
    except ValueError as error:
        raise LocalError(
            "the certificate of this node is damaged.",
            where=str(file),
            fix="Restore the node from its backup.",
        ) from error


def check_certificate(
    cert_pem: bytes,
    ca_der: bytes,
    member: MemberId,
    public: ec.EllipticCurvePublicKey,
    now: datetime,
) -> None:
    """A certificate that we may keep: of this authority, for this member, over our own key.

    Raises:
        RemoteError: anything else, saying what is wrong.
    """
    if not 1 <= len(cert_pem) <= MAX_CERT_BYTES:
        raise _unusable(f"it has {len(cert_pem)} bytes")
    try:
        authority = x509.load_der_x509_certificate(ca_der)
        certificate = x509.load_pem_x509_certificate(cert_pem)
        authority.verify_directly_issued_by(authority)
        is_ca = authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (
        ValueError,
        TypeError,
        InvalidSignature,
        UnsupportedAlgorithm,
        x509.ExtensionNotFound,
    ) as error:
        raise _unusable("it, or the authority's own, cannot be read") from error
    if not is_ca:
        raise _unusable("the authority's own certificate may not sign others")
    try:
        certificate.verify_directly_issued_by(authority)
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound) as error:
        raise _unusable("another authority signed it, so it is of another cooperative") from error
    names = [
        entry.value for entry in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    ]
    if names != [member]:
        raise _unusable("it names another member")
    if _spki(certificate.public_key()) != _spki(public):
        raise _unusable("it is for another key than ours")
    if ExtendedKeyUsageOID.CLIENT_AUTH not in uses:
        raise _unusable("it is not for a client")
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise _unusable(f"it ends on {certificate.not_valid_after_utc:%Y-%m-%d}, and is not valid")


def _spki(key: Any) -> bytes:
    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _unusable(why: str) -> RemoteError:
    return RemoteError(
        f"the coordinator sent a certificate that cannot be used: {why}.",
        peer="coordinator",
        code=Code.TAMPERED,
        where="coordinator",
        fix="Nothing was kept. Tell your operator.",
    )
