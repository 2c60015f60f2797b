"""The local door's four places, and what they answer. Nothing here lists customers.

    POST /v1/consents                 one answer or up to 1000 as JSON; all are entered or none
    POST /v1/withdraw                 customer and scope of one no, as a form or JSON
    GET  /v1/consents/{scope}/count   how many customers said what
    GET  /v1/health                   whether the door is open; needs no token

An answer comes after the ledger's transaction is on the disk. The same event again changes
nothing: it is known by customer, scope, instant and state.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from node.endpoint.guard import Failures, failure
from node.endpoint.tokens import TokenDesk
from node.policy.consent_file import EVERY, OPT_OUTS, Bad, Reading, answers, key_of
from node.policy.consents import ConsentDesk
from node.store.consent_sql import Row, stored
from node.store.consents import State
from node.store.endpoint_tokens import Token
from protocols.canonical import parse_json
from protocols.errors import Code, CoopError, InputError, Refused
from protocols.plain import SCHEMA

MAX_EVENTS: Final = 1000
MAX_CUSTOMER: Final = 256
JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"
FIELDS: Final = frozenset({"customer", "scope", "state", "at", "source", "wording"})
WITHDRAW_FIELDS: Final = frozenset({"customer", "scope", "as"})
TOO_MANY: Final = 429
NO_MORE: Final[Mapping[str, str]] = {}
_UTC = ZoneInfo("UTC")
_CLOSE = {
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
    "connection": "close",
}


@dataclass(frozen=True, slots=True)
class Door:
    """What the places need of the house."""

    desk: ConsentDesk
    tokens: TokenDesk
    failures: Failures


class _TooMany(Refused):
    """Too many wrong tokens came lately."""


def application(door: Door) -> Starlette:
    """The four places; ``node.endpoint.guard.Guard`` has to stand before it."""

    async def consents(request: Request) -> Response:
        token = await _known(door, request)
        document = _json(await _body(request, (JSON,)))
        rows, now_said = _rows(document, door.desk, token)
        added, position = await run_in_threadpool(
            lambda: door.desk.enter(rows, {"door": token.id}, just_said=now_said)
        )
        return _answer({"received": len(rows), "added": added, "position": position})

    async def withdraw(request: Request) -> Response:
        token = await _known(door, request)
        kind, body = await _body(request, (FORM, JSON))
        given = _form(body) if kind == FORM else _json((kind, body))
        customer, scopes, state = _no(given, door.desk)
        known = await run_in_threadpool(
            lambda: door.desk.forbid_all(
                customer, scopes, state, source=token.name, facts={"door": token.id}
            )
        )
        return _answer({"scopes": sorted(scopes), "state": state.value, "known_before": known})

    async def count(request: Request) -> Response:
        await _known(door, request)
        scope = request.path_params["scope"]
        counts = await run_in_threadpool(door.desk.counts, scope)
        return _answer({"scope": scope, "counts": {str(k): v for k, v in sorted(counts.items())}})

    async def health(request: Request) -> Response:
        return _answer({"open": True})

    made = Starlette(
        routes=[
            Route("/v1/consents", consents, methods=["POST"]),
            Route("/v1/withdraw", withdraw, methods=["POST"]),
            Route("/v1/consents/{scope}/count", count, methods=["GET"]),
            Route("/v1/health", health, methods=["GET"]),
        ],
        exception_handlers={CoopError: _coop, HTTPException: _http, 500: _unexpected},
    )
    made.router.redirect_slashes = False  # a place has one name
    return made


# --- who speaks --------------------------------------------------------------------------------


async def _known(door: Door, request: Request) -> Token:
    """The token of a request; Refused without a good one."""
    scheme, _, presented = request.headers.get("authorization", "").partition(" ")
    try:
        if scheme.lower() != "bearer" or not presented:
            raise Refused(
                "a token is needed: Authorization: Bearer TOKEN",
                code=Code.UNAUTHENTICATED,
                fix="Make one with: coop-node endpoint token new NAME",
            )
        return await run_in_threadpool(door.tokens.check, presented)
    except Refused as error:
        if door.failures.add():
            raise _TooMany(
                "too many requests came without a good token.", fix="Wait a minute."
            ) from error
        raise


# --- what is said ------------------------------------------------------------------------------


async def _body(request: Request, kinds: tuple[str, ...]) -> tuple[str, bytes]:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in kinds:
        raise InputError(
            f"the content type is {kind[:60]!r}; expected {' or '.join(kinds)}.",
            where="Content-Type",
            code=Code.USAGE,
        )
    return kind, await request.body()


def _json(body: tuple[str, bytes]) -> Mapping[str, Any]:
    return parse_json(body[1], "body")


def _form(body: bytes) -> Mapping[str, Any]:
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            strict_parsing=True,
            max_num_fields=8,
            errors="strict",
        )
    except ValueError as error:
        raise InputError(
            "this is not a form; expected customer=NUMBER&scope=PURPOSE.", where="body"
        ) from error
    if len(dict(pairs)) != len(pairs):
        raise InputError("a field stands twice.", where="body")
    return dict(pairs)


def _rows(
    document: Mapping[str, Any], desk: ConsentDesk, token: Token
) -> tuple[list[Row], list[int]]:
    """The answers, and the places of those that name no instant."""
    events = document.get("events", None) if "events" in document else [document]
    if "events" in document and set(document) != {"events"}:
        raise InputError("beside events nothing else may stand.", where="body")
    if not isinstance(events, list) or not 1 <= len(events) <= MAX_EVENTS:
        raise InputError(f"from 1 to {MAX_EVENTS} answers are expected.", where="events")
    reading = Reading(desk.secret, desk.purposes, _UTC, desk.clock())
    rows: list[Row] = []
    now_said: list[int] = []
    for place, one in enumerate(events):
        made = _event(one, f"events[{place}]", reading, token)
        if "at" not in one:
            now_said += range(len(rows), len(rows) + len(made))
        rows += made
    return rows, now_said


def _event(one: Any, where: str, reading: Reading, token: Token) -> list[Row]:
    cells = _texts(one, FIELDS, where)
    customer = cells.pop("customer", "")
    now = reading.now.astimezone(UTC).isoformat()
    full = {"at": now, "source": token.name, "scope": "", "state": "", **cells}
    try:
        said = answers({name: cell.strip() for name, cell in full.items()}, reading)
    except Bad as error:
        raise InputError(f"{error}.", where=where) from error
    key = key_of(reading.secret, customer)
    if key is None:
        raise InputError("the customer is empty.", where=f"{where}.customer")
    return [
        (key, answer.scope, answer.state.value, stored(answer.at), answer.wording, answer.source)
        for answer in said
    ]


def _no(given: Mapping[str, Any], desk: ConsentDesk) -> tuple[str, frozenset[str], State]:
    cells = _texts(given, WITHDRAW_FIELDS, "body")
    scope, word = cells.get("scope", "").strip(), cells.get("as", "withdrawn").strip().lower()
    known = desk.purposes
    scopes = known if scope == EVERY else frozenset({scope})
    if not scopes <= known:
        raise InputError(
            f"{scope[:40]!r} is not a purpose of this node.",
            where="scope",
            fix=f"Purposes here: {', '.join(sorted(known))}; * for all of them.",
        )
    allowed = {one.value: one for one in State if one is not State.GRANTED}
    allowed |= dict.fromkeys(OPT_OUTS, State.OBJECTED)
    if word not in allowed:
        raise InputError(
            f"{word[:20]!r} is no way of saying no.",
            where="as",
            fix=f"One of: {', '.join(sorted(allowed))}.",
        )
    return cells.get("customer", ""), scopes, allowed[word]


def _texts(one: Any, fields: frozenset[str], where: str) -> dict[str, str]:
    if not isinstance(one, dict):
        raise InputError("an object is expected.", where=where)
    unknown = sorted(set(one) - fields)
    if unknown:
        raise InputError(
            f"there is no field {str(unknown[0])[:40]!r}.",
            where=where,
            fix=f"Fields: {', '.join(sorted(fields))}.",
        )
    for name, value in one.items():
        if not isinstance(value, str) or len(value) > MAX_CUSTOMER:
            raise InputError(
                f"a text of at most {MAX_CUSTOMER} characters is expected.",
                where=f"{where}.{name}",
            )
    return dict(one)


# --- answers -----------------------------------------------------------------------------------


def _answer(document: Mapping[str, Any]) -> Response:
    body = json.dumps({"schema": SCHEMA, **document}, sort_keys=True).encode()
    return Response(body, media_type=JSON, headers=_CLOSE)


def _failed(told: tuple[int, bytes], headers: Mapping[str, str] = NO_MORE) -> Response:
    status, body = told
    return Response(body, status, {**_CLOSE, **headers}, JSON)


async def _coop(request: Request, error: Exception) -> Response:
    assert isinstance(error, CoopError)
    if isinstance(error, _TooMany):
        return _failed(failure(error, TOO_MANY), {"retry-after": "60"})
    if error.code is Code.UNAUTHENTICATED:
        return _failed(failure(error), {"www-authenticate": "Bearer"})
    return _failed(failure(error))


async def _http(request: Request, error: Exception) -> Response:
    """A place or a method that does not exist."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    gone = Refused("there is no such place or method.", code=Code.NOT_FOUND)
    return _failed(failure(gone, status))


async def _unexpected(request: Request, error: Exception) -> Response:
    broken = Refused("something is wrong on this machine.", code=Code.INTERNAL)
    return _failed(failure(broken))
