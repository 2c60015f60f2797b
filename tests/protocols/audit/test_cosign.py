"""Countersignatures after C2SP tlog-cosignature, against its text and in every malformed form."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from protocols.audit.checkpoint import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    Checkpoint,
    key_id,
    origin_of,
    parse_checkpoint,
    sign_checkpoint,
    split_note,
    verifier_key,
)
from protocols.audit.cosign import (
    COSIGNATURE,
    cosign,
    cosignature_of,
    cosigner_name,
    merge,
    read_cosigned,
)
from protocols.errors import Code, InputError
from protocols.ids import MemberId
from protocols.signing import SigningKey, identity_of

KEY = SigningKey(bytes(range(32)))
ORIGIN = origin_of("coordinator", KEY.public)
HEAD = Checkpoint(ORIGIN, 1042, bytes(range(32)))
NOTE = sign_checkpoint(HEAD, KEY)
A, B = SigningKey(b"\x0a" * 32), SigningKey(b"\x0b" * 32)
MEMBERS = {identity_of(key.public): key.public for key in (A, B)}
AT = 1_679_315_147

# the example of tlog-cosignature.md, whose witness key is not published: its form only
EXAMPLE = """\
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""  # noqa: E501


def line_of(raw: bytes, name: str = cosigner_name(A.public)) -> bytes:
    return f"— {name} {base64.b64encode(raw).decode()}\n".encode()


def read(note: bytes) -> dict[MemberId, int]:
    found = read_cosigned(note, KEY.public, ORIGIN, MEMBERS, "the note")
    assert found.head == HEAD
    return dict(found.times)


def test_the_published_example_has_our_form() -> None:
    text, lines = split_note(EXAMPLE.encode(), "example")
    assert text.split("\n")[1] == "20852163"
    raw = base64.b64decode(lines[1].split(" ")[2])
    assert len(raw) == 4 + 8 + 64 and int.from_bytes(raw[4:12], "big") == AT


def test_one_countersignature_byte_by_byte() -> None:
    line = cosign(HEAD, A, AT)
    dash, name, encoded = line.decode().split(" ")
    assert (dash, name) == ("—", f"datacoop/member/{identity_of(A.public)}")
    raw = base64.b64decode(encoded)
    assert raw[:4] == hashlib.sha256(name.encode() + b"\n\x04" + A.public).digest()[:4]
    assert raw[4:12] == AT.to_bytes(8, "big")
    root = base64.b64encode(HEAD.root).decode()
    message = f"cosignature/v1\ntime {AT}\n{ORIGIN}\n1042\n{root}\n".encode()
    Ed25519PublicKey.from_public_bytes(A.public).verify(raw[12:], message)
    assert verifier_key(name, A.public, COSIGNATURE).startswith(f"{name}+{raw[:4].hex()}+B")
    assert key_id(name, A.public, COSIGNATURE) != key_id(name, A.public)


def test_lines_are_merged_once_and_read_for_known_members() -> None:
    lines = [cosign(HEAD, A, AT), cosign(HEAD, B, AT + 7)]
    whole = merge(NOTE, [*lines, *lines, cosign(HEAD, SigningKey(b"\x0c" * 32), AT)], "note")
    assert read(whole) == {identity_of(A.public): AT, identity_of(B.public): AT + 7}
    assert merge(whole, lines, "note") == whole
    assert parse_checkpoint(whole, KEY.public, ORIGIN, "note") == HEAD
    assert split_note(whole, "note")[1][0].startswith(f"— {ORIGIN} ")
    assert cosignature_of(whole, B.public, "note") == (lines[1], AT + 7)
    assert cosignature_of(NOTE, B.public, "note") is None and read(NOTE) == {}


def test_a_full_cooperative_fits_into_one_note() -> None:
    keys = [SigningKey(number.to_bytes(32, "big")) for number in range(1, 1001)]
    whole = merge(NOTE, [cosign(HEAD, key, AT) for key in keys], "note")
    members = {identity_of(key.public): key.public for key in keys}
    found = read_cosigned(whole, KEY.public, ORIGIN, members, "note")
    assert len(found.times) == 1000 < MAX_SIGNATURES and len(whole) < MAX_NOTE_BYTES
    more = [cosign(HEAD, keys[0], number) for number in range(30)]
    with pytest.raises(InputError, match="are the most") as caught:
        merge(whole, more, "note")
    assert caught.value.code is Code.LIMIT


RAW = base64.b64decode(cosign(HEAD, A, AT).decode().split(" ")[2])
MALFORMED = {
    "one byte less": RAW[:-1],
    "one byte more": RAW + b"\0",
    "no time": RAW[:4] + RAW[12:],
    "another time": RAW[:11] + bytes([RAW[11] ^ 1]) + RAW[12:],
    "a time beyond 2^63": RAW[:4] + b"\xff" * 8 + RAW[12:],
    "another head": base64.b64decode(
        cosign(Checkpoint(ORIGIN, 1043, HEAD.root), A, AT).decode().split(" ")[2]
    ),
    "a plain checkpoint signature": RAW[:12] + A.sign_bytes(HEAD.text().encode()),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_known_members_line_that_fails_refuses_the_note(name: str) -> None:
    note = merge(NOTE, [line_of(MALFORMED[name])], "note")
    for check in (lambda: read(note), lambda: cosignature_of(note, A.public, "the note")):
        with pytest.raises(InputError) as caught:
            check()
        assert caught.value.code is Code.TAMPERED and caught.value.where == "the note"


def test_a_member_that_signed_twice_is_refused() -> None:
    note = merge(NOTE, [cosign(HEAD, A, AT), cosign(HEAD, A, AT + 1)], "note")
    for check in (lambda: read(note), lambda: cosignature_of(note, A.public, "the note")):
        with pytest.raises(InputError, match="twice"):
            check()


def test_lines_of_other_names_and_types_are_left_alone() -> None:
    mine = cosigner_name(A.public)
    strange = [
        line_of(RAW, "witness.example/w1"),  # right key, another name
        line_of(b"\0\0\0\0" + RAW[4:]),  # right name, another key id
        line_of(key_id(mine, A.public) + A.sign_bytes(HEAD.text().encode())),  # type 0x01
    ]
    assert read(merge(NOTE, strange, "note")) == {}


def test_every_flipped_bit_of_a_countersignature_is_refused_or_a_strangers() -> None:
    whole = merge(NOTE, [cosign(HEAD, A, AT)], "note")
    for position in range(len(NOTE), len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1
        try:
            assert read(bytes(changed)) == {}
        except InputError:
            continue


@pytest.mark.parametrize("at", [-1, 2**63])
def test_impossible_times_are_not_signed(at: int) -> None:
    with pytest.raises(InputError):
        cosign(HEAD, A, at)
