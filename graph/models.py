"""The domain's tables: Customer, Item, Order, OrderItem.

What goes in: rows. What comes out: the mapped classes, their constraints, cascades and derived values, which are the
one source of the GraphQL types, the error mapping and the migrations. What may be refused here: whatever a
constraint refuses; every constraint is named, and the names reach clients in `MutationError`.

Parents and children are written from one side, the parent's list, which owns the cascade; the way back is for reading
(`viewonly`). The unit of work would process the second side of every row for nothing: an eighth of a nested create.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    Computed,
    ForeignKey,
    Index,
    UniqueConstraint,
    and_,
    case,
    func,
    literal,
    literal_column,
    select,
)
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column, relationship

from graph.base import (
    MAX_PRICE,
    MAX_QUANTITY,
    MAX_SUBTOTAL,
    Base,
    Bounds,
    Cents,
    Choice,
    Code,
    Created,
    Key,
    Name,
    Updated,
    Utc,
    beside,
    between,
    kind_of_viewer,
)
from graph.scope import BOUND
from graph.sums import TOTAL, ExactSum
from graph.texts import CodePointText, Email, email_address, not_blank


class OrderStatus(enum.StrEnum):
    PENDING = "PENDING"
    PAID = "PAID"
    SHIPPED = "SHIPPED"
    CANCELLED = "CANCELLED"


#: Which status an order may move to from which.
TRANSITIONS: dict[OrderStatus, tuple[OrderStatus, ...]] = {
    OrderStatus.PENDING: (OrderStatus.PAID, OrderStatus.CANCELLED),
    OrderStatus.PAID: (OrderStatus.SHIPPED, OrderStatus.CANCELLED),
    OrderStatus.SHIPPED: (),
    OrderStatus.CANCELLED: (),
}


#: The same for viewers who belong to a customer: they may cancel what is not paid.
BOUND_TRANSITIONS = {**dict.fromkeys(OrderStatus, ()), OrderStatus.PENDING: (OrderStatus.CANCELLED,)}


def transitions(kind: str) -> Mapping[OrderStatus, tuple[OrderStatus, ...]]:
    """Which status a kind of viewer may move an order to from which."""
    return BOUND_TRANSITIONS if kind == BOUND else TRANSITIONS


#: What the totals of an order are made of.
LINE_VALUES = ("items.quantity", "items.price_paid")


def table_args(*args: Any) -> tuple[Any, ...]:
    """Constraints and indexes of a table; a deleted row's id is never given again on SQLite."""
    return (*args, {"sqlite_autoincrement": True})


class Customer(Base):
    __tablename__ = "customer"

    id: Mapped[Key]
    version: Mapped[int] = mapped_column(default=1)
    name: Mapped[Name]
    email: Mapped[str] = mapped_column(Email, info={"rule": email_address, "width": 254})
    created_at: Mapped[Created]
    updated_at: Mapped[Updated]
    archived_at: Mapped[Utc | None]
    archived_by: Mapped[str | None]

    orders: Mapped[list[Order]] = relationship(
        back_populates="customer",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="Order.id",
        lazy="raise",
    )

    __table_args__ = table_args(
        UniqueConstraint("email"),
        between("version", 1),
        Index(None, "name", "id"),
        Index(None, "created_at", "id"),
        Index(None, "updated_at", "id"),
    )

    @hybrid_property
    def archived(self) -> bool:
        return self.archived_at is not None

    @archived.inplace.expression
    @classmethod
    def _archived(cls) -> ColumnElement[bool]:
        return cls.archived_at.is_not(None)

    @hybrid_property
    def order_count(self) -> int:
        return len(self.orders)

    @order_count.inplace.expression
    @classmethod
    def _order_count(cls) -> ColumnElement[int]:
        orders = beside(cls, Order)
        return select(func.count()).where(orders.customer_id == cls.id).correlate_except(orders).scalar_subquery()

    @hybrid_property
    def total_spent(self) -> int:
        return sum(order.total_amount for order in self.orders if order.status in (OrderStatus.PAID, OrderStatus.SHIPPED))

    @total_spent.inplace.expression
    @classmethod
    def _total_spent(cls) -> ColumnElement[int]:
        orders = beside(cls, Order)
        paid = orders.status.in_([OrderStatus.PAID, OrderStatus.SHIPPED])
        total = func.coalesce(ExactSum(orders.total_amount), literal(0, TOTAL))
        return select(total).where(and_(orders.customer_id == cls.id, paid)).correlate_except(orders).scalar_subquery()


class Item(Base):
    __tablename__ = "item"

    id: Mapped[Key]
    version: Mapped[int] = mapped_column(default=1)
    sku: Mapped[Code]
    name: Mapped[Name]
    price: Mapped[Cents]
    stock: Mapped[int | None] = mapped_column(info={"counter": True})
    created_at: Mapped[Created]
    updated_at: Mapped[Updated]
    archived_at: Mapped[Utc | None]
    archived_by: Mapped[str | None]

    order_items: Mapped[list[OrderItem]] = relationship(
        back_populates="item", passive_deletes="all", order_by="OrderItem.id", lazy="raise"
    )

    __table_args__ = table_args(
        UniqueConstraint("sku"),
        between("version", 1),
        between("price", 0, MAX_PRICE),
        between("stock", 0),
        Index(None, "name", "id"),
        Index(None, "price", "id"),
        Index(None, "stock", "id"),
        Index(None, "created_at", "id"),
        Index(None, "updated_at", "id"),
    )

    @hybrid_property
    def archived(self) -> bool:
        return self.archived_at is not None

    @archived.inplace.expression
    @classmethod
    def _archived(cls) -> ColumnElement[bool]:
        return cls.archived_at.is_not(None)


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[Key]
    version: Mapped[int] = mapped_column(default=1)
    number: Mapped[str] = mapped_column(
        CodePointText, Computed("'SO-' || CAST(id AS TEXT)", persisted=True), info={"rule": not_blank, "width": 22}
    )
    customer_id: Mapped[int] = mapped_column(ForeignKey("customer.id", ondelete="CASCADE"))
    status: Mapped[OrderStatus] = mapped_column(Choice(OrderStatus), default=OrderStatus.PENDING)
    order_date: Mapped[Created]
    discount: Mapped[Cents] = mapped_column(default=0)
    total_amount: Mapped[Cents] = mapped_column(default=0)
    note: Mapped[str | None]
    created_at: Mapped[Created]
    updated_at: Mapped[Updated]

    customer: Mapped[Customer] = relationship(back_populates="orders", viewonly=True, lazy="raise")
    items: Mapped[list[OrderItem]] = relationship(
        back_populates="order",
        cascade="all, delete-orphan",
        passive_deletes=True,
        order_by="OrderItem.position",
        lazy="raise",
    )

    __table_args__ = table_args(
        UniqueConstraint("number"),
        between("version", 1),
        CheckConstraint(f"status IN ({', '.join(repr(s.value) for s in OrderStatus)})", name="status"),
        between("discount", 0),
        # total_amount = subtotal - discount, so this is "the discount is at most the subtotal".
        CheckConstraint(
            "total_amount >= 0",
            name="discount_within_subtotal",
            info={"bounds": Bounds("discount", maximum="subtotal"), "fields": ("discount", "items"), "made_of": LINE_VALUES},
        ),
        between("subtotal", maximum=MAX_SUBTOTAL, sql="total_amount + discount", fields=("items",), made_of=LINE_VALUES),
        Index(None, "customer_id", "id"),
        Index(None, "status", "id"),
        Index(None, "status", "order_date", "id"),
        Index(None, "order_date", "id"),
        Index(None, "total_amount", "id"),
        Index(None, "created_at", "id"),
        Index(None, "updated_at", "id"),
    )

    @hybrid_property
    def subtotal(self) -> int:
        return self.total_amount + self.discount

    @hybrid_property
    def allowed_transitions(self) -> Sequence[OrderStatus]:
        return TRANSITIONS[self.status]

    @allowed_transitions.inplace.expression
    @classmethod
    def _allowed_transitions(cls) -> ColumnElement[str]:
        """The list as JSON text, which a compiled read carries through."""
        allowed = transitions(kind_of_viewer(cls))
        lists: dict[str, ColumnElement[str]] = {
            status.value: literal_column(f"'{json.dumps(allowed[status])}'", CodePointText) for status in OrderStatus
        }
        return case(lists, value=cls.status)


class OrderItem(Base):
    __tablename__ = "order_item"
    __root__ = "order"

    id: Mapped[Key]
    order_id: Mapped[int] = mapped_column(ForeignKey("orders.id", ondelete="CASCADE"))
    position: Mapped[int]
    item_id: Mapped[int] = mapped_column(ForeignKey("item.id", ondelete="RESTRICT"))
    quantity: Mapped[int]
    price_paid: Mapped[Cents] = mapped_column(info={"made": True})  # the item's price

    order: Mapped[Order] = relationship(back_populates="items", viewonly=True, lazy="raise")
    item: Mapped[Item] = relationship(back_populates="order_items", viewonly=True, lazy="raise")

    __table_args__ = table_args(
        UniqueConstraint("order_id", "position"),
        between("position", 1),
        between("quantity", 1, MAX_QUANTITY),
        between("price_paid", 0, MAX_PRICE, made_of=("item.price",)),
        Index(None, "item_id", "id"),
    )

    @hybrid_property
    def line_total(self) -> int:
        return self.quantity * self.price_paid
