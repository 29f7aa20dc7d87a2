"""`python -m isotherm.maintenance`: does one job on the state, started by the command line as the service's user."""

import argparse
import os
import sys

import msgspec

from isotherm.base.errors import IsothermError, Unavailable
from isotherm.maintenance.jobs import run_job
from isotherm.telemetry.logging import configure_logging
from isotherm.wire.maintenance import MaintenanceBoot, Said

__all__ = ["main"]

_boot_bytes = 1024 * 1024


def main() -> int:
    """The exit code: that of the error which ended it."""
    parser = argparse.ArgumentParser(prog="python -m isotherm.maintenance", description=__doc__)
    parser.add_argument("--boot-fd", type=int, required=True, help="descriptor of the boot message")
    with os.fdopen(parser.parse_args().boot_fd, "rb") as file:
        boot = msgspec.json.decode(file.read(_boot_bytes), type=MaintenanceBoot)
    configure_logging("maintenance", quiet=True)

    def say(said: Said) -> None:
        os.write(boot.report_fd, msgspec.json.encode(said) + b"\n")

    try:
        result = run_job(boot, lambda what, done, of: say(Said(op="progress", what=what, done=done, of=of)))
    except (IsothermError, OSError) as exc:
        error = exc if isinstance(exc, IsothermError) else Unavailable(f"{exc.strerror}: {exc.filename or 'a file'}")
        say(Said(op="failed", problem=error.problem()))
        return error.exit_code
    say(Said(op="done", result=msgspec.to_builtins(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
