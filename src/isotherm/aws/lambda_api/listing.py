"""Lists of what is set beside the revisions of a function, by qualifier."""

from collections.abc import Callable
from typing import Any, TypeVar

from isotherm.aws.lambda_api.call import Call
from isotherm.aws.lambda_api.names import FunctionRef
from isotherm.aws.lambda_api.paging import marker_of, position_of, size_of
from isotherm.workloads.settings_model import AsyncSetting, ProvisionedSetting, UrlSetting

__all__ = ["list_settings"]

Kind = TypeVar("Kind", AsyncSetting, ProvisionedSetting, UrlSetting)


def list_settings(
    call: Call, member: str, kind: type[Kind], show: Callable[[FunctionRef, Kind], dict[str, Any]]
) -> dict[str, Any]:
    """A page of the settings of a kind as `member` of an answer, with the marker of the next.

    Raises `AwsError` (the marker), `NotFound`, `Forbidden`.
    """
    ref, size = call.unqualified(), size_of(call.given.get("MaxItems"))
    after = position_of(call.given.get("Marker"))
    seen = call.services.heads.see(call.principal, ref.namespace, ref.name)
    found = [
        (row.qualifier, row.setting)
        for row in seen.settings
        if isinstance(row.setting, kind) and f"={row.qualifier}" > after  # the function's own is "=", before all
    ]
    shown = [
        show(FunctionRef(ref.namespace, ref.name, qualifier or None), setting) for qualifier, setting in found[:size]
    ]
    answer: dict[str, Any] = {member: shown}
    if len(found) > size:
        answer["NextMarker"] = marker_of(f"={found[size - 1][0]}")
    return answer
