"""The wheel holds the whole package, and nothing else; installing it needs no file of the checkout."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.network
def test_the_wheel_holds_what_the_source_tree_holds(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(argv, check=True, capture_output=True, timeout=110)
    (wheel,) = tmp_path.glob("isotherm-*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    source = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.endswith(".pyc")
    }
    assert packed == source


def test_heavy_libraries_are_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    heavy = ("numpy", "scipy", "torch", "matplotlib", "scikit-learn", "pandas", "ray")
    assert [each for each in project["dependencies"] if each.startswith(heavy)] == []
    assert set(project["optional-dependencies"]) >= {"dev", "replay"}
