"""Held releases, revocations, pulls."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "releases",
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("run", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("changed_at", sa.String(length=27), nullable=False),
        sa.CheckConstraint(
            "state IN ('held', 'published', 'withdrawn', 'revoked')",
            name=op.f("ck_releases_state"),
        ),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_releases")),
    )
    op.create_index(op.f("ix_releases_state"), "releases", ["state"], unique=False)
    op.create_table(
        "revocations",
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("jws", sa.LargeBinary(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=True),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_revocations")),
        sa.UniqueConstraint("seq", name=op.f("uq_revocations_seq")),
    )
    op.create_table(
        "pulls",
        sa.Column("member", sa.String(length=64), nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["member"], ["members.id"], name=op.f("fk_pulls_member")),
        sa.PrimaryKeyConstraint("member", "day", name=op.f("pk_pulls")),
    )
