"""What was used of late: a bounded number of things of a bounded weight.

What goes in: values by key, each with its weight. What comes out: those that are still kept. Nothing is refused here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """A dict of bounded size and weight: what was used least recently goes first."""

    def __init__(self, size: int, weight: int) -> None:
        self._size = size
        self._weight = weight
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self.weight = 0

    def get(self, key: K) -> V | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        self._kept.move_to_end(key)
        return kept[0]

    def put(self, key: K, value: V, weight: int) -> None:
        if weight > self._weight // 10:
            return  # one giant must not push out everything else
        self.weight += weight - self._kept.pop(key, (value, 0))[1]
        self._kept[key] = (value, weight)
        while len(self._kept) > self._size or self.weight > self._weight:
            _, (_, gone) = self._kept.popitem(last=False)
            self.weight -= gone

    def drop(self, is_over: Callable[[K], bool]) -> None:
        """Keep no more of what is over."""
        for key in [key for key in self._kept if is_over(key)]:
            self.weight -= self._kept.pop(key)[1]

    def __len__(self) -> int:
        return len(self._kept)
