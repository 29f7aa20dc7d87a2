"""Every example deploys, answers, and shows what it is there to show."""

import base64
import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from isotherm.base.runtimes import find_node
from tests.conftest import require
from tests.e2e.conftest import Platform

pytestmark = [pytest.mark.e2e, pytest.mark.root]
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def deployed(platform: Platform) -> Callable[[str], str]:
    """The URL of an example, deployed at its first use."""
    urls: dict[str, str] = {}

    def deploy(name: str) -> str:
        if name not in urls:
            urls[name] = platform.deploy(EXAMPLES / name)
        return urls[name]

    return deploy


def event_of(name: str) -> Any:
    return json.loads((EXAMPLES / name / "event.json").read_text())


def test_every_example_is_tested_here() -> None:
    text = Path(__file__).read_text()
    for manifest in EXAMPLES.glob("*/isotherm.toml"):
        assert f'"{manifest.parent.name}"' in text
        assert (manifest.parent / "README.md").is_file()
        assert (manifest.parent / "event.json").is_file()


def test_hello_answers_by_every_way_in(platform: Platform, deployed: Callable[[str], str]) -> None:
    url = deployed("hello")
    answer = platform.invoke("hello", {"name": "you"})
    assert answer.status_code == 200
    assert answer.json()["hello"] == {"name": "you"}
    assert answer.headers["X-Amz-Executed-Version"] == "1"
    assert answer.json()["request_id"] == answer.headers["X-Amzn-RequestId"]
    assert {part.split(";")[0].strip() for part in answer.headers["Server-Timing"].split(",")} == {
        "queue", "start", "run",
    }  # fmt: skip
    with platform.content() as http:
        assert http.get(url).json()["hello"]["rawPath"] == "/"
    ran = platform.cli("invoke", "hello", "-d", '{"a": 1}')
    assert (ran.code, json.loads(ran.out)["hello"]) == (0, {"a": 1})
    for name in ("hello:live", "hello:1", "default/hello", "arn:aws:lambda:local:default:function:hello"):
        assert platform.invoke(name.replace("/", "%2F"), {}).status_code == 200


def test_http_api_routes_sets_cookies_and_sends_bytes(platform: Platform, deployed: Callable[[str], str]) -> None:
    url = deployed("http-api")
    with platform.content() as http:
        del http.headers["Authorization"]  # it is public
        assert http.get(url + "notes/1").json() == {"id": "1", "text": "keep warm"}
        missing = http.get(url + "nothing")
        assert (missing.status_code, missing.json()["error"]) == (404, "no route GET /nothing")
        login = http.get(url + "login")
        assert login.status_code == 204
        assert len(login.headers.get_list("set-cookie")) == 2
        who = http.get(url + "whoami?a=1&b=2", headers={"Cookie": "session=s3cret"})
        assert who.json() == {"cookies": ["session=s3cret"], "query": {"a": "1", "b": "2"}}
        pixel = http.get(url + "pixel.png")
        assert pixel.headers["content-type"] == "image/png"
        assert pixel.content.startswith(b"\x89PNG\r\n")
        assert http.post(url + "upper", content=b"quiet").text == "QUIET"
        assert http.put(url + "notes/2", content=b"\xff\xfe").status_code == 201


def test_async_fanout_serves_many_at_once_in_one_instance(platform: Platform, deployed: Callable[[str], str]) -> None:
    deployed("async-fanout")
    assert platform.invoke("async-fanout", {"parts": 10}).json() == {"sum": 285, "parts": 10}
    started = time.monotonic()
    with ThreadPoolExecutor(20) as threads:
        calls = [threads.submit(platform.invoke, "async-fanout", {"parts": 3, "pause_s": 2.0}) for _ in range(20)]
        assert {call.result().json()["sum"] for call in calls} == {5}
    assert time.monotonic() - started < 20.0  # one after the other: 40 s
    now = platform.temperatures("async-fanout")
    assert now["hot"] + now["warm"] <= 2


@pytest.mark.slow
@pytest.mark.network
def test_sklearn_iris_installs_what_it_needs_once(platform: Platform, deployed: Callable[[str], str]) -> None:
    deployed("sklearn-iris")
    answer = platform.invoke("sklearn-iris", event_of("sklearn-iris"))
    assert answer.json()["species"] == "virginica"
    again = platform.cli("deploy", str(EXAMPLES / "sklearn-iris"), "--env", "AGAIN=1", timeout_s=300)
    assert again.code == 0, again.err
    assert ["dependencies", "cached"] in [line.split() for line in again.err.splitlines()]


def test_logs_and_errors_are_told_apart(platform: Platform, deployed: Callable[[str], str]) -> None:
    url = deployed("logs-and-errors")
    good = platform.invoke("logs-and-errors", {}, headers={"X-Amz-Log-Type": "Tail"})
    log = base64.b64decode(good.headers["X-Amz-Log-Result"]).decode()
    assert "printed to standard output" in log
    assert "printed to standard error" in log
    assert "logged with" in log
    raised = platform.invoke("logs-and-errors", {"fail": "raise", "item": "a chair"})
    assert raised.status_code == 200
    assert raised.headers["X-Amz-Function-Error"] == "Unhandled"
    body = raised.json()
    assert (body["errorType"], body["errorMessage"]) == ("OutOfStock", "no a chair left")
    trace = "".join(body["stackTrace"])
    assert "check_stock" in trace
    assert "isotherm" not in trace
    ran = platform.cli("invoke", "logs-and-errors", "-d", '{"fail": "raise"}')
    assert ran.code == 1
    assert "OutOfStock: no a lamp left" in ran.err
    with platform.content() as http:
        # A function URL's event has no key `fail`, so this is a good call; what fails there is 502.
        assert http.get(url).status_code == 200


@pytest.mark.parametrize(
    ("fail", "word"), [("timeout", "3"), ("exit", "exit"), ("memory", "memory"), ("answer", "JSON")]
)
def test_logs_and_errors_fails_clearly(
    platform: Platform, deployed: Callable[[str], str], fail: str, word: str
) -> None:
    deployed("logs-and-errors")
    failed = platform.invoke("logs-and-errors", {"fail": fail})
    assert failed.status_code in (200, 502, 504), failed.text
    assert word.lower() in failed.text.lower()
    assert platform.invoke("logs-and-errors", {}).json() == {"failed": False}


def test_logs_can_be_read_afterwards(platform: Platform, deployed: Callable[[str], str]) -> None:
    deployed("logs-and-errors")
    request_id = platform.invoke("logs-and-errors", {"fail": "raise"}).headers["X-Amzn-RequestId"]
    deadline = time.monotonic() + 15
    while True:
        lines = platform.cli("logs", "logs-and-errors", "--invocation", request_id, "--json").json["items"]
        if any("printed to standard output" in line["message"] for line in lines):
            break
        assert time.monotonic() < deadline, lines
        time.sleep(0.2)
    assert {line["invocation_id"] for line in lines} == {request_id}


def test_snapstart_hooks_run_once_per_template_and_in_each_fork(
    platform: Platform, deployed: Callable[[str], str]
) -> None:
    deployed("snapstart-hooks")
    answer = platform.invoke("snapstart-hooks", {}).json()
    assert answer["prepared"] is True
    assert len(answer["instance"]) == 32
    assert answer["imported_at"] <= answer["restored_at"]


def test_streaming_sends_words_one_by_one_and_takes_uploads(platform: Platform, deployed: Callable[[str], str]) -> None:
    url = deployed("streaming")
    with platform.content() as http:
        with http.stream("GET", url) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            times = [time.monotonic() for line in answer.iter_lines() if line.startswith("data: ")]
        assert len(times) == 16  # fifteen words and the end
        assert times[-1] - times[0] > 0.2  # 14 pauses of 0.05 s, less what a client is late at the first
        body = b"x" * 20_000_000
        found = http.put(url, content=body).json()
        assert found == {"sha256": hashlib.sha256(body).hexdigest(), "bytes": 20_000_000}
    ran = platform.cli("invoke", "streaming", "--stream", "-d", json.dumps(event_of("streaming")))
    assert (ran.code, ran.out.count("data: ")) == (0, 16)


@pytest.mark.network
def test_node_orders_is_an_es_module_with_a_dependency(platform: Platform, deployed: Callable[[str], str]) -> None:
    require(find_node() is not None, "needs Node.js 18 or newer")
    url = deployed("node-orders")
    assert platform.invoke("node-orders", event_of("node-orders")).json() == {
        "item": "cake", "count": 2, "price": 6, "prepared_in_ms": 20,
    }  # fmt: skip
    with platform.content() as http:
        assert http.post(url, json={}).json()["item"] == "tea"
    failed = platform.invoke("node-orders", {"item": "gold"})
    assert failed.headers["X-Amz-Function-Error"] == "Unhandled"
    assert (failed.json()["errorType"], failed.json()["errorMessage"]) == ("RangeError", "nobody sells gold")
    assert "isotherm" not in failed.text
    started = time.monotonic()
    with ThreadPoolExecutor(16) as threads:
        calls = [threads.submit(platform.invoke, "node-orders", {"prepares": "3s"}) for _ in range(16)]
        assert {call.result().json()["price"] for call in calls} == {2}
    assert time.monotonic() - started < 24.0  # one after the other: 48 s
    assert "Node.js has threads" in platform.cli("show", "node-orders").out


def test_bash_words_counts_with_curl(platform: Platform, deployed: Callable[[str], str]) -> None:
    url = deployed("bash-words")
    answer = platform.invoke("bash-words", event_of("bash-words"), headers={"X-Amz-Log-Type": "Tail"})
    assert answer.json() == {"words": 6, "handler": "bootstrap"}
    assert b"counted 6 words" in base64.b64decode(answer.headers["X-Amz-Log-Result"])
    with platform.content() as http:
        assert http.get(url).json()["words"] > 20  # a whole event of payload format 2.0


def test_c_words_is_compiled_and_counts(platform: Platform, tmp_path: Path) -> None:
    require(shutil.which("cc") and shutil.which("make"), "needs a C compiler and make")
    folder = shutil.copytree(EXAMPLES / "c-words", tmp_path / "c-words")
    subprocess.run(["make", "-C", folder], check=True, capture_output=True, timeout=60)
    platform.deploy(folder)
    for _ in range(3):
        assert platform.invoke("c-words", event_of("c-words")).json() == {"words": 6}
