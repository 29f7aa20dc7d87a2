"""`python -m isotherm.warden --boot-fd N`: the only process of the platform that is root, where there is root.

The boot message is JSON on descriptor N: `{"data_dir", "supervisor_fd", "uid", "gid"}`; uid and gid are those of the
unprivileged processes. Standard library alone; no network: it leaves for an empty network namespace at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys

from isotherm.warden.facilities import Facilities
from isotherm.warden.service import Warden
from isotherm.warden.setup import become_warden, find_facilities


def main(argv: list[str]) -> int:
    if len(argv) != 2 or argv[0] != "--boot-fd" or not argv[1].isdigit():
        sys.stderr.write("usage: python -m isotherm.warden --boot-fd N\n")
        return 64
    with os.fdopen(int(argv[1]), "rb") as stream:
        boot = json.loads(stream.read())
    supervisor = socket.socket(fileno=int(boot["supervisor_fd"]))
    os.set_inheritable(supervisor.fileno(), False)
    network_fd = become_warden()
    facilities = find_facilities(str(boot["data_dir"]), int(boot["uid"]), int(boot["gid"]), network_fd)
    try:
        asyncio.run(_serve(supervisor, facilities))
    finally:
        if facilities.base is not None:
            facilities.base.sweep()
    return 0


async def _serve(supervisor: socket.socket, facilities: Facilities) -> None:
    await Warden(facilities, supervisor).serve()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
