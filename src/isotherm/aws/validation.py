"""Whether an operation's input satisfies the constraints of its model, in the words that AWS has for it. Pure."""

from collections.abc import Iterator
from typing import Any

from isotherm.aws.fault import AwsError
from isotherm.aws.service_model import ServiceModel

__all__ = ["check_input", "enum_text"]

_shown = 1000
_made_of_others = ("structure", "list", "map")


def check_input(model: ServiceModel, operation: Any, given: dict[str, Any], skip: frozenset[str] = frozenset()) -> None:
    """Raises `AwsError` (`ValidationException`) with all that is wrong. `skip`: shapes whose enum or pattern the
    operation checks itself."""
    if operation.input_shape is None:
        return
    found = list(_structure(model, operation.input_shape, given, "", skip))
    if found:
        many = "" if len(found) == 1 else "s"
        text = "; ".join(found)
        raise AwsError("ValidationException", f"{len(found)} validation error{many} detected: {text}")


def enum_text(values: list[str]) -> str:
    return f"Member must satisfy enum value set: [{', '.join(values)}]"


def _structure(
    model: ServiceModel, shape: Any, given: dict[str, Any], where: str, skip: frozenset[str]
) -> Iterator[str]:
    for name in shape.required_members:
        if given.get(name) is None:
            yield _fault(None, _joined(where, name), "Member must not be null")
    for name, value in given.items():
        yield from _value(model, shape.members[name], value, _joined(where, name), skip)


def _value(model: ServiceModel, shape: Any, value: Any, where: str, skip: frozenset[str]) -> Iterator[str]:
    kind = shape.type_name
    for constraint in _broken(model, shape, value, skip):
        yield _fault(value, where, constraint)
    if kind == "structure" and not getattr(shape, "is_document_type", False):
        yield from _structure(model, shape, value, where, skip)
    elif kind == "list" and shape.member.type_name in _made_of_others:
        for at, each in enumerate(value, 1):
            yield from _value(model, shape.member, each, f"{where}.{at}.member", skip)
    elif kind == "list":
        yield from _elements(model, shape.member, value, value, where, "Member", skip)
    elif kind == "map":
        hidden = any(each.metadata.get("sensitive") for each in (shape, shape.key, shape.value))
        yield from _elements(model, shape.key, list(value), value, where, "Map keys", skip, hidden=hidden)
        yield from _elements(model, shape.value, list(value.values()), value, where, "Map value", skip, hidden=hidden)


def _elements(
    model: ServiceModel,
    shape: Any,
    elements: list[Any],
    value: Any,
    where: str,
    what: str,
    skip: frozenset[str],
    *,
    hidden: bool = False,
) -> Iterator[str]:
    """One fault of the whole where any element is wrong, with all that is asked; `hidden`: without its value."""
    if any(any(_broken(model, shape, each, skip)) for each in elements):
        asked = ", ".join([*_asked(shape), "Member must not be null"])
        yield _fault(value, where, f"{what} must satisfy constraint: [{asked}]", hidden=hidden)


def _asked(shape: Any) -> Iterator[str]:
    """All constraints of a shape, in AWS's order."""
    meta = shape.metadata
    what = "length" if shape.type_name in ("string", "blob") else "value"
    if "max" in meta:
        yield f"Member must have {what} less than or equal to {meta['max']}"
    if "min" in meta:
        yield f"Member must have {what} greater than or equal to {meta['min']}"
    if "pattern" in meta:
        yield f"Member must satisfy regular expression pattern: {meta['pattern']}"
    if "enum" in meta:
        yield enum_text(list(meta["enum"]))


def _broken(model: ServiceModel, shape: Any, value: Any, skip: frozenset[str]) -> Iterator[str]:
    """The constraints of one shape that a value does not satisfy."""
    meta, kind = shape.metadata, shape.type_name
    if kind in ("string", "blob", "list", "map"):
        if "min" in meta and len(value) < meta["min"]:
            yield f"Member must have length greater than or equal to {meta['min']}"
        if "max" in meta and len(value) > meta["max"]:
            yield f"Member must have length less than or equal to {meta['max']}"
    elif kind in ("integer", "long", "float", "double"):
        if "min" in meta and value < meta["min"]:
            yield f"Member must have value greater than or equal to {meta['min']}"
        if "max" in meta and value > meta["max"]:
            yield f"Member must have value less than or equal to {meta['max']}"
    if kind == "string" and shape.name not in skip:
        options = meta.get("enum")
        if options and value not in options:
            yield enum_text(list(options))
        pattern = model.pattern(meta["pattern"]) if "pattern" in meta else None
        if pattern is not None and not pattern.fullmatch(value):
            yield f"Member must satisfy regular expression pattern: {meta['pattern']}"


def _joined(where: str, name: str) -> str:
    lower = name[:1].lower() + name[1:]
    return f"{where}.{lower}" if where else lower


def _fault(value: Any, where: str, constraint: str, *, hidden: bool = False) -> str:
    if hidden:
        return f"Value at '{where}' failed to satisfy constraint: {constraint}"
    if value is None:
        return f"Value null at '{where}' failed to satisfy constraint: {constraint}"
    text = "java.nio.HeapByteBuffer" if isinstance(value, bytes) else _java(value)
    return f"Value '{text[:_shown]}' at '{where}' failed to satisfy constraint: {constraint}"


def _java(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_java, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}={_java(each)}' for key, each in value.items())}}}"
    return str(value).lower() if isinstance(value, bool) else str(value)
