"""Finding the handler, and the environment that it is imported in. Each in a fresh interpreter."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from isotherm_runtime.config import RuntimeConfig
from isotherm_runtime.handler import reserved_environment
from tests.runtime.local_instance import SOURCES

LOAD = """
import json, sys
from isotherm_runtime import config, handler
made = config.RuntimeConfig.from_json(sys.stdin.buffer.read())
try:
    found = handler.load(made)
    print(json.dumps({"is_async": found.is_async, "type": type(found.function).__name__}))
except handler.ImportProblem as problem:
    print(problem.head().decode())
"""


def load(folder: Path, handler: str = "app.handler", **config: Any) -> dict[str, Any]:
    made = RuntimeConfig(handler=handler, path=[str(folder)], **config)
    done = subprocess.run(
        [sys.executable, "-c", LOAD], input=made.to_json(), capture_output=True, env={"PYTHONPATH": SOURCES}, timeout=30
    )
    assert done.returncode == 0, done.stderr.decode()
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(
    ("code", "is_async"),
    [
        ("def handler(event, context): ...", False),
        ("async def handler(event, context): ...", True),
        ("handler = lambda event, context: 1", False),
        ("class C:\n    def __call__(self, event, context): ...\nhandler = C()", False),
        ("class C:\n    async def __call__(self, event, context): ...\nhandler = C()", True),
        ("class C:\n    async def run(self, event, context): ...\nhandler = C().run", True),
        ("class C:\n    @staticmethod\n    async def run(event, context): ...\nhandler = C.run", True),
        ("from functools import partial\nasync def f(x, event, context): ...\nhandler = partial(f, 1)", True),
        ("from functools import partial\ndef f(x, event, context): ...\nhandler = partial(partial(f), 1)", False),
        ("handler = print", False),
        ("handler = dict", False),
    ],
)
def test_sync_and_async_handlers_are_told_apart(tmp_path: Path, code: str, is_async: bool) -> None:
    (tmp_path / "app.py").write_text(code)
    assert load(tmp_path)["is_async"] is is_async


@pytest.mark.parametrize("name", ["pkg.deep.app.handler", "pkg/deep/app.handler"])
def test_packages_are_named_with_dots_or_slashes(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "pkg" / "deep"
    folder.mkdir(parents=True)
    (folder / "app.py").write_text("def handler(event, context): ...")
    assert load(tmp_path, name)["type"] == "function"


def test_the_functions_code_comes_before_everything_else_on_the_path(tmp_path: Path) -> None:
    (tmp_path / "colorsys.py").write_text("def handler(event, context): ...")  # also a standard module
    assert load(tmp_path, "colorsys.handler")["type"] == "function"


def test_a_users_own_snapshot_module_wins_over_ours(tmp_path: Path) -> None:
    (tmp_path / "snapshot_restore_py.py").write_text("MINE = True")
    (tmp_path / "app.py").write_text("from snapshot_restore_py import MINE as handler")
    assert "not a function" in load(tmp_path)["error_message"]


def test_the_traceback_of_an_import_holds_the_users_frames_alone(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("def work():\n    return 1 / 0\nwork()\n")
    (tmp_path / "app.py").write_text("import helper\n")
    problem = load(tmp_path)
    assert (problem["kind"], problem["error_type"]) == ("import", "ZeroDivisionError")
    assert [line.split(",")[0].rsplit("/")[-1] for line in problem["stack_trace"]] == [
        'app.py"',
        'helper.py"',
        'helper.py"',
    ]


def test_syntax_errors_show_the_line(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("x = 1\ny = = 2\n")
    problem = load(tmp_path)
    assert problem["error_type"] == "Runtime.UserCodeSyntaxError"
    assert "app.py, line 2" in problem["error_message"]
    assert "y = = 2" in problem["stack_trace"][-1]


def test_reserved_variables_win_and_the_time_zone_is_the_users() -> None:
    config = RuntimeConfig(
        handler="app.handler",
        path=["/code"],
        env={"AWS_LAMBDA_FUNCTION_NAME": "forged", "TZ": "Europe/Berlin"},
        function_name="orders",
        runtime="python3.12",
    )
    found = config.env | reserved_environment(config)
    assert found["AWS_LAMBDA_FUNCTION_NAME"] == "orders"
    assert found["TZ"] == "Europe/Berlin"
    assert found["LAMBDA_TASK_ROOT"] == "/code"
    assert found["AWS_EXECUTION_ENV"] == "AWS_Lambda_python3.12"


def test_logging_is_ready_before_the_user_configures_it(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import logging\nlogging.basicConfig(level='DEBUG')\n"
        "assert [type(h).__name__ for h in logging.getLogger().handlers] == ['RecordHandler']\n"
        "def handler(event, context): ...\n"
    )
    assert load(tmp_path)["type"] == "function"
