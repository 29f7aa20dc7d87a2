"""`isotherm logs`: what a function wrote, then what it writes."""

import time

import msgspec

from isotherm.cli.output import output
from isotherm.cli.times import clock, parse_duration_s
from isotherm.client import Client
from isotherm.client.model import LogLine

__all__ = ["run"]


def run(client: Client, name: str, follow: bool, since: str | None, invocation: str | None, limit: int | None) -> None:
    """Print log lines, oldest first; with `follow` until interrupted."""
    since_ms = None
    if since is not None:
        since_ms = time.time_ns() // 1_000_000 - round(parse_duration_s(since, "--since") * 1000)
    lines = client.functions.logs(name, follow=follow, limit=limit, since_ms=since_ms, invocation=invocation)
    if output.json and not follow:
        output.result({"items": msgspec.to_builtins(list(lines))})
        return
    for line in lines:
        _print(line)


def _print(line: LogLine) -> None:
    if output.json:
        output.result(msgspec.to_builtins(line))
        return
    call = (line.invocation_id or "")[-12:] or line.stream
    level = f" {line.level}" if line.level else ""
    for text in line.message.rstrip("\n").split("\n"):
        output.line(f"{clock(line.at_ms)} {call:<12}{level} {text}")
