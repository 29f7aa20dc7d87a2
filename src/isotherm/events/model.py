"""Nouns of the event log: an entry as it is read back."""

from typing import Any

import msgspec

__all__ = ["Entry"]


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One event: who decided what, when. Holds ids, never personal data or secrets."""

    id: int  # in the order of commits
    at_ms: int
    kind: str  # "workload.revision_deployed", "key.created", "access.denied", …
    principal_id: str
    namespace: str | None
    subject: str  # id of what it happened to
    version: int  # of that subject's history
    data: dict[str, Any]
