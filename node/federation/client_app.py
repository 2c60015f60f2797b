"""The node's Flower ``ClientApp``: one action, one envelope in, one envelope out.

It runs in the node's own process, driven by the link; the same app is driven by the engine in
memory in tests. Nothing of a Flower message but the envelope is looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from flwr.app import ConfigRecord, Context, Message, Metadata, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable

from protocols.errors import RemoteError

RECORD, KEY, ACTION = "envelope", "bytes", "stage"
MAX_ENVELOPE_BYTES = 64 * 1024 * 1024


def envelope_only(message: Message, context: Context, app: ClientAppCallable) -> Message:
    """Mod: a message that holds anything but one envelope never reaches the app."""
    if set(message.content) != {RECORD}:
        raise RemoteError("a message that is not one envelope came.", peer="coordinator")
    envelope(message)
    return app(message, context)


def envelope(message: Message) -> bytes:
    """The envelope inside; RemoteError if the record holds anything else or too much."""
    record = message.content.get(RECORD)
    value = record.get(KEY) if isinstance(record, ConfigRecord) and len(record) == 1 else None
    if not isinstance(value, bytes) or len(value) > MAX_ENVELOPE_BYTES:
        raise RemoteError("a message that is not one envelope came.", peer="coordinator")
    return value


def client_app(handle: Callable[[bytes], bytes]) -> ClientApp:
    """An app that answers each stage with ``handle``; what that raises goes to the engine."""
    app = ClientApp()

    @app.query(ACTION, mods=[envelope_only])
    def stage(message: Message, context: Context) -> Message:
        reply = handle(envelope(message))
        content = RecordDict({RECORD: ConfigRecord({KEY: reply})})
        return Message(content, reply_to=message)

    return app


def drive(app: ClientApp, node_number: int) -> Callable[[bytes], bytes]:
    """The app as a function on envelopes, for the link."""
    context = Context(
        run_id=0, node_id=node_number, node_config={}, state=RecordDict(), run_config={}
    )

    def call(request: bytes) -> bytes:
        metadata = Metadata(
            run_id=0,
            message_id="stage",
            src_node_id=1,
            dst_node_id=node_number,
            reply_to_message_id="",
            group_id="",
            created_at=time.time(),
            ttl=3600.0,
            message_type=f"query.{ACTION}",
        )
        content = RecordDict({RECORD: ConfigRecord({KEY: request})})
        # the overloads in Flower's stub leave this public form out
        message: Message = Message(content=content, metadata=metadata)  # type: ignore[call-overload]
        return envelope(app(message, context))

    return call
