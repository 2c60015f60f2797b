"""The local door on its socket: 127.0.0.1 and ::1, nothing else; one thread beside the node's."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from asyncio import Transport
from collections.abc import Iterator
from typing import Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from node.endpoint.app import Door, application
from node.endpoint.guard import MAX_HEADER_BYTES, Failures, Guard
from node.endpoint.tokens import TokenDesk
from node.house import Home
from node.store.database import Database
from protocols.errors import Code, LocalError

LOOPBACK: Final = "127.0.0.1"
LOOPBACK_6: Final = "::1"
MAX_AT_ONCE: Final = 32
FIRST_REQUEST_S: Final = 10.0
BACKLOG: Final = 64
_ENDS: Final = (signal.SIGINT, signal.SIGTERM)


class _Impatient(H11Protocol):
    """Closes a connection that does not say all of its headers in time."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait."""
        super().connection_made(transport)
        self.loop.call_later(FIRST_REQUEST_S, self._give_up)

    def _give_up(self) -> None:
        if vars(self).get("cycle") is None:  # no request is complete yet
            self.transport.close()


class _Server(uvicorn.Server):
    """Ends quietly; uvicorn's own raises the signal a second time once it has ended."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM end the service; what was there before comes back."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {one: signal.signal(one, self.handle_exit) for one in _ENDS}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)


class LocalDoor:
    """The door of one house. ``start`` and ``stop`` it, or ``run`` it in this thread.

    Args:
        home: the house.
        database: its ledgers.
        port: to listen on; 0 for any that is free.

    Raises:
        LocalError: the port is in use.
    """

    def __init__(self, home: Home, database: Database, port: int) -> None:
        self._sockets = _listen(port)
        self.port = int(self._sockets[0].getsockname()[1])
        hosts = frozenset(
            f"{name}:{self.port}" for name in (LOOPBACK, f"[{LOOPBACK_6}]", "localhost")
        )
        self.failures = Failures(
            time.monotonic,
            lambda count: home.journal("endpoint", {"what": "failures", "count": count}),
        )
        tokens = TokenDesk(database, home.journal, home.clock)
        door = Door(home.consents(database), tokens, self.failures)
        settings = uvicorn.Config(
            Guard(application(door), lambda: hosts),
            http=_Impatient,
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            limit_concurrency=MAX_AT_ONCE,
            timeout_keep_alive=1,
            timeout_graceful_shutdown=5,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        )
        self._server = _Server(settings)
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """For people and programs of this machine."""
        return f"http://{LOOPBACK}:{self.port}"

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM, or ``stop``."""
        try:
            self._server.run(sockets=self._sockets)
        finally:
            self._close()

    def start(self) -> None:
        """Serve in a thread of its own."""
        self._thread = threading.Thread(target=self.run, name="door", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Answer what is being asked, then end."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()

    def _close(self) -> None:
        for one in self._sockets:
            one.close()


def _listen(port: int) -> list[socket.socket]:
    first = _bound(socket.AF_INET, LOOPBACK, port)
    if first is None:
        raise LocalError(
            f"port {port} is in use.",
            code=Code.UNAVAILABLE,
            where=f"{LOOPBACK}:{port}",
            fix="Choose another one: coop-node endpoint serve --port 8788",
        )
    number = int(first.getsockname()[1])
    second = _bound(socket.AF_INET6, LOOPBACK_6, number)  # not on every machine
    return [first] if second is None else [first, second]


def _bound(family: socket.AddressFamily, host: str, port: int) -> socket.socket | None:
    with contextlib.suppress(OSError):
        one = socket.socket(family, socket.SOCK_STREAM)
        try:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind((host, port))
            one.listen(BACKLOG)
        except OSError:
            one.close()
            raise
        return one
    return None
