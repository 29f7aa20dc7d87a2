"""What asynchronous calls do: how often they are tried, how old they get, who hears of them."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from isotherm.aws.fault import AwsError
from isotherm.aws.lambda_api.call import Call, Operations
from isotherm.aws.lambda_api.listing import list_settings
from isotherm.aws.lambda_api.missing import no_invoke_config
from isotherm.aws.lambda_api.names import FunctionRef
from isotherm.base.errors import NotFound
from isotherm.functions.heads import HEAD, Seen
from isotherm.workloads.settings_model import AsyncSetting, Setting

__all__ = ["operations"]

operations = Operations("Asynchronous invocation")
_services = ("lambda", "sqs", "sns", "events", "s3")  # that AWS knows as destinations
_least = "You must specify at least one of error handling or destination setting."
_destinations = "Destinations are functions of the namespace; queues, topics, buckets and event buses are refused"


@operations.add("PutFunctionEventInvokeConfig", "functions.deploy", note=_destinations)
def put_function_event_invoke_config(call: Call) -> dict[str, Any]:
    return _put(call, lambda _before: AsyncSetting())


@operations.add("UpdateFunctionEventInvokeConfig", "functions.deploy", note=_destinations)
def update_function_event_invoke_config(call: Call) -> dict[str, Any]:
    def start(before: AsyncSetting | None) -> AsyncSetting:
        if before is None:
            raise _missing(call)
        return before

    return _put(call, start)


@operations.add("GetFunctionEventInvokeConfig", "functions.read")
def get_function_event_invoke_config(call: Call) -> dict[str, Any]:
    ref = call.function()
    seen = call.services.heads.see(call.principal, ref.namespace, ref.name, ref.qualifier)
    found = seen.setting(AsyncSetting, _place(ref))
    if not isinstance(found, AsyncSetting):
        raise _missing(call)
    return _shown(call, ref, found)


@operations.add("ListFunctionEventInvokeConfigs", "functions.read")
def list_function_event_invoke_configs(call: Call) -> dict[str, Any]:
    return list_settings(
        call, "FunctionEventInvokeConfigs", AsyncSetting, lambda place, setting: _shown(call, place, setting)
    )


@operations.add("DeleteFunctionEventInvokeConfig", "functions.deploy")
def delete_function_event_invoke_config(call: Call) -> dict[str, Any]:
    def change(_seen: Seen, before: Setting | None) -> None:
        if before is None:
            raise _missing(call)

    ref = call.function()
    call.services.heads.change_setting(call.principal, ref.namespace, ref.name, ref.qualifier, AsyncSetting, change)
    call.services.settle()
    return {}


def _put(call: Call, start: Any) -> dict[str, Any]:
    ref, given = call.function(), call.given
    if not any(name in given for name in ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")):
        raise AwsError("InvalidParameterValueException", _least)
    values: dict[str, Any] = {"updated_at_ms": call.services.clock.time_ms()}
    if "MaximumRetryAttempts" in given:
        values["retries"] = given["MaximumRetryAttempts"]
    if "MaximumEventAgeInSeconds" in given:
        values["max_age_s"] = given["MaximumEventAgeInSeconds"]
    destinations = given.get("DestinationConfig") or {}
    for member, field in (("OnSuccess", "on_success"), ("OnFailure", "on_failure")):
        if member in destinations:
            values[field] = _target(call, ref, member, destinations[member].get("Destination"))

    def change(_seen: Seen, before: Setting | None) -> Setting:
        made: AsyncSetting = start(before if isinstance(before, AsyncSetting) else None)
        return msgspec.structs.replace(made, **values)

    seen = call.services.heads.change_setting(
        call.principal, ref.namespace, ref.name, ref.qualifier, AsyncSetting, change
    )
    call.services.settle()
    made = seen.setting(AsyncSetting, _place(ref))
    assert isinstance(made, AsyncSetting)
    return _shown(call, ref, made)


def _target(call: Call, ref: FunctionRef, member: str, arn: str | None) -> str | None:
    """NAME[:QUALIFIER]. Raises `AwsError` on what is no function, or not there."""
    if not arn:
        return None
    if arn.count(":") < 5 or arn.split(":")[2] not in _services:
        raise AwsError("InvalidParameterValueException", f"The provided destination config {_java(call)} is invalid.")
    if ":lambda:" not in arn or ":function:" not in arn:
        raise AwsError(
            "InvalidParameterValueException",
            f"The destination ARN {arn} of {member} is not supported by this platform: give the ARN of a function",
        )
    target = call.parsed(arn)
    if target.namespace != ref.namespace:
        raise AwsError("InvalidParameterValueException", f"The destination ARN {arn} is of another namespace")
    if target == ref:
        raise AwsError("InvalidParameterValueException", "You can't specify the function as a destination for itself.")
    try:
        call.services.heads.see(call.principal, target.namespace, target.name, target.qualifier)
    except NotFound as exc:
        raise AwsError("InvalidParameterValueException", f"The destination ARN {arn} is invalid.") from exc
    return target.name if target.qualifier in (None, HEAD) else f"{target.name}:{target.qualifier}"


def _java(call: Call) -> str:
    """The destinations as AWS writes them out."""
    given = call.given.get("DestinationConfig") or {}
    shown = []
    for member in ("OnSuccess", "OnFailure"):
        arn = (given.get(member) or {}).get("Destination")
        lower = member[:1].lower() + member[1:]
        shown.append(f"{lower}=null" if member not in given else f"{lower}={member}(destination={arn or 'null'})")
    return f"DestinationConfig({', '.join(shown)})"


def _place(ref: FunctionRef) -> str:
    return "" if ref.qualifier in (None, HEAD) else str(ref.qualifier)


def _shown(call: Call, ref: FunctionRef, setting: AsyncSetting) -> dict[str, Any]:
    def destination(name: str | None) -> dict[str, str]:
        if name is None:
            return {}
        function, _, qualifier = name.partition(":")
        return {"Destination": call.names.function(ref.namespace, function, qualifier or None)}

    shown: dict[str, Any] = {
        "LastModified": datetime.fromtimestamp(setting.updated_at_ms / 1000, UTC),
        "FunctionArn": call.names.function(ref.namespace, ref.name, _place(ref) or HEAD),
        "DestinationConfig": {
            "OnSuccess": destination(setting.on_success),
            "OnFailure": destination(setting.on_failure),
        },
        "MaximumRetryAttempts": setting.retries,
        "MaximumEventAgeInSeconds": setting.max_age_s,
    }
    return {name: value for name, value in shown.items() if value is not None}


def _missing(call: Call) -> AwsError:
    return AwsError("ResourceNotFoundException", no_invoke_config(call.names, call.function()), 404)
