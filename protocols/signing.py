"""Ed25519 with domain separation for machines, JWS JSON General for documents.

Verification raises and never returns a truth value. Private keys do not print.
"""

from __future__ import annotations

import base64
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from joserfc.jws import GeneralJSONSerialization

from protocols.canonical import Json, digest, json_bytes, parse_json
from protocols.errors import Code, InputError, RemoteError
from protocols.ids import MemberId

ALGORITHM = "Ed25519"  # RFC 9864: fully specified, unlike the older "EdDSA"
MAX_SIGNATURES = 1000
_FIELD_25519 = 2**255 - 19
_SMALL_ORDER_25519 = frozenset(
    {
        0,
        1,
        _FIELD_25519 - 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    }
)
"""Coordinates of the points whose order divides 8."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An Ed25519 private key; ``seed`` is 32 bytes and never shown."""

    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.seed) != 32:
            raise InputError("an Ed25519 seed has 32 bytes.")

    @property
    def public(self) -> bytes:
        """The public key, 32 raw bytes."""
        key = Ed25519PrivateKey.from_private_bytes(self.seed).public_key()
        return key.public_bytes(Encoding.Raw, PublicFormat.Raw)

    def sign(self, tag: str, *parts: bytes | str | int) -> bytes:
        """Sign ``H(tag, parts)``; 64 bytes."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(digest(tag, *parts))

    def sign_bytes(self, message: bytes) -> bytes:
        """Sign the message as it is, for formats that fix it (C2SP checkpoints)."""
        return Ed25519PrivateKey.from_private_bytes(self.seed).sign(message)


def identity_of(public: bytes) -> MemberId:
    """The member id of an Ed25519 public key: ``H("id", pk)`` in hex."""
    return MemberId(digest("id", public).hex())


def check_encryption_key(public: bytes, where: str) -> None:
    """An X25519 public key that something can be sealed to; ValueError otherwise.

    A point of small order would make every attempt to seal fail, so that one member could keep a
    release from all (RFC 7748, section 6.1).
    """
    if len(public) != 32:
        raise ValueError(f"the encryption key of {where} has {len(public)} bytes, 32 are expected")
    point = (int.from_bytes(public, "little") & (2**255 - 1)) % _FIELD_25519
    if point in _SMALL_ORDER_25519:
        raise ValueError(f"nothing can be sealed to the encryption key of {where}")


def verify(
    public: bytes, signature: bytes, tag: str, *parts: bytes | str | int, peer: str = ""
) -> None:
    """Check a signature over ``H(tag, parts)``; RemoteError naming ``peer`` if it fails."""
    verify_bytes(public, signature, digest(tag, *parts), peer=peer, what=tag)


def verify_bytes(
    public: bytes, signature: bytes, message: bytes, *, peer: str = "", what: str = "message"
) -> None:
    """Check a signature over the message as it is."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise RemoteError(
            f"the signature over {what!r} does not verify.",
            peer=peer,
            code=Code.TAMPERED,
            where=peer,
        ) from error


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _private_jwk(key: SigningKey) -> OKPKey:
    return OKPKey.import_key(
        {"kty": "OKP", "crv": "Ed25519", "x": _b64(key.public), "d": _b64(key.seed)}
    )


def _public_jwk(public: bytes) -> OKPKey:
    return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": _b64(public)})


def _registry() -> jws.JWSRegistry:
    return jws.JWSRegistry(algorithms=[ALGORITHM])


def jws_sign(document: Json, kid: str, key: SigningKey) -> dict[str, Any]:
    """One party's signature over the RFC 8785 form, as a JWS JSON General with one signature."""
    signed = jws.serialize_json(
        [{"protected": {"alg": ALGORITHM, "kid": kid}}],
        json_bytes(document),
        _private_jwk(key),
        registry=_registry(),
    )
    return dict(signed)


def jws_merge(first: Json, *more: Json) -> dict[str, Any]:
    """The same payload with the signatures of all; the first signature of each party stands.

    In linear time. Nothing is verified: that is for ``jws_verify``.
    """
    kept: dict[str, Any] = {}
    for part in (first, *more):
        if part.get("payload") != first.get("payload"):
            raise InputError("the signatures are over different documents.", code=Code.TAMPERED)
        for kid, signature in zip(signed_by(part, "signature"), part["signatures"], strict=True):
            kept.setdefault(kid, signature)
    return {"payload": first["payload"], "signatures": list(kept.values())}


def jws_only(signed: Json, kids: Container[str]) -> dict[str, Any] | None:
    """The same payload with the signatures of these parties; None if none of them signed."""
    named = zip(signed_by(signed, "signature"), signed["signatures"], strict=True)
    kept = [signature for kid, signature in named if kid in kids]
    return {"payload": signed["payload"], "signatures": kept} if kept else None


def jws_bytes(signed: Json, where: str) -> bytes:
    """The bytes inside, NOT verified; refuses any but the one way to write them in base64url.

    With two ways, signatures of two parties over the same document could not be merged.
    """
    try:
        text = signed["payload"]
        raw = base64.urlsafe_b64decode(text + "==")
    except (KeyError, TypeError, ValueError) as error:
        raise InputError("this is not a signed document (JWS).", where=where) from error
    if _b64(raw) != text:
        raise InputError(
            "the signed document is not written in plain base64url.",
            where=where,
            code=Code.TAMPERED,
        )
    return raw


def jws_payload(signed: Json, where: str) -> dict[str, Any]:
    """The document inside, NOT verified; refuses a payload that is not in canonical form."""
    raw = jws_bytes(signed, where)
    document = parse_json(raw, where)
    if json_bytes(document) != raw:
        raise InputError(
            "the signed document is not in canonical form (RFC 8785).",
            where=where,
            code=Code.TAMPERED,
        )
    return document


def jws_verify(signed: Json, keys: Mapping[str, bytes], where: str) -> tuple[str, ...]:
    """Verify every signature of a JWS JSON General.

    Args:
        signed: ``{"payload": ..., "signatures": [...]}``.
        keys: key id -> Ed25519 public key of everybody who may sign.
        where: name of the document, for errors.

    Returns:
        The key ids that signed, in order. Never empty.

    Raises:
        InputError: malformed, anything beside payload and signatures, a stranger's or a repeated
            signature, or one that does not verify.
    """
    kids = signed_by(signed, where)
    plain = all(one.keys() == {"protected", "signature"} for one in signed["signatures"])
    if signed.keys() != {"payload", "signatures"} or not plain:
        raise InputError(
            "something stands beside the signatures that nobody has signed.",
            where=where,
            code=Code.TAMPERED,
        )
    if len(set(kids)) != len(kids):
        raise InputError("one party signed twice.", where=where, code=Code.TAMPERED)
    for kid, signature in zip(kids, signed["signatures"], strict=True):
        if kid not in keys:
            raise InputError(
                f"signed by {kid[:16]}, who is not a party.", where=where, code=Code.TAMPERED
            )
        one = cast(
            GeneralJSONSerialization, {"payload": signed["payload"], "signatures": [signature]}
        )
        try:
            jws.deserialize_json(one, _public_jwk(keys[kid]), registry=_registry())
        except (JoseError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"the signature of {kid[:16]} does not verify.",
                where=where,
                code=Code.TAMPERED,
            ) from error
    return kids


def signed_by(signed: Json, where: str) -> tuple[str, ...]:
    """Key ids that a JWS names, NOT verified."""
    if not isinstance(signed.get("payload"), str):
        raise InputError("this is not a signed document (JWS).", where=where)
    signatures: Sequence[Any] = signed.get("signatures") or ()
    if not isinstance(signatures, list) or not 1 <= len(signatures) <= MAX_SIGNATURES:
        raise InputError("a signed document carries 1 to 1000 signatures.", where=where)
    kids = []
    for entry in signatures:
        try:
            raw = base64.urlsafe_b64decode(str(entry["protected"]) + "==")
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("a signature has no protected header.", where=where) from error
        header = parse_json(raw, where)
        if header.get("alg") != ALGORITHM or not isinstance(header.get("kid"), str):
            raise InputError(
                f"signatures must be {ALGORITHM} with a key id.", where=where, code=Code.TAMPERED
            )
        kids.append(header["kid"])
    return tuple(kids)
