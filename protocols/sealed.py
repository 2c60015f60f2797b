"""A release for its recipients alone: one signed header, one content key, sealed to each of them.

The format is normative in protocols/SPEC.md section 2.

The file is three length-prefixed fields: the name of the format, the header as a signed document
(JWS, the coordinator's key), the encrypted bundle. The header says which release it is and on
what terms, and carries the content key once for each recipient, sealed with HPKE (RFC 9180: base
mode, X25519, HKDF-SHA256, AES-256-GCM). HPKE draws entropy, so sealing and opening that key is
the business of the shells; everything else is here.

The content is cut into pieces of 64 KiB, each AES-256-GCM under the content key with the piece's
number and a mark on the last one as its nonce (STREAM, Hoang et al. 2015, as the file format
"age" does): pieces that are left out, moved or added do not open. The key is used for one file
only. Key and pieces are bound to what the header promises, so neither opens under another
header; and since AES-GCM binds no key, the header names the hash of the whole content too: there
is one content behind one header, for every recipient the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocols.canonical import Json, digest, encode, json_bytes, json_id, parse_json
from protocols.errors import Code, InputError, Refused
from protocols.ids import (
    AgreementId,
    CoopId,
    MemberId,
    ModelId,
    RunId,
    agreement_id,
    coop_id,
    model_id,
    run_id,
)
from protocols.signing import SigningKey, jws_payload, jws_sign, jws_verify

KIND: Final = "datacoop/sealed-release"
VERSION: Final = 1
FORMAT: Final = b"datacoop/sealed/1"
SIGNER: Final = "coordinator"
CIPHER: Final = "HPKE-X25519-HKDF-SHA256-AES-256-GCM; content AES-256-GCM, pieces of 65536"

KEY_BYTES: Final = 32
PIECE_BYTES: Final = 64 * 1024
TAG_BYTES: Final = 16
SEALED_KEY_BYTES: Final = 32 + KEY_BYTES + TAG_BYTES  # the ephemeral key, the key, the tag
MAX_SEALED_BYTES: Final = 64 * 1024 * 1024  # what the link carries as one body
MAX_RECIPIENTS: Final = 1000
MAX_TEXT: Final = 200
_IDS = ("coop", "model", "agreement", "card", "sha256")
_DIGITS = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Promise:
    """What a header says of the release behind it; a release that says otherwise is not used.

    ``card``: id of the release's card. ``sha256``, ``size`` in bytes: of the bundle.
    """

    coop: CoopId
    model: ModelId
    run: RunId
    agreement: AgreementId
    card: str
    licence: str
    purposes: tuple[str, ...]
    expires: str
    sha256: str
    size: int

    def digest(self) -> bytes:
        """What keys and pieces are bound to, 32 bytes."""
        return digest("sealed release", json_bytes(asdict(self)))


@dataclass(frozen=True, slots=True)
class Recipient:
    """One who may open it: whose X25519 key (32 bytes), and the content key sealed to it."""

    member: MemberId
    key: bytes
    sealed_key: bytes


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed release whose header's signature verified; the content has not been opened."""

    promise: Promise
    recipients: tuple[Recipient, ...]
    content: bytes = field(repr=False)

    def recipient(self, member: MemberId) -> Recipient:
        """The entry of one member.

        Raises:
            Refused: naming clause 18, if this release is not for this member.
        """
        for one in self.recipients:
            if one.member == member:
                return one
        raise Refused(
            f"c18 benefit: release {self.promise.model[:16]} was sealed for "
            f"{len(self.recipients)} recipients and you are none of them.",
            clauses=("c18",),
            fix="Clause 18 says who gets results: usually members that took part in the run.",
        )


def promise_of(card: Json, archive: bytes) -> Promise:
    """What the header of a release says, from its card and its bundle.

    Raises:
        InputError: the card lacks one of these fields.
    """
    try:
        use = card["use"]
        return Promise(
            coop=coop_id(card["coop"]),
            model=model_id(card["model"]),
            run=run_id(card["run"]),
            agreement=agreement_id(card["agreement"]),
            card=json_id(card),
            licence=str(use["licence"]),
            purposes=tuple(map(str, use["purposes"])),
            expires=str(use["expires"]),
            sha256=hashlib.sha256(archive).hexdigest(),
            size=len(archive),
        )
    except (KeyError, TypeError) as error:
        raise InputError("the card does not say how the release may be used.") from error


def key_info(promise: Promise, member: MemberId, key: bytes) -> bytes:
    """HPKE's ``info`` for one recipient: an entry under another name or header does not open."""
    return encode("datacoop sealed release key", promise.digest(), member, key)


def seal(
    promise: Promise,
    archive: bytes,
    content_key: bytes,
    recipients: Sequence[Recipient],
    signer: SigningKey,
) -> bytes:
    """The sealed file.

    Args:
        promise: ``promise_of`` the same archive.
        archive: the bundle.
        content_key: 32 fresh bytes, used for nothing else.
        recipients: with the key sealed to each under ``key_info``.
        signer: the coordinator's key.

    Raises:
        InputError: nobody to seal for, one of them twice, another archive, too large for the link.
    """
    if not recipients or len({one.member for one in recipients}) != len(recipients):
        raise InputError("a release is sealed for at least one recipient, and once for each.")
    if (promise.sha256, promise.size) != (hashlib.sha256(archive).hexdigest(), len(archive)):
        raise InputError("the header is about another release.")
    header: dict[str, Any] = {
        "kind": KIND,
        "v": VERSION,
        "cipher": CIPHER,
        "promise": asdict(promise) | {"purposes": list(promise.purposes)},
        "recipients": [
            {"member": one.member, "key": one.key.hex(), "sealed_key": one.sealed_key.hex()}
            for one in sorted(recipients, key=lambda one: one.member)
        ],
    }
    signed = json_bytes(jws_sign(header, SIGNER, signer))
    whole = encode(FORMAT, signed, _crypt(promise, archive, content_key))
    if len(whole) > MAX_SEALED_BYTES:
        raise InputError(
            f"the sealed release has {len(whole)} bytes, the link carries {MAX_SEALED_BYTES}.",
            code=Code.LIMIT,
        )
    return whole


def read_sealed(raw: bytes, coordinator_key: bytes, where: str) -> Sealed:
    """A sealed release from bytes of unknown origin; its header verified, its content still shut.

    Args:
        raw: the file.
        coordinator_key: Ed25519 public key, 32 bytes, as the caller pinned it.
        where: name of the file, for errors.

    Raises:
        InputError: malformed, another way to write the same, too large, or not signed by this
            coordinator.
    """
    if len(raw) > MAX_SEALED_BYTES:
        raise InputError(
            f"the sealed release has {len(raw)} bytes, at most {MAX_SEALED_BYTES} are read.",
            code=Code.LIMIT,
            where=where,
        )
    parts = _fields(raw)
    if len(parts) != 3 or parts[0] != FORMAT or encode(*parts) != raw:
        raise _bad("this is not a sealed release.", where)
    signed = parse_json(parts[1], where)
    if json_bytes(signed) != parts[1]:
        raise _bad("its header is not written in canonical form.", where)
    jws_verify(signed, {SIGNER: coordinator_key}, where)
    promise, recipients = _read_header(jws_payload(signed, where), where)
    pieces = max(1, -(-promise.size // PIECE_BYTES))
    if len(parts[2]) != promise.size + pieces * TAG_BYTES:
        raise _bad(
            f"its content has {len(parts[2])} bytes, its header promises "
            f"{promise.size + pieces * TAG_BYTES}.",
            where,
        )
    return Sealed(promise, recipients, parts[2])


def open_content(sealed: Sealed, content_key: bytes, where: str) -> bytes:
    """The bundle, byte for byte as the header promises.

    Raises:
        InputError: another key, a piece that was changed, left out or moved, or another content.
    """
    tool, out = _tool(content_key), []
    promise, step = sealed.promise, PIECE_BYTES + TAG_BYTES
    bound = promise.digest()
    count = max(1, -(-promise.size // PIECE_BYTES))
    for number in range(count):
        piece = sealed.content[number * step : (number + 1) * step]
        try:
            out.append(tool.decrypt(_nonce(number, number == count - 1), piece, bound))
        except InvalidTag as error:
            problem = f"piece {number + 1} of {count} does not open: it was changed or moved."
            raise _bad(problem, where) from error
    archive = b"".join(out)
    if hashlib.sha256(archive).hexdigest() != promise.sha256:
        raise _bad("its content is another than its header promises.", where)
    return archive


def _crypt(promise: Promise, archive: bytes, content_key: bytes) -> bytes:
    tool, bound = _tool(content_key), promise.digest()
    count = max(1, -(-len(archive) // PIECE_BYTES))
    return b"".join(
        tool.encrypt(
            _nonce(number, number == count - 1),
            archive[number * PIECE_BYTES : (number + 1) * PIECE_BYTES],
            bound,
        )
        for number in range(count)
    )


def _tool(content_key: bytes) -> AESGCM:
    if len(content_key) != KEY_BYTES:
        raise InputError(f"a content key has {KEY_BYTES} bytes.")
    return AESGCM(content_key)


def _nonce(number: int, last: bool) -> bytes:
    """The piece's number in 11 bytes and 1 for the last; no key meets a nonce twice."""
    return number.to_bytes(11, "big") + bytes([last])


def _fields(raw: bytes) -> list[bytes]:
    found: list[bytes] = []
    at = 0
    while at < len(raw) and len(found) < 3:
        size = int.from_bytes(raw[at : at + 8], "little")
        found.append(raw[at + 8 : at + 8 + size])
        at += 8 + size
    return found


def _read_header(document: Mapping[str, Any], where: str) -> tuple[Promise, tuple[Recipient, ...]]:
    if (
        document.keys() != {"kind", "v", "cipher", "promise", "recipients"}
        or (document["kind"], document["v"]) != (KIND, VERSION)
        or isinstance(document["v"], bool)
    ):
        raise _bad("its header is of another kind or version.", where)
    if document["cipher"] != CIPHER:
        raise _bad("it is sealed in a way that this version does not know.", where)
    return _read_promise(document["promise"], where), _read_recipients(
        document["recipients"], where
    )


def _read_promise(found: object, where: str) -> Promise:
    names = set(Promise.__dataclass_fields__)
    if not isinstance(found, dict) or found.keys() != names:
        raise _bad("its header does not say which release it is.", where)
    purposes, size = found["purposes"], found["size"]
    texts = [found[name] for name in ("licence", "expires")]
    if not isinstance(purposes, list) or len(purposes) > 100:
        raise _bad("its header lists no purposes.", where)
    for one in (*texts, *purposes):
        if not isinstance(one, str) or not 0 < len(one) <= MAX_TEXT:
            raise _bad("its header holds terms that cannot be read.", where)
    if type(size) is not int or not 0 < size <= MAX_SEALED_BYTES:
        raise _bad("its header promises an impossible size.", where)
    ids = {name: _hex(found[name], 32, where).hex() for name in _IDS}
    return Promise(
        coop=CoopId(ids["coop"]),
        model=ModelId(ids["model"]),
        run=RunId(_hex(found["run"], 16, where).hex()),
        agreement=AgreementId(ids["agreement"]),
        card=ids["card"],
        licence=found["licence"],
        purposes=tuple(purposes),
        expires=found["expires"],
        sha256=ids["sha256"],
        size=size,
    )


def _read_recipients(found: object, where: str) -> tuple[Recipient, ...]:
    if not isinstance(found, list) or not 1 <= len(found) <= MAX_RECIPIENTS:
        raise _bad("its header names no recipients.", where)
    out = []
    for one in found:
        if not isinstance(one, dict) or one.keys() != {"member", "key", "sealed_key"}:
            raise _bad("its header names a recipient that cannot be read.", where)
        out.append(
            Recipient(
                MemberId(_hex(one["member"], 32, where).hex()),
                _hex(one["key"], 32, where),
                _hex(one["sealed_key"], SEALED_KEY_BYTES, where),
            )
        )
    ids = [one.member for one in out]
    if ids != sorted(set(ids)):
        raise _bad("its recipients stand out of order or twice.", where)
    return tuple(out)


def _hex(value: object, size: int, where: str) -> bytes:
    if not isinstance(value, str) or len(value) != 2 * size or set(value) - _DIGITS:
        raise _bad("its header holds a name or a key that cannot be read.", where)
    return bytes.fromhex(value)


def _bad(problem: str, where: str) -> InputError:
    return InputError(problem, code=Code.TAMPERED, where=where, fix="Pull the release again.")
