"""The first schema of the records database."""

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None
branch_labels = None
depends_on = None

_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "batches",
        sa.Column("host_id", sa.Text, primary_key=True),
        sa.Column("boot_id", sa.Text, primary_key=True),
        sa.Column("sequence", _big, primary_key=True),
        sa.Column("received_at_ms", _big, nullable=False),
    )
    op.create_index("ix_batches_received_at_ms", "batches", ["received_at_ms"])
    op.create_table("totals", sa.Column("name", sa.Text, primary_key=True), sa.Column("value", _big, nullable=False))
    _invocations()
    _minutes()
    _logs()


def _invocations() -> None:
    op.create_table(
        "invocations",
        sa.Column("seq", _big, primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("started_at_ms", _big, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_invocations_id", "invocations", ["id"])
    op.create_index("invocations_namespace_idx", "invocations", ["namespace", "seq"])
    op.create_index("invocations_name_idx", "invocations", ["namespace", "name", "seq"])
    op.create_index("invocations_outcome_idx", "invocations", ["namespace", "outcome", "seq"])


def _minutes() -> None:
    op.create_table(
        "minutes",
        sa.Column("revision_id", sa.Text, primary_key=True),
        sa.Column("minute", sa.Integer, primary_key=True),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("minutes_name_idx", "minutes", ["namespace", "name", "minute"])
    op.create_index("minutes_minute_idx", "minutes", ["minute"])


def _logs() -> None:
    op.create_table(
        "logs",
        sa.Column("seq", _big, primary_key=True, autoincrement=True),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("at_ms", _big, nullable=False),
        sa.Column("invocation_id", sa.Text),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_logs_invocation_id", "logs", ["invocation_id"])
    op.create_index("logs_name_idx", "logs", ["namespace", "name", "seq"])
    op.create_index("logs_time_idx", "logs", ["namespace", "name", "at_ms"])


def downgrade() -> None:
    for name in ("logs", "minutes", "invocations", "totals", "batches"):
        op.drop_table(name)
