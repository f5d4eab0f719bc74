"""In place of the hub: what is there for a subscriber, and no more, so that a test need not wait whether more comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Hashable
from typing import Any

from graph.context import Context
from graph.feed.events import EventSource, Told
from graph.feed.outlook import Outlook
from graph.feed.positions import cursor_at
from graph.feed.sequence import Sequencer
from graph.operations.subscriptions import Broadcast
from graph.schema import schema


class OnePage:
    def __init__(self, outlook: Outlook) -> None:
        self.outlook = outlook

    async def listen(self, _: Hashable, reader: EventSource, after: int) -> AsyncGenerator[Told]:
        _, end = await self.outlook.bounds()
        for event in (await reader.read(after, end)).events:
            yield event


async def events_after(position: int, context: Context, query: str, variables: dict[str, Any]) -> list[str]:
    """The texts of the events that a subscription tells from a position on."""
    made: Any = Broadcast(schema.engine(context.database), context.database, Sequencer(context.database))
    made.hub = OnePage(made.outlook)
    return [event.text async for event in await made(query, variables, None, context, after=cursor_at(position))]
