"""What AWS's clients are told of a function, a version or an alias that is not there."""

import pytest

from isotherm.aws.lambda_api import missing as words
from isotherm.aws.lambda_api.missing import missing
from isotherm.aws.lambda_api.names import FunctionRef, Names
from isotherm.aws.lambda_api.table import TABLE

NAMES = Names("local")
ARN = "arn:aws:lambda:local:team:function:f"


@pytest.mark.parametrize(
    ("operation", "qualifier", "text"),
    [
        ("GetFunction", None, f"Function not found: {ARN}"),
        ("GetFunction", "7", f"Function not found: {ARN}:7"),
        ("GetFunction", "PROD", f"Function not found: {ARN}:PROD"),
        ("DeleteFunction", "7", f"Function not found: {ARN}"),
        ("PutFunctionConcurrency", None, f"Function not found: {ARN}:$LATEST"),
        ("AddPermission", None, f"Function not found: {ARN}"),
        ("AddPermission", "7", f"Function not found: {ARN}:7"),
        ("AddPermission", "PROD", f"Cannot find alias arn: {ARN}:PROD"),
        ("AddPermission", "no$alias", f"Function not found: {ARN}:no$alias"),
        ("RemovePermission", None, f"No policy found for: {ARN}"),
        ("RemovePermission", "PROD", f"Cannot find alias arn: {ARN}:PROD"),
        ("GetPolicy", "7", "The resource you requested does not exist."),
        ("PutProvisionedConcurrencyConfig", "PROD", f"Cannot find alias arn: {ARN}:PROD"),
        ("GetFunctionUrlConfig", None, "The resource you requested does not exist."),
        ("CreateFunctionUrlConfig", None, "Function does not exist"),
        ("GetFunctionEventInvokeConfig", None, f"The function {ARN}:$LATEST doesn't have an EventInvokeConfig"),
        ("PutFunctionEventInvokeConfig", "PROD", "The function doesn't exist."),
    ],
)
def test_each_family_of_operations_has_a_sentence(operation: str, qualifier: str | None, text: str) -> None:
    error = missing(operation, NAMES, FunctionRef("team", "f", qualifier))
    assert (error.code, error.status, error.message) == ("ResourceNotFoundException", 404, text)


def test_a_mapping_has_a_wrong_parameter_where_its_function_is_not_there() -> None:
    error = missing("CreateEventSourceMapping", NAMES, FunctionRef("team", "f", None))
    assert (error.code, error.status) == ("InvalidParameterValueException", 400)


def test_the_sentences_are_of_operations_that_are_there() -> None:
    assert set(words._of_operations) <= set(TABLE)
