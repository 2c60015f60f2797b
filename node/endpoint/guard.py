"""What stands before the local door: only programs of this machine, never a web page.

A page in a browser of this machine can reach 127.0.0.1: by a form or fetch (then it carries an
Origin or Sec-Fetch-Site header), or by a name that it points here once the page is loaded (then
the Host header has that name). Both are refused before anything else is looked at. There is no
CORS, no cookie and no redirect, and a body is never longer or slower than the limits.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from protocols.errors import Code, CoopError, Refused
from protocols.plain import SCHEMA

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES: Final = 1024 * 1024
MAX_HEADERS: Final = 40
MAX_HEADER_BYTES: Final = 16 * 1024
BODY_TIMEOUT_S: Final = 10.0
FAILURES: Final = 10
WINDOW_S: Final = 60.0
# What pages send and programs do not. (Sec-Fetch-Mode alone is no sign: Node's own fetch sends it.)
BROWSER: Final = (b"origin", b"sec-fetch-site", b"referer")
HEADERS: Final = [
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"connection", b"close"),
]
STATUS: Final[Mapping[Code, int]] = {
    Code.INPUT: 422,
    Code.USAGE: 400,
    Code.NOT_FOUND: 404,
    Code.REFUSED: 403,
    Code.UNAUTHENTICATED: 401,
    Code.LIMIT: 413,
    Code.UNAVAILABLE: 503,
    Code.PROTOCOL: 400,
    Code.TAMPERED: 500,
    Code.NOT_ENROLLED: 500,
    Code.BUDGET: 403,
    Code.INTERNAL: 500,
}


def failure(error: CoopError, status: int | None = None) -> tuple[int, bytes]:
    """Status and JSON body of an error; places on this machine's disk are not told."""
    told = {"code": error.code.value, "problem": error.problem, "fix": error.fix}
    if STATUS[error.code] < 500:
        told["where"] = error.where
    body = json.dumps({"schema": SCHEMA, "error": told}, sort_keys=True).encode()
    return (STATUS[error.code] if status is None else status), body


@dataclass(slots=True)
class Failures:
    """How many wrong tokens came lately. A right one is served all the same."""

    monotonic: Callable[[], float]
    noted: Callable[[int], None]  # the limit was reached, by so many
    _at: list[float] = field(default_factory=list)
    _told: bool = False

    def add(self) -> bool:
        """One more; whether there were too many."""
        now = self.monotonic()
        recent = [one for one in self._at if now - one < WINDOW_S]
        self._at = [*recent[-FAILURES:], now]
        many = len(self._at) > FAILURES
        if many and not self._told:
            self.noted(len(self._at))
        self._told = many
        return many

    def forget(self) -> None:
        """Begin to count anew."""
        self._at, self._told = [], False


class Guard:
    """ASGI around the app: refuses what no program of the shop sends, and bounds the rest."""

    def __init__(self, app: ASGIApp, hosts: Callable[[], frozenset[str]]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return  # no web socket, and nothing to do when the process starts or stops
        try:
            self._require_program(scope)
            body = await _whole_body(scope, receive)
        except CoopError as error:
            status = 408 if error.code is Code.UNAVAILABLE else None
            await _send(send, *failure(error, status))
            return

        async def again() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, again, send)

    def _require_program(self, scope: Scope) -> None:
        headers: list[tuple[bytes, bytes]] = list(scope["headers"])
        names = [name.lower() for name, _ in headers]
        size = sum(len(name) + len(value) for name, value in headers) + len(scope["path"])
        if len(headers) > MAX_HEADERS or size > MAX_HEADER_BYTES:
            raise Refused(
                f"at most {MAX_HEADERS} headers of {MAX_HEADER_BYTES} bytes are read.",
                code=Code.LIMIT,
            )
        if any(name in BROWSER for name in names):
            raise Refused(
                "this door is for programs of this shop, not for web pages.",
                fix="Call it from the shop system's own server or a script.",
            )
        for once in (b"host", b"authorization", b"content-type", b"content-length"):
            if names.count(once) > 1:
                raise Refused(f"the header {once.decode()} stands twice.", code=Code.USAGE)
        host = dict(headers).get(b"host", b"").decode("latin-1").lower()
        if host not in self._hosts():
            raise Refused(
                "the name in the Host header is not one of this door.",
                fix="Use the address that 'coop-node endpoint serve' prints.",
            )
        raw: bytes = scope.get("raw_path", b"") or scope["path"].encode()
        if b"%" in raw or b".." in raw or b"//" in raw or b"\\" in raw or scope["query_string"]:
            raise Refused("there is no such place.", code=Code.NOT_FOUND)


async def _whole_body(scope: Scope, receive: Receive) -> bytes:
    length = dict(scope["headers"]).get(b"content-length", b"0")
    if not length.isdigit() or int(length) > MAX_BODY_BYTES:
        raise _too_long()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            parts, size = [], 0
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Refused("the caller went away.", code=Code.UNAVAILABLE)
                part = message.get("body", b"")
                size += len(part)
                if size > MAX_BODY_BYTES:
                    raise _too_long()
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError as error:
        raise Refused(
            f"the body did not come within {BODY_TIMEOUT_S:.0f} s.", code=Code.UNAVAILABLE
        ) from error


def _too_long() -> Refused:
    return Refused(
        f"a body has at most {MAX_BODY_BYTES} bytes.",
        code=Code.LIMIT,
        fix="Send at most 1000 answers at a time.",
    )


async def _send(send: Send, status: int, body: bytes) -> None:
    headers: list[Any] = [*HEADERS, (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
