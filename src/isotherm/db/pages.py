"""Pages of a list, and the opaque cursors between them."""

import base64
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from isotherm.base.errors import Invalid

__all__ = ["MAX_PAGE", "Page", "clamp_limit", "decode_cursor", "encode_cursor"]

T = TypeVar("T")
MAX_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of a list, in order. `next_cursor` is None at the end."""

    items: list[T]
    next_cursor: str | None = None


def clamp_limit(limit: int) -> int:
    """Raises `Invalid` where `limit` is not 1 to `MAX_PAGE`."""
    if not 1 <= limit <= MAX_PAGE:
        raise Invalid(f"limit must be 1 to {MAX_PAGE}, not {limit}", limit=limit)
    return limit


def encode_cursor(*position: str | int) -> str:
    """Where the next page begins, as text that callers hand back unread."""
    return base64.urlsafe_b64encode(msgspec.json.encode(position)).rstrip(b"=").decode()


def decode_cursor(cursor: str, shape: type[T]) -> T:
    """The position in a cursor, a tuple of type `shape`. Raises `Invalid` on one that we did not make."""
    try:
        raw = base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))
        decoded: Any = msgspec.json.decode(raw, type=shape)
    except (ValueError, msgspec.MsgspecError) as exc:
        raise Invalid("the cursor is not one that this list gave; start without a cursor", cursor=cursor[:100]) from exc
    return decoded  # type: ignore[no-any-return]  # msgspec checked it against `shape`
