"""`isotherm decisions` and `isotherm warmth`, against a scripted platform."""

from collections.abc import Callable
from typing import Any

Isotherm = Callable[..., Any]
FUNCTION = "/api/v1/namespaces/default/functions/hello"
RECEIPT: dict[str, Any] = {
    "namespace": "default",
    "name": "hello",
    "revision_id": "rev_1",
    "at_ms": 0,
    "reason": "forecast",
    "expected": 0.008,
    "calls": 0.0081,
    "rung": "cold",
    "instances": 0,
    "former_rung": "warm",
    "former_instances": 2,
    "price": 0.0021,
    "budget": "workload: p_cold <= 1%",
    "again_ms": None,
    "alternatives": [],
}
VIEW: dict[str, Any] = {
    "namespace": "default",
    "name": "hello",
    "policy": "foresight",
    "why": "the platform's policy",
    "at_ms": 5,
    "budget": "platform: idle <= keep_alive",
    "price": 0.0021,
    "expected": 0.25,
    "calls_mean": 0.3,
    "calls_high": 2.0,
    "rung": "warm",
    "instances": 2,
    "again_ms": None,
    "last_receipt": RECEIPT,
    "quality": {"judged_10": 40, "mase_10": 0.91, "pinball_10": 0.1234, "judged_60": 0, "spikes_60": 0},
}


def test_decisions_are_listed_with_what_was_forecast_and_chosen(isotherm: Isotherm, platform: Any) -> None:
    platform.on(f"GET {FUNCTION}/decisions", {"items": [RECEIPT], "next_cursor": None})
    row = isotherm("decisions", "hello", "--limit", "5").out.splitlines()[-1].split()
    assert row[1:9] == ["cold", "2", "warm", "forecast", "0.8", "%", "0.0081", "0.0021"]
    assert row[9:] == ["workload:", "p_cold", "<=", "1%"]
    assert "limit=5" in platform.asked[-1].query
    assert isotherm("decisions", "hello", "--json").json == {"items": [RECEIPT]}
    platform.on(f"GET {FUNCTION}/decisions", {"items": [], "next_cursor": None})
    assert "no decisions about hello are kept" in isotherm("decisions", "hello").out


def test_the_view_of_a_function_leaves_out_what_is_not_known(isotherm: Isotherm, platform: Any) -> None:
    platform.on(f"GET {FUNCTION}/warmth", VIEW)
    lines = isotherm("warmth", "hello").out.splitlines()
    assert lines[0] == "default/hello  foresight: the platform's policy"
    assert "  waits           2 warm" in lines
    assert "  next minute     a call with 25 %; 0.3 calls on the mean, at most 2 in 95 of 100" in lines
    assert "  price           0.0021 cold starts a GB·minute" in lines
    assert "  10 min ahead    judged 40, mase 0.91, pinball 0.123" in lines
    assert not any("60 min ahead" in line for line in lines)  # none of those has come due yet
    assert any("2 warm to cold, forecast" in line for line in lines)
    assert isotherm("warmth", "hello", "--json").json == VIEW
    off = {"namespace": "default", "name": "hello", "policy": "keep_alive", "why": "the setting says so"}
    platform.on(f"GET {FUNCTION}/warmth", off)
    assert isotherm("warmth", "hello").out == "default/hello  keep_alive: the setting says so\n"


def test_without_a_name_it_is_the_whole_platform(isotherm: Isotherm, platform: Any) -> None:
    summary = {
        "policy": "foresight",
        "why": "it plans",
        "at_ms": 1,
        "minute_s": 3.0,
        "workloads": {"warm": 1, "cold": 12},
        "idle_gb": 1.5,
        "spent_gb_h": 7.25,
        "budget": "platform: idle <= 20 GBh/day",
        "price": 0.5,
        "avoided": 31.0,
        "quality": {},
    }
    platform.on("GET /api/v1/warmth", summary)
    lines = isotherm("warmth").out.splitlines()
    assert lines[0] == "foresight: it plans"
    assert lines[1].startswith("  decided ")
    assert lines[1].endswith(" ago")
    assert lines[2:4] == ["  warm            1 workload", "  cold            12 workloads"]
    assert "  a minute        3 s" in lines
    assert "  held idle       1.5 GB" in lines
    assert "  spent today     7.25 GB·h" in lines
    assert "  avoided today   31 cold starts that keep-alives would have had" in lines
    assert isotherm("warmth", "--json").json == summary
    platform.on("GET /api/v1/warmth", summary | {"minute_s": 60.0})
    assert "a minute  " not in isotherm("warmth").out
