"""The feed of desired state: what a host is told to serve, whole or since a version."""

from collections.abc import Callable

from isotherm.wire.desired import Desired

__all__ = ["DesiredFeed"]


class DesiredFeed:
    """Reads what commands have committed. Applying `since(v)` to the state of version v gives `full()`. Thread-safe.

    Keys and routes are always there; revisions once they are ready, as long as they can be called.
    """

    def full(self) -> Desired:
        """Everything."""
        raise NotImplementedError

    def since(self, epoch: str | None, version: int) -> Desired:
        """What changed after `version`; everything where that is too long ago, or another epoch's."""
        raise NotImplementedError

    def version(self) -> int:
        """The version of the newest change."""
        raise NotImplementedError

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` after each commit that changed desired state, on the thread of that command; it must not
        block nor raise. Returns what takes it off again."""
        raise NotImplementedError
