"""How what lies in the vault's folder is sealed; node/data/SPEC.md says why in this way.

Row files are Parquet under PyArrow's own encryption: every page and the footer by AES-256-GCM,
each file under a key of its own, bound to the file's name. All else (the list of contents, rows
set aside) is one AES-256-GCM message:

    "datacoop-vault\\n" | version u8 | key id 8 | nonce 12 | ciphertext and tag

whose associated data are the header and the purpose of the file.
"""

from __future__ import annotations

import secrets
from typing import Any, Final

import pyarrow.dataset as ds
import pyarrow.parquet.encryption as pe
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocols.errors import Code, LocalError

KEY_BYTES: Final = 32
SALT_BYTES: Final = 32
VERSION: Final = 2  # 1 was a folder in plain text

_MAGIC: Final = b"datacoop-vault\n"
_ID_BYTES: Final = 8
_NONCE_BYTES: Final = 12
_HEADER_BYTES: Final = len(_MAGIC) + 1 + _ID_BYTES + _NONCE_BYTES
_ROWS: Final = b"datacoop/vault/v1/"
_RESTORE: Final = "Restore the vault folder from a copy, or empty it and import again."


def require_key(key: bytes) -> bytes:
    """The key itself; LocalError if it has not 32 bytes."""
    if len(key) != KEY_BYTES:
        raise LocalError(
            f"the vault's key has {len(key)} bytes; {KEY_BYTES} are expected.",
            fix="Restore the keys from your backup ('coop-node restore').",
        )
    return key


def key_id(key: bytes) -> bytes:
    """Eight bytes that name a key and say nothing about it."""
    return _derived(key, b"key id")[:_ID_BYTES]


def seal(key: bytes, purpose: str, plain: bytes) -> bytes:
    """Some bytes as a file that only the key opens, and only for this purpose."""
    header = _MAGIC + bytes((VERSION,)) + key_id(key) + secrets.token_bytes(_NONCE_BYTES)
    cipher = AESGCM(_derived(key, b"sealed files"))
    return header + cipher.encrypt(header[-_NONCE_BYTES:], plain, header + purpose.encode())


def unseal(key: bytes, purpose: str, sealed: bytes, where: str) -> bytes:
    """What ``seal`` was given.

    Raises:
        LocalError: written by a newer version, sealed with another key, damaged, cut, or the
            file of another purpose.
    """
    header = sealed[:_HEADER_BYTES]
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise damaged("this is no sealed file of a vault.", where)
    require_version(header[len(_MAGIC)], where)
    if sealed_under(sealed) != key_id(key):
        raise LocalError(
            "the vault was sealed with another key than the one in this node's keys.",
            code=Code.TAMPERED,
            where=where,
            fix="Restore keys/vault.key from the backup of this node ('coop-node restore').",
        )
    cipher = AESGCM(_derived(key, b"sealed files"))
    associated = header + purpose.encode()
    try:
        return cipher.decrypt(header[-_NONCE_BYTES:], sealed[_HEADER_BYTES:], associated)
    except InvalidTag as error:
        raise damaged("a sealed file of the vault was changed or damaged.", where) from error


def sealed_under(sealed: bytes) -> bytes:
    """The id of the key that a file names in its header."""
    return sealed[len(_MAGIC) + 1 : len(_MAGIC) + 1 + _ID_BYTES]


def require_version(version: int, where: str) -> None:
    """Refuse what a newer version of this program wrote."""
    if version > VERSION:
        raise LocalError(
            f"the vault was written by a newer version of this program (layout {version}; this "
            f"one reads up to {VERSION}).",
            where=where,
            fix="Install the release that wrote it, or a newer one.",
        )
    if version < VERSION:
        raise damaged(f"the layout {version} was never sealed in this way.", where)


def damaged(problem: str, where: str) -> LocalError:
    """A file of the vault does not have the bytes that were written."""
    return LocalError(problem, code=Code.TAMPERED, where=where, fix=_RESTORE)


# --- row files ---------------------------------------------------------------------------------


def writing(key: bytes, salt: bytes, name: str) -> Any:
    """What a ParquetWriter needs to seal the file of this name."""
    return pe.create_encryption_properties(
        _derived(key, b"rows", salt), aad_prefix=_ROWS + name.encode(), store_aad_prefix=False
    )


def opening(key: bytes, salt: bytes, name: str) -> Any:
    """What a ParquetFile needs to open the file of this name and no other."""
    return pe.create_decryption_properties(
        _derived(key, b"rows", salt), aad_prefix=_ROWS + name.encode()
    )


def reading(key: bytes, salt: bytes, name: str) -> ds.ParquetFileFormat:
    """The format under which the row file of this name can be scanned."""
    options = ds.ParquetFragmentScanOptions(decryption_properties=opening(key, salt, name))
    return ds.ParquetFileFormat(default_fragment_scan_options=options)


def _derived(key: bytes, purpose: bytes, salt: bytes = b"") -> bytes:
    info = b"datacoop/vault/v1\0" + purpose
    return HKDF(hashes.SHA256(), KEY_BYTES, salt or None, info).derive(require_key(key))
