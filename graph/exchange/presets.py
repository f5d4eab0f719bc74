"""What shops call things, and where they differ: the settings of an import, and presets for two data sets that many know.

What goes in: nothing. What comes out: `Terms`, and `PRESETS` by name. Nothing is refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Terms:
    """How the rows of a shop are understood.

    `source` names the numbering of orders whose rows do not say theirs. `called` leads from our names to the columns of order
    lines, `folder` does so by file of a folder and `files` to what these are called. `guest` is the address of orders without
    one, `zone` that of times without an offset, `status` that of orders which say nothing of theirs. `rounded` rounds prices to
    the currency's decimals, halves up; `negatives_left_out` leaves out lines of fewer pieces than none. Without either an order
    with such a line is refused. `price` is that of items whose file has none.
    """

    source: str = "import"
    called: Mapping[str, str] = field(default_factory=dict)
    folder: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    guest: str = ""
    zone: ZoneInfo | None = None
    status: str = ""
    rounded: bool = False
    negatives_left_out: bool = False
    price: str = ""


PRESETS = {
    # Microsoft's sample shop, as a folder of its tables.
    "northwind": Terms(
        source="northwind",
        files={"items": "products", "order_items": "order_details"},
        folder={
            "customers": {"email": "{customer_id}@northwind.example", "name": "company_name"},
            "items": {"sku": "NW-{product_id}", "name": "product_name", "price": "unit_price"},
            "orders": {"number": "order_id", "email": "{customer_id}@northwind.example", "shipped": "shipped_date"},
            "order_items": {
                "number": "order_id",
                "sku": "NW-{product_id}",
                "price_paid": "unit_price",
                "discount_rate": "discount",
            },
        },
        zone=UTC,
    ),
    # Chen, D. (2015). Online Retail. UCI Machine Learning Repository. https://doi.org/10.24432/C5BW33: one file of order lines,
    # or a folder of four tables.
    "online-retail": Terms(
        source="online-retail",
        called={
            "number": "InvoiceNo",
            "order_date": "InvoiceDate",
            "email": "{CustomerID}@online-retail.example",
            "customer_name": "Customer {CustomerID}",
            "sku": "StockCode",
            "item_name": "Description",
            "quantity": "Quantity",
            "price_paid": "UnitPrice",
        },
        folder={
            "customers": {"email": "{CustomerID}@online-retail.example", "name": "Customer {CustomerID}"},
            "orders": {"number": "InvoiceNo", "order_date": "placed_at", "email": "{customer_id}@online-retail.example"},
            "order_items": {"number": "InvoiceNo", "sku": "StockCode", "quantity": "Quantity", "price_paid": "UnitPrice"},
        },
        guest="guest@online-retail.example",
        zone=UTC,
        status="SHIPPED",
        rounded=True,
        price="0",
    ),
}
