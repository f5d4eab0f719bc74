"""The schema: every domain's queries and mutations, put together and checked at import."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import orjson
import strawberry
from graphql import GraphQLInputObjectType, GraphQLSchema, get_nullable_type
from strawberry.schema.config import StrawberryConfig
from strawberry.tools import create_type
from strawberry.types import ExecutionResult
from strawberry.types.graphql import OperationType

from graph.access.who_am_i import WhoAmIQueries
from graph.archive import mutations as archive
from graph.catalog import mutations as catalog
from graph.catalog.types import CatalogQueries
from graph.context import Context
from graph.customers import mutations as customers
from graph.customers.types import CustomerQueries
from graph.database import BeforeCommit, Capabilities, Database, Outbox
from graph.database.failures import AnswerTooLarge
from graph.feed import outbox
from graph.feed.types import ChangeQueries, ChangeSubscriptions
from graph.models import Customer, Item, Order
from graph.operations import subscriptions
from graph.operations.engine import Engine
from graph.operations.request_errors import RequestRefused
from graph.orders import mutations as orders
from graph.orders.changes import OrderSubscriptions
from graph.orders.prices import keep_prices
from graph.orders.reservations import move_stock, release
from graph.orders.rules import keep_orders
from graph.orders.summary import SummaryQueries
from graph.orders.types import OrderQueries
from graph.read.payloads.fragments import splice
from graph.read.planning import groups, weights
from graph.read.refusals import BadUserInput, all_of
from graph.read.types import checks, permissions
from graph.read.types.fields import NodeQueries
from graph.read.types.scalars import DEFINITIONS
from graph.settings import Settings
from graph.write import locks, mutation_inputs, unit
from graph.write.atomic import run_mutation
from graph.write.directives import DIRECTIVES
from graph.write.errors import error_types
from graph.write.resolvers import use_resolvers


@strawberry.type(description="Everything that can be read. An operation is one SQL statement and one snapshot.")
class Query(NodeQueries, CustomerQueries, OrderQueries, SummaryQueries, CatalogQueries, ChangeQueries, WhoAmIQueries):
    pass


@strawberry.type(
    description="What is told as it happens, after its COMMIT. An operation has one field, and goes on until it is ended."
)
class Subscription(ChangeSubscriptions, OrderSubscriptions):
    pass


class Schema(strawberry.Schema):
    """Strawberry's schema, whose operations run on an `Engine`: `execute()` goes through the same plans as a request."""

    @cached_property
    def before_commit(self) -> list[BeforeCommit]:
        """What is added to every transaction that changes something."""
        return []

    #: Makes the INSERT of what a transaction changes, where a query can carry it.
    outbox: Outbox | None = None

    @cached_property
    def _engines(self) -> WeakKeyDictionary[Database, Engine]:
        """The engines in use, each for as long as one of its databases lives."""
        return WeakKeyDictionary()

    @cached_property
    def _alike(self) -> WeakValueDictionary[tuple[Capabilities, Settings], Engine]:
        """The engines in use, by what plans depend on: the kind of database, and the settings but for where it is."""
        return WeakValueDictionary()

    def engine(self, database: Database) -> Engine:
        """The engine of a database. Databases of one kind and the same settings have one, and share its documents and plans.

        From now on what is awaited `before_commit` is awaited in its transactions.
        """
        engine = self._engines.get(database)
        if engine is None:
            kind = (database.capabilities, replace(database.settings, database_url="", replica_urls=()))
            engine = self._alike.get(kind) or Engine(self._schema, database.settings, database.dialect, run_mutation)
            database.before_commit += self.before_commit
            if database.capabilities.writes_in_queries and database.replicas is None:  # they ask what ids it gave
                database.outbox = self.outbox
            self._engines[database] = self._alike[kind] = engine
        return engine

    async def execute(
        self,
        query: str | None,
        variable_values: dict[str, Any] | None = None,
        context_value: Any | None = None,
        root_value: Any | None = None,
        operation_name: str | None = None,
        allowed_operation_types: Iterable[OperationType] | None = None,
        operation_extensions: dict[str, Any] | None = None,
    ) -> ExecutionResult:
        """Run an operation. `context_value` is a `Context`, or a `Database` for a context of this call's own."""
        own = isinstance(context_value, Database)
        context = Context(context_value) if isinstance(context_value, Database) else context_value
        if not isinstance(context, Context):
            raise TypeError("context_value must be a Context or a Database")
        try:
            answer = await self.engine(context.database).run(query or "", variable_values or {}, operation_name, context)
        except RequestRefused as refusal:
            return ExecutionResult(data=None, errors=refusal.errors)
        except (AnswerTooLarge, BadUserInput) as refusal:
            return ExecutionResult(data=None, errors=all_of(refusal))
        finally:
            if own:
                await context.close()
        if answer.result is None:
            return ExecutionResult(data=orjson.loads(answer.data or "null"), errors=None)
        return ExecutionResult(data=orjson.loads(orjson.dumps(answer.result.data, default=splice)), errors=answer.result.errors)


#: Everything that can be changed, room by room.
MUTATIONS = [*customers.MUTATIONS, *orders.MUTATIONS, *catalog.MUTATIONS, *archive.MUTATIONS]
Mutation = create_type(
    "Mutation",
    MUTATIONS,
    description="Everything that can be changed. A field is one transaction; fields run one after the other.",
)


schema = Schema(
    Query, Mutation, Subscription, types=error_types(), directives=DIRECTIVES, config=StrawberryConfig(scalar_map=DEFINITIONS)
)
_built = schema._schema  # noqa: SLF001  # graphql-core's schema has no public name in Strawberry's


def _finish(built: GraphQLSchema) -> None:
    """Add what Strawberry's declarations leave out.

    A mutation's fields are nullable, so that what breaks in one of them leaves the others their answers. `@oneOf` is checked by
    Strawberry itself, graphql-core gives paths.
    """
    assert built.mutation_type is not None
    for field in built.mutation_type.fields.values():
        field.type = get_nullable_type(field.type)
    for type_ in built.type_map.values():
        if isinstance(type_, GraphQLInputObjectType) and type_.extensions["strawberry-definition"].is_one_of:
            type_.is_one_of = True


_finish(_built)
schema.before_commit.append(outbox.keep)
schema.outbox = outbox.insert
subscriptions.STATES.update({"orderChanged": subscriptions.States("Order", "order", "Customer", "customer")})
locks.ORDER[:] = [Customer, Order, Item]
unit.RULES[:] = [keep_orders, keep_prices, move_stock]
unit.BEFORE_DELETE.update({Order: (release,)})
weights.weigh(_built, Settings())
checks.check(_built)
permissions.check(_built)
checks.check_rules(_built)
permissions.describe(_built)
groups.check(_built)
mutation_inputs.check(_built)
use_resolvers(_built)
