"""The account's limits and use, and what else is set of a function without an effect here."""

from typing import Any

from isotherm.aws.fault import AwsError
from isotherm.aws.lambda_api.call import Call, Operations
from isotherm.functions.heads import HEAD, Seen
from isotherm.tenancy.model import SYSTEM
from isotherm.workloads.settings_model import ExtraSetting, ReservedSetting, Setting

__all__ = ["operations"]

operations = Operations("Account and others")
_megabyte = 1024 * 1024
_unlimited_mb = 75 * 1024  # what is said where there is no quota: AWS's own
_concurrency = 1000
_page = 50


@operations.add(
    "GetAccountSettings", "functions.read", note="The quota of the namespace; where there is none, AWS's defaults"
)
def get_account_settings(call: Call) -> dict[str, Any]:
    services = call.services
    heads, after = [], None
    while page := services.heads.page(call.principal, call.home, after=after, limit=_page):
        heads += page
        after = page[-1].workload.name
    limits = services.quotas.get(SYSTEM, call.home).limits
    reserved = 0
    for head in heads:
        setting = head.setting(ReservedSetting)
        reserved += setting.calls if isinstance(setting, ReservedSetting) else 0
    most = limits.instances or _concurrency
    return {
        "AccountLimit": {
            "TotalCodeSize": (limits.disk_mb or _unlimited_mb) * _megabyte,
            "CodeSizeUnzipped": services.settings.max_unpacked_mb * _megabyte,
            "CodeSizeZipped": services.settings.max_package_mb * _megabyte,
            "ConcurrentExecutions": most,
            "UnreservedConcurrentExecutions": max(0, most - reserved),
        },
        "AccountUsage": {"TotalCodeSize": services.functions.package_bytes(call.home), "FunctionCount": len(heads)},
    }


@operations.add(
    "PutFunctionRecursionConfig", "functions.deploy", state="stored", note="Circles of destinations are cut anyway"
)
def put_function_recursion_config(call: Call) -> dict[str, Any]:
    value = call.given["RecursiveLoop"]
    _put(call, "RecursiveLoop", value)
    return {"RecursiveLoop": value}


@operations.add("GetFunctionRecursionConfig", "functions.read", state="stored")
def get_function_recursion_config(call: Call) -> dict[str, Any]:
    return {"RecursiveLoop": _get(call, "RecursiveLoop") or "Terminate"}


@operations.add(
    "PutRuntimeManagementConfig",
    "functions.deploy",
    state="stored",
    note="`Auto` alone: a function has the machine's runtime",
)
def put_runtime_management_config(call: Call) -> dict[str, Any]:
    mode = call.given["UpdateRuntimeOn"]
    if mode == "Manual":
        raise AwsError(
            "InvalidParameterValueException", "UpdateRuntimeOn Manual is not supported: there is one runtime of each"
        )
    _put(call, "UpdateRuntimeOn", mode)
    return {"UpdateRuntimeOn": mode, "FunctionArn": _arn(call)}


@operations.add("GetRuntimeManagementConfig", "functions.read", state="stored")
def get_runtime_management_config(call: Call) -> dict[str, Any]:
    return {"UpdateRuntimeOn": _get(call, "UpdateRuntimeOn") or "Auto", "FunctionArn": _arn(call)}


def _put(call: Call, name: str, value: Any) -> None:
    def change(_seen: Seen, before: Setting | None) -> Setting:
        values = before.values if isinstance(before, ExtraSetting) else {}
        return ExtraSetting(values=values | {name: value}, updated_at_ms=call.services.clock.time_ms())

    ref = call.function()
    call.services.heads.change_setting(call.principal, ref.namespace, ref.name, ref.qualifier, ExtraSetting, change)


def _get(call: Call, name: str) -> Any:
    ref = call.function()
    seen = call.services.heads.see(call.principal, ref.namespace, ref.name, ref.qualifier)
    found = seen.setting(ExtraSetting, "" if ref.qualifier in (None, HEAD) else str(ref.qualifier))
    return found.values.get(name) if isinstance(found, ExtraSetting) else None


def _arn(call: Call) -> str:
    ref = call.function()
    return call.names.function(ref.namespace, ref.name, ref.qualifier or HEAD)


@operations.add("GetFunctionCodeSigningConfig", "functions.read", note="There never is one: code is not signed")
def get_function_code_signing_config(call: Call) -> dict[str, Any]:
    ref = call.unqualified()
    call.services.heads.see(call.principal, ref.namespace, ref.name)
    return {}
