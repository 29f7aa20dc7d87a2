"""An instance's life after its fork: HELLO, calls, the end."""

from __future__ import annotations

import json
import sys

from isotherm_runtime import logs
from isotherm_runtime.config import RuntimeConfig
from isotherm_runtime.errors import describe, error_head
from isotherm_runtime.frames import PROTOCOL_VERSION, ErrorKind, FrameError, Kind, pack_frame
from isotherm_runtime.handler import Handler
from isotherm_runtime.invoke import BodyInvoker, Invoker
from isotherm_runtime.stream import Stream, StreamBroken

__all__ = ["EXIT_BROKEN_STREAM", "EXIT_INTERNAL", "refuse", "serve"]

EXIT_INTERNAL = 70
EXIT_BROKEN_STREAM = 74
SWITCH_INTERVAL_S = 0.001
FINISH_S = 10.0  # for the last answers to be written, which another thread may be doing


def serve(stream_fd: int, handler: Handler, config: RuntimeConfig, *, owns_process: bool = True) -> int:
    """Say HELLO, then serve until the host closes the stream or sends DRAIN. Returns the exit status.

    Leave with `os._exit(status)`: threads of the user's code may still run. `owns_process` False (the fake driver):
    output outside calls is not taken. Blocks; uses the descriptor in blocking mode and does not close it.
    """
    stream = Stream(stream_fd)
    threads = not handler.is_async and config.dispatch == "threads" and config.concurrency > 1
    output = logs.Output(stream, config.log_limit_bytes, coalesce=threads)
    instance_log = logs.InstanceLog(output)
    if owns_process:
        logs.attach(instance_log)
        if threads:
            # So that a follower does not wait 5 ms for a handler that computes: 2 to 5 ms late instead of 8 to 20.
            sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_INTERVAL_S))
    try:
        hello = {"v": PROTOCOL_VERSION, "runtime": config.runtime, "import_ms": round(handler.import_ms, 3)}
        stream.send(pack_frame(Kind.HELLO, 0, json.dumps(hello).encode()))
        invoker = (BodyInvoker if config.request_body == "stream" else Invoker)(handler, config, output)
        return _dispatch(stream, invoker, handler, config, instance_log)
    except StreamBroken:
        return EXIT_BROKEN_STREAM
    except BaseException as exc:  # noqa: BLE001 - whatever broke the serving loop, perhaps the user's signal handler, ends it
        return _give_up(stream, exc)
    finally:
        stream.finish(FINISH_S)
        if owns_process:
            logs.detach()


def refuse(stream_fd: int, head: bytes) -> None:
    """Say why there will be no HELLO: an ERROR frame on stream 0. The instance must exit then."""
    try:
        Stream(stream_fd).send(pack_frame(Kind.ERROR, 0, head))
    except OSError:
        return  # nobody listens


def _dispatch(
    stream: Stream, invoker: Invoker, handler: Handler, config: RuntimeConfig, instance_log: logs.InstanceLog
) -> int:
    serial = config.dispatch == "serial"
    if handler.is_async:
        from isotherm_runtime.tasks import Tasks

        return Tasks(stream, invoker, 1 if serial else config.concurrency).serve()
    if serial or config.concurrency == 1:
        from isotherm_runtime.serial import Serial

        return Serial(stream, invoker, config.concurrency).serve()
    from isotherm_runtime.followers import Followers

    def notice(text: str) -> None:
        instance_log.emit(text, "WARNING")

    return Followers(stream, invoker, config.concurrency, notice).serve()


def _give_up(stream: Stream, exc: BaseException) -> int:
    error_type, message, trace = describe(exc)
    if isinstance(exc, FrameError):
        message = f"the host broke the protocol: {message}"
    elif isinstance(exc, OSError):
        message = f"the stream to the host cannot be used: {message}"
    try:
        stream.send(pack_frame(Kind.ERROR, 0, error_head(ErrorKind.INTERNAL, error_type, message, trace)))
    except OSError:
        return EXIT_BROKEN_STREAM
    return EXIT_INTERNAL
