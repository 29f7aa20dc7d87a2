"""Both clients have the same nouns with the same verbs, and every route of the platform has one."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import isotherm.client
from isotherm.api.app import declared_routes
from isotherm.client import AsyncCall, AsyncClient, AsyncStream, Call, Client
from isotherm.client.verbs import run

SOURCE = Path(isotherm.client.__file__).parent


def nouns(client: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(client).items() if not name.startswith("_")}


def verbs(kind: type) -> dict[str, Any]:
    return {name: value for name, value in vars(kind).items() if not name.startswith("_") and callable(value)}


def pairs() -> Iterator[tuple[str, type, type]]:
    blocking, asynchronous = nouns(Client("http://h", "k")), nouns(AsyncClient("http://h", "k"))
    assert blocking.keys() == asynchronous.keys()
    for name, noun in blocking.items():
        yield name, type(noun), type(asynchronous[name])
    yield "call", Call, AsyncCall


@pytest.mark.parametrize(("blocking", "asynchronous"), [pytest.param(b, a, id=name) for name, b, a in pairs()])
def test_a_blocking_noun_has_the_verbs_of_its_asynchronous_one(blocking: type, asynchronous: type) -> None:
    assert asynchronous.__name__ == f"Async{blocking.__name__}"
    assert blocking.__doc__ == asynchronous.__doc__
    assert verbs(blocking).keys() == verbs(asynchronous).keys()
    for name, verb in verbs(asynchronous).items():
        assert inspect.signature(getattr(blocking, name)) == inspect.signature(verb)
        assert verb.__doc__, f"{asynchronous.__name__}.{name} has no docstring"


@pytest.mark.parametrize("name", ["__init__", "with_options"])
def test_both_clients_are_made_alike(name: str) -> None:
    def shown(kind: type) -> str:
        return str(inspect.signature(getattr(kind, name))).replace("Async", "")

    assert shown(Client) == shown(AsyncClient)
    assert (Client.__doc__ or "").partition("\n\n")[2] == (AsyncClient.__doc__ or "").partition("\n\n")[2]


def test_a_coroutine_that_suspends_over_a_blocking_wire_is_a_mistake_that_is_told() -> None:
    class Suspends:
        def __await__(self) -> Iterator[None]:
            yield

    async def suspending() -> None:
        await Suspends()

    with pytest.raises(RuntimeError, match="suspended"):
        run(suspending())


async def test_a_stream_that_is_closed_has_ended() -> None:
    async def numbers() -> Any:
        for number in range(3):
            yield number

    async with AsyncStream(numbers()) as stream:
        assert await anext(stream) == 0
    assert [number async for number in stream] == []


def paths_of_the_client() -> set[str]:
    """Every path that the source has, with a `*` for each part that is filled in."""
    found: set[str] = set()
    for source in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.add("".join(str(p.value) if isinstance(p, ast.Constant) else "*" for p in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return found


def test_every_route_of_the_platform_has_a_verb() -> None:
    """By the last words of its path. A new route needs a method of an asynchronous noun, and a line in its blocking
    one."""
    known = paths_of_the_client()
    missing = []
    for route in declared_routes():
        words = [word for word in route.path.split("/") if word and not word.startswith("{")]
        if not any(re.search(rf"\b{re.escape(words[-1])}\b", path) for path in known):
            missing.append(f"{route.method} {route.path}")
    assert missing == []
