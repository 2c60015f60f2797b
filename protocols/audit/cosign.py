"""Countersignatures of members over the coordinator's checkpoint (C2SP ``tlog-cosignature``).

One line under a signed note says: at this time, the newest head of this log that I have seen, and
that continues every one I saw before, is this. It is Ed25519 by the member's identity key over::

    cosignature/v1
    time 1772357400
    datacoop/coordinator/5f0c...
    1042
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

A member signs one root for one size, ever: two of its lines over one size and two roots are its
own lie, two of different members are the coordinator's.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from protocols.audit.checkpoint import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    Checkpoint,
    key_id,
    origin_of,
    parse_checkpoint,
    signature_line,
    split_note,
)
from protocols.errors import Code, InputError, RemoteError
from protocols.ids import MemberId
from protocols.signing import SigningKey, identity_of, verify_bytes

COSIGNATURE = b"\x04"  # signature type: Ed25519 with a time
MAX_TIME = 2**63 - 1
_RAW_BYTES = 4 + 8 + 64  # key id, time, signature


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A checkpoint that the log's key has signed, and who countersigned it.

    ``times``: member id to POSIX seconds of its verified countersignature, the member's word.
    """

    head: Checkpoint
    times: Mapping[MemberId, int]


def cosigner_name(public: bytes) -> str:
    """Key name of a member's countersignatures: ``datacoop/member/<member id>``."""
    return origin_of("member", public)


def cosign(checkpoint: Checkpoint, key: SigningKey, at: int) -> bytes:
    """One countersignature line, with its line feed, for ``merge``.

    Call it only for a head that is durably kept: nothing here remembers what was signed.

    Args:
        checkpoint: the verified head.
        key: the member's identity key.
        at: POSIX seconds, not before the member's last countersignature.
    """
    if not 0 <= at <= MAX_TIME:
        raise InputError("the time of a countersignature is POSIX seconds, 0 to 2^63 - 1.")
    name = cosigner_name(key.public)
    signature = key.sign_bytes(_message(checkpoint.text(), at))
    raw = key_id(name, key.public, COSIGNATURE) + at.to_bytes(8, "big") + signature
    return f"— {name} {base64.b64encode(raw).decode()}\n".encode()


def read_cosigned(
    note: bytes, public: bytes, origin: str, members: Mapping[MemberId, bytes], where: str
) -> Cosigned:
    """A checkpoint of the log ``origin`` with all countersignatures of known members, verified.

    Lines of strangers are left alone, as C2SP asks. One of a known member that fails, or a second
    line of the same member, refuses the note.

    Args:
        note: bytes of unknown origin.
        public: the log's key.
        origin: the log's name.
        members: member id to Ed25519 public key, from an accepted roster.
        where: name of the note, for errors.

    Raises:
        InputError: malformed, not signed by the log, or a countersignature does not verify.
    """
    head = parse_checkpoint(note, public, origin, where)
    text, lines = split_note(note, where)
    known = {
        (cosigner_name(key), key_id(cosigner_name(key), key, COSIGNATURE)): (member, key)
        for member, key in members.items()
    }
    times: dict[MemberId, int] = {}
    for line in lines:
        name, raw = signature_line(line, where)
        found = known.get((name, raw[:4]))
        if found is None:
            continue
        member, key = found
        if member in times:
            raise _bad(f"member {member[:16]} countersigned it twice.", where)
        times[member] = _verified(text, raw, key, member, where)
    return Cosigned(head, times)


def cosignature_of(note: bytes, public: bytes, where: str) -> tuple[bytes, int] | None:
    """The line (with line feed) and time of one member's countersignature, verified; or None.

    Raises:
        InputError: malformed, there twice, or it does not verify.
    """
    text, lines = split_note(note, where)
    name, found = cosigner_name(public), None
    for line in lines:
        signer, raw = signature_line(line, where)
        if signer != name or raw[:4] != key_id(name, public, COSIGNATURE):
            continue
        if found is not None:
            raise _bad(f"{name} countersigned it twice.", where)
        found = line.encode() + b"\n", _verified(text, raw, public, identity_of(public), where)
    return found


def merge(note: bytes, lines: Iterable[bytes], where: str) -> bytes:
    """The note with more signature lines, each once; the log's own stays the first.

    Raises:
        InputError: the note would grow beyond what readers take.
    """
    text, have = split_note(note, where)
    more = sorted({line.decode().removesuffix("\n") for line in lines} - set(have))
    merged = (text + "\n" + "".join(f"{line}\n" for line in (*have, *more))).encode()
    if len(have) + len(more) > MAX_SIGNATURES or len(merged) > MAX_NOTE_BYTES:
        raise InputError(
            f"the note would have {len(have) + len(more)} signatures in {len(merged)} bytes; "
            f"{MAX_SIGNATURES} in {MAX_NOTE_BYTES} are the most.",
            code=Code.LIMIT,
            where=where,
        )
    split_note(merged, where)
    return merged


def _message(text: str, at: int) -> bytes:
    return f"cosignature/v1\ntime {at}\n{text}".encode()


def _verified(text: str, raw: bytes, public: bytes, member: MemberId, where: str) -> int:
    """The time of a countersignature; ``raw`` is key id, time (big-endian) and signature."""
    if len(raw) != _RAW_BYTES:
        raise _bad(f"the countersignature of {member[:16]} has {len(raw)} bytes.", where)
    at = int.from_bytes(raw[4:12], "big")
    if at > MAX_TIME:
        raise _bad(f"the countersignature of {member[:16]} has an impossible time.", where)
    try:
        verify_bytes(public, raw[12:], _message(text, at), peer=member, what="countersignature")
    except RemoteError as error:
        raise _bad(f"the countersignature of {member[:16]} does not verify.", where) from error
    return at


def _bad(problem: str, where: str) -> InputError:
    return InputError(
        problem,
        code=Code.TAMPERED,
        where=where,
        fix="Ask that member for its newest checkpoint again.",
    )
