"""Function URLs: who may call one, and what a browser is told of it."""

from typing import Any

from isotherm.aws.fault import AwsError
from isotherm.aws.lambda_api.call import Call, Operations
from isotherm.aws.lambda_api.configuration import moment
from isotherm.aws.lambda_api.listing import list_settings
from isotherm.aws.lambda_api.missing import GONE
from isotherm.aws.lambda_api.names import FunctionRef
from isotherm.functions.heads import Seen
from isotherm.functions.policy import url_path
from isotherm.workloads.settings_model import CorsSetting, Setting, UrlSetting

__all__ = ["operations"]

operations = Operations("Function URLs")


@operations.add(
    "CreateFunctionUrlConfig",
    "functions.deploy",
    note="`AWS_IAM`: a signed request, or a key. `NONE` is open to all once a permission says so, as in AWS. The "
    "function decides whether it streams, whatever `InvokeMode` says",
)
def create_function_url_config(call: Call) -> dict[str, Any]:
    def change(_seen: Seen, before: Setting | None) -> Setting:
        if before is not None:
            arn = call.names.function(ref.namespace, ref.name, ref.qualifier)
            raise AwsError(
                "ResourceConflictException",
                f"Failed to create function url config for [functionArn = {arn}]. Error message:  FunctionUrlConfig "
                "exists for this Lambda function",
                409,
            )
        return _made(call, None)

    ref = _ref(call)
    return _put(call, ref, change)


@operations.add("UpdateFunctionUrlConfig", "functions.deploy", note="As CreateFunctionUrlConfig")
def update_function_url_config(call: Call) -> dict[str, Any]:
    def change(_seen: Seen, before: Setting | None) -> Setting:
        if not isinstance(before, UrlSetting):
            raise AwsError("ResourceNotFoundException", GONE, 404)
        return _made(call, before)

    return _put(call, _ref(call), change)


@operations.add("GetFunctionUrlConfig", "functions.read")
def get_function_url_config(call: Call) -> dict[str, Any]:
    ref = _ref(call)
    seen = call.services.heads.see(call.principal, ref.namespace, ref.name, ref.qualifier)
    found = seen.setting(UrlSetting, ref.qualifier or "")
    if not isinstance(found, UrlSetting):
        raise AwsError("ResourceNotFoundException", GONE, 404)
    return _shown(call, ref, found)


@operations.add("ListFunctionUrlConfigs", "functions.read")
def list_function_url_configs(call: Call) -> dict[str, Any]:
    return list_settings(
        call,
        "FunctionUrlConfigs",
        UrlSetting,
        lambda place, setting: _shown(call, place, setting, list_item=True),
    )


@operations.add(
    "DeleteFunctionUrlConfig", "functions.deploy", note="What is left is the URL that every function has here, for keys"
)
def delete_function_url_config(call: Call) -> dict[str, Any]:
    def change(_seen: Seen, before: Setting | None) -> None:
        if before is None:
            raise AwsError("ResourceNotFoundException", GONE, 404)

    ref = _ref(call)
    call.services.heads.change_setting(call.principal, ref.namespace, ref.name, ref.qualifier, UrlSetting, change)
    call.services.settle()
    return {}


def _ref(call: Call) -> FunctionRef:
    """Raises `AwsError`: a URL is of a function or an alias."""
    ref = call.function()
    if ref.qualifier is not None and (ref.qualifier.isdigit() or ref.qualifier.startswith("$")):
        raise AwsError(
            "InvalidParameterValueException", "A function URL is of the function or of an alias, not of a version"
        )
    return ref


def _put(call: Call, ref: FunctionRef, change: Any) -> dict[str, Any]:
    seen = call.services.heads.change_setting(
        call.principal, ref.namespace, ref.name, ref.qualifier, UrlSetting, change
    )
    call.services.settle()
    made = seen.setting(UrlSetting, ref.qualifier or "")
    assert isinstance(made, UrlSetting)
    return _shown(call, ref, made)


def _made(call: Call, before: UrlSetting | None) -> UrlSetting:
    given, now_ms = call.given, call.services.clock.time_ms()
    auth = given.get("AuthType") or ("NONE" if before is not None and before.open else "AWS_IAM")
    mode = given.get("InvokeMode") or ("BUFFERED" if before is None else before.invoke_mode)
    cors = None if before is None else before.cors
    if "Cors" in given:
        cors = _cors(given["Cors"])
    created_at_ms = now_ms if before is None else before.created_at_ms
    return UrlSetting(
        open=auth == "NONE", invoke_mode=mode, cors=cors, created_at_ms=created_at_ms, updated_at_ms=now_ms
    )


def _cors(given: dict[str, Any]) -> CorsSetting | None:
    if not given:
        return None
    return CorsSetting(
        allow_credentials=bool(given.get("AllowCredentials")),
        allow_headers=given.get("AllowHeaders") or [],
        allow_methods=given.get("AllowMethods") or [],
        allow_origins=given.get("AllowOrigins") or [],
        expose_headers=given.get("ExposeHeaders") or [],
        max_age_s=given.get("MaxAge"),
    )


def _shown(call: Call, ref: FunctionRef, setting: UrlSetting, *, list_item: bool = False) -> dict[str, Any]:
    path = url_path(ref.namespace, ref.name)
    if ref.qualifier is not None:
        path = f"{path.removesuffix('/')}:{ref.qualifier}/"
    shown: dict[str, Any] = {
        "FunctionUrl": call.services.content_url.rstrip("/") + path,
        "FunctionArn": call.names.function(ref.namespace, ref.name, ref.qualifier),
        "AuthType": "NONE" if setting.open else "AWS_IAM",
        "CreationTime": moment(setting.created_at_ms),
    }
    if not call.operation.startswith(("Create", "Update")) or "InvokeMode" in call.given:
        shown["InvokeMode"] = setting.invoke_mode
    if call.operation != "CreateFunctionUrlConfig" or list_item:
        shown["LastModifiedTime"] = moment(setting.updated_at_ms)
    if setting.cors is not None:
        shown["Cors"] = _cors_shown(setting.cors)
    return shown


def _cors_shown(cors: CorsSetting) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "AllowHeaders": cors.allow_headers,
        "AllowMethods": cors.allow_methods,
        "AllowOrigins": cors.allow_origins,
        "ExposeHeaders": cors.expose_headers,
    }
    found = {name: value for name, value in shown.items() if value}
    if cors.allow_credentials:
        found["AllowCredentials"] = True
    return found if cors.max_age_s is None else found | {"MaxAge": cors.max_age_s}
