"""Deployments with many shops, for tests: a schema each on PostgreSQL, a file each in a folder on SQLite.

What goes in: the database or the folder, names. What comes out: settings of a deployment that has them.
"""

from __future__ import annotations

from typing import Any

from graph.settings import Settings
from graph.shops.deployment import Deployment


async def deployment(url: str, *names: str, **more: Any) -> Settings:
    """Settings of a deployment with these shops, which are made: migrated, and empty."""
    settings = Settings(database_url=url, shops=True, **more)
    for name in names:
        await Deployment(settings).create(name)
    return settings
