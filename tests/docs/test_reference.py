"""The reference is what the code says: every generated page matches it."""

import re
import subprocess
import sys

from isotherm.base.errors import all_errors
from isotherm.base.settings import describe_settings
from tests.docs.pages import ROOT, tracked

REFERENCE = ROOT / "docs" / "reference"


def test_generated_pages_match_the_code() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate.py", "--check"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_every_setting_and_every_error_is_described() -> None:
    settings, errors = (REFERENCE / "settings.md").read_text(), (REFERENCE / "errors.md").read_text()
    assert [name for name, *_ in describe_settings() if f"`{name}`" not in settings] == []
    assert [code for code in all_errors() if f"`{code}`" not in errors] == []


def test_every_variable_that_the_code_reads_is_described() -> None:
    """`ISOTHERM_…` names in the source: settings, and those of the command line and of secrets."""
    known = {variable for _, variable, *_ in describe_settings()}
    text = "\n".join(page.read_text() for page in REFERENCE.glob("*.md"))
    read = {
        name
        for path in tracked()
        if path.suffix == ".py" and path.is_relative_to(ROOT / "src")
        for name in re.findall(r"""["'](ISOTHERM_[A-Z_]+[A-Z])["']""", path.read_text())
    }
    assert sorted(name for name in read - known if f"`{name}`" not in text) == []
