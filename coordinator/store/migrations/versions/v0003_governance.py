"""People of the office, incidents, who launched and approved a run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this version. Runs of before were launched by whoever had the account."""
    op.add_column("runs", sa.Column("launched_by", sa.String(length=16), nullable=True))
    op.add_column("runs", sa.Column("approved_by", sa.String(length=16), nullable=True))
    op.create_table(
        "people",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=12), nullable=False),
        sa.Column("passphrase", sa.Text(), nullable=False),
        sa.Column("approver_key", sa.LargeBinary(length=32), nullable=True),
        sa.Column("added_at", sa.String(length=27), nullable=False),
        sa.Column("removed_at", sa.String(length=27), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
    )
    op.create_table(
        "incidents",
        sa.Column("incident", sa.String(length=32), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("freeze", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.String(length=27), nullable=False),
        sa.Column("notify_by", sa.String(length=27), nullable=False),
        sa.Column("notified_at", sa.String(length=27), nullable=True),
        sa.Column("closed_at", sa.String(length=27), nullable=True),
        sa.CheckConstraint("freeze IN (0, 1)", name=op.f("ck_incidents_freeze")),
        sa.PrimaryKeyConstraint("incident", name=op.f("pk_incidents")),
    )
