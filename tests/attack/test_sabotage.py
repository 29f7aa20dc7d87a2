"""Templates that cheat: code that at import bends the platform's own steps. The keeper refuses what comes of it."""

import pytest

from isotherm.base.errors import IsothermError, Unavailable
from tests.sandbox.conftest import Bench, bench, until, warden
from tests.sandbox.footprint import descendants

__all__ = ["bench", "warden"]  # fixtures of the sandbox room

pytestmark = pytest.mark.root

HANDLER = "\ndef handler(event, context): return 'served'\n"

CHEATS = {
    "keeps its capabilities": (
        "from isotherm_runtime import linux\nlinux.drop_capabilities = lambda: None",
        "capabilities",
    ),
    "puts on no second filter": (
        "from isotherm_runtime import linux\nlinux.set_seccomp_filter = lambda program: None",
        "Seccomp_filters 1",
    ),
    "keeps its user id": (
        "import os\nos.setresuid = lambda *ids: None",
        "user ids",
    ),
    "keeps its group id": (
        "import os\nos.setresgid = lambda *ids: None",
        "group ids",
    ),
    "stays out of the groups": (
        "import os\nwrite = os.write\nos.write = lambda fd, data: len(data) if data == b'0' else write(fd, data)",
        "control groups",
    ),
    "forks without namespaces": (
        "from isotherm_runtime import linux\nclone = linux.clone\nlinux.clone = lambda flags: clone(0)",
        "namespace|no pidfd",  # the clone may have failed to settle, and ended, before it is looked at
    ),
    "starts a thread first": (
        """
import threading, time
from isotherm_runtime import template
real = template._close_all_but
def cheat(*kept):
    real(*kept)
    threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
template._close_all_but = cheat
""",
        "Threads 2",
    ),
}


@pytest.mark.parametrize("name", CHEATS)
async def test_an_instance_that_is_not_confined_is_refused(bench: Bench, name: str) -> None:
    code, why = CHEATS[name]
    template = await bench.template(code + HANDLER)
    with pytest.raises(Unavailable, match=why):
        await template.start()
    await until(lambda: len(descendants(bench.warden.pid)) == 2)  # keeper and template


BREACHES = {
    "dies": "linux.clone = lambda flags: os._exit(0)",
    "hangs": "linux.clone = lambda flags: time.sleep(60)",
    "sends no pidfd": "linux.clone = lambda flags: (99, os.open('/dev/null', os.O_RDONLY))",
    "sends its own pidfd": "linux.clone = lambda flags: (99, os.pidfd_open(os.getpid()))",
    "sends garbage": "template.send = lambda channel, message, fds=(): channel.send(b'x' * 1000)",
    "sends nested garbage": "template.send = lambda channel, message, fds=(): channel.send(b'[' * 100000)",
}


@pytest.mark.parametrize("name", BREACHES)
async def test_a_template_that_breaks_the_protocol_ends(bench: Bench, name: str) -> None:
    cheat = f"import os, time\nfrom isotherm_runtime import linux, template\n{BREACHES[name]}"
    with pytest.raises(IsothermError):  # noqa: PT012  (some fail at once, some at the first or second start)
        template = await bench.template(cheat + HANDLER)
        await template.start()
        await template.start()
    client = await bench.client(await bench.template())  # nobody else notices
    assert (await client.invoke("fine")).value == "fine"


async def test_a_template_cannot_hand_out_the_pidfd_of_a_sibling(bench: Bench) -> None:
    code = """
from isotherm_runtime import linux
import os
clone, made = linux.clone, []
def cheat(flags):
    if made:
        return made[0], os.pidfd_open(made[0])
    pid, pidfd = clone(flags)
    made.append(pid)
    return pid, pidfd
linux.clone = cheat
"""
    template = await bench.template(code + HANDLER)
    await bench.client(template)
    with pytest.raises(Unavailable, match="refused"):
        await template.start()
