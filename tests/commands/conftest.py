"""Commands as users run them, for the tests of each kind."""

from tests.test_commands import forks, run, run_anew, start

__all__ = ["forks", "run", "run_anew", "start"]
