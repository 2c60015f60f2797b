"""Uniform words from a key: AES-256-CTR (SPEC.md section 4). 32 bytes of entropy buy any number."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from protocols.errors import LocalError

Entropy = Callable[[int], bytes]
KEY_BYTES = 32
_CHUNK_BYTES = 1 << 20


class Words:
    """Independent uniform words under one key, in order; the key serves one object only."""

    __slots__ = ("_encryptor",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise LocalError(f"a stream of random words needs a key of {KEY_BYTES} bytes.")
        self._encryptor = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()

    def bytes(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        return self._encryptor.update(bytes(count))

    def uint64(self, count: int) -> NDArray[np.uint64]:
        """The next ``count`` words of 64 bits."""
        return np.frombuffer(self.bytes(8 * count), dtype="<u8")

    def uint32(self, count: int) -> NDArray[np.uint32]:
        """The next ``count`` words of 32 bits."""
        return np.frombuffer(self.bytes(4 * count), dtype="<u4")


def fresh(entropy: Entropy) -> Words:
    """A stream under a key that nobody else has."""
    return Words(entropy(KEY_BYTES))
