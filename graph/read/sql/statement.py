"""What a compiled read is: SQL whose one row and column is the JSON text of the answer, and where its values come from.

What goes in: coerced variables. What comes out: the arguments that the driver takes beside the SQL. What may be refused here:
`BadUserInput` for a value that only its parameter can judge, such as a cursor of another order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Dialect

from graph.read.planning.arguments import Source, resolve

#: The variables under which the keys of `RowsByKey`, how many bytes may be made, and introspection by response key are bound. No
#: GraphQL variable can have such a name.
KEYS, LIMIT, META = "#keys", "#limit", "#meta"
#: What begins the answer of a statement that was given a cursor which is no more; behind it stands the oldest that works.
EXPIRED = "#"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: where its value stands and how it becomes what the driver takes. `judged` says that it may be refused."""

    source: Source
    encode: Callable[[Any], Any]
    judged: bool = False


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL in the driver's own spelling, and its parameters in order."""

    sql: str
    binds: tuple[Parameter, ...]

    def arguments(self, variables: Mapping[str, Any]) -> list[Any]:
        """The values of the parameters for coerced variables. Raises `BadUserInput` for a cursor of another order."""
        return [bind.encode(resolve(bind.source, variables)) for bind in self.binds]

    @property
    def judged(self) -> tuple[Parameter, ...]:
        """The parameters whose values `arguments` may refuse."""
        return tuple(bind for bind in self.binds if bind.judged)


def constant(compiled: Any, name: str, dialect: Dialect) -> Callable[[Any], Any]:
    """A parameter that an expression of a model or a row rule brought along: its value never changes."""
    value = compiled.params[name]
    parameter = compiled.binds.get(name)
    process = parameter.type.dialect_impl(dialect).bind_processor(dialect) if parameter is not None else None
    value = process(value) if process else value
    return lambda _: value
