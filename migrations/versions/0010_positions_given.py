"""Only changes that have a position stand in the indexes by it, on PostgreSQL, where one is given after its row was written.

SQLite has no change without a position, and finds the greatest by an index over all rows alone.

Revision: 0010
After: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

GIVEN = sa.text("position IS NOT NULL")


def indexed(where: sa.TextClause | None) -> None:
    if op.get_context().dialect.name != "postgresql":
        return
    position, of_root = op.f("ix_changes_position"), op.f("ix_changes_root_type_root_position")
    for name in (position, of_root):
        op.drop_index(name, table_name="changes")
    op.create_index(position, "changes", ["position"], unique=True, postgresql_where=where)
    op.create_index(of_root, "changes", ["root_type", "root", "position"], postgresql_where=where)


def upgrade() -> None:
    indexed(GIVEN)


def downgrade() -> None:
    indexed(None)
