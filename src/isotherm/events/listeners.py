"""Who wants to hear of something after its commit. A listener that fails fails nobody else."""

from collections.abc import Callable
from typing import Generic, ParamSpec

import structlog

__all__ = ["Listeners"]

P = ParamSpec("P")
_log = structlog.get_logger(__name__)


class Listeners(Generic[P]):
    """Thread-safe: the list is replaced whole, never changed."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._callbacks: tuple[Callable[P, object], ...] = ()

    def add(self, callback: Callable[P, object]) -> Callable[[], None]:
        """Returns what takes it off again."""
        self._callbacks = (*self._callbacks, callback)

        def take_off() -> None:
            self._callbacks = tuple(other for other in self._callbacks if other is not callback)

        return take_off

    def tell(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call each, on this thread."""
        for callback in self._callbacks:
            try:
                callback(*args, **kwargs)
            except Exception:  # noqa: BLE001 (what it hears of is committed; it must not make that look failed)
                _log.exception("a listener failed", what=self._what)
