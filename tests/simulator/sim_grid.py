"""Flower's public ``Grid`` in memory: every message is answered while it is pushed.

One process, one thread, no clock. What a Flower engine would put between server and clients is
the ``Post``: it takes a message and gives the reply, or None if its member is away.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Protocol

from flwr.app import Context, Error, Message, Metadata, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run

RAISED = 3  # Flower's code for an exception in a ClientApp
NO_REPLY = 1000
TTL_S = 3600.0


class Post(Protocol):
    """Who is there, and the way to them."""

    def connected(self) -> Collection[int]:
        """Flower's ids of the nodes that are there."""

    def deliver(self, message: Message) -> Message | None:
        """The reply, or None if there is none."""


class MemoryGrid(Grid):
    """The engine in memory.

    Args:
        post: carries the messages.
        run_number: Flower's number of the run.
    """

    def __init__(self, post: Post, run_number: int) -> None:
        self._post = post
        self._run = Run.create_empty(run_number)
        self._sent = 0
        self._waiting: dict[str, Message] = {}
        self._replies: dict[str, Message] = {}

    def set_run(self, run: Run) -> None:
        self._run = run

    @property
    def run(self) -> Run:
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        self._sent += 1
        metadata = Metadata(
            run_id=self._run.run_id,
            message_id=f"message-{self._sent}",
            src_node_id=1,
            dst_node_id=dst_node_id,
            reply_to_message_id="",
            group_id=group_id,
            created_at=float(self._sent),
            ttl=TTL_S if ttl is None else ttl,
            message_type=message_type,
        )
        return Message(content=content, metadata=metadata)

    def get_node_ids(self) -> list[int]:
        return sorted(self._post.connected())

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        ids = []
        for message in messages:
            name = message.metadata.message_id
            self._waiting[name] = message
            reply = self._post.deliver(message)
            if reply is not None:
                self._replies[name] = reply
            ids.append(name)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        out = []
        for name in message_ids:
            if name in self._replies:
                self._waiting.pop(name)
                out.append(self._replies.pop(name))
        return out

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterator[Message]:
        """Replies as they came; then, as all the time has passed, an error for each other one."""
        ids = self.push_messages(list(messages))
        yield from self.pull_messages(ids)
        for name in ids:
            sent = self._waiting.pop(name, None)
            if sent is not None:
                yield Message(Error(NO_REPLY, "no answer in time"), reply_to=sent)


def run_client_app(app: ClientApp, context: Context, message: Message) -> Message:
    """One message through a ClientApp, with the words that Flower's engines send back."""
    try:
        return app(message, context)
    except Exception as error:  # noqa: BLE001 - what an engine does
        reason = f"{type(error)}:<'{error}'>"
        return Message(Error(RAISED, reason), reply_to=message)


def client_context(node_number: int, run_number: int) -> Context:
    return Context(
        run_id=run_number, node_id=node_number, node_config={}, state=RecordDict(), run_config={}
    )
