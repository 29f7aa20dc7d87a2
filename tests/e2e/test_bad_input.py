"""Bad input is answered clearly to whoever sent it, and nobody else notices."""

import io
import json
import socket
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Platform

pytestmark = [pytest.mark.e2e, pytest.mark.root]
GOOD = "def handler(event, context):\n    return 'good'\n"


@pytest.fixture(scope="module")
def good(platform: Platform) -> Callable[[], None]:
    """Checks that another function still answers."""
    platform.function("bystander", GOOD)

    def check() -> None:
        assert platform.invoke("bystander").json() == "good"

    return check


def raw(url: str, request: bytes, wait_s: float = 15.0) -> bytes:
    """Send bytes as they are; all that comes back until the server closes, or the time is over."""
    host, port = url.rsplit("/", 1)[1].split(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=wait_s) as client:
        try:
            client.sendall(request)
            while chunk := client.recv(65536):
                received += chunk
        except (TimeoutError, ConnectionError):
            pass
    return received


@pytest.mark.parametrize("port", ["url", "content_url"])
@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nBad Header: x\r\nConnection: close\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-A: " + b"a" * 200_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(20_000)) + b"\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 64, 400),  # TLS on a plain port
    ],
)
def test_malformed_http_is_refused(
    platform: Platform, good: Callable[[], None], port: str, request_bytes: bytes, status: int
) -> None:
    answer = raw(platform.ready[port], request_bytes)
    assert answer.startswith(b"HTTP/1.1 %d" % status), answer[:300]
    good()


@pytest.mark.parametrize("path", ["/2015-03-31/functions/bystander/invocations", "/api/v1/namespaces/default/packages"])
def test_ten_gigabytes_are_refused_before_they_are_read(
    platform: Platform, good: Callable[[], None], path: str
) -> None:
    key = platform.ready["admin_key"].encode()
    head = b"POST %s HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n" % (path.encode(), key)
    head += b"Content-Type: application/zip\r\nContent-Length: 10000000000\r\n\r\n"
    answer = raw(platform.ready["url"], head + b"x" * 1000)
    assert answer.startswith(b"HTTP/1.1 413"), answer[:300]
    good()


def test_an_endless_chunked_body_is_refused(platform: Platform, good: Callable[[], None]) -> None:
    key = platform.ready["admin_key"].encode()
    head = b"POST /2015-03-31/functions/bystander/invocations HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %s\r\n" % key
    head += b"Transfer-Encoding: chunked\r\n\r\n"
    answer = raw(platform.ready["url"], head + (b"100000\r\n" + b"x" * 0x100000 + b"\r\n") * 12)
    assert answer.startswith(b"HTTP/1.1 413") or answer == b"", answer[:300]  # or reset, with our bytes unread
    good()


def test_slow_clients_are_cut_off(platform: Platform, good: Callable[[], None]) -> None:
    started = time.monotonic()
    answer = raw(platform.ready["url"], b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow")
    assert answer.startswith(b"HTTP/1.1 408") or answer == b""
    head = b"POST /2015-03-31/functions/bystander/invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n"
    head += b"Authorization: Bearer %s\r\n\r\n{" % platform.ready["admin_key"].encode()
    assert raw(platform.ready["url"], head).startswith(b"HTTP/1.1 408")
    assert time.monotonic() - started < 14.0
    good()


def test_a_body_that_is_not_json_is_refused(platform: Platform) -> None:
    with platform.http() as http:
        for content in (b"{", b"\xff\xfe", b"nan", b'{"a": 1e999}'):
            answer = http.post("/2015-03-31/functions/bystander/invocations", content=content)
            assert answer.status_code in (200, 400), answer.text
        assert answer.headers["content-type"].startswith("application/")


def archive(*entries: tuple[str, bytes], link: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in entries:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (0o120777 if link else 0o100644) << 16
            made.writestr(info, content)
    return buffer.getvalue()


BAD_ZIPS = ["not a zip", "empty", "truncated", "absolute", "dots", "backslash", "link", "bomb", "twice"]


def bad_zips() -> dict[str, bytes]:
    app = ("app.py", GOOD.encode())
    return {
        "not a zip": b"PK\x03\x04 this is not one",
        "empty": b"",
        "truncated": archive(app)[:-30],
        "absolute": archive(app, ("/etc/cron.d/evil", b"x")),
        "dots": archive(app, ("../../evil.py", b"x")),
        "backslash": archive(app, ("..\\evil.py", b"x")),
        "link": archive(("app.py", b"/etc/shadow"), link=True),
        "bomb": archive(app, ("zeros", b"\0" * 300_000_000)),
        "twice": archive(app, app),
    }


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", BAD_ZIPS)
def test_a_bad_zip_is_refused(platform: Platform, good: Callable[[], None], kind: str) -> None:
    with platform.http() as http:
        answer = http.post(
            "/api/v1/namespaces/default/packages",
            content=bad_zips()[kind],
            headers={"Content-Type": "application/zip"},
        )
    assert answer.status_code in (400, 413), answer.text
    assert answer.json()["code"] in ("invalid_package", "too_large")
    assert not Path("/etc/cron.d/evil").exists()
    good()


def refused_deploy(platform: Platform, name: str, code: str, **manifest: Any) -> dict[str, Any]:
    """Deploy what must fail; the problem object."""
    with pytest.raises(AssertionError):
        platform.function(name, code, **manifest)
    folder = platform.folder / "code" / name
    ran = platform.cli("deploy", str(folder), "--json")
    assert ran.code != 0
    return dict(ran.json)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("no-import", "import nosuchmodule\n\ndef handler(event, context): pass\n", ["nosuchmodule"]),
        ("syntax", "def handler(event, context)\n", ["SyntaxError", "app.py"]),
        ("no-handler", "x = 1\n", ["handler"]),
        ("exits", "import sys\nsys.exit(3)\n", ["exit"]),
        ("raises", "def f():\n    raise ValueError('at import')\n\nf()\n", ["ValueError", "at import", "line 2"]),
        ("hangs", "import time\ntime.sleep(1000)\n", ["2"]),
        ("eats", "x = bytearray(1 << 30)\n", ["memory"]),
    ],
)
def test_code_that_cannot_start_fails_its_deploy_with_the_reason(
    platform: Platform, good: Callable[[], None], name: str, code: str, words: list[str]
) -> None:
    problem = refused_deploy(platform, name, code, init_timeout_s=2, memory_mb=128)
    text = json.dumps(problem)
    assert problem["code"] in ("import_failed", "out_of_memory", "timed_out", "instance_crashed"), text
    for word in words:
        assert word in text, text
    assert "isotherm_runtime" not in text
    good()


def test_a_failed_deploy_leaves_the_former_revision_serving(platform: Platform) -> None:
    platform.function("kept", GOOD)
    refused_deploy(platform, "kept", "import nosuchmodule\n")
    assert platform.invoke("kept").json() == "good"
    states = [each["state"] for each in platform.cli("versions", "kept", "--json").json["items"]]
    assert states[-1] == "ready"
    assert states[0] == "failed"


HARM = """
import json, os, socket, sys, threading, time

def handler(event, context):
    what = event.get("what")
    if what == "exit": sys.exit(3)
    if what == "die": os._exit(4)
    if what == "kill": os.kill(os.getpid(), 9)
    if what == "memory": return len(bytearray(1 << 30))
    if what == "time": time.sleep(60)
    if what == "spin":
        while True: pass
    if what == "print":
        for _ in range(4000): print("x" * 1000)
        return "printed"
    if what == "answer": return object()
    if what == "set": return {1, 2}
    if what == "nan": return float("nan")
    if what == "huge": return "x" * 20_000_000
    if what == "deep":
        value = []
        for _ in range(100_000): value = [value]
        return value
    if what == "surrogate": return "\\ud800"
    if what == "threads": threading.Thread(target=time.sleep, args=(1000,)).start()
    if what == "stdout": os.write(1, b"y" * 5_000_000); return "written"
    if what == "fork":
        for _ in range(10_000):
            try: os.fork()
            except OSError: os._exit(0) if os.getpid() != 1 else None
    if what == "closefds": os.closerange(0, 100); return "closed"
    return "fine"
"""


@pytest.mark.parametrize(
    ("what", "outcome"),
    [
        ("exit", "failed"),
        ("die", "failed"),
        ("kill", "any"),  # pid 1 of its namespace cannot kill itself
        ("memory", "failed"),
        ("time", "failed"),
        ("spin", "failed"),
        ("print", "printed"),
        ("answer", "failed"),
        ("set", "failed"),
        ("huge", "failed"),
        ("deep", "failed"),
        ("surrogate", "any"),
        ("nan", "any"),
        ("threads", "fine"),
        ("stdout", "written"),
        ("fork", "any"),
        ("closefds", "any"),
    ],
)
def test_a_call_that_harms_its_instance_is_its_own_alone(
    platform: Platform, good: Callable[[], None], what: str, outcome: str
) -> None:
    platform.function("harm", HARM, timeout_s=2, memory_mb=128)
    answer = platform.invoke("harm", {"what": what})
    assert answer.status_code in (200, 502, 504), f"{answer.status_code} {answer.text[:500]}"
    failed = answer.status_code != 200 or "X-Amz-Function-Error" in answer.headers
    if outcome == "failed":
        assert failed, answer.text[:500]
    elif outcome != "any":
        assert not failed, answer.text[:500]
        assert answer.json() == outcome
    if failed:
        body = answer.json()
        assert body.get("errorMessage") or body.get("detail"), body
    assert platform.invoke("harm", {}).json() == "fine"
    good()


def test_a_leak_ends_in_a_clear_error_and_a_new_instance(platform: Platform, good: Callable[[], None]) -> None:
    code = "kept = []\n\ndef handler(event, context):\n    kept.append(bytearray(20_000_000))\n    return len(kept)\n"
    platform.function("leaks", code, memory_mb=128)
    answers = [platform.invoke("leaks") for _ in range(16)]
    failed = [answer for answer in answers if answer.status_code != 200]
    assert {answer.json()["code"] for answer in failed} == {"out_of_memory"}
    assert 1 <= len(failed) <= 4
    assert [answer.json() for answer in answers if answer.status_code == 200].count(1) == len(failed) + 1
    good()


def test_import_time_threads_and_sockets_mean_no_template_and_a_reason(platform: Platform) -> None:
    code = "import socket, threading, time\n{}\ndef handler(event, context):\n    return 'works'\n"
    for name, line, word in (
        ("threaded", "threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()", "thread"),
        ("socketed", "kept = socket.socket()", "socket"),
    ):
        platform.function(name, code.format(line))
        assert platform.invoke(name).json() == "works"
        latest = platform.cli("show", name, "--json").json["latest"]
        assert latest["template"] is False
        assert any(word in reason for reason in latest["unfit"]), latest["unfit"]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("memory_mb = 1", "memory_mb"),
        ("memory = 128", "memory_mb"),
        ('runtime = "python2.7"', "runtime"),
        ('runtime = "python3.99"', "python3.99"),
        ('handler = "nodot"', "handler"),
    ],
)
def test_a_bad_manifest_is_named(platform: Platform, line: str, word: str) -> None:
    folder = platform.folder / "code" / "manifest"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "app.py").write_text(GOOD)
    (folder / "isotherm.toml").write_text(f'name = "manifest"\n{line}\n')
    ran = platform.cli("deploy", str(folder))
    assert ran.code in (64, 65, 78)
    assert word in ran.err


@pytest.mark.slow
@pytest.mark.network
def test_requirements_that_do_not_exist_fail_with_the_installers_words(platform: Platform) -> None:
    folder = platform.folder / "code" / "needs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "app.py").write_text(GOOD)
    (folder / "isotherm.toml").write_text('name = "needs"\n')
    (folder / "requirements.txt").write_text("no-such-distribution-anywhere==1.2.3\n")
    ran = platform.cli("deploy", str(folder), timeout_s=300)
    assert ran.code == 65
    assert "no-such-distribution-anywhere" in ran.err


def test_keys_open_what_they_are_for_and_nothing_else(platform: Platform) -> None:
    import httpx

    platform.function("guarded", GOOD)
    path = f"{platform.ready['url']}/2015-03-31/functions/guarded/invocations"
    nameless = httpx.post(path, json={})
    assert (nameless.status_code, nameless.headers["x-amzn-ErrorType"]) == (403, "MissingAuthenticationTokenException")
    assert httpx.post(path, json={}, headers={"Authorization": "Bearer iso_wrong"}).status_code == 401
    made = platform.cli("keys", "create", "caller", "--role", "invoker", "--json").json
    headers = {"Authorization": f"Bearer {made['token']}"}
    deadline = time.monotonic() + 5
    while httpx.post(path, json={}, headers=headers).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    packages = f"{platform.ready['url']}/api/v1/namespaces/default/packages"
    headers_zip = headers | {"Content-Type": "application/zip"}
    assert httpx.post(packages, content=archive(("a", b"")), headers=headers_zip).status_code == 403
    assert platform.cli("keys", "rm", made["id"]).code == 0
    deadline = time.monotonic() + 5
    while httpx.post(path, json={}, headers=headers).status_code != 401:
        assert time.monotonic() < deadline
        time.sleep(0.05)
