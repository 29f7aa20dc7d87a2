"""Time limits against each other."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.errors import Invalid
from isotherm.base.settings import Settings
from isotherm.functions.model import AsyncConfig, FunctionConfig
from isotherm.functions.time_limits import PlatformLimits, check, conflicts
from isotherm.workloads.rollout_model import RolloutPlan

PLATFORM = PlatformLimits.of(Settings())
PACKAGE = "0" * 64
AGE, DELAY = "asynchronous.max_age_s", "asynchronous.retry_delay_s"
LONGEST = "asynchronous.max_retry_delay_s"
seconds = st.floats(0.001, 900)
configs = st.builds(
    FunctionConfig,
    package=st.just(PACKAGE),
    timeout_s=seconds,
    init_timeout_s=seconds,
    queue_wait_s=seconds,
    request_body=st.sampled_from(["buffer", "stream"]),
    egress=st.sampled_from(["deny", "open"]),
    asynchronous=st.builds(
        AsyncConfig,
        retries=st.integers(0, 5),
        retry_delay_s=st.floats(0, 86400),
        max_retry_delay_s=st.floats(0, 86400),
        max_age_s=st.floats(0.001, 1209600),
    ),
    rollout=st.builds(RolloutPlan, strategy=st.sampled_from(["all-at-once", "canary"]), step_s=st.floats(0, 86400)),
)
platforms = st.builds(PlatformLimits, drain_timeout_s=st.floats(0, 1000), body_timeout_s=seconds, egress_idle_s=seconds)


def of(**fields: Any) -> FunctionConfig:
    return FunctionConfig(package=PACKAGE, **fields)


def test_the_defaults_go_together() -> None:
    assert conflicts(of(), PLATFORM) == []


@given(configs, platforms)
def test_each_pair_is_two_limits_with_the_values_that_are_set(config: FunctionConfig, platform: PlatformLimits) -> None:
    known = msgspec.to_builtins(config) | msgspec.to_builtins(platform)
    for each in conflicts(config, platform):
        assert each.first.name != each.second.name
        for limit in (each.first, each.second):
            if limit.where in ("fixed", "the default of AWS's SDK for Python"):
                continue
            value: Any = known
            for part in limit.name.split("."):
                value = value[part]
            assert value == limit.value_s
            assert f"{limit.name} = {limit.value_s:g} s" in str(each)


@given(configs, platforms)
def test_a_deploy_is_refused_exactly_where_a_pair_is_impossible(
    config: FunctionConfig, platform: PlatformLimits
) -> None:
    impossible = [each for each in conflicts(config, platform) if each.level == "error"]
    if not impossible:
        check(config, platform)
        return
    with pytest.raises(Invalid) as refused:
        check(config, platform)
    assert refused.value.data["conflicts"] == [msgspec.to_builtins(each) for each in impossible]


@given(configs, platforms, st.floats(0, 1000))
def test_more_time_on_the_platforms_side_never_makes_a_conflict(
    config: FunctionConfig, platform: PlatformLimits, more_s: float
) -> None:
    wider = PlatformLimits(
        drain_timeout_s=platform.drain_timeout_s + more_s,
        body_timeout_s=platform.body_timeout_s,
        egress_idle_s=platform.egress_idle_s + more_s,
    )
    assert len(conflicts(config, wider)) <= len(conflicts(config, platform))


@given(configs)
def test_without_retries_their_waits_contradict_nothing(config: FunctionConfig) -> None:
    quiet = msgspec.structs.replace(config, asynchronous=msgspec.structs.replace(config.asynchronous, retries=0))
    assert not [each for each in conflicts(quiet, PLATFORM) if each.level == "error"]


@pytest.mark.parametrize(
    ("fields", "level", "first", "second"),
    [
        ({"asynchronous": AsyncConfig(max_age_s=1, retry_delay_s=5)}, "error", AGE, DELAY),
        ({"asynchronous": AsyncConfig(retry_delay_s=9, max_retry_delay_s=3)}, "error", DELAY, LONGEST),
        ({"asynchronous": AsyncConfig(max_age_s=20)}, "warning", "timeout_s", AGE),
        ({"queue_wait_s": 5.0}, "warning", "init_timeout_s", "queue_wait_s"),
        ({"timeout_s": 31.0}, "warning", "timeout_s", "drain_timeout_s"),
        ({"timeout_s": 61.0}, "warning", "timeout_s", "read_timeout"),
        ({"timeout_s": 301.0}, "warning", "timeout_s", "body_timeout_s"),
        ({"timeout_s": 900.0, "queue_wait_s": 100.0}, "warning", "timeout_s", "the wait of `isotherm invoke`"),
        ({"timeout_s": 5.0, "request_body": "stream"}, "warning", "timeout_s", "body_timeout_s"),
        ({"rollout": RolloutPlan(strategy="canary", step_s=5)}, "warning", "timeout_s", "rollout.step_s"),
    ],
)  # fmt: skip
def test_a_pair_that_does_not_go_together(fields: dict[str, Any], level: str, first: str, second: str) -> None:
    found = [(each.level, each.first.name, each.second.name) for each in conflicts(of(**fields), PLATFORM)]
    assert (level, first, second) in found


def test_egress_that_waits_longer_than_its_connection_is_kept() -> None:
    platform = msgspec.structs.replace(PLATFORM, egress_idle_s=10.0)
    assert [each.second.name for each in conflicts(of(egress="open"), platform)] == ["egress_idle_s"]
    assert conflicts(of(), platform) == []
