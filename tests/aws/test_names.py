"""Names and ARNs of functions and layers."""

import pytest

from isotherm.aws.fault import AwsError
from isotherm.aws.lambda_api.names import FunctionRef, LayerRef, Names, parse_function, parse_layer


@pytest.mark.parametrize(
    ("text", "qualifier", "found"),
    [
        ("hello", None, FunctionRef("home", "hello", None)),
        ("hello:PROD", None, FunctionRef("home", "hello", "PROD")),
        ("hello", "3", FunctionRef("home", "hello", "3")),
        ("hello:3", "3", FunctionRef("home", "hello", "3")),
        ("function:hello", None, FunctionRef("home", "hello", None)),
        ("123456789012:function:hello", None, FunctionRef("home", "hello", None)),
        ("team:function:hello:1", None, FunctionRef("team", "hello", "1")),
        ("arn:aws:lambda:eu-west-1:team:function:My_f-1", None, FunctionRef("team", "My_f-1", None)),
        ("arn:aws:lambda:eu-west-1:123456789012:function:f:$LATEST", None, FunctionRef("home", "f", "$LATEST")),
    ],
)
def test_functions_are_named_in_all_of_awss_forms(text: str, qualifier: str | None, found: FunctionRef) -> None:
    assert parse_function(text, "home", qualifier) == found


@pytest.mark.parametrize(
    ("text", "qualifier"), [("a b", None), ("f:1", "2"), ("", None), ("arn:aws:s3:::bucket", None)]
)
def test_what_names_no_function_is_refused(text: str, qualifier: str | None) -> None:
    with pytest.raises(AwsError) as error:
        parse_function(text, "home", qualifier)
    assert error.value.code == "InvalidParameterValueException"


def test_layers_are_named_by_name_and_arn() -> None:
    names = Names("local")
    assert parse_layer("base", "home") == LayerRef("home", "base", None)
    assert parse_layer(names.layer("team", "base", 3), "home") == LayerRef("team", "base", 3)
    with pytest.raises(AwsError):
        parse_layer("a b", "home")


def test_a_functions_arn_leads_back_to_it() -> None:
    names = Names("local")
    assert parse_function(names.function("team", "f", "PROD"), "home") == FunctionRef("team", "f", "PROD")
