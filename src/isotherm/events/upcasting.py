"""Facts as they were stored become facts as they are: each step of a class's version has an upcaster. Pure.

As in the library `eventsourcing`: a changed fact raises `class_version` and gets a static method `upcast_v1_v2(stored)`
that changes the stored fields in place. A field that is added with a default needs neither.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, get_args

import msgspec

from isotherm.base.errors import IsothermError
from isotherm.events.aggregate import Aggregate, Fact

__all__ = ["decode_fact", "encode_fact", "fact_types"]

_version = "class_version"  # beside the fields; left out where it is 1


def fact_types(aggregate: type[Aggregate[Any]]) -> Mapping[str, type[Fact]]:
    """The facts of an aggregate by kind."""
    return _by_kind(aggregate.facts)


def encode_fact(fact: Fact) -> bytes:
    """JSON, with its kind as `type`."""
    if fact.class_version == 1:
        return msgspec.json.encode(fact)
    return msgspec.json.encode({**msgspec.to_builtins(fact), _version: fact.class_version})


def decode_fact(aggregate: type[Aggregate[Any]], kind: str, stored: bytes) -> Fact:
    """Raises `IsothermError` where this version of Isotherm does not know the kind or its version."""
    found = fact_types(aggregate).get(kind)
    if found is None:
        raise IsothermError(f"the log has an event {kind!r} of which this version of Isotherm does not know")
    if found.class_version == 1:
        return msgspec.json.decode(stored, type=found)
    fields: dict[str, Any] = msgspec.json.decode(stored)
    version = fields.pop(_version, 1)
    if version > found.class_version:
        raise IsothermError(f"the log has {kind!r} in version {version}; this Isotherm knows {found.class_version}")
    for step in range(version, found.class_version):
        getattr(found, f"upcast_v{step}_v{step + 1}")(fields)
    return msgspec.convert(fields, found)


@cache
def _by_kind(facts: Any) -> Mapping[str, type[Fact]]:
    """Of a union of fact types, or of a single one."""
    return {str(fact.__struct_config__.tag): fact for fact in get_args(facts) or (facts,)}
