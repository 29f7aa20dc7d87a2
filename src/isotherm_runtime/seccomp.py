"""The system call filters, compiled to classic BPF: an allow-list, the same for all revisions.

Two filters stack. `template_filter` is put on before the user's code is imported and lets through one exact form
of clone with namespaces, by which instances are made; `instance_filter` denies that and filters themselves too.
What is denied fails with EPERM; clone3, whose flags a filter cannot see, and what this table does not know with
ENOSYS, so that libc falls back.
"""

from __future__ import annotations

import errno
import struct

from isotherm_runtime.linux import ANY_NAMESPACE, CLONE_FIXED, instance_flags, machine
from isotherm_runtime.syscalls import ALLOWED, INSPECTED, LAST_KNOWN

__all__ = ["compile_filter", "instance_filter", "supported", "template_filter"]

_LOAD, _JEQ, _JSET, _JGE, _RETURN, _AND = 0x20, 0x15, 0x45, 0x35, 0x06, 0x54
_NUMBER, _ARCHITECTURE = 0, 4
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x50000
_EPERM, _ENOSYS, _NO_FAMILY = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS, _ERRNO | errno.EAFNOSUPPORT
_audit_architecture = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_x32_bit = 0x40000000
_column = {"x86_64": 0, "aarch64": 1}

_Instruction = tuple[int, int, int, int]  # code, jump if true, jump if false, operand


def supported() -> bool:
    """Whether there is a filter for this machine's architecture."""
    return machine in _column


def template_filter(*, own_network: bool = True) -> bytes:
    """`own_network`: whether instances have one each."""
    return compile_filter(nested_clone=instance_flags(own_network=own_network) | CLONE_FIXED, may_filter=True)


def instance_filter() -> bytes:
    return compile_filter(nested_clone=None, may_filter=False)


def compile_filter(*, nested_clone: int | None, may_filter: bool, architecture: str = machine) -> bytes:
    """The BPF program. `nested_clone` is the one flags word that may carry namespace bits. Raises `KeyError`."""
    column = _column[architecture]
    program: list[_Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_JEQ, 1, 0, _audit_architecture[architecture]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        (_JGE, 0, 1, _x32_bit),
        (_RETURN, 0, 0, _EPERM),
        (_JGE, 0, 1, LAST_KNOWN + 1),
        (_RETURN, 0, 0, _ENOSYS),
    ]
    for name, body in _inspections(nested_clone, may_filter).items():
        number = INSPECTED[name][column]
        if number is not None:
            program += [(_JEQ, 0, len(body), number), *body]
    numbers = sorted(pair[column] for pair in ALLOWED.values() if pair[column] is not None)  # type: ignore[type-var]  # None is filtered
    for first, last in _ranges([number for number in numbers if number is not None]):
        program += [(_JGE, 3, 0, last + 1), (_JGE, 0, 1, first), (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _EPERM)]
    program.append((_RETURN, 0, 0, _EPERM))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


def _ranges(numbers: list[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def _argument(index: int) -> _Instruction:
    return (_LOAD, 0, 0, 16 + 8 * index)  # its low half: both architectures are little-endian


def _inspections(nested_clone: int | None, may_filter: bool) -> dict[str, list[_Instruction]]:
    """By name, what looks at a call's arguments; each ends with a return on every path."""
    allow, deny = (_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _EPERM)
    exact_clone = [] if nested_clone is None else [(_JEQ, 0, 1, nested_clone), allow]
    fifo_only = [(_AND, 0, 0, 0o170000), (_JEQ, 0, 1, 0o010000), allow, deny]
    set_seccomp, set_mm = 22, 35
    return {
        "clone": [_argument(0), *exact_clone, (_JSET, 0, 1, ANY_NAMESPACE), deny, allow],
        "clone3": [(_RETURN, 0, 0, _ENOSYS)],
        "socket": [  # unix of any type; inet and inet6: stream or datagram
            _argument(0),
            (_JEQ, 6, 0, 1),
            (_JEQ, 1, 0, 2),
            (_JEQ, 0, 5, 10),
            _argument(1),
            (_AND, 0, 0, 0xF),
            (_JEQ, 1, 0, 1),
            (_JEQ, 0, 1, 2),
            allow,
            (_RETURN, 0, 0, _NO_FAMILY),
        ],
        "setsockopt": [  # not iptables' options: level IP or IPV6, 64 to 67
            _argument(1),
            (_JEQ, 2, 0, 0),
            (_JEQ, 1, 0, 41),
            allow,
            _argument(2),
            (_JGE, 0, 2, 64),
            (_JGE, 1, 0, 68),
            deny,
            allow,
        ],
        "ioctl": [_argument(1), (_JEQ, 1, 0, 0x5412), (_JEQ, 0, 1, 0x541C), deny, allow],  # TIOCSTI, TIOCLINUX
        "mknod": [_argument(1), *fifo_only],
        "mknodat": [_argument(2), *fifo_only],
        "prctl": [
            _argument(0),
            (_JEQ, 0, 1, set_mm),
            deny,
            (_JEQ, 0, 1, set_seccomp),
            allow if may_filter else deny,
            allow,
        ],
        "seccomp": [deny],
        "sethostname": [allow if may_filter else deny],
    }
