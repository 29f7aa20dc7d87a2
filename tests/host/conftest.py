"""A vault, revisions, and a scripted control for the tests of the host's parts."""

import asyncio
from typing import Any

import pytest
import uvloop

from isotherm.storage.vault import Vault
from isotherm.wire.desired import AliasSpec, GrantSpec, Item, KeySpec, RevisionSpec, RouteSpec


@pytest.fixture
def vault() -> Vault:
    return Vault(bytes(range(32)))


def revision_item(number: int, **changes: Any) -> Item:
    values: dict[str, Any] = {
        "id": f"rev_{number}",
        "workload_id": f"wl_{number}",
        "namespace": "default",
        "name": f"f{number}",
        "number": 1,
        "runtime": "python3.11",
        "handler": "app.handler",
        "package": f"{number:064x}",
    }
    return Item(revision=RevisionSpec(**(values | changes)))


def route_item(number: int, **changes: Any) -> Item:
    values: dict[str, Any] = {
        "workload_id": f"wl_{number}",
        "namespace": "default",
        "name": f"f{number}",
        "aliases": [AliasSpec("live", [(f"rev_{number}", 1.0)])],
    }
    return Item(route=RouteSpec(**(values | changes)))


def key_item(number: int, digest: str = "d") -> Item:
    return Item(key=KeySpec(id=f"key_{number}", digest=digest, principal_id="pr", grants=[GrantSpec("*", "admin")]))


@pytest.fixture(scope="session")
def event_loop_policy() -> asyncio.AbstractEventLoopPolicy:
    """The loop that the host runs on."""
    return uvloop.EventLoopPolicy()
