"""Which order came from where.

Revision: 0008
After: 0007
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
text = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "order_source",
        sa.Column("source", text, nullable=False),
        sa.Column("number", text, nullable=False),
        sa.Column("order_id", key, nullable=False),
        sa.Column("fingerprint", text, nullable=False),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_order_source_order_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("source", "number", name=op.f("pk_order_source")),
        sa.UniqueConstraint("order_id", name=op.f("uq_order_source_order_id")),
    )


def downgrade() -> None:
    op.drop_table("order_source")
