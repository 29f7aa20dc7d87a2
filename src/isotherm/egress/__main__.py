"""`python -m isotherm.egress --boot-fd N`: the egress process, started by the supervisor."""

import argparse
import sys

import uvloop

from isotherm.base.errors import IsothermError
from isotherm.egress.process import read_boot, run_egress
from isotherm.telemetry.logging import configure_logging, get_logger


def main() -> int:
    """The exit code: 0 after a stop, that of the error tree where it could not start."""
    parser = argparse.ArgumentParser(prog="python -m isotherm.egress", description=__doc__)
    parser.add_argument("--boot-fd", type=int, required=True, help="descriptor of the boot message")
    boot_fd = parser.parse_args().boot_fd
    configure_logging("egress")
    try:
        uvloop.run(run_egress(read_boot(boot_fd)))
    except IsothermError as exc:
        get_logger("egress").error("egress cannot run", code=exc.code, reason=exc.message)
        return exc.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
