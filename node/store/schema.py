"""The tables of a node, in one place. Migrations are compared with it by a test.

Times are UTC text of fixed width, so that they sort as text. No table holds a row of sales, a
forecast, an update or a secret of a round: those live in the vault, or nowhere.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
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

documents = Table(
    "documents",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("received_at", Utc, nullable=False),
    Index(None, "kind"),
)

signatures = Table(
    "signatures",
    metadata,
    Column("document", String(64), ForeignKey("documents.id"), primary_key=True),
    Column("party", String(64), primary_key=True),
    Column("jws", LargeBinary, nullable=False),
    Column("received_at", Utc, nullable=False),
)

signed = Table(
    "signed",
    metadata,
    Column("agreement", String(64), ForeignKey("documents.id"), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("jws", LargeBinary, nullable=False),
    Column("signed_at", Utc, nullable=False),
)

accepted_rosters = Table(
    "accepted_rosters",
    metadata,
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("roster", String(64), nullable=False, unique=True),
    Column("jws", LargeBinary, nullable=False),
    Column("accepted_at", Utc, nullable=False),
)

orders = Table(
    "orders",
    metadata,
    Column("run", String(32), primary_key=True),
    Column("order_id", String(64), nullable=False, unique=True),
    Column("workload", String(64), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("jws", LargeBinary, nullable=False),
    Column("state", String(8), nullable=False),
    Column("reasons", Text, nullable=False),
    Column("received_at", Utc, nullable=False),
    Column("changed_at", Utc, nullable=False),
    CheckConstraint(
        "state IN ('pending','admitted','refused','running','done','failed')", name="state"
    ),
    Index(None, "state"),
)

approvals = Table(
    "approvals",
    metadata,
    Column("subject", String(64), primary_key=True),
    Column("answer", String(7), nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Utc, nullable=False),
    Column("role", String(10), nullable=False, server_default="owner"),
    Column("by", String(8), nullable=False, server_default="os"),
    CheckConstraint("answer IN ('once','always','refused')", name="answer"),
)

spent_rounds = Table(
    "spent_rounds",
    metadata,
    Column("run", String(64), primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
)

survivor_sets = Table(
    "survivor_sets",
    metadata,
    Column("run", String(32), primary_key=True),
    Column("round", Integer, primary_key=True, autoincrement=False),
    Column("members", Text, nullable=False),
)

run_budget = Table(
    "run_budget",
    metadata,
    Column("run", String(32), primary_key=True),
    Column("workload", String(64), nullable=False),
    Column("cohort", Text, nullable=False),
    Column("state", String(8), nullable=False),
    Column("reserved_at", Utc, nullable=False),
    Column("settled_at", Utc),
    CheckConstraint("state IN ('reserved','used','returned')", name="state"),
    Index(None, "reserved_at"),
)

privacy_spending = Table(
    "privacy_spending",
    metadata,
    Column("run", String(32), primary_key=True),
    Column("unit", String(16), nullable=False),
    Column("workload", String(64), nullable=False),
    Column("events", Text, nullable=False),
    Column("delta", Float, nullable=False),
    Column("state", String(8), nullable=False),
    Column("reserved_at", Utc, nullable=False),
    Column("until", Utc, nullable=False),
    Column("seal", String(64), nullable=False),
    CheckConstraint("state IN ('reserved','used','returned')", name="state"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("kind", String(40), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("acked_at", Utc),
    sqlite_autoincrement=True,
)

cursors = Table(
    "cursors",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("value", Integer, nullable=False),
)

releases = Table(
    "releases",
    metadata,
    Column("model", String(64), primary_key=True),
    Column("run", String(32), nullable=False),
    Column("state", String(8), nullable=False),
    Column("card", LargeBinary, nullable=False),
    Column("received_at", Utc, nullable=False),
    CheckConstraint("state IN ('offered','pulled','used','refused')", name="state"),
    Index(None, "run"),
)

settings = Table(
    "settings",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

# Consent is a ledger: rows are added and never changed (triggers of the migration see to it).
# A customer stands under a keyed hash of 32 bytes; nothing here says who that is.
consent_events = Table(
    "consent_events",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("customer_key", LargeBinary(32), nullable=False),
    Column("scope", String(64), nullable=False),
    Column("state", String(10), nullable=False),
    Column("at", Utc, nullable=False),
    Column("wording", String(64), nullable=False),
    Column("source", String(64), nullable=False),
    Column("recorded_at", Utc, nullable=False),
    # of (scope, customer key); stays when the key is replaced because the person was erased
    Column("leaf", LargeBinary(32), nullable=False),
    CheckConstraint("state IN ('granted','withdrawn','objected','restricted')", name="state"),
    CheckConstraint("length(customer_key) = 32", name="key"),
    CheckConstraint("length(leaf) = 32", name="leaf"),
    UniqueConstraint("customer_key", "scope", "at", "state"),
    sqlite_autoincrement=True,
)

# The newest answer of each customer and scope, kept in the transaction of each event, in the order
# of the leaves of a consent tree. It can be made again from ``consent_events`` at any time.
consent_now = Table(
    "consent_now",
    metadata,
    Column("scope", String(64), primary_key=True),
    Column("leaf", LargeBinary(32), primary_key=True),
    Column("state", String(10), nullable=False),
    Column("at", Utc, nullable=False),
    Column("seq", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# One row: up to which event ``consent_now`` is made.
consent_head = Table(
    "consent_head",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("position", Integer, nullable=False),
    CheckConstraint("id = 1", name="one"),
)

# Who was erased: by leaf, what is said of them in older files stays out; rows are only added.
consent_forgotten = Table(
    "consent_forgotten",
    metadata,
    Column("scope", String(64), primary_key=True),
    Column("leaf", LargeBinary(32), primary_key=True),
    Column("at", Utc, primary_key=True),
    Column("tombstone", LargeBinary(32), nullable=False),
    CheckConstraint("length(tombstone) = 32", name="tombstone"),
)

# Only inside the transaction that forgets a person: which key may become which tombstone.
consent_forgetting = Table(
    "consent_forgetting",
    metadata,
    Column("customer_key", LargeBinary(32), primary_key=True),
    Column("tombstone", LargeBinary(32), nullable=False),
)

# What each run read: who stood, and which lines; rows are only added.
run_snapshots = Table(
    "run_snapshots",
    metadata,
    Column("run", String(32), primary_key=True),
    Column("reading", Integer, primary_key=True),
    Column("round", Integer, nullable=False),
    Column("scope", String(64), nullable=False),
    Column("basis", String(20), nullable=False),
    Column("assessment", String(128), nullable=False),
    Column("position", Integer, nullable=False),
    Column("oldest", String(27), nullable=False),
    Column("at", Utc, nullable=False),
    Column("standing", Integer, nullable=False),
    Column("standing_root", String(64), nullable=False),
    Column("customers", Integer, nullable=False),
    Column("lines", Integer, nullable=False),
    Column("root", String(64), nullable=False),
)

# Who may speak to the local HTTP door; of a token only its SHA-256 is kept.
endpoint_tokens = Table(
    "endpoint_tokens",
    metadata,
    Column("id", String(8), primary_key=True),
    Column("name", String(40), nullable=False),
    Column("token_hash", LargeBinary(32), nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("expires_at", Utc),
    Column("revoked_at", Utc),
    CheckConstraint("length(token_hash) = 32", name="hash"),
)

consent_imports = Table(
    "consent_imports",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("file", String(64), nullable=False),
    Column("lines", Integer, nullable=False),
    Column("added", Integer, nullable=False),
    Column("at", Utc, nullable=False),
    sqlite_autoincrement=True,
)

legal_bases = Table(
    "legal_bases",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("scope", String(64), nullable=False),
    Column("basis", String(20), nullable=False),
    Column("assessment", String(128), nullable=False),
    Column("at", Utc, nullable=False),
    CheckConstraint("basis IN ('consent','legitimate-interest')", name="basis"),
    sqlite_autoincrement=True,
)

# Who may do what at this program. A person is never deleted, so that a short id in the journal
# means one person for ever; with ``removed_at`` they may do nothing any more.
people = Table(
    "people",
    metadata,
    Column("id", String(8), primary_key=True),
    Column("name", String(40), nullable=False),
    Column("role", String(10), nullable=False),
    Column("salt", LargeBinary(16), nullable=False),
    Column("secret_hash", LargeBinary(32), nullable=False),
    Column("log2_n", Integer, nullable=False),
    Column("added_at", Utc, nullable=False),
    Column("removed_at", Utc),
    CheckConstraint("role IN ('owner','steward','custodian','viewer')", name="role"),
    CheckConstraint("length(salt) = 16", name="salt"),
    CheckConstraint("length(secret_hash) = 32", name="hash"),
)

# What customers asked for. A customer stands under the same keyed hash as in the consent ledger.
customer_requests = Table(
    "customer_requests",
    metadata,
    Column("id", String(8), primary_key=True),
    Column("kind", String(10), nullable=False),
    Column("customer_key", LargeBinary(32), nullable=False),
    Column("received_at", Utc, nullable=False),
    Column("entered_at", Utc, nullable=False),
    Column("extended_at", Utc),
    Column("extension_reason", Text, nullable=False, server_default=""),
    Column("closed_at", Utc),
    Column("how", Text, nullable=False, server_default=""),
    Column("identity_check", Text, nullable=False, server_default=""),
    Column("checked_at", Utc),
    Column("outcome", String(7), nullable=False, server_default=""),
    Column("evidence", String(64), nullable=False, server_default=""),
    CheckConstraint(
        "kind IN ('access','export','rectify','erase','restrict','object','lift')", name="kind"
    ),
    CheckConstraint("outcome IN ('','done','refused')", name="outcome"),
    CheckConstraint("length(customer_key) = 32", name="key"),
)

# Who was erased, as a mark under this member's own secret: enough to erase them again when an old
# copy of their rows comes back, too little to say who they were.
erasures = Table(
    "erasures",
    metadata,
    Column("mark", LargeBinary(32), primary_key=True),
    Column("request", String(8), nullable=False),
    Column("at", Utc, nullable=False),
    CheckConstraint("length(mark) = 32", name="mark"),
)

# Texts that this member shows to its customers; rows are added, never changed.
notices = Table(
    "notices",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("sha256", String(64), nullable=False),
    Column("locale", String(16), nullable=False),
    Column("text", Text, nullable=False),
    Column("in_use", Integer, nullable=False),
    Column("at", Utc, nullable=False),
    CheckConstraint("in_use IN (0, 1)", name="in_use"),
    sqlite_autoincrement=True,
)

# What the operator announced about incidents: one signed letter per incident and state.
incidents = Table(
    "incidents",
    metadata,
    Column("incident", String(64), primary_key=True),
    Column("state", String(8), primary_key=True),
    Column("freeze", Integer, nullable=False),
    Column("what", Text, nullable=False),
    Column("at", Utc, nullable=False),
    Column("jws", LargeBinary, nullable=False),
    Column("received_at", Utc, nullable=False),
    CheckConstraint("state IN ('opened','notified','closed')", name="state"),
)

# Models that were taken back; never deleted.
revocations = Table(
    "revocations",
    metadata,
    Column("model", String(64), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("jws", LargeBinary, nullable=False),
    Column("received_at", Utc, nullable=False),
)

# How often a result was used on a day (UTC).
result_uses = Table(
    "result_uses",
    metadata,
    Column("model", String(64), primary_key=True),
    Column("day", String(10), primary_key=True),
    Column("count", Integer, nullable=False),
)

# What this member said about its own membership, signed; the newest word counts.
membership_notices = Table(
    "membership_notices",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("member", String(64), nullable=False),
    Column("state", String(9), nullable=False),
    Column("at", Utc, nullable=False),
    Column("until", Utc),
    Column("jws", LargeBinary, nullable=False),
    CheckConstraint("state IN ('suspended','resumed','leaving')", name="state"),
    sqlite_autoincrement=True,
)

# Ends of agreements, with the signatures that are known so far.
terminations = Table(
    "terminations",
    metadata,
    Column("document", String(64), primary_key=True),
    Column("agreement", String(64), nullable=False, index=True),
    Column("jws", LargeBinary, nullable=False),
    Column("received_at", Utc, nullable=False),
)

# Health scores over time: what was found, and the digest of the rows that were looked at.
quality_history = Table(
    "quality_history",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("at", Utc, nullable=False),
    Column("dataset", String(64), nullable=False, index=True),
    Column("score", Integer, nullable=False),
    Column("findings", Text, nullable=False),
    Column("data", String(64), nullable=False),
    CheckConstraint("score BETWEEN 0 AND 100", name="score"),
    sqlite_autoincrement=True,
)

# Documents that were made from what is here: ``text`` is the SHA-256 of ``body``, the plain text,
# which names a notice; ``document`` is the id of the whole document. Rows are added, never changed.
made_documents = Table(
    "made_documents",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("name", String(80), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("locale", String(16), nullable=False),
    Column("document", String(64), nullable=False),
    Column("text", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("files", Text, nullable=False),
    Column("made_from", Text, nullable=False),
    Column("missing", Integer, nullable=False),
    Column("at", Utc, nullable=False),
    sqlite_autoincrement=True,
)
