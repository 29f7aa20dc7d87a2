"""schemathesis over the whole API with the admin's key: no 5xx, and no answer outside the OpenAPI document.

Paths mostly name what is there (a function with two revisions, an alias, an invocation), so that calls get deep.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis import Case
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from starlette.types import Receive, Scope, Send

from isotherm.api.app import openapi_document
from isotherm.base.errors import ImportFailed
from isotherm.base.ids import is_name
from isotherm.functions.model import FunctionConfig
from isotherm.tenancy.model import SYSTEM
from isotherm.wire.telemetry import Batch, InvocationRecord, LogLine
from tests.api.conftest import World, build_world, make_zip

pytestmark = pytest.mark.slow
_checks = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    ignored_auth,
    unsupported_method,
]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="isotherm-test-", dir="/tmp") as folder:
        built = build_world(Path(folder))
        built.services.stopping.set()  # streams end after what is there
        _fill(built)
        _worlds.append(built)
        yield built
        built.rooms.close()


def _fill(world: World) -> None:
    """A function with a revision that is live, one that failed and one that builds; a call and its log."""
    functions = world.rooms.functions
    world.rooms.secrets.set(SYSTEM, "default", "token", "a value")
    package = functions.upload_package(SYSTEM, "default", make_zip()).digest
    revisions = [
        functions.deploy(
            SYSTEM,
            "default",
            "hello",
            FunctionConfig(package=package, memory_mb=memory_mb, secrets={"TOKEN": "token"}),
        ).revision
        for memory_mb in (64, 128, 256)
    ]
    functions.mark_ready(revisions[0].id, template=True, unfit=[], elapsed_ms=5.0)
    functions.mark_failed(revisions[1].id, ImportFailed("no module named x").problem(), elapsed_ms=5.0)
    record = InvocationRecord(
        id="call-1",
        namespace="default",
        name="hello",
        revision_id=revisions[0].id,
        alias="live",
        source="url",
        started_at_ms=1_700_000_000_000,
        queue_ms=0.1,
        start_ms=3.0,
        run_ms=1.0,
        total_ms=4.2,
        outcome="ok",
        status=200,
        cold_cause="spare",
        why_kept="cold",
    )
    line = LogLine(
        namespace="default",
        name="hello",
        revision_id=revisions[0].id,
        instance_id="i",
        at_ms=1_700_000_000_000,
        message="hi",
    )
    world.rooms.records.ingest(
        Batch(host_id="host_1", boot_id="boot_1", sequence=1, sent_at_ms=1, invocations=[record], logs=[line])
    )


async def current_app(scope: Scope, receive: Receive, send: Send) -> None:
    """The application of the world that the test runs in; the cases are made before there is one."""
    await _worlds[-1].api.asgi(scope, receive, send)


_worlds: list[World] = []
schema = schemathesis.openapi.from_dict(openapi_document("0.1.0"))
schema.app = current_app
_there: dict[str, list[Any]] = {
    "ns": ["default", "default", "default", "absent"],
    "name": ["hello", "hello", "hello", "absent"],
    "number": [1, 2, 3, 4],
    "alias": ["live", "beta"],
    "secret": ["token", "token", "absent"],
    "invocation_id": ["call-1", "call-2"],
}


@schemathesis.serializer("application/zip")
def zip_bytes(context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Half of what is uploaded is a good zip."""
    content = value if isinstance(value, bytes) else str(value).encode()
    return make_zip() if hash(content) % 2 else content


def _is_valid(value: Any) -> bool:
    return value >= 1 if isinstance(value, int) else isinstance(value, str) and is_name(value)


@schema.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Turn what was generated well into what is there; what was generated to be refused stays."""
    for name, values in _there.items():
        value = (path_parameters or {}).get(name)
        if path_parameters is not None and _is_valid(value):
            path_parameters[name] = values[hash(value) % len(values)]
    return path_parameters


@schema.parametrize()
@hypothesis.settings(
    max_examples=60,
    derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
    database=None,
)
def test_every_answer_is_one_that_the_document_promises(case: Case[Any], world: World) -> None:
    response = case.call(headers={"Authorization": f"Bearer {world.admin}"})
    case.validate_response(response, checks=_checks, headers={"Authorization": f"Bearer {world.admin}"})
