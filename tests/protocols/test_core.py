"""Errors, ids, canonical forms, signatures, chunks: what everything else stands on."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import canonical, chunks, ids, plain, signing
from protocols.errors import TABLE, Code, CoopError, InputError, LocalError, Refused, RemoteError

EXIT_CODES = {1, 2, 3, 4, 5, 6, 75}
GRPC = {
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "DATA_LOSS",
    "UNAUTHENTICATED",
    "UNAVAILABLE",
    "INTERNAL",
}


def test_every_code_has_one_row_and_a_known_exit_code() -> None:
    assert set(TABLE) == set(Code)
    for kind in TABLE.values():
        assert kind.exit_code in EXIT_CODES
        assert kind.grpc in GRPC
        assert kind.heading


def test_refusals_name_their_clauses_and_exit_with_three() -> None:
    error = Refused("the cohort has 4 members, 5 are needed.", clauses=("c14",), fix="Wait.")
    assert error.kind.exit_code == 3
    assert plain.error_lines(error) == [
        "Refused by the agreement.",
        "  c14: the cohort has 4 members, 5 are needed.",
        "  What to do: Wait.",
    ]
    assert plain.error_document(error)["error"]["exit_code"] == 3


@pytest.mark.parametrize("family", [InputError, LocalError, RemoteError, Refused])
def test_every_family_is_a_coop_error_with_its_facts(family: type[CoopError]) -> None:
    error = family("it broke.", where="here", fix="Mend it.")
    assert (error.problem, error.where, error.fix) == ("it broke.", "here", "Mend it.")
    assert str(error) == "here: it broke. Mend it."


@pytest.mark.parametrize("text", ["", "AB" * 32, "ab" * 31, "ab" * 33, "zz" * 32, " " + "a" * 63])
def test_ids_are_parsed_not_guessed(text: str) -> None:
    with pytest.raises(InputError, match="hexadecimal"):
        ids.member_id(text)


def test_digest_known_answer() -> None:
    expected = hashlib.sha256(
        (1).to_bytes(8, "little") + b"t" + (2).to_bytes(8, "little") + b"ab"
    ).digest()
    assert canonical.digest("t", b"ab") == expected


@given(st.lists(st.binary(max_size=6), max_size=4), st.lists(st.binary(max_size=6), max_size=4))
@settings(deadline=None)
def test_encoding_is_injective(a: list[bytes], b: list[bytes]) -> None:
    assert (canonical.encode(*a) == canonical.encode(*b)) == (a == b)


def test_a_truth_value_is_not_a_field() -> None:
    with pytest.raises(TypeError):
        canonical.field(True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b'{"a": 1, "a": 2}', "stands twice"),
        (b'{"a": ' + b"1" * 5000 + b"}", "more digits than can be read"),
        (b"[1]", "JSON object is expected"),
        (b'{"a": NaN}', "not a JSON number"),
        (b'{"a": \xff}', "not UTF-8"),
        (b'{"a": 1,}', "doc:1:9"),
        (b'{"a":' + b"[" * 40 + b"]" * 40 + b"}", "nested deeper"),
        (b'{"a": "' + b"x" * canonical.MAX_DOCUMENT_BYTES + b'"}', "at most"),
    ],
)
def test_hostile_json_is_refused_with_its_place(text: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        canonical.parse_json(text, "doc")


def test_rfc_8785_numbers_and_keys() -> None:
    document = {"b": [333333333.33333329, 1e30, 4.50], "a": "\u20ac$\u000f"}
    expected = '{"a":"€$\\u000f","b":[333333333.3333333,1e+30,4.5]}'.encode()
    assert canonical.json_bytes(document) == expected


def test_rfc_8032_vector_2() -> None:
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    key = signing.SigningKey(seed)
    assert key.public.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert key.sign_bytes(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


def test_a_private_key_does_not_print() -> None:
    key = signing.SigningKey(b"\x07" * 32)
    assert "07" not in repr(key) and "seed" not in repr(key)


def test_signatures_are_bound_to_their_tag() -> None:
    key = signing.SigningKey(b"\x01" * 32)
    signature = key.sign("one", b"x")
    signing.verify(key.public, signature, "one", b"x")
    with pytest.raises(RemoteError, match="does not verify"):
        signing.verify(key.public, signature, "two", b"x", peer="m")


def _two() -> tuple[dict[str, object], dict[str, bytes]]:
    a, b = signing.SigningKey(b"\x01" * 32), signing.SigningKey(b"\x02" * 32)
    document = {"kind": "t", "n": 1}
    merged = signing.jws_merge(
        signing.jws_sign(document, "a", a), signing.jws_sign(document, "b", b)
    )
    return merged, {"a": a.public, "b": b.public}


def test_jws_of_two_parties_round_trip() -> None:
    merged, keys = _two()
    assert signing.jws_verify(merged, keys, "doc") == ("a", "b")
    assert signing.jws_payload(merged, "doc") == {"kind": "t", "n": 1}
    assert json.loads(json.dumps(merged)) == merged


def test_jws_by_a_stranger_twice_or_over_another_document_is_refused() -> None:
    merged, keys = _two()
    with pytest.raises(InputError, match="not a party"):
        signing.jws_verify(merged, {"a": keys["a"]}, "doc")
    twice = {**merged, "signatures": [merged["signatures"][0]] * 2}  # type: ignore[index]
    with pytest.raises(InputError, match="signed twice"):
        signing.jws_verify(twice, keys, "doc")
    other = signing.jws_sign({"kind": "t", "n": 2}, "a", signing.SigningKey(b"\x01" * 32))
    with pytest.raises(InputError, match="different documents"):
        signing.jws_merge(merged, other)
    forged = {"payload": other["payload"], "signatures": merged["signatures"]}
    with pytest.raises(InputError, match="does not verify"):
        signing.jws_verify(forged, keys, "doc")


def test_jws_with_no_signature_or_another_algorithm_is_refused() -> None:
    merged, keys = _two()
    with pytest.raises(InputError, match="1 to 1000"):
        signing.jws_verify({"payload": merged["payload"], "signatures": []}, keys, "doc")
    none = {"protected": "eyJhbGciOiJub25lIiwia2lkIjoiYSJ9", "signature": ""}
    with pytest.raises(InputError, match="must be Ed25519"):
        signing.jws_verify({"payload": merged["payload"], "signatures": [none]}, keys, "doc")


@given(st.binary(max_size=3000), st.integers(1, 700))
@settings(deadline=None)
def test_chunks_round_trip(body: bytes, part_bytes: int) -> None:
    assembler = chunks.Assembler("peer")
    out = [assembler.add(piece) for piece in chunks.split(body, part_bytes)]
    assert out[-1] == body and all(part is None for part in out[:-1])


def test_chunks_refuse_what_was_not_announced() -> None:
    def whole(*pieces: chunks.Piece) -> None:
        assembler = chunks.Assembler("peer", max_bytes=10)
        for piece in pieces:
            assembler.add(piece)

    with pytest.raises(RemoteError, match="at most 10"):
        whole(chunks.Piece(0, True, 11, b"x" * 11))
    with pytest.raises(RemoteError, match="out of order"):
        whole(chunks.Piece(1, True, 1, b"x"))
    with pytest.raises(RemoteError, match="more bytes"):
        whole(chunks.Piece(0, True, 1, b"xx"))
    with pytest.raises(RemoteError, match="1 of 2"):
        whole(chunks.Piece(0, True, 2, b"x"))
    with pytest.raises(RemoteError, match="empty part"):
        whole(chunks.Piece(0, False, 2, b""))
