"""Tells when a folder's files change, but for those that are left out of packages."""

import threading
from collections.abc import Callable
from pathlib import Path

from isotherm.client.package import IGNORE_FILE, ignored, patterns_of

__all__ = ["Watch"]

STEP_MS = 10  # nothing more came for so long: the save is whole
IDLE_MS = 100  # without changes it looks whether it should end this often
READY_S = 10.0
MOST_MS = 200  # a folder that never rests is looked at this often


class Watch:
    """A thread that calls `changed` with the names of files, relative to the folder. Use as a context."""

    def __init__(self, folder: Path, changed: Callable[[list[str]], None]) -> None:
        self._folder = folder.resolve()
        self._changed = changed
        self._patterns = patterns_of(self._folder)
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        self._ready.wait(READY_S)  # from here on no change is missed
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        from watchfiles import watch

        changes = watch(
            self._folder,
            watch_filter=lambda _, path: self.counts(path),
            debounce=MOST_MS,
            step=STEP_MS,
            stop_event=self._stop,
            rust_timeout=IDLE_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
        )
        for found in changes:
            self._ready.set()
            if not found:
                continue
            names = sorted({self._relative(path) for _, path in found})
            if IGNORE_FILE in names:
                self._patterns = patterns_of(self._folder)
            self._changed(names)

    def counts(self, path: str) -> bool:
        """Whether a change there may change the package."""
        relative = self._relative(path)
        if relative == IGNORE_FILE:
            return True
        parts = relative.split("/")
        folders = ("/".join(parts[:end]) for end in range(1, len(parts)))
        return not any(ignored(each, True, self._patterns) for each in folders) and not ignored(
            relative, False, self._patterns
        )

    def _relative(self, path: str) -> str:
        try:
            return Path(path).relative_to(self._folder).as_posix()
        except ValueError:
            return path
