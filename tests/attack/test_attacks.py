"""What hostile code can do in a sandbox, at import and in the handler: each attack and its exact denial."""

import json
import os
import socket
from pathlib import Path

import pytest

from isotherm.base.errors import ImportFailed, IsothermError
from tests.sandbox.conftest import MB, Bench, bench, warden
from tests.sandbox.footprint import descendants

__all__ = ["bench", "warden"]  # fixtures of the sandbox room

pytestmark = pytest.mark.root

ATTACKER = (Path(__file__).parent / "attacker.py").read_text()

NOT_THERE = ("ENOENT",)
READ_ONLY = ("EROFS", "EACCES", "EPERM")
REFUSED = ("EPERM",)
NO_NETWORK = ("ENETUNREACH",)

# What each attack may come to. Anything else, "worked" above all, fails the test.
EXPECTED: dict[str, tuple[object, ...]] = {
    "read the host's shadow": NOT_THERE,
    "read a host's file": NOT_THERE,
    "read a host's file through root": ("ENOENT", "EACCES"),
    "read a host's file through a parent's cwd": ("ENOENT", "EACCES"),
    "list root's home": ([], "ENOENT"),
    "write anywhere": ([],),
    "write to the code": ("EROFS",),
    "write to the runtime": ("EROFS",),
    "write to the interpreter through its process": ("EACCES", "ETXTBSY"),
    "write to the interpreter": ("EROFS", "ETXTBSY"),
    "make a device": REFUSED,
    "open the kernel's memory": NOT_THERE,
    "open a disk": NOT_THERE,
    "trigger sysrq": ("EACCES", "ENOENT"),  # ENOENT: this kernel has none
    "set core_pattern": ("EACCES",),
    "set the modprobe path": ("EACCES", "ENOENT"),
    "write to sys": ("ENOENT", "EROFS"),
    "read kcore": ("EACCES", "ENOENT"),
    "lower the oom score": ("EACCES",),
    "signal a host's process": ("ESRCH",),
    "open a host's process": ("ESRCH",),
    "read another's environment": ("ENOENT", "EACCES"),
    "trace": REFUSED,
    "trace oneself": REFUSED,
    "read another's memory": REFUSED,
    "write another's memory": REFUSED,
    "steal a descriptor": REFUSED,
    "compare kernel objects": REFUSED,
    "connect out": NO_NETWORK,
    "send a datagram out": NO_NETWORK,
    "connect to the host's loopback": ("ECONNREFUSED",),
    "connect to the host's abstract socket": ("ECONNREFUSED",),
    "netlink": ("EAFNOSUPPORT",),
    "packet socket": ("EAFNOSUPPORT",),
    "raw socket": ("EAFNOSUPPORT",),
    "vsock": ("EAFNOSUPPORT",),
    "key socket": ("EAFNOSUPPORT",),
    "crypto socket": ("EAFNOSUPPORT",),
    "change the loopback": REFUSED,
    "clone3": ("ENOSYS",),
    "become root": ("EPERM", "EINVAL"),  # EINVAL: there is no user 0 in its namespace
    "raise limits": ("EPERM",),
    "inject terminal input": REFUSED,
    "see others' shared memory": ([],),
}
REFUSED_BY_NAME = {
    "mount tmpfs", "remount root", "mount proc", "unmount proc", "unmount tmp", "unshare user", "unshare mount",
    "clone with a user namespace", "clone with a mount namespace", "enter a namespace", "chroot", "fsopen", "open_tree",
    "move_mount", "mount_setattr", "pivot_root", "bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "keyctl",
    "add_key", "init_module", "finit_module", "kexec_load", "open_by_handle_at", "quotactl", "swapon", "reboot",
    "syslog", "acct", "personality", "settimeofday", "clock_settime", "fanotify_init", "landlock_create_ruleset",
    "x32 call",
}  # fmt: skip


@pytest.fixture
def target(tmp_path: Path) -> "object":
    """Things outside that an attacker would like to reach."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o666)
    name = f"\0isotherm-attack-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(name)
        abstract.listen()
        yield {"path": str(secret), "port": server.getsockname()[1], "abstract": name, "pid": os.getpid()}


def judge(found: dict[str, object], expected: dict[str, tuple[object, ...]]) -> dict[str, object]:
    """What is not as it should be."""
    wrong = {name: value for name, value in found.items() if name in expected and value not in expected[name]}
    return wrong | {name: "not tried" for name in expected if name not in found}


async def test_attacks_from_the_handler_and_at_import(bench: Bench, target: dict[str, object]) -> None:
    template = await bench.template(ATTACKER, env={"TARGET": json.dumps(target)}, memory_bytes=256 * MB)
    assert template.info.unfit == ()
    found = (await (await bench.client(template)).invoke(None)).value
    expected = EXPECTED | dict.fromkeys(REFUSED_BY_NAME, REFUSED)
    in_handler = expected | {"see processes": ([1],), "set the host name": REFUSED}
    at_import = expected | {"see processes": ([1, 2],), "set the host name": REFUSED}
    assert judge(found["handler"], in_handler) == {}
    assert judge(found["import"], at_import) == {}
    assert set(found["handler"]) == set(in_handler)


async def test_attacks_of_an_instance_that_imports_for_itself(bench: Bench, target: dict[str, object]) -> None:
    env = {"TARGET": json.dumps(target)}
    template = await bench.template(ATTACKER, env=env, memory_bytes=256 * MB, template=False)
    found = (await (await bench.client(template)).invoke(None)).value
    expected = EXPECTED | dict.fromkeys(REFUSED_BY_NAME, REFUSED) | {"see processes": ([1],)}
    assert judge(found["handler"], expected) == {}
    assert judge(found["import"], expected) == {}


async def test_an_instance_cannot_add_filters_of_its_own(bench: Bench, target: dict[str, object]) -> None:
    template = await bench.template(ATTACKER, env={"TARGET": json.dumps(target)}, memory_bytes=256 * MB)
    client = await bench.client(template)
    assert (await client.invoke("stack a filter")).value == ["EPERM", "EPERM"]


async def test_siblings_do_not_meet(bench: Bench) -> None:
    code = """
import os, signal, socket
def handler(event, context):
    if event == "plant":
        open("/tmp/mark", "w").write("x")
        open("/dev/shm/mark", "w").write("x")
        global held
        held = socket.create_server(("127.0.0.1", 7777))
        return os.getpid()
    found = [os.path.exists("/tmp/mark"), os.path.exists("/dev/shm/mark")]
    try:
        socket.create_connection(("127.0.0.1", 7777), 1)
        found.append("connected")
    except OSError as exc:
        found.append(exc.errno)
    for target in (2, 3, 4, 5):
        try:
            os.kill(target, 0)
            found.append(target)
        except ProcessLookupError:
            pass
    return found
"""
    template = await bench.template(code)
    one, two = await bench.client(template), await bench.client(template)
    assert (await one.invoke("plant")).value == 1
    assert (await two.invoke("look")).value == [False, False, 111]


async def test_killing_everything_in_reach_kills_only_oneself(bench: Bench) -> None:
    code = """
import os, signal
def handler(event, context):
    if event == "rage":
        for target in (-1, 0):
            try:
                os.kill(target, signal.SIGKILL)
            except OSError:
                pass
    return "alive"
"""
    template = await bench.template(code)
    one, two = await bench.client(template), await bench.client(template)
    stream = one.request("rage")
    await one.answer(stream)  # pid 1 of its namespace is out of reach of its own SIGKILL
    assert (await two.invoke()).value == "alive"
    assert (await (await bench.client(template)).invoke()).value == "alive"
    assert not template.closed.done()


async def test_another_revisions_code_is_not_there(bench: Bench) -> None:
    await bench.template("secret = 'of another tenant'\ndef handler(e, c): pass")
    listing = "import os\ndef handler(e, c): return sorted(os.listdir('/code')), os.path.exists('/deps')"
    assert await bench.run(listing) == [["app.py"], False]


async def test_the_environment_of_the_platform_does_not_get_in(bench: Bench) -> None:
    code = "import os\ndef handler(e, c): return dict(os.environ)"
    environ = await bench.run(code, env={"MINE": "1"})
    assert environ["MINE"] == "1"
    allowed = (
        "AWS_",
        "LAMBDA_",
        "LANG",
        "PATH",
        "HOME",
        "TZ",
        "PYTHON",
        "MINE",
        "_HANDLER",
        "OMP_",
        "OPENBLAS_",
        "MKL_",
        "NUMEXPR_",
        "LC_",
    )
    assert [name for name in environ if not name.startswith(allowed)] == []


async def test_a_fork_bomb_at_import_is_bounded_and_ends_with_the_template(bench: Bench) -> None:
    code = """
import os, time
made = 0
try:
    while made < 1000:
        if os.fork() == 0:
            time.sleep(1000)
        made += 1
except OSError as exc:
    made = -made
def handler(event, context):
    return made
"""
    template = await bench.template(code, pids=16)
    assert template.info.unfit == ("15 child processes",)
    assert len(descendants(bench.warden.pid)) == 2  # of the bomb nothing is left: keeper and bare template
    await template.close()
    assert descendants(bench.warden.pid) == []


async def test_a_full_disk_at_import_is_an_error_of_the_module(bench: Bench) -> None:
    code = "open('/tmp/filler', 'wb').write(bytes(64 << 20))\ndef handler(event, context): pass"
    with pytest.raises(ImportFailed, match=r"File too large|No space left"):
        await bench.template(code, tmp_bytes=1 * MB)


async def test_an_import_cannot_fake_the_templates_word(bench: Bench) -> None:
    code = """
import glob, os, socket
for number in range(3, 64):
    try:
        channel = socket.socket(fileno=os.dup(number))
        channel.send(b'{"op":"imported","threads":[],"import_ms":1}')
        channel.send(b'{"op":"parked"}')
    except OSError:
        pass
os._exit(0)
"""
    with pytest.raises(IsothermError):  # noqa: PT012  (at the import or at the first start)
        template = await bench.template(code)
        await template.start()
    assert (await (await bench.client(await bench.template())).invoke(1)).value == 1
