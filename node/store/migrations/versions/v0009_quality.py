"""Quality over time: every score, with what was found and of which rows."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "quality_history",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("dataset", sa.String(length=64), nullable=False),
        sa.Column("score", sa.Integer(), nullable=False),
        sa.Column("findings", sa.Text(), nullable=False),
        sa.Column("data", sa.String(length=64), nullable=False),
        sa.CheckConstraint("score BETWEEN 0 AND 100", name=op.f("ck_quality_history_score")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_quality_history")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_quality_history_dataset"), "quality_history", ["dataset"], unique=False
    )
