"""Tags of functions and of event source mappings."""

from typing import Any

import msgspec

from isotherm.aws.fault import AwsError
from isotherm.aws.lambda_api.call import Call, Operations
from isotherm.functions.heads import Seen
from isotherm.functions.source_model import EventSource
from isotherm.workloads.settings_model import Setting, TagsSetting

__all__ = ["operations"]

operations = Operations("Tags")
_most = 50


@operations.add("TagResource", "functions.deploy", note="Of functions and event source mappings")
def tag_resource(call: Call) -> dict[str, Any]:
    more = dict(call.given["Tags"])
    if not more:
        raise AwsError("InvalidParameterValueException", "An error occurred and the request cannot be processed.")
    own = [name for name in more if name.startswith("aws:")]
    if own:
        raise AwsError("InvalidParameterValueException", "System tags cannot be added/updated by requester.")
    _change(call, lambda tags: _bounded(tags | more))
    return {}


@operations.add("UntagResource", "functions.deploy")
def untag_resource(call: Call) -> dict[str, Any]:
    gone = set(call.given["TagKeys"])
    _change(call, lambda tags: {name: value for name, value in tags.items() if name not in gone})
    return {}


@operations.add("ListTags", "functions.read")
def list_tags(call: Call) -> dict[str, Any]:
    arn = call.text("Resource")
    mapping_id = _mapping_of(arn)
    if mapping_id is not None:
        return {"Tags": call.services.sources.get(call.principal, mapping_id).values.get("Tags") or {}}
    ref = call.parsed(arn)
    found = call.services.heads.see(call.principal, ref.namespace, ref.name).setting(TagsSetting)
    return {"Tags": dict(sorted(found.tags.items())) if isinstance(found, TagsSetting) else {}}


def _change(call: Call, change: Any) -> None:
    arn = call.text("Resource")
    mapping_id = _mapping_of(arn)
    if mapping_id is not None:

        def changed(source: EventSource) -> EventSource:
            tags = change(source.values.get("Tags") or {})
            return msgspec.structs.replace(source, values=source.values | {"Tags": tags})

        call.services.sources.change(call.principal, mapping_id, changed)
        return
    ref = call.parsed(arn)
    if ref.qualifier is not None:
        raise AwsError(
            "InvalidParameterValueException",
            "Tags on function aliases and versions are not supported. Please specify a function ARN.",
        )

    def put(_seen: Seen, before: Setting | None) -> Setting | None:
        tags = change(before.tags if isinstance(before, TagsSetting) else {})
        return TagsSetting(tags=tags, updated_at_ms=call.services.clock.time_ms()) if tags else None

    call.services.heads.change_setting(call.principal, ref.namespace, ref.name, None, TagsSetting, put)


def _bounded(tags: dict[str, str]) -> dict[str, str]:
    if len(tags) > _most:
        raise AwsError("InvalidParameterValueException", "Number of tags exceeds resource tag limit.")
    return tags


def _mapping_of(arn: str) -> str | None:
    """The id in the ARN of an event source mapping."""
    head, found, mapping_id = arn.partition(":event-source-mapping:")
    if "layer:" in head or ":code-signing-config:" in arn or ":capacity-provider:" in arn:
        raise AwsError("InvalidParameterValueException", f"{arn} is nothing that can have tags on this platform")
    return mapping_id if found else None
