"""How a node becomes a member: the invitation, the proof, the name of the cooperative.

Both sides need the same bytes here, so the grammar and the hashes stand once. An invitation reads

    office.example.org:8801#<64 hex digits: SHA-256 of the server's public key>:<token>

The node dials the address, reads the server's key without sending anything, and goes on only if
its hash is the one in the link. The token is spent once; the office keeps its hash alone.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from dataclasses import dataclass, field
from typing import Any

from protocols.canonical import Json, digest
from protocols.errors import Code, InputError, RemoteError
from protocols.ids import CoopId, MemberId, coop_id
from protocols.signing import SigningKey, check_encryption_key, identity_of, verify

PROTOCOL = 1  # version of proto/link.proto
SERVER_NAME = "datacoop-coordinator"  # the name in every server certificate; hosts may change
MAX_CLOCK_SKEW_S = 300
MAX_CSR_BYTES = 8 * 1024
MAX_CERT_BYTES = 16 * 1024
MAX_ENROL_BYTES = 64 * 1024  # any message of the join listener
PROBLEM_METADATA = "coop-problem-bin"  # trailing metadata of a failed call: a Problem message

_PROOF = "datacoop/enrol/v2"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{20,64}")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_LINK_FIX = (
    "Copy the whole link that your operator sent, in quotes: "
    "'host:port#<64 hexadecimal digits>:<token>'."
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener is reached."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, where: str = "address") -> Address:
    """``host:port`` or ``[ipv6]:port``; InputError for anything else."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        known = _is_ip(host)
    else:
        known = bool(_HOST.fullmatch(host))
    if not colon or not known or not re.fullmatch(r"[0-9]{1,5}", port):
        raise InputError(f"{text[:80]!r} is not an address.", where=where, fix="Write host:port.")
    number = int(port)
    if not 1 <= number <= 65535:
        raise InputError(f"there is no port {number}.", where=where, fix="Ports are 1 to 65535.")
    return Address(host, number)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Invitation:
    """One parsed invitation link."""

    address: Address
    fingerprint: str  # SHA-256 over the server's SubjectPublicKeyInfo, 64 hex digits
    token: str = field(repr=False)

    @property
    def link(self) -> str:
        """The text that people send to each other. It holds the secret token."""
        return f"{self.address}#{self.fingerprint}:{self.token}"


def parse_link(text: str) -> Invitation:
    """Parse an invitation; InputError says which part is wrong, without repeating the token."""
    address, hash_sign, rest = text.strip().partition("#")
    if not hash_sign:
        raise InputError(
            "this is not an invitation: nothing stands after the address (a shell drops what "
            "follows '#' unless the link is in quotes).",
            where="invitation",
            fix=_LINK_FIX,
        )
    where = parse_address(address, "invitation")
    fingerprint, _, token = rest.partition(":")
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise InputError(
            f"the fingerprint in the invitation has {len(fingerprint)} characters; 64 lowercase "
            "hexadecimal digits are expected.",
            where="invitation",
            fix=_LINK_FIX,
        )
    return Invitation(where, fingerprint, check_token(token))


def check_token(token: str) -> str:
    """A well-formed token; InputError otherwise. Says nothing about whether it is valid."""
    if not _TOKEN.fullmatch(token):
        raise InputError(
            f"the token in the invitation is not complete: 20 to 64 letters, digits, '-' or '_' "
            f"are expected, {len(token)} characters were given.",
            where="invitation",
            fix=_LINK_FIX,
        )
    return token


def token_hash(token: str) -> str:
    """What the office keeps of a token, 64 hex digits."""
    return digest("datacoop/invite/v1", token).hex()


def fingerprint_of(spki_der: bytes) -> str:
    """SHA-256 over a SubjectPublicKeyInfo (DER), 64 hex digits."""
    return hashlib.sha256(spki_der).hexdigest()


def _short_text(value: str, name: str, most: int, *, least: int = 0) -> None:
    if not least <= len(value) <= most or not value.isprintable() or value != value.strip():
        raise InputError(
            f"{value[:40]!r} cannot be used: {least} to {most} printable characters without "
            "blanks around them are expected.",
            where=name,
        )


@dataclass(frozen=True, slots=True)
class Profile:
    """What a member says about itself; it goes into the roster that everybody signs."""

    name: str
    legal_id: str = ""
    trade: str = ""
    region: str = ""

    def __post_init__(self) -> None:
        _short_text(self.name, "name", 80, least=1)
        _short_text(self.legal_id, "legal_id", 80)
        _short_text(self.trade, "trade", 80)
        _short_text(self.region, "region", 80)


@dataclass(frozen=True, slots=True)
class Cooperative:
    """The public face of a cooperative; the id is a hash of everything else in it.

    ``ca_der`` is the certificate of the TLS authority; the two keys are Ed25519, 32 bytes each.
    """

    coop: CoopId
    name: str
    profile: str
    ca_der: bytes
    operator_key: bytes
    coordinator_key: bytes

    def __post_init__(self) -> None:
        _short_text(self.name, "name", 80, least=1)
        _short_text(self.profile, "profile", 40, least=1)
        if len(self.operator_key) != 32 or len(self.coordinator_key) != 32:
            raise InputError("the public keys of a cooperative have 32 bytes each.", where="keys")
        if not 1 <= len(self.ca_der) <= MAX_CERT_BYTES:
            raise InputError("the authority's certificate is missing or too long.", where="ca")
        derived = _coop_id(
            self.name, self.profile, self.ca_der, self.operator_key, self.coordinator_key
        )
        if self.coop != derived:
            raise InputError(
                "the id of the cooperative does not follow from its name and keys: one of them "
                "was exchanged.",
                code=Code.TAMPERED,
                where=self.coop[:16],
                fix="Do not go on; ask your operator on another way.",
            )

    def to_json(self) -> dict[str, Any]:
        """For coop.json, on both sides."""
        return {
            "coop": self.coop,
            "name": self.name,
            "profile": self.profile,
            "ca": self.ca_der.hex(),
            "operator_key": self.operator_key.hex(),
            "coordinator_key": self.coordinator_key.hex(),
        }


def cooperative(
    name: str, profile: str, ca_der: bytes, operator_key: bytes, coordinator_key: bytes
) -> Cooperative:
    """Name a new cooperative: its id is derived here and nowhere else."""
    coop = _coop_id(name, profile, ca_der, operator_key, coordinator_key)
    return Cooperative(coop, name, profile, ca_der, operator_key, coordinator_key)


def cooperative_from_json(value: Json, where: str) -> Cooperative:
    """Read ``Cooperative.to_json``; InputError names the key that is missing or wrong."""
    try:
        return Cooperative(
            coop=coop_id(value["coop"]),
            name=value["name"],
            profile=value["profile"],
            ca_der=bytes.fromhex(value["ca"]),
            operator_key=bytes.fromhex(value["operator_key"]),
            coordinator_key=bytes.fromhex(value["coordinator_key"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"the description of the cooperative is damaged ({error}).",
            where=where,
            fix="Restore the file from a backup.",
        ) from error


def _coop_id(name: str, profile: str, ca: bytes, operator: bytes, coordinator: bytes) -> CoopId:
    return CoopId(digest("datacoop/coop/v1", name, profile, ca, operator, coordinator).hex())


def _proof_parts(
    coop: CoopId, token: str, csr_pem: bytes, profile: Profile, encryption_key: bytes
) -> tuple[str, ...]:
    csr = hashlib.sha256(csr_pem).hexdigest()
    texts = (profile.name, profile.legal_id, profile.trade, profile.region)
    return (coop, token_hash(token), csr, *texts, encryption_key.hex())


def prove(
    key: SigningKey,
    coop: CoopId,
    token: str,
    csr_pem: bytes,
    profile: Profile,
    encryption_key: bytes,
) -> bytes:
    """The identity key vouches for this request at this cooperative, and no other."""
    return key.sign(_PROOF, *_proof_parts(coop, token, csr_pem, profile, encryption_key))


def check_proof(
    identity_key: bytes,
    proof: bytes,
    *,
    coop: CoopId,
    token: str,
    csr_pem: bytes,
    profile: Profile,
    encryption_key: bytes,
) -> MemberId:
    """Verify ``prove``; the member id of the key.

    Raises:
        RemoteError: a key of a wrong form, or the proof does not verify.
    """
    if len(identity_key) != 32:
        raise RemoteError("an identity key has 32 bytes.", code=Code.INPUT, where="identity")
    member = identity_of(identity_key)
    try:
        check_encryption_key(encryption_key, f"member {member[:16]}")
    except ValueError as error:
        raise RemoteError(
            f"{error}.",
            peer=member[:16],
            code=Code.INPUT,
            where="encryption key",
            fix="Make the node anew with this release: coop-node init.",
        ) from error
    parts = _proof_parts(coop, token, csr_pem, profile, encryption_key)
    verify(identity_key, proof, _PROOF, *parts, peer=member[:16])
    return member
