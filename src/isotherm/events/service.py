"""The event log: commands append to it, the audit reads it."""

from isotherm.db.pages import Page
from isotherm.events.model import Entry

__all__ = ["EventLog"]


class EventLog:
    """Thread-safe."""

    def entries(
        self,
        *,
        namespace: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
        newest_first: bool = True,
    ) -> Page[Entry]:
        """The audit log. `namespace` None: all of them, and the platform's own."""
        raise NotImplementedError
