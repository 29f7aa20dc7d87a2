"""`isotherm logs`: what a function wrote, then what it writes."""

import time

import msgspec

from isotherm.base.errors import IsothermError
from isotherm.cli.client import Client
from isotherm.cli.output import output
from isotherm.cli.times import clock, parse_duration_s
from isotherm.cli.views import LogLine

__all__ = ["run"]

RETRY_S = 1.0
RETRIES = 60


def run(client: Client, name: str, follow: bool, since: str | None, invocation: str | None, limit: int) -> None:
    """Print log lines, oldest first; with `follow` until interrupted."""
    since_ms = None
    if since is not None:
        since_ms = time.time_ns() // 1_000_000 - round(parse_duration_s(since, "--since") * 1000)
    if follow:
        _follow(client, name, since_ms, invocation, limit)
        return
    lines = client.logs(name, limit=limit, since_ms=since_ms, invocation=invocation)
    if output.json:
        output.result({"items": msgspec.to_builtins(lines)})
        return
    for line in lines:
        _print(line)


def _follow(client: Client, name: str, since_ms: int | None, invocation: str | None, limit: int) -> None:
    """Until interrupted; a broken stream is taken up again where it ended."""
    failures = 0
    while True:
        try:
            for line in client.follow_logs(name, limit=limit, since_ms=since_ms, invocation=invocation):
                failures, since_ms = 0, line.at_ms + 1
                _print(line)
        except IsothermError as exc:
            if exc.code != "unavailable" or failures >= RETRIES:
                raise
        failures += 1
        time.sleep(RETRY_S)


def _print(line: LogLine) -> None:
    if output.json:
        output.result(msgspec.to_builtins(line))
        return
    call = (line.invocation_id or "")[-12:] or line.stream
    level = f" {line.level}" if line.level else ""
    for text in line.message.rstrip("\n").split("\n"):
        output.line(f"{clock(line.at_ms)} {call:<12}{level} {text}")
