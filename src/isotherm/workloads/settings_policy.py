"""What settings mean for the route that hosts are told. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from isotherm.wire.desired import AsyncRules, CorsSpec, UrlSpec
from isotherm.workloads.model import LIVE
from isotherm.workloads.settings_model import (
    AsyncSetting,
    PolicySetting,
    ProvisionedSetting,
    ReservedSetting,
    SettingRow,
    Statement,
    UrlSetting,
)

__all__ = ["allows_anyone", "provisioned_of", "reserved_of", "rules_of", "urls_of"]

URL_ACTIONS = frozenset(("lambda:InvokeFunctionUrl", "lambda:*", "*"))


def urls_of(settings: Iterable[SettingRow]) -> list[UrlSpec]:
    """A URL is open where its owner wants no signature and a statement of the policy lets everybody call it."""
    rows = list(settings)
    policies = {row.qualifier: row.setting for row in rows if isinstance(row.setting, PolicySetting)}
    return [
        UrlSpec(
            qualifier=row.qualifier or LIVE,
            public=row.setting.open and allows_anyone(policies.get(row.qualifier)),
            cors=None if row.setting.cors is None else CorsSpec(**msgspec.structs.asdict(row.setting.cors)),
        )
        for row in rows
        if isinstance(row.setting, UrlSetting)
    ]


def allows_anyone(policy: PolicySetting | None) -> bool:
    """Whether a statement lets everybody call the URL without a signature."""
    return policy is not None and any(_lets_anyone(statement) for statement in policy.statements)


def _lets_anyone(statement: Statement) -> bool:
    principal = statement.principal
    anyone = principal == "*" or (isinstance(principal, dict) and principal.get("AWS") == "*")
    return anyone and statement.action in URL_ACTIONS and _without_signature(statement.condition)


def _without_signature(condition: Any) -> bool:
    """A condition that this platform does not know holds never."""
    if not condition:
        return True
    return bool(condition == {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}})


def rules_of(settings: Iterable[SettingRow]) -> list[AsyncRules]:
    return [
        AsyncRules(
            qualifier=row.qualifier or LIVE,
            retries=row.setting.retries,
            max_age_s=row.setting.max_age_s,
            on_success=row.setting.on_success,
            on_failure=row.setting.on_failure,
        )
        for row in settings
        if isinstance(row.setting, AsyncSetting)
    ]


def reserved_of(settings: Iterable[SettingRow]) -> int | None:
    return next((row.setting.calls for row in settings if isinstance(row.setting, ReservedSetting)), None)


def provisioned_of(
    settings: Iterable[SettingRow], leaders: Mapping[str, int], ids: Mapping[int, str]
) -> list[tuple[str, int]]:
    """Instances to keep warm by revision id. `leaders`: the revision that a qualifier names; `ids`: theirs."""
    found: dict[str, int] = {}
    for row in settings:
        number = leaders.get(row.qualifier)
        if isinstance(row.setting, ProvisionedSetting) and number is not None and number in ids:
            revision_id = ids[number]
            found[revision_id] = max(found.get(revision_id, 0), row.setting.instances)
    return sorted(found.items())
