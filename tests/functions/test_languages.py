"""What a runtime asks of a configuration: which one is meant, how its handler is named, what cannot be with it."""

from typing import Any

import pytest

from isotherm.base.errors import Invalid, InvalidManifest
from isotherm.functions.languages import check, expected_handler, settle
from isotherm.functions.manifest import parse_manifest
from isotherm.functions.model import FunctionConfig

THERE = ("python3.11", "nodejs20", "provided")


def config(**values: Any) -> FunctionConfig:
    return FunctionConfig(package="ab" * 32, **values)


@pytest.mark.parametrize(
    ("asked", "runtime", "handler"),
    [
        (None, "python3.11", "app.handler"),
        ("python3.11", "python3.11", "app.handler"),
        ("nodejs", "nodejs20", "index.handler"),
        ("nodejs20", "nodejs20", "index.handler"),
        ("nodejs20.x", "nodejs20", "index.handler"),
        ("provided", "provided", "bootstrap"),
    ],
)
def test_a_runtime_and_a_handler_are_settled(asked: str | None, runtime: str, handler: str) -> None:
    settled = settle(config(runtime=asked), THERE)
    assert (settled.runtime, settled.handler) == (runtime, handler)
    check(settled)
    assert settle(settled, THERE) == settled


@pytest.mark.parametrize("asked", ["nodejs18", "python3.9", "nodejs2"])
def test_a_runtime_that_is_not_there_is_refused_with_those_that_are(asked: str) -> None:
    with pytest.raises(Invalid, match=r"this platform has python3\.11, nodejs20, provided$") as caught:
        settle(config(runtime=asked), THERE)
    assert caught.value.data["expected"] == list(THERE)


def test_where_there_is_no_node_that_is_said() -> None:
    with pytest.raises(Invalid, match=r"no Node\.js of version 18 or newer was found"):
        settle(config(runtime="nodejs"), ("python3.11", "provided"))


@pytest.mark.parametrize(
    ("runtime", "handler", "fits"),
    [
        ("python3.11", "app.handler", True),
        ("python3.11", "lib/app.main", True),
        ("python3.11", "app", False),
        ("python3.11", "my-app.handler", False),
        ("nodejs20", "index.handler", True),
        ("nodejs20", "src/my-app.api.$get", True),
        ("nodejs20", "index", False),
        ("nodejs20", "../index.handler", False),
        ("nodejs20", "/index.handler", False),
        ("nodejs20", "src//index.handler", False),
        ("nodejs20", "index.mjs/handler", False),
        ("provided", "anything:goes/here", True),
    ],
)
def test_a_handler_is_named_as_its_runtime_finds_it(runtime: str, handler: str, fits: bool) -> None:
    assert (expected_handler(runtime, handler) is None) == fits
    if not fits:
        with pytest.raises(Invalid, match="handler is"):
            check(config(runtime=runtime, handler=handler))


def test_the_manifest_says_it_before_anything_is_uploaded() -> None:
    with pytest.raises(InvalidManifest, match=r"handler: expected FILE\.FUNCTION, .*; got 'index'"):
        parse_manifest(b'name = "a"\nruntime = "nodejs"\nhandler = "index"')
    parse_manifest(b'name = "a"\nruntime = "provided"\nhandler = "index"')


def test_what_cannot_be_with_a_runtime_names_the_key() -> None:
    with pytest.raises(Invalid, match="concurrency is 2") as caught:
        check(config(runtime="provided", handler="x", concurrency=2))
    assert caught.value.data["key"] == "concurrency"
    with pytest.raises(Invalid, match="pids is 8; nodejs20 needs at least 24"):
        check(config(runtime="nodejs20", handler="index.handler", pids=8))
