"""Failures of the user's code as ERROR heads: Lambda's fields, bounded, without the platform's frames."""

from __future__ import annotations

import json
import os

import isotherm_runtime
from isotherm_runtime.frames import MAX_HEAD_BYTES, ErrorKind

__all__ = ["ImportProblem", "RestoreProblem", "describe", "error_head", "full_text"]

MAX_MESSAGE_CHARS = 8 * 1024
MAX_STACK_ENTRIES = 50
MAX_ENTRY_CHARS = 1024
MAX_TEXT_CHARS = 16 * 1024

RUNTIME_DIR = os.path.dirname(__file__) + os.sep


class ImportProblem(Exception):
    """The handler cannot be used. `head()` is the head of an ERROR frame on stream 0."""

    def __init__(self, error_type: str, message: str, stack_trace: list[str] | None = None) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.stack_trace = stack_trace or []

    def head(self) -> bytes:
        return error_head(ErrorKind.IMPORT, self.error_type, self.message, self.stack_trace)


class RestoreProblem(ImportProblem):
    """A hook of `snapshot_restore_py` failed or took too long."""


def error_head(kind: str, error_type: str, message: str, stack_trace: list[str] | None = None) -> bytes:
    """The head of an ERROR frame, always below the head's limit."""
    fields = {
        "kind": str(kind),
        "error_type": _cut(error_type, 256),
        "error_message": _cut(message, MAX_MESSAGE_CHARS),
        "stack_trace": [_cut(entry, MAX_ENTRY_CHARS) for entry in (stack_trace or [])[-MAX_STACK_ENTRIES:]],
    }
    head = json.dumps(fields).encode()
    if len(head) > MAX_HEAD_BYTES:  # many characters that JSON escapes
        fields["stack_trace"] = []
        head = json.dumps(fields).encode()
    return head


def describe(exc: BaseException) -> tuple[str, str, list[str]]:
    """`(error_type, error_message, stack_trace)` as Lambda gives them; the frames are the user's alone."""
    return type(exc).__name__, _message(exc), _summary(exc)[0]


def full_text(exc: BaseException) -> str:
    """What goes to the log: the exception with its causes, the platform's frames left out, bounded."""
    return _cut(_summary(exc)[1], MAX_TEXT_CHARS)


def _summary(exc: BaseException) -> tuple[list[str], str]:
    # Formatting runs the user's code (__str__, __repr__, __notes__), which may raise anything.
    import traceback  # it takes 3 ms, and most instances never fail

    try:
        found = traceback.TracebackException(type(exc), exc, exc.__traceback__, limit=-2 * MAX_STACK_ENTRIES)
        _keep_user_frames(found)
        entries = [f'  File "{f.filename}", line {f.lineno}, in {f.name}\n    {f.line}\n' for f in found.stack]
        return entries, "".join(found.format())
    except Exception:  # noqa: BLE001 - see above: then there is nothing to show but the type
        return [], type(exc).__name__


def _keep_user_frames(found: object) -> None:
    seen: set[int] = set()
    rest = [found]
    while rest:
        part = rest.pop()
        if part is None or id(part) in seen:
            continue
        seen.add(id(part))
        stack = part.stack  # type: ignore[attr-defined]  # a TracebackException; traceback is imported late
        stack[:] = [frame for frame in stack if not _is_platform(frame.filename)]
        rest += [part.__cause__, part.__context__]  # type: ignore[attr-defined]
        rest += getattr(part, "exceptions", None) or []


def _is_platform(filename: str) -> bool:
    # In a sandbox, what was imported late has its files elsewhere than what was imported before it.
    places = [place + os.sep for place in isotherm_runtime.__path__]
    return filename.startswith((RUNTIME_DIR, *places, "<frozen importlib", "<frozen runpy"))


def _message(exc: BaseException) -> str:
    try:
        return str(exc)
    except Exception:  # noqa: BLE001 - the user's __str__ may raise anything
        return f"(the text of this {type(exc).__name__} cannot be made)"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[:limit] + f"… ({len(text) - limit} more characters)"
