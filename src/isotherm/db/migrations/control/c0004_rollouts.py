"""Rollouts of aliases."""

import sqlalchemy as sa
from alembic import op

revision = "c0004"
down_revision = "c0003"
branch_labels = None
depends_on = None

_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "rollouts",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("workload_id", sa.Text, sa.ForeignKey("workloads.id", ondelete="CASCADE"), nullable=False),
        sa.Column("alias", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("version", _big, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("workload_id", "version", name="uq_rollouts_workload_id_version"),
    )
    op.create_index(
        "rollouts_open_idx",
        "rollouts",
        ["workload_id", "alias"],
        unique=True,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
    op.create_index("rollouts_state_idx", "rollouts", ["state"])


def downgrade() -> None:
    op.drop_table("rollouts")
