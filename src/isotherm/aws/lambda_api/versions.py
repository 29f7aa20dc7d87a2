"""Publish and list versions."""

from typing import Any

from isotherm.aws.fault import AwsError
from isotherm.aws.lambda_api.call import Call, Operations
from isotherm.aws.lambda_api.configuration import configuration_of
from isotherm.aws.lambda_api.paging import marker_of, position_of, size_of
from isotherm.functions.heads import Seen

__all__ = ["operations"]

operations = Operations("Versions")
_stale = (
    "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the "
    "latest Revision Id"
)


@operations.add("PublishVersion", "functions.deploy")
def publish_version(call: Call) -> dict[str, Any]:
    ref = call.unqualified()

    def check(head: Seen) -> None:
        shown = configuration_of(call.names, head)
        asked = call.given.get("RevisionId")
        if asked and asked != shown["RevisionId"]:
            raise AwsError("PreconditionFailedException", _stale, 412)
        sha256 = call.given.get("CodeSha256")
        if sha256 and sha256 != shown["CodeSha256"]:
            raise AwsError(
                "InvalidParameterValueException",
                f"CodeSHA256 ({sha256}) is different from current CodeSHA256 in $LATEST ({shown['CodeSha256']}). "
                "Please try again with the CodeSHA256 in $LATEST.",
            )
        if head.revision.state == "building":
            raise AwsError(
                "ResourceConflictException",
                "The operation cannot be performed at this time. The function is currently in the following state: "
                f"{'InProgress' if head.live else 'Pending'}",
                409,
            )

    seen = call.services.heads.publish(
        call.principal, ref.namespace, ref.name, description=call.given.get("Description"), check=check
    )
    call.services.settle()
    return configuration_of(call.names, seen, qualified=True)


@operations.add("ListVersionsByFunction", "functions.read")
def list_versions_by_function(call: Call) -> dict[str, Any]:
    ref = call.unqualified()
    size = size_of(call.given.get("MaxItems"))
    position = position_of(call.given.get("Marker"))
    found: list[dict[str, Any]] = []
    if not position:
        head = call.services.heads.see(call.principal, ref.namespace, ref.name)
        found.append(configuration_of(call.names, head, short=True, qualified=True))
    after = int(position) if position.isdigit() else 0
    seen = call.services.heads.versions(
        call.principal, ref.namespace, ref.name, after=after, limit=size - len(found) + 1
    )
    room = size - len(found)
    found += [configuration_of(call.names, each, short=True, qualified=True) for each in seen[:room]]
    answer: dict[str, Any] = {"Versions": found}
    if len(seen) > room:
        answer["NextMarker"] = marker_of(seen[room - 1].version or 0) if room else marker_of(after or "0")
    return answer
