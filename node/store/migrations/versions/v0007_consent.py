"""Consent: leaves, the newest answers, what runs read, erased people, tokens of the local door."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from protocols.audit.consent import leaf

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ONLY_ADDED = "SELECT RAISE(ABORT, 'the consent ledger is only added to')"
_BATCH = 10_000
# A person who is erased: the key, and nothing else, becomes the tombstone that stands beside it.
_NOT_FORGETTING = """
NOT (
    EXISTS (
        SELECT 1 FROM consent_forgetting AS f
        WHERE f.customer_key = OLD.customer_key AND f.tombstone = NEW.customer_key
    )
    AND NEW.seq IS OLD.seq AND NEW.scope IS OLD.scope AND NEW.state IS OLD.state
    AND NEW.at IS OLD.at AND NEW.wording IS OLD.wording AND NEW.source IS OLD.source
    AND NEW.recorded_at IS OLD.recorded_at AND NEW.leaf IS OLD.leaf
)
"""
_NOW = """
INSERT INTO consent_now (scope, leaf, state, at, seq)
SELECT scope, leaf, state, at, seq FROM (
    SELECT scope, leaf, state, at, seq, row_number() OVER (
        PARTITION BY scope, leaf ORDER BY at DESC, state = 'granted', seq DESC
    ) AS place FROM consent_events
) WHERE place = 1
"""


def upgrade() -> None:
    """To this version."""
    _leaves()
    _newest()
    _forgotten()
    _snapshots()
    _tokens()
    _guards()


def _leaves() -> None:
    op.execute("DROP TRIGGER consent_events_no_update")
    op.execute("DROP TRIGGER consent_events_no_delete")
    op.add_column("consent_events", sa.Column("leaf", sa.LargeBinary(length=32), nullable=True))
    connection = op.get_bind()
    last = 0
    while rows := connection.execute(
        sa.text(
            "SELECT seq, scope, customer_key FROM consent_events WHERE seq > :last "
            "ORDER BY seq LIMIT :batch"
        ),
        {"last": last, "batch": _BATCH},
    ).all():
        connection.execute(
            sa.text("UPDATE consent_events SET leaf = :leaf WHERE seq = :seq"),
            [{"seq": seq, "leaf": leaf(scope, key.hex())} for seq, scope, key in rows],
        )
        last = rows[-1][0]
    keep = {"sqlite_autoincrement": True}
    with op.batch_alter_table("consent_events", table_kwargs=keep) as table:
        table.alter_column("leaf", existing_type=sa.LargeBinary(length=32), nullable=False)
        table.create_check_constraint(op.f("ck_consent_events_leaf"), "length(leaf) = 32")


def _newest() -> None:
    op.create_table(
        "consent_now",
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("leaf", sa.LargeBinary(length=32), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("scope", "leaf", name=op.f("pk_consent_now")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "consent_head",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_consent_head_one")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_consent_head")),
    )
    op.execute(_NOW)
    op.execute(
        "INSERT INTO consent_head (id, position) "
        "SELECT 1, coalesce(max(seq), 0) FROM consent_events"
    )


def _forgotten() -> None:
    op.create_table(
        "consent_forgotten",
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("leaf", sa.LargeBinary(length=32), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("tombstone", sa.LargeBinary(length=32), nullable=False),
        sa.CheckConstraint("length(tombstone) = 32", name=op.f("ck_consent_forgotten_tombstone")),
        sa.PrimaryKeyConstraint("scope", "leaf", "at", name=op.f("pk_consent_forgotten")),
    )
    op.create_table(
        "consent_forgetting",
        sa.Column("customer_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("tombstone", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("customer_key", name=op.f("pk_consent_forgetting")),
    )


def _snapshots() -> None:
    op.create_table(
        "run_snapshots",
        sa.Column("run", sa.String(length=32), nullable=False),
        sa.Column("reading", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("basis", sa.String(length=20), nullable=False),
        sa.Column("assessment", sa.String(length=128), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("oldest", sa.String(length=27), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("standing", sa.Integer(), nullable=False),
        sa.Column("standing_root", sa.String(length=64), nullable=False),
        sa.Column("customers", sa.Integer(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("root", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("run", "reading", name=op.f("pk_run_snapshots")),
    )


def _tokens() -> None:
    op.create_table(
        "endpoint_tokens",
        sa.Column("id", sa.String(length=8), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("expires_at", sa.String(length=27), nullable=True),
        sa.Column("revoked_at", sa.String(length=27), nullable=True),
        sa.CheckConstraint("length(token_hash) = 32", name=op.f("ck_endpoint_tokens_hash")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_endpoint_tokens")),
    )


def _guards() -> None:
    op.execute(
        "CREATE TRIGGER consent_events_no_update BEFORE UPDATE ON consent_events "
        f"WHEN {_NOT_FORGETTING} BEGIN {_ONLY_ADDED}; END"
    )
    for table, actions in {
        "consent_events": ("DELETE",),
        "consent_forgotten": ("UPDATE", "DELETE"),
        "run_snapshots": ("UPDATE", "DELETE"),
    }.items():
        for action in actions:
            op.execute(
                f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} "
                f"BEGIN {_ONLY_ADDED}; END"
            )
