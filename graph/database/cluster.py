"""The servers of a database, as one process reaches them: all its shops have the same.

What goes in: settings, where the database is. What comes out: `Cluster`: the connections to the primary, the replicas, the line
of those who will write. What may be refused here: `SettingsError` for replicas that cannot be; when probed, `Unavailable`.
"""

from __future__ import annotations

from dataclasses import replace

from graph.database.backends import backend_of, configured_replicas
from graph.database.flushes import send_before
from graph.database.heartbeat import Heartbeat
from graph.database.places import place_of
from graph.database.protocol import DatabaseUrl
from graph.database.replicas import Replicas, Standby
from graph.database.shop_names import REGISTRY_SCHEMA
from graph.database.telling import Watch
from graph.database.turns import Turns
from graph.settings import Settings

#: Mutations that are prepared at once for each connection that can write. One that is refused in the end costs as much as one
#: that writes, so a crowd that waited there would leave those whose turn comes no time.
AHEAD = 16


class Cluster:
    """The connections of one process to a primary and its replicas; to a file."""

    def __init__(self, settings: Settings, target: DatabaseUrl) -> None:
        backend = backend_of(target)
        system = backend.CAPABILITIES.system
        self.target = target
        self.primary = backend.connect(target, settings)
        #: What may write soon: the others wait here, where a request costs nothing yet, and not before a connection.
        self.line = Turns(AHEAD * self.primary.turns.connections, settings.pool_timeout_seconds, "line of writers")
        self.watch = Watch(self.primary.engine, system)
        if backend.CAPABILITIES.writes_in_queries:
            send_before(self.primary.engine.dialect)
        self.replicas: Replicas | None = None
        if settings.replica_urls:
            pulse = backend.connect(target, replace(settings, pool_size=1))  # beats stand behind nobody in a line
            standbys = [(backend.connect(each, settings), each.shown) for each in configured_replicas(settings)]
            place = place_of(REGISTRY_SCHEMA) if settings.shops else ""
            self.replicas = Replicas(
                [Standby(server, Watch(server.engine, system), shown) for server, shown in standbys],
                Heartbeat(pulse, settings.replica_max_lag_seconds, place=place),
            )

    async def beat(self) -> None:
        """Tell replicas the time until cancelled, where there are any."""
        if self.replicas is not None:
            await self.replicas.heartbeat.run()

    async def probe(self) -> None:
        """See that connections are what the settings say. Raises `Unavailable`."""
        await self.primary.probe()
        if self.replicas is not None:
            await self.replicas.probe()

    async def close(self) -> None:
        """Close every connection."""
        await self.primary.close()
        if self.replicas is not None:
            await self.replicas.close()
