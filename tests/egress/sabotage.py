"""A warden from a copy of the platform in which one thing is broken."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import isotherm
import isotherm_runtime
from isotherm.sandbox.drivers.process import ProcessDriver, WardenLink
from tests.sandbox.conftest import Bench
from tests.sandbox.warden_process import WardenProcess

__all__ = ["sabotaged"]


@contextlib.contextmanager
def sabotaged(folder: Path, module: str, text: str, other: str) -> Iterator[Bench]:
    """`text` in the file `module` of the package stands as `other`. The caller closes the bench's driver."""
    for package in (isotherm, isotherm_runtime):
        shutil.copytree(
            package.__path__[0], folder / package.__name__, ignore=shutil.ignore_patterns("__pycache__", "migrations")
        )
    source = folder / "isotherm" / module
    assert text in source.read_text()
    source.write_text(source.read_text().replace(text, other))
    warden = WardenProcess()
    warden.import_path = [str(folder), *warden.import_path]
    with warden:
        bench = Bench(warden)
        bench.link = WardenLink(warden.peer())
        bench.driver = ProcessDriver(bench.link)
        yield bench
        bench.link.close()
