"""Settings: one table of name, type, default and help. Read from flags, then `ISOTHERM_…` variables, then defaults."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_type_hints

import msgspec
from msgspec import Meta

from isotherm.base.errors import Invalid

__all__ = ["Settings", "describe_settings", "load_settings"]

Port = Annotated[int, Meta(ge=0, le=65535)]
OptionalWhole = Annotated[int, Meta(ge=1, le=1_000_000_000)] | None
OptionalRate = Annotated[float, Meta(gt=0, le=1_000_000_000)] | None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting of the platform. The environment variable of `x` is `ISOTHERM_X`."""

    data: Annotated[str, Meta(description="Folder of all state; made where it is missing")] = ""
    host: Annotated[str, Meta(description="Address to listen on")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port of the console and the APIs; 0 takes a free one")] = 7070
    content_port: Annotated[Port, Meta(description="Port of function URLs; 0 takes a free one")] = 7071
    database: Annotated[str | None, Meta(description="SQLAlchemy URL; default: SQLite in the data folder")] = None
    queue_database: Annotated[
        str | None,
        Meta(description="Postgres URL of the queue, or `database`: that of `database`; default: in the data folder"),
    ] = None
    ready_file: Annotated[str | None, Meta(description="JSON file written once the platform serves")] = None
    tls_cert: Annotated[str | None, Meta(description="PEM file of the certificate chain")] = None
    tls_key: Annotated[str | None, Meta(description="PEM file of the certificate's key")] = None
    allow_unisolated: Annotated[bool, Meta(description="Run code even where it cannot be isolated")] = False
    service_user: Annotated[str | None, Meta(description="User of the unprivileged processes")] = None
    region: Annotated[str, Meta(description="Region name in ARNs and signatures", max_length=32)] = "local"

    max_body_mb: Annotated[float, Meta(description="Largest request or response body, MB", gt=0, le=60)] = 6.0
    max_stream_mb: Annotated[float, Meta(description="Largest body that is streamed, either way, MB", gt=0)] = 200.0
    max_header_kb: Annotated[int, Meta(description="Largest request head, KB", ge=1, le=128)] = 32
    header_timeout_s: Annotated[float, Meta(description="Time for a client to send a request's head", gt=0)] = 15.0
    body_timeout_s: Annotated[float, Meta(description="Longest pause while a client sends a body", gt=0)] = 30.0
    idle_timeout_s: Annotated[float, Meta(description="Time that an idle connection is kept", gt=0)] = 75.0
    max_connections: Annotated[int, Meta(description="Open client connections per port", ge=1)] = 10_000
    drain_timeout_s: Annotated[float, Meta(description="Time for running calls to end at a stop", ge=0)] = 30.0

    memory_mb: Annotated[int | None, Meta(description="Memory for all instances; default: 80 % of the machine")] = None
    max_instances: Annotated[int, Meta(description="Instances on this host, of all workloads", ge=1)] = 1000
    max_starts: Annotated[int, Meta(description="Template builds at the same time", ge=1)] = 4

    warming: Annotated[
        Literal["foresight", "keep_alive"],
        Meta(description="Who decides what waits warm: the learned policy, or the keep-alives alone"),
    ] = "foresight"
    warming_budget: Annotated[
        str,
        Meta(
            description="What warmth may cost: `p_cold <= 1%`, `idle <= 2 GBh/day`, `host <= 4 GB`; `per workload` or "
            "`per namespace`; none: as much idle memory as the keep-alives of all would have spent",
            max_length=100,
        ),
    ] = ""
    warming_interval_s: Annotated[float, Meta(description="Time between two plans of the policy", ge=0.2, le=30)] = 5.0
    warming_minute_s: Annotated[
        float,
        Meta(
            description="What the policy takes for a minute; less only where a log is replayed faster than time",
            ge=1,
            le=60,
        ),
    ] = 60.0

    sample_rate: Annotated[float, Meta(description="Share of ordinary calls kept in full", ge=0, le=1)] = 0.01
    slow_ms: Annotated[float, Meta(description="A call slower than this is kept in full", gt=0)] = 1000.0
    record_days: Annotated[float, Meta(description="Days that call records are kept", gt=0)] = 7.0
    record_limit: Annotated[int, Meta(description="Call records kept at most", ge=1)] = 1_000_000
    receipt_days: Annotated[float, Meta(description="Days that decisions on warmth are kept", gt=0)] = 3.0
    receipt_limit: Annotated[int, Meta(description="Decisions on warmth kept at most", ge=1)] = 200_000
    event_limit_mb: Annotated[int, Meta(description="Events of calls kept at most, MB", ge=1)] = 256
    log_days: Annotated[float, Meta(description="Days that log lines are kept", gt=0)] = 3.0
    log_limit_mb: Annotated[int, Meta(description="Log lines kept at most, MB", ge=1)] = 512
    log_call_kb: Annotated[int, Meta(description="Log output of one call at most, KB", ge=1)] = 256
    log_kb_per_s: Annotated[float, Meta(description="Log output of one function a second, KB", gt=0)] = 1024.0
    log_burst_kb: Annotated[int, Meta(description="Log output of one function at once, KB", ge=64)] = 2048
    spool_mb: Annotated[int, Meta(description="Telemetry kept on disk while control is away, MB", ge=1)] = 256

    queue_mb: Annotated[int, Meta(description="Asynchronous calls kept on disk at most, MB", ge=1)] = 1024
    result_hours: Annotated[float, Meta(description="Hours that results of asynchronous calls are kept", ge=0)] = 24.0
    dead_letter_days: Annotated[float, Meta(description="Days that dead letters are kept", gt=0)] = 14.0
    quota_memory_mb: Annotated[
        OptionalWhole, Meta(description="Memory of a namespace's instances; none: unlimited")
    ] = None
    quota_instances: Annotated[OptionalWhole, Meta(description="Instances of a namespace; none: unlimited")] = None
    quota_rate_per_s: Annotated[OptionalRate, Meta(description="Calls a second of a namespace; none: unlimited")] = None
    quota_disk_mb: Annotated[OptionalWhole, Meta(description="Disk of a namespace, MB; none: unlimited")] = None
    quota_log_mb: Annotated[OptionalWhole, Meta(description="Log lines kept of a namespace, MB; none: unlimited")] = (
        None
    )
    quota_log_kb_per_s: Annotated[
        OptionalRate, Meta(description="Log output of a namespace a second, KB; none: unlimited")
    ] = None
    keep_revisions: Annotated[int, Meta(description="Newest revisions of a function that are kept", ge=1)] = 20
    keep_revision_days: Annotated[float, Meta(description="Younger revisions are kept, too, days", ge=0)] = 14.0

    registration: Annotated[
        Literal["closed", "invited", "open"],
        Meta(description="Who makes users: platform admins; admins of namespaces, too; anybody"),
    ] = "closed"
    api_rate_per_s: Annotated[float, Meta(description="REST calls a second per key", gt=0)] = 100.0
    lambda_egress: Annotated[
        Literal["deny", "open"], Meta(description="What functions may reach that clients of AWS's API make")
    ] = "deny"
    lambda_runtimes: Annotated[
        str,
        Meta(
            description="Runtimes that are not here and what runs in their place when clients of AWS's API ask for "
            "them, between commas: python3.8=python3.11,nodejs22.x=nodejs20.x"
        ),
    ] = ""
    max_package_mb: Annotated[int, Meta(description="Largest zip of code, MB", ge=1)] = 50
    max_unpacked_mb: Annotated[int, Meta(description="Largest unpacked code, MB", ge=1)] = 250
    build_timeout_s: Annotated[float, Meta(description="Time for installing dependencies", gt=0)] = 600.0
    build_memory_mb: Annotated[int, Meta(description="Memory for installing dependencies", ge=64)] = 2048
    pip_config: Annotated[str | None, Meta(description="pip.conf for builds; default: /etc/pip.conf")] = None
    npm_config: Annotated[str | None, Meta(description="npmrc for builds; default: /etc/npmrc")] = None

    forecast_models: Annotated[
        str,
        Meta(description="Folder of versions that `isotherm train --out` made; default: models in the data folder"),
    ] = ""

    egress_resolver: Annotated[
        str | None, Meta(description="DNS server for functions, ADDRESS or ADDRESS:PORT; default: the machine's own")
    ] = None
    egress_never: Annotated[str, Meta(description="Networks that no function reaches, between commas")] = ""
    egress_connections: Annotated[int, Meta(description="Connections out of one revision at once", ge=1)] = 256
    egress_idle_s: Annotated[float, Meta(description="Time that a silent connection out is kept", gt=0)] = 900.0


def load_settings(flags: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Flags that are not None win over the environment. Raises `Invalid` naming the setting and what was expected."""
    values: dict[str, Any] = {}
    for name in Settings.__struct_fields__:
        variable = "ISOTHERM_" + name.upper()
        flag = flags.get(name)
        if flag is not None:
            values[name] = _convert(name, "--" + name.replace("_", "-"), flag)
        elif environ.get(variable):
            values[name] = _convert(name, variable, environ[variable])
    return Settings(**values)


def describe_settings() -> list[tuple[str, str, str, str]]:
    """`(name, environment variable, default, help)` of every setting, in order."""
    hints = get_type_hints(Settings, include_extras=True)
    return [
        (
            field.name,
            "ISOTHERM_" + field.name.upper(),
            "" if field.default in (None, "") else str(field.default),
            next(m.description for m in hints[field.name].__metadata__ if isinstance(m, Meta) and m.description),
        )
        for field in msgspec.structs.fields(Settings)
    ]


def _convert(name: str, source: str, value: Any) -> Any:
    try:
        return msgspec.convert(value, get_type_hints(Settings, include_extras=True)[name], strict=False)
    except msgspec.ValidationError as exc:
        raise Invalid(f"{source}: {exc}", setting=name, value=str(value)) from exc
