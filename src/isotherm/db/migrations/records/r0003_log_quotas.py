"""How much is kept of each namespace's log lines, and an index by which the oldest of one are found."""

import sqlalchemy as sa
from alembic import op

revision = "r0003"
down_revision = "r0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("logs_namespace_idx", "logs", ["namespace", "seq"])
    op.execute(sa.text("DELETE FROM totals WHERE name LIKE 'logs:%'"))
    op.execute(
        sa.text(
            "INSERT INTO totals (name, value) SELECT 'logs:' || namespace, SUM(size_bytes) FROM logs GROUP BY namespace"
        )
    )


def downgrade() -> None:
    """The totals stay: no earlier version looks at them, and a later one counts anew."""
    op.drop_index("logs_namespace_idx", "logs")
