"""`isotherm doctor`: what this machine can isolate, and whether the platform could start here. Works before `up`."""

import json
import os
import platform
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from isotherm.base.errors import IsothermError, NotIsolated
from isotherm.base.runtimes import LEAST_NODE, find_node, runtimes
from isotherm.base.settings import Settings, load_settings
from isotherm.cli.commands.up import default_data
from isotherm.cli.output import output
from isotherm.cli.times import duration, size
from isotherm.storage.postgres import queue_url, shown_url
from isotherm.storage.queue_facts import queue_facts

__all__ = ["Check", "run"]

PROBE = "isotherm.warden.doctor"
PROBE_S = 60.0
LOW_DISK_BYTES = 2_000_000_000
LOW_MEMORY_KB = 1_000_000


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One line. `enforced` is what a driver's check enforces; empty for the others."""

    name: str
    ok: bool
    detail: str
    enforced: str = ""
    needed: bool = True


def run(flags: dict[str, Any]) -> int:
    """Print all checks. Returns 0, or 69 where code cannot be isolated or the platform could not start."""
    settings = load_settings(flags, os.environ)
    data = Path(settings.data or default_data())
    machine = [
        _linux(),
        _root(),
        _python(),
        _pip(),
        _node(),
        _memory(),
        _folder(data),
        *_ports(settings),
        *_queue(settings),
    ]
    isolation = _isolation()
    well = all(check.ok for check in (*machine, *isolation) if check.needed)
    if output.json:
        lists = {"machine": msgspec.to_builtins(machine), "isolation": msgspec.to_builtins(isolation)}
        isolated = all(check.ok for check in isolation if check.needed)
        output.result({"ok": well, "isolated": isolated, "runtimes": runtimes(), **lists})
    else:
        _print("machine", machine)
        _print("isolation (process driver)", isolation)
        output.line(f"runtimes: {', '.join(runtimes())}")
        output.line(_verdict(machine, isolation))
    return 0 if well else NotIsolated.exit_code


def _verdict(machine: list[Check], isolation: list[Check]) -> str:
    missing = [check for check in isolation if check.needed and not check.ok]
    if missing:
        names = "; ".join(check.enforced or check.name for check in missing)
        return f"not enforced: {names}. Deploys are refused unless `isotherm up --allow-unisolated`."
    if not all(check.ok for check in machine):
        return "the platform cannot start as it is: see above."
    return "all is enforced; `isotherm up` starts the platform."


def _print(title: str, checks: list[Check]) -> None:
    output.line(title)
    for check in checks:
        output.line(f"  {'ok ' if check.ok else 'NO '} {check.name:<22} {check.detail}")


def _linux() -> Check:
    return Check(name="system", ok=sys.platform == "linux", detail=f"{platform.system()} {platform.release()}")


def _root() -> Check:
    root = os.geteuid() == 0
    return Check(name="user", ok=root, detail="root" if root else f"uid {os.geteuid()}; run as root to isolate code")


def _python() -> Check:
    return Check(
        name="python", ok=sys.version_info >= (3, 11), detail=f"{platform.python_version()} at {sys.executable}"
    )


def _pip() -> Check:
    try:
        found = subprocess.run(
            [sys.executable, "-m", "pip", "--version"], capture_output=True, text=True, timeout=PROBE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Check(name="pip", ok=False, detail="did not answer in time")
    if found.returncode != 0:
        return Check(name="pip", ok=False, detail="missing, so requirements.txt cannot be installed; install pip")
    return Check(name="pip", ok=True, detail=" ".join(found.stdout.split()[:2]))


def _node() -> Check:
    """Never in the way: what a machine without it cannot do is said."""
    node = find_node()
    if node is None:
        detail = f"none of version {LEAST_NODE} or newer: functions in JavaScript cannot be deployed"
    else:
        detail = f"{node.version} at {node.executable}{'' if node.npm else ', without npm'}"
    return Check(name="node", ok=True, detail=detail)


def _memory() -> Check:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    available_kb = int(fields["MemAvailable"].split()[0])
    return Check(
        name="memory", ok=available_kb >= LOW_MEMORY_KB, detail=f"{size(available_kb * 1024)} available (1 GB wanted)"
    )


def _folder(data: Path) -> Check:
    """Whether state can be kept there: the folder, or the nearest one above that exists."""
    there = next(folder for folder in (data, *data.absolute().parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Check(name="data", ok=False, detail=f"{data}: {there} cannot be written; pass --data")
    free = shutil.disk_usage(there).free
    return Check(name="data", ok=free >= LOW_DISK_BYTES, detail=f"{data}: {size(free)} free (2 GB wanted)")


def _ports(settings: Settings) -> list[Check]:
    named = (("port", settings.port), ("content port", settings.content_port))
    return [_port(settings.host, name, port) for name, port in named]


def _port(host: str, name: str, port: int) -> Check:
    if port == 0:
        return Check(name=name, ok=True, detail="a free one")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as exc:
        flag = "--" + name.replace(" ", "-")
        return Check(name=name, ok=False, detail=f"{port}: {exc.strerror}; stop what listens there, or pass {flag}")
    return Check(name=name, ok=True, detail=f"{port} is free")


def _queue(settings: Settings) -> list[Check]:
    """The Postgres that asynchronous calls are to be kept in, where one was chosen."""
    try:
        url = queue_url(settings)
        if url is None:
            return []
        found = queue_facts(url)
    except IsothermError as error:
        return [Check(name="queue database", ok=False, detail=error.message)]
    if found.problem is not None:
        return [Check(name="queue database", ok=False, detail=found.problem)]
    where = shown_url(url)
    detail = f"Postgres {found.server}{where and ' at ' + where}, answers in {duration(found.answer_ms)}; "
    detail += "its tables are not there yet" if found.version is None else f"{found.hosts} hosts have calls there"
    if not found.fsync:
        detail += "; fsync is off: accepted calls do not outlive a power cut"
    return [Check(name="queue database", ok=True, detail=detail)]


def _isolation() -> list[Check]:
    """The process driver's probe, in a process of its own: it needs rooms that the command line does without."""
    try:
        probe = subprocess.run(
            [sys.executable, "-P", "-m", PROBE],
            capture_output=True,
            text=True,
            timeout=PROBE_S,
            check=False,
        )
        found = json.loads(probe.stdout.splitlines()[-1])
        return msgspec.convert(found["checks"], list[Check])
    except subprocess.TimeoutExpired:
        reason = f"did not end within {PROBE_S:.0f} s"
    except (IndexError, ValueError, KeyError, msgspec.ValidationError):
        reason = "gave no answer: " + (probe.stderr.strip().splitlines() or ["(silence)"])[-1]
    return [Check(name="probe", ok=False, detail=reason, enforced="isolation")]
