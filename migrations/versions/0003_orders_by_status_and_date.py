"""An index for orders of one status in order of their date.

Revision: 0003
After: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INDEX = "ix_orders_status_order_date_id"


def upgrade() -> None:
    op.create_index(op.f(INDEX), "orders", ["status", "order_date", "id"])


def downgrade() -> None:
    op.drop_index(op.f(INDEX), table_name="orders")
