"""Shops of one deployment, for tests: a schema each on PostgreSQL, a file each in a folder on SQLite.

What goes in: the database or the folder, names. What comes out: settings of a deployment that has them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import asyncpg

from graph import migrate
from graph.database.backends import configured
from graph.settings import Settings


async def deployment(url: str, *names: str, **more: Any) -> Settings:
    """Settings of a deployment with these shops, which are made: migrated, and empty."""
    settings = Settings(database_url=url, shops=True, **more)
    for name in names:
        target = configured(settings, name)
        if target.schema is None:
            await migrate.upgrade(target)
            continue
        connection = await asyncpg.connect(url)
        await connection.execute(f'CREATE SCHEMA "{target.schema}"')
        await connection.close()
        await migrate.upgrade(replace(target, server_settings={"search_path": f'"{target.schema}"'}))
    return settings
