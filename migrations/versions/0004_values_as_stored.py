"""Texts that are looked up without the blanks at their ends, and times that were infinities, as this version stores them.

Two rows whose texts differ in such blanks alone stop the migration: which of them is right only people know.

Revision: 0004
After: 0003
"""

from typing import Any

import sqlalchemy as sa
from alembic import context, op
from alembic.util import CommandError

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
#: What it does depends on rows, so no script can be written of it beforehand.
looks_at_rows = True

#: Table, column, and whether it is unique.
TEXTS = (("customer", "name", False), ("customer", "email", True), ("item", "sku", True), ("item", "name", False))
# Control characters, spaces, separators, zero-width spaces and byte order marks.
BLANKS = "".join(map(chr, (*range(1, 33), *range(0x7F, 0xA1), 0x1680, 0x180E, *range(0x2000, 0x200C))))
BLANKS += "".join(map(chr, (0x2028, 0x2029, 0x202F, 0x205F, 0x2060, 0x3000, 0xFEFF)))


def upgrade() -> None:
    postgresql = op.get_context().dialect.name == "postgresql"
    trim = sa.func.btrim if postgresql else sa.func.trim
    for name, attribute, unique in TEXTS:
        table = sa.table(name, sa.column("id"), sa.column(attribute, sa.Text()))
        text = table.c[attribute]
        trimmed = trim(text, sa.literal(BLANKS, sa.Text()))
        if unique and not context.is_offline_mode():
            refuse_twins(name, attribute, sa.select(table.c.id, text, trimmed.label("trimmed")))
        op.execute(sa.update(table).where(text != trimmed, trimmed != "").values({attribute: trimmed}))
    if postgresql:
        op.execute("UPDATE orders SET order_date = '0001-01-01 00:00:00+00' WHERE order_date = '-infinity'")
        op.execute("UPDATE orders SET order_date = '9999-12-31 23:59:59.999999+00' WHERE order_date = 'infinity'")


def refuse_twins(table: str, attribute: str, texts: sa.Select[Any]) -> None:
    """Stop where rows would come to hold the same value."""
    rows = texts.subquery()
    twins = sa.select(rows.c.trimmed).where(rows.c.trimmed != "").group_by(rows.c.trimmed).having(sa.func.count() > 1)
    found = op.get_bind().execute(sa.select(rows).where(rows.c.trimmed.in_(twins)).order_by(rows.c.trimmed, rows.c.id)).all()
    if found:
        listed = ", ".join(f"{text!r} (id {key})" for key, text, _ in found)
        raise CommandError(
            f"the {attribute} of these rows of {table} differs in blanks at the ends alone: {listed}; change all but one"
        )


def downgrade() -> None:
    """What was cut off is not kept; the version before works with the values as they are."""
