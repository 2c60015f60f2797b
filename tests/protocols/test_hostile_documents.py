"""Found by fuzzing: documents and signatures that must fail as input, never as a crash."""

from __future__ import annotations

import pytest

from protocols.canonical import json_bytes, parse_json
from protocols.errors import InputError
from protocols.signing import SigningKey, jws_merge, jws_sign, jws_verify, signed_by

KEY = SigningKey(b"\x01" * 32)
SIGNED = jws_sign({"n": 1}, "operator", KEY)


@pytest.mark.parametrize("text", [b'{"\\ud800": 1}', b'{"a": "\\ud800"}', b'{"a": 1e999}'])
def test_what_has_no_canonical_form_is_an_input_error(text: bytes) -> None:
    with pytest.raises(InputError):
        json_bytes(parse_json(text, "file"))


def test_a_number_of_thousands_of_digits_is_an_input_error() -> None:
    with pytest.raises(InputError):
        parse_json(b'{"a": ' + b"1" * 5000 + b"}", "file")


@pytest.mark.parametrize("payload", [None, 5, ["x"], {}])
def test_a_signature_over_nothing_is_an_input_error(payload: object) -> None:
    signed = {**SIGNED, "payload": payload}
    with pytest.raises(InputError):
        signed_by(signed, "file")
    with pytest.raises(InputError):
        jws_verify(signed, {"operator": KEY.public}, "file")
    with pytest.raises(InputError):
        jws_merge(signed, SIGNED)
    del signed["payload"]
    with pytest.raises(InputError):
        jws_verify(signed, {"operator": KEY.public}, "file")
    with pytest.raises(InputError):
        jws_merge(signed, signed)


@pytest.mark.parametrize("signature", [None, 5, [], {}, "é", "a"])
def test_a_signature_that_is_no_text_is_an_input_error(signature: object) -> None:
    part = {**SIGNED["signatures"][0], "signature": signature}
    with pytest.raises(InputError):
        jws_verify({**SIGNED, "signatures": [part]}, {"operator": KEY.public}, "file")
