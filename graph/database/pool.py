"""The pool of connections.

What goes in: what SQLAlchemy hands to pools. What comes out: connections, none that was opened before all were given up.
"""

from __future__ import annotations

from time import time

import sqlalchemy as sa


class Pool(sa.AsyncAdaptedQueuePool):
    """Connections that may be given up together: what one has met, a server that is gone or only to be read, others meet too."""

    def distrust(self) -> None:
        """Use no connection again that was opened before; at most once a second, or a database that refuses is stormed."""
        now = time()
        if not self._invalidate_time <= now < self._invalidate_time + 1:
            self._invalidate_time = now
