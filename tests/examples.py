"""How many generated cases a test tries: few in every run, the same ones; many, and others each time, when it is to look deeper.

What goes in: `HYPOTHESIS_PROFILE=thorough` in the environment, or nothing.
"""

from __future__ import annotations

import os

import hypothesis

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


def examples(few: int) -> int:
    """The number of cases where `few` are enough for every run."""
    return few * 20 if THOROUGH else few


def load_profile() -> None:
    """Cases are the same in every run, so that a failure is a failure everywhere; the fixtures they share are only read."""
    checks = [hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile(
        "tests", deadline=None, derandomize=not THOROUGH, database=None, suppress_health_check=checks
    )
    hypothesis.settings.load_profile("tests")
