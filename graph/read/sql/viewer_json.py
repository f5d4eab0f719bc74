"""Who asks becomes JSON: what is known of him is carried through the statement, and the row that he is comes out of it.

What goes in: the `ViewerRoot` of a plan and the statement around it. What comes out: the parts of a JSON object, or null where
nobody has to say who he is. It only assembles: what is told to whom is decided in the plan.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy import ColumnElement

from graph.read.planning.arguments import Given
from graph.read.planning.plan import Entity, ViewerPart, ViewerRoot
from graph.read.sql.conditions import Binder
from graph.read.sql.json import json_object, or_null
from graph.read.types.encodings import Part
from graph.read.types.mirror import MIRRORS

#: The variable under which what is known of who asks is bound, by field. No GraphQL variable can have such a name.
KNOWN = "#known"

#: Writes the row of a type by its key.
OneRow = Callable[[Entity, ColumnElement[Any]], ColumnElement[str]]


def viewer_parts(binder: Binder, one_row: OneRow, root: ViewerRoot) -> list[Part]:
    """The JSON of who asks."""
    if root.parts is None:
        return ["null"]
    return json_object([(part.key, [_member(binder, one_row, part)]) for part in root.parts])


def _member(binder: Binder, one_row: OneRow, part: ViewerPart) -> Part:
    if part.what == "typename":
        return f'"{part.name}"'
    if part.what == "known":
        return binder.bind(Given((KNOWN, part.name)), sa.Text(), _spelled)
    if part.entity is None:
        return "null"
    model: Any = MIRRORS[part.entity.type_name].model
    return or_null(one_row(part.entity, binder.door.value(part.name, model.id)))


def _spelled(value: Any) -> str:
    return orjson.dumps(value).decode()
