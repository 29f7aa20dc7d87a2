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
    assert parse_function(text, "home", "eu-west-1", qualifier) == found


@pytest.mark.parametrize(
    ("text", "qualifier"), [("a b", None), ("f:1", "2"), ("", None), ("arn:aws:s3:::bucket", None)]
)
def test_what_names_no_function_is_refused(text: str, qualifier: str | None) -> None:
    with pytest.raises(AwsError) as error:
        parse_function(text, "home", "eu-west-1", qualifier)
    assert error.value.code == "InvalidParameterValueException"


def test_a_function_of_another_region_is_not_reachable() -> None:
    with pytest.raises(AwsError, match=r"'eu-west-1' are not reachable in this region \('local'\)") as error:
        parse_function("arn:aws:lambda:eu-west-1:team:function:f", "home", "local")
    assert (error.value.code, error.value.status) == ("ResourceNotFoundException", 404)


def test_a_name_has_64_characters_at_most() -> None:
    assert parse_function("f" * 64, "home", "local").name == "f" * 64
    with pytest.raises(AwsError, match="length less than or equal to 64") as error:
        parse_function("f" * 65, "home", "local")
    assert error.value.code == "InvalidParameterValueException"


def test_layers_are_named_by_name_and_arn() -> None:
    names = Names("local")
    assert parse_layer("base", "home") == LayerRef("home", "base", None)
    assert parse_layer(names.layer("team", "base", 3), "home") == LayerRef("team", "base", 3)
    with pytest.raises(AwsError):
        parse_layer("a b", "home")


def test_a_functions_arn_leads_back_to_it() -> None:
    names = Names("local")
    assert parse_function(names.function("team", "f", "PROD"), "home", "local") == FunctionRef("team", "f", "PROD")
