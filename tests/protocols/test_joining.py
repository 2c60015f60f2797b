"""Invitations, the id of a cooperative and the proof of possession."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.errors import Code, CoopError, InputError, RemoteError
from protocols.ids import CoopId
from protocols.joining import (
    Address,
    Cooperative,
    Invitation,
    Profile,
    check_proof,
    cooperative,
    cooperative_from_json,
    parse_address,
    parse_link,
    prove,
    token_hash,
)
from protocols.signing import SigningKey, identity_of

FINGERPRINT = "ab" * 32
TOKEN = "abcdefghijklmnopqrstuvwxyz234567abcdefg"
LINK = f"office.example.org:8801#{FINGERPRINT}:{TOKEN}"
KEY = SigningKey(bytes(range(32)))
SEALED_TO = bytes([8]) + bytes(31)
COOP = CoopId("cd" * 32)
PROFILE = Profile("Corner shop", "HRB 1", "grocery", "north")


def _face() -> Cooperative:
    return cooperative("Bakers", "cautious", b"der", b"o" * 32, b"c" * 32)


def test_a_link_comes_back_as_it_was() -> None:
    invitation = parse_link(f"  {LINK}\n")
    assert invitation == Invitation(Address("office.example.org", 8801), FINGERPRINT, TOKEN)
    assert invitation.link == LINK


def test_a_token_does_not_print() -> None:
    assert TOKEN not in repr(parse_link(LINK))


@pytest.mark.parametrize(
    ("link", "says"),
    [
        ("office.example.org:8801", "quotes"),
        (f"office.example.org#{FINGERPRINT}:{TOKEN}", "not an address"),
        (f"office.example.org:0#{FINGERPRINT}:{TOKEN}", "no port 0"),
        (f"office.example.org:65536#{FINGERPRINT}:{TOKEN}", "no port 65536"),
        (f"-x:80#{FINGERPRINT}:{TOKEN}", "not an address"),
        (f"a b:80#{FINGERPRINT}:{TOKEN}", "not an address"),
        (f"h:80#{FINGERPRINT[:-1]}:{TOKEN}", "63 characters"),
        (f"h:80#{FINGERPRINT.upper()}:{TOKEN}", "64 lowercase"),
        (f"h:80#{FINGERPRINT}", "token"),
        (f"h:80#{FINGERPRINT}:short", "5 characters"),
        (f"h:80#{FINGERPRINT}:{TOKEN}é", "token"),
    ],
)
def test_what_is_no_link_says_why(link: str, says: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_link(link)
    assert says in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert caught.value.fix


def test_ipv6_addresses_need_brackets() -> None:
    assert parse_address("[::1]:8801") == Address("::1", 8801)
    assert str(Address("::1", 8801)) == "[::1]:8801"
    with pytest.raises(InputError):
        parse_address("::1:8801")


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        invitation = parse_link(text)
    except InputError:
        return
    assert parse_link(invitation.link) == invitation


def test_the_id_of_a_cooperative_binds_every_part() -> None:
    face = _face()
    assert cooperative_from_json(face.to_json(), "coop.json") == face
    for change in (
        {"name": "Butchers"},
        {"profile": "open"},
        {"ca_der": b"other"},
        {"operator_key": b"x" * 32},
        {"coordinator_key": b"x" * 32},
    ):
        with pytest.raises(InputError) as caught:
            replace(face, **change)  # type: ignore[arg-type]
        assert caught.value.code is Code.TAMPERED


@pytest.mark.parametrize("key", ["coop", "name", "ca", "operator_key", "coordinator_key"])
def test_a_damaged_description_is_refused(key: str) -> None:
    value = _face().to_json()
    for bad in (None, 7, "zz"):
        with pytest.raises(InputError):
            cooperative_from_json(value | {key: bad}, "coop.json")
    del value[key]
    with pytest.raises(InputError):
        cooperative_from_json(value, "coop.json")


def test_the_proof_is_for_one_request_at_one_cooperative() -> None:
    proof = prove(KEY, COOP, TOKEN, b"csr", PROFILE, SEALED_TO)
    good = {
        "coop": COOP,
        "token": TOKEN,
        "csr_pem": b"csr",
        "profile": PROFILE,
        "encryption_key": SEALED_TO,
    }
    assert check_proof(KEY.public, proof, **good) == identity_of(KEY.public)  # type: ignore[arg-type]
    for change in (
        {"coop": CoopId("ef" * 32)},
        {"token": TOKEN[:-1]},
        {"csr_pem": b"other"},
        {"profile": replace(PROFILE, region="south")},
        {"encryption_key": bytes([9]) + bytes(31)},
    ):
        with pytest.raises(RemoteError) as caught:
            check_proof(KEY.public, proof, **(good | change))  # type: ignore[arg-type]
        assert caught.value.code is Code.TAMPERED
    for key in (SigningKey(b"z" * 32).public, b"", b"\0" * 32):
        with pytest.raises(CoopError):
            check_proof(key, proof, **good)  # type: ignore[arg-type]


def test_the_hash_of_a_token_has_its_own_domain() -> None:
    assert token_hash(TOKEN) == token_hash(TOKEN) != token_hash(TOKEN[:-1])
    assert len(token_hash(TOKEN)) == 64


@pytest.mark.parametrize("name", ["", " x", "x" * 81, "a\nb", "a\x1b[31m"])
def test_a_profile_is_short_and_printable(name: str) -> None:
    with pytest.raises(InputError):
        Profile(name)
