"""Encryption keys, suspension and leaving of members."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this version. Members of before have no encryption key until they come again."""
    op.add_column("members", sa.Column("encryption_key", sa.LargeBinary(length=32), nullable=True))
    op.add_column("members", sa.Column("replaces", sa.String(length=64), nullable=True))
    op.add_column("members", sa.Column("suspended_since", sa.String(length=27), nullable=True))
    op.add_column("members", sa.Column("leaving_at", sa.String(length=27), nullable=True))
    op.add_column("invites", sa.Column("replaces", sa.String(length=64), nullable=True))
