"""The outbox of changes, and the last position given there.

Revision: 0006
After: 0005
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
text = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "changes",
        sa.Column("id", key, sa.Identity(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("kind", text, nullable=False),
        sa.Column("type", text, nullable=False),
        sa.Column("key", sa.BigInteger(), nullable=True),
        sa.Column("root_type", text, nullable=False),
        sa.Column("root", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("changed", text, nullable=False),
        sa.Column("owner_before", sa.BigInteger(), nullable=True),
        sa.Column("owner_after", sa.BigInteger(), nullable=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("mutation", text, nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by", text, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_changes")),
        sqlite_autoincrement=True,
    )
    given = sa.text("position IS NOT NULL")
    op.create_index(op.f("ix_changes_position"), "changes", ["position"], unique=True, postgresql_where=given)
    of_root = ["root_type", "root", "position"]
    op.create_index(op.f("ix_changes_root_type_root_position"), "changes", of_root, postgresql_where=given)
    waiting = sa.text("position IS NULL")
    op.create_index("ix_changes_waiting", "changes", ["id"], postgresql_where=waiting, sqlite_where=waiting)
    head = op.create_table(
        "changes_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_changes_head")),
    )
    op.bulk_insert(head, [{"id": 1, "position": 0}])


def downgrade() -> None:
    op.drop_table("changes_head")
    op.drop_table("changes")
