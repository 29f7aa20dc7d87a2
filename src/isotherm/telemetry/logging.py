"""Structured logs of a process: JSON lines on stderr, or readable ones where stderr is a terminal. Never secrets."""

import logging
import sys

import structlog

__all__ = ["Logger", "configure_logging", "get_logger"]

Logger = structlog.typing.FilteringBoundLogger

secret_words = ("authorization", "token", "secret", "password", "api_key", "env")


def configure_logging(process: str, *, quiet: bool = False) -> None:
    """Send all logs of this process to stderr, each with `process`; the standard library's from WARNING on.

    `quiet`: nothing below CRITICAL, of a process that tells its failures otherwise."""
    terminal = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _named(process),
            _without_secrets,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL if quiet else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")


def get_logger(room: str) -> Logger:
    """The logger of a room; its name is on every line."""
    logger: Logger = structlog.get_logger(room=room)
    return logger


def _named(process: str) -> structlog.typing.Processor:
    def add(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        event.setdefault("process", process)
        return event

    return add


def _without_secrets(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """The last guard: whatever is named like a secret is not printed."""
    for key in event:
        if any(word in key.lower() for word in secret_words):
            event[key] = "…"
    return event
