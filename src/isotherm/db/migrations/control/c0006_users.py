"""Users, their roles and sessions, keys that sign access tokens; scopes and descriptions of keys."""

import sqlalchemy as sa
from alembic import op

revision = "c0006"
down_revision = "c0005"
branch_labels = None
depends_on = None

_big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("version", _big, nullable=False),
        sa.Column("password", sa.LargeBinary),
        sa.Column("invitation", sa.Text),
        sa.Column("invitation_until_ms", _big),
        sa.Column("created_at_ms", _big, nullable=False),
        sa.Column("password_at_ms", _big),
        sa.Column("last_login_at_ms", _big),
        sa.UniqueConstraint("name", name="uq_users_name"),
    )
    op.create_index("users_invitation_idx", "users", ["invitation"], unique=True)
    op.create_table(
        "grants",
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("namespace", sa.Text, primary_key=True),
        sa.Column("role", sa.Text, nullable=False),
    )
    op.create_index("grants_namespace_idx", "grants", ["namespace", "user_id"])
    op.create_table(
        "sessions",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, sa.ForeignKey("users.id", ondelete="CASCADE"), nullable=False),
        sa.Column("version", _big, nullable=False),
        sa.Column("generation", _big, nullable=False),
        sa.Column("salt", sa.Text, nullable=False),
        sa.Column("created_at_ms", _big, nullable=False),
        sa.Column("used_at_ms", _big, nullable=False),
        sa.Column("ended_at_ms", _big),
    )
    op.create_index("sessions_user_idx", "sessions", ["user_id", "used_at_ms"])
    op.create_index("sessions_used_idx", "sessions", ["used_at_ms"])
    op.create_table(
        "token_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("private", sa.LargeBinary, nullable=False),
        sa.Column("public", sa.LargeBinary, nullable=False),
        sa.Column("created_at_ms", _big, nullable=False),
    )
    op.create_table(
        "login_attempts",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("failures", _big, nullable=False),
        sa.Column("at_ms", _big, nullable=False),
        sa.Column("until_ms", _big, nullable=False),
        sa.Column("user_id", sa.Text),
        sa.Column("told", sa.Boolean, nullable=False),
    )
    op.create_index("login_attempts_at_idx", "login_attempts", ["at_ms"])
    op.create_table(
        "key_uses",
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("at_ms", _big, nullable=False),
    )
    op.create_table(
        "key_scopes",
        sa.Column("key_id", sa.Text, primary_key=True),
        sa.Column("scopes", sa.Text),
        sa.Column("description", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Users are gone with it, and so are keys that scopes narrow: to an Isotherm of before they would open all that
    their role does."""
    op.execute(
        "INSERT INTO desired_changes (kind, item_id) SELECT 'key', key_id FROM key_scopes WHERE scopes IS NOT NULL"
    )
    op.execute("DELETE FROM keys WHERE id IN (SELECT key_id FROM key_scopes WHERE scopes IS NOT NULL)")
    for name in ("key_scopes", "key_uses", "login_attempts", "token_keys", "sessions", "grants", "users"):
        op.drop_table(name)
