"""How many cases a test tries that has more than a run has time for: few, all, or many more.

What goes in: `HYPOTHESIS_PROFILE` in the environment. Without it a run tries few cases, the same ones each time. `all` is what
.ci/run asks for: every case of those that can be counted, three times as many generated ones. `thorough` looks deeper: sixty
times as many generated ones, others each time.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any, TypeVar

import hypothesis

T = TypeVar("T")

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "")
THOROUGH = PROFILE == "thorough"
ALL = THOROUGH or PROFILE == "all"


def examples(many: int) -> int:
    """The number of generated cases where `many` are enough for .ci/run."""
    return many * 20 if THOROUGH else many if ALL else -(-many // 3)


def some(cases: Iterable[T], of: Any, part: int) -> Sequence[T]:
    """Of cases that follow each other and are `of` the same one in `part`, at least one; under .ci/run all of them."""
    if ALL:
        return list(cases)
    chance = random.Random(7)
    groups = (list(group) for _, group in groupby(cases, of))
    return [case for group in groups for case in chance.sample(group, -(-len(group) // part))]


def load_profile() -> None:
    """Cases are the same in every run, so that a failure is a failure everywhere; the fixtures they share are only read."""
    checks = [hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile(
        "tests", deadline=None, derandomize=not THOROUGH, database=None, suppress_health_check=checks
    )
    hypothesis.settings.load_profile("tests")
