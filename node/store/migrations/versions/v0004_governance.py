"""People and roles, requests of customers, notices, incidents, who approved."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this version."""
    _people()
    _requests()
    _notices()
    _incidents()
    # Before people had roles, whoever could use the node was its owner.
    op.add_column(
        "approvals", sa.Column("role", sa.String(length=10), nullable=False, server_default="owner")
    )
    op.add_column(
        "approvals", sa.Column("by", sa.String(length=8), nullable=False, server_default="os")
    )


def _people() -> None:
    op.create_table(
        "people",
        sa.Column("id", sa.String(length=8), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("salt", sa.LargeBinary(length=16), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("log2_n", sa.Integer(), nullable=False),
        sa.Column("added_at", sa.String(length=27), nullable=False),
        sa.Column("removed_at", sa.String(length=27), nullable=True),
        sa.CheckConstraint(
            "role IN ('owner','steward','custodian','viewer')", name=op.f("ck_people_role")
        ),
        sa.CheckConstraint("length(salt) = 16", name=op.f("ck_people_salt")),
        sa.CheckConstraint("length(secret_hash) = 32", name=op.f("ck_people_hash")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
    )


def _requests() -> None:
    op.create_table(
        "customer_requests",
        sa.Column("id", sa.String(length=8), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("customer_key", sa.LargeBinary(length=32), nullable=False),
        sa.Column("received_at", sa.String(length=27), nullable=False),
        sa.Column("entered_at", sa.String(length=27), nullable=False),
        sa.Column("extended_at", sa.String(length=27), nullable=True),
        sa.Column("extension_reason", sa.Text(), nullable=False, server_default=""),
        sa.Column("closed_at", sa.String(length=27), nullable=True),
        sa.Column("how", sa.Text(), nullable=False, server_default=""),
        sa.CheckConstraint(
            "kind IN ('access','rectify','erase','restrict','object')",
            name=op.f("ck_customer_requests_kind"),
        ),
        sa.CheckConstraint("length(customer_key) = 32", name=op.f("ck_customer_requests_key")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customer_requests")),
    )


def _notices() -> None:
    op.create_table(
        "notices",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("locale", sa.String(length=16), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("in_use", sa.Integer(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.CheckConstraint("in_use IN (0, 1)", name=op.f("ck_notices_in_use")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_notices")),
        sqlite_autoincrement=True,
    )
    for action in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER notices_no_{action.lower()} BEFORE {action} ON notices "
            "BEGIN SELECT RAISE(ABORT, 'the list of notices is only added to'); END"
        )


def _incidents() -> None:
    op.create_table(
        "incidents",
        sa.Column("incident", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("freeze", sa.Integer(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("jws", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.String(length=27), nullable=False),
        sa.CheckConstraint(
            "state IN ('opened','notified','closed')", name=op.f("ck_incidents_state")
        ),
        sa.PrimaryKeyConstraint("incident", "state", name=op.f("pk_incidents")),
    )
