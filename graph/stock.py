"""Stock: what everybody refuses who moves it, orders and the catalog alike.

What goes in: how many pieces are wanted and there. What comes out: errors for a payload. Nothing is refused here.
"""

from __future__ import annotations

from collections.abc import Iterable

import strawberry

from graph.read.types.permissions import NOT_TOLD
from graph.scope import BOUND, Scope
from graph.write.errors import ErrorCode, InvalidInputError, MutationError, Path, discriminator, invalid

#: What the column of the stock and GraphQL's Int hold.
MOST_PIECES = 2**31 - 1


@strawberry.type(description="There are not as many pieces in stock.")
class StockError(MutationError):
    code: ErrorCode = discriminator(ErrorCode.OUT_OF_STOCK)
    requested: int = strawberry.field(description="How many pieces the whole input takes.")
    available: int | None = strawberry.field(description="How many there are.", metadata=NOT_TOLD)


def out_of_stock(scope: Scope, requested: int, available: int, path: Iterable[str]) -> StockError:
    """There are not as many pieces, and how many there are is not told to bound viewers.

    Lines of one item may together ask for more than an Int holds.
    """
    told = None if scope.kind == BOUND else available
    message = f"{requested} wanted, {'fewer' if told is None else told} in stock"
    return StockError(message=message, path=list(path), requested=min(requested, MOST_PIECES), available=told)


def over_stocked(path: Path) -> InvalidInputError:
    """There would be more pieces than a counter holds."""
    return invalid(path, f"must not take the stock above {MOST_PIECES:,}")
