"""The route of a workload, as hosts are told, from its history. Pure."""

from collections.abc import Callable, Collection, Sequence

from isotherm.wire.desired import AliasSpec, RouteSpec, ShadowSpec
from isotherm.workloads import policy, rollout_policy, settings_policy
from isotherm.workloads.history import WorkloadState
from isotherm.workloads.model import LIVE, RevisionRow
from isotherm.workloads.settings_model import SettingRow

__all__ = ["route_of"]


def route_of(
    workload_id: str,
    state: WorkloadState,
    numbers: Collection[int],
    revision: Callable[[int], RevisionRow],
    settings: Sequence[SettingRow],
) -> RouteSpec | None:
    """None before a revision is live. Whether it is public, its rate and its schedules are those of the revision that
    leads `live`, but for what is set of it. `numbers` are those that can be called."""
    live = state.aliases.get(LIVE)
    if not live:
        return None
    row = revision(policy.leading(live))
    leaders = {str(version): number for version, number in state.versions.items()}
    leaders |= {name: policy.leading(weights) for name, weights in state.aliases.items()}
    return RouteSpec(
        workload_id=workload_id,
        namespace=state.namespace,
        name=state.name,
        public=row.public,
        aliases=[
            AliasSpec(name, [(state.ids[weight.number], weight.weight) for weight in weights])
            for name, weights in sorted(state.aliases.items())
        ],
        versions=[
            (version, state.ids[number]) for version, number in sorted(state.versions.items()) if number in numbers
        ],
        rate_per_s=row.rate_per_s,
        burst=row.burst,
        crons=[cron.spec for cron in row.crons if cron.enabled],
        standby=sorted({state.ids[number] for each in state.rollouts.values() for number in (each.before, each.to)}),
        shadows=[
            ShadowSpec(alias, state.ids[each.to], stage.shadow)
            for alias, each in sorted(state.rollouts.items())
            if each.step and (stage := rollout_policy.stages(each.plan)[each.step - 1]).shadow
        ],
        urls=settings_policy.urls_of(settings),
        rules=settings_policy.rules_of(settings),
        reserved=settings_policy.reserved_of(settings),
        provisioned=settings_policy.provisioned_of(settings, leaders, state.ids),
    )
