"""Rights of people in the data: how a request was answered, and marks of those who were erased."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

KINDS = "kind IN ('access','export','rectify','erase','restrict','object','lift')"


def upgrade() -> None:
    """To this version."""
    with op.batch_alter_table("customer_requests", recreate="always") as table:
        table.add_column(_text("identity_check"))
        table.add_column(sa.Column("checked_at", sa.String(length=27), nullable=True))
        table.add_column(sa.Column("outcome", sa.String(7), nullable=False, server_default=""))
        table.add_column(sa.Column("evidence", sa.String(64), nullable=False, server_default=""))
        table.create_check_constraint(op.f("ck_customer_requests_kind"), KINDS)
        table.create_check_constraint(
            op.f("ck_customer_requests_outcome"), "outcome IN ('','done','refused')"
        )
        table.create_check_constraint(op.f("ck_customer_requests_key"), "length(customer_key) = 32")
    op.create_table(
        "erasures",
        sa.Column("mark", sa.LargeBinary(length=32), nullable=False),
        sa.Column("request", sa.String(length=8), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.CheckConstraint("length(mark) = 32", name=op.f("ck_erasures_mark")),
        sa.PrimaryKeyConstraint("mark", name=op.f("pk_erasures")),
    )


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False, server_default="")
