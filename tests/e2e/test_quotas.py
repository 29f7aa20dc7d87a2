"""Quotas through the public interface: a namespace at its limit is told so, and its neighbour serves on."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Platform, running_platform, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.slow]
SLEEPY = "import time\n\ndef handler(event, context):\n    time.sleep(event['s'])\n    return event['s']\n"
ECHO = "def handler(event, context):\n    return event\n"


@pytest.fixture(scope="module")
def shared(can_isolate: None) -> Iterator[Platform]:
    with running_platform() as running:
        assert running.cli("namespaces", "create", "team").code == 0
        running.function("echo", ECHO)
        running.function("sleepy", SLEEPY, "--namespace", "team", queue_wait_s=1.0, warm={"spare": 1})
        running.function("other", SLEEPY, "--namespace", "team", queue_wait_s=1.0, warm={"spare": 1})
        yield running
        assert running.cli("quotas", "set", "team", "--instances", "none").code == 0


def in_team(platform: Platform, name: str, seconds: float) -> httpx.Response:
    return platform.invoke(f"team%2F{name}", {"s": seconds})


def waited_ms(answer: httpx.Response) -> float:
    """In the queue."""
    return sum(float(each) for each in re.findall(r"\bqueue;dur=([0-9.]+)", answer.headers["server-timing"]))


def instances(platform: Platform) -> int:
    with platform.http() as http:
        hosts = http.get("/api/v1/hosts").json()["items"]
    temperatures = [state["temperatures"] for state in hosts[0]["states"] if state["namespace"] == "team"]
    return sum(each["hot"] + each["warm"] + each["spare"] for each in temperatures)


def use(platform: Platform) -> dict[str, Any]:
    return dict(platform.cli("quotas", "show", "team", "--json").json["use"])


def test_instances_are_bounded_and_a_neighbour_serves_on(shared: Platform) -> None:
    done = shared.cli("quotas", "set", "team", "--instances", "2", "--json")
    assert (done.code, done.json["limits"]["instances"]) == (0, 2)
    with ThreadPoolExecutor(12) as threads:
        flood = [threads.submit(in_team, shared, name, 4.0) for name in ("sleepy", "other") for _ in range(5)]
        calm = [shared.invoke("echo", {"n": number}) for number in range(30)]
        answers = [call.result() for call in flood]
    assert [answer.status_code for answer in calm] == [200] * 30
    assert max(waited_ms(answer) for answer in calm) < 3000
    counted = Counter(answer.status_code for answer in answers)
    assert set(counted) == {200, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["data"] == {"quota": "instances", "limit": 2, "namespace": "team"}
    assert int(refused.headers["retry-after"]) >= 1
    wait_until(lambda: 1 <= instances(shared) <= 2, "states within the quota")
    assert use(shared)["instances"] <= 2
    wait_until(lambda: use(shared)["refused"].get("instances") == counted[429], "what was refused is counted")


def test_a_rate_holds_while_control_is_away(shared: Platform) -> None:
    assert shared.cli("quotas", "set", "team", "--instances", "none", "--rate", "0.01", "--burst", "3").code == 0
    shared.kill("control")
    statuses = [in_team(shared, "sleepy", 0).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    wait_until(lambda: shared.cli("status").code == 0, "control again")
    assert shared.cli("quotas", "set", "team", "--rate", "none", "--burst", "none").code == 0
    assert in_team(shared, "sleepy", 0).status_code == 200
    with shared.http() as http:
        page = http.get("/metrics").text
    assert 'isotherm_quota_refused_total{namespace="team",quota="rate_per_s"} 2' in page


def test_disk_and_memory_are_refused_at_the_deploy_with_the_quota_named(shared: Platform) -> None:
    assert shared.cli("quotas", "set", "team", "--disk-mb", "1", "--memory-mb", "512").code == 0
    folder = shared.folder / "code" / "sleepy"
    (folder / "data.bin").write_bytes(os.urandom(1_500_000))
    refused = shared.cli("deploy", str(folder), "--namespace", "team", "--json")
    assert refused.code != 0
    assert (refused.json["code"], refused.json["data"]["quota"]) == ("too_large", "disk_mb")
    (folder / "data.bin").write_bytes(b"0" * 2_000_000)  # small as a zip, large on the host
    refused = shared.cli("deploy", str(folder), "--namespace", "team", "--json")
    assert refused.json["data"]["quota"] == "disk_mb"
    assert "on this host" in refused.json["detail"]
    (folder / "data.bin").unlink()
    manifest = folder / "isotherm.toml"
    manifest.write_text("memory_mb = 1024\n" + manifest.read_text())
    refused = shared.cli("deploy", str(folder), "--namespace", "team", "--json")
    assert (refused.json["code"], refused.json["data"]["quota"]) == ("invalid", "memory_mb")
    assert in_team(shared, "sleepy", 0).status_code == 200, "the former revision serves on"
    assert shared.cli("quotas", "set", "team", "--disk-mb", "none", "--memory-mb", "none").code == 0


def test_old_revisions_are_pruned_and_what_serves_stays(shared: Platform) -> None:
    for number in range(4):
        shared.function("pruned", ECHO + f"# {number}\n")
    assert shared.cli("alias", "set", "pruned", "pinned", "2").code == 0
    assert shared.cli("revisions", "prune", "pruned", "--keep", "1", "--dry-run", "--json").json["dropped"] == [1, 3]
    assert shared.cli("revisions", "prune", "pruned", "--keep", "1", "--json").json["dropped"] == [1, 3]
    listed = shared.cli("versions", "pruned", "--json").json["items"]
    assert [each["number"] for each in listed] == [4, 2]
    assert shared.invoke("pruned", {"a": 1}).json() == {"a": 1}
    assert shared.invoke("pruned:pinned", {"a": 2}).json() == {"a": 2}
    assert shared.invoke("pruned:1", {"a": 3}).status_code == 404
