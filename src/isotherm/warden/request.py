"""What the host may ask of the warden, parsed, typed and bounded: nothing that root does depends on more than this.

The host process is trusted less than root: whoever takes it over must not become root by these messages. Paths must
lie below DATA/host (they are opened through no symbolic link, see `tree`), names and numbers within their bounds.
"""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "BadRequest",
    "CloseTemplate",
    "EndJob",
    "Kill",
    "Limits",
    "Prepare",
    "ProbeHost",
    "Request",
    "RunJob",
    "Start",
    "parse_request",
]

_template_id, _instance_id = re.compile(r"t[0-9]{1,12}\Z"), re.compile(r"i[0-9]{1,12}\Z")
_job_id, _probe_id = re.compile(r"j[0-9]{1,12}\Z"), re.compile(r"p[0-9]{1,12}\Z")
_runtime = re.compile(r"(?:python3\.[0-9]{1,2}|nodejs[0-9]{1,3}|provided)\Z")
_tenant = re.compile(r"[a-z0-9-]{1,63}\Z")
_variable = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_inside = re.compile(r"/(?:code|deps|in|opt)(?:/[A-Za-z0-9._@+-]{1,128}){0,8}\Z|/etc/(?:pip\.conf|npmrc)\Z")

_MIB, _GIB = 1 << 20, 1 << 30
_MAX_CONFIG_BYTES = 128 * 1024
_MAX_EGRESS_BYTES = 32 * 1024
_MAX_PATH = 1024


class BadRequest(ValueError):
    """The host asked for what it may not; the message names the field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    memory_bytes: int
    cpus: float
    pids: int
    tmp_bytes: int
    revision_memory_bytes: int
    revision_pids: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    id: str
    tenant: str  # whose interpreter it is forked from
    runtime: str
    code_dir: str  # relative to DATA/host
    deps_dir: str | None
    layers_dir: str | None
    config: str
    template: bool
    threads: int
    init_timeout_s: float
    egress: str | None  # JSON of what is allowed, for the egress process; None: no network
    limits: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    id: str
    template: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseTemplate:
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunJob:
    id: str
    argv: tuple[str, ...]
    env: dict[str, str]
    read_only: tuple[tuple[str, str], ...]  # (host path, path inside); the host path is checked where it is opened
    out_dir: str  # relative to DATA/host
    memory_bytes: int
    pids: int
    tmp_bytes: int
    timeout_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EndJob:
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeHost:
    id: str


Request = Prepare | Start | Kill | CloseTemplate | RunJob | EndJob | ProbeHost


def parse_request(message: dict[str, Any], host_dir: str) -> Request:
    """`host_dir` is DATA/host, absolute. Raises `BadRequest`."""
    fields = _Fields(message)
    operation = fields.text("op", 16)
    parser = _parsers.get(operation)
    if parser is None:
        raise BadRequest(f"op: {operation!r} is none of {', '.join(_parsers)}")
    return parser(fields, host_dir)


def _prepare(fields: _Fields, host_dir: str) -> Prepare:
    deps = fields.optional_text("deps_dir", _MAX_PATH)
    layers = fields.optional_text("layers_dir", _MAX_PATH)
    return Prepare(
        id=fields.match("id", _template_id),
        tenant=fields.match("tenant", _tenant),
        runtime=fields.match("runtime", _runtime),
        code_dir=_relative("code_dir", fields.text("code_dir", _MAX_PATH), host_dir),
        deps_dir=None if deps is None else _relative("deps_dir", deps, host_dir),
        layers_dir=None if layers is None else _relative("layers_dir", layers, host_dir),
        config=fields.text("config", _MAX_CONFIG_BYTES),
        template=fields.boolean("template"),
        threads=fields.integer("threads", 1, 256),
        init_timeout_s=fields.number("init_timeout_s", 0.1, 900),
        egress=fields.optional_text("egress", _MAX_EGRESS_BYTES),
        limits=Limits(
            memory_bytes=fields.integer("memory_bytes", 16 * _MIB, 1024 * _GIB),
            cpus=fields.number("cpus", 0.01, 1024),
            pids=fields.integer("pids", 4, 32768),
            tmp_bytes=fields.integer("tmp_bytes", 64 * 1024, 64 * _GIB),
            revision_memory_bytes=fields.integer("revision_memory_bytes", 16 * _MIB, 4096 * _GIB),
            revision_pids=fields.integer("revision_pids", 8, 1 << 20),
        ),
    )


def _run(fields: _Fields, host_dir: str) -> RunJob:
    read_only = fields.mapping("read_only", 16)
    for inside in read_only.values():
        if len(inside) > 256 or not _inside.match(inside) or ".." in inside.split("/"):
            raise BadRequest(f"read_only: {inside!r} is no place for a read-only bind")
    env = fields.mapping("env", 128)
    for name, value in env.items():
        if not _variable.match(name) or len(value) > 16 * 1024 or "\0" in value:
            raise BadRequest(f"env: {name[:64]!r} is no name or value of a variable")
    return RunJob(
        id=fields.match("id", _job_id),
        argv=fields.texts("argv", 1, 512),
        env=env,
        read_only=tuple(read_only.items()),
        out_dir=_relative("out_dir", fields.text("out_dir", _MAX_PATH), host_dir),
        memory_bytes=fields.integer("memory_bytes", 16 * _MIB, 1024 * _GIB),
        pids=fields.integer("pids", 4, 32768),
        tmp_bytes=fields.integer("tmp_bytes", 64 * 1024, 64 * _GIB),
        timeout_s=fields.number("timeout_s", 0.1, 6 * 3600),
    )


def _start(fields: _Fields, _: str) -> Start:
    return Start(id=fields.match("id", _instance_id), template=fields.match("template", _template_id))


_parsers: dict[str, Callable[[_Fields, str], Request]] = {
    "prepare": _prepare,
    "start": _start,
    "kill": lambda fields, _: Kill(id=fields.match("id", _instance_id)),
    "close": lambda fields, _: CloseTemplate(id=fields.match("id", _template_id)),
    "run": _run,
    "end": lambda fields, _: EndJob(id=fields.match("id", _job_id)),
    "probe": lambda fields, _: ProbeHost(id=fields.match("id", _probe_id)),
}


def relative_path(path: str, host_dir: str) -> str | None:
    """`path` relative to `host_dir`; None where it is not strictly below it by its text."""
    prefix = host_dir.rstrip("/") + "/"
    if "\0" in path or not path.startswith(prefix) or posixpath.normpath(path) != path:
        return None
    return path[len(prefix) :] or None


def _relative(name: str, path: str, host_dir: str) -> str:
    relative = relative_path(path, host_dir)
    if relative is None:
        raise BadRequest(f"{name}: {path[:200]!r} is not below {host_dir}")
    return relative


class _Fields:
    """Typed access to a message's fields. Each raises `BadRequest` naming the field."""

    def __init__(self, message: dict[str, Any]) -> None:
        self._message = message

    def text(self, name: str, longest: int) -> str:
        value = self._message.get(name)
        if not isinstance(value, str) or not value or len(value) > longest:
            raise BadRequest(f"{name}: not a text of 1 to {longest} characters")
        return value

    def optional_text(self, name: str, longest: int) -> str | None:
        return None if self._message.get(name) is None else self.text(name, longest)

    def match(self, name: str, pattern: re.Pattern[str]) -> str:
        value = self._message.get(name)
        if not isinstance(value, str) or not pattern.match(value):
            raise BadRequest(f"{name}: does not match {pattern.pattern}")
        return value

    def boolean(self, name: str) -> bool:
        value = self._message.get(name)
        if not isinstance(value, bool):
            raise BadRequest(f"{name}: not true or false")
        return value

    def integer(self, name: str, least: int, most: int) -> int:
        value = self._message.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise BadRequest(f"{name}: not a whole number from {least} to {most}")
        return value

    def number(self, name: str, least: float, most: float) -> float:
        value = self._message.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise BadRequest(f"{name}: not a number")
        if not least <= value <= most:
            raise BadRequest(f"{name}: not from {least} to {most}")
        return float(value)

    def texts(self, name: str, least: int, most: int) -> tuple[str, ...]:
        value = self._message.get(name)
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise BadRequest(f"{name}: not a list of {least} to {most} texts")
        if not all(isinstance(item, str) and len(item) <= 4096 and "\0" not in item for item in value):
            raise BadRequest(f"{name}: holds what is no text of at most 4096 characters")
        return tuple(value)

    def mapping(self, name: str, most: int) -> dict[str, str]:
        value = self._message.get(name)
        if not isinstance(value, dict) or len(value) > most:
            raise BadRequest(f"{name}: not an object of at most {most} members")
        if not all(isinstance(item, str) for item in value.values()):
            raise BadRequest(f"{name}: holds what is no text")
        return dict(value)
