"""The one BPF program of the platform: in a network namespace, it gives every TCP connection to one listening socket.

A program of the kind `sk_lookup` (Linux 5.9) is asked where an arriving connection goes. This one passes those to
loopback on to whoever listens there, and hands all others, whatever their address and port, to the socket in its map.
"""

from __future__ import annotations

import ctypes
import os
import struct

from isotherm_runtime import linux

__all__ = ["attach_listener"]

_MAP_CREATE, _MAP_UPDATE, _PROGRAM_LOAD, _LINK_CREATE = 0, 2, 5, 28
_MAP_OF_SOCKETS, _PROGRAM_SK_LOOKUP, _ATTACH_SK_LOOKUP = 15, 30, 36
_numbers = {"x86_64": 321, "aarch64": 280}
_ATTRIBUTE_BYTES = 128
_LICENSE = b"Apache-2.0"

# Instructions: (code, destination, source, offset or label, operand). Registers: r1 to r5 arguments, r6 to r9 kept.
_LOAD_32, _STORE_32, _MOVE, _SET, _ADD, _SHIFT_RIGHT = 0x61, 0x62, 0xBF, 0xB7, 0x07, 0x77
_TO_BIG_ENDIAN, _JUMP, _IF_EQUAL, _UNLESS_EQUAL, _CALL, _EXIT, _LOAD_MAP = 0xDC, 0x05, 0x15, 0x55, 0x85, 0x95, 0x18
_FRAME = 10
_lookup, _assign, _release = 1, 124, 86  # helpers of the kernel
# Offsets in struct bpf_sk_lookup
_FAMILY, _PROTOCOL, _LOCAL_IP4, _LOCAL_IP6 = 8, 12, 40, 44
_TCP, _IPV4, _DROP, _PASS = 6, 2, 0, 1

_Line = str | tuple[int, int, int, int | str, int]


def attach_listener(network_fd: int, listener_fd: int) -> int:
    """A descriptor that keeps the program attached to the namespace. Raises `OSError`."""
    sockets = _bpf(_MAP_CREATE, struct.pack("=IIII", _MAP_OF_SOCKETS, 4, 8, 1))
    try:
        key, value = ctypes.create_string_buffer(struct.pack("=I", 0), 4), ctypes.create_string_buffer(8)
        value.raw = struct.pack("=Q", listener_fd)
        _bpf(_MAP_UPDATE, struct.pack("=IIQQQ", sockets, 0, ctypes.addressof(key), ctypes.addressof(value), 0))
        program = _load(_program(sockets))
    finally:
        os.close(sockets)  # the program holds it
    try:
        return _bpf(_LINK_CREATE, struct.pack("=IIII", program, network_fd, _ATTACH_SK_LOOKUP, 0))
    finally:
        os.close(program)  # the link holds it


def _program(sockets: int) -> bytes:
    lines: list[_Line] = [
        (_MOVE, 6, 1, 0, 0),
        (_LOAD_32, 0, 6, _PROTOCOL, 0),
        (_UNLESS_EQUAL, 0, 0, "pass", _TCP),
        (_LOAD_32, 0, 6, _FAMILY, 0),
        (_UNLESS_EQUAL, 0, 0, "ipv6", _IPV4),
        (_LOAD_32, 0, 6, _LOCAL_IP4, 0),
        (_TO_BIG_ENDIAN, 0, 0, 0, 32),
        (_SHIFT_RIGHT, 0, 0, 0, 24),
        (_IF_EQUAL, 0, 0, "pass", 127),
        (_JUMP, 0, 0, "assign", 0),
        "ipv6",  # ::1
        (_LOAD_32, 0, 6, _LOCAL_IP6, 0),
        (_UNLESS_EQUAL, 0, 0, "assign", 0),
        (_LOAD_32, 0, 6, _LOCAL_IP6 + 4, 0),
        (_UNLESS_EQUAL, 0, 0, "assign", 0),
        (_LOAD_32, 0, 6, _LOCAL_IP6 + 8, 0),
        (_UNLESS_EQUAL, 0, 0, "assign", 0),
        (_LOAD_32, 0, 6, _LOCAL_IP6 + 12, 0),
        (_TO_BIG_ENDIAN, 0, 0, 0, 32),
        (_IF_EQUAL, 0, 0, "pass", 1),
        "assign",
        (_STORE_32, _FRAME, 0, -4, 0),
        (_LOAD_MAP, 1, 1, 0, sockets),
        (_MOVE, 2, _FRAME, 0, 0),
        (_ADD, 2, 0, 0, -4),
        (_CALL, 0, 0, 0, _lookup),
        (_IF_EQUAL, 0, 0, "drop", 0),
        (_MOVE, 7, 0, 0, 0),
        (_MOVE, 1, 6, 0, 0),
        (_MOVE, 2, 7, 0, 0),
        (_SET, 3, 0, 0, 0),
        (_CALL, 0, 0, 0, _assign),
        (_MOVE, 8, 0, 0, 0),
        (_MOVE, 1, 7, 0, 0),
        (_CALL, 0, 0, 0, _release),
        (_UNLESS_EQUAL, 8, 0, "drop", 0),
        "pass",
        (_SET, 0, 0, 0, _PASS),
        (_EXIT, 0, 0, 0, 0),
        "drop",
        (_SET, 0, 0, 0, _DROP),
        (_EXIT, 0, 0, 0, 0),
    ]
    return _assemble(lines)


def _assemble(lines: list[_Line]) -> bytes:
    labels: dict[str, int] = {}
    position = 0
    for line in lines:
        if isinstance(line, str):
            labels[line] = position
        else:
            position += _length(line[0])
    program, position = b"", 0
    for line in lines:
        if isinstance(line, str):
            continue
        code, destination, source, offset, operand = line
        distance = labels[offset] - position - 1 if isinstance(offset, str) else offset
        program += struct.pack("=BBhi", code, destination | source << 4, distance, operand)
        program += bytes(8) * (_length(code) - 1)
        position += _length(code)
    return program


def _length(code: int) -> int:
    return 2 if code == _LOAD_MAP else 1


def _load(program: bytes) -> int:
    code = ctypes.create_string_buffer(program, len(program))
    license_text = ctypes.create_string_buffer(_LICENSE)
    head = struct.pack(
        "=IIQQ", _PROGRAM_SK_LOOKUP, len(program) // 8, ctypes.addressof(code), ctypes.addressof(license_text)
    )
    rest = struct.pack("=IIQII16sII", 0, 0, 0, 0, 0, b"isotherm_egress", 0, _ATTACH_SK_LOOKUP)
    return _bpf(_PROGRAM_LOAD, head + rest)


def _bpf(command: int, attributes: bytes) -> int:
    number = _numbers.get(linux.machine)
    if number is None:
        raise OSError(f"BPF is not supported on {linux.machine}")
    words = ctypes.create_string_buffer(attributes.ljust(_ATTRIBUTE_BYTES, b"\0"), _ATTRIBUTE_BYTES)
    result = linux.libc.syscall(ctypes.c_long(number), ctypes.c_long(command), words, ctypes.c_long(_ATTRIBUTE_BYTES))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"bpf command {command}: {os.strerror(code)}")
    return int(result)  # a descriptor that the kernel made close-on-exec; of an update 0, which is none
