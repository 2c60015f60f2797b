"""The ledger of spent privacy; runs of before promised nothing and get a line that says so."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this version."""
    table = op.create_table(
        "privacy_spending",
        sa.Column("run", sa.String(length=32), nullable=False),
        sa.Column("unit", sa.String(length=16), nullable=False),
        sa.Column("workload", sa.String(length=64), nullable=False),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("delta", sa.Float(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("reserved_at", sa.String(length=27), nullable=False),
        sa.Column("until", sa.String(length=27), nullable=False),
        sa.Column("seal", sa.String(length=64), nullable=False),
        sa.CheckConstraint(
            "state IN ('reserved','used','returned')", name=op.f("ck_privacy_spending_state")
        ),
        sa.PrimaryKeyConstraint("run", name=op.f("pk_privacy_spending")),
    )
    earlier = op.get_bind().execute(
        sa.text("SELECT run, workload, state, reserved_at FROM run_budget ORDER BY run")
    )
    lines = [_line(*row) for row in earlier]
    if lines:
        op.bulk_insert(table, lines)


def _line(run: str, workload: str, state: str, reserved_at: str) -> dict[str, object]:
    moment = datetime.strptime(reserved_at, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    # Written out, not imported: a migration stays as it is when the code goes on.
    texts = [run, "none", workload, "[]", "0.0", state, moment.isoformat(), moment.isoformat()]
    return {
        "run": run,
        "unit": "none",
        "workload": workload,
        "events": "[]",
        "delta": 0.0,
        "state": state,
        "reserved_at": reserved_at,
        "until": reserved_at,
        "seal": hashlib.sha256(json.dumps(texts).encode()).hexdigest(),
    }
