"""`python -m isotherm.warden.doctor`: what a warden could enforce here, as one line of JSON. For `isotherm doctor`.

Makes what a warden makes at its start, in a temporary folder, looks, and takes it away again.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile

from isotherm.warden.probe import probe
from isotherm.warden.setup import become_warden, find_facilities

__all__ = ["main"]


def main() -> int:
    network_fd = become_warden()
    folder = tempfile.mkdtemp(prefix="isotherm-doctor-")
    try:
        facilities = find_facilities(folder, os.geteuid(), os.getegid(), network_fd)
        try:
            checks = [check.to_message() for check in probe(facilities)]
        finally:
            if facilities.base is not None:
                facilities.base.sweep()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(json.dumps({"checks": checks, "runtimes": sorted(facilities.interpreters)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
