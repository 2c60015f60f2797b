"""A sealed release opens for its recipients alone, whole, and only as what it was sealed for."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.release.sealing import SUITE, seal_release
from node.federation.opening import open_release
from protocols import sealed
from protocols.canonical import encode, json_bytes, parse_json
from protocols.errors import Code, CoopError, InputError, LocalError, Refused
from protocols.ids import MemberId, ModelId
from protocols.sealed import PIECE_BYTES, TAG_BYTES, Recipient
from protocols.signing import SigningKey, jws_payload, jws_sign

COORDINATOR, OTHER = SigningKey(b"\x02" * 32), SigningKey(b"\x03" * 32)
A, B, STRANGER = (MemberId(one * 64) for one in "abc")
KEYS = {one: X25519PrivateKey.from_private_bytes(one[0].encode() * 32) for one in (A, B, STRANGER)}
MODEL, NEXT = ModelId("1" * 64), ModelId("2" * 64)
ARCHIVE = b"".join(bytes([n % 251]) * 1000 for n in range(200))  # four pieces
PIECE = PIECE_BYTES + TAG_BYTES


def public(member: MemberId) -> bytes:
    return KEYS[member].public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def card(model: str = MODEL, **use: Any) -> dict[str, Any]:
    terms = {
        "licence": "members-only",
        "purposes": ["demand-forecasting"],
        "expires": "2027-01-01T00:00:00Z",
        "recipients": {"rule": "contributors", "members": [A, B]},
    }
    ids = {"coop": "c" * 64, "model": model, "run": "d" * 32, "agreement": "e" * 64}
    return {**ids, "use": terms | use}


def made(about: dict[str, Any] | None = None, archive: bytes = ARCHIVE) -> bytes:
    return seal_release(about or card(), archive, {A: public(A), B: public(B)}, COORDINATOR)


RAW = made()


def opens(raw: bytes, me: MemberId = A, asked: ModelId = MODEL) -> bytes:
    return open_release(raw, asked, me, KEYS[me], COORDINATOR.public).archive


def fails(raw: bytes, me: MemberId = A, asked: ModelId = MODEL) -> InputError:
    with pytest.raises(InputError) as caught:
        opens(raw, me, asked)
    assert caught.value.code is Code.TAMPERED and caught.value.fix
    return caught.value


def parts(raw: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and content of a sealed file."""
    size = int.from_bytes(raw[8 + len(sealed.FORMAT) :][:8], "little")
    start = 16 + len(sealed.FORMAT)
    header = jws_payload(parse_json(raw[start : start + size], "x"), "x")
    return header, raw[start + size + 8 :]


def again(
    header: dict[str, Any], content: bytes, kid: str = "coordinator", key: SigningKey = COORDINATOR
) -> bytes:
    """The same, put together and signed by whoever holds a key."""
    return encode(sealed.FORMAT, json_bytes(jws_sign(header, kid, key)), content)


def test_each_recipient_opens_it_and_nobody_else() -> None:
    assert opens(RAW) == opens(RAW, B) == ARCHIVE
    assert made() != RAW  # another content key each time
    with pytest.raises(Refused, match=r"c18 benefit.*sealed for 2 recipients") as caught:
        opens(RAW, STRANGER)
    assert caught.value.clauses == ("c18",)


def test_a_stranger_who_takes_a_recipients_name_or_entry_does_not_open_it() -> None:
    with pytest.raises(InputError, match="another key than yours"):
        open_release(RAW, MODEL, A, KEYS[STRANGER], COORDINATOR.public)
    found = sealed.read_sealed(RAW, COORDINATOR.public, "x")
    entry = found.recipient(A)
    info = sealed.key_info(found.promise, A, entry.key)
    for key, told in ((KEYS[STRANGER], info), (KEYS[B], info), (KEYS[A], info + b"x")):
        with pytest.raises(InvalidTag):
            SUITE.decrypt(entry.sealed_key, key, info=told)
    assert SUITE.decrypt(entry.sealed_key, KEYS[A], info=info)


def test_entries_cannot_be_swapped_or_handed_on() -> None:
    header, content = parts(RAW)
    first, second = header["recipients"]
    swapped = [
        first | {"sealed_key": second["sealed_key"]},
        second | {"sealed_key": first["sealed_key"]},
    ]
    assert "does not open" in fails(again(header | {"recipients": swapped}, content)).problem
    handed = {"member": STRANGER, "key": public(STRANGER).hex(), "sealed_key": first["sealed_key"]}
    raw = again(header | {"recipients": [first, second, handed]}, content)
    assert "does not open" in fails(raw, STRANGER).problem
    assert opens(raw) == ARCHIVE  # who was entitled still is


def test_another_release_under_my_name_is_not_the_one_that_was_asked_for() -> None:
    old = made(card(NEXT))
    assert "asked for was 1111" in fails(old).problem  # an older file is played back
    header, content = parts(old)
    renamed = header | {"promise": header["promise"] | {"model": MODEL}}
    assert "does not open" in fails(again(renamed, content)).problem  # its key knows its header


@pytest.mark.parametrize(
    ("name", "value"),
    [("expires", "2036-01-01T00:00:00Z"), ("licence", "anything"), ("purposes", ["credit"])],
)
def test_terms_in_the_header_cannot_be_changed_afterwards(name: str, value: object) -> None:
    header, content = parts(RAW)
    fails(again(header | {"promise": header["promise"] | {name: value}}, content))


def test_a_header_that_was_sealed_with_other_terms_is_seen_beside_its_card() -> None:
    opened = open_release(
        made(card(expires="2036-01-01T00:00:00Z")), MODEL, A, KEYS[A], COORDINATOR.public
    )
    with pytest.raises(InputError, match="other terms than its card"):
        opened.check_card(card())
    opened.check_card(card(expires="2036-01-01T00:00:00Z"))


def test_a_header_of_another_signer_is_refused() -> None:
    header, content = parts(RAW)
    assert "does not verify" in fails_plainly(again(header, content, key=OTHER))
    assert "not a party" in fails_plainly(again(header, content, kid="operator"))


def fails_plainly(raw: bytes) -> str:
    with pytest.raises(InputError) as caught:
        opens(raw)
    assert caught.value.code is Code.TAMPERED
    return caught.value.problem


def test_a_listed_recipient_with_another_content_behind_it() -> None:
    """The header is right, the content is of another release, encrypted under the same key."""
    found = sealed.read_sealed(RAW, COORDINATOR.public, "x")
    entry = found.recipient(A)
    key = SUITE.decrypt(
        entry.sealed_key, KEYS[A], info=sealed.key_info(found.promise, A, entry.key)
    )
    header, _ = parts(RAW)
    other = ARCHIVE[::-1]
    content = sealed._crypt(found.promise, other, key)
    assert "another than its header promises" in fails(again(header, content)).problem


def test_pieces_cannot_be_cut_moved_repeated_or_changed() -> None:
    header, content = parts(RAW)
    pieces = [content[at : at + PIECE] for at in range(0, len(content), PIECE)]
    assert len(pieces) == 4
    whole = b"".join(pieces)
    fails(RAW[:-1])
    fails(RAW + b"x")
    fails(again(header, whole[:-PIECE]))
    fails(again(header, b"".join([pieces[1], pieces[0], *pieces[2:]])))
    fails(again(header, b"".join([pieces[0], pieces[0], *pieces[2:]])))
    shorter = header | {"promise": header["promise"] | {"size": 3 * PIECE_BYTES}}
    fails(again(shorter, b"".join(pieces[:3])))
    flipped = bytearray(whole)
    flipped[PIECE * 2 + 5] ^= 1
    assert "piece 3 of 4" in fails(again(header, bytes(flipped))).problem


@pytest.mark.parametrize("size", [1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1])
def test_sizes_about_the_edge_of_a_piece(size: int) -> None:
    archive = b"z" * size
    assert opens(made(archive=archive)) == archive


HEADERS: dict[str, Any] = {
    "another kind": {"kind": "datacoop/release"},
    "version 2": {"v": 2},
    "a truth for a version": {"v": True},
    "another cipher": {"cipher": "none"},
    "no promise": {"promise": []},
    "no recipients": {"recipients": []},
    "too many recipients": {"recipients": [{}] * 1001},
    "an odd recipient": {"recipients": ["a"]},
    "one more field": {"note": "x"},
}


@pytest.mark.parametrize("name", HEADERS)
def test_odd_headers(name: str) -> None:
    header, content = parts(RAW)
    fails(again(header | HEADERS[name], content))


@pytest.mark.parametrize(
    "change",
    [
        {"model": "1" * 63},
        {"model": 7},
        {"size": 0},
        {"size": True},
        {"size": 2**40},
        {"purposes": "all"},
        {"purposes": ["x" * 300]},
        {"expires": ""},
        {"extra": 1},
    ],
)
def test_odd_promises(change: dict[str, Any]) -> None:
    header, content = parts(RAW)
    fails(again(header | {"promise": header["promise"] | change}, content))


def test_recipients_stand_once_and_in_order() -> None:
    header, content = parts(RAW)
    first, second = header["recipients"]
    fails(again(header | {"recipients": [second, first]}, content))
    fails(again(header | {"recipients": [first, first]}, content))
    for change in ({"key": "xx"}, {"key": "AB" * 32}, {"sealed_key": "00"}, {"member": "a" * 63}):
        fails(again(header | {"recipients": [first | change, second]}, content))


@settings(deadline=None, max_examples=120)
@given(st.data())
def test_any_changed_byte_is_refused(data: st.DataObject) -> None:
    raw = bytearray(RAW)
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CoopError):
        opens(bytes(raw))


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200))
def test_noise_is_refused(raw: bytes) -> None:
    with pytest.raises(InputError):
        opens(raw)
    with pytest.raises(InputError):
        opens(encode(sealed.FORMAT, raw, b""))


def test_sealing_refuses_what_would_not_open() -> None:
    with pytest.raises(LocalError, match="not an X25519 key"):
        seal_release(card(), ARCHIVE, {A: public(A), B: b"short"}, COORDINATOR)
    promise = sealed.promise_of(card(), ARCHIVE)
    entry = Recipient(A, public(A), b"\0" * 80)
    for recipients in ([], [entry, entry]):
        with pytest.raises(InputError, match="at least one recipient"):
            sealed.seal(promise, ARCHIVE, b"k" * 32, recipients, COORDINATOR)
    with pytest.raises(InputError, match="another release"):
        sealed.seal(promise, ARCHIVE + b"x", b"k" * 32, [entry], COORDINATOR)
    with pytest.raises(InputError, match="32 bytes"):
        sealed.seal(promise, ARCHIVE, b"k", [entry], COORDINATOR)
    with pytest.raises(InputError, match="how the release may be used"):
        sealed.promise_of({"model": MODEL}, ARCHIVE)
    big = b"\0" * (sealed.MAX_SEALED_BYTES + 1)
    with pytest.raises(InputError) as caught:
        sealed.seal(dataclasses.replace(promise, **measured(big)), big, b"k" * 32, [entry], OTHER)
    assert caught.value.code is Code.LIMIT
    with pytest.raises(InputError) as caught:
        opens(big)
    assert caught.value.code is Code.LIMIT


def measured(archive: bytes) -> dict[str, Any]:
    promise = sealed.promise_of(card(), archive)
    return {"sha256": promise.sha256, "size": promise.size}
