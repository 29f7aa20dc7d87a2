"""The filters, run by a small interpreter of classic BPF: both architectures, every known number."""

import struct

import pytest

from isotherm_runtime.linux import CLONE_FIXED, INSTANCE_FLAGS, NEWNS, NEWUSER
from isotherm_runtime.seccomp import compile_filter
from isotherm_runtime.syscalls import ALLOWED, INSPECTED, LAST_KNOWN

ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
ALLOW, KILL, EPERM, ENOSYS, EAFNOSUPPORT = 0x7FFF0000, 0x80000000, 0x50001, 0x50026, 0x50061


def judge(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """What the filter says of one call."""
    words = [*arguments, *([0] * (6 - len(arguments)))]
    data = struct.pack("<IIQ6Q", number, architecture, 0, *words)
    instructions = list(struct.iter_unpack("=HBBI", program))
    position = accumulator = 0
    while True:
        code, if_true, if_false, operand = instructions[position]
        position += 1
        if code == 0x20:
            (accumulator,) = struct.unpack_from("<I", data, operand)
        elif code == 0x54:
            accumulator &= operand
        elif code == 0x06:
            return int(operand)
        else:
            met = {0x15: accumulator == operand, 0x45: bool(accumulator & operand), 0x35: accumulator >= operand}[code]
            position += if_true if met else if_false


@pytest.fixture(params=ARCHITECTURES)
def machine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def programs(machine: str) -> tuple[bytes, bytes]:
    template = compile_filter(nested_clone=INSTANCE_FLAGS | CLONE_FIXED, may_filter=True, architecture=machine)
    return template, compile_filter(nested_clone=None, may_filter=False, architecture=machine)


def test_exactly_the_table_is_allowed(machine: str) -> None:
    column, architecture = ARCHITECTURES[machine]
    allowed = {pair[column] for pair in ALLOWED.values()}
    inspected = {pair[column] for pair in INSPECTED.values()}
    for program in programs(machine):
        for number in range(LAST_KNOWN + 1):
            if number not in inspected:
                assert judge(program, architecture, number) == (ALLOW if number in allowed else EPERM), number
        assert judge(program, architecture, LAST_KNOWN + 1) == ENOSYS
        assert judge(program, architecture, 0x3FFFFFFF) == ENOSYS


def test_another_architecture_is_killed_and_x32_refused(machine: str) -> None:
    _, architecture = ARCHITECTURES[machine]
    for program in programs(machine):
        assert judge(program, 0x40000003, 1) == KILL
        assert judge(program, architecture, 0x40000000 | 39) == EPERM


def test_only_the_template_may_clone_namespaces_and_only_in_one_way(machine: str) -> None:
    column, architecture = ARCHITECTURES[machine]
    number = INSPECTED["clone"][column]
    assert number is not None
    template, instance = programs(machine)
    whole = INSTANCE_FLAGS | CLONE_FIXED
    assert judge(template, architecture, number, whole) == ALLOW
    assert judge(instance, architecture, number, whole) == EPERM
    for program in (template, instance):
        assert judge(program, architecture, number, 17) == ALLOW
        assert judge(program, architecture, number, 0x3D0F00) == ALLOW  # a thread
        assert judge(program, architecture, number, NEWUSER | 17) == EPERM
        assert judge(program, architecture, number, NEWNS | 17) == EPERM
        assert judge(program, architecture, number, whole & ~NEWNS) == EPERM


def test_sockets_by_family_and_type(machine: str) -> None:
    column, architecture = ARCHITECTURES[machine]
    number = INSPECTED["socket"][column]
    assert number is not None
    cloexec = 0o2000000
    for program in programs(machine):
        for family, kind in ((1, 1), (1, 2), (1, 5), (2, 1), (2, 2), (10, 1), (10, 2 | cloexec)):
            assert judge(program, architecture, number, family, kind) == ALLOW
        for family, kind in ((2, 3), (10, 3), (16, 3), (17, 3), (38, 5), (40, 1), (15, 3), (0, 1), (11, 1)):
            assert judge(program, architecture, number, family, kind) == EAFNOSUPPORT


def test_arguments_of_other_calls(machine: str) -> None:
    column, architecture = ARCHITECTURES[machine]

    def of(program: bytes, name: str, *arguments: int) -> int:
        number = INSPECTED[name][column]
        assert number is not None
        return judge(program, architecture, number, *arguments)

    template, instance = programs(machine)
    for program in (template, instance):
        assert of(program, "clone3") == ENOSYS
        assert of(program, "setsockopt", 3, 0, 64) == EPERM
        assert of(program, "setsockopt", 3, 41, 67) == EPERM
        assert of(program, "setsockopt", 3, 0, 1) == ALLOW
        assert of(program, "setsockopt", 3, 0, 68) == ALLOW
        assert of(program, "setsockopt", 3, 1, 64) == ALLOW
        assert of(program, "ioctl", 0, 0x5412) == EPERM
        assert of(program, "ioctl", 0, 0x541C) == EPERM
        assert of(program, "ioctl", 0, 0x5401) == ALLOW
        assert of(program, "mknodat", 3, 0, 0o010600) == ALLOW
        assert of(program, "mknodat", 3, 0, 0o060600) == EPERM
        assert of(program, "mknodat", 3, 0, 0o020600) == EPERM
        assert of(program, "prctl", 38, 1) == ALLOW
        assert of(program, "prctl", 35) == EPERM
        assert of(program, "seccomp") == EPERM
    assert of(template, "prctl", 22, 2) == ALLOW
    assert of(instance, "prctl", 22, 2) == EPERM
    assert of(template, "sethostname") == ALLOW
    assert of(instance, "sethostname") == EPERM


def test_no_jump_is_out_of_bounds(machine: str) -> None:
    for program in programs(machine):
        instructions = list(struct.iter_unpack("=HBBI", program))
        assert len(instructions) <= 4096
        for position, (code, if_true, if_false, _) in enumerate(instructions):
            if code in (0x15, 0x45, 0x35):
                assert position + 1 + max(if_true, if_false) < len(instructions)
