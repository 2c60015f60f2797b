"""Seal a release for those who may have it; the entropy that ``protocols.sealed`` does not draw."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from protocols import sealed
from protocols.agreement.roster import ParsedRoster, successors
from protocols.canonical import Json
from protocols.errors import LocalError
from protocols.ids import MemberId
from protocols.sealed import Promise, Recipient
from protocols.signing import SigningKey

SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def seal_release(
    card: Json, archive: bytes, keys: Mapping[MemberId, bytes], signer: SigningKey
) -> bytes:
    """The sealed file of a release; other bytes each time, as the content key is new.

    Args:
        card: of the release.
        archive: its bundle.
        keys: X25519 public key, 32 bytes, of each recipient (``recipient_keys``).
        signer: the coordinator's key.

    Raises:
        LocalError: one of them is no key.
        InputError: nobody to seal for, or too large for the link.
    """
    promise = sealed.promise_of(card, archive)
    content_key = secrets.token_bytes(sealed.KEY_BYTES)
    recipients = [_recipient(promise, member, key, content_key) for member, key in keys.items()]
    return sealed.seal(promise, archive, content_key, recipients, signer)


def recipient_keys(card: Json, chain: Sequence[ParsedRoster]) -> dict[MemberId, bytes]:
    """Encryption keys of everybody whom a card names, as the newest epoch has them.

    Who renewed a key since stands under the new id; who left, under the last key that was listed.

    Raises:
        LocalError: somebody who is named stands in no epoch.
    """
    heirs = successors(chain)
    listed = {name: one for epoch in chain for name, one in epoch.members.items()}
    found = {}
    for one in card["use"]["recipients"]["members"]:
        name = heirs.get(MemberId(one), MemberId(one))
        if name not in listed:
            raise LocalError(f"recipient {one[:16]} stands in no roster.", where="release")
        found[name] = bytes.fromhex(listed[name].encryption_key)
    return found


def _recipient(promise: Promise, member: MemberId, key: bytes, content_key: bytes) -> Recipient:
    try:
        public = X25519PublicKey.from_public_bytes(key)
    except ValueError as error:
        raise LocalError(
            f"the encryption key of member {member[:16]} is not an X25519 key.", where="roster"
        ) from error
    info = sealed.key_info(promise, member, key)
    return Recipient(member, key, SUITE.encrypt(content_key, public, info=info))
