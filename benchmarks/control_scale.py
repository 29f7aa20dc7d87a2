"""What commands and questions to control cost with few and with many functions registered, without any process around.

`python -m benchmarks.control_scale [--functions 10000] [--few 10]` prints JSON: milliseconds at the median and the 95th
percentile of each verb over the rooms of the control wing and SQLite, for both sizes, and the ratio of their medians,
by the clock and in CPU (which a busy machine does not change).
"""

import argparse
import io
import json
import resource
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.machine import facts
from isotherm.base.settings import Settings
from isotherm.bootstrap import Rooms, build_rooms
from isotherm.functions.model import FunctionConfig
from isotherm.tenancy.model import SYSTEM

_repeats = 60
_goal_ms = 5.0  # of a deploy
_goal_ratio = 1.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--functions", type=int, default=10_000)
    parser.add_argument("--few", type=int, default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="isotherm-scale-") as folder:
        print(json.dumps(_run(Path(folder), arguments.few, arguments.functions), indent=2))


def _run(folder: Path, few: int, many: int) -> dict[str, Any]:
    rooms = build_rooms(Settings(), folder, "http://localhost:7071", environ={})
    token = rooms.tenancy.bootstrap_admin().token
    package = rooms.functions.upload_package(SYSTEM, "default", _package()).digest
    _register(rooms, package, 0, few)
    with_few = _measure(rooms, package, token)
    began_s = time.perf_counter()
    _register(rooms, package, few, many)
    register_s = time.perf_counter() - began_s
    with_many = _measure(rooms, package, token)
    full = rooms.feed.full()
    size = sum(path.stat().st_size for path in folder.glob("control.db*"))
    rooms.close()
    verbs: dict[str, dict[str, Any]] = {
        verb: {
            "few": few_times,
            "many": with_many[verb],
            "ratio": with_many[verb]["p50_ms"] / few_times["p50_ms"],
            "cpu_ratio": with_many[verb]["cpu_p50_ms"] / few_times["cpu_p50_ms"],
        }
        for verb, few_times in with_few.items()
    }
    return {
        "machine": facts(),
        "few": few,
        "many": many,
        "verbs": verbs,
        "register_s": register_s,
        "snapshot_bytes": len(msgspec.msgpack.encode(full)),
        "snapshot_items": len(full.items),
        "database_bytes": size,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "held": {
            "deploy_p50_ms": with_many["deploy"]["p50_ms"] <= _goal_ms,
            "deploy_and_list_cpu_ratio": all(verbs[verb]["cpu_ratio"] <= _goal_ratio for verb in ("deploy", "list")),
        },
    }


def _package() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("app.py", "def handler(event, context):\n    return event\n")
    return content.getvalue()


def _register(rooms: Rooms, package: str, first: int, end: int) -> None:
    for number in range(first, end):
        config = FunctionConfig(package=package, env={"NUMBER": str(number)})
        made = rooms.functions.deploy(SYSTEM, "default", f"fn-{number}", config)
        rooms.functions.mark_ready(made.revision.id, template=True, unfit=[], elapsed_ms=1.0)


def _measure(rooms: Rooms, package: str, token: str) -> dict[str, dict[str, float]]:
    functions, feed = rooms.functions, rooms.feed
    serial = iter(range(10**9))

    def deploy() -> str:
        """A new revision of one function: unlike all before it."""
        config = FunctionConfig(package=package, env={"NUMBER": f"{time.time_ns()}-{next(serial)}"})
        return functions.deploy(SYSTEM, "default", "fn-1", config).revision.id

    version = feed.version()
    return {
        "deploy": _times(deploy),
        "mark_ready": _times(
            lambda revision: functions.mark_ready(revision, template=True, unfit=[], elapsed_ms=1.0), deploy
        ),
        "authenticate": _times(lambda: rooms.tenancy.authenticate(token)),
        "get": _times(lambda: functions.get(SYSTEM, "default", "fn-1")),
        "list": _times(lambda: functions.page(SYSTEM, "default", limit=10)),
        "delta": _times(lambda: feed.desired(feed.epoch, version)),
        "full": _times(feed.full, repeats=3),
    }


def _times(
    verb: Callable[..., Any], before: Callable[[], Any] | None = None, repeats: int = _repeats
) -> dict[str, float]:
    """Milliseconds of `verb` by the clock, and of CPU on this thread; `before`, untimed, gives its argument."""
    taken, cpu = [], []
    for _ in range(repeats):
        arguments = () if before is None else (before(),)
        began_s, cpu_s = time.perf_counter(), time.thread_time()
        verb(*arguments)
        taken.append((time.perf_counter() - began_s) * 1000)
        cpu.append((time.thread_time() - cpu_s) * 1000)
    taken.sort()
    cpu.sort()
    middle = repeats // 2
    return {"p50_ms": taken[middle], "p95_ms": taken[repeats * 95 // 100], "cpu_p50_ms": cpu[middle]}


if __name__ == "__main__":
    main()
