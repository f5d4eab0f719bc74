"""The domain's tables: customer, item, orders, order_item.

Revision: 0001
After: nothing
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# A migration keeps the types it was written with, so it does not import them from graph.base.
key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
text = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
time = sa.DateTime(timezone=True)

INDEXES = {
    "customer": ["name", "created_at", "updated_at"],
    "item": ["name", "price", "stock", "created_at", "updated_at"],
    "orders": ["customer_id", "status", "order_date", "total_amount", "created_at", "updated_at"],
    "order_item": ["item_id"],
}


def create_table(name: str, *parts: Any) -> None:
    """A table with a key, the sentinel of bulk inserts, and ids that SQLite never gives twice."""
    op.create_table(
        name,
        sa.Column("id", key, sa.Identity(), nullable=False),
        *parts,
        sa.Column("_sentinel", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{name}")),
        sqlite_autoincrement=True,
    )
    for column in INDEXES[name]:
        op.create_index(op.f(f"ix_{name}_{column}_id"), name, [column, "id"])


def upgrade() -> None:
    create_table(
        "customer",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("name", text, nullable=False),
        sa.Column("email", text, nullable=False),
        sa.Column("created_at", time, nullable=False),
        sa.Column("updated_at", time, nullable=False),
        sa.Column("archived_at", time, nullable=True),
        sa.Column("archived_by", text, nullable=True),
        sa.UniqueConstraint("email", name=op.f("uq_customer_email")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_customer_version")),
    )
    create_table(
        "item",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("sku", text, nullable=False),
        sa.Column("name", text, nullable=False),
        sa.Column("price", sa.BigInteger(), nullable=False),
        sa.Column("stock", sa.Integer(), nullable=True),
        sa.Column("created_at", time, nullable=False),
        sa.Column("updated_at", time, nullable=False),
        sa.Column("archived_at", time, nullable=True),
        sa.Column("archived_by", text, nullable=True),
        sa.UniqueConstraint("sku", name=op.f("uq_item_sku")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_item_version")),
        sa.CheckConstraint("price >= 0 AND price <= 1000000000000", name=op.f("ck_item_price")),
        sa.CheckConstraint("stock >= 0", name=op.f("ck_item_stock")),
    )
    create_table(
        "orders",
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("number", text, sa.Computed("'SO-' || CAST(id AS TEXT)", persisted=True), nullable=False),
        sa.Column("customer_id", key, nullable=False),
        sa.Column("status", text, nullable=False),
        sa.Column("order_date", time, nullable=False),
        sa.Column("discount", sa.BigInteger(), nullable=False),
        sa.Column("total_amount", sa.BigInteger(), nullable=False),
        sa.Column("note", text, nullable=True),
        sa.Column("created_at", time, nullable=False),
        sa.Column("updated_at", time, nullable=False),
        sa.UniqueConstraint("number", name=op.f("uq_orders_number")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_orders_version")),
        sa.CheckConstraint("status IN ('PENDING', 'PAID', 'SHIPPED', 'CANCELLED')", name=op.f("ck_orders_status")),
        sa.CheckConstraint("discount >= 0", name=op.f("ck_orders_discount")),
        sa.CheckConstraint("total_amount >= 0", name=op.f("ck_orders_discount_within_subtotal")),
        sa.CheckConstraint("total_amount + discount <= 1000000000000000000", name=op.f("ck_orders_subtotal")),
        sa.ForeignKeyConstraint(["customer_id"], ["customer.id"], name=op.f("fk_orders_customer_id"), ondelete="CASCADE"),
    )
    create_table(
        "order_item",
        sa.Column("order_id", key, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("item_id", key, nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("price_paid", sa.BigInteger(), nullable=False),
        sa.UniqueConstraint("order_id", "position", name=op.f("uq_order_item_order_id_position")),
        sa.CheckConstraint("position >= 1", name=op.f("ck_order_item_position")),
        sa.CheckConstraint("quantity >= 1 AND quantity <= 100000", name=op.f("ck_order_item_quantity")),
        sa.CheckConstraint("price_paid >= 0 AND price_paid <= 1000000000000", name=op.f("ck_order_item_price_paid")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("fk_order_item_order_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["item_id"], ["item.id"], name=op.f("fk_order_item_item_id"), ondelete="RESTRICT"),
    )


def downgrade() -> None:
    for name in reversed(INDEXES):
        op.drop_table(name)
