"""Keys, masks and sealed shares (SPEC.md sections 1.3, 1.4 and 4.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocols.canonical import digest, encode
from protocols.errors import InputError, LocalError
from protocols.secagg.fixedpoint import Lanes, pack
from protocols.secagg.params import MAX_COORDINATES

KEY_BYTES = 16
POINT_BYTES = 32
TAG_BYTES = 16
CHUNK_BYTES = 256 * 1024  # accumulator and buffer stay in the second-level cache
_ZEROS = bytes(CHUNK_BYTES)
_FIELD = 2**255 - 19


def public_of(secret: bytes) -> bytes:
    """X25519 public key of a 32-byte secret."""
    return X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()


def mask_secret(seed: bytes) -> bytes:
    """X25519 secret of the pairwise masks, from the 32-byte seed that is shared out."""
    return digest("SAQ1 s-key", seed)


def commitment(own: bytes) -> bytes:
    """``cb``: what a member publishes about ``b``, its self-mask secret."""
    return digest("SAQ1 cb", own)


def check_point(point: bytes) -> None:
    """InputError unless ``point`` is a canonical X25519 public key."""
    if len(point) != POINT_BYTES or int.from_bytes(point, "little") >= _FIELD:
        raise InputError("a public key is not in its canonical form.")


def loaded(secret: bytes) -> X25519PrivateKey:
    """A secret for many exchanges: loading it costs nearly as much as one exchange."""
    return X25519PrivateKey.from_private_bytes(secret)


def exchange(secret: bytes | X25519PrivateKey, point: bytes) -> bytes:
    """X25519; InputError if ``point`` has low order (the result would be all zero)."""
    key = loaded(secret) if isinstance(secret, bytes) else secret
    try:
        return key.exchange(X25519PublicKey.from_public_bytes(point))
    except ValueError as error:
        raise InputError("a public key has low order and gives no secret.") from error


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int = KEY_BYTES) -> bytes:
    """HKDF-SHA256 (RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(secret)


def channel_key(shared: bytes, a1: bytes, one: bytes, other: bytes) -> bytes:
    """Key that seals shares between two members."""
    return hkdf(shared, a1, b"SAQ1 chan" + min(one, other) + max(one, other))


def mask_key(shared: bytes, a2: bytes, one: bytes, other: bytes) -> bytes:
    """Key of the mask that two members share."""
    return hkdf(shared, a2, b"SAQ1 mask" + min(one, other) + max(one, other))


def self_key(own: bytes, a2: bytes, member: bytes) -> bytes:
    """Key of a member's own mask."""
    return hkdf(own, a2, b"SAQ1 self" + member)


def _seal_parts(a1: bytes, sender: bytes, recipient: bytes) -> tuple[bytes, bytes]:
    nonce = bytes(11) + (b"\0" if sender < recipient else b"\1")
    return nonce, encode("SAQ1 share", a1, sender, recipient)


def seal(key: bytes, a1: bytes, sender: bytes, recipient: bytes, plain: bytes) -> bytes:
    """Sealed share from ``sender`` to ``recipient``; the key serves one message per direction."""
    nonce, bound = _seal_parts(a1, sender, recipient)
    return AESGCM(key).encrypt(nonce, plain, bound)


def unseal(key: bytes, a1: bytes, sender: bytes, recipient: bytes, sealed: bytes) -> bytes:
    """Open a sealed share; InputError if it was not made for this pair, direction and A1."""
    nonce, bound = _seal_parts(a1, sender, recipient)
    try:
        return AESGCM(key).decrypt(nonce, sealed, bound)
    except InvalidTag as error:
        raise InputError("a sealed share does not open.") from error


def _stream(key: bytes, first: int) -> CipherContext:
    if not first:
        # The GCM key stream under a zero nonce is CTR from block 2; OpenSSL interleaves it better.
        return Cipher(algorithms.AES(key), modes.GCM(bytes(12))).encryptor()
    block, rest = divmod(first, 4)
    if rest:
        raise LocalError("a mask can only be entered at a whole block.")
    counter = (2 + block).to_bytes(16, "big")
    return Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor()


def low_bits(bits: int) -> np.uint32:
    """The word that keeps a lane modulo 2^bits, 1 to 32 bits."""
    return np.uint32((1 << bits) - 1)


def prg(key: bytes, count: int) -> Lanes:
    """The first ``count`` lanes of the key's stream, uint32 ``(count,)``."""
    out = np.zeros(count, dtype=np.uint32)
    add_masks(out, [key], [])
    return out


def add_masks(total: Lanes, plus: Sequence[bytes], minus: Sequence[bytes], first: int = 0) -> None:
    """Add and subtract the masks of many keys to ``total``, modulo 2^32, in place.

    All masks are taken through one chunk before the next, so that the chunk stays in cache.
    ``total`` stands for the coordinates from ``first`` on, a multiple of 4.
    """
    if first + total.size > MAX_COORDINATES:
        raise LocalError(f"a mask covers at most {MAX_COORDINATES} coordinates.")
    streams: list[tuple[CipherContext, np.ufunc]] = [(_stream(key, first), np.add) for key in plus]
    streams += [(_stream(key, first), np.subtract) for key in minus]
    scratch = bytearray(CHUNK_BYTES + 16)  # update_into wants a spare block
    buffer = np.frombuffer(scratch, dtype="<u4")
    for start in range(0, total.size, CHUNK_BYTES // 4):
        part = total[start : start + CHUNK_BYTES // 4]
        zeros = _ZEROS if part.nbytes == CHUNK_BYTES else bytes(part.nbytes)
        mask = buffer[: part.size]
        for stream, apply in streams:
            stream.update_into(zeros, scratch)
            apply(part, mask, out=part)


_PRG_LANES = (
    1401411145,
    2359729049,
    1752861155,
    2645590368,
    774614457,
    952265268,
    1580621136,
    1459402652,
)
_NIST_F_5_1 = (  # SP 800-38A, CTR-AES128.Encrypt, all four blocks
    "2b7e151628aed2a6abf7158809cf4f3c",
    "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710",
    "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff"
    "5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
)


@cache
def check_primitives() -> None:
    """Known answers of SPEC.md section 8, once per process, before the first round.

    Some processors and builds have had wrong vectorised AES; a wrong mask would only show as a
    wrong sum.

    Raises:
        LocalError: this machine's cryptographic library gives a wrong answer.
    """
    key, counter, plain, sealed = map(bytes.fromhex, _NIST_F_5_1)
    ctr = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor()
    right = ctr.update(plain) == sealed
    key = bytes(range(16))
    stream = prg(key, CHUNK_BYTES // 4 + 40)  # over a chunk's end
    right &= tuple(int(lane) for lane in stream[:8]) == _PRG_LANES
    ctr = Cipher(algorithms.AES(key), modes.CTR(bytes(15) + b"\2")).encryptor()
    right &= ctr.update(bytes(stream.nbytes)) == stream.astype("<u4").tobytes()
    pair = mask_key(b"3" * 32, b"D" * 32, b"\1" * 32, b"\2" * 32)
    right &= pair.hex() == "1a0a73fae3818d669aa41ad83c11c535"
    own = self_key(b"U" * 32, b"D" * 32, b"\1" * 32)
    right &= own.hex() == "8b7141bc98f095824c86167f3ab87e5e"
    packed = pack(np.arange(32, dtype=np.uint32) * np.uint32(32749), 20)
    right &= hashlib.sha256(packed).hexdigest() == (
        "1c3da2b5ee5e0836c4d5bb0d35f462414a1619942d1a95abc840d944eef840ba"
    )
    if not right:
        raise LocalError(
            "this machine's AES, HKDF or arithmetic gives wrong answers.",
            where="start-up check of secure aggregation",
            fix="Update the packages cryptography and numpy; run no round here until it passes.",
        )
