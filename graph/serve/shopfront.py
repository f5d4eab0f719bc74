"""What requests to one database meet: who is let in there, and what is told there as it happens.

What goes in: a database, and what all of a process share. What comes out: its parts. Nothing is refused here.
"""

from __future__ import annotations

from graph.access.gatekeeper import Gatekeeper
from graph.database import Database
from graph.feed.sequence import Sequencer
from graph.operations.engine import Engine
from graph.operations.subscriptions import Broadcast


class Shopfront:
    """The one of a database. Without a gatekeeper everybody is let in."""

    def __init__(self, engine: Engine, database: Database, gatekeeper: Gatekeeper | None, sequencer: Sequencer) -> None:
        self.database = database
        self.gatekeeper = gatekeeper
        self.sequencer = sequencer
        self.subscriptions = Broadcast(engine, database, sequencer)
