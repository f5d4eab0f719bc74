"""Sums and means of amounts that are exact however many there are: `numeric` on PostgreSQL, two limbs on SQLite.

What goes in: expressions of whole amounts, none of them negative. What comes out: `TOTAL`, the type of a sum, which compares and
sorts as a number, and `ExactSum` and `ExactMean`. What may be refused here: nothing. SQLite's own `sum` ends in an error beyond
2^63, which ten orders can reach, and its `avg` is a float.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from sqlalchemy import BigInteger, Dialect, Numeric, Text, TypeDecorator
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

#: Digits of the greatest sum: that of 10^12 amounts of 10^18.
DIGITS = 30
#: Amounts are summed by their last nine digits and by the rest: 10^9 amounts leave room in either sum.
LIMB_DIGITS = 9
LIMB = 10**LIMB_DIGITS


class Total(TypeDecorator[int]):
    """A sum of amounts as `numeric`."""

    impl = Numeric
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> Decimal | None:
        return None if value is None else Decimal(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        return None if value is None else int(value)


class FixedWidth(TypeDecorator[int]):
    """A sum of amounts as text of fixed width, which sorts as the number does."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        # No sum is negative: what is compared with one need only be less.
        return "-" if value < 0 else f"{min(value, 10**DIGITS - 1):0{DIGITS}}"

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:
        return None if value is None else int(value)


TOTAL = Total().with_variant(FixedWidth(), "sqlite")


class ExactSum(GenericFunction[int]):
    """The sum of amounts; NULL where there is none."""

    type = TOTAL
    inherit_cache = True
    name = "exact_sum"


class ExactMean(GenericFunction[int]):
    """The mean of amounts, rounded half up; NULL where there is none."""

    type = BigInteger()
    inherit_cache = True
    name = "exact_mean"


def _amount(element: Any, compiler: Any, **kw: Any) -> str:
    return str(compiler.process(next(iter(element.clauses)), **kw))


def _limbs(amount: str) -> tuple[str, str]:
    # Most amounts have no high limb: to ask costs a third of adding another zero.
    high = f"sum(({amount}) / {LIMB}) FILTER (WHERE ({amount}) >= {LIMB})"
    return f"coalesce({high}, 0)", f"sum(({amount}) % {LIMB})"


@compiles(ExactSum)
def _sum(element: ExactSum, compiler: Any, **kw: Any) -> str:
    return f"sum({_amount(element, compiler, **kw)})"


@compiles(ExactSum, "sqlite")
def _sum_sqlite(element: ExactSum, compiler: Any, **kw: Any) -> str:
    high, low = _limbs(_amount(element, compiler, **kw))
    form = f"%0{DIGITS - LIMB_DIGITS}d%0{LIMB_DIGITS}d"
    return f"CASE WHEN {low} IS NOT NULL THEN printf('{form}', {high} + {low} / {LIMB}, {low} % {LIMB}) END"


@compiles(ExactMean)
def _mean(element: ExactMean, compiler: Any, **kw: Any) -> str:
    amount = _amount(element, compiler, **kw)
    return f"div(sum({amount}) * 2 + count({amount}), count({amount}) * 2)"


@compiles(ExactMean, "sqlite")
def _mean_sqlite(element: ExactMean, compiler: Any, **kw: Any) -> str:
    amount = _amount(element, compiler, **kw)
    (high, low), number = _limbs(amount), f"count({amount})"
    return f"({high} / {number} * {LIMB} + (({high} % {number} * {LIMB} + {low}) * 2 + {number}) / ({number} * 2))"
