"""Receipts of decisions on warmth; what the policy has to know after a restart."""

import sqlalchemy as sa
from alembic import op

revision = "r0005"
down_revision = "r0004"
branch_labels = None
depends_on = None

_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "receipts",
        sa.Column("seq", _big, primary_key=True, autoincrement=True),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("revision_id", sa.Text, nullable=False),
        sa.Column("at_ms", _big, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("receipts_name_idx", "receipts", ["namespace", "name", "seq"])
    op.create_index("receipts_revision_idx", "receipts", ["revision_id", "at_ms"])
    op.create_table(
        "policy_state",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("at_ms", _big, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("policy_state")
    op.drop_index("receipts_revision_idx", "receipts")
    op.drop_index("receipts_name_idx", "receipts")
    op.drop_table("receipts")
