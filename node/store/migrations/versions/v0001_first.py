"""The first version: agreements, orders, spent rounds, the outbox, releases."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this version."""
    _agreements()
    _runs()
    _traffic()


def _agreements() -> None:
    op.create_table(
        "documents",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_documents")),
    )

    op.create_index(op.f("ix_documents_kind"), "documents", ["kind"], unique=False)
    op.create_table(
        "signatures",
        sa.Column("document", sa.String(length=64), nullable=False),
        sa.Column("party", sa.String(length=64), nullable=False),
        sa.Column("jws", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(
            ["document"], ["documents.id"], name=op.f("fk_signatures_document")
        ),
        sa.PrimaryKeyConstraint("document", "party", name=op.f("pk_signatures")),
    )
    op.create_table(
        "signed",
        sa.Column("agreement", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("jws", sa.LargeBinary(), nullable=False),
        sa.Column("signed_at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["agreement"], ["documents.id"], name=op.f("fk_signed_agreement")),
        sa.PrimaryKeyConstraint("agreement", name=op.f("pk_signed")),
    )
    op.create_table(
        "accepted_rosters",
        sa.Column("epoch", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("roster", sa.String(length=64), nullable=False),
        sa.Column("jws", sa.LargeBinary(), nullable=False),
        sa.Column("accepted_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("epoch", name=op.f("pk_accepted_rosters")),
        sa.UniqueConstraint("roster", name=op.f("uq_accepted_rosters_roster")),
    )


def _runs() -> None:
    op.create_table(
        "orders",
        sa.Column("run", sa.String(length=32), nullable=False),
        sa.Column("order_id", sa.String(length=64), nullable=False),
        sa.Column("workload", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("jws", sa.LargeBinary(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("received_at", sa.String(length=27), nullable=False),
        sa.Column("changed_at", sa.String(length=27), nullable=False),
        sa.CheckConstraint(
            "state IN ('pending','admitted','refused','running','done','failed')",
            name=op.f("ck_orders_state"),
        ),
        sa.PrimaryKeyConstraint("run", name=op.f("pk_orders")),
        sa.UniqueConstraint("order_id", name=op.f("uq_orders_order_id")),
    )

    op.create_index(op.f("ix_orders_state"), "orders", ["state"], unique=False)
    op.create_table(
        "approvals",
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.String(length=7), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.CheckConstraint(
            "answer IN ('once','always','refused')", name=op.f("ck_approvals_answer")
        ),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_approvals")),
    )
    op.create_table(
        "spent_rounds",
        sa.Column("run", sa.String(length=64), nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("run", "round", name=op.f("pk_spent_rounds")),
    )
    op.create_table(
        "survivor_sets",
        sa.Column("run", sa.String(length=32), nullable=False),
        sa.Column("round", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("members", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run", "round", name=op.f("pk_survivor_sets")),
    )
    op.create_table(
        "run_budget",
        sa.Column("run", sa.String(length=32), nullable=False),
        sa.Column("workload", sa.String(length=64), nullable=False),
        sa.Column("cohort", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("reserved_at", sa.String(length=27), nullable=False),
        sa.Column("settled_at", sa.String(length=27), nullable=True),
        sa.CheckConstraint(
            "state IN ('reserved','used','returned')", name=op.f("ck_run_budget_state")
        ),
        sa.PrimaryKeyConstraint("run", name=op.f("pk_run_budget")),
    )

    op.create_index(op.f("ix_run_budget_reserved_at"), "run_budget", ["reserved_at"], unique=False)


def _traffic() -> None:
    op.create_table(
        "outbox",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("acked_at", sa.String(length=27), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_outbox")),
        sa.UniqueConstraint("id", name=op.f("uq_outbox_id")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "cursors",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_cursors")),
    )
    op.create_table(
        "releases",
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("run", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("card", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.String(length=27), nullable=False),
        sa.CheckConstraint(
            "state IN ('offered','pulled','used','refused')", name=op.f("ck_releases_state")
        ),
        sa.PrimaryKeyConstraint("model", name=op.f("pk_releases")),
    )

    op.create_index(op.f("ix_releases_run"), "releases", ["run"], unique=False)
    op.create_table(
        "settings",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_settings")),
    )
