"""The row door: the one place where a mirrored table enters a statement, for reading and for writing.

What goes in: a mapped class and the `Scope` of whoever asks. What comes out: an aliased class that holds the rows he may see and
no others. What is refused here: nothing; a row that may not be seen is not there.

A rule, declared beside a type by `@mirror(..., visible=rule)`, says which rows a kind of viewer may see. Where one holds, the
alias stands for a table that has passed it, so no condition can be forgotten later; where none does, it is the plain table. A row
whose parent must be there, and may not be seen, may not be seen either: otherwise a field that is never null would have no value.

A compiled read opens one `Door` for its statement, with a function that binds the viewer's values; ruled tables stand in its
WITH clause. A statement that is made anew each time takes `rows(model, scope)`, where the scope is that of the request
(`Context.scope`, `Unit.scope`): ruled tables are derived tables, which can be locked. A condition for UPDATE and DELETE, which
name the table itself, is `seen(model, scope)`. What keeps a rule of the shop over all rows, seen or not (a total, a stock, a
position), takes `SERVER` and answers nobody.

What a viewer has written he must see afterwards, or the write door refuses it: `left(model, scope)` are the rows that pass. Where
a write may take a row out of its writer's sight, `@mirror(..., writable=rule)` says which rows may be written instead. And where
a row means something else to one viewer than to another, `@mirror(..., shown=...)` says what he reads in place of its columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.orm import MANYTOONE, Mapper, RelationshipProperty, aliased
from sqlalchemy.sql import visitors
from sqlalchemy.types import TypeEngine

from graph.base import Base
from graph.scope import SERVER, Scope

#: The variable under which the values of a viewer are bound in compiled reads. No GraphQL variable can have such a name.
VIEWER = "#viewer"


#: Which rows a viewer may see: a condition over a row, or None where that is all. It may take other tables of the `Door`, which
#: hold what the viewer sees of them; what of that depends on the rule itself is left out.
Rule = Callable[[Any, "Door"], ColumnElement[bool] | None]
#: The rules by mapped class.
RULES: dict[type[Base], Rule] = {}
#: Which rows a viewer may leave behind when he has written them, by mapped class, where those are not the rows he may see.
WRITABLE: dict[type[Base], Rule] = {}

#: What a viewer reads of a row in place of what its columns hold, by attribute. It is asked where a rule holds for him.
Shown = Callable[[Any, "Door"], Mapping[str, ColumnElement[Any]]]
#: Those by mapped class.
SHOWN: dict[type[Base], Shown] = {}

#: Makes a parameter of a named value of the viewer.
Bind = Callable[[str, TypeEngine[Any]], ColumnElement[Any]]


def everything(row: Any, viewer: Door) -> None:
    """The rule that hides nothing: every viewer sees every row whose parents he sees."""


def with_viewer(variables: Mapping[str, Any], scope: Scope) -> Mapping[str, Any]:
    """Coerced variables, and the values of a viewer where compiled statements look for them."""
    return {**variables, VIEWER: scope.values} if scope.values else variables


def rows(model: type[Base], scope: Scope, name: str | None = None) -> Any:
    """The rows of a class that a scope sees, for one statement; they can be locked. Without a rule the table is as it is."""
    return Door(scope).rows(model, name, lockable=True)


def seen(model: type[Base], scope: Scope) -> ColumnElement[bool]:
    """The condition that a row of the table itself, which an UPDATE or DELETE names, is one that a scope sees."""
    door = Door(scope)
    if door.sees_all(model):
        return sa.true()
    table: Any = model.__mapper__.local_table
    own = door.of_its_row(model)
    if own is not None:
        return own
    return table.c.id.in_(sa.select(door.rows(model, f"{table.name}_seen", lockable=True).id))  # type: ignore[no-any-return]  # found by name


def any_rules(scope: Scope) -> bool:
    """Whether any rule has something to say to a scope."""
    return any(_speaks(rule, model, scope.kind) for rules in (RULES, WRITABLE) for model, rule in rules.items())


def left(model: type[Base], scope: Scope) -> Any | None:
    """The rows of a class that a scope may have written, for one statement; None where that is all, and nothing need be asked."""
    door = Door(scope, written=True)
    return None if door.sees_all(model) else door.rows(model, f"{model.__tablename__}_left", lockable=True)


class Door:
    """The way of mirrored tables into one statement: what a scope sees of them. A rule knows it as its viewer.

    Of rows that are `written` it asks what their writer may leave behind.
    """

    def __init__(
        self, scope: Scope, bind: Bind | None = None, *, written: bool = False, rules: Mapping[type[Base], Rule] | None = None
    ) -> None:
        if scope.moment is not None:
            raise LookupError("no table keeps its past")
        self.scope = scope
        self._bind = bind
        self._rules = rules if rules is not None else {**RULES, **WRITABLE} if written else RULES
        self._tables: dict[type[Base], Any] = {}
        self._beside = 0
        self._asking: tuple[type[Base], ...] = ()
        self._asked = 0

    @property
    def kind(self) -> str:
        """The kind of viewer."""
        return self.scope.kind

    def value(self, name: str, like: Any) -> ColumnElement[Any]:
        """A value of the viewer as a parameter, of the type of a column."""
        if self._bind is not None:
            return self._bind(name, like.type)
        return sa.bindparam(None, self.scope.values[name], like.type, unique=True)

    def rows(self, model: type[Base], name: str | None = None, *, lockable: bool = False) -> Any:
        """The rows of a class that the scope sees, as an alias of this name; each call is a table of its own in the statement.

        Rows to be locked stand in a derived table, all others in the WITH clause, where no parser's stack counts them. Without a
        name and a rule it is the class.
        """
        ruled = self._ruled(model, lockable=lockable)
        if ruled is None and name is None:
            return model
        name = name or str(model.__tablename__)
        if self._asking:
            name = f"{name}_{self._asked}"  # a rule may be asked several times in a statement, of other tables each time
        if ruled is None:
            return self._made(aliased(model, name=name))
        table = ruled.subquery(name) if lockable else ruled.alias(name)
        return self._made(aliased(model, table, name=name, adapt_on_names=model in SHOWN))

    def again(self, model: type[Base], table: Any, name: str, *, by_names: bool = False) -> Any:
        """Rows that came through this door and went into a derived table, as rows of their class.

        `by_names` says that its columns are expressions, known by their names alone.
        """
        return self._made(aliased(model, table, name=name, adapt_on_names=by_names or model in SHOWN))

    def beside(self, row: Any, model: type[Base]) -> Any:
        """The rows of a class for an expression over a row."""
        if self.sees_all(model):
            return model
        self._beside += 1
        return self.rows(model, f"{sa.inspect(row).name}_{model.__tablename__}{self._beside}")

    def sees_all(self, model: type[Base]) -> bool:
        """Whether no rule keeps a row of a class from the scope."""
        return self.scope is SERVER or not self._holds(model)

    def of_its_row(self, model: type[Base]) -> ColumnElement[bool] | None:
        """What the scope sees of a class as a condition over the table itself, where its rule asks for no other table; else None.

        A conflict clause of an INSERT may hold no query on Citus, and an UPDATE need not look for its rows twice.
        """
        parents = [relation.mapper.class_ for relation in model.__mapper__.relationships if needs_parent(relation)]
        if not all(map(self.sees_all, parents)):
            return None
        table, name = model.__mapper__.local_table, f"{model.__tablename__}_all"
        own = self._own(model, self._made(aliased(model, name=name)))
        if own is None or any(isinstance(part, sa.SelectBase) for part in visitors.iterate(own)):
            return None

        def of_table(element: Any, **_: Any) -> Any:
            return table.c[element.key] if isinstance(element, sa.Column) and getattr(element.table, "name", "") == name else None

        return visitors.replacement_traverse(own, {}, of_table)

    def _made(self, alias: Any) -> Any:
        alias.__door__ = self  # where expressions of the model find it
        return alias

    def _ruled(self, model: type[Base], *, lockable: bool = False) -> Any:
        """The rows that the scope sees, as a query if they are to be locked, else in the WITH clause; None where that is all.

        A rule that asks for other rows finds those that their rules and parents let pass, but for what leads back to a class
        whose rule is being asked: that is what it is to say. Tables made without that are none for others.
        """
        if self._asking:
            self._asked += 1
        if self.scope is SERVER or not self._holds(model):
            return None
        if self._asking:
            return None if model in self._asking else self._table(model, f"{model.__tablename__}_asked{self._asked}")
        if lockable:
            return self._query(model, as_stored=True)
        if model not in self._tables:
            self._tables[model] = self._table(model, f"{model.__tablename__}_seen")
        return self._tables[model]

    def _table(self, model: type[Base], name: str) -> Any:
        query = self._query(model)
        return None if query is None else query.cte(name).prefix_with("NOT MATERIALIZED")  # each place looks for its own rows

    def _holds(self, model: type[Base]) -> bool:
        """Whether the rule of a class, or of one whose rows its own need, has something to say to the viewer."""
        return any(each in self._rules and _speaks(self._rules[each], each, self.kind) for each in _with_parents(model))

    def _query(self, model: type[Base], *, as_stored: bool = False) -> sa.Select[Any] | None:
        mapper = model.__mapper__
        row = self._made(aliased(model, name=f"{model.__tablename__}_all"))
        conditions = []
        own = self._own(model, row)
        if own is not None:
            conditions.append(own)
        for relation in mapper.relationships:
            target = relation.mapper.class_
            parent = self._ruled(target) if needs_parent(relation) and target is not model else None
            if parent is not None:
                ((local, remote),) = relation.local_remote_pairs or ()
                foreign = getattr(row, str(mapper.get_property_by_column(local).key))
                conditions.append(foreign.in_(sa.select(parent.c[str(remote.key)])))
        shown = SHOWN[model](row, self) if model in SHOWN and not as_stored else {}
        return sa.select(*_columns(mapper, row, shown)).where(*conditions) if conditions else None

    def _own(self, model: type[Base], row: Any) -> ColumnElement[bool] | None:
        """What the rule of a class says of a row."""
        rule, asking = self._rules.get(model), self._asking
        self._asking = (*asking, model)
        try:
            return None if rule is None else rule(row, self)
        finally:
            self._asking = asking


def needs_parent(relation: RelationshipProperty[Any]) -> bool:
    """Whether a relation leads to one row that must be there."""
    return relation.direction is MANYTOONE and not any(column.nullable for column in relation.local_columns)


def _columns(mapper: Mapper[Any], row: Any, shown: Mapping[str, ColumnElement[Any]]) -> list[Any]:
    names = [attribute.key for attribute in mapper.column_attrs if not attribute.key.startswith("_")]
    return [shown[name].label(name) if name in shown else getattr(row, name) for name in names]


@cache
def _with_parents(model: type[Base]) -> tuple[type[Base], ...]:
    """A class, and those whose rows must be there for its own to be."""
    found = dict.fromkeys([model])
    todo = [model]
    while todo:
        above = [each.mapper.class_ for each in todo.pop().__mapper__.relationships if needs_parent(each)]
        todo += [each for each in above if each not in found]
        found |= dict.fromkeys(above)
    return tuple(found)


@cache
def _speaks(rule: Rule, model: type[Base], kind: str) -> bool:
    """Whether a rule says anything to a kind of viewer, whatever his values are. It is found out once: every write asks."""
    viewer = Door(Scope(kind), lambda _, type_: sa.bindparam(None, type_=type_, unique=True), rules={})
    return rule(viewer.rows(model, "row"), viewer) is not None
