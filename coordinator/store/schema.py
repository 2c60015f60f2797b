"""The tables of the office, in one place. Migrations are compared with it by a test.

Times are UTC text of fixed width (``2026-01-31T08:00:00.000000Z``), so that they sort as text and
read well with any SQLite tool. No table holds an update, a share or a row of a member.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)


class Utc(TypeDecorator[datetime]):
    """An aware UTC moment, stored as text; a naive one is our own bug."""

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """To text."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment without a time zone cannot be stored")
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """From text."""
        if value is None:
            return None
        return datetime.strptime(value, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

members = Table(
    "members",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("legal_id", Text, nullable=False),
    Column("trade", Text, nullable=False),
    Column("region", Text, nullable=False),
    Column("public_key", LargeBinary(32), nullable=False, unique=True),
    Column("status", String(8), nullable=False),
    Column("joined_at", Utc, nullable=False),
    Column("removed_at", Utc),
    Column("encryption_key", LargeBinary(32)),  # null: joined before there was one
    Column("replaces", String(64)),  # the id of the same business before its key was renewed
    Column("suspended_since", Utc),
    Column("leaving_at", Utc),
    CheckConstraint("status IN ('active', 'removed')", name="status"),
)

certificates = Table(
    "certificates",
    metadata,
    Column("serial", String(40), primary_key=True),
    Column("member", ForeignKey("members.id"), nullable=False, index=True),
    Column("not_after", Utc, nullable=False),
    Column("revoked_at", Utc),
    Column("pem", LargeBinary, nullable=False),
)

invites = Table(
    "invites",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("expires_at", Utc, nullable=False),
    Column("used_at", Utc),
    Column("used_by", ForeignKey("members.id")),
    Column("request_hash", String(64)),
    Column("serial", ForeignKey("certificates.serial")),
    Column("replaces", String(64)),  # the member whose keys were lost
)

documents = Table(
    "documents",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", Utc, nullable=False),
    Index(None, "kind", "created_at"),
)

signatures = Table(
    "signatures",
    metadata,
    Column("document", ForeignKey("documents.id"), primary_key=True),
    Column("party", String(64), primary_key=True),  # member id, "operator" or "coordinator"
    Column("jws", LargeBinary, nullable=False),
    Column("at", Utc, nullable=False),
)

mail = Table(
    "mail",
    metadata,
    Column("member", ForeignKey("members.id"), primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(40), nullable=False),
    Column("document", String(64), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", Utc, nullable=False),
)

mail_cursors = Table(
    "mail_cursors",
    metadata,
    Column("member", ForeignKey("members.id"), primary_key=True),
    Column("last", Integer, nullable=False),
    Column("acked", Integer, nullable=False),
    CheckConstraint("acked >= 0 AND acked <= last", name="cursor"),
)

runs = Table(
    "runs",
    metadata,
    Column("run", String(32), primary_key=True),
    Column("order_id", ForeignKey("documents.id"), nullable=False),
    Column("state", String(12), nullable=False),
    Column("round", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("stage", String(24), nullable=False),
    Column("detail", Text, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("started_at", Utc),
    Column("ended_at", Utc),
    Column("launched_by", String(16)),  # a person of the office; null: whoever has the account
    Column("approved_by", String(16)),
    Index(None, "state"),
)

run_members = Table(
    "run_members",
    metadata,
    Column("run", ForeignKey("runs.run"), primary_key=True),
    Column("member", ForeignKey("members.id"), primary_key=True),
    Column("answer", String(8), nullable=False),
    Column("reasons", Text, nullable=False),
    Column("at", Utc, nullable=False),
    CheckConstraint("answer IN ('pending', 'admitted', 'refused', 'silent')", name="answer"),
)

sums = Table(
    "sums",
    metadata,
    Column("run", ForeignKey("runs.run"), primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("attempt", Integer, nullable=False),
    Column("survivors", Integer, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("file", Text, nullable=False),
    Column("published_at", Utc, nullable=False),
)

settings = Table(
    "settings",
    metadata,
    Column("key", String(80), primary_key=True),
    Column("value", Text, nullable=False),
)

people = Table(  # who works in the office; no one of them means: whoever has the account
    "people",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", String(12), nullable=False),
    Column("passphrase", Text, nullable=False),  # scrypt: parameters, salt and hash
    Column("approver_key", LargeBinary(32)),
    Column("added_at", Utc, nullable=False),
    Column("removed_at", Utc),
)

incidents = Table(  # their signed steps are in documents
    "incidents",
    metadata,
    Column("incident", String(32), primary_key=True),
    Column("what", Text, nullable=False),
    Column("freeze", Integer, nullable=False),
    Column("opened_at", Utc, nullable=False),
    Column("notify_by", Utc, nullable=False),
    Column("notified_at", Utc),
    Column("closed_at", Utc),
    CheckConstraint("freeze IN (0, 1)", name="freeze"),
)

releases = Table(  # the bundles are files; these are their states
    "releases",
    metadata,
    Column("model", String(64), primary_key=True),
    Column("run", String(32), nullable=False),
    Column("state", String(9), nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("changed_at", Utc, nullable=False),
    CheckConstraint("state IN ('held', 'published', 'withdrawn', 'revoked')", name="state"),
    Index(None, "state"),
)

revocations = Table(  # ``seq`` is given when the last signature is there; members count by it
    "revocations",
    metadata,
    Column("model", String(64), primary_key=True),
    Column("jws", LargeBinary, nullable=False),
    Column("seq", Integer, unique=True),
    Column("at", Utc, nullable=False),
)

pulls = Table(
    "pulls",
    metadata,
    Column("member", ForeignKey("members.id"), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("count", Integer, nullable=False),
)

cosignatures = Table(
    "cosignatures",
    metadata,
    Column("member", ForeignKey("members.id"), primary_key=True),
    Column("size", Integer, primary_key=True, autoincrement=False),
    Column("root", String(64), nullable=False),
    Column("at", Integer, nullable=False),  # POSIX seconds, the member's word
    Column("note", LargeBinary, nullable=False),
    Column("received_at", Utc, nullable=False),
)
