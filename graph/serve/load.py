"""A connection as load: one request of it counts at a time, since those behind it wait for it and keep nobody else waiting.

What goes in: requests that were admitted and read, and answers that are complete. What comes out: what `graph.serve.admission`
counts. Nothing is refused here.
"""

from __future__ import annotations

from typing import ClassVar

from graph.serve.admission import Admission


class Load:
    """What uvicorn's protocol lacks for its load to be known."""

    admission: ClassVar[Admission]
    unanswered = 0  # requests that were read and admitted

    def _asked(self) -> None:
        """One more is to be answered."""
        self.unanswered += 1
        if self.unanswered == 1:
            self.admission.began()

    def _answered(self) -> None:
        """The first of them is, if there is one."""
        if self.unanswered:
            self.unanswered -= 1
            self.admission.ended()
            if self.unanswered:
                self.admission.began()

    def _forget(self) -> None:
        """None will be answered any more."""
        if self.unanswered:
            self.unanswered = 0
            self.admission.ended()
