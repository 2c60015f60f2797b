"""What this member said about its membership, and the ends of agreements."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this version."""
    op.create_table(
        "membership_notices",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("member", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("until", sa.String(length=27), nullable=True),
        sa.Column("jws", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "state IN ('suspended','resumed','leaving')",
            name=op.f("ck_membership_notices_state"),
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_membership_notices")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "terminations",
        sa.Column("document", sa.String(length=64), nullable=False),
        sa.Column("agreement", sa.String(length=64), nullable=False),
        sa.Column("jws", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("document", name=op.f("pk_terminations")),
    )
    op.create_index(op.f("ix_terminations_agreement"), "terminations", ["agreement"], unique=False)
