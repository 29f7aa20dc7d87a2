"""How AWS's clients name functions and layers: by name, by ARN, by a part of one; and how ours are named to them.

In ARNs the account is the namespace; twelve digits stand for the caller's own.
"""

import re
from dataclasses import dataclass, field

from isotherm.aws.fault import AwsError

__all__ = ["LOOSE", "FunctionRef", "LayerRef", "Names", "parse_function", "parse_layer"]

# In the service's patterns a namespace may stand where AWS has an account, and any region.
_account = r"(?:\d{12}|[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?)"
LOOSE = {
    r"(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}": r"[a-z0-9-]{1,32}",
    r"\d{12}": _account,
    r"\p{L}\p{Z}\p{N}_": r"\w\s",
}
_name = r"[A-Za-z0-9_-]+"
_longest = 64
_qualifier = r"(?:\$LATEST|[A-Za-z0-9_-]{1,128})"
_function = re.compile(
    rf"(?:(?:arn:aws[a-z-]*:lambda:(?P<region>[a-z0-9-]*):)?(?:(?P<account>{_account}):)?function:)?"
    rf"(?P<name>{_name})(?::(?P<qualifier>{_qualifier}))?"
)
_layer = re.compile(
    rf"(?:arn:aws[a-z-]*:lambda:(?P<region>[a-z0-9-]*):(?P<account>{_account}):layer:)?"
    rf"(?P<name>[A-Za-z0-9_-]{{1,140}})(?::(?P<version>[0-9]+))?"
)


@dataclass(frozen=True, slots=True)
class FunctionRef:
    namespace: str
    name: str
    qualifier: str | None


@dataclass(frozen=True, slots=True)
class LayerRef:
    namespace: str
    name: str
    version: int | None
    region: str = field(default="", compare=False)  # where the ARN says that it is; empty: it says nothing


def parse_function(text: str, home: str, region: str, qualifier: str | None = None) -> FunctionRef:
    """A function; `qualifier` is the one that was given apart, `home` the caller's namespace, `region` the platform's.

    Raises `AwsError` where it is no name, is of another region, or the two qualifiers are unlike.
    """
    found = _function.fullmatch(text)
    if found is None:
        raise AwsError("InvalidParameterValueException", f"Invalid function name: {text[:200]}")
    if len(found["name"]) > _longest:
        raise AwsError(
            "InvalidParameterValueException",
            f"1 validation error detected: Value '{text[:200]}' at 'functionName' failed to satisfy constraint: Member "
            f"must have length less than or equal to {_longest}",
        )
    if found["region"] and found["region"] != region:
        raise AwsError(
            "ResourceNotFoundException",
            f"Functions from '{found['region']}' are not reachable in this region ('{region}')",
            404,
        )
    inner = found["qualifier"]
    if inner is not None and qualifier is not None and inner != qualifier:
        raise AwsError(
            "InvalidParameterValueException",
            "The derived qualifier from the function name does not match the specified qualifier.",
        )
    return FunctionRef(_namespace(found["account"], home), found["name"], inner if qualifier is None else qualifier)


def parse_layer(text: str, home: str) -> LayerRef:
    """Raises `AwsError`."""
    found = _layer.fullmatch(text)
    if found is None:
        raise AwsError("InvalidParameterValueException", f"Invalid layer name: {text[:200]}")
    version = found["version"]
    return LayerRef(
        _namespace(found["account"], home),
        found["name"],
        None if version is None else int(version),
        found["region"] or "",
    )


def _namespace(account: str | None, home: str) -> str:
    return home if account is None or account.isdigit() else account


@dataclass(frozen=True, slots=True)
class Names:
    """ARNs of this platform."""

    region: str

    def function(self, namespace: str, name: str, qualifier: str | int | None = None) -> str:
        return f"arn:aws:lambda:{self.region}:{namespace}:function:{name}" + (
            "" if qualifier is None else f":{qualifier}"
        )

    def layer(self, namespace: str, name: str, version: int | None = None) -> str:
        return f"arn:aws:lambda:{self.region}:{namespace}:layer:{name}" + ("" if version is None else f":{version}")

    def event_source(self, namespace: str, mapping_id: str) -> str:
        return f"arn:aws:lambda:{self.region}:{namespace}:event-source-mapping:{mapping_id}"
