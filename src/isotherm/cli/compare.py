"""Two JSON values against each other: where they are unlike, whether one is within the other, and both side by side.

Pure. Places are JSON pointers (RFC 6901); the whole value is "".
"""

import difflib
import json
import re
from collections.abc import Collection, Iterator
from typing import Any

import msgspec

__all__ = ["MISSING", "Difference", "at", "differences", "lacking", "pretty", "side_by_side", "without"]


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING = _Missing()  # there is no value at that place


class Difference(msgspec.Struct, frozen=True):
    """What was expected at a place, and what is there; either may be `MISSING`."""

    place: str
    expected: Any
    actual: Any

    def __str__(self) -> str:
        return f"{self.place or '(the answer)'}: expected {_shown(self.expected)}, got {_shown(self.actual)}"


def differences(expected: Any, actual: Any, place: str = "") -> list[Difference]:
    """Every place where they are unlike, the outermost of each. 1 and 1.0 are alike, 1 and true are not."""
    return list(_differences(expected, actual, place, within=False))


def lacking(expected: Any, actual: Any, place: str = "") -> list[Difference]:
    """As `differences`, but members of objects that are not expected do not count."""
    return list(_differences(expected, actual, place, within=True))


def _differences(expected: Any, actual: Any, place: str, *, within: bool) -> Iterator[Difference]:
    if isinstance(expected, dict) and isinstance(actual, dict):
        names = list(expected) + ([] if within else [name for name in actual if name not in expected])
        for name in names:
            inner = f"{place}/{_escaped(name)}"
            yield from _differences(expected.get(name, MISSING), actual.get(name, MISSING), inner, within=within)
    elif isinstance(expected, list) and isinstance(actual, list):
        for index in range(max(len(expected), len(actual))):
            one = expected[index] if index < len(expected) else MISSING
            other = actual[index] if index < len(actual) else MISSING
            yield from _differences(one, other, f"{place}/{index}", within=within)
    elif not _alike(expected, actual):
        yield Difference(place, expected, actual)


def at(value: Any, place: str) -> Any:
    """What is at a place; `MISSING` where nothing is."""
    for part in place.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and re.fullmatch(r"0|[1-9][0-9]{0,9}", name) and int(name) < len(value):
            value = value[int(name)]
        else:
            return MISSING
    return value


def without(found: Collection[Difference], places: Collection[str]) -> list[Difference]:
    """Those that lie neither at nor below one of these places."""
    return [
        each
        for each in found
        if not any(each.place == place or each.place.startswith(place.rstrip("/") + "/") for place in places)
    ]


def pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True)


def side_by_side(expected: Any, actual: Any) -> list[str]:
    """Lines: `-` expected, `+` got."""
    lines = difflib.unified_diff(
        pretty(expected).splitlines(), pretty(actual).splitlines(), "expected", "got", lineterm="", n=3
    )
    return list(lines)[2:]


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _shown(value: Any) -> str:
    text = repr(value) if value is MISSING else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:197] + "…"
