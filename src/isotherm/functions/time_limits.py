"""Time limits checked against each other: which two of them cannot both hold, or hardly do what they are for. Pure."""

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from isotherm.base.errors import Invalid
from isotherm.base.settings import Settings
from isotherm.functions.model import FunctionConfig
from isotherm.workloads.rollout_policy import at_once

__all__ = ["CLI_CALL_S", "SDK_READ_S", "Limit", "PlatformLimits", "TimeConflict", "check", "conflicts"]

CLI_CALL_S: Final = 960.0  # `isotherm invoke` waits no longer for an answer
SDK_READ_S: Final = 60.0  # botocore's `read_timeout`, unless its user says otherwise
SLOWEST_ANSWER: Final = 10  # a client may take this many times `body_timeout_s` for all of an answer


class PlatformLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The platform's share, by the names of its settings."""

    drain_timeout_s: float
    body_timeout_s: float
    egress_idle_s: float

    @classmethod
    def of(cls, settings: Settings) -> "PlatformLimits":
        return cls(
            drain_timeout_s=settings.drain_timeout_s,
            body_timeout_s=settings.body_timeout_s,
            egress_idle_s=settings.egress_idle_s,
        )


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """One limit: what it is called, how long it is, and where it is set."""

    name: str
    value_s: float
    where: str

    def __str__(self) -> str:
        return f"{self.name} = {self.value_s:g} s ({self.where})"


class TimeConflict(msgspec.Struct, frozen=True, kw_only=True):
    """Two limits that do not go together. `error`: one of them can never do what it says; `warning`: doubtful."""

    level: Literal["error", "warning"]
    first: Limit
    second: Limit
    why: str

    def __str__(self) -> str:
        return f"{self.first} and {self.second}: {self.why}"


def check(config: FunctionConfig, platform: PlatformLimits) -> None:
    """Raises `Invalid` with every pair that is impossible."""
    found = [each for each in conflicts(config, platform) if each.level == "error"]
    if found:
        raise Invalid(
            "time limits contradict each other: " + "; ".join(map(str, found)),
            key=found[0].first.name,
            conflicts=[msgspec.to_builtins(each) for each in found],
        )


def conflicts(config: FunctionConfig, platform: PlatformLimits) -> list[TimeConflict]:
    """Every pair, the impossible ones first.

    A doubtful pair of which nobody chose either value is left out: it is the defaults' own doing.
    """
    found = [*_retries(config), *_starts(config), *_clients(config), *_platform(config, platform), *_rollout(config)]
    return sorted(found, key=lambda each: each.level)


_default: Final = FunctionConfig(package="0" * 64)


def _retries(config: FunctionConfig) -> Iterator[TimeConflict]:
    rules = config.asynchronous
    if not rules.retries:
        return
    age = _own("asynchronous.max_age_s", rules.max_age_s)
    delay = _own("asynchronous.retry_delay_s", rules.retry_delay_s)
    longest = _own("asynchronous.max_retry_delay_s", rules.max_retry_delay_s)
    first_s = min(rules.retry_delay_s, rules.max_retry_delay_s) / 2  # half of a wait is certain, half is random
    if rules.max_age_s <= first_s:
        yield _error(age, delay, "a call is too old before its first retry is due; set retries = 0, or let it age")
    if rules.retry_delay_s > rules.max_retry_delay_s:
        yield _error(delay, longest, "the first wait would be longer than the longest")
    timeout = _own("timeout_s", config.timeout_s)
    if rules.max_age_s > first_s and config.timeout_s + rules.retry_delay_s > rules.max_age_s:
        yield _warning(timeout, age, "a call that runs into its limit is too old to be tried again")


def _starts(config: FunctionConfig) -> Iterator[TimeConflict]:
    chosen = config.init_timeout_s != _default.init_timeout_s or config.queue_wait_s != _default.queue_wait_s
    if chosen and config.init_timeout_s > config.queue_wait_s:
        yield _warning(
            _own("init_timeout_s", config.init_timeout_s),
            _own("queue_wait_s", config.queue_wait_s),
            "while an import takes its time, the calls that wait for it are turned away",
        )


def _clients(config: FunctionConfig) -> Iterator[TimeConflict]:
    timeout, wait = _own("timeout_s", config.timeout_s), _own("queue_wait_s", config.queue_wait_s)
    if config.timeout_s + config.queue_wait_s > CLI_CALL_S:
        cli = Limit(name="the wait of `isotherm invoke`", value_s=CLI_CALL_S, where="fixed")
        longer = wait if config.queue_wait_s > config.timeout_s else timeout
        yield _warning(longer, cli, "a call that waits and then runs may outlast its client")
    if config.timeout_s > SDK_READ_S:
        sdk = Limit(name="read_timeout", value_s=SDK_READ_S, where="the default of AWS's SDK for Python")
        yield _warning(timeout, sdk, "such a client gives up before the handler has to, and calls again; set it higher")


def _platform(config: FunctionConfig, platform: PlatformLimits) -> Iterator[TimeConflict]:
    timeout = _own("timeout_s", config.timeout_s)
    if config.timeout_s > platform.drain_timeout_s:
        drain = _setting("drain_timeout_s", platform.drain_timeout_s)
        yield _warning(timeout, drain, "a stop of the platform ends calls that still had time")
    body = _setting("body_timeout_s", platform.body_timeout_s)
    if config.request_body == "stream" and config.timeout_s < platform.body_timeout_s:
        yield _warning(timeout, body, "a client that may pause in its upload for so long outlasts the handler")
    if config.timeout_s > SLOWEST_ANSWER * platform.body_timeout_s:
        yield _warning(
            timeout, body, f"a streamed answer that a slow client takes ends after {SLOWEST_ANSWER} times that"
        )
    if config.egress != "deny" and config.timeout_s > platform.egress_idle_s:
        idle = _setting("egress_idle_s", platform.egress_idle_s)
        yield _warning(timeout, idle, "a connection out that waits in silence is closed before the call is over")


def _rollout(config: FunctionConfig) -> Iterator[TimeConflict]:
    plan = config.rollout
    if at_once(plan):
        return
    step = _own("rollout.step_s", plan.step_s)
    if config.timeout_s > plan.step_s:
        yield _warning(
            _own("timeout_s", config.timeout_s), step, "a step may end before a call that hangs has run into its limit"
        )


def _own(name: str, value_s: float) -> Limit:
    return Limit(name=name, value_s=value_s, where="isotherm.toml")


def _setting(name: str, value_s: float) -> Limit:
    return Limit(name=name, value_s=value_s, where=f"ISOTHERM_{name.upper()}")


def _error(first: Limit, second: Limit, why: str) -> TimeConflict:
    return TimeConflict(level="error", first=first, second=second, why=why)


def _warning(first: Limit, second: Limit, why: str) -> TimeConflict:
    return TimeConflict(level="warning", first=first, second=second, why=why)
