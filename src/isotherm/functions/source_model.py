"""Event source mappings: streams and queues that are to call a function. They are kept; nothing reads their sources."""

from typing import Any

import msgspec

__all__ = ["EventSource"]


class EventSource(msgspec.Struct, frozen=True, kw_only=True):
    id: str  # a UUID
    namespace: str
    function: str
    qualifier: str | None
    source: str  # its ARN; "" where it is no AWS one
    enabled: bool
    values: dict[str, Any]  # what else was said of it, as JSON
    created_at_ms: int
    updated_at_ms: int
