"""The one deterministic encoding for everything that is signed or hashed.

Two forms and no third: length-prefixed fields under a tag (``digest``), for machines, and the
JSON Canonicalization Scheme of RFC 8785 (``json_bytes``), for documents that people sign.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import rfc8785

from protocols.errors import InputError

MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 32

Json = Mapping[str, Any]


def field(part: bytes | str | int) -> bytes:
    """One length-prefixed field: text as UTF-8, whole numbers as 8 bytes little-endian."""
    if isinstance(part, bool):
        raise TypeError("a truth value is not a field; pass 0 or 1")
    if isinstance(part, int):
        part = part.to_bytes(8, "little", signed=False)
    elif isinstance(part, str):
        part = part.encode()
    return len(part).to_bytes(8, "little") + part


def encode(*parts: bytes | str | int) -> bytes:
    """Injective concatenation of length-prefixed fields."""
    return b"".join(field(part) for part in parts)


def digest(tag: str, *parts: bytes | str | int) -> bytes:
    """``H(tag, p1..pm)``: SHA-256 over the tag and the fields, 32 bytes (SPEC.md section 3)."""
    return hashlib.sha256(encode(tag, *parts)).digest()


def json_bytes(document: Json) -> bytes:
    """RFC 8785 bytes of a JSON object."""
    try:
        return rfc8785.dumps(dict(document))
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:  # also half a character
        raise InputError(f"the document has no canonical form: {error}.") from error


def json_id(document: Json) -> str:
    """SHA-256 of the canonical form, 64 hex digits: the name of the document."""
    return hashlib.sha256(json_bytes(document)).hexdigest()


def parse_json(text: bytes, where: str) -> dict[str, Any]:
    """A JSON object from bytes of unknown origin.

    Refuses what is too large, too deep, not UTF-8, not an object, or names a key twice; errors
    name ``where``, line and column.
    """
    if len(text) > MAX_DOCUMENT_BYTES:
        raise InputError(
            f"the document has {len(text)} bytes, at most {MAX_DOCUMENT_BYTES} are read.",
            where=where,
        )
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"byte {error.start} is not UTF-8.", where=where, fix="Save the file as UTF-8."
        ) from error
    _check_depth(decoded, where)
    try:
        value = json.loads(decoded, object_pairs_hook=_no_duplicates, parse_constant=_no_constants)
    except json.JSONDecodeError as error:
        raise InputError(
            f"this is not JSON: {error.msg}.", where=f"{where}:{error.lineno}:{error.colno}"
        ) from error
    except _DocumentProblem as error:
        raise InputError(str(error), where=where) from error
    except ValueError as error:  # Python reads no whole number of more than 4300 digits
        raise InputError("a number has more digits than can be read.", where=where) from error
    if not isinstance(value, dict):
        raise InputError("a JSON object is expected at the top.", where=where)
    return value


class _DocumentProblem(ValueError):
    pass


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in pairs:
        if key in out:
            raise _DocumentProblem(f"the key {key!r} stands twice; keep one.")
        out[key] = value
    return out


def _no_constants(name: str) -> Any:
    raise _DocumentProblem(f"{name} is not a JSON number.")


def _check_depth(text: str, where: str) -> None:
    depth = 0
    in_string = escaped = False
    for char in text:
        if in_string:
            if escaped:
                escaped = False
            elif char == "\\":
                escaped = True
            elif char == '"':
                in_string = False
        elif char == '"':
            in_string = True
        elif char in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise InputError(f"it is nested deeper than {MAX_DEPTH} levels.", where=where)
        elif char in "]}":
            depth -= 1
