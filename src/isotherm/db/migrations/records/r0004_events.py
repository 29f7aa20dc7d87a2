"""Events of calls, where functions ask for them to be kept; sealed."""

import sqlalchemy as sa
from alembic import op

revision = "r0004"
down_revision = "r0003"
branch_labels = None
depends_on = None

_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("seq", _big, primary_key=True, autoincrement=True),
        sa.Column("invocation_id", sa.Text, nullable=False),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("at_ms", _big, nullable=False),
        sa.Column("size_bytes", sa.Integer, nullable=False),
        sa.Column("end_bytes", _big, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("events_invocation_idx", "events", ["namespace", "invocation_id"])


def downgrade() -> None:
    op.drop_index("events_invocation_idx", "events")
    op.drop_table("events")
