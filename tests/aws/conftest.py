"""The API over the rooms of a house, without a host: revisions are made ready by hand."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from botocore.awsrequest import prepare_request_dict
from botocore.serialize import create_serializer

from isotherm.aws.lambda_api.call import Services
from isotherm.aws.lambda_api.desk import AwsRequest, LambdaApi
from isotherm.base.settings import Settings
from isotherm.tenancy.model import Principal
from tests.house import House, house, zipped

__all__ = ["Desk", "desk", "house"]

ROLE = "arn:aws:iam::123456789012:role/r"


@dataclass
class Desk:
    house: House
    api: LambdaApi
    settled: list[None] = field(default_factory=list)

    def ask(self, name: str, principal: Principal | None = None, /, **given: Any) -> tuple[int, Any]:
        """The status of an operation, and its JSON."""
        operation = self.api.model.operation(name)
        request = create_serializer("rest-json", include_validation=False).serialize_to_request(given, operation)
        prepare_request_dict(request, endpoint_url="http://isotherm:7070")
        parts = urlsplit(request["url"])
        body = request["body"]
        made = AwsRequest(
            method=request["method"],
            path=quote(parts.path, safe="/%:"),
            query=parse_qsl(parts.query, keep_blank_values=True),
            headers={key.lower(): str(value) for key, value in request["headers"].items()},
            body=body.encode() if isinstance(body, str) else bytes(body or b""),
            url="http://isotherm:7070",
        )
        _, answer = self.api.answer(made, lambda: principal or self.house.admin)
        return answer.status, json.loads(answer.body) if answer.body else None

    def create(self, name: str = "hello", **given: Any) -> dict[str, Any]:
        """A function that is active."""
        values = {"Runtime": "python3.11", "Role": ROLE, "Handler": "app.handler"} | given
        status, made = self.ask("CreateFunction", FunctionName=name, Code={"ZipFile": zipped(app="x = 1")}, **values)
        assert status == 201, made
        self.finish()
        return dict(made)

    def finish(self) -> None:
        """What is building becomes ready."""
        for spec in self.house.functions.building():
            self.house.functions.mark_ready(spec.id, template=True, unfit=[], elapsed_ms=1.0)


def open_desk(house: House, settle: Callable[[], None] = lambda: None) -> Desk:
    services = Services(
        functions=house.functions,
        heads=house.heads,
        layers=house.layers,
        sources=house.sources,
        quotas=house.quotas,
        vault=house.vault,
        clock=house.clock,
        settings=Settings(),
        content_url="http://localhost:7071",
        warm_of=lambda _namespace, _name, _ids: 0,
        settle=settle,
    )
    return Desk(house, LambdaApi(services, house.tenancy))


@pytest.fixture
def desk(house: House) -> Desk:
    return open_desk(house)
