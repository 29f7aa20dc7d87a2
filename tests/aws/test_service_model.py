"""The model reader against botocore: what its client writes we read, what we write its client reads."""

import functools
import io
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import botocore.loaders
import botocore.parsers
import botocore.serialize
import pytest
from botocore.awsrequest import prepare_request_dict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isotherm.aws.fault import AwsError
from isotherm.aws.lambda_api.absent import ABSENT
from isotherm.aws.lambda_api.names import LOOSE
from isotherm.aws.lambda_api.table import GROUPS, TABLE
from isotherm.aws.parsing import parse_input
from isotherm.aws.serializing import error_answer, output_answer
from isotherm.aws.service_model import ServiceModel
from isotherm.aws.validation import check_input
from tests.aws.shapes import values

model = ServiceModel("lambda", LOOSE)
OPERATIONS = sorted(model.operations)
STREAMED = ("InvokeWithResponseStream",)  # its answer is a stream of events, which the host writes
quick = settings(max_examples=4, suppress_health_check=list(HealthCheck))


@functools.cache
def strategy(operation: str, part: str) -> st.SearchStrategy[dict[str, Any]]:
    return values(getattr(model.operation(operation), part))


def written(
    operation: Any, values_given: dict[str, Any]
) -> tuple[str, str, list[tuple[str, str]], dict[str, str], bytes]:
    """As botocore's client sends it: method, raw path, query, headers, body."""
    request = botocore.serialize.create_serializer("rest-json", include_validation=False).serialize_to_request(
        values_given, operation
    )
    prepare_request_dict(request, endpoint_url="http://isotherm:7070")
    parts = urlsplit(request["url"])
    query = parse_qsl(parts.query, keep_blank_values=True)
    headers = {name.lower(): str(value) for name, value in request["headers"].items()}
    body = request["body"]
    if hasattr(body, "read"):
        body = body.read()
    return request["method"], parts.path, query, headers, body.encode() if isinstance(body, str) else bytes(body or b"")


@pytest.mark.parametrize("name", OPERATIONS)
@quick
@given(data=st.data())
def test_what_botocore_writes_is_read_as_it_was_given(name: str, data: st.DataObject) -> None:
    operation = model.operation(name)
    meant = {} if operation.input_shape is None else data.draw(strategy(name, "input_shape"))
    method, path, query, headers, body = written(operation, meant)
    matched = model.match(method, path, query)
    assert matched is not None
    assert matched.operation.name == name
    found = parse_input(matched.operation, matched.path, query, headers, body)
    assert without_empty(found) == without_empty(meant)


def without_empty(given_values: dict[str, Any]) -> dict[str, Any]:
    """An empty body and an empty text of a query are the same as none."""
    return {name: value for name, value in given_values.items() if value not in (b"", "", {}, [])}


@pytest.mark.parametrize("name", [name for name in OPERATIONS if name not in STREAMED])
@quick
@given(data=st.data())
def test_what_is_written_botocore_reads_as_it_was_given(name: str, data: st.DataObject) -> None:
    operation = model.operation(name)
    meant = {} if operation.output_shape is None else data.draw(strategy(name, "output_shape"))
    status = [] if operation.output_shape is None else in_status(operation.output_shape)
    meant = {name: value for name, value in meant.items() if name not in status}
    answer = output_answer(operation, meant)
    body = io.BytesIO(answer.body) if operation.has_streaming_output else answer.body
    response = {"status_code": answer.status, "headers": answer.headers, "body": body, "context": {}}
    parser = botocore.parsers.create_parser("rest-json")
    found = parser.parse(response, operation.output_shape)
    del found["ResponseMetadata"]
    found = {name: value for name, value in found.items() if name not in status}
    found = {name: value.read() if isinstance(value, io.BytesIO) else value for name, value in found.items()}
    assert without_empty(found) == without_empty(meant)


def in_status(shape: Any) -> list[str]:
    """Members that are the answer's status."""
    return [name for name, member in shape.members.items() if member.serialization.get("location") == "statusCode"]


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_error_is_botocores_with_its_status_and_message(name: str) -> None:
    operation = model.operation(name)
    parser = botocore.parsers.create_parser("rest-json")
    for shape in operation.error_shapes:
        answer = error_answer(model, operation, AwsError(shape.name, "what was wrong"))
        assert answer.status == shape.metadata["error"]["httpStatusCode"]
        response = {"status_code": answer.status, "headers": lowered(answer.headers), "body": answer.body}
        error = parser.parse(response, operation.output_shape)["Error"]
        assert (error["Code"], error["Message"]) == (shape.name, "what was wrong")


def lowered(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def test_an_error_that_the_model_does_not_have_is_read_all_the_same() -> None:
    operation = model.operation("GetFunction")
    answer = error_answer(model, operation, AwsError("ValidationException", "no", 400))
    response = {"status_code": 400, "headers": lowered(answer.headers), "body": answer.body}
    error = botocore.parsers.create_parser("rest-json").parse(response, operation.output_shape)["Error"]
    assert (error["Code"], error["Message"]) == ("ValidationException", "no")


def test_every_operation_of_the_service_is_there_or_refused_by_its_name() -> None:
    assert set(TABLE) | set(ABSENT) == set(OPERATIONS)
    assert not set(TABLE) & set(ABSENT)
    assert sum(len(group.table) for group in GROUPS) == len(TABLE)


def test_every_pattern_of_the_service_can_be_read() -> None:
    description = botocore.loaders.Loader().load_service_model("lambda", "service-2")
    patterns = {shape["pattern"] for shape in description["shapes"].values() if "pattern" in shape}
    assert [each for each in patterns if model.pattern(each) is None] == []


ARN = "arn:aws:lambda:local:default:function:f"
ROLE = "arn:aws:iam::123456789012:role/r"
BROKEN = {
    "null at 'functionName' failed to satisfy constraint: Member must not be null": ("GetFunction", {}),
    "Member must satisfy regular expression pattern: ": ("GetFunction", {"FunctionName": "a b"}),
    "'0' at 'maxItems' failed to satisfy constraint: Member must have value greater than or equal to 1": (
        "ListFunctions",
        {"MaxItems": 0},
    ),
    "'OPEN' at 'authType' failed to satisfy constraint: Member must satisfy enum value set: [NONE, AWS_IAM]": (
        "CreateFunctionUrlConfig",
        {"FunctionName": "f", "AuthType": "OPEN"},
    ),
    "Member must have length less than or equal to 256": (
        "PublishVersion",
        {"FunctionName": "f", "Description": "x" * 300},
    ),
    "Map keys must satisfy constraint: [Member must have length less than or equal to 128, Member must have length "
    "greater than or equal to 1, Member must satisfy regular expression pattern: ": (
        "TagResource",
        {"Resource": ARN, "Tags": {"k" * 200: "v"}},
    ),
    "Value '{2=1.5}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map value must satisfy "
    "constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or equal to "
    "0.0, Member must not be null]": (
        "CreateAlias",
        {
            "FunctionName": "f",
            "Name": "a",
            "FunctionVersion": "1",
            "RoutingConfig": {"AdditionalVersionWeights": {"2": 1.5}},
        },
    ),
    "Value '[arm32]' at 'architectures' failed to satisfy constraint: Member must satisfy constraint: [Member must "
    "satisfy enum value set: [x86_64, arm64], Member must not be null]": (
        "UpdateFunctionCode",
        {"FunctionName": "f", "Architectures": ["arm32"]},
    ),
    "Value '1' at 'ephemeralStorage.size' failed": (
        "CreateFunction",
        {"FunctionName": "f", "Role": ROLE, "Code": {}, "EphemeralStorage": {"Size": 1}},
    ),
}


@pytest.mark.parametrize("text", BROKEN)
def test_what_breaks_a_constraint_is_told_in_awss_words(text: str) -> None:
    operation, sent = BROKEN[text]
    with pytest.raises(AwsError) as error:
        check_input(model, model.operation(operation), sent)
    assert error.value.code == "ValidationException"
    assert text in error.value.message


def test_a_variables_value_is_not_told() -> None:
    with pytest.raises(AwsError, match=r"Value at 'environment\.variables' failed") as error:
        check_input(
            model,
            model.operation("UpdateFunctionConfiguration"),
            {"FunctionName": "f", "Environment": {"Variables": {"no-name": "hush"}}},
        )
    assert "hush" not in error.value.message


def test_what_is_right_passes() -> None:
    for name in ("f", "My_Function-1", "arn:aws:lambda:local:default:function:f:PROD", "123456789012:function:f",
                 "arn:aws:lambda:eu-west-1:123456789012:function:f", "f:$LATEST"):  # fmt: skip
        check_input(model, model.operation("GetFunction"), {"FunctionName": name})


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", "Could not parse request body into json"),
        (b"[]", "LIST_VALUE can not be converted to a Structure"),
        (b'{"Timeout": "3"}', "STRING_VALUE can not be converted to an Integer at Timeout"),
        (b'{"Timeout": 3.5}', "NUMBER_VALUE can not be converted to an Integer"),
        (b'{"Description": 3}', "NUMBER_VALUE can not be converted to a String"),
        (b'{"Code": {"ZipFile": "%"}}', "Code.ZipFile is not base64"),
        (b'{"Layers": {}}', "STRUCTURE_VALUE can not be converted to a List"),
    ],
)
def test_a_body_that_is_no_request_is_told_apart(body: bytes, text: str) -> None:
    with pytest.raises(AwsError) as error:
        parse_input(model.operation("CreateFunction"), {}, [], {}, body)
    assert error.value.code == "SerializationException"
    assert text in error.value.message


def test_a_path_that_no_operation_has_matches_none() -> None:
    assert model.match("GET", "/2015-03-31/nothing", []) is None
    assert model.match("PATCH", "/2015-03-31/functions", []) is None


def test_constants_of_the_query_tell_operations_apart() -> None:
    plain = model.match("GET", "/2018-10-31/layers", [])
    by_arn = model.match("GET", "/2018-10-31/layers", [("find", "LayerVersion"), ("Arn", "x")])
    assert plain is not None
    assert by_arn is not None
    assert (plain.operation.name, by_arn.operation.name) == ("ListLayers", "GetLayerVersionByArn")
    assert model.match("GET", "/2015-03-31/functions/", []) is not None  # some clients end paths with a slash


def test_an_output_that_the_model_does_not_know_is_a_bug() -> None:
    with pytest.raises(KeyError):
        output_answer(model.operation("GetFunctionConcurrency"), {"Reserved": 1})
    with pytest.raises(TypeError):
        output_answer(model.operation("GetFunctionConcurrency"), {"ReservedConcurrentExecutions": "1"})
