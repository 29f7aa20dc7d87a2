"""The events of a folder and what is expected of each: `events/NAME.json` and, beside it, `events/NAME.expect.json`."""

import json
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from isotherm.base.errors import Invalid

__all__ = ["EVENTS", "EXPECT", "Case", "ErrorExpectation", "Expectation", "find_cases"]

EVENTS = "events"
EXPECT = ".expect.json"
MAX_BYTES = 6 * 1024 * 1024


class ErrorExpectation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The handler raises: the name of the error's type, and a regular expression that its message holds."""

    type: str | None = None
    message: str | None = None


class Expectation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that is given must hold. Nothing given: the handler returns."""

    equals: Any = UNSET  # the answer is this
    contains: Any = UNSET  # the answer has this in it: members of objects that are not named do not count
    matches: dict[str, str] = msgspec.field(default_factory=dict)  # by JSON pointer: a regular expression of the text
    error: str | ErrorExpectation | UnsetType = UNSET
    log: Annotated[list[str], Meta(max_length=100)] = msgspec.field(default_factory=list)  # regular expressions
    max_ms: Annotated[float, Meta(gt=0)] | None = None  # the handler runs no longer


class Case(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    event: bytes  # JSON
    expectation: Expectation
    file: str  # of the event, as messages name it


def find_cases(folder: Path, only: str | None = None) -> list[Case]:
    """By name; `only`: those whose names have it in them, or match it as a pattern. Raises `Invalid`, naming file and
    what was expected."""
    files = [path for path in sorted((folder / EVENTS).glob("*.json")) if not path.name.endswith(EXPECT)]
    if not files:
        raise Invalid(
            f"{folder / EVENTS}: no events; put JSON files there, each an event that the function is called with"
        )
    orphans = {path.name.removesuffix(EXPECT) for path in (folder / EVENTS).glob(f"*{EXPECT}")}
    orphans -= {path.stem for path in files}
    if orphans:
        name = min(orphans)
        raise Invalid(f"{folder / EVENTS / (name + EXPECT)}: there is no event {name}.json that it would belong to")
    found = [_case(path) for path in files if only is None or only in path.stem or fnmatch(path.stem, only)]
    if not found:
        raise Invalid(f"-k {only}: no event of {folder / EVENTS} is called so")
    return found


def _case(path: Path) -> Case:
    event = _read(path)
    try:
        json.loads(event)
    except ValueError as exc:
        raise Invalid(f"{path}: not JSON: {exc}", file=str(path)) from exc
    beside = path.with_name(path.stem + EXPECT)
    expectation = _expectation(beside) if beside.is_file() else Expectation()
    return Case(name=path.stem, event=event, expectation=expectation, file=str(path))


def _expectation(path: Path) -> Expectation:
    try:
        found = msgspec.json.decode(_read(path), type=Expectation)
    except msgspec.MsgspecError as exc:
        raise Invalid(f"{path}: {exc}", file=str(path)) from exc
    patterns = [*found.matches.values(), *found.log]
    if isinstance(found.error, ErrorExpectation) and found.error.message is not None:
        patterns.append(found.error.message)
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as exc:
            raise Invalid(f"{path}: {pattern!r} is no regular expression: {exc}", file=str(path)) from exc
    answers = found.equals is not UNSET or found.contains is not UNSET or bool(found.matches)
    if found.error is not UNSET and answers:
        raise Invalid(f"{path}: a call that ends with an error has no answer to expect", file=str(path))
    return found


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise Invalid(f"{path}: cannot be read: {exc.strerror}", file=str(path)) from exc
    if len(content) > MAX_BYTES:
        raise Invalid(f"{path}: larger than {MAX_BYTES >> 20} MiB", file=str(path))
    return content
