"""Run the tests in three passes and sum them in the last line.

First what shares nothing, on all cores. Then, one at a time, what makes namespaces and cgroups, and counts them
(`root`), and what compares times (`alone`). Last the other platforms (`e2e`), two at a time, file by file: each has a
folder and ports of its own, and waits more than it works. Exits 1 where a test failed.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

NO_TESTS_COLLECTED = 5


@dataclass
class Counts:
    passed: int = 0
    failed: int = 0
    errors: int = 0
    skipped: int = 0

    def add(self, report: Path) -> None:
        for suite in ET.parse(report).getroot().iter("testsuite"):
            total, failed, errors, skipped = (
                int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")
            )
            self.passed += total - failed - errors - skipped
            self.failed += failed
            self.errors += errors
            self.skipped += skipped

    def __str__(self) -> str:
        parts = [f"{self.passed} passed", f"{self.failed} failed"]
        parts += [f"{self.errors} errors"] if self.errors else []
        parts += [f"{self.skipped} skipped"] if self.skipped else []
        return ", ".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fast", action="store_true", help="leave out slow and e2e tests")
    options, rest = parser.parse_known_args()
    fast = " and not slow and not e2e" if options.fast else ""
    workers = str(len(os.sched_getaffinity(0)))
    passes = [
        ["-n", workers, "--dist", "worksteal", "-m", f"not root and not e2e{fast}"],
        ["-m", f"((root and not e2e) or alone){fast}"],
        ["-n", str(min(2, int(workers))), "--dist", "loadfile", "-m", f"e2e and not alone{fast}"],
    ]
    counts, codes, started = Counts(), [], time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for number, arguments in enumerate(passes):
            report = Path(folder, f"{number}.xml")
            argv = [sys.executable, "-m", "pytest", "-q", "--durations=10", f"--junitxml={report}", *arguments, *rest]
            codes.append(subprocess.run(argv, check=False).returncode)
            if report.exists():
                counts.add(report)
    failed = any(code not in (0, NO_TESTS_COLLECTED) for code in codes) or counts.passed == 0
    print(f"===== {counts} in {time.monotonic() - started:.0f} s =====", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
