"""Entries of the audit log: a closed list of kinds, facts that are hashes and figures.

SPEC.md section 2. A customer's name has no place to stand in: text facts are short tokens
without spaces, and the one sentence (``note``) is limited and is our own wording.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from operator import lt
from typing import Any

from protocols.canonical import json_bytes
from protocols.errors import Code, InputError

MAX_LINE_BYTES = 128 * 1024
MAX_FACTS = 32
MAX_LIST = 1024
MAX_NOTE = 240
MAX_NUMBER = 2**53 - 1  # whole numbers that every JSON reader keeps exactly
_MAX_BRACKETS = 2 + MAX_FACTS + MAX_NOTE

Fact = bool | int | float | str | tuple[bool | int | float | str, ...]


class Kind(StrEnum):
    """What an entry may be about. Anything else is refused."""

    START = "start"
    STOP = "stop"
    INCIDENT = "incident"
    ENROLMENT = "enrolment"
    RENEWAL = "renewal"
    REMOVAL = "removal"
    PURGE = "purge"  # what may not be kept any longer was deleted
    BACKUP = "backup"
    RESTORE = "restore"
    AGREEMENT = "agreement"
    ROSTER = "roster"
    SIGNATURE = "signature"
    ORDER = "order"
    APPROVAL = "approval"
    DECISION = "decision"
    REFUSAL = "refusal"
    INTAKE = "intake"
    QUALITY = "quality"  # how healthy rows were found to be: a score, and names of rules
    CONSENT = "consent"
    ENDPOINT = "endpoint"  # a token of the local door was made or revoked, or many failed
    PERSON = "person"  # somebody of this house or office was given a role, or lost it
    REQUEST = "request"  # a customer asked for access, rectification, erasure, restriction
    RIGHTS = "rights"  # what a customer asked for was carried out, or told to the office as a count
    NOTICE = "notice"  # a text for customers was taken into use
    DOCUMENT = "document"  # a document for people or authorities was made from what is here
    CATEGORIES = "categories"  # names of goods were mapped to the shared list, or the list changed
    SNAPSHOT = "snapshot"
    RUN = "run"
    COHORT = "cohort"
    SURVIVORS = "survivors"
    SPENT = "spent"
    SUM = "sum"
    CHECK = "check"  # this member computed a published sum again and signed that it is right
    WITNESS = "witness"  # this member countersigned the coordinator's checkpoint
    RELEASE = "release"
    PULL = "pull"
    USE = "use"
    WITHDRAWAL = "withdrawal"  # a release is offered no longer; who has it may go on using it
    REVOCATION = "revocation"
    MEMBERSHIP = "membership"  # a member suspended itself, came back, gave notice or left
    TERMINATION = "termination"  # members ended an agreement before its term
    KEY = "key"  # the key of the own rows was moved to another place, or changed


REQUIRED: Mapping[Kind, tuple[str, ...]] = {
    Kind.AGREEMENT: ("agreement",),
    Kind.ROSTER: ("roster", "epoch"),
    Kind.ORDER: ("order",),
    Kind.DECISION: ("gate", "allowed"),
    Kind.REFUSAL: ("clauses",),
    Kind.COHORT: ("run", "round"),
    Kind.SURVIVORS: ("run", "round"),
    Kind.SPENT: ("run", "round"),
    Kind.SUM: ("run", "round"),
    Kind.CHECK: ("run", "round", "transcript"),
    Kind.WITNESS: ("log_size", "log_root"),
    Kind.RIGHTS: ("what",),
    Kind.KEY: ("what",),
    Kind.RELEASE: ("model", "card"),
    Kind.PULL: ("model",),
    Kind.MEMBERSHIP: ("member", "state"),
    Kind.TERMINATION: ("agreement", "document"),
    Kind.WITHDRAWAL: ("model",),
    Kind.REVOCATION: ("model",),
}
_REQUIRED_KEYS = {kind: {key.encode() for key in REQUIRED.get(kind, ())} for kind in Kind}
_PLAIN = {str, int, bool}
_KINDS = {kind.value: kind for kind in Kind}
_KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
_AT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_KEYS = re.compile(rb'[{,]"([a-z][a-z0-9_]*)":')
_SIMPLE = re.compile(  # a canonical line whose facts are tokens, whole numbers and truth values
    rb'\{"at":"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z)","facts":(\{(?:"'
    rb'[a-z][a-z0-9_]{0,39}":(?:"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}"|true|false|0|-?[1-9][0-9]{0,14})'
    rb'(?:,(?=")|(?=\})))*+\}),"kind":"([a-z]+)","seq":(0|[1-9][0-9]{0,14})\}'
)
_DECODE = json.JSONDecoder().decode
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a log.

    ``seq`` counts from 0 without gaps, ``at`` is UTC with microseconds
    (``2026-03-01T09:30:00.000000Z``, so that text order is time order).
    """

    seq: int
    at: str
    kind: Kind
    facts: Mapping[str, Fact]


def instant(at: datetime) -> str:
    """An aware instant as the fixed-width UTC text of an entry; InputError if it is naive."""
    if at.tzinfo is None:
        raise InputError("an audit entry needs an instant with a time zone.")
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")


def encode(entry: Entry) -> bytes:
    """Canonical bytes (RFC 8785) of an entry, without line feed; refuses what is out of bounds."""
    where = f"entry {entry.seq}"
    try:
        _check_facts(entry.kind, entry.facts, where)
    except InputError as error:
        raise InputError(
            error.problem,
            where=where,
            fix="Audit entries hold hashes and figures; leave everything else out.",
        ) from error
    raw = _canonical(
        {"at": entry.at, "facts": entry.facts, "kind": entry.kind.value, "seq": entry.seq}
    ).encode()
    if len(raw) > MAX_LINE_BYTES:
        raise InputError(
            f"the entry has {len(raw)} bytes, at most {MAX_LINE_BYTES} are allowed.",
            where=where,
            fix="Record a hash and a number instead of the list.",
        )
    return raw


def decode(raw: bytes, where: str) -> Entry:
    """An entry from one line without its line feed; refuses every other way to write it.

    Raises:
        InputError: not JSON, not canonical, unknown kind, facts out of bounds; names ``where``.
    """
    if len(raw) > MAX_LINE_BYTES:
        raise _bad(f"the line has more than {MAX_LINE_BYTES} bytes.", where)
    # bounds the nesting before the parser recurses
    if raw.count(b"[") + raw.count(b"{") > _MAX_BRACKETS:
        raise _bad("the line is nested too deeply.", where)
    try:
        text = raw.decode("utf-8")
        document = _DECODE(text)
    except ValueError as error:
        raise _bad(f"this is not a line of the log (JSON): {error}.", where) from error
    if not isinstance(document, dict) or document.keys() != {"at", "facts", "kind", "seq"}:
        raise _bad("an entry has exactly the keys at, facts, kind and seq.", where)
    at, facts, kind, seq = (document[key] for key in ("at", "facts", "kind", "seq"))
    if type(seq) is not int or not 0 <= seq <= MAX_NUMBER:
        raise _bad("the sequence number is not a whole number.", where)
    if not isinstance(at, str) or not _AT.fullmatch(at):
        raise _bad("the instant is not UTC text with microseconds.", where)
    try:
        datetime.fromisoformat(at)
    except ValueError as error:
        raise _bad(f"{at} is not an instant.", where) from error
    known = _KINDS.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise _bad(f"{str(kind)[:40]!r} is not a kind of entry.", where)
    if not isinstance(facts, dict):
        raise _bad("the facts are not an object.", where)
    frozen = {key: tuple(v) if isinstance(v, list) else v for key, v in facts.items()}
    _check_facts(known, frozen, where)
    if _canonical(document) != text:
        raise _bad("the line is not in canonical form (RFC 8785).", where)
    return Entry(seq, at, known, frozen)


def skim(raw: bytes, where: str) -> tuple[int, str, Kind]:
    """``seq``, ``at`` and kind of a line, checked as ``decode`` does; what is simple, faster.

    Most lines hold tokens and whole numbers only. Such a line is canonical by its very form, so
    that it need not be parsed and written again; any other goes to ``decode``.
    """
    found = _SIMPLE.fullmatch(raw)
    if found is not None and len(raw) <= MAX_LINE_BYTES:
        at, facts, kind, seq = found.groups()
        keys = _KEYS.findall(facts)
        known = _KINDS.get(kind.decode())
        if known is not None and len(keys) <= MAX_FACTS and _ascending(keys):
            instant_text = at.decode()
            if _REQUIRED_KEYS[known].issubset(keys) and _is_instant(instant_text):
                return int(seq), instant_text, known
    entry = decode(raw, where)
    return entry.seq, entry.at, entry.kind


def _ascending(keys: list[bytes]) -> bool:
    """Whether each stands once and in order; "note" is left to ``decode``."""
    return all(map(lt, keys, keys[1:])) and b"note" not in keys


def _is_instant(at: str) -> bool:
    try:
        datetime.fromisoformat(at)
    except ValueError:
        return False
    return True


def _canonical(document: Mapping[str, Any]) -> str:
    """RFC 8785 text; the C encoder gives the same unless a float needs ECMAScript's form."""
    kinds = set(map(type, document["facts"].values()))
    if kinds - _PLAIN and (
        float in kinds
        or any(
            float in set(map(type, value))
            for value in document["facts"].values()
            if isinstance(value, list | tuple)
        )
    ):
        return json_bytes(document).decode()
    return _ENCODE(document)


def _check_facts(kind: Kind, facts: Mapping[str, Fact], where: str) -> None:
    if len(facts) > MAX_FACTS:
        raise _bad(f"an entry has at most {MAX_FACTS} facts, this one {len(facts)}.", where)
    for key in REQUIRED.get(kind, ()):
        if key not in facts:
            raise _bad(f"an entry of kind {kind} needs the fact {key!r}.", where)
    for key, value in facts.items():
        if not isinstance(key, str) or not _KEY.fullmatch(key):
            raise _bad(f"{str(key)[:40]!r} is not the name of a fact.", where)
        if isinstance(value, str) and _TOKEN.fullmatch(value):
            continue
        if key == "note":
            _check_note(value, where)
        elif isinstance(value, tuple):
            if len(value) > MAX_LIST:
                raise _bad(f"{key} has {len(value)} values, at most {MAX_LIST}.", where)
            for one in value:
                _check_scalar(key, one, where)
        else:
            _check_scalar(key, value, where)


def _check_scalar(key: str, value: object, where: str) -> None:
    if isinstance(value, str):
        if not _TOKEN.fullmatch(value):
            raise _bad(f"{key} holds free text; a fact is a hash, a figure or a short name.", where)
    elif not isinstance(value, int | float):
        raise _bad(f"{key} is neither a number, a truth value nor a short name.", where)
    elif not -MAX_NUMBER <= value <= MAX_NUMBER:  # also false for NaN
        raise _bad(f"{key} is not a number between -2^53 and 2^53.", where)


def _check_note(value: object, where: str) -> None:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NOTE or not value.isprintable():
        raise _bad(f"a note is one printable sentence of at most {MAX_NOTE} characters.", where)


def _bad(problem: str, where: str) -> InputError:
    return InputError(problem, code=Code.TAMPERED, where=where)
