"""What a graph of rows notes of the input: where each row came from, and what it refers to.

What goes in: rows, paths of the input, keys as sent. What comes out: records, and the error that a reference leads nowhere.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import RelationshipProperty

from graph.base import Base
from graph.write.columns import foreign_key_name, not_there, type_name
from graph.write.errors import Path, ReferenceNotFoundError


@dataclass(slots=True, eq=False)
class Origin:
    """Where a row came from. `sent` leads from attributes to the place of the value in the input, exactly as sent."""

    row: Base
    path: Path
    sent: dict[str, Path] = field(default_factory=dict)

    def place(self, *attributes: str) -> Path:
        """The place of the first of these attributes that was sent, else of the row."""
        return next((self.sent[name] for name in attributes if name in self.sent), self.path)


@dataclass(slots=True, eq=False)
class Reference:
    """A pointer to a row that is there already, not looked up yet. `value` is in the form it is stored in."""

    owner: Base
    relation: RelationshipProperty[Any]
    attribute: str
    value: Any
    text: str
    path: Path

    def not_found(self) -> ReferenceNotFoundError:
        """The error that it leads nowhere, at the key as sent."""
        target = type_name(self.relation.mapper)
        local = (self.relation.local_remote_pairs or [])[0][0]
        return ReferenceNotFoundError(
            message=not_there(target, self.attribute, self.text),
            path=list(self.path),
            constraint=foreign_key_name(local),
            target_type=target,
            key=self.text,
        )
