"""Progress of deploys: the steps so far, for late readers, and those to come."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from isotherm.bus.fanout import Fanout, Subscription

__all__ = ["Finished", "ProgressBook", "ProgressStep"]


class ProgressStep(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a deploy's progress."""

    step: str
    state: Literal["running", "done", "failed", "cached"]
    message: str = ""
    elapsed_ms: float = 0.0


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """The last line. `problem` is an RFC 9457 object where the revision failed."""

    done: Literal[True] = True
    state: Literal["ready", "failed"]
    url: str | None = None
    problem: dict[str, Any] | None = None


class ProgressBook:
    """Steps by revision id, bounded in revisions and in steps. Belongs to the event loop."""

    def __init__(self, *, max_revisions: int = 1000, max_steps: int = 200) -> None:
        self._pages: OrderedDict[str, list[ProgressStep | Finished]] = OrderedDict()
        self._fanout: Fanout[str, ProgressStep | Finished] = Fanout(limit=max_steps)
        self._max_revisions = max_revisions
        self._max_steps = max_steps

    def record(self, revision_id: str, entry: ProgressStep | Finished) -> None:
        page = self._pages.setdefault(revision_id, [])
        self._pages.move_to_end(revision_id)
        if len(page) >= self._max_steps:
            del page[0]
        page.append(entry)
        while len(self._pages) > self._max_revisions:
            self._pages.popitem(last=False)
        self._fanout.publish(revision_id, entry)

    def follow(self, revision_id: str) -> tuple[list[ProgressStep | Finished], Subscription[ProgressStep | Finished]]:
        """What was recorded, and a subscription to what comes after it; nothing falls between the two."""
        return list(self._pages.get(revision_id, ())), self._fanout.subscribe(revision_id)

    def recorder(self, revision_id: str) -> Callable[[ProgressStep], None]:
        return lambda entry: self.record(revision_id, entry)
