"""The alerts ask for what the platform exposes, are explained in the runbook, and fire when they should."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import require
from tests.e2e.conftest import Platform, wait_until

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
RULES = FOLDER / "isotherm.rules.yml"
FAILING = "def handler(event, context):\n    print('x' * 100)\n    raise ValueError\n"
SELECTOR = re.compile(r"\b(isotherm_\w+)(?:\{([^}]*)\})?")


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def selectors() -> list[tuple[str, set[str]]]:
    """Metrics that the alerts name, with the labels that are asked for."""
    found = [each for rule in alerts() for each in SELECTOR.findall(rule["expr"])]
    return [(name, set(re.findall(r"(\w+)\s*[=!]", asked))) for name, asked in found]


def labels_by(rule: dict[str, Any]) -> set[str]:
    """Labels that an alert groups or joins by; `instance` and `job` are the scraper's own."""
    lists = re.findall(r"\b(?:by|on) \(([^)]*)\)", rule["expr"])
    return {label.strip() for each in lists for label in each.split(",")} - {"instance", "job"}


@pytest.mark.e2e
@pytest.mark.root
def test_every_alert_asks_for_metrics_and_labels_that_are_there(platform: Platform) -> None:
    platform.function("failing", FAILING, asynchronous={"retries": 0})
    assert platform.invoke("failing").headers["X-Amz-Function-Error"]
    platform.invoke("failing", headers={"X-Amz-Invocation-Type": "Event"})
    with platform.content() as http:
        assert http.get("/", headers={"Authorization": ""}).is_error
    with platform.http() as http:
        http.put("/api/v1/namespaces/default/quota", json={"instances": 500}).raise_for_status()
        page = wait_until(
            lambda: _page_with(http.get("/metrics").text, r'state="dead"} [1-9]'), "a dead letter is counted"
        )
        http.put("/api/v1/namespaces/default/quota", json={}).raise_for_status()
    exposed: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(page):
        name = family.name + ("_total" if family.type == "counter" else "")
        exposed[name] = set().union(*(sample.labels for sample in family.samples))
    assert [name for name, _ in selectors() if name not in exposed] == []
    assert [(name, asked) for name, asked in selectors() if exposed[name] and not asked <= exposed[name]] == []
    for rule in alerts():
        named = [exposed[name] for name, _ in SELECTOR.findall(rule["expr"])]
        assert all(labels_by(rule) <= labels for labels in named if labels), rule["alert"]


def _page_with(page: str, pattern: str) -> str | None:
    return page if re.search(pattern, page) else None


def test_every_alert_says_whom_it_wants_and_is_in_the_runbook() -> None:
    runbook = (ROOT / "docs" / "guides" / "runbook.md").read_text()
    for rule in alerts():
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        assert rule["annotations"]["summary"], rule["alert"]
        assert f"`{rule['alert']}`" in runbook


def test_the_alerts_fire_when_they_should_and_not_otherwise() -> None:
    require(shutil.which("promtool"), "needs promtool, which is in Debian's package prometheus")
    for argv in (["check", "rules", RULES.name], ["test", "rules", "isotherm.rules.test.yml"]):
        done = subprocess.run(["promtool", *argv], cwd=FOLDER, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
