"""The errors of mutations: data for the client, one type for each thing that can be wrong.

What goes in: what the unit of work, the database or a domain rule found. What comes out: Strawberry types of the interface
`MutationError`; `path` leads from the field's argument to the value to mend. A row that an error names (`existing`,
`current`, `node`) is read when the client selects it, after the rollback, by the same compiled read as any query.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import strawberry

from graph.context import Context
from graph.read.payloads.execution import read_node
from graph.read.types.mirror import Node

#: From the field's argument to a value: GraphQL names as sent, list indices as decimal strings.
Path = tuple[str, ...]
ROOT: Path = ("input",)


class Row(NamedTuple):
    """A row of a mirrored type by its key."""

    type_name: str
    key: int


@strawberry.enum(description="What is wrong, for programs.")
class ErrorCode(enum.Enum):
    UNIQUE = strawberry.enum_value("UNIQUE", description="Another row has this value already, or it stands twice in the input.")
    REFERENCE_NOT_FOUND = strawberry.enum_value("REFERENCE_NOT_FOUND", description="What the input points to does not exist.")
    STILL_REFERENCED = strawberry.enum_value("STILL_REFERENCED", description="It cannot be deleted: other rows use it.")
    CHECK = strawberry.enum_value("CHECK", description="A value is outside of what is allowed.")
    REQUIRED = strawberry.enum_value("REQUIRED", description="A value that must be there was set to null or left out.")
    NOT_FOUND = strawberry.enum_value("NOT_FOUND", description="The row that the mutation is about does not exist.")
    STALE_VERSION = strawberry.enum_value("STALE_VERSION", description="Somebody changed the row since it was read.")
    TRANSITION = strawberry.enum_value("TRANSITION", description="The status cannot become this one from where it is.")
    NOT_EDITABLE = strawberry.enum_value("NOT_EDITABLE", description="The status does not allow this change any more.")
    ARCHIVED = strawberry.enum_value("ARCHIVED", description="The row is archived and cannot be used.")
    OUT_OF_STOCK = strawberry.enum_value("OUT_OF_STOCK", description="There are not as many pieces in stock.")
    INVALID_INPUT = strawberry.enum_value("INVALID_INPUT", description="A value has the wrong form.")
    FORBIDDEN = strawberry.enum_value(
        "FORBIDDEN", description="It is not yours to do, or the row would be one that you may not see."
    )
    ROLLED_BACK = strawberry.enum_value("ROLLED_BACK", description="Nothing wrong here: a sibling failed, and all was undone.")
    IDEMPOTENCY_KEY_REUSED = strawberry.enum_value(
        "IDEMPOTENCY_KEY_REUSED", description="The key was used before with another mutation or another input."
    )
    IDEMPOTENCY_IN_PROGRESS = strawberry.enum_value(
        "IDEMPOTENCY_IN_PROGRESS", description="A request with this key is running now: ask again."
    )
    ANSWER_TOO_LARGE = strawberry.enum_value(
        "ANSWER_TOO_LARGE", description="The selected payload has more bytes than an answer may have, and nothing was changed."
    )
    COMMIT_UNKNOWN = strawberry.enum_value(
        "COMMIT_UNKNOWN", description="The database did not say whether it committed: this may have happened, or not."
    )
    TRY_AGAIN = strawberry.enum_value("TRY_AGAIN", description="The database was busy and nothing was changed: send it again.")


def discriminator(code: ErrorCode) -> Any:
    """The field that tells an error type from the others."""
    return strawberry.field(default=code, description="What is wrong, for programs.")


def again() -> Any:
    """The field `retryable` of an error that passes by itself."""
    return strawberry.field(default=True, description="Whether the same request may succeed when sent again.")


@strawberry.interface(description="Why a mutation, or an entry of its list, was refused. All reasons are reported at once.")
class MutationError:
    code: ErrorCode = strawberry.field(description="What is wrong, for programs.")
    message: str = strawberry.field(description="What is wrong, for developers; not for end users.")
    path: list[str] = strawberry.field(
        description='Where in the arguments, such as ["input", "orders", "0", "items", "2", "quantity"].'
    )
    retryable: bool = strawberry.field(default=False, description="Whether the same request may succeed when sent again.")


async def _read(info: strawberry.Info[Context, None], error: MutationError, row: Row | None) -> Any:
    return None if row is None else await read_node(info, type(error).__name__, row.type_name, row.key)


@strawberry.type(description="A value that must be unique is taken, or stands twice in the input.")
class UniqueError(MutationError):
    code: ErrorCode = discriminator(ErrorCode.UNIQUE)
    constraint: str = strawberry.field(description="The constraint's name in the database.")
    fields: list[str] = strawberry.field(description="The fields that must be unique together.")
    row: strawberry.Private[Row | None] = None

    @strawberry.field(description="The row in the way, which may be archived; null if it stands in the same input.")
    async def existing(self, info: strawberry.Info[Context, None]) -> Node | None:
        return await _read(info, self, self.row)  # type: ignore[no-any-return]  # a Fragment, spliced in by completion


@strawberry.type(description="The input points to a row that does not exist.")
class ReferenceNotFoundError(MutationError):
    code: ErrorCode = discriminator(ErrorCode.REFERENCE_NOT_FOUND)
    constraint: str = strawberry.field(description="The foreign key's name in the database.")
    target_type: str = strawberry.field(description="The type of the row pointed to.")
    key: str = strawberry.field(description="The key as sent.")


@strawberry.type(description="How many rows of one type use a row.")
class ReferenceCount:
    type: str = strawberry.field(description="The type of the rows.")
    count: int = strawberry.field(description="How many there are.")


@strawberry.type(description="A row cannot be deleted because others use it.")
class StillReferencedError(MutationError):
    code: ErrorCode = discriminator(ErrorCode.STILL_REFERENCED)
    by_type: list[ReferenceCount] = strawberry.field(description="Who uses it, by type.")
    count: int = strawberry.field(description="How many rows use it, over all types.")


@strawberry.type(description="A value is outside of what is allowed.")
class CheckError(MutationError):
    code: ErrorCode = discriminator(ErrorCode.CHECK)
    constraint: str = strawberry.field(description="The constraint's name in the database.")
    minimum: str | None = strawberry.field(
        default=None, description='The least that is allowed, written as the field is, such as "1" or "0.00"; null where none is.'
    )
    maximum: str | None = strawberry.field(
        default=None, description='The most that is allowed, written as the field is, such as "100000"; null where none is.'
    )


@strawberry.type(description="A value that must be there was set to null or left out.")
class RequiredError(MutationError):
    code: ErrorCode = discriminator(ErrorCode.REQUIRED)
    constraint: str = strawberry.field(description="The constraint's name in the database; empty if it knows of none.")


@strawberry.type(description="The row that the mutation is about does not exist.")
class NotFoundError(MutationError):
    code: ErrorCode = discriminator(ErrorCode.NOT_FOUND)
    type: str = strawberry.field(description="The type that was looked for.")
    missing_id: strawberry.ID = strawberry.field(description="The id, or the other key, as sent.")


@strawberry.type(description="Somebody changed the row since the client read it.")
class StaleVersionError(MutationError):
    code: ErrorCode = discriminator(ErrorCode.STALE_VERSION)
    expected: int = strawberry.field(description="The version sent.")
    actual: int = strawberry.field(description="The version the row has.")
    row: strawberry.Private[Row | None] = None

    @strawberry.field(description="The row as it is now.")
    async def current(self, info: strawberry.Info[Context, None]) -> Node | None:
        return await _read(info, self, self.row)  # type: ignore[no-any-return]  # a Fragment, spliced in by completion


@strawberry.type(description="The row is archived: kept for what refers to it, but not to be used any more.")
class ArchivedError(MutationError):
    code: ErrorCode = discriminator(ErrorCode.ARCHIVED)
    row: strawberry.Private[Row | None] = None

    @strawberry.field(description="The archived row.")
    async def node(self, info: strawberry.Info[Context, None]) -> Node | None:
        return await _read(info, self, self.row)  # type: ignore[no-any-return]  # a Fragment, spliced in by completion


@strawberry.type(description="A value has the wrong form.")
class InvalidInputError(MutationError):
    code: ErrorCode = discriminator(ErrorCode.INVALID_INPUT)
    reason: str = strawberry.field(description="What the value should be.")


@strawberry.type(
    description="The change is not for whoever writes, or would leave a row that he may not see. Nothing was changed."
)
class ForbiddenError(MutationError):
    code: ErrorCode = discriminator(ErrorCode.FORBIDDEN)
    type: str = strawberry.field(description="The type of the row.")


@strawberry.type(description="Nothing is wrong here, but a sibling was refused and everything was undone together.")
class RolledBackError(MutationError):
    code: ErrorCode = discriminator(ErrorCode.ROLLED_BACK)


@strawberry.type(description="The idempotency key stands for another request, or for one that is still running.")
class IdempotencyError(MutationError):
    code: ErrorCode = strawberry.field(description="IDEMPOTENCY_KEY_REUSED or IDEMPOTENCY_IN_PROGRESS.")
    key: str = strawberry.field(description="The key as sent.")


@strawberry.type(description="The selected payload has more bytes than an answer may have. Nothing was changed.")
class AnswerTooLargeError(MutationError):
    code: ErrorCode = discriminator(ErrorCode.ANSWER_TOO_LARGE)
    limit: int = strawberry.field(description="How many bytes the data of an answer may have.")


@strawberry.type(
    description="The database did not say whether it committed. With @idempotent send the same request again: it happens once,"
    " and tells what became of it. Without, look whether it happened before you send it anew."
)
class CommitUnknownError(MutationError):
    code: ErrorCode = discriminator(ErrorCode.COMMIT_UNKNOWN)
    retryable: bool = strawberry.field(
        description="Whether the same request may be sent again: where the field carries @idempotent. Else it could happen twice."
    )


@strawberry.type(
    description="The database was busy on every try, or unsure of a field before this one. Nothing was changed here."
)
class TryAgainError(MutationError):
    code: ErrorCode = discriminator(ErrorCode.TRY_AGAIN)
    retryable: bool = again()


class Refused(Exception):
    """The unit of work is refused for these reasons; whoever runs the transaction rolls it back."""

    def __init__(self, errors: Iterable[MutationError]) -> None:
        super().__init__()
        self.errors = list(errors)


#: Brings paths into the order of an input: a sort key.
Order = Callable[[Iterable[str]], Any]


def by_name(path: Iterable[str]) -> list[tuple[bool, int, str]]:
    """The order of paths where nobody knows the input: by the names of fields, entries of lists by their number."""
    return [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in path]


def ordered(errors: Iterable[MutationError], order: Order = by_name) -> list[MutationError]:
    """Errors in the order of the input, each place, code and constraint once."""
    once = {(tuple(error.path), error.code, getattr(error, "constraint", "")): error for error in reversed(list(errors))}
    return [once[key] for key in sorted(once, key=lambda key: (order(key[0]), key[1].value, key[2]))]


def error_types() -> list[type[MutationError]]:
    """Every type of error declared so far, the domains' too; the schema must be told of them."""
    return sorted(MutationError.__subclasses__(), key=lambda type_: type_.__name__)


def invalid(path: Path, reason: str) -> InvalidInputError:
    """A value is not what it should be. An entry of a list is called by its list and its place: `remove.0`."""
    named = next((index for index in range(len(path) - 1, 0, -1) if not path[index].isdigit()), 0)
    return InvalidInputError(message=f"{'.'.join(path[named:])} {reason}", path=list(path), reason=reason)


def forbidden(type_name: str, path: Iterable[str]) -> ForbiddenError:
    """A row would go where its writer does not see it."""
    return ForbiddenError(message=f"This {type_name} would be one that you may not see", path=list(path), type=type_name)


def rolled_back(path: Path = ROOT) -> RolledBackError:
    """Nothing is wrong here, but a sibling failed."""
    return RolledBackError(message="A sibling failed, so this was undone too", path=list(path))


def answer_too_large(limit: int) -> AnswerTooLargeError:
    """The payload would make the answer larger than it may be."""
    message = f"The answer would have more than {limit:,} bytes: select less of the payload. Nothing was changed"
    return AnswerTooLargeError(message=message, path=list(ROOT), limit=limit)


def try_again(path: Path = ROOT) -> TryAgainError:
    """The database was busy on every try."""
    return TryAgainError(message="The database was busy; nothing was changed", path=list(path))


def not_run(path: Path = ROOT) -> TryAgainError:
    """Nobody knows what became of a field before this one."""
    return TryAgainError(message="A field before this one was not settled, so this was not run", path=list(path))


def commit_unknown(*, keyed: bool, path: Path = ROOT) -> CommitUnknownError:
    """A COMMIT was not answered; `keyed` says that the field carries an idempotency key."""
    remedy = "send the same request again" if keyed else "look whether it is there before you send it again"
    return CommitUnknownError(message=f"It is not known whether this was committed; {remedy}", path=list(path), retryable=keyed)
