"""The coordinator's ``LinkGrid`` and its sessions, with nodes at the other end of the queues.

As on the wire there is one thread a member that takes tasks and sends replies; only gRPC itself
is left out. A task id that comes twice is answered from memory, as the node's link does.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

from coordinator.wire.grid import LinkGrid
from coordinator.wire.sessions import Close, Session, Sessions, Task
from node.federation.client_app import client_app, drive
from protocols.errors import CoopError
from protocols.ids import MemberId

Handle = Callable[[bytes], bytes]
GONE_AFTER_S = 0.05


class InProcessLink:
    """Sessions of these members; use as a context."""

    def __init__(self, handles: Mapping[MemberId, Handle]) -> None:
        self.sessions = Sessions(time.monotonic)
        self._handles = handles
        self._threads: dict[MemberId, threading.Thread] = {}
        self._live: dict[MemberId, Session] = {}

    def grid(self, members: Iterable[MemberId], run_number: int) -> LinkGrid:
        return LinkGrid(self.sessions, members, run_number, GONE_AFTER_S)

    def connect(self, member: MemberId) -> None:
        session = self.sessions.open(member)
        call = drive(client_app(self._handles[member]), int(member[:16], 16) >> 1)
        thread = threading.Thread(target=self._serve, args=(session, call), daemon=True)
        self._live[member], self._threads[member] = session, thread
        thread.start()

    def disconnect(self, member: MemberId) -> None:
        self.sessions.close(self._live.pop(member))
        self._threads.pop(member).join()

    def _serve(self, session: Session, call: Handle) -> None:
        answered: dict[str, bytes] = {}
        while not isinstance(item := session.outbox.get(), Close):
            if not isinstance(item, Task):
                continue
            try:
                if item.task_id not in answered:
                    answered[item.task_id] = call(item.body)
                self.sessions.reply(session.member, item.task_id, answered[item.task_id])
            except CoopError:
                self.sessions.fail(session.member, item.task_id, "this member does not go on")

    def __enter__(self) -> Self:
        for member in self._handles:
            self.connect(member)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.sessions.stop()
        for member in list(self._live):
            self.disconnect(member)
