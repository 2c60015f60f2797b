"""The consent ledger and the legal basis of each purpose; rows are added, never changed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

APPEND_ONLY = ("consent_events", "consent_imports", "legal_bases")


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "consent_events",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("customer_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("wording", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("recorded_at", sa.String(length=27), nullable=False),
        sa.CheckConstraint(
            "state IN ('granted','withdrawn','objected','restricted')",
            name=op.f("ck_consent_events_state"),
        ),
        sa.CheckConstraint("length(customer_key) = 32", name=op.f("ck_consent_events_key")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_consent_events")),
        sa.UniqueConstraint(
            "customer_key",
            "scope",
            "at",
            "state",
            name=op.f("uq_consent_events_customer_key_scope_at_state"),
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "consent_imports",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("file", sa.String(length=64), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("added", sa.Integer(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_consent_imports")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "legal_bases",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("scope", sa.String(length=64), nullable=False),
        sa.Column("basis", sa.String(length=20), nullable=False),
        sa.Column("assessment", sa.String(length=128), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.CheckConstraint(
            "basis IN ('consent','legitimate-interest')", name=op.f("ck_legal_bases_basis")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_legal_bases")),
        sqlite_autoincrement=True,
    )
    for table in APPEND_ONLY:
        for action in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} "
                "BEGIN SELECT RAISE(ABORT, 'the consent ledger is only added to'); END"
            )
