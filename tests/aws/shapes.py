"""Values of shapes of a service's model, for property tests."""

import string
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

__all__ = ["values"]

# What a header and a path may carry as it is; what JSON carries is anything.
_plain = (
    st.text(string.ascii_letters + string.digits + "-_./:+=@ %", min_size=1, max_size=12).map(str.strip).filter(bool)
)
_any = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
_moments = st.integers(0, 2**31).map(lambda at: datetime.fromtimestamp(at, UTC))


def values(shape: Any, *, depth: int = 3) -> st.SearchStrategy[Any]:
    """All that a client may send or get of `shape`, whatever its bounds say; members may be missing."""
    located = "location" in shape.serialization
    kind = shape.type_name
    if kind == "structure":
        return _structure(shape, depth)
    if kind == "list":
        return st.lists(values(shape.member, depth=depth - 1), min_size=1, max_size=3 if depth > 0 else 1)
    if kind == "map":
        return st.dictionaries(_plain, values(shape.value, depth=depth - 1), min_size=1, max_size=2)
    simple: dict[str, st.SearchStrategy[Any]] = {
        "string": _plain if located else _any,
        "integer": st.integers(-(2**31), 2**31),
        "long": st.integers(-(2**53), 2**53),
        "boolean": st.booleans(),
        "blob": st.binary(max_size=20),
        "timestamp": _moments,
        "float": st.floats(-1e6, 1e6),
        "double": st.floats(-1e6, 1e6),
    }
    return simple[kind]


def _structure(shape: Any, depth: int) -> st.SearchStrategy[dict[str, Any]]:
    must: dict[str, Any] = {}
    may: dict[str, Any] = {}
    for name, member in shape.members.items():
        in_path = member.serialization.get("location") == "uri"
        if getattr(shape, "event_stream_name", None) == name or member.serialization.get("eventstream"):
            continue
        if depth <= 0 and member.type_name in ("structure", "list", "map") and name not in shape.required_members:
            continue
        (must if in_path or name in shape.required_members else may)[name] = values(member, depth=depth - 1)
    return st.fixed_dictionaries(must, optional=may)
