"""`isotherm quotas` and `isotherm revisions`, against a scripted platform."""

import json
from collections.abc import Callable
from typing import Any

Isotherm = Callable[..., Any]
QUOTA: dict[str, Any] = {
    "namespace": "team",
    "own": {"instances": 20, "memory_mb": None, "rate_per_s": 5.0, "burst": None},
    "limits": {"instances": 20, "memory_mb": 4096, "rate_per_s": 5.0, "burst": None},
    "use": {
        "instances": 3,
        "memory_mb": 768,
        "rate_per_s": 0.5,
        "disk_mb": 1.25,
        "log_mb": 0.0,
        "refused": {"instances": 4},
    },
}
PATH = "/api/v1/namespaces/team/quota"


def test_set_changes_what_is_named_and_leaves_the_rest(isotherm: Isotherm, platform: Any) -> None:
    platform.on(f"GET {PATH}", QUOTA, headers={"ETag": '"quota-3"'})
    platform.on(f"PUT {PATH}", QUOTA)
    done = isotherm("quotas", "set", "team", "--instances", "none", "--log-rate-kb", "12.5", "--disk-mb", "9")
    assert done.code == 0
    sent = platform.asked[-1]
    assert sent.json == QUOTA["own"] | {"instances": None, "log_kb_per_s": 12.5, "disk_mb": 9}
    assert sent.headers["If-Match"] == '"quota-3"'
    assert isotherm("quotas", "set", "team", "--warm-budget", "idle <= 2 GBh/day").code == 0
    assert platform.asked[-1].json["warm_budget"] == "idle <= 2 GBh/day"
    assert isotherm("quotas", "set", "team", "--warm-budget", "none").code == 0
    assert platform.asked[-1].json["warm_budget"] is None


def test_set_needs_something_and_numbers(isotherm: Isotherm, platform: Any) -> None:
    nothing = isotherm("quotas", "set", "team")
    assert (nothing.code, "say what to set" in nothing.err) == (64, True)
    bad = isotherm("quotas", "set", "team", "--instances", "1.5")
    assert (bad.code, "instances: expected a whole number or none, got '1.5'" in bad.err) == (64, True)
    assert platform.asked == []


def test_show_puts_use_beside_the_limit(isotherm: Isotherm, platform: Any) -> None:
    platform.on(f"GET {PATH}", QUOTA)
    lines = isotherm("quotas", "show", "team").out.splitlines()
    assert lines[0] == "team"
    assert "  instances          3 of 20" in lines
    assert "  memory, MB         768 of 4096 (default)" in lines
    assert "  calls a second     0.5 of 5" in lines
    assert "  disk, MB           1.25, no limit" in lines
    assert "  refused for instances: 4" in lines
    assert "  warmth             shares the platform's budget" in lines
    assert json.loads(isotherm("quotas", "show", "team", "--json").out)["use"]["instances"] == 3
    budget = {"warm_budget": "p_cold <= 1%"}
    platform.on(f"GET {PATH}", QUOTA | {"own": budget, "limits": budget})
    assert "  warmth             p_cold <= 1%" in isotherm("quotas", "show", "team").out.splitlines()


def test_namespaces_and_quotas_are_listed_with_what_they_use(isotherm: Isotherm, platform: Any) -> None:
    platform.on("GET /api/v1/quotas", {"items": [QUOTA], "next_cursor": None})
    items = [{"name": "other", "created_at_ms": 0}, {"name": "team", "created_at_ms": 0}]
    platform.on("GET /api/v1/namespaces", {"items": items, "next_cursor": None})
    listed = isotherm("quotas", "ls").out
    assert ("team" in listed, "3 of 20" in listed, "768 of 4096" in listed) == (True, True, True)
    rows = isotherm("namespaces", "ls").out.splitlines()
    assert "3 of 20" in next(row for row in rows if "team" in row)
    assert "of" not in next(row for row in rows if "other" in row)


def test_prune_says_what_goes(isotherm: Isotherm, platform: Any) -> None:
    path = "/api/v1/namespaces/default/functions/hello/prune"
    platform.on(f"POST {path}", {"dropped": [1, 2], "kept": 3, "dry_run": True})
    done = isotherm("revisions", "prune", "hello", "--keep", "3", "--dry-run")
    assert done.out == "hello: would forget 2 revisions (1, 2); 3 stay\n"
    assert platform.asked[-1].json == {"keep": 3, "dry_run": True}
    platform.on(f"POST {path}", {"dropped": [], "kept": 3, "dry_run": False})
    assert isotherm("revisions", "prune", "hello").out == "hello: nothing to forget; 3 revisions stay\n"
    assert platform.asked[-1].json == {"dry_run": False}
