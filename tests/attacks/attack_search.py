"""Looks for secrets in files and texts: as bytes, in hex digits and in base64."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

SIZE = 32
_HEX = re.compile(rb"[0-9a-fA-F]{64,}")
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{43,}")
_USUAL = bytes.maketrans(b"-_", b"+/")


class Search:
    """For a set of secrets of 32 bytes."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self.secrets = frozenset(one for one in secrets if len(one) == SIZE)
        heads = np.frombuffer(b"".join(one[:8] for one in sorted(self.secrets)), dtype="<u8")
        self._heads = np.unique(heads)

    def found_in(self, data: bytes) -> set[bytes]:
        """The secrets that stand somewhere in ``data``, in any of the three forms."""
        return set(self._raw(data)) | set(self._written(data))

    def _raw(self, data: bytes) -> Iterator[bytes]:
        padded = data + bytes(16)
        for shift in range(8):
            words = np.frombuffer(padded, dtype="<u8", offset=shift, count=len(data) // 8 + 1)
            for at in np.flatnonzero(np.isin(words, self._heads)):
                start = shift + 8 * int(at)
                if data[start : start + SIZE] in self.secrets:
                    yield data[start : start + SIZE]

    def _written(self, data: bytes) -> Iterator[bytes]:
        for match in _HEX.finditer(data):
            text = match.group()
            for start in range(0, len(text) - 2 * SIZE + 1):
                raw = bytes.fromhex(text[start : start + 2 * SIZE].decode())
                if raw in self.secrets:
                    yield raw
        for match in _BASE64.finditer(data):
            text = match.group().translate(_USUAL)
            if _HEX.fullmatch(text):
                continue  # looked at above
            for start in range(4):
                part = text[start:]
                part = part[: len(part) - (len(part) % 4 == 1)]
                raw = base64.b64decode(part + b"=" * (-len(part) % 4))
                for offset in range(len(raw) - SIZE + 1):
                    if raw[offset : offset + SIZE] in self.secrets:
                        yield raw[offset : offset + SIZE]


def files_under(folder: Path, *without: str) -> Iterator[Path]:
    """All files of a home, but those in these folders at its top."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.relative_to(folder).parts[0] not in without:
            yield file
