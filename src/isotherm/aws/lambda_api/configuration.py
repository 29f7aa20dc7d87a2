"""A function's configuration, from AWS's words to ours and back."""

import base64
import hashlib
import platform
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import msgspec

from isotherm.aws.fault import AwsError
from isotherm.aws.lambda_api.call import Call
from isotherm.aws.lambda_api.members import check_members, kept_members
from isotherm.aws.lambda_api.names import LayerRef, Names, parse_layer
from isotherm.base.errors import NotFound
from isotherm.base.runtimes import PROVIDED, is_node, stand_ins, version_of
from isotherm.functions.heads import HEAD, Seen
from isotherm.functions.model import FunctionConfig
from isotherm.workloads.model import RevisionRow
from isotherm.workloads.settings_model import PolicySetting

__all__ = [
    "changed",
    "configuration_of",
    "created",
    "head_revision_id",
    "moment",
    "notes_of",
    "revision_id",
    "runtime_of",
]

_ids = uuid.UUID("6f2f0d4e-3c55-4a0e-9d3e-1f6a2f0c7b11")
_machine = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
_role = "arn:aws:iam::000000000000:role/isotherm"
_reserved = frozenset(
    (
        "_HANDLER", "_X_AMZN_TRACE_ID", "AWS_DEFAULT_REGION", "AWS_REGION", "AWS_EXECUTION_ENV", "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API", "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_INITIALIZATION_TYPE", "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
    )
)  # fmt: skip
_max_instances = 100
_max_env_bytes = 4096  # of the variables as JSON
_failures = {
    "import_failed": "FunctionError.RuntimeInitError",
    "timed_out": "FunctionError.InitTimeout",
    "out_of_memory": "FunctionError.InitResourceExhausted",
    "invalid_package": "InvalidZipFileException",
    "build_failed": "InvalidConfiguration",
    "invalid": "InvalidConfiguration",
}


def created(call: Call, package: str) -> FunctionConfig:
    """The configuration of a new function. Raises `AwsError`."""
    given = call.given
    check_members(given)
    missing = [name for name in ("Runtime", "Handler") if not given.get(name)]
    if missing:
        raise AwsError(
            "InvalidParameterValueException",
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        )
    base = FunctionConfig(
        package=package,
        memory_mb=128,
        timeout_s=3.0,
        tmp_mb=512,
        install=False,
        egress=call.services.settings.lambda_egress,
    )
    warm = msgspec.structs.replace(base.warm, max_instances=_max_instances)
    return changed(call, msgspec.structs.replace(base, warm=warm))


def changed(call: Call, config: FunctionConfig) -> FunctionConfig:
    """`config` with what the call gives in place of what was. Raises `AwsError`."""
    given = call.given
    check_members(given)
    values: dict[str, Any] = {}
    if "Runtime" in given:
        values["runtime"] = runtime_of(call, given["Runtime"])
    for member, field in (("Handler", "handler"), ("MemorySize", "memory_mb")):
        if member in given:
            values[field] = given[member]
    if "Timeout" in given:
        values["timeout_s"] = float(given["Timeout"])
    if "EphemeralStorage" in given:
        values["tmp_mb"] = given["EphemeralStorage"]["Size"]
    if "Environment" in given:
        values["env"] = _checked_env(given["Environment"].get("Variables") or {})
    if "Layers" in given:
        values["layers"] = _layer_names(call, given["Layers"])
    if "DeadLetterConfig" in given:
        target = given["DeadLetterConfig"].get("TargetArn")
        values["asynchronous"] = msgspec.structs.replace(config.asynchronous, on_failure=_destination(call, target))
    _check_architectures(given.get("Architectures"))
    return msgspec.structs.replace(config, **values)


def notes_of(call: Call, before: Mapping[str, Any]) -> dict[str, Any]:
    """What is only shown, with what the call gives in place of what was."""
    notes = dict(before) | kept_members(call.given)
    for name in ("Description", "Runtime", "DeadLetterConfig"):
        if name in call.given:
            notes[name] = call.given[name]
    if "Environment" in call.given:
        notes["Environment"] = True  # shown even where nothing is in it
    return notes


def runtime_of(call: Call, asked: str) -> str:
    """Ours. Raises `AwsError` where it is not installed here."""
    there = call.services.functions.runtimes
    name = _ours(asked)
    if name not in there:
        name = _ours(stand_ins(call.services.settings.lambda_runtimes).get(asked, name))
    if name not in there:
        values = ", ".join(_theirs(runtime) for runtime in there)
        raise AwsError(
            "InvalidParameterValueException",
            f"Value {asked} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [{values}] "
            "or be a valid ARN (these are the runtimes that this machine has)",
        )
    return name


def _ours(runtime: str) -> str:
    return PROVIDED if runtime.startswith("provided") else runtime.removesuffix(".x")


def _theirs(runtime: str) -> str:
    if is_node(runtime):
        return f"{runtime}.x"
    return "provided.al2023" if runtime == PROVIDED else runtime


def _checked_env(env: Mapping[str, str]) -> dict[str, str]:
    used = sorted(_reserved & set(env))
    if used:
        raise AwsError(
            "InvalidParameterValueException",
            "Lambda was unable to configure your environment variables because the environment variables you have "
            "provided contains reserved keys that are currently not supported for modification. Reserved keys used "
            f"in this request: {', '.join(used)}",
        )
    text = msgspec.json.encode(env)
    if len(text) > _max_env_bytes:
        raise AwsError(
            "InvalidParameterValueException",
            "Lambda was unable to configure your environment variables because the environment variables you have "
            f"provided exceeded the 4KB limit. String measured: {len(text)} bytes of {', '.join(sorted(env))[:200]}",
        )
    return dict(env)


def _layer_names(call: Call, arns: Sequence[str]) -> list[str]:
    """NAME:VERSION of each. Raises `AwsError`."""
    refs = [parse_layer(arn, call.home) for arn in arns]
    for ref in refs:
        if ref.region not in ("", call.names.region):
            raise AwsError(
                "InvalidParameterValueException",
                "Layers are not in the same region as the function. Layers are expected to be in region "
                f"{call.names.region}.",
            )
    taken: dict[tuple[str, str], int | None] = {}
    for ref in refs:
        place = ref.namespace, ref.name
        if place in taken:
            first, second = (call.names.layer(*place, version) for version in (taken[place], ref.version))
            raise AwsError(
                "InvalidParameterValueException",
                "Two different versions of the same layer are not allowed to be referenced in the same function. "
                f"{first} and {second} are versions of the same layer.",
            )
        taken[place] = ref.version
    return [_layer_name(call, ref) for ref in refs]


def _layer_name(call: Call, ref: LayerRef) -> str:
    try:
        if ref.version is not None:
            call.services.layers.version(call.principal, ref.namespace, ref.name, ref.version)
            return f"{ref.name}:{ref.version}"
        why = "names no version"
    except NotFound:
        why = "does not exist."
    arn = call.names.layer(ref.namespace, ref.name, ref.version)
    raise AwsError("InvalidParameterValueException", f"Layer version {arn} {why}")


def _destination(call: Call, arn: str | None) -> str | None:
    """NAME[:QUALIFIER] of a function's ARN. Raises `AwsError` on any other."""
    if not arn:
        return None
    if ":lambda:" not in arn:
        raise AwsError(
            "InvalidParameterValueException",
            f"{arn}: this platform delivers to functions only; give the ARN of a function",
        )
    ref = call.parsed(arn)
    return ref.name if ref.qualifier in (None, HEAD) else f"{ref.name}:{ref.qualifier}"


def _check_architectures(asked: list[str] | None) -> None:
    own = _architecture()
    if asked and asked != [own]:
        raise AwsError("InvalidParameterValueException", f"Architectures is {asked}; this machine is {own}")


def _architecture() -> str:
    return _machine.get(platform.machine(), "x86_64")


def revision_id(text: str) -> str:
    """A UUID that is another one wherever `text` is."""
    return str(uuid.uuid5(_ids, text))


def head_revision_id(seen: Seen) -> str:
    """Another one after each change, state, publication and change of the policy, as with AWS."""
    policy = seen.setting(PolicySetting)
    changed_at = policy.updated_at_ms if isinstance(policy, PolicySetting) else 0
    newest = max(seen.versions, default=0)
    return revision_id(f"{seen.revision.spec.id}:{HEAD}:{seen.revision.state}:{newest}:{changed_at}")


def moment(at_ms: int) -> str:
    """As Lambda writes times: 2024-05-01T12:00:00.000+0000."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}+0000"


def configuration_of(names: Names, seen: Seen, *, short: bool = False, qualified: bool = False) -> dict[str, Any]:
    """A `FunctionConfiguration`. `short`: as in lists, without states. `qualified`: its ARN has the version."""
    row, spec = seen.revision, seen.revision.spec
    version = HEAD if seen.version is None or seen.alias is not None else str(seen.version)
    if seen.alias is not None and seen.version is not None:
        version = str(seen.version)
    notes = row.notes
    qualifier = (seen.alias.name if seen.alias is not None else version) if qualified else None
    made: dict[str, Any] = {
        "FunctionName": spec.name,
        "FunctionArn": names.function(spec.namespace, spec.name, qualifier),
        "Runtime": notes.get("Runtime") or _theirs(spec.runtime),
        "Role": notes.get("Role") or _role,
        "Handler": spec.handler,
        "CodeSize": seen.package_bytes,
        "Description": seen.description,
        "Timeout": max(1, round(spec.timeout_s)),
        "MemorySize": spec.memory_mb,
        "LastModified": moment(row.created_at_ms),
        "CodeSha256": base64.b64encode(bytes.fromhex(spec.package)).decode(),
        "Version": version,
        "TracingConfig": {"Mode": (notes.get("TracingConfig") or {}).get("Mode", "PassThrough")},
        "RevisionId": head_revision_id(seen) if version == HEAD else revision_id(f"{spec.id}:{version}"),
        "PackageType": "Zip",
        "Architectures": [_architecture()],
        "EphemeralStorage": {"Size": spec.tmp_mb},
        "SnapStart": _snap_start(seen),
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{spec.name}"} | notes.get("LoggingConfig", {}),
    }
    if row.env_names or notes.get("Environment"):
        made["Environment"] = _environment(seen)
    if spec.layers:
        made["Layers"] = [
            {"Arn": _layer_arn(names, spec.namespace, name), "CodeSize": seen.layer_bytes.get(name, 0)}
            for name, _ in spec.layers
        ]
    if (notes.get("DeadLetterConfig") or {}).get("TargetArn"):
        made["DeadLetterConfig"] = notes["DeadLetterConfig"]
    return made if short else made | _runtime_version(names, spec.runtime) | _state(seen)


def _runtime_version(names: Names, runtime: str) -> dict[str, Any]:
    """An ARN of its own for each version of each runtime; none of `provided`, which comes with the code."""
    version = version_of(runtime)
    if version is None:
        return {}
    digest = hashlib.sha256(f"{runtime} {version}".encode()).hexdigest()
    return {"RuntimeVersionConfig": {"RuntimeVersionArn": f"arn:aws:lambda:{names.region}::runtime:{digest}"}}


def _environment(seen: Seen) -> dict[str, Any]:
    if seen.env is None:
        message = "this key may not read the values of variables"
        return {"Error": {"ErrorCode": "AccessDeniedException", "Message": message}}
    return {"Variables": dict(sorted(seen.env.items()))}


def _layer_arn(names: Names, namespace: str, name: str) -> str:
    layer, _, version = name.rpartition(":")
    return names.layer(namespace, layer, int(version))


def _snap_start(seen: Seen) -> dict[str, str]:
    asked = (seen.revision.notes.get("SnapStart") or {}).get("ApplyOn", "None")
    on = asked == "PublishedVersions" and seen.version is not None
    return {"ApplyOn": asked, "OptimizationStatus": "On" if on else "Off"}


def _state(seen: Seen) -> dict[str, Any]:
    """`State` is of what serves, `LastUpdateStatus` of the newest change."""
    row = seen.revision
    serves = row.state == "ready" or (seen.version is None and seen.live is not None)
    if row.state == "ready":
        return {"State": "Active", "LastUpdateStatus": "Successful"}
    if row.state == "building":
        why = {"Reason": "The function is being created.", "ReasonCode": "Creating"}
        if not serves:
            return {"State": "Pending", **{f"State{name}": value for name, value in why.items()}}
        return {"State": "Active", "LastUpdateStatus": "InProgress", **_update(why)}
    why = failure_of(row)
    if not serves:
        states = {f"State{name}": value for name, value in why.items()}
        return {"State": "Failed", **states, "LastUpdateStatus": "Failed", **_update(why)}
    return {"State": "Active", "LastUpdateStatus": "Failed", **_update(why)}


def _update(why: Mapping[str, str]) -> dict[str, str]:
    return {f"LastUpdateStatus{name}": value for name, value in why.items()}


def failure_of(row: RevisionRow) -> dict[str, str]:
    """Why it could not be prepared, with the words of the user's own error where there is one."""
    problem = row.problem or {}
    data = cast("dict[str, Any]", problem.get("data") or {})
    text = str(problem.get("detail") or "The function could not be prepared.")
    if data.get("error_type") and data.get("error_message"):
        text = f"{data['error_type']}: {data['error_message']}"
    return {"Reason": text[:2000], "ReasonCode": _failures.get(str(problem.get("code")), "InternalError")}
