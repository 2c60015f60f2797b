"""Flower's public ``Grid`` over the gRPC link: the coordinator's engine for real members.

A message carries one ``ConfigRecord`` with one signed envelope; nothing else of it travels. The
envelope, not the transport, says who speaks and in which stage.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping

from flwr.app import ConfigRecord, Error, Message, Metadata, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.run import Run

from coordinator.wire.sessions import Answer, Sessions, Task
from protocols.errors import LocalError
from protocols.ids import MemberId

RECORD = "envelope"
KEY = "bytes"
STAGE = "query.stage"
UNANSWERED = 1000  # Flower's error codes below are its own


def node_number(member: MemberId) -> int:
    """Flower's 63-bit node id for a member."""
    return int(member[:16], 16) >> 1


def record(envelope: bytes) -> RecordDict:
    """The one record of a round-stage message."""
    return RecordDict({RECORD: ConfigRecord({KEY: envelope})})


def envelope_of(message: Message) -> bytes:
    """The envelope inside a message; LocalError if the message is of another form."""
    content = message.content.get(RECORD)
    value = content.get(KEY) if isinstance(content, ConfigRecord) else None
    if not isinstance(value, bytes):
        raise LocalError("a round-stage message carries one envelope of bytes.")
    return value


class LinkGrid(Grid):
    """Round stages to members over their live sessions.

    Args:
        sessions: the live streams.
        members: everybody in the cohort.
        run_number: Flower's number of the run.
        gone_after_s: how long a member without a connection is waited for in a stage.
    """

    def __init__(
        self,
        sessions: Sessions,
        members: Iterable[MemberId],
        run_number: int,
        gone_after_s: float,
    ) -> None:
        self._sessions = sessions
        self._members = {node_number(member): member for member in members}
        self._run = Run.create_empty(run_number)
        self._gone_after_s = gone_after_s
        self._sent: dict[str, Message] = {}

    def set_run(self, run: Run) -> None:
        """Take over Flower's description of the run."""
        self._run = run

    @property
    def run(self) -> Run:
        """Flower's description of the run."""
        return self._run

    @property
    def members(self) -> Mapping[int, MemberId]:
        """Flower's node ids and the members behind them."""
        return self._members

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """A message with our own id; ``group_id`` is the round."""
        metadata = Metadata(
            run_id=self._run.run_id,
            message_id=secrets.token_hex(16),
            src_node_id=1,
            dst_node_id=dst_node_id,
            reply_to_message_id="",
            group_id=group_id,
            created_at=time.time(),
            ttl=ttl if ttl is not None else 3600.0,
            message_type=message_type,
        )
        # the overloads in Flower's stub leave this public form out (see ARCHITECTURE.md, Flower)
        message: Message = Message(content=content, metadata=metadata)  # type: ignore[call-overload]
        return message

    def get_node_ids(self) -> list[int]:
        """Connected members of the cohort."""
        live = self._sessions.connected()
        return [number for number, member in self._members.items() if member in live]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Send each message to its member; their ids."""
        ids = []
        for message in messages:
            member = self._members[message.metadata.dst_node_id]
            task_id = message.metadata.message_id
            self._sent[task_id] = message
            self._sessions.send(member, Task(task_id, envelope_of(message)))
            ids.append(task_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Replies that are there now."""
        return [self._message(answer) for answer in self._sessions.ready(list(message_ids))]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send all, then hand on each reply as it comes, so that nobody has to hold them all.

        A member that is away or says no gives an error message.
        """
        ids = self.push_messages(messages)
        return self._collect(ids, timeout_s=timeout if timeout is not None else 3600.0)

    def _collect(self, ids: list[str], timeout_s: float) -> Iterable[Message]:
        for answer in self._sessions.collect(ids, timeout_s, self._gone_after_s):
            yield self._message(answer)

    def _message(self, answer: Answer) -> Message:
        sent = self._sent.pop(answer.task_id)
        if answer.body is None:
            return Message(Error(UNANSWERED, answer.problem), reply_to=sent)
        return Message(record(answer.body), reply_to=sent)
