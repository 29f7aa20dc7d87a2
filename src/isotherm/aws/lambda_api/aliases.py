"""Aliases, with a share of the calls for a second version."""

from typing import Any

from isotherm.aws.fault import AwsError
from isotherm.aws.lambda_api.call import Call, Operations
from isotherm.aws.lambda_api.configuration import revision_id
from isotherm.aws.lambda_api.names import FunctionRef
from isotherm.aws.lambda_api.paging import marker_of, position_of, size_of
from isotherm.base.errors import NotFound
from isotherm.functions.heads import HEAD, Seen
from isotherm.workloads.model import LIVE, AliasRow, Weight
from isotherm.workloads.settings_model import NoteSetting, UrlSetting

__all__ = ["operations"]

operations = Operations("Aliases")


@operations.add(
    "CreateAlias",
    "functions.deploy",
    note="`$LATEST` itself, and the name `live`, which unqualified calls take, are refused",
)
def create_alias(call: Call) -> dict[str, Any]:
    ref, name = call.unqualified(), call.text("Name")
    seen = _function(call, ref)
    if name == LIVE or _there(call, ref, name):
        raise AwsError(
            "ResourceConflictException",
            f"Alias already exists: {call.names.function(ref.namespace, ref.name, name)}",
            409,
        )
    weights = _weights(call, seen, call.text("FunctionVersion"), call.given.get("RoutingConfig"))
    return _moved(call, ref, name, weights, call.text("Description"))


@operations.add("GetAlias", "functions.read")
def get_alias(call: Call) -> dict[str, Any]:
    ref = call.unqualified()
    return _shown(call, *_found(call, ref, call.text("Name")))


@operations.add("ListAliases", "functions.read")
def list_aliases(call: Call) -> dict[str, Any]:
    ref, size = call.unqualified(), size_of(call.given.get("MaxItems"))
    after = position_of(call.given.get("Marker"))
    wanted = call.given.get("FunctionVersion")
    limit = 1000 if wanted else size + 1
    seen, rows = call.services.heads.aliases(call.principal, ref.namespace, ref.name, after=after, limit=limit)
    shown = [_shown(call, seen, row) for row in rows]
    if wanted:
        shown = [each for each in shown if wanted in (each["FunctionVersion"], *_extra_versions(each))]
    answer: dict[str, Any] = {"Aliases": shown[:size]}
    if len(shown) > size:
        answer["NextMarker"] = marker_of(shown[size - 1]["Name"])
    return answer


@operations.add("UpdateAlias", "functions.deploy", note="As CreateAlias")
def update_alias(call: Call) -> dict[str, Any]:
    ref, name = call.unqualified(), call.text("Name")
    seen, row = _found(call, ref, name)
    before = _shown(call, seen, row)
    asked = call.given.get("RevisionId")
    if asked and asked != before["RevisionId"]:
        raise AwsError(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the "
            "GetFunction/GetAlias API to retrieve the latest Revision Id",
            412,
        )
    routing = call.given.get("RoutingConfig", before.get("RoutingConfig"))
    version = call.given.get("FunctionVersion") or before["FunctionVersion"]
    description = call.given.get("Description", before["Description"])
    return _moved(call, ref, name, _weights(call, seen, version, routing), description)


@operations.add("DeleteAlias", "functions.deploy")
def delete_alias(call: Call) -> dict[str, Any]:
    ref, name = call.unqualified(), call.text("Name")
    seen = call.services.heads.see(call.principal, ref.namespace, ref.name)
    if name != LIVE and _there(call, ref, name):
        if seen.setting(UrlSetting, name) is not None:
            raise AwsError(
                "ResourceConflictException",
                f"Cannot delete the alias {name}: it has a function URL; delete that first",
                409,
            )
        call.services.functions.delete_alias(call.principal, ref.namespace, ref.name, name)
        call.services.settle()
    return {}


def _function(call: Call, ref: FunctionRef) -> Seen:
    """Raises `AwsError`, which names the version that an alias was to be of."""
    try:
        return call.services.heads.see(call.principal, ref.namespace, ref.name)
    except NotFound as exc:
        if "namespace" in exc.data:
            raise
        arn = call.names.function(ref.namespace, ref.name, call.text("FunctionVersion"))
        raise AwsError("ResourceNotFoundException", f"Function not found: {arn}", 404) from exc


def _there(call: Call, ref: FunctionRef, name: str) -> bool:
    _, rows = call.services.heads.aliases(call.principal, ref.namespace, ref.name, after="", limit=1000)
    return any(row.name == name for row in rows)


def _found(call: Call, ref: FunctionRef, name: str) -> tuple[Seen, AliasRow]:
    seen, rows = call.services.heads.aliases(call.principal, ref.namespace, ref.name, after="", limit=1000)
    row = next((row for row in rows if row.name == name), None)
    if row is None:
        arn = call.names.function(ref.namespace, ref.name, name)
        raise AwsError("ResourceNotFoundException", f"Cannot find alias arn: {arn}", 404)
    return seen, row


def _weights(call: Call, seen: Seen, version: str, routing: dict[str, Any] | None) -> list[Weight]:
    """Raises `AwsError` on a version that is not there, or shares that are none."""
    extra = (routing or {}).get("AdditionalVersionWeights") or {}
    if len(extra) > 1:
        raise AwsError(
            "InvalidParameterValueException", "Number of items in AdditionalVersionWeights cannot be greater than 1"
        )
    if version == HEAD and extra:
        raise AwsError(
            "InvalidParameterValueException", "$LATEST is not supported for an alias pointing to more than 1 version"
        )
    main = _number(call, seen, version)
    shares = [(_number(call, seen, other), float(share)) for other, share in extra.items() if share > 0]
    for number, share in shares:
        if number == main:
            raise AwsError(
                "InvalidParameterValueException",
                f"Invalid function version {version}. Function version {version} is already included in routing "
                "configuration.",
            )
        if share > 1:
            raise AwsError("InvalidParameterValueException", f"The weight {share} is above 1")
    rest = 1.0 - sum(share for _, share in shares)
    if rest <= 0:
        return [Weight(number, share) for number, share in shares]
    return [Weight(main, rest), *(Weight(number, share) for number, share in shares)]


def _number(call: Call, seen: Seen, version: str) -> int:
    """The number of a version's revision."""
    spec = seen.revision.spec
    if version == HEAD:
        raise AwsError(
            "InvalidParameterValueException",
            "An alias of $LATEST is not supported by this platform: calls without a qualifier take $LATEST; publish a "
            "version for an alias",
        )
    number = seen.versions.get(int(version)) if version.isdigit() else None
    if number is None:
        arn = call.names.function(spec.namespace, spec.name, version)
        raise AwsError("ResourceNotFoundException", f"Function not found: {arn}", 404)
    return number


def _moved(call: Call, ref: FunctionRef, name: str, weights: list[Weight], description: str) -> dict[str, Any]:
    call.services.functions.set_alias(call.principal, ref.namespace, ref.name, name, weights)
    note = NoteSetting(description=description, number=weights[0].number, updated_at_ms=call.services.clock.time_ms())
    call.services.heads.change_setting(
        call.principal, ref.namespace, ref.name, name, NoteSetting, lambda _seen, _before: note
    )
    call.services.settle()
    return _shown(call, *_found(call, ref, name))


def _shown(call: Call, seen: Seen, row: AliasRow) -> dict[str, Any]:
    """An `AliasConfiguration`. Where a rollout has moved it since, its version is the one with the most calls."""
    spec = seen.revision.spec
    versions = {number: version for version, number in seen.versions.items()}
    note = seen.setting(NoteSetting, row.name)
    description = note.description if isinstance(note, NoteSetting) else ""
    named = note.number if isinstance(note, NoteSetting) else None
    main = max(row.weights, key=lambda weight: (weight.number == named, weight.weight, -weight.number))
    shown: dict[str, Any] = {
        "AliasArn": call.names.function(spec.namespace, spec.name, row.name),
        "Name": row.name,
        "FunctionVersion": _version(versions, main.number),
        "Description": description,
    }
    others = {_version(versions, w.number): round(w.weight, 9) for w in row.weights if w.number != main.number}
    if others:
        shown["RoutingConfig"] = {"AdditionalVersionWeights": others}
    set_at = note.updated_at_ms if isinstance(note, NoteSetting) else 0
    return shown | {"RevisionId": revision_id(f"{seen.workload.id}:{shown}:{set_at}")}


def _version(versions: dict[int, int], number: int) -> str:
    """Of a revision; one without a version is a state of `$LATEST` that `isotherm alias set` named."""
    return str(versions[number]) if number in versions else HEAD


def _extra_versions(shown: dict[str, Any]) -> list[str]:
    return list(shown.get("RoutingConfig", {}).get("AdditionalVersionWeights", {}))
