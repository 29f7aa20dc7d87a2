"""Asynchronous calls with the queue in Postgres: nothing that was acknowledged is lost, whatever dies."""

import base64
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import require
from tests.databases import Cluster, postgres_programs
from tests.e2e.conftest import Platform, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.slow]
Start = Callable[..., Platform]
DOUBLE = "def handler(event, context):\n    return 2 * event\n"
EVENT = {"X-Amz-Invocation-Type": "Event"}
SETTLE_S = 90.0


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """One of the test's own, because it is stopped."""
    programs = postgres_programs()
    require(programs is not None, "needs Postgres; Debian's package is postgresql")
    assert programs is not None
    made = Cluster(programs)
    yield made
    made.remove()


class Events:
    """Use as a context: events are sent until it is left. `accepted` has the number of each that was answered 202."""

    def __init__(self, platform: Platform) -> None:
        self.accepted: dict[str, int] = {}
        self.refused = 0
        self._platform = platform
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(2)]

    def __enter__(self) -> "Events":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(60)

    def wait_for_more(self, count: int) -> None:
        goal = len(self.accepted) + count
        wait_until(lambda: len(self.accepted) >= goal, f"{count} more accepted calls", 60)

    def _run(self, number: int) -> None:
        while not self._ended.is_set():
            with suppress(httpx.HTTPError), self._platform.http() as http:
                while not self._ended.is_set():
                    number += 2
                    answer = http.post("/2015-03-31/functions/job/invocations", json=number, headers=EVENT)
                    if answer.status_code == httpx.codes.ACCEPTED:
                        self.accepted[answer.headers["x-amzn-requestid"]] = number
                    else:
                        self.refused += 1
                        assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE, answer.text
                    time.sleep(0.003)
            time.sleep(0.02)


def assert_made(platform: Platform, accepted: dict[str, int]) -> None:
    """Each call has succeeded, and a sample of them with its result."""

    def empty() -> bool:
        ran = platform.cli("queue", "ls", "--json")
        return ran.code == 0 and not any(queue["queued"] or queue["running"] for queue in ran.json["queues"])

    wait_until(empty, "the queue to be empty", SETTLE_S)
    with platform.http() as http:
        states: dict[str, str] = {}
        cursor = None
        while True:
            parameters: dict[str, Any] = {"limit": 1000} | ({"cursor": cursor} if cursor else {})
            page = http.get("/api/v1/namespaces/default/calls", params=parameters).json()
            states |= {call["id"]: call["state"] for call in page["items"]}
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert {one: states.get(one) for one in accepted} == dict.fromkeys(accepted, "succeeded")
        for one in list(accepted)[:: max(1, len(accepted) // 20)]:
            found = http.get(f"/api/v1/namespaces/default/calls/{one}").json()
            assert found["result"] == 2 * accepted[one]


def test_nothing_that_was_acknowledged_is_lost_when_postgres_and_hosts_die(start: Start, cluster: Cluster) -> None:
    url = cluster.url(cluster.create())
    flags = ("--database", url, "--queue-database", "database")
    up = start(*flags)
    up.function("job", DOUBLE, warm={"max_instances": 2})
    accepted: dict[str, int] = {}
    with Events(up) as events:
        events.wait_for_more(100)
        cluster.stop()
        before = events.refused
        wait_until(lambda: events.refused > before, "a refusal while Postgres is away")
        cluster.start()
        events.wait_for_more(100)
        up.kill("host")
        events.wait_for_more(100)
        cluster.stop()
        up.kill("host")
        cluster.start()
        events.wait_for_more(100)
        up.cut_power()
        accepted |= events.accepted
    up = start(*flags)
    with Events(up) as events:
        events.wait_for_more(50)
    accepted |= events.accepted
    assert_made(up, accepted)
    assert not list((up.folder / "data").rglob("queue.db*"))
    metrics = up.http().get("/metrics").text
    assert "isotherm_queue_leases_lost_total 0" in metrics
    assert "s3cr3t" not in up.text_of_log()


def test_a_platform_on_an_empty_folder_makes_the_calls_that_another_accepted(
    start: Start, cluster: Cluster, data_dir: Path
) -> None:
    environment = {
        "ISOTHERM_DATABASE": cluster.url(cluster.create()),
        "ISOTHERM_QUEUE_DATABASE": cluster.url(cluster.create()),
        "ISOTHERM_MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
    }
    first = start(environment=environment)
    first.function("job", DOUBLE)
    assert first.cli("queue", "pause", "job").code == 0
    with Events(first) as events:
        events.wait_for_more(400)
    first.cut_power()
    second_folder = data_dir / "second"
    second_folder.mkdir()
    second = Platform(second_folder, environment=environment)
    try:
        assert second.ready["admin_key"] == first.ready["admin_key"]
        second.function("job", DOUBLE)  # the package was in the first folder
        assert second.cli("queue", "resume", "job").code == 0
        wait_until(lambda: adopted(second) == len(events.accepted), "the calls to be taken over", 60)
        assert_made(second, events.accepted)
    finally:
        second.stop()
    back = start(environment=environment)  # the first again: others made what it had
    assert_made(back, events.accepted)
    assert ended(back) == 0


def adopted(platform: Platform) -> int:
    return metric(platform, "isotherm_async_adopted_total ")


def ended(platform: Platform) -> int:
    return metric(platform, 'isotherm_async_ended_total{state="succeeded"}')


def metric(platform: Platform, name: str) -> int:
    lines = platform.http().get("/metrics").text.splitlines()
    return int(next(line for line in lines if line.startswith(name)).rpartition(" ")[2])


def test_the_database_is_told_to_the_host_alone_and_its_password_to_nobody_else(start: Start, cluster: Cluster) -> None:
    url = cluster.url(cluster.create()).replace("isotherm@", "isotherm:s3cr3t@")
    up = start(environment={"PGAPPNAME": "given"})
    assert b"PGAPPNAME" not in environment_of(up, "host"), "it has no database"
    assert up.stop() == 0
    up = start(environment={"ISOTHERM_QUEUE_DATABASE": url, "PGAPPNAME": "given"})
    assert b"PGAPPNAME=given" in environment_of(up, "host")
    for process in ("warden", "egress"):
        assert b"PGAPPNAME" not in environment_of(up, process)
    for process in ("host", "control", "warden", "egress"):
        pid = up.pid(process)
        assert b"s3cr3t" not in environment_of(up, process)
        assert b"s3cr3t" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    up.function("job", DOUBLE)
    call_id = up.cli("invoke", "job", "--async", "-d", "4").out.strip()
    wait_until(lambda: up.cli("queue", "show", call_id, "--json").json["call"]["state"] == "succeeded", "the call")
    cluster.stop()
    refused = up.cli("invoke", "job", "--async", "-d", "4")
    assert (refused.code, "Postgres" in refused.err) == (69, True), refused.err
    assert up.invoke("job", 5).json() == 10, "calls that are waited for need no queue"
    for text in (refused.err, up.text_of_log()):
        assert "s3cr3t" not in text


def environment_of(platform: Platform, process: str) -> bytes:
    return Path(f"/proc/{platform.pid(process)}/environ").read_bytes()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("database", "that is no Postgres"),
        ("sqlite:////tmp/x.db", "give postgresql://user@host/database"),
        ("mysql://u:s3cr3t@h/db", "give postgresql://user@host/database"),
    ],
)
def test_a_queue_that_cannot_be_there_ends_the_start_with_words(data_dir: Path, url: str, words: str) -> None:
    argv = [sys.executable, "-m", "isotherm", "up", "--data", str(data_dir / "data"), "--port", "0"]
    ran = subprocess.run(
        [*argv, "--content-port", "0", "--queue-database", url], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, words in ran.stderr) == (64, True), ran.stderr
    assert "s3cr3t" not in ran.stderr


def test_a_queue_that_is_away_at_the_start_is_found_later(start: Start, cluster: Cluster) -> None:
    """The platform serves all the while."""
    url = cluster.url(cluster.create())
    cluster.stop()
    up = start("--queue-database", url)
    up.function("job", DOUBLE)
    assert up.invoke("job", 1).json() == 2
    assert up.cli("invoke", "job", "--async", "-d", "4").code == 69
    cluster.start()
    wait_until(lambda: up.cli("invoke", "job", "--async", "-d", "4").code == 0, "calls to be accepted", 30)


def test_calls_move_from_a_file_to_postgres_and_back(start: Start, cluster: Cluster, data_dir: Path) -> None:
    url = cluster.url(cluster.create())
    up = start()
    up.function("job", DOUBLE)
    assert up.cli("queue", "pause", "job").code == 0
    ids = [up.cli("invoke", "job", "--async", "-d", str(n)).out.strip() for n in range(3)]
    for number, queue in enumerate((("--queue-database", url), ())):
        archive = data_dir / f"{number}.zip"
        former = () if number == 0 else ("--queue-database", url)
        data = str(data_dir / "data")
        made = up.cli("export", str(archive), "--data", data, "--with-keys", *former)
        assert made.code == 0, made.out + made.err
        assert up.stop() == 0
        (data_dir / "data").rename(data_dir / f"former-{number}")
        read = up.cli("import", str(archive), "--data", data, *queue)
        assert read.code == 0, read.out + read.err
        assert ("--queue-database …" in read.out) == bool(queue)
        up = start(*queue)
        paused = up.cli("queue", "ls", "--json").json["queues"][0]
        assert (paused["queued"], paused["paused"]) == (3, True)
    assert up.cli("queue", "resume", "job").code == 0
    for number, one in enumerate(ids):
        found = wait_until(
            lambda one=one: shown(up, one) if shown(up, one)["call"]["state"] == "succeeded" else None, "the call"
        )
        assert found["result"] == 2 * number


def shown(platform: Platform, call_id: str) -> Any:
    return platform.cli("queue", "show", call_id, "--json").json


def test_doctor_looks_at_the_database(cluster: Cluster, data_dir: Path) -> None:
    url = cluster.url(cluster.create()).replace("isotherm@", "isotherm:s3cr3t@")

    def ask() -> "subprocess.CompletedProcess[str]":
        argv = [sys.executable, "-m", "isotherm", "doctor", "--port", "0", "--content-port", "0"]
        argv += ["--data", str(data_dir)]
        environment = {**os.environ, "ISOTHERM_QUEUE_DATABASE": url}
        return subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120, check=False)

    well = ask()
    assert "ok  queue database" in well.stdout
    assert "its tables are not there yet; fsync is off" in well.stdout
    cluster.stop()
    away = ask()
    assert away.returncode == 69
    assert "NO  queue database         Postgres does not answer" in away.stdout
    assert "s3cr3t" not in well.stdout + well.stderr + away.stdout + away.stderr
