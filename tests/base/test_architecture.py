"""What import contracts cannot say: the standard library alone, empty `__init__` files; and that contracts bite."""

import ast
import configparser
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
# Rooms of neither wing: planes and what both wings stand on.
SHARED = {
    "__main__", "api", "base", "bootstrap", "cli", "client", "controllers", "host", "prices", "replay", "sigv4",
    "storage", "telemetry", "warden", "wire",
}  # fmt: skip


@cache
def import_graph() -> grimp.ImportGraph:
    return grimp.build_graph("isotherm", "isotherm_runtime", include_external_packages=True, cache_dir=None)


def contracts() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    return parser


@pytest.mark.parametrize("package", ["isotherm.warden", "isotherm_runtime"])
def test_what_runs_as_root_or_in_a_sandbox_needs_the_standard_library_alone(package: str) -> None:
    graph = import_graph()
    reached = graph.find_upstream_modules(package, as_package=True)
    foreign = {
        module
        for module in reached
        if graph.is_module_squashed(module) and module.split(".")[0] not in sys.stdlib_module_names
    }
    assert foreign == set()


def test_init_files_hold_a_docstring_only() -> None:
    public = SOURCE / "isotherm" / "client" / "__init__.py"  # what programs of other people import
    for path in sorted(set(SOURCE.rglob("__init__.py")) - {public}):
        body = ast.parse(path.read_text()).body
        assert len(body) == 1, f"{path} holds more than its docstring"
        assert isinstance(body[0], ast.Expr), f"{path} has no docstring"


def test_every_module_opens_with_a_docstring() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in SOURCE.rglob("*.py")
        if "migrations" not in path.parts and ast.get_docstring(ast.parse(path.read_text())) is None
    ]
    assert silent == []


def test_every_room_stands_in_one_wing_or_below_both() -> None:
    parser = contracts()

    def rooms(contract: str, option: str) -> set[str]:
        return {
            line.removeprefix("isotherm.")
            for line in parser[f"importlinter:contract:{contract}"][option].split()
            if line.startswith("isotherm.")
        }

    built = {module.split(".")[1] for module in import_graph().modules if module.startswith("isotherm.")}
    host, control = rooms("host-wing", "source_modules"), rooms("control-wing", "source_modules")
    assert host & control == set()
    assert built - SHARED == (host | control) - SHARED
    assert control - {"api", "controllers"} <= rooms("host-wing", "forbidden_modules")
    assert host - {"host"} <= rooms("control-wing", "forbidden_modules")


@pytest.mark.parametrize(
    ("module", "line", "broken"),
    [
        ("isotherm/sandbox/model.py", "def late():\n    import sqlalchemy", "host-wing"),
        ("isotherm/sandbox/late.py", "import typing\nif typing.TYPE_CHECKING:\n    import isotherm.bus", "host-wing"),
        ("isotherm/base/late.py", "import isotherm.wire.link", "storeys"),
        ("isotherm/attic/__init__.py", "", "storeys"),
        ("isotherm/sandbox/model.py", "import isotherm.sandbox.port", "furniture"),
        ("isotherm_runtime/late.py", "import isotherm.base.errors", "runtime"),
        ("isotherm/client/late.py", "def late():\n    import fastapi", "client"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, module: str, line: str, broken: str) -> None:
    for package in ("isotherm", "isotherm_runtime"):
        shutil.copytree(SOURCE / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    target = tmp_path / module
    target.parent.mkdir(exist_ok=True)
    with target.open("a") as file:
        file.write(f"\n{line}\n")
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    name = contracts()[f"importlinter:contract:{broken}"]["name"]
    assert f"{name} BROKEN" in " ".join(done.stdout.split())
