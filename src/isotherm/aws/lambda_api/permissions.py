"""Resource policies of functions. What is evaluated of them is who may call a function URL without a signature."""

import json
from typing import Any

import msgspec

from isotherm.aws.fault import AwsError
from isotherm.aws.lambda_api.call import Call, Operations
from isotherm.aws.lambda_api.configuration import configuration_of, head_revision_id, revision_id
from isotherm.aws.lambda_api.missing import GONE
from isotherm.aws.lambda_api.names import FunctionRef
from isotherm.functions.heads import HEAD, Seen
from isotherm.workloads.settings_model import PolicySetting, Setting, Statement

__all__ = ["operations"]

operations = Operations("Permissions")
_max_bytes = 20480
_service_domains = (".amazonaws.com", ".amazonaws.com.cn", ".amazon.com", ".alexa.com")
_stale = (
    "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest "
    "Revision Id"
)


@operations.add(
    "AddPermission",
    "functions.deploy",
    state="partly",
    note="Kept and shown. `lambda:InvokeFunctionUrl` for `*` opens a URL whose `AuthType` is `NONE`; who else may "
    "call is up to keys and their roles",
)
def add_permission(call: Call) -> dict[str, Any]:
    ref, statement = call.function(), _statement(call)
    if ref.qualifier == HEAD:
        raise AwsError("InvalidParameterValueException", "We currently do not support adding policies for $LATEST.")

    def change(seen: Seen, before: Setting | None) -> Setting:
        there = list(before.statements) if isinstance(before, PolicySetting) else []
        _check_revision(call, ref, seen, before)
        if any(each.sid == statement.sid for each in there):
            raise AwsError(
                "ResourceConflictException",
                f"The statement id ({statement.sid}) provided already exists. Please provide a new statement id, or "
                "remove the existing statement.",
                409,
            )
        made = PolicySetting(statements=[*there, statement], updated_at_ms=call.services.clock.time_ms())
        size = len(_policy(call, ref, made))
        if size > _max_bytes:
            raise AwsError(
                "PolicyLengthExceededException",
                f"The final policy size ({size}) is bigger than the limit ({_max_bytes}).",
            )
        return made

    call.services.heads.change_setting(call.principal, ref.namespace, ref.name, ref.qualifier, PolicySetting, change)
    call.services.settle()
    return {"Statement": json.dumps(_shown(call, ref, statement), separators=(",", ":"))}


@operations.add("GetPolicy", "functions.read")
def get_policy(call: Call) -> dict[str, Any]:
    ref = call.function()
    seen = call.services.heads.see(call.principal, ref.namespace, ref.name, ref.qualifier)
    found = seen.setting(PolicySetting, _place(ref))
    if not isinstance(found, PolicySetting):
        raise AwsError("ResourceNotFoundException", GONE, 404)
    return {"Policy": _policy(call, ref, found), "RevisionId": _revision(seen, ref, found)}


@operations.add("RemovePermission", "functions.deploy")
def remove_permission(call: Call) -> dict[str, Any]:
    ref, sid = call.function(), call.text("StatementId")

    def change(seen: Seen, before: Setting | None) -> Setting | None:
        if not isinstance(before, PolicySetting):
            raise AwsError("ResourceNotFoundException", "No policy is associated with the given resource.", 404)
        _check_revision(call, ref, seen, before)
        rest = [each for each in before.statements if each.sid != sid]
        if len(rest) == len(before.statements):
            raise AwsError("ResourceNotFoundException", f"Statement {sid} is not found in resource policy.", 404)
        now_ms = call.services.clock.time_ms()
        return PolicySetting(statements=rest, updated_at_ms=now_ms) if rest else None

    call.services.heads.change_setting(call.principal, ref.namespace, ref.name, ref.qualifier, PolicySetting, change)
    call.services.settle()
    return {}


def _statement(call: Call) -> Statement:
    given = call.given
    principal = given["Principal"]
    shown: Any = principal
    if principal != "*":
        is_service = "." in principal and not principal.startswith("arn:")
        if is_service and not principal.endswith(_service_domains):
            raise AwsError(
                "InvalidParameterValueException",
                "The provided principal was invalid. Please check the principal and try again.",
            )
        kind = "Service" if is_service else "AWS"
        shown = {kind: f"arn:aws:iam::{principal}:root" if principal.isdigit() else principal}
    condition: dict[str, dict[str, Any]] = {}

    def add(operator: str, key: str, value: Any) -> None:
        if value is not None:
            condition.setdefault(operator, {})[key] = value

    add("StringEquals", "AWS:SourceAccount", given.get("SourceAccount"))
    add("ArnLike", "AWS:SourceArn", given.get("SourceArn"))
    add("StringEquals", "lambda:EventSourceToken", given.get("EventSourceToken"))
    add("StringEquals", "aws:PrincipalOrgID", given.get("PrincipalOrgID"))
    add("StringEquals", "lambda:FunctionUrlAuthType", given.get("FunctionUrlAuthType"))
    if given.get("InvokedViaFunctionUrl") is not None:
        add("Bool", "lambda:InvokedViaFunctionUrl", str(bool(given["InvokedViaFunctionUrl"])).lower())
    if given.get("FunctionUrlAuthType") and given["Action"] != "lambda:InvokeFunctionUrl":
        raise AwsError(
            "InvalidParameterValueException",
            "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action",
        )
    return Statement(sid=given["StatementId"], action=given["Action"], principal=shown, condition=condition or None)


def _shown(call: Call, ref: FunctionRef, statement: Statement) -> dict[str, Any]:
    shown = {
        "Sid": statement.sid,
        "Effect": "Allow",
        "Principal": statement.principal,
        "Action": statement.action,
        "Resource": call.names.function(ref.namespace, ref.name, _place(ref) or None),
    }
    return shown | ({"Condition": statement.condition} if statement.condition else {})


def _policy(call: Call, ref: FunctionRef, policy: PolicySetting) -> str:
    statements = [_shown(call, ref, each) for each in policy.statements]
    return json.dumps({"Version": "2012-10-17", "Id": "default", "Statement": statements}, separators=(",", ":"))


def _revision(seen: Seen, ref: FunctionRef, policy: PolicySetting) -> str:
    """A function's policy is a part of the function, whose revision it shares."""
    return revision_id(msgspec.json.encode(policy).decode()) if _place(ref) else head_revision_id(seen)


def _check_revision(call: Call, ref: FunctionRef, seen: Seen, before: Setting | None) -> None:
    """`RevisionId` is that of the policy or, before there is one, the function's."""
    asked = call.given.get("RevisionId")
    known = [configuration_of(call.names, seen)["RevisionId"]]
    if isinstance(before, PolicySetting):
        known.append(_revision(seen, ref, before))
    if asked and asked not in known:
        raise AwsError("PreconditionFailedException", _stale, 412)


def _place(ref: FunctionRef) -> str:
    return "" if ref.qualifier in (None, HEAD) else str(ref.qualifier)
