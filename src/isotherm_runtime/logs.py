"""What the user's code prints and logs, as LOG frames of the call that it belongs to.

The call is found by a context variable; a thread that the handler starts, and what it submits to a thread pool,
belong to its call too (`Thread.start` and `ThreadPoolExecutor.submit` are wrapped for that). What is written
outside any call, or after its end, belongs to the instance: stream 0. Output through raw descriptors is not seen here.
"""

from __future__ import annotations

import io
import sys
import time
from _thread import RLock
from contextvars import ContextVar

from isotherm_runtime.frames import Flag, Kind, pack_frame
from isotherm_runtime.imports import when_imported
from isotherm_runtime.stream import Stream

TYPE_CHECKING = False  # `typing` takes 5 ms to import; type checkers know the name
if TYPE_CHECKING:
    import logging
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

__all__ = ["CallLog", "InstanceLog", "Output", "attach", "current_call", "detach", "enter_call", "install", "uninstall"]

MAX_LINE_BYTES = 32 * 1024
INSTANCE_WINDOW_S = 60.0  # the limit of one call holds for the instance's own output in each such window
ROOM_WAIT_S = 5.0

_call: ContextVar[CallLog] = ContextVar("isotherm_call")
_now_ns = time.time_ns


class Output:
    """Where LOG frames go. `coalesce`: somebody else flushes within a few milliseconds."""

    __slots__ = ("coalesce", "limit_bytes", "lock", "stream")

    def __init__(self, stream: Stream, limit_bytes: int, coalesce: bool = False) -> None:
        self.stream = stream
        self.limit_bytes = limit_bytes
        self.coalesce = coalesce
        self.lock = RLock()

    def put(self, frame: bytes) -> None:
        stream = self.stream
        stream.queue.append(frame)
        try:
            if not self.coalesce or len(stream.queue) > 64:
                stream.flush()
                stream.wait_for_room(ROOM_WAIT_S)
        except OSError:
            return  # the serving loop notices too; the user's print() must not fail for it


class CallLog:
    """The log of one call: lines with a bound, up to a limit, then one notice."""

    __slots__ = ("ended", "left", "output", "partial", "stream_id")

    def __init__(self, output: Output, stream_id: int) -> None:
        self.output = output
        self.stream_id = stream_id
        self.left = output.limit_bytes
        self.partial: dict[str, str] | None = None  # by stream name: what has no line end yet
        self.ended = False

    def write(self, name: str, text: str) -> None:
        """Text of any shape, as print() gives it."""
        with self.output.lock:
            if self.left <= 0:
                return
            text = text[: self.left + MAX_LINE_BYTES]
            partial = self.partial
            if partial and name in partial:
                text = partial.pop(name) + text
            *lines, rest = text.split("\n")
            for line in lines:
                self.emit(line, None)
            if len(rest) > MAX_LINE_BYTES:
                self.emit(rest, None)
            elif rest:
                if partial is None:
                    partial = self.partial = {}
                partial[name] = rest

    def emit(self, text: str, level: str | None) -> None:
        """One line or one record; over the line limit it becomes several."""
        data = text.encode("utf-8", "backslashreplace")
        with self.output.lock:
            while self.left > 0:
                piece = data[: min(MAX_LINE_BYTES, self.left)]
                self.left -= len(piece) + 1
                self._put(piece, level, 0)
                data = data[len(piece) :]
                if not data:
                    break
            if self.left <= 0 and self.left != -sys.maxsize:
                self.left = -sys.maxsize
                notice = f"the log of this call reached its limit of {self.output.limit_bytes} bytes"
                self._put(notice.encode(), None, Flag.TRUNCATED)

    def close(self) -> None:
        """The call ends: lines without an end go out, and what comes later belongs to the instance."""
        if self.partial:
            with self.output.lock:
                rest, self.partial = self.partial, None
                for text in rest.values():
                    self.emit(text, None)
        self.ended = True

    def _put(self, data: bytes, level: str | None, flags: int) -> None:
        head = f'[{_now_ns() // 1_000_000},"{level}"]' if level else f"[{_now_ns() // 1_000_000},null]"
        self.output.put(pack_frame(Kind.LOG, self.stream_id, head.encode(), data, flags=flags))


class InstanceLog(CallLog):
    """The log of no call. Its limit begins anew in each window."""

    __slots__ = ("window_end",)

    def __init__(self, output: Output) -> None:
        super().__init__(output, 0)
        self.window_end = 0.0

    def write(self, name: str, text: str) -> None:
        self._renew()
        super().write(name, text)

    def emit(self, text: str, level: str | None) -> None:
        self._renew()
        super().emit(text, level)

    def _renew(self) -> None:
        now = time.monotonic()
        if now >= self.window_end:
            self.window_end = now + INSTANCE_WINDOW_S
            self.left = self.output.limit_bytes


def enter_call(log: CallLog) -> None:
    """From here on, output in this context belongs to the call."""
    _call.set(log)


def current_call() -> CallLog | None:
    """The call that output belongs to here and now, if one runs."""
    call = _call.get(None)
    if call is None and (threading := sys.modules.get("threading")) is not None:
        call = getattr(threading.current_thread(), "_isotherm_call", None)
    return call if call is not None and not call.ended else None


class _TextStream(io.TextIOBase):
    """Takes the place of sys.stdout or sys.stderr."""

    def __init__(self, name: str, original: io.TextIOBase | None) -> None:
        self._name = name
        self.original = original
        self.buffer = _ByteStream(self)

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        log = current_call() or _state.instance_log
        if log is not None and log.output.stream.fd >= 0:
            log.write(self._name, text)
        elif self.original is not None:
            self.original.write(text)
        return len(text)

    def flush(self) -> None:
        if self.original is not None and not self.original.closed:
            self.original.flush()

    def fileno(self) -> int:
        if self.original is None:
            raise io.UnsupportedOperation("fileno")
        return self.original.fileno()

    @property
    def name(self) -> str:
        return f"<{self._name}>"

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has an attribute where CPython has a property
        return "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]  # as above
        return "backslashreplace"

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """Closing standard output would break the next call."""

    def reconfigure(self, **_: object) -> None:
        """Accepted for the sake of programs that set an encoding; there is nothing to set."""


class _ByteStream(io.RawIOBase):
    """sys.stdout.buffer."""

    def __init__(self, text: _TextStream) -> None:
        self._text = text

    def write(self, data: object) -> int:
        raw = bytes(data)  # type: ignore[call-overload]  # anything with a buffer; bytes() raises TypeError otherwise
        self._text.write(raw.decode("utf-8", "backslashreplace"))
        return len(raw)

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """See `_TextStream.close`."""


class _State:
    owns_process = True
    instance_log: InstanceLog | None = None
    handler: logging.Handler | None = None


_state = _State()


def install(owns_process: bool = True) -> None:
    """Take over sys.stdout, sys.stderr and, once it is imported, `logging`. Harmless when done again.

    `owns_process` False: what is written outside calls is none of ours.
    """
    _state.owns_process = owns_process
    for name in ("stdout", "stderr"):
        if not isinstance(getattr(sys, name), _TextStream):
            setattr(sys, name, _TextStream(name, getattr(sys, name)))
    when_imported("logging", _configure_logging)
    when_imported("threading", _follow_threads)
    when_imported("concurrent.futures.thread", _follow_pools)


def uninstall() -> None:
    """Give sys.stdout, sys.stderr and `logging` back."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if isinstance(stream, _TextStream):
            setattr(sys, name, stream.original)
    if _state.handler is not None:
        sys.modules["logging"].getLogger().removeHandler(_state.handler)
        _state.handler = None


def attach(log: InstanceLog) -> None:
    """From now on output outside calls goes to the host too."""
    _state.instance_log = log


def detach() -> None:
    _state.instance_log = None


def _configure_logging(logging: ModuleType) -> None:
    class RecordHandler(logging.Handler):  # type: ignore[misc,name-defined]  # `logging` is only imported by users
        """On the root logger, so that the user's basicConfig() changes nothing, as on Lambda."""

        def emit(self, record: Any) -> None:
            try:
                _emit_record(self.format(record), record.levelname)
            except Exception:  # noqa: BLE001 - what logging's own handlers do: report, never raise
                self.handleError(record)

    if _state.handler is None:
        _state.handler = RecordHandler()
        logging.getLogger().addHandler(_state.handler)


def _emit_record(text: str, level: str) -> None:
    log = current_call() or _state.instance_log
    if log is not None and log.output.stream.fd >= 0:
        log.emit(text, level if level.isalnum() and len(level) < 32 else None)
    elif _state.owns_process and sys.stderr is not None:
        sys.stderr.write(f"[{level}] {text}\n")


def _follow_threads(threading: ModuleType) -> None:
    start: Callable[..., None] = threading.Thread.start
    if getattr(start, "_isotherm", False):
        return

    def start_in_call(self: object) -> None:
        self._isotherm_call = current_call()  # type: ignore[attr-defined]  # read by `current_call`
        start(self)

    start_in_call._isotherm = True  # type: ignore[attr-defined]  # marks the wrapper
    start_in_call.__doc__ = start.__doc__
    threading.Thread.start = start_in_call


def _follow_pools(module: ModuleType) -> None:
    submit: Callable[..., object] = module.ThreadPoolExecutor.submit
    if getattr(submit, "_isotherm", False):
        return

    def submit_in_call(self: object, fn: Callable[..., object], /, *args: object, **kwargs: object) -> object:
        log = current_call()
        if log is None:
            return submit(self, fn, *args, **kwargs)
        return submit(self, _run_in_call, log, fn, *args, **kwargs)

    submit_in_call._isotherm = True  # type: ignore[attr-defined]  # marks the wrapper
    submit_in_call.__doc__ = submit.__doc__
    module.ThreadPoolExecutor.submit = submit_in_call


def _run_in_call(log: CallLog, fn: Callable[..., object], /, *args: object, **kwargs: object) -> object:
    token = _call.set(log)
    try:
        return fn(*args, **kwargs)
    finally:
        _call.reset(token)
