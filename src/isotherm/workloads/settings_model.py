"""What is set of a workload beside its revisions: how its URL is reached, who may call it, how much of it may run.

A setting has a kind (its tag) and a qualifier: an alias, a version, or none for calls without a qualifier.
"""

from typing import Any

import msgspec

__all__ = [
    "AsyncSetting",
    "CorsSetting",
    "ExtraSetting",
    "NoteSetting",
    "PolicySetting",
    "ProvisionedSetting",
    "ReservedSetting",
    "Setting",
    "SettingRow",
    "Statement",
    "TagsSetting",
    "UrlSetting",
    "kind_of_setting",
]

UNQUALIFIED = ""


class CorsSetting(msgspec.Struct, frozen=True, kw_only=True):
    """What a browser is told of a function URL."""

    allow_credentials: bool = False
    allow_headers: list[str] = msgspec.field(default_factory=list)
    allow_methods: list[str] = msgspec.field(default_factory=list)
    allow_origins: list[str] = msgspec.field(default_factory=list)
    expose_headers: list[str] = msgspec.field(default_factory=list)
    max_age_s: int | None = None


class _Set(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    updated_at_ms: int = 0


class UrlSetting(_Set, frozen=True, kw_only=True, tag="url"):
    """A function URL. `open`: its owner wants no signature; the policy has to allow it, too."""

    open: bool
    invoke_mode: str = "BUFFERED"
    cors: CorsSetting | None = None
    created_at_ms: int = 0


class AsyncSetting(_Set, frozen=True, kw_only=True, tag="async"):
    """What asynchronous calls do otherwise than the revision says; None: as it says.

    Destinations are NAME[:QUALIFIER].
    """

    retries: int | None = None
    max_age_s: int | None = None
    on_success: str | None = None
    on_failure: str | None = None


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """One permission of a resource policy. `principal` and `condition` are JSON as IAM has it."""

    sid: str
    action: str
    principal: Any
    condition: Any = None


class PolicySetting(_Set, frozen=True, kw_only=True, tag="policy"):
    statements: list[Statement]


class ReservedSetting(_Set, frozen=True, kw_only=True, tag="reserved"):
    """Calls at once, of all revisions together; 0: none."""

    calls: int


class ProvisionedSetting(_Set, frozen=True, kw_only=True, tag="provisioned"):
    """Instances that are kept warm of what the qualifier names."""

    instances: int


class TagsSetting(_Set, frozen=True, kw_only=True, tag="tags"):
    tags: dict[str, str]


class NoteSetting(_Set, frozen=True, kw_only=True, tag="note"):
    """The description of an alias or a version. `number`: the revision that an alias was pointed at by name."""

    description: str
    number: int | None = None


class ExtraSetting(_Set, frozen=True, kw_only=True, tag="extra"):
    """What clients of AWS's API set that changes nothing here: it is kept and shown. By name, JSON values."""

    values: dict[str, Any]


Setting = (
    UrlSetting
    | AsyncSetting
    | PolicySetting
    | ReservedSetting
    | ProvisionedSetting
    | TagsSetting
    | NoteSetting
    | ExtraSetting
)


class SettingRow(msgspec.Struct, frozen=True, kw_only=True):
    qualifier: str  # "": calls without one
    setting: Setting


def kind_of_setting(setting: type[Setting] | Setting) -> str:
    """The tag, which the table and the events have."""
    return str(setting.__struct_config__.tag)
