"""What AWS says of a function, a version or an alias that is not there: another sentence for each family of operations.

Pure.
"""

from collections.abc import Callable

from isotherm.aws.fault import AwsError
from isotherm.aws.lambda_api.names import FunctionRef, Names
from isotherm.functions.heads import HEAD

__all__ = ["GONE", "missing", "no_invoke_config"]

GONE = "The resource you requested does not exist."
_code = "ResourceNotFoundException"


def no_invoke_config(names: Names, ref: FunctionRef) -> str:
    arn = names.function(ref.namespace, ref.name, ref.qualifier or HEAD)
    return f"The function {arn} doesn't have an EventInvokeConfig"


def _function(names: Names, ref: FunctionRef) -> str:
    return f"Function not found: {names.function(ref.namespace, ref.name, ref.qualifier)}"


def _unqualified(names: Names, ref: FunctionRef) -> str:
    return f"Function not found: {names.function(ref.namespace, ref.name)}"


def _head(names: Names, ref: FunctionRef) -> str:
    return f"Function not found: {names.function(ref.namespace, ref.name, HEAD)}"


def _alias(names: Names, ref: FunctionRef) -> str:
    """An alias by a sentence of its own; a version, and what can be neither, as a function."""
    if ref.qualifier is None or ref.qualifier.isdigit() or "$" in ref.qualifier:
        return _function(names, ref)
    return f"Cannot find alias arn: {names.function(ref.namespace, ref.name, ref.qualifier)}"


def _policy(names: Names, ref: FunctionRef) -> str:
    return _function(names, ref) if ref.qualifier is None else GONE


def _permission(names: Names, ref: FunctionRef) -> str:
    if ref.qualifier is None:
        return f"No policy found for: {names.function(ref.namespace, ref.name)}"
    return _alias(names, ref)


def _said(text: str) -> Callable[[Names, FunctionRef], str]:
    return lambda _names, _ref: text


_of_operations: dict[str, Callable[[Names, FunctionRef], str]] = {
    "DeleteFunction": _unqualified,
    "PutFunctionConcurrency": _head,
    "AddPermission": _alias,
    "RemovePermission": _permission,
    "GetPolicy": _policy,
    **dict.fromkeys(("GetFunctionUrlConfig", "DeleteFunctionUrlConfig"), _said(GONE)),
    **dict.fromkeys(
        ("CreateFunctionUrlConfig", "UpdateFunctionUrlConfig", "ListFunctionUrlConfigs"),
        _said("Function does not exist"),
    ),
    **dict.fromkeys(("GetFunctionEventInvokeConfig", "DeleteFunctionEventInvokeConfig"), no_invoke_config),
    **dict.fromkeys(
        ("PutFunctionEventInvokeConfig", "UpdateFunctionEventInvokeConfig", "ListFunctionEventInvokeConfigs"),
        _said("The function doesn't exist."),
    ),
    **dict.fromkeys(
        ("PutProvisionedConcurrencyConfig", "GetProvisionedConcurrencyConfig", "DeleteProvisionedConcurrencyConfig"),
        _alias,
    ),
}


def missing(operation: str, names: Names, ref: FunctionRef) -> AwsError:
    """The error of an operation whose function, or the qualifier of it, is not there."""
    if operation in ("CreateEventSourceMapping", "UpdateEventSourceMapping"):
        return AwsError("InvalidParameterValueException", "Function does not exist")
    return AwsError(_code, _of_operations.get(operation, _function)(names, ref), 404)
