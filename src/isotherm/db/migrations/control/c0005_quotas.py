"""Quotas of namespaces."""

import sqlalchemy as sa
from alembic import op

revision = "c0005"
down_revision = "c0004"
branch_labels = None
depends_on = None

_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "quotas",
        sa.Column("namespace", sa.Text, sa.ForeignKey("namespaces.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("version", _big, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    op.drop_table("quotas")
