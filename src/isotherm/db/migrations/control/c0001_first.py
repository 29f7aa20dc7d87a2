"""The first schema of the control database."""

import sqlalchemy as sa
from alembic import op

revision = "c0001"
down_revision = None
branch_labels = None
depends_on = None

_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _database()
    _events()
    _tenancy()
    _workloads()


def _database() -> None:
    op.create_table("meta", sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False))
    op.create_table(
        "desired_changes",
        sa.Column("version", _big, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("item_id", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("id", _big, primary_key=True, autoincrement=True),
        sa.Column("originator_id", sa.Text, nullable=False),
        sa.Column("originator_version", _big, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.Column("at_ms", _big, nullable=False),
        sa.Column("principal_id", sa.Text, nullable=False),
        sa.Column("namespace", sa.Text),
    )
    op.create_index("events_aggregate_idx", "events", ["originator_id", "originator_version"], unique=True)
    op.create_index("ix_events_namespace", "events", ["namespace"])
    op.create_table(
        "snapshots",
        sa.Column("originator_id", sa.Text, primary_key=True),
        sa.Column("originator_version", _big, primary_key=True),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
    )


def _tenancy() -> None:
    op.create_table(
        "namespaces",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("created_at_ms", _big, nullable=False),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("principal_id", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("access_key_id", sa.Text, nullable=False),
        sa.Column("secrets", sa.LargeBinary, nullable=False),
        sa.Column("created_at_ms", _big, nullable=False),
        sa.Column("expires_at_ms", _big),
        sa.UniqueConstraint("digest", name="uq_keys_digest"),
        sa.UniqueConstraint("access_key_id", name="uq_keys_access_key_id"),
    )
    op.create_index("keys_namespace_idx", "keys", ["namespace", "id"])


def _workloads() -> None:
    op.create_table(
        "workloads",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("namespace", sa.Text, sa.ForeignKey("namespaces.name"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", _big, nullable=False),
        sa.Column("created_at_ms", _big, nullable=False),
        sa.Column("updated_at_ms", _big, nullable=False),
        sa.Column("latest", sa.Integer, nullable=False),
        sa.Column("live", sa.LargeBinary, nullable=False),
        sa.Column("public", sa.Boolean, nullable=False),
        sa.Column("route", sa.LargeBinary),
        sa.UniqueConstraint("namespace", "name", name="uq_workloads_namespace_name"),
    )
    op.create_table(
        "revisions",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("workload_id", sa.Text, sa.ForeignKey("workloads.id", ondelete="CASCADE"), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("callable", sa.Boolean, nullable=False),
        sa.Column("package", sa.Text, nullable=False),
        sa.Column("env", sa.LargeBinary),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("workload_id", "number", name="uq_revisions_workload_id_number"),
    )
    op.create_index("revisions_state_idx", "revisions", ["state"])
    op.create_index("revisions_package_idx", "revisions", ["package"])
    op.create_table(
        "aliases",
        sa.Column("workload_id", sa.Text, sa.ForeignKey("workloads.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("weights", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "packages",
        sa.Column("namespace", sa.Text, sa.ForeignKey("namespaces.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("size_bytes", _big, nullable=False),
        sa.Column("files", sa.Integer, nullable=False),
        sa.Column("requirements", sa.Text),
        sa.Column("uploaded_at_ms", _big, nullable=False),
    )


def downgrade() -> None:
    """All of it, what refers to others first."""
    for name in ("packages", "aliases", "revisions", "workloads", "keys", "namespaces", "snapshots", "events"):
        op.drop_table(name)
    op.drop_table("desired_changes")
    op.drop_table("meta")
