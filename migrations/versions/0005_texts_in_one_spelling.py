"""Texts that mean the same, as this version spells them: composed, and e-mail addresses with their domain as UTS 46 maps it.

Where rows would come to hold the same unique value, all of them stay as they are and are listed: which of them is right only
people know. So do those whose value this version refuses. `docs/texts.md` says how both are reached and mended.

The spelling is the product's own and no copy of it: rows must have the form in which they are looked for.

Revision: 0005
After: 0004
"""

from collections import defaultdict
from collections.abc import Callable, Iterator

import sqlalchemy as sa
from alembic import context, op

from graph.texts import Email, Trimmed, code, email_address

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
#: What it does depends on rows, so no script can be written of it beforehand.
looks_at_rows = True

#: Table, column, its type, and what judges the values of one that is unique.
TEXTS: tuple[tuple[str, str, Trimmed, Callable[[str], str | None] | None], ...] = (
    ("customer", "name", Trimmed(), None),
    ("customer", "email", Email(), email_address),
    ("item", "sku", Trimmed(), code),
    ("item", "name", Trimmed(), None),
)
#: Rows that are read or written at once.
STEP = 5_000


def upgrade() -> None:
    if context.is_offline_mode():
        return  # a script has no rows to look at
    if op.get_context().dialect.name == "postgresql":
        op.execute("LOCK TABLE customer, item IN SHARE ROW EXCLUSIVE MODE")  # nobody takes a spelling meanwhile; reads go on
    for name, attribute, type_, rule in TEXTS:
        table = sa.table(name, sa.column("id", sa.BigInteger()), sa.column(attribute, sa.Text()))
        respell(table, table.c[attribute], type_, rule)


def respell(
    table: sa.TableClause, column: sa.ColumnClause[str], type_: Trimmed, rule: Callable[[str], str | None] | None
) -> None:
    """Bring a column into its form, and list what stays as it is."""
    place = f"{table.name}.{column.name}"
    changes: dict[str, dict[int, str]] = defaultdict(dict)
    for key, text in rows_of(table, column):
        normal = type_.normal(text)
        reason = rule(normal) if rule else None
        if reason is not None:
            listed(f"{place} of id {key} stays as it is: {text!a} {reason}")
        if normal != text:
            changes[normal][key] = text
    if rule is not None:
        for normal, there in having(table, column, list(changes)):
            changes[normal][there] = normal
        for normal in [normal for normal, spelled in changes.items() if len(spelled) > 1]:
            spellings = ", ".join(f"{text!a} (id {key})" for key, text in sorted(changes.pop(normal).items()))
            listed(f"{place} of these rows is one to the eye, and they stay as they are: {spellings}")
    written = [{"row": key, "text": normal} for normal, spelled in changes.items() for key in spelled]
    update = sa.update(table).where(table.c.id == sa.bindparam("row")).values({column: sa.bindparam("text")})
    for start in range(0, len(written), STEP):
        op.get_bind().execute(update, written[start : start + STEP])


def rows_of(table: sa.TableClause, column: sa.ColumnClause[str]) -> Iterator[tuple[int, str]]:
    """Key and text of every row."""
    last = 0
    while True:
        page = sa.select(table.c.id, column).where(table.c.id > last).order_by(table.c.id).limit(STEP)
        found = op.get_bind().execute(page).all()
        if not found:
            return
        last = found[-1][0]
        yield from ((key, text) for key, text in found)


def having(table: sa.TableClause, column: sa.ColumnClause[str], texts: list[str]) -> Iterator[tuple[str, int]]:
    """The rows that have these texts already."""
    for start in range(0, len(texts), STEP):
        among = sa.select(column, table.c.id).where(column.in_(texts[start : start + STEP]))
        yield from ((text, key) for text, key in op.get_bind().execute(among).all())


def listed(line: str) -> None:
    context.config.print_stdout(line)


def downgrade() -> None:
    """How texts were spelled is not kept; the version before works with the values as they are. Going up again lists again."""
