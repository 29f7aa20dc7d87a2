"""Decisions about functions: what a configuration must satisfy, how it becomes a spec and back, URLs. Pure."""

from collections.abc import Sequence
from typing import Any

import msgspec

from isotherm.base.cron import parse_schedule
from isotherm.base.errors import Invalid, TooLarge
from isotherm.functions.model import AsyncConfig, CronConfig, FunctionConfig, RecordsConfig, WarmConfig
from isotherm.tenancy.model import DEFAULT_NAMESPACE
from isotherm.warming.budgets import workload_budget
from isotherm.wire.desired import AsyncSpec, CronSpec, RevisionSpec, WarmSpec
from isotherm.wire.egress import EgressAllow, EgressChoice, parse_cidr, parse_host
from isotherm.wire.quota import Quota
from isotherm.workloads.model import CronRow, Draft, RevisionRow
from isotherm.workloads.rollout_policy import at_once

__all__ = [
    "MASK",
    "check_config",
    "check_package_quota",
    "check_quota",
    "config_of",
    "draft_of",
    "next_times",
    "url_path",
]

_megabyte = 1024 * 1024
MASK = "********"  # stands for the value of an environment variable
_max_warm_event_bytes = 256 * 1024
_max_cron_event_bytes = 16 * 1024
_times_shown = 5
_debugger_mb = 128
_debugger_threads = 16
_reserved_names = frozenset({"_HANDLER", "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR"})
_reserved_prefixes = ("ISOTHERM_", "AWS_LAMBDA_")
_in_spec = frozenset(RevisionSpec.__struct_fields__) & frozenset(FunctionConfig.__struct_fields__) - {
    "asynchronous",
    "layers",
    "warm",
}


def check_config(config: FunctionConfig) -> None:
    """Raises `Invalid` naming the key, what it is and what was expected."""
    try:
        msgspec.convert(msgspec.to_builtins(config), FunctionConfig)
    except msgspec.ValidationError as exc:
        raise Invalid(f"the configuration is not valid: {exc}") from exc
    warm = config.warm
    if warm.min_instances > warm.max_instances:
        raise Invalid(
            f"warm.min_instances is {warm.min_instances}, above warm.max_instances, {warm.max_instances}",
            key="warm.min_instances",
        )
    _check_budget(warm)
    if config.burst is not None and config.rate_per_s is None:
        raise Invalid("burst is set without rate_per_s: there is no rate that it could exceed", key="burst")
    if len(msgspec.json.encode(warm.warm_event)) > _max_warm_event_bytes:
        raise Invalid(f"warm.warm_event is over {_max_warm_event_bytes // 1024} KB of JSON", key="warm.warm_event")
    _check_env(config.env)
    _check_secrets(config.secrets, config.env)
    _check_egress(config.egress)
    _check_crons(config.cron)
    _check_development(config)


def _check_budget(warm: WarmConfig) -> None:
    if warm.budget is None:
        return
    if warm.policy == "keep_alive":
        raise Invalid(
            'warm.budget is set with warm.policy = "keep_alive": nothing would spend it; leave one of them out',
            key="warm.budget",
        )
    try:
        workload_budget(warm.budget)
    except Invalid as error:
        raise Invalid(f"warm.{error.message}", key="warm.budget") from error


def _check_development(config: FunctionConfig) -> None:
    if config.debug and not config.development:
        raise Invalid("debug is set without development: no debugger may be attached to production", key="debug")
    if config.development and config.cron:
        raise Invalid("a development function has no schedules: they would call half-written code", key="cron")
    if config.development and not at_once(config.rollout):
        raise Invalid("a development function has no rollout: its newest revision takes the calls", key="rollout")


def _check_crons(crons: list[CronConfig]) -> None:
    names = [cron.name for cron in crons]
    for number, cron in enumerate(crons):
        key = f"cron[{number}]"
        if names.count(cron.name) > 1:
            raise Invalid(f"{key}.name: two schedules are called {cron.name!r}; give each a name of its own", key=key)
        try:
            parse_schedule(cron.schedule, cron.timezone)
        except Invalid as error:
            raise Invalid(f"{key}: {error.message}", key=key) from error
        if len(msgspec.json.encode(cron.event)) > _max_cron_event_bytes:
            raise Invalid(f"{key}.event is over {_max_cron_event_bytes // 1024} KB of JSON", key=f"{key}.event")


def check_quota(config: FunctionConfig, namespace: str, limits: Quota) -> None:
    """Raises `Invalid` where no instance of it could ever start, or its minimum never be there."""
    reasons: list[tuple[str, float, float | None]] = [
        ("memory_mb", config.memory_mb, limits.memory_mb),
        ("warm.min_instances", config.warm.min_instances, limits.instances),
    ]
    for key, value, limit in reasons:
        if limit is not None and value > limit:
            quota = "instances" if key.startswith("warm") else key
            raise Invalid(
                f"{key} is {value}, above the quota of the namespace {namespace}, {limit}: lower it, or have an admin "
                f"of the platform raise the quota",
                key=key,
                quota=quota,
                limit=limit,
                namespace=namespace,
            )


def check_package_quota(namespace: str, kept_bytes: int, size_bytes: int, limit_mb: int) -> None:
    """Raises `TooLarge` where another package of this size would be over the quota of the namespace."""
    if kept_bytes + size_bytes > limit_mb * _megabyte:
        raise TooLarge(
            f"the packages of the namespace {namespace} have {kept_bytes / _megabyte:.1f} MB; with this one of "
            f"{size_bytes / _megabyte:.1f} MB they are over its quota of {limit_mb} MB: delete functions or old "
            "revisions (`isotherm revisions prune`); packages that nothing uses go within a day",
            quota="disk_mb",
            limit=limit_mb,
            namespace=namespace,
        )


def _check_env(env: dict[str, str]) -> None:
    for name, value in env.items():
        key = f"env.{name}"
        _check_variable(name, key)
        if "\x00" in value:
            raise Invalid(f"{key} has a zero byte in it", key=key)
        if value == MASK:
            raise Invalid(f"{key} is {MASK}: that stands for a value you may not read; give the value itself", key=key)


def _check_secrets(secrets: dict[str, str], env: dict[str, str]) -> None:
    for name in secrets:
        key = f"secrets.{name}"
        _check_variable(name, key)
        if name in env:
            raise Invalid(f"{key} is also in env; a variable has one value: take it out of one of the two", key=key)


def _check_variable(name: str, key: str) -> None:
    if name in _reserved_names or name.startswith(_reserved_prefixes):
        raise Invalid(f"{key} is set by the platform; choose another name", key=key)


def _check_egress(choice: EgressChoice) -> None:
    if not isinstance(choice, EgressAllow):
        return
    if not choice.hosts and not choice.cidrs:
        raise Invalid('egress allows nothing: give hosts or cidrs, or egress = "deny"', key="egress")
    for key, rules, parse in (("egress.hosts", choice.hosts, parse_host), ("egress.cidrs", choice.cidrs, parse_cidr)):
        for rule in rules:
            try:
                parse(rule)
            except ValueError as exc:
                raise Invalid(f"{key}: {exc}", key=key) from exc


def draft_of(
    config: FunctionConfig,
    *,
    requirements: str | None,
    layers: Sequence[tuple[str, str]] = (),
    head: bool = False,
    notes: dict[str, Any] | None = None,
) -> Draft:
    """What a revision is made from. `config` is settled; `layers` are its layers with the digests of their zips."""
    if config.debug:
        config = _debugged(config)
    values = {name: getattr(config, name) for name in _in_spec}
    spec = RevisionSpec(
        id="",
        workload_id="",
        namespace="",
        name="",
        number=0,
        requirements=requirements if config.install else None,
        layers=list(layers),
        warm=WarmSpec(**msgspec.structs.asdict(config.warm)),
        asynchronous=AsyncSpec(**msgspec.structs.asdict(config.asynchronous)),
        record_events=config.records.events,
        **values,
    )
    return Draft(
        spec=spec,
        public=config.public,
        rate_per_s=config.rate_per_s,
        burst=config.burst,
        crons=_crons(config.cron),
        head=head,
        notes=notes or {},
    )


def _debugged(config: FunctionConfig) -> FunctionConfig:
    """With room for the debugger beside the handler; one instance, which is always there, so that breakpoints are where
    the calls are. It imports for itself: threads of a debugger live through no fork."""
    warm = msgspec.structs.replace(
        config.warm, min_instances=1, max_instances=1, spare=0, warm_event=None, template=False
    )
    return msgspec.structs.replace(
        config, memory_mb=config.memory_mb + _debugger_mb, pids=config.pids + _debugger_threads, warm=warm
    )


def _crons(crons: list[CronConfig]) -> list[CronRow]:
    return [
        CronRow(
            CronSpec(
                name=cron.name,
                schedule=cron.schedule,
                timezone=cron.timezone,
                missed=cron.missed,
                jitter_s=cron.jitter_s,
                event=cron.event,
                qualifier=cron.alias,
            ),
            cron.enabled,
        )
        for cron in crons
    ]


def config_of(row: RevisionRow, env: dict[str, str] | None) -> FunctionConfig:
    """The configuration that a revision was made from, settled. `env` None: masked."""
    values = {name: getattr(row.spec, name) for name in _in_spec}
    values["env"] = dict.fromkeys(row.env_names, MASK) if env is None else env
    return FunctionConfig(
        public=row.public,
        rate_per_s=row.rate_per_s,
        burst=row.burst,
        cron=[
            CronConfig(
                name=cron.spec.name,
                schedule=cron.spec.schedule,
                timezone=cron.spec.timezone,
                missed=cron.spec.missed,
                jitter_s=cron.spec.jitter_s,
                event=cron.spec.event,
                alias=cron.spec.qualifier,
                enabled=cron.enabled,
            )
            for cron in row.crons
        ],
        warm=WarmConfig(**msgspec.structs.asdict(row.spec.warm)),
        asynchronous=AsyncConfig(**msgspec.structs.asdict(row.spec.asynchronous)),
        layers=[name for name, _ in row.spec.layers],
        records=RecordsConfig(events=row.spec.record_events),
        rollout=row.rollout,
        **values,
    )


def next_times(cron: CronConfig, now_ms: int) -> list[int]:
    """When a schedule is due next, the first five times."""
    schedule = parse_schedule(cron.schedule, cron.timezone)
    times: list[int] = []
    at_ms = schedule.following(now_ms)
    while at_ms is not None and len(times) < _times_shown:
        times.append(at_ms)
        at_ms = schedule.following(at_ms)
    return times


def url_path(namespace: str, name: str, number: int | None = None) -> str:
    """Where a function is on the content port: `/NAME/`, `/@NAMESPACE/NAME/`, with `:NUMBER` for one revision."""
    place = "" if namespace == DEFAULT_NAMESPACE else f"/@{namespace}"
    return f"{place}/{name}{'' if number is None else f':{number}'}/"
