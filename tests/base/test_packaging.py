"""The wheel holds the whole package, and nothing else; installing it needs no file of the checkout."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Declared, and yet imported nowhere: run as a program, or read by the standard library.
PROGRAMS = {"pip", "tzdata"}
EXTRAS = ("forecast", "postgres", "replay", "train")
# Pinned and handed through by what is declared.
THROUGH = {"starlette": "fastapi", "click": "typer"}


@pytest.mark.slow
@pytest.mark.network
def test_the_wheel_holds_what_the_source_tree_holds(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(argv, check=True, capture_output=True, timeout=110)
    (wheel,) = tmp_path.glob("isotherm-*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    source = {
        prefix + str(path.relative_to(folder))
        for prefix, folder in (("", ROOT / "src"), ("isotherm/examples/", ROOT / "examples"))
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.endswith(".pyc")
    }
    assert packed == source


def test_heavy_libraries_are_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    heavy = ("scipy", "numba", "statsforecast", "onnx", "torch", "matplotlib", "scikit-learn", "pandas", "ray")
    assert [each for each in project["dependencies"] if each.startswith(heavy)] == []
    assert set(project["optional-dependencies"]) >= {"dev", "forecast", "replay", "train"}


def imported(folder: Path) -> set[str]:
    """Top-level names of all that the Python files below `folder` import, our own and the standard library left out."""
    found: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - sys.stdlib_module_names - {"isotherm", "isotherm_runtime"}


def normal(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[ <>=!~\[;]", requirement, maxsplit=1)[0]).lower()


def test_what_is_imported_is_declared_and_the_reverse() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    core = {normal(each) for each in project["dependencies"]}
    extras = {normal(each) for extra in EXTRAS for each in project["optional-dependencies"][extra]}
    distributions = packages_distributions()
    # What user code may bring along is looked for, never needed.
    optional = {"snapshot_restore_py"}
    needed = {
        THROUGH.get(name) or normal(distributions.get(name, [name])[0]) for name in imported(ROOT / "src") - optional
    }
    assert needed - core - extras == set()
    assert core - needed == PROGRAMS
