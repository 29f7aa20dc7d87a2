"""Create, see, change and delete functions."""

import base64
import io
import time
import zipfile
from typing import Any
from urllib.parse import quote

import msgspec

from isotherm.aws.fault import AwsError
from isotherm.aws.lambda_api.call import Call, Operations
from isotherm.aws.lambda_api.configuration import changed, configuration_of, created, head_revision_id, notes_of
from isotherm.aws.lambda_api.members import check_members
from isotherm.aws.lambda_api.names import FunctionRef
from isotherm.aws.lambda_api.paging import marker_of, position_of, size_of
from isotherm.base.errors import InvalidPackage, TooLarge
from isotherm.functions.heads import HEAD, Seen
from isotherm.functions.model import FunctionConfig, Making, Package
from isotherm.workloads.model import WorkloadRow
from isotherm.workloads.settings_model import ReservedSetting, TagsSetting

__all__ = ["code_url", "function_package", "operations"]

operations = Operations("Functions")
_code_s = 600
_fresh_ms = 120_000
_bad_zip = "Could not unzip uploaded file. Please check your file, then try to upload again."


@operations.add("CreateFunction", "functions.deploy", note="From `ZipFile`; see the table of its members")
def create_function(call: Call) -> dict[str, Any]:
    ref = call.unqualified()
    tags = call.given.get("Tags") or {}
    package = function_package(call, ref.namespace, call.given["Code"])
    config = created(call, package.digest)

    def check(there: WorkloadRow | None) -> None:
        if there is not None:
            raise AwsError("ResourceConflictException", f"Function already exist: {ref.name}", 409)

    making = Making(head=True, notes=notes_of(call, {}), check=check)
    call.services.functions.deploy(call.principal, ref.namespace, ref.name, config, making=making)
    if tags:
        setting = TagsSetting(tags=dict(tags), updated_at_ms=call.services.clock.time_ms())
        call.services.heads.change_setting(
            call.principal, ref.namespace, ref.name, None, TagsSetting, lambda *_: setting
        )
    if not call.given.get("Publish"):
        return _head(call, ref)
    return _published(call, ref) | {"FunctionArn": call.names.function(ref.namespace, ref.name)}


@operations.add("GetFunction", "functions.read", note="`Code.Location` is a URL of this platform, good for ten minutes")
def get_function(call: Call) -> dict[str, Any]:
    ref = call.function()
    seen = _seen(call, ref)
    answer: dict[str, Any] = {
        "Configuration": configuration_of(call.names, seen, qualified=ref.qualifier is not None),
        "Code": {"RepositoryType": "S3", "Location": code_url(call, ref.namespace, seen.revision.spec.package)},
    }
    tags = seen.setting(TagsSetting)
    if isinstance(tags, TagsSetting) and tags.tags:
        answer["Tags"] = tags.tags
    reserved = seen.setting(ReservedSetting)
    if isinstance(reserved, ReservedSetting):
        answer["Concurrency"] = {"ReservedConcurrentExecutions": reserved.calls}
    return answer


@operations.add("GetFunctionConfiguration", "functions.read")
def get_function_configuration(call: Call) -> dict[str, Any]:
    ref = call.function()
    return configuration_of(call.names, _seen(call, ref), qualified=ref.qualifier is not None)


@operations.add(
    "ListFunctions", "functions.read", note="Also those that `isotherm deploy` made; `MasterRegion` filters nothing"
)
def list_functions(call: Call) -> dict[str, Any]:
    size = size_of(call.given.get("MaxItems"))
    after = position_of(call.given.get("Marker")) or None
    seen = call.services.heads.page(call.principal, call.home, after=after, limit=size + 1)
    answer: dict[str, Any] = {"Functions": []}
    for each in seen[:size]:
        everything = call.given.get("FunctionVersion") == "ALL"
        answer["Functions"].append(configuration_of(call.names, each, short=True, qualified=everything))
        if everything:
            answer["Functions"] += _all_versions(call, each)
    if len(seen) > size:
        answer["NextMarker"] = marker_of(seen[size - 1].workload.name)
    return answer


@operations.add("UpdateFunctionCode", "functions.deploy")
def update_function_code(call: Call) -> dict[str, Any]:
    ref = call.unqualified()
    check_members({name: call.given[name] for name in ("Architectures", "PublishTo") if name in call.given})
    seen = call.services.heads.see(call.principal, ref.namespace, ref.name)
    package = function_package(call, ref.namespace, call.given)
    config = msgspec.structs.replace(_config(call, seen), package=package.digest, install=False)
    if call.given.get("DryRun"):
        _check_still(call, ref, seen)(seen.workload)
        shown = configuration_of(call.names, seen)
        return shown | {"CodeSha256": _sha256(package.digest), "CodeSize": package.size_bytes}
    _deploy(call, ref, config, seen, seen.revision.notes)
    return _published(call, ref) if call.given.get("Publish") else _head(call, ref)


@operations.add("UpdateFunctionConfiguration", "functions.deploy", note="See the table of its members")
def update_function_configuration(call: Call) -> dict[str, Any]:
    ref = call.unqualified()
    seen = call.services.heads.see(call.principal, ref.namespace, ref.name)
    config = changed(call, _config(call, seen))
    _deploy(call, ref, config, seen, notes_of(call, seen.revision.notes))
    return _head(call, ref)


@operations.add("DeleteFunction", "functions.delete", note="At once; a version with `Qualifier`")
def delete_function(call: Call) -> dict[str, Any]:
    ref = call.function()
    if ref.qualifier is None:
        call.services.functions.delete(call.principal, ref.namespace, ref.name)
    elif ref.qualifier == HEAD:
        raise AwsError(
            "InvalidParameterValueException", "$LATEST version cannot be deleted without deleting the function."
        )
    elif not ref.qualifier.isdigit():
        raise AwsError("InvalidParameterValueException", "Deletion of functions by alias is not supported.")
    else:
        call.services.heads.delete_version(call.principal, ref.namespace, ref.name, int(ref.qualifier))
    call.services.settle()
    return {"StatusCode": 204}


def function_package(call: Call, namespace: str, code: Any) -> Package:
    """Keep the zip of a function or a layer. Raises `AwsError` where it is none, or is elsewhere."""
    for name in ("S3Bucket", "ImageUri"):
        if code.get(name):
            raise AwsError(
                "InvalidParameterValueException",
                f"{name} is not supported by this platform: give the bytes of the zip as ZipFile",
            )
    content = code.get("ZipFile")
    if not content:
        raise AwsError("InvalidParameterValueException", "Please provide the code as ZipFile.")
    try:
        return call.services.functions.upload_package(call.principal, namespace, content)
    except TooLarge as exc:
        limit = exc.data.get("limit_bytes")
        if "unpacked_bytes" in exc.data:
            raise AwsError(
                "InvalidParameterValueException", f"Unzipped size must be smaller than {limit} bytes"
            ) from exc
        raise AwsError(
            "RequestEntityTooLargeException", f"Zipped size must be smaller than {limit} bytes", 413
        ) from exc
    except InvalidPackage as exc:
        no_zip = not zipfile.is_zipfile(io.BytesIO(content))
        raise AwsError("InvalidParameterValueException", _bad_zip if no_zip else f"{_bad_zip} ({exc.message})") from exc


def code_url(call: Call, namespace: str, digest: str) -> str:
    """Where the zip can be fetched without a key, for ten minutes."""
    expires = int(time.time()) + _code_s
    signature = code_signature(call, namespace, digest, expires)
    return f"{call.url}/aws/lambda/code/{quote(namespace)}/{digest}.zip?expires={expires}&signature={signature}"


def code_signature(call: Call, namespace: str, digest: str, expires: int) -> str:
    return call.services.vault.fingerprint("aws.code", f"{namespace}/{digest}/{expires}".encode())


def _seen(call: Call, ref: FunctionRef) -> Seen:
    """A client that waits for a function calls it as soon as it is told that it is active: then hosts must serve it."""
    seen = call.services.heads.see(call.principal, ref.namespace, ref.name, ref.qualifier)
    age_ms = call.services.clock.time_ms() - seen.revision.created_at_ms
    if seen.revision.state == "ready" and age_ms < _fresh_ms:
        call.services.settle()
    return seen


def _sha256(digest: str) -> str:
    return base64.b64encode(bytes.fromhex(digest)).decode()


def _config(call: Call, seen: Seen) -> FunctionConfig:
    """What the head has, to be made anew with something else in it."""
    return call.services.heads.to_change(call.principal, seen)


def _deploy(call: Call, ref: FunctionRef, config: FunctionConfig, seen: Seen, notes: dict[str, Any]) -> None:
    making = Making(head=True, notes=notes, check=_check_still(call, ref, seen))
    call.services.functions.deploy(call.principal, ref.namespace, ref.name, config, making=making)


def _check_still(call: Call, ref: FunctionRef, seen: Seen) -> Any:
    """Whether the head is what the caller thinks that it is, and nothing is under way. `seen`: as it was just now."""
    asked = call.given.get("RevisionId")
    stale = bool(asked) and asked != head_revision_id(seen)

    def check(there: WorkloadRow | None) -> None:
        if there is None or there.latest is None:
            raise AwsError(
                "ResourceNotFoundException", f"Function not found: {call.names.function(ref.namespace, ref.name)}", 404
            )
        if stale or (asked and there.latest.spec.id != seen.revision.spec.id):
            raise AwsError(
                "PreconditionFailedException",
                "The Revision Id provided does not match the latest Revision Id. Call the "
                "GetFunction/GetAlias API to retrieve the latest Revision Id",
                412,
            )
        if there.latest.state == "building":
            raise AwsError(
                "ResourceConflictException",
                "The operation cannot be performed at this time. An update is in progress for resource: "
                f"{call.names.function(ref.namespace, ref.name)}",
                409,
            )

    return check


def _head(call: Call, ref: FunctionRef) -> dict[str, Any]:
    return configuration_of(call.names, call.services.heads.see(call.principal, ref.namespace, ref.name))


def _published(call: Call, ref: FunctionRef) -> dict[str, Any]:
    seen = call.services.heads.publish(call.principal, ref.namespace, ref.name)
    return configuration_of(call.names, seen, qualified=True)


def _all_versions(call: Call, head: Seen) -> list[dict[str, Any]]:
    spec = head.revision.spec
    found = call.services.heads.versions(call.principal, spec.namespace, spec.name, after=0, limit=1000)
    return [configuration_of(call.names, each, short=True, qualified=True) for each in found]
