"""Egress through the public interface: manifests, deploys, calls, logs and metrics; clients that know nothing of it."""

import json
import shutil
import time
from collections.abc import Iterator

import pytest

from tests.conftest import require
from tests.e2e.conftest import Platform, running_platform
from tests.egress.conftest import outside
from tests.egress.outside import API, DATABASE, GATEWAY, NAME_SERVER, Outside

__all__ = ["outside"]  # a fixture

pytestmark = [pytest.mark.root, pytest.mark.e2e]

CUT = ("ConnectionResetError", "URLError")  # the latter where the reset came before the request was written
CODE = """
import http.client, json, os, socket, subprocess, urllib.request

NODE = '''
fetch(process.argv[1]).then(answer => answer.text()).then(console.log, problem => console.log(String(problem.cause)))
'''

def run(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=25)
    return done.stdout.strip() or f"exit {done.returncode}: {done.stderr.strip()[-200:]}"

def handler(event, context):
    url, how = event["url"], event["how"]
    try:
        if how == "urllib":
            return urllib.request.urlopen(url, timeout=8).read().decode()
        if how == "http.client":
            client = http.client.HTTPConnection(url.split("/")[2], timeout=8)
            client.request("GET", "/")
            return client.getresponse().read().decode()
        if how == "socket":
            host, port = url.split(":")
            return socket.create_connection((host, int(port)), 8).makefile().readline()
        if how == "curl":
            return run("curl", "-sS", "--max-time", "8", url)
        if how == "node":
            return run("node", "-e", NODE, url)
        if how == "pid":
            return f"{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError as exc:
        return type(exc).__name__
"""


@pytest.fixture(scope="module")
def platform(can_isolate: None, outside: Outside) -> Iterator[Platform]:
    """One that listens on all addresses of the machine, as it may in a network of its owner's."""
    settings = {"ISOTHERM_HOST": "0.0.0.0", "ISOTHERM_EGRESS_RESOLVER": NAME_SERVER}
    with running_platform(environment=settings) as running:
        yield running


def call(platform: Platform, name: str, how: str, url: str = "") -> str:
    answer = platform.invoke(name, {"how": how, "url": url})
    assert answer.status_code == 200, answer.text
    return str(answer.json())


def logs(platform: Platform, name: str, wanted: str) -> str:
    """The function's log once it has a line with this text."""
    deadline = time.monotonic() + 15
    while True:
        text = platform.cli("logs", name).out
        if wanted in text or time.monotonic() > deadline:
            assert wanted in text
            return text
        time.sleep(0.2)


def test_unmodified_clients_reach_an_allowed_host_and_no_other(platform: Platform) -> None:
    for program in ("curl", "node"):
        require(shutil.which(program), f"needs {program}")
    platform.function(
        "traveller",
        CODE,
        memory_mb=1024,
        pids=128,
        egress={"hosts": ["api.example.com", "db.example.com:5432"], "cidrs": ["198.51.100.12/32:5432"]},
    )
    for how in ("urllib", "http.client", "curl", "node"):
        answer = call(platform, "traveller", how, "http://api.example.com/")
        assert json.loads(answer)["address"] == API, (how, answer)
        assert API not in call(platform, "traveller", how, "http://other.example.net/")
    for place in ("db.example.com:5432", f"{DATABASE}:5432"):
        assert call(platform, "traveller", "socket", place) == f"hello from {DATABASE}\n"
    platform.function("open", CODE, egress="open")
    assert "198.51.100.11" in call(platform, "open", "urllib", "http://other.example.net/")


def test_a_refusal_is_said_in_the_log_and_counted(platform: Platform) -> None:
    platform.function("modest", CODE, egress={"hosts": ["api.example.com:80"]})
    assert call(platform, "modest", "urllib", "http://api.example.com:8080/") in CUT
    text = logs(platform, "modest", "8080")
    assert 'egress to api.example.com:8080 is not allowed; add "api.example.com:8080" to egress.hosts' in text
    with platform.http() as http:
        metrics = http.get("/metrics").text
    assert 'isotherm_egress_refused_total{namespace="default",function="modest"} 1' in metrics


def test_code_that_is_refused_at_import_leaves_its_line_too(platform: Platform) -> None:
    folder = platform.folder / "code" / "hasty"
    folder.mkdir(parents=True)
    (folder / "app.py").write_text(
        "import socket\nsocket.create_connection(('other.example.net', 80))\nhandler = print\n"
    )
    (folder / "isotherm.toml").write_text('name = "hasty"\n[egress]\nhosts = ["api.example.com"]\n')
    assert platform.cli("deploy", str(folder)).code != 0
    logs(platform, "hasty", "other.example.net is not allowed")


def test_a_change_of_egress_is_a_new_revision(platform: Platform) -> None:
    platform.function("changing", CODE)
    assert call(platform, "changing", "urllib", "http://api.example.com/") == "URLError"
    platform.function("changing", CODE, egress={"hosts": ["api.example.com"]})
    assert API in call(platform, "changing", "urllib", "http://api.example.com/")
    shown = platform.cli("show", "changing", "--json").json
    assert shown["latest"]["number"] == 2
    assert shown["latest"]["config"]["egress"] == {"hosts": ["api.example.com"], "cidrs": []}
    assert "api.example.com" in platform.cli("show", "changing").out


def test_the_platforms_own_ports_are_closed(platform: Platform) -> None:
    platform.function("curious", CODE, egress={"hosts": ["*"], "cidrs": ["0.0.0.0/0", f"{GATEWAY}/32"]})
    for url in (platform.ready["url"], platform.ready["content_url"]):
        port = url.rpartition(":")[2]
        for host in (GATEWAY, "gateway.example.com", "127.0.0.1"):
            found = call(platform, "curious", "urllib", f"http://{host}:{port}/healthz")
            assert found in CUT
    logs(platform, "curious", "it is a port of the platform itself")


def test_a_killed_egress_process_is_back_and_no_instance_with_it(platform: Platform) -> None:
    platform.function("steady", CODE, egress={"hosts": ["api.example.com"]})
    before = call(platform, "steady", "pid")
    for _ in range(2):
        platform.kill("egress")
        assert API in call(platform, "steady", "urllib", "http://api.example.com/")
    assert call(platform, "steady", "pid") == before


def test_a_rule_that_is_none_is_refused_and_named(platform: Platform) -> None:
    folder = platform.folder / "code" / "wrong"
    folder.mkdir(parents=True)
    (folder / "app.py").write_text(CODE)
    (folder / "isotherm.toml").write_text('name = "wrong"\n[egress]\ncidrs = ["127.0.0.2/32"]\n')
    ran = platform.cli("deploy", str(folder))
    assert ran.code != 0
    assert "egress.cidrs: '127.0.0.2/32' can never be reached" in ran.err + ran.out
