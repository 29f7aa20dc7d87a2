"""What of a function's configuration this platform takes, keeps for show, or refuses, as the parity page shows it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from isotherm.aws.fault import AwsError

__all__ = ["MEMBERS", "Member", "check_members", "kept_members"]


@dataclass(frozen=True, slots=True)
class Member:
    """`state` as of operations. `empty`: a value that asks for nothing, and so is taken."""

    state: str
    note: str = ""
    empty: Callable[[Any], bool] = lambda value: not value


def _no_vpc(value: Any) -> bool:
    return not value.get("SubnetIds") and not value.get("SecurityGroupIds")


MEMBERS: dict[str, Member] = {
    "FunctionName": Member("yes", "A name, an ARN, or a part of one"),
    "Runtime": Member("yes", "One that this machine has; `provided.al2` and `provided.al2023` are `provided`"),
    "Role": Member("stored", "Nothing here takes the role of another: instances get no credentials"),
    "Handler": Member("yes"),
    "Code": Member("yes", "`ZipFile`; what is in buckets or registries is refused"),
    "Description": Member("yes"),
    "Timeout": Member("yes"),
    "MemorySize": Member("yes", "MB of one instance; the share of the CPU does not follow from it"),
    "Publish": Member("yes"),
    "Environment": Member(
        "yes", "Encrypted at rest; a key that may not read the values gets an `Error` in their place"
    ),
    "Layers": Member("yes", "Layers of the function's namespace"),
    "EphemeralStorage": Member("yes", "The size of /tmp, in memory"),
    "Tags": Member("yes"),
    "Architectures": Member("partly", "The machine's own", empty=lambda _: True),
    "DeadLetterConfig": Member("partly", "The ARN of a function", empty=lambda _: True),
    "TracingConfig": Member("stored"),
    "LoggingConfig": Member("stored", "`isotherm logs` has the lines, whatever is said here"),
    "SnapStart": Member("stored", "Instances are forks of the imported code anyway"),
    "RevisionId": Member("yes"),
    "PackageType": Member("partly", "`Zip`", empty=lambda value: value == "Zip"),
    "ImageConfig": Member("no", "there are no images yet"),
    "VpcConfig": Member("no", "what a function may reach is `egress` of its manifest", empty=_no_vpc),
    "KMSKeyArn": Member("no", "variables are encrypted with the platform's own key"),
    "FileSystemConfigs": Member("no", "there are no file systems that functions share"),
    "CodeSigningConfigArn": Member("no", "code is not signed"),
    "TenancyConfig": Member("no", "instances are of one function and one namespace already"),
    "CapacityProviderConfig": Member("no", "there are no capacity providers"),
    "DurableConfig": Member("no", "there are no durable executions"),
    "RuntimeConfig": Member("no", "there is nothing to choose of a runtime"),
    "AcceleratorConfig": Member("no", "there are no accelerators"),
    "PublishTo": Member("no", "`$LATEST.PUBLISHED` is of capacity providers"),
}


def check_members(given: Mapping[str, Any]) -> None:
    """Raises `AwsError` on the first member that asks for what is not there."""
    for name, value in given.items():
        member = MEMBERS.get(name)
        if member is None or member.state in ("yes", "stored") or member.empty(value):
            continue
        raise AwsError("InvalidParameterValueException", f"{name} is not supported by this platform: {member.note}")


def kept_members(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are only shown."""
    return {name: value for name, value in given.items() if name in MEMBERS and MEMBERS[name].state == "stored"}
