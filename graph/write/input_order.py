"""The order in which an input was sent: fields as the client wrote them, entries of lists by their number.

What goes in: the input of a field, as the document and the raw variables have it, since coercion brings fields into the schema's
order. What comes out: a sort key for paths. Nothing is refused here. It costs nothing until it is asked, which only refusals do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import FieldNode, ListValueNode, ObjectValueNode, Undefined, VariableNode

from graph.read.payloads.running import RunningField

#: One step of a path: its rank among its neighbours; a field that was not sent comes after all that were, by its name.
Step = tuple[int, str]


@dataclass(frozen=True, slots=True)
class InputOrder:
    """Where paths stand in the arguments of a field. `sources` are graphql-core's: raw values and defaults of variables."""

    field: FieldNode
    sources: Mapping[str, Any]

    @classmethod
    def of(cls, field: RunningField) -> InputOrder:
        """The order in which the client sent the input of a field."""
        return cls(field.nodes[0], field.variables.sources)

    def __call__(self, path: Iterable[str]) -> list[Step]:
        """A sort key: what a path leads to comes before all that is inside of it."""
        value: Any = {argument.name.value: argument.value for argument in self.field.arguments or ()}
        steps: list[Step] = []
        for name in path:
            value = self._opened(value)
            if name.isdigit():
                entries = value if isinstance(value, list) else [value]  # what is no list was sent for a list of one
                index = int(name)
                steps.append((index, ""))
                value = entries[index] if index < len(entries) else None
                continue
            fields = value if isinstance(value, dict) else {}
            rank = next((rank for rank, sent in enumerate(fields) if sent == name), len(fields))
            steps.append((rank, "" if name in fields else name))
            value = fields.get(name)
        return steps

    def _opened(self, value: Any) -> Any:
        """A value with its parts: a literal and a variable as JSON is."""
        if isinstance(value, VariableNode):
            source = self.sources.get(value.name.value)
            if source is None:
                return None
            value = source.signature.default and source.signature.default.literal if source.value is Undefined else source.value
        if isinstance(value, ObjectValueNode):
            return {field.name.value: field.value for field in value.fields}
        return list(value.values) if isinstance(value, ListValueNode) else value
