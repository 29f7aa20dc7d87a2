"""How much of a function may run, and how much of it is kept warm."""

from typing import Any

from isotherm.aws.fault import AwsError
from isotherm.aws.lambda_api.call import Call, Operations
from isotherm.aws.lambda_api.configuration import moment
from isotherm.aws.lambda_api.listing import list_settings
from isotherm.aws.lambda_api.names import FunctionRef
from isotherm.functions.heads import HEAD, Seen
from isotherm.tenancy.model import SYSTEM
from isotherm.workloads.settings_model import ProvisionedSetting, ReservedSetting, Setting

__all__ = ["operations"]

operations = Operations("Concurrency")
_no_version = "The function resource provided must be an alias or a published version."
_none = "No Provisioned Concurrency Config found for this function"


@operations.add(
    "PutFunctionConcurrency",
    "functions.deploy",
    note="Calls at once on one host, of all revisions together; 0 turns all away",
)
def put_function_concurrency(call: Call) -> dict[str, Any]:
    ref = call.unqualified()
    calls = call.given["ReservedConcurrentExecutions"]

    def change(_seen: Seen, _before: Setting | None) -> Setting:
        limit = call.services.quotas.get(SYSTEM, ref.namespace).limits.instances
        if limit is not None and calls > limit:
            raise AwsError(
                "InvalidParameterValueException",
                "Specified ReservedConcurrentExecutions for function is above the quota of the namespace, "
                f"{limit} instances.",
            )
        return ReservedSetting(calls=calls, updated_at_ms=call.services.clock.time_ms())

    call.services.heads.change_setting(call.principal, ref.namespace, ref.name, None, ReservedSetting, change)
    call.services.settle()
    return {"ReservedConcurrentExecutions": calls}


@operations.add("GetFunctionConcurrency", "functions.read")
def get_function_concurrency(call: Call) -> dict[str, Any]:
    ref = call.unqualified()
    found = call.services.heads.see(call.principal, ref.namespace, ref.name).setting(ReservedSetting)
    return {"ReservedConcurrentExecutions": found.calls} if isinstance(found, ReservedSetting) else {}


@operations.add("DeleteFunctionConcurrency", "functions.deploy")
def delete_function_concurrency(call: Call) -> dict[str, Any]:
    ref = call.unqualified()
    call.services.heads.change_setting(
        call.principal, ref.namespace, ref.name, None, ReservedSetting, lambda _seen, _before: None
    )
    call.services.settle()
    return {}


@operations.add(
    "PutProvisionedConcurrencyConfig", "functions.deploy", note="Instances that each host keeps warm of the version"
)
def put_provisioned_concurrency_config(call: Call) -> dict[str, Any]:
    ref = _qualified(call, "Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
    _check_free(call, ref)
    wanted = call.given["ProvisionedConcurrentExecutions"]

    def change(seen: Seen, _before: Setting | None) -> Setting:
        reserved = seen.setting(ReservedSetting)
        if isinstance(reserved, ReservedSetting) and wanted > reserved.calls:
            raise AwsError(
                "InvalidParameterValueException",
                "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for "
                "function",
            )
        most = seen.revision.spec.warm.max_instances
        if wanted > most:
            raise AwsError(
                "InvalidParameterValueException",
                f"Requested Provisioned Concurrency is {wanted}; a version has at most {most} instances here",
            )
        return ProvisionedSetting(instances=wanted, updated_at_ms=call.services.clock.time_ms())

    seen = call.services.heads.change_setting(
        call.principal, ref.namespace, ref.name, ref.qualifier, ProvisionedSetting, change
    )
    call.services.settle()
    return _shown(call, seen, ref, _setting(seen, ref))


@operations.add("GetProvisionedConcurrencyConfig", "functions.read")
def get_provisioned_concurrency_config(call: Call) -> dict[str, Any]:
    ref = _qualified(call)
    seen = call.services.heads.see(call.principal, ref.namespace, ref.name, ref.qualifier)
    return _shown(call, seen, ref, _setting(seen, ref))


@operations.add("DeleteProvisionedConcurrencyConfig", "functions.deploy")
def delete_provisioned_concurrency_config(call: Call) -> dict[str, Any]:
    ref = _qualified(call)
    call.services.heads.change_setting(
        call.principal, ref.namespace, ref.name, ref.qualifier, ProvisionedSetting, lambda _seen, _before: None
    )
    call.services.settle()
    return {}


@operations.add("ListProvisionedConcurrencyConfigs", "functions.read")
def list_provisioned_concurrency_configs(call: Call) -> dict[str, Any]:
    def show(each: FunctionRef, _: ProvisionedSetting) -> dict[str, Any]:
        found = call.services.heads.see(call.principal, each.namespace, each.name, each.qualifier)
        arn = call.names.function(each.namespace, each.name, each.qualifier)
        return {"FunctionArn": arn} | _shown(call, found, each, _setting(found, each))

    return list_settings(call, "ProvisionedConcurrencyConfigs", ProvisionedSetting, show)


def _qualified(call: Call, refusal: str = _no_version) -> FunctionRef:
    ref = call.function()
    if ref.qualifier in (None, HEAD):
        raise AwsError("InvalidParameterValueException", refusal)
    return ref


def _check_free(call: Call, ref: FunctionRef) -> None:
    """Raises `AwsError` where the version has instances of its own already by its number, or by an alias."""

    def see(qualifier: str) -> Seen:
        return call.services.heads.see(call.principal, ref.namespace, ref.name, qualifier)

    asked = str(ref.qualifier)
    seen = see(asked)
    for row in seen.settings:
        if not isinstance(row.setting, ProvisionedSetting) or row.qualifier == asked:
            continue
        if seen.alias is not None and row.qualifier == str(seen.version):
            raise AwsError(
                "ResourceConflictException",
                "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version",
                409,
            )
        if seen.alias is None and not row.qualifier.isdigit() and see(row.qualifier).version == seen.version:
            raise AwsError("ResourceConflictException", "Version is pointed by a Provisioned Concurrency alias", 409)


def _setting(seen: Seen, ref: FunctionRef) -> ProvisionedSetting:
    found = seen.setting(ProvisionedSetting, ref.qualifier or "")
    if not isinstance(found, ProvisionedSetting):
        raise AwsError("ProvisionedConcurrencyConfigNotFoundException", _none, 404)
    return found


def _shown(call: Call, seen: Seen, ref: FunctionRef, setting: ProvisionedSetting) -> dict[str, Any]:
    there = call.services.warm_of(ref.namespace, ref.name, {seen.revision.spec.id})
    ready = min(there, setting.instances)
    return {
        "RequestedProvisionedConcurrentExecutions": setting.instances,
        "AvailableProvisionedConcurrentExecutions": ready,
        "AllocatedProvisionedConcurrentExecutions": ready,
        "Status": "READY" if ready >= setting.instances else "IN_PROGRESS",
        "LastModified": moment(setting.updated_at_ms),
    }
