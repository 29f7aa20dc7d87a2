"""Load by wrk: its arguments, its report (as JSON from a Lua script of ours), and a clear word where it is missing."""

import json
import shutil
import subprocess
import tempfile
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.environments import MissingTool

__all__ = ["Load", "WrkReport", "argv", "check_echo", "parse", "run_wrk", "script"]

GRACE_S = 30.0
_marker = "wrk-report "
_report_script = """
done = function(summary, latency, requests)
  local e = summary.errors
  local failed = e.connect + e.read + e.write + e.status + e.timeout
  io.write(string.format(
    'wrk-report {"requests": %d, "us": %d, "p50": %d, "p99": %d, "errors": %d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), failed))
end
"""


@dataclass(frozen=True)
class Load:
    """A closed loop: `connections` kept-alive connections, each with one request in flight, from one thread."""

    url: str
    connections: int
    seconds: int
    headers: tuple[tuple[str, str], ...] = ()
    body: str = '{"name": "isotherm"}'


@dataclass(frozen=True)
class WrkReport:
    """What wrk saw. `errors` counts answers that are not 2xx or 3xx, resets and timeouts."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def script(headers: Mapping[str, str], body: str) -> str:
    """The Lua script: what to send, and how to print the report."""
    lines = ['wrk.method = "POST"', f"wrk.body = {_lua(body)}"]
    lines += [f"wrk.headers[{_lua(name)}] = {_lua(value)}" for name, value in headers.items()]
    return "\n".join([*lines, _report_script]) + "\n"


def argv(load: Load, script_path: Path) -> list[str]:
    """wrk's command line."""
    return [
        "wrk",
        "--threads=1",
        f"--connections={load.connections}",
        f"--duration={load.seconds}s",
        "--timeout=10s",
        f"--script={script_path}",
        load.url,
    ]


def parse(output: str) -> WrkReport:
    """The report in wrk's output. Raises `ValueError` where there is none."""
    for line in output.splitlines():
        if line.startswith(_marker):
            values = json.loads(line.removeprefix(_marker))
            return WrkReport(
                requests=values["requests"],
                seconds=values["us"] / 1e6,
                p50_ms=values["p50"] / 1e3,
                p99_ms=values["p99"] / 1e3,
                errors=values["errors"],
            )
    raise ValueError(f"wrk printed no report: {output[-500:]}")


def check_echo(load: Load) -> None:
    """Raises `RuntimeError` unless the answer is the JSON that was sent: contestants must do the same work."""
    headers = {"Content-Type": "application/json", **dict(load.headers)}
    request = urllib.request.Request(load.url, load.body.encode(), headers, method="POST")
    with urllib.request.urlopen(request, timeout=GRACE_S) as answer:
        said = answer.read()
    if json.loads(said) != json.loads(load.body):
        raise RuntimeError(f"{load.url} does not echo: it was sent {load.body} and answered {said[:200]!r}")


def run_wrk(load: Load) -> WrkReport:
    """Run it. Raises `MissingTool`; `ValueError` where no request was answered or wrk failed."""
    if shutil.which("wrk") is None:
        raise MissingTool("wrk is not installed: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="isotherm-wrk-") as folder:
        path = Path(folder) / "script.lua"
        path.write_text(script({"Content-Type": "application/json", **dict(load.headers)}, load.body))
        done = subprocess.run(
            argv(load, path), capture_output=True, text=True, timeout=load.seconds + GRACE_S, check=False
        )
    report = parse(done.stdout + done.stderr)
    if report.requests == 0:
        raise ValueError(f"{load.url} answered nothing in {load.seconds} s")
    return report


def _lua(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
