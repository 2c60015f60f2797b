"""Checkpoints: the signed head of a log, as C2SP ``tlog-checkpoint`` in a ``signed-note``.

One checkpoint is a short text that people can mail, print and compare::

    datacoop/coordinator/5f0c...
    1042
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

    — datacoop/coordinator/5f0c... Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u...

The signature is Ed25519 over the text above the blank line, as it is. It cannot be mistaken for
another signature of the same key: those are over 32-byte digests or dotted base64url.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from protocols.audit.merkle import EMPTY_ROOT, HASH_BYTES, verify_consistency
from protocols.errors import Code, InputError, RemoteError
from protocols.signing import SigningKey, identity_of, verify_bytes

ED25519 = b"\x01"  # signature type of signed-note
MAX_SIGNATURES = 1024  # the log's own and those of at most 1000 members
MAX_NOTE_BYTES = 512 * 1024  # 1024 signature lines with names of 200 characters fit
_NAME = re.compile(r"[^\s+\x00-\x20]{1,200}")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Head of a log: which log (``origin``), how many entries, and the 32-byte root."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The note text that is signed; ends in a line feed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def origin_of(role: str, public: bytes) -> str:
    """Name of the log that this key signs: ``datacoop/<role>/<SHA-256 id of the key>``."""
    return f"datacoop/{role}/{identity_of(public)}"


def key_id(name: str, public: bytes, kind: bytes = ED25519) -> bytes:
    """First 4 bytes of ``SHA-256(name || LF || kind || public key)`` (C2SP signed-note).

    ``kind`` is the signature type: 0x01, or 0x04 for a countersignature.
    """
    return hashlib.sha256(name.encode() + b"\n" + kind + public).digest()[:4]


def verifier_key(name: str, public: bytes, kind: bytes = ED25519) -> str:
    """The ``vkey`` text that other C2SP tools take: ``name+key id+base64``."""
    encoded = base64.b64encode(kind + public).decode()
    return f"{name}+{key_id(name, public, kind).hex()}+{encoded}"


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> bytes:
    """The signed note, UTF-8; the key's name is the origin of the log."""
    return sign_note(checkpoint.text(), checkpoint.origin, key)


def sign_note(text: str, name: str, key: SigningKey) -> bytes:
    """Sign any note text under a key name (C2SP signed-note); the text ends in a line feed."""
    if not text.endswith("\n") or not _NAME.fullmatch(name):
        raise InputError("a note ends in a line feed and its key name has neither space nor plus.")
    raw = key_id(name, key.public) + key.sign_bytes(text.encode())
    return f"{text}\n— {name} {base64.b64encode(raw).decode()}\n".encode()


def open_note(note: bytes, name: str, public: bytes, where: str) -> str:
    """The text of a signed note, once the signature of (name, public) verifies.

    Signatures of other keys (witnesses) are left alone, as C2SP asks; one of ours that fails
    refuses the note.

    Raises:
        InputError: malformed, not signed by this key, or the signature does not verify.
    """
    text, lines = split_note(note, where)
    wanted = key_id(name, public)
    found = False
    for line in lines:
        signer, raw = signature_line(line, where)
        if signer != name or raw[:4] != wanted:
            continue
        try:
            verify_bytes(public, raw[4:], text.encode(), peer=name, what="checkpoint")
        except RemoteError as error:
            raise _bad(f"the signature of {name} over the checkpoint is wrong.", where) from error
        found = True
    if not found:
        raise _bad(f"the checkpoint is not signed by the key of {name}.", where)
    return text


def parse_checkpoint(note: bytes, public: bytes, origin: str, where: str) -> Checkpoint:
    """A verified checkpoint of the log ``origin`` from bytes of unknown origin.

    Strict: exactly three lines, no extension lines, canonical numbers and base64.

    Raises:
        InputError: anything else, naming ``where`` and what was expected.
    """
    lines = open_note(note, origin, public, where).split("\n")
    if len(lines) != 4 or lines[3]:
        raise _bad("a checkpoint has three lines: log name, number of entries, root.", where)
    if lines[0] != origin:
        raise _bad(f"this is a checkpoint of {lines[0]!r}, expected {origin!r}.", where)
    if not _SIZE.fullmatch(lines[1]):
        raise _bad(f"the number of entries is written as {lines[1][:30]!r}.", where)
    root = _decode64(lines[2], where)
    if len(root) != HASH_BYTES:
        raise _bad(f"the root has {len(root)} bytes, expected {HASH_BYTES}.", where)
    size = int(lines[1])
    if size == 0 and root != EMPTY_ROOT:
        raise _bad("an empty log has the hash of nothing as its root.", where)
    return Checkpoint(origin, size, root)


def check_growth(old: Checkpoint, new: Checkpoint, proof: tuple[bytes, ...], peer: str) -> None:
    """Check that a log only grew between two verified checkpoints; names a fork.

    Members call it on every contact with the checkpoint that they kept (agreement section 7).

    Raises:
        RemoteError: the newer log is not a continuation of the older one.
    """
    fix = "Keep both checkpoint files: together they prove it. Stop, and tell the other members."
    if old.origin != new.origin:
        problem = f"checkpoints of two logs were mixed: {old.origin} and {new.origin}."
    elif new.size < old.size:
        problem = (
            f"the log had {old.size} entries and now has {new.size}: entries were removed, or the "
            "coordinator was restored from an older backup."
        )
    elif new.size == old.size and new.root != old.root:
        problem = f"two different logs of {old.size} entries were shown: the log is forked."
    else:
        try:
            verify_consistency(old.size, old.root, new.size, new.root, proof)
        except InputError as error:
            raise RemoteError(
                f"the log of {new.size} entries does not continue the one of {old.size}: "
                "it was rewritten or forked.",
                peer=peer,
                code=Code.TAMPERED,
                where=peer,
                fix=fix,
            ) from error
        return
    raise RemoteError(problem, peer=peer, code=Code.TAMPERED, where=peer, fix=fix)


def bare_note(note: bytes, public: bytes, origin: str, where: str) -> bytes:
    """The note with the log's own signature line, once, and no other; for what is kept.

    Lines of others prove nothing to ``parse_checkpoint`` and are not verified by it: whoever hands
    over a note can hang as many below it, under any name, as fit.

    Raises:
        InputError: as ``parse_checkpoint``.
    """
    parse_checkpoint(note, public, origin, where)
    text, lines = split_note(note, where)
    known = (origin, key_id(origin, public))
    for line in lines:
        name, raw = signature_line(line, where)
        if (name, raw[:4]) == known:
            return f"{text}\n{line}\n".encode()
    raise _bad(f"the checkpoint is not signed by the key of {origin}.", where)


def split_note(note: bytes, where: str) -> tuple[str, list[str]]:
    """Text (ends in a line feed) and signature lines of a note, NOT verified; else InputError."""
    if len(note) > MAX_NOTE_BYTES:
        raise _bad(f"a checkpoint has at most {MAX_NOTE_BYTES} bytes.", where)
    try:
        decoded = note.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad(f"byte {error.start} is not UTF-8.", where) from error
    if any(char < " " and char != "\n" for char in decoded):
        raise _bad("a checkpoint holds no control characters.", where)
    # the signatures follow the last blank line
    text, blank, signatures = decoded.rpartition("\n\n")
    lines = signatures.split("\n")
    if not blank or not text or lines[-1] or not 1 <= len(lines) - 1 <= MAX_SIGNATURES:
        raise _bad(
            f"a checkpoint is a text, a blank line, and 1 to {MAX_SIGNATURES} signature lines.",
            where,
        )
    return text + "\n", lines[:-1]


def signature_line(line: str, where: str) -> tuple[str, bytes]:
    """Key name, and key id with signature, of one signature line; NOT verified; else InputError."""
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "—" or not _NAME.fullmatch(parts[1]):
        raise _bad("a signature line reads `— name base64`.", where)
    raw = _decode64(parts[2], where)
    if len(raw) < 5:
        raise _bad("a signature is too short.", where)
    return parts[1], raw


def _decode64(text: str, where: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _bad("it holds something that is not base64.", where) from error
    if base64.b64encode(raw).decode() != text:
        raise _bad("its base64 is not canonical.", where)
    return raw


def _bad(problem: str, where: str) -> InputError:
    return InputError(
        problem,
        code=Code.TAMPERED,
        where=where,
        fix="Ask the log's owner for the checkpoint again.",
    )
