"""Open a sealed release with this member's own key, or say why it does not open."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from protocols import sealed
from protocols.canonical import Json
from protocols.errors import Code, InputError
from protocols.ids import MemberId, ModelId
from protocols.sealed import Promise

SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
WHERE = "sealed release"


@dataclass(frozen=True, slots=True)
class Opened:
    """A bundle as its header promises it; nothing in the bundle has been verified yet."""

    promise: Promise
    archive: bytes = field(repr=False)

    def check_card(self, card: Json) -> None:
        """The header said what the verified card says; InputError if it promised anything else."""
        if sealed.promise_of(card, self.archive) != self.promise:
            raise InputError(
                "the header of the sealed release promises other terms than its card.",
                code=Code.TAMPERED,
                where=WHERE,
                fix="Do not use this release. Tell the other members: the coordinator signed both.",
            )


def open_release(
    raw: bytes, asked: ModelId, me: MemberId, key: X25519PrivateKey, coordinator_key: bytes
) -> Opened:
    """Open what came over the link.

    Args:
        raw: the sealed file; nothing in it is believed.
        asked: the model that was asked for.
        me: this member's id.
        key: this member's encryption key.
        coordinator_key: Ed25519 public key that this node pinned.

    Raises:
        InputError: not a sealed release, of another model, not signed by this coordinator, or one
            that does not open.
        Refused: it is not for this member (clause 18).
    """
    found = sealed.read_sealed(raw, coordinator_key, WHERE)
    if found.promise.model != asked:
        raise InputError(
            f"this is release {found.promise.model[:16]}, asked for was {asked[:16]}.",
            code=Code.TAMPERED,
            where=WHERE,
            fix="Pull it again; if it happens again, tell the other members.",
        )
    mine = found.recipient(me)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    if mine.key != public:
        raise InputError(
            f"it was sealed to another key than yours (sealed to {mine.key.hex()[:16]}, "
            f"yours is {public.hex()[:16]}).",
            code=Code.TAMPERED,
            where=WHERE,
            fix="Look at your key in the list of members: coop-node status. If it is not yours,"
            " tell the operator.",
        )
    try:
        info = sealed.key_info(found.promise, me, public)
        content_key = SUITE.decrypt(mine.sealed_key, key, info=info)
    except InvalidTag as error:
        raise InputError(
            "the key of the release does not open with your key: it was changed, or sealed for"
            " another member or another release.",
            code=Code.TAMPERED,
            where=WHERE,
            fix="Pull it again; if it happens again, tell the other members.",
        ) from error
    return Opened(found.promise, sealed.open_content(found, content_key, WHERE))
