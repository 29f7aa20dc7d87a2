"""Secrets of namespaces, and which revisions refer to them."""

import sqlalchemy as sa
from alembic import op

revision = "c0003"
down_revision = "c0002"
branch_labels = None
depends_on = None

_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "secrets",
        sa.Column("namespace", sa.Text, sa.ForeignKey("namespaces.name"), primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", _big, nullable=False),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("created_at_ms", _big, nullable=False),
        sa.Column("updated_at_ms", _big, nullable=False),
    )
    op.create_table(
        "secret_uses",
        sa.Column("revision_id", sa.Text, sa.ForeignKey("revisions.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("secret", sa.Text, primary_key=True),
        sa.Column("namespace", sa.Text, nullable=False),
    )
    op.create_index("secret_uses_secret_idx", "secret_uses", ["namespace", "secret"])


def downgrade() -> None:
    """The values are gone with it."""
    op.drop_table("secret_uses")
    op.drop_table("secrets")
