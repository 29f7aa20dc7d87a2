"""One run of `isotherm dev`: deploy, watch, reload, show the log, invoke at a key, and take all away at the end."""

import contextlib
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from isotherm.base.errors import Invalid, IsothermError, NotFound, Unavailable
from isotherm.cli.dev.build import Builder
from isotherm.cli.dev.debugger import Bridge
from isotherm.cli.dev.keys import Keys
from isotherm.cli.dev.screen import Screen
from isotherm.cli.dev.watch import Watch
from isotherm.cli.output import output
from isotherm.cli.steps import Plain, Silent
from isotherm.cli.times import duration
from isotherm.client import Client
from isotherm.client.model import LogLine
from isotherm.client.profiles import Profile

__all__ = ["Session"]

LOOK_AFTER_S = 60.0  # how often the platform hears that the session goes on
LOG_RETRY_S = 0.5
QUIET_S = 0.02  # changes that come together are one
KEYS = "r reload, i invoke with the last event, q quit"


class Session:
    """`name` is that of the development function. `debug_port`: where a debugger attaches; None: nowhere."""

    def __init__(
        self,
        client: Client,
        profile: Profile,
        folder: Path,
        name: str,
        *,
        debug_port: int | None = None,
    ) -> None:
        self.name = name
        self._client = client
        self._folder = folder
        self._builder = Builder(client, folder, name, debug=debug_port is not None)
        self._screen = Screen(folder)
        self._words: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        self._over = threading.Event()
        self._event = first_event(folder)
        self._bridge = None if debug_port is None else Bridge(profile, name, debug_port, self._debugger)
        self._began_ms = time.time_ns() // 1_000_000
        self._shown_ms = 0
        self._there = False  # whether there is a revision that has calls
        self._failed: str | None = None  # what the last build that failed was of

    def run(self) -> None:
        """Until `q`, Ctrl-C or SIGTERM; then the function is deleted."""
        with self._signals(), self._removing(), self._bridge or nullcontext():
            threads = [
                threading.Thread(target=work, name=work.__name__, daemon=True)
                for work in (self._follow_logs, self._look_after)
            ]
            self._build(None)
            keys = Keys(self._key, lambda line: self._words.put(("invoke", line)))
            with Watch(self._folder, lambda names: self._words.put(("changed", names))), keys:
                for thread in threads:
                    thread.start()
                hint = f"; {KEYS}" if keys.terminal else ""
                self._screen.event("watching", f"watching {self._folder}{hint}", folder=str(self._folder))
                if self._bridge is not None:
                    self._tell_debugger(self._bridge.port)
                if self._there and self._builder.stale():  # it was saved while the first build went on
                    self._words.put(("reload", None))
                self._loop()

    # What happens

    def _loop(self) -> None:
        while True:
            word, value = self._words.get()
            if word == "stop":
                return
            if word == "changed":
                self._reload(self._gather(value))
            elif word == "reload":
                self._reload([])
            elif word == "invoke":
                threading.Thread(target=self._invoke, args=(value,), daemon=True).start()

    def _gather(self, names: list[str]) -> list[str]:
        """With what was changed since."""
        later = []
        time.sleep(QUIET_S)
        while not self._words.empty():
            word, value = self._words.get()
            if word == "changed":
                names = sorted({*names, *value})
            else:
                later.append((word, value))
        for each in later:
            self._words.put(each)
        return names

    def _reload(self, names: list[str]) -> None:
        waited_ms = _since_save_ms(self._folder, names)
        if names and self._failed is not None and self._builder.content() == self._failed:
            return  # one save may be told of twice; its error was said
        self._build(names, waited_ms)

    def _build(self, names: list[str] | None, waited_ms: float | None = None) -> None:
        """Deploy what the folder holds now; the former code goes on where it cannot be."""
        content = self._builder.content()
        try:
            built = self._builder.build(Silent() if output.json or names is not None else Plain(output))
        except IsothermError as error:
            self._failed = content
            self._screen.error(error)
            if self._there:
                self._screen.event("kept", "the former code goes on; save again to try again")
            return
        self._there, self._failed = True, None
        steps = ({} if waited_ms is None else {"watch": waited_ms}) | built.steps_ms
        total_ms = sum(steps.values())
        if names is None:
            url = self._client.functions.get(self.name).url
            text = f"{self._screen.good('ready')} in {duration(total_ms)}: {url}"
            self._screen.event("ready", text, name=self.name, url=url, number=built.number, steps_ms=steps)
        elif built.changed:
            if self._bridge is not None:
                self._bridge.drop()  # before it is said: whoever attaches then reaches the new code
            what = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
            text = f"{self._screen.good('reloaded')} {what} in {duration(total_ms)} ({self._screen.steps(steps)})"
            self._screen.event("reloaded", text, files=names, number=built.number, took_ms=total_ms, steps_ms=steps)
        elif not names:
            self._screen.event("unchanged", "nothing has changed", number=built.number)

    def _invoke(self, line: bytes | None) -> None:
        """With the last event, or this one."""
        if line is not None:
            self._event = line
        try:
            try:
                json.loads(self._event)
            except ValueError as exc:
                raise Invalid(f"the event is not JSON: {exc}") from exc
            began = time.monotonic()
            answer = self._client.functions.invoke(self.name, self._event, check=False)
        except IsothermError as error:
            self._screen.error(error)
            return
        took_ms = (time.monotonic() - began) * 1000
        text = answer.payload.decode("utf-8", "replace")
        mark = "failed" if answer.error else "answered"
        shown = f"{answer.request_id[-12:]} {mark} in {duration(took_ms)}: {text}"
        values = {"request_id": answer.request_id, "error": answer.error, "took_ms": took_ms, "payload": text}
        self._screen.event("answer", shown, **values)

    def _key(self, key: str) -> None:
        if key == "q" or key == "\x04":
            self._words.put(("stop", None))
        elif key == "r":
            self._words.put(("reload", None))
        elif key == "i":
            self._words.put(("invoke", None))

    def _tell_debugger(self, port: int) -> None:
        """How an editor attaches, in the form that editors with the Debug Adapter Protocol keep."""
        attach = {
            "name": self.name,
            "type": "debugpy",
            "request": "attach",
            "connect": {"host": "127.0.0.1", "port": port},
            "pathMappings": [{"localRoot": str(self._folder), "remoteRoot": "/code"}],
            "restart": True,
        }
        text = f"a debugger attaches to 127.0.0.1:{port}; for an editor's launch.json:\n{json.dumps(attach)}"
        self._screen.event("debugger", text, port=port, attach=attach)

    def _debugger(self, text: str, error: IsothermError | None) -> None:
        if error is not None:
            self._screen.error(error)
        else:
            self._screen.event("debugger", text)

    # Beside it

    def _follow_logs(self) -> None:
        """Until the end; from the beginning on: a former session of the same name may have left lines."""
        while not self._over.is_set():
            with contextlib.suppress(NotFound, Unavailable):
                for line in self._client.functions.logs(
                    self.name, follow=True, since_ms=max(self._began_ms, self._shown_ms + 1)
                ):
                    self._shown_ms = line.at_ms
                    self._show(line)
            self._over.wait(LOG_RETRY_S)

    def _show(self, line: LogLine) -> None:
        if not self._over.is_set():
            self._screen.log(line)

    def _look_after(self) -> None:
        """A development function that nobody looks at goes by itself."""
        while not self._over.wait(LOOK_AFTER_S):
            with contextlib.suppress(NotFound, Unavailable):
                self._client.functions.get(self.name)

    # Beginning and end

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the session in good order; a second Ctrl-C does not wait."""
        former = {}

        def stop(number: int, _: object) -> None:
            signal.signal(number, signal.default_int_handler)
            self._words.put(("stop", None))

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            former[number] = signal.signal(number, stop)
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def _removing(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._over.set()
            with contextlib.suppress(NotFound):
                if self._builder.remove():
                    self._screen.event("removed", f"{self.name} is removed", name=self.name)


def first_event(folder: Path) -> bytes:
    """What the first invocation is made with: event.json, or the first of events/, or nothing in particular."""
    places = [folder / "event.json", *sorted((folder / "events").glob("*.json"))]
    for path in places:
        if path.is_file() and not path.name.endswith(".expect.json"):
            return path.read_bytes()
    return b"{}"


def _since_save_ms(folder: Path, names: list[str]) -> float | None:
    """How long ago the newest of these files was saved; None where that says nothing."""
    saved = []
    for name in names:
        with contextlib.suppress(OSError):
            saved.append((folder / name).stat().st_mtime_ns)
    if not saved:
        return None
    since_ms = (time.time_ns() - max(saved)) / 1_000_000
    return since_ms if 0 <= since_ms < 10_000 else None
