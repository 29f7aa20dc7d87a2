"""Processes killed, functions updated, crowds at a cold door: while calls go on."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest

from tests.e2e.conftest import Platform, command_of, descendants, running_platform, wait_until
from tests.e2e.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.slow]
BACK_S = 20.0  # in tests; how fast it is shows in `python -m benchmarks recovery`
VERSIONED = "import time\n\ndef handler(event, context):\n    time.sleep(0.003)\n    return 'VERSION'\n"
PID = "import os\n\ndef handler(event, context):\n    return os.getpid()\n"


@pytest.fixture(scope="module")
def victim(can_isolate: None) -> Iterator[Platform]:
    """A platform for this file's harm."""
    with running_platform() as running:
        running.function("echo", VERSIONED)
        yield running


def test_an_update_under_load_loses_no_call(victim: Platform) -> None:
    victim.function("updated", VERSIONED.replace("VERSION", "v1"))
    with Load(victim, "updated") as load:
        load.wait_for_more(50)
        for number in range(2, 5):
            victim.function("updated", VERSIONED.replace("VERSION", f"v{number}"))
            load.wait_for_more(50)
    assert load.failures == []
    assert set(load.answers) == {'"v1"', '"v2"', '"v3"', '"v4"'}
    assert victim.invoke("updated").json() == "v4"


def test_control_killed_ten_times_under_load_fails_no_call(victim: Platform) -> None:
    with Load(victim, "echo") as load:
        load.wait_for_more(50)
        for _ in range(10):
            former = victim.kill("control")
            load.wait_for_more(30)
            wait_until(lambda former=former: victim.pid("control") != former, "a new control process")
            wait_until(lambda: control_answers(victim), "an answer of the new control process")
    assert load.failures == []
    # What was recorded meanwhile is not lost, and deploys work again.
    victim.function("after", VERSIONED)
    assert victim.invoke("after").json() == "VERSION"


@pytest.mark.parametrize("process", ["host", "warden"])
def test_a_killed_process_is_back_with_nothing_left(victim: Platform, process: str) -> None:
    assert victim.invoke("echo").status_code == 200
    # A nursery holds no user code and serves the next host process, too.
    sandboxes = sandboxes_of(victim) if process == "host" else descendants(victim.pid("warden"))
    assert len(sandboxes) >= 3  # keeper, template, instance
    victim.kill(process)
    answer = first_answer(victim, time.monotonic() + BACK_S)
    assert answer.json() == "VERSION"
    wait_until(lambda: not any(command_of(pid) for pid in sandboxes), "the end of the old instances", 5.0)


def test_a_host_that_starts_while_control_hangs_serves_from_its_own_snapshot(victim: Platform) -> None:
    assert victim.invoke("echo").status_code == 200
    control = victim.pid("control")
    os.kill(control, signal.SIGSTOP)
    try:
        victim.kill("host")
        assert first_answer(victim, time.monotonic() + BACK_S).json() == "VERSION"
        with victim.http() as http:
            assert http.post("/2015-03-31/functions/nothing/invocations", json={}).status_code == 404
    finally:
        os.kill(control, signal.SIGCONT)
    wait_until(lambda: control_answers(victim), "control's answer")


def control_answers(platform: Platform) -> bool:
    with platform.http() as http, suppress(httpx.HTTPError):
        return http.get("/api/v1/status").status_code == 200
    return False


def first_answer(platform: Platform, deadline: float) -> httpx.Response:
    """Asks again as a client would: new connections, until it is served."""
    while True:
        try:
            answer = platform.invoke("echo")
            if answer.status_code == 200 and "X-Amz-Function-Error" not in answer.headers:
                return answer
            said = answer.text
        except httpx.HTTPError as exc:
            said = repr(exc)
        assert time.monotonic() < deadline, said
        time.sleep(0.01)


def sandboxes_of(platform: Platform) -> list[int]:
    """Keepers, templates and instances: what the warden started in a pid namespace of its own."""
    ours = os.readlink("/proc/self/ns/pid")
    return [pid for pid in descendants(platform.pid("warden")) if os.readlink(f"/proc/{pid}/ns/pid") != ours]


def test_after_all_that_the_platform_is_as_it_was(victim: Platform) -> None:
    assert victim.invoke("echo").json() == "VERSION"
    assert victim.cli("ls").code == 0
    names = [command_of(pid)[3] for pid in descendants(victim.process.pid) if command_of(pid)[2:3] == ["-m"]]
    assert Counter(names)["isotherm.host"] == 1
    assert Counter(names)["isotherm.controllers"] == 1


def test_five_hundred_calls_of_a_cold_function_are_all_answered_within_its_limit(victim: Platform) -> None:
    code = "import time\n\ndef handler(event, context):\n    time.sleep(0.05)\n    return 'ok'\n"
    victim.function("crowd", code, timeout_s=60, memory_mb=64, queue_wait_s=60, warm={"max_instances": 20, "spare": 1})
    most = 0
    ended = threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.is_set():
            now = victim.temperatures("crowd")
            most = max(most, now["hot"] + now["warm"])
            time.sleep(0.2)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        statuses = Counter(call_at_once(victim, "crowd", 500))
    finally:
        ended.set()
        watcher.join(30)
    assert statuses == {200: 500}
    assert most <= 20


def call_at_once(platform: Platform, name: str, count: int) -> list[int]:
    """The status of each of `count` simultaneous calls, each on its own connection."""
    barrier = threading.Barrier(count)

    def call() -> int:
        with platform.http() as http:
            barrier.wait(300)
            return http.post(f"/2015-03-31/functions/{name}/invocations", json={}).status_code

    with ThreadPoolExecutor(count) as threads:
        return [future.result(400) for future in [threads.submit(call) for _ in range(count)]]


def test_a_queue_that_is_full_answers_429_with_retry_after(victim: Platform) -> None:
    code = "import time\n\ndef handler(event, context):\n    time.sleep(1)\n    return 'ok'\n"
    victim.function("narrow", code, queue_limit=2, warm={"max_instances": 1})
    with ThreadPoolExecutor(8) as threads:
        answers = [each.result(60) for each in [threads.submit(victim.invoke, "narrow") for _ in range(8)]]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
    assert {answer.status_code for answer in answers} == {200, 429}


def test_many_cold_functions_at_once_are_all_answered(victim: Platform) -> None:
    names = [f"cold-{number}" for number in range(int(os.environ.get("ISOTHERM_E2E_COLD", "20")))]
    for name in names:
        victim.function(name, PID, warm={"spare": 0, "keep_alive_s": 0, "template_keep_alive_s": 0})
    with ThreadPoolExecutor(len(names)) as threads:
        answers = list(threads.map(victim.invoke, names))
    assert [answer.status_code for answer in answers] == [200] * len(names)
