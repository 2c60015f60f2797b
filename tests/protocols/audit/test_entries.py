"""What an entry may hold, and that there is one way to write it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.audit.entries import (
    MAX_LIST,
    MAX_NUMBER,
    REQUIRED,
    Entry,
    Fact,
    Kind,
    decode,
    encode,
    instant,
    skim,
)
from protocols.errors import Code, InputError

AT = "2026-03-01T09:30:00.000000Z"
LINE = b'{"at":"2026-03-01T09:30:00.000000Z","facts":{"model":"ab"},"kind":"pull","seq":3}'

tokens = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,20}", fullmatch=True)
numbers = st.integers(-MAX_NUMBER, MAX_NUMBER) | st.floats(-1e15, 1e15, allow_nan=False)
scalars: st.SearchStrategy[bool | int | float | str] = tokens | numbers | st.booleans()
facts_of_all_sorts = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True).filter(lambda key: key != "note"),
    scalars | st.lists(scalars, max_size=5).map(tuple),
    max_size=8,
)


@settings(deadline=None, max_examples=300)
@given(facts_of_all_sorts, st.sampled_from([k for k in Kind if k not in REQUIRED]))
def test_lines_are_rfc_8785_and_come_back(facts: dict[str, Fact], kind: Kind) -> None:
    entry = Entry(7, AT, kind, facts)
    raw = encode(entry)
    plain = {k: list(v) if isinstance(v, tuple) else v for k, v in facts.items()}
    assert raw == rfc8785.dumps({"at": AT, "facts": plain, "kind": str(kind), "seq": 7})
    back = decode(raw, "line 8")
    assert back.facts == facts and back.kind is kind
    assert encode(back) == raw


@pytest.mark.parametrize(
    "facts",
    [
        {"name": "Mrs Miller"},
        {"mail": "miller@example.org"},
        {"name": ""},
        {"Name": "x"},
        {"x": MAX_NUMBER + 1},
        {"x": 1e17},
        {"x": float("nan")},
        {"x": float("inf")},
        {"x": None},
        {"x": {"y": 1}},
        {"x": (("y",),)},
        {"x": ("a b",)},
        {"x": tuple(range(MAX_LIST + 1))},
        {"note": "a" * 241},
        {"note": ""},
        {"note": "two\nlines"},
        {"note": 7},
        {"note": "\ud800"},
        {f"x{n}": n for n in range(33)},
    ],
)
def test_free_text_and_odd_values_are_refused(facts: dict[str, Fact]) -> None:
    with pytest.raises(InputError) as caught:
        encode(Entry(0, AT, Kind.START, facts))
    assert caught.value.code is Code.INPUT and "hashes and figures" in caught.value.fix


def test_a_long_list_of_long_tokens_is_refused() -> None:
    with pytest.raises(InputError, match="bytes"):
        encode(Entry(0, AT, Kind.START, {f"x{n}": ("a" * 128,) * 1024 for n in range(2)}))


@pytest.mark.parametrize("kind", REQUIRED)
def test_facts_that_must_be_there(kind: Kind) -> None:
    whole: dict[str, Fact] = dict.fromkeys(REQUIRED[kind], 1)
    encode(Entry(0, AT, kind, whole))
    for key in REQUIRED[kind]:
        with pytest.raises(InputError, match=key):
            encode(Entry(0, AT, kind, {k: v for k, v in whole.items() if k != key}))


@pytest.mark.parametrize(
    "line",
    [
        LINE.replace(b"pull", b"purchase"),
        LINE.replace(b"pull", b"PULL"),
        LINE.replace(b":3}", b":3.0}"),
        LINE.replace(b":3}", b":03}"),
        LINE.replace(b":3}", b":-3}"),
        LINE.replace(b":3}", b":true}"),
        LINE.replace(b":3}", b':3,"seq":3}'),
        LINE.replace(b":3}", b':3,"x":3}'),
        LINE.replace(b'"seq":3', b'"sequence":3'),
        LINE.replace(b"{", b"{ ", 1),
        LINE + b" ",
        LINE + b"\r",
        LINE.replace(b"ab", b"\\u0061b"),
        LINE.replace(b"ab", b"a\xffb"),
        LINE.replace(b"000Z", b"000z"),
        LINE.replace(b"000Z", b"000+00:00"),
        LINE.replace(b"-03-01", b"-13-01"),
        LINE.replace(b"2026", b"0000"),
        LINE.replace(b'{"model":"ab"}', b"[]"),
        LINE.replace(b'"ab"', b"NaN"),
        LINE.replace(b'"ab"', b"1e999"),
        LINE.replace(b'"ab"', b"1" * 5000),
        LINE.replace(b'"ab"', b"[" * 100_000),
        b"\xef\xbb\xbf" + LINE,
        LINE.decode().encode("utf-16"),
        b"[" * 120_000,
        b"x" * 140_000,
        b"null",
        b"",
    ],
)
def test_every_other_way_to_write_a_line_is_refused(line: bytes) -> None:
    decode(LINE, "line 4")
    with pytest.raises(InputError) as caught:
        decode(line, "line 4")
    assert caught.value.where == "line 4" and caught.value.code is Code.TAMPERED


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200) | st.integers(0, len(LINE) * 8 - 1))
def test_arbitrary_bytes_never_crash(noise: bytes | int) -> None:
    if isinstance(noise, int):
        flipped = bytearray(LINE)
        flipped[noise // 8] ^= 1 << noise % 8
        noise = bytes(flipped)
    try:
        entry = decode(noise, "line 1")
    except InputError:
        return
    assert encode(entry) == noise


def test_instants_are_utc_and_sort_as_text() -> None:
    with pytest.raises(InputError, match="time zone"):
        instant(datetime(2026, 3, 1))  # noqa: DTZ001
    east = timezone(timedelta(hours=2))
    assert instant(datetime(2026, 3, 1, 11, 30, tzinfo=east)) == AT
    first = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    later = [first + timedelta(microseconds=n**5) for n in range(50)]
    assert [instant(one) for one in later] == sorted(instant(one) for one in later)
    assert len(json.dumps(instant(datetime(33, 1, 1, tzinfo=UTC)))) == 29


def outcome(check: Callable[[], object]) -> object:
    try:
        return check()
    except InputError as error:
        return error.problem


@settings(deadline=None, max_examples=400)
@given(facts_of_all_sorts, st.sampled_from(list(Kind)), st.data())
def test_skimming_says_what_decoding_says(
    facts: dict[str, Fact], kind: Kind, data: st.DataObject
) -> None:
    """Also of lines with a changed byte, a repeated or moved key, and required facts missing."""
    given_facts = {**facts, **dict.fromkeys(REQUIRED.get(kind, ()), 7)}
    raw = bytearray(encode(Entry(data.draw(st.integers(0, MAX_NUMBER)), AT, kind, given_facts)))
    how = data.draw(st.sampled_from(["whole", "byte", "swap", "twice", "missing"]))
    if how == "byte":
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    elif how in ("swap", "twice"):
        more = b'"facts":{"a":1,"b":2},' if how == "twice" else b'"facts":{"z":1,"b":"c"},'
        raw = bytearray(raw.replace(b'"facts":{', more[:-2] + b",", 1).replace(b",}", b"}"))
    elif how == "missing":
        raw = bytearray(encode(Entry(3, AT, Kind.START, {})))
        raw = raw.replace(b'"start"', b'"%s"' % kind.value.encode())
    whole = bytes(raw)

    def parsed() -> tuple[int, str, Kind]:
        entry = decode(whole, "line 1")
        return entry.seq, entry.at, entry.kind

    assert outcome(lambda: skim(whole, "line 1")) == outcome(parsed)


@pytest.mark.parametrize(
    "line",
    [
        b'{"at":"2026-02-30T09:30:00.000000Z","facts":{},"kind":"start","seq":0}',
        b'{"at":"2026-03-01T09:30:61.000000Z","facts":{},"kind":"start","seq":0}',
        b'{"at":"2026-03-01T09:30:00.000000Z","facts":{"b":1,"a":1},"kind":"start","seq":0}',
        b'{"at":"2026-03-01T09:30:00.000000Z","facts":{"a":1,"a":1},"kind":"start","seq":0}',
        b'{"at":"2026-03-01T09:30:00.000000Z","facts":{"a":1,},"kind":"start","seq":0}',
        b'{"at":"2026-03-01T09:30:00.000000Z","facts":{"a":01},"kind":"start","seq":0}',
        b'{"at":"2026-03-01T09:30:00.000000Z","facts":{"a":-0},"kind":"start","seq":0}',
        b'{"at":"2026-03-01T09:30:00.000000Z","facts":{"note":7},"kind":"start","seq":0}',
        b'{"at":"2026-03-01T09:30:00.000000Z","facts":{},"kind":"pull","seq":0}',
        b'{"at":"2026-03-01T09:30:00.000000Z","facts":{},"kind":"poem","seq":0}',
        b'{"at":"2026-03-01T09:30:00.000000Z","facts":{},"kind":"start","seq":00}',
        b'{"at":"2026-03-01T09:30:00.000000Z","facts":{},"kind":"start","seq":0} ',
        b'{"at":"2026-03-01T09:30:00.000000Z","facts":{},"kind":"start","seq":0}\n',
    ],
)
def test_simple_lines_that_are_wrong_are_refused_by_both(line: bytes) -> None:
    for check in (skim, decode):
        with pytest.raises(InputError):
            check(line, "line 1")
