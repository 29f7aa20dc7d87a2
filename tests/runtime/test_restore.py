"""Forks unlike each other, and hooks with their limit: each in a fresh interpreter that forks."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.runtime.local_instance import SOURCES

FORK = """
import os
def in_fork(function):
    r, w = os.pipe()
    if os.fork() == 0:
        try:
            out = function()
        except Exception as exc:
            out = [type(exc).__name__, str(exc), getattr(exc, "error_type", None)]
        os.write(w, json.dumps(out).encode())
        os._exit(0)
    os.close(w)
    found = b""
    while part := os.read(r, 65536):
        found += part
    os.wait()
    return json.loads(found)
import json, sys
from isotherm_runtime import handler, restore
sys.path.append(handler.SHIMS)
"""


def run(code: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", FORK + code], capture_output=True, env={"PYTHONPATH": SOURCES}, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout.splitlines()[-1])


def test_generators_differ_after_a_fork_and_not_without_reseeding() -> None:
    found = run("""
import random, numpy.random, ssl, tempfile, uuid
random.seed(1); numpy.random.seed(1); uuid.uuid1(); tempfile.mktemp()
def draw():
    return [random.random(), numpy.random.random(), ssl.RAND_bytes(8).hex(), str(uuid.uuid1())[9:], tempfile.mktemp()]
def reseeded():
    restore.after_fork()
    return draw()
random_state = random.getstate()
def as_it_was():
    random.setstate(random_state)
    return draw()
print(json.dumps([[in_fork(reseeded) for _ in range(8)], [in_fork(as_it_was) for _ in range(2)]]))
""")
    reseeded, as_it_was = found
    for values in zip(*reseeded, strict=True):
        assert len(set(values)) == 8
    assert as_it_was[0][:2] == as_it_was[1][:2]  # so the test can fail


def test_nothing_is_imported_for_the_sake_of_reseeding() -> None:
    assert (
        run("""
restore.after_fork()
print(json.dumps([name for name in ("random", "ssl", "uuid", "numpy") if name in sys.modules]))
""")
        == []
    )


def test_an_after_hook_that_fails_says_which() -> None:
    name, message, error_type = run("""
import snapshot_restore_py
@snapshot_restore_py.register_after_restore
def reconnect():
    raise OSError("no route")
print(json.dumps(in_fork(restore.after_fork)))
""")
    assert (name, error_type) == ("RestoreProblem", "Runtime.AfterRestoreError")
    assert "reconnect" in message
    assert "no route" in message


def test_a_before_hook_that_fails_says_which() -> None:
    _, message, error_type = run("""
import snapshot_restore_py
snapshot_restore_py.register_before_snapshot(lambda: 1 / 0)
print(json.dumps(in_fork(restore.before_checkpoint)))
""")
    assert error_type == "Runtime.BeforeSnapshotError"
    assert "division by zero" in message


def test_slow_after_hooks_are_interrupted() -> None:
    name, message, _ = run("""
import time, snapshot_restore_py
snapshot_restore_py.register_after_restore(time.sleep, 30)
print(json.dumps(in_fork(lambda: restore.after_fork(0.2))))
""")
    assert name == "RestoreProblem"
    assert "longer than 0.2 s" in message


SNAPSHOT_APP = """
import snapshot_restore_py as hooks
seen = []
hooks.register_after_restore(seen.append, "after")
hooks.register_before_snapshot(seen.append, "before")
def handler(event, context):
    return seen
"""


def test_an_instance_that_imports_for_itself_runs_both_kinds(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(SNAPSHOT_APP)
    assert run(f"""
from isotherm_runtime import config
restore.after_fork()
loaded = handler.load(config.RuntimeConfig(handler="app.handler", path=[{str(tmp_path)!r}]))
print(json.dumps(loaded.function(None, None)))
""") == ["before", "after"]


def test_hooks_take_arguments_and_order() -> None:
    assert run("""
import snapshot_restore_py as hooks
seen = []
hooks.register_before_snapshot(seen.append, "b1"); hooks.register_before_snapshot(seen.append, "b2")
hooks.register_after_restore(lambda *, x: seen.append(x), x="a1"); hooks.register_after_restore(seen.append, "a2")
restore.before_checkpoint()
restore.after_fork()
print(json.dumps(seen))
""") == ["b2", "b1", "a1", "a2"]
