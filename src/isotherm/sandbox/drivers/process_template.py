"""A template of the `process` driver as the host sees it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable
from typing import Any

import msgspec

from isotherm.base.errors import ImportFailed, IsothermError, NotIsolated, OutOfMemory, TimedOut, Unavailable
from isotherm.sandbox.drivers.output import OutputTail
from isotherm.sandbox.drivers.process_instance import (
    ProcessInstance,
    await_import,
    exit_of,
    import_failure,
    read_number,
)
from isotherm.sandbox.drivers.warden_link import WardenLink
from isotherm.sandbox.model import EgressReport, SandboxSpec, TemplateInfo
from isotherm.sandbox.policy import unforkable
from isotherm.sandbox.port import OnEgress
from isotherm_runtime.seqpacket import close_all

__all__ = ["ProcessTemplate", "preparation_error"]

_START_TIMEOUT_S = 30.0
_BUILD_TIMEOUT_S = 30.0  # beside the import
_CLOSE_TIMEOUT_S = 30.0
_OUTPUT_CHARS = 16 * 1024


class ProcessTemplate:
    """See `isotherm.sandbox.port.Template`. Its driver makes it and calls `prepare` once."""

    def __init__(
        self,
        warden: WardenLink,
        template_id: str,
        spec: SandboxSpec,
        on_egress: OnEgress,
        on_closed: Callable[[ProcessTemplate], None],
    ) -> None:
        loop = asyncio.get_running_loop()
        self.id = template_id
        self.info = TemplateInfo(unfit=(), import_ms=0.0, memory_bytes=0)
        self.closed: asyncio.Future[str] = loop.create_future()
        self._warden = warden
        self._spec = spec
        self._on_egress = on_egress
        self._on_closed = on_closed
        self._prepared: asyncio.Future[None] = loop.create_future()
        self._output = OutputTail(keep=_OUTPUT_CHARS)
        self._memory_file: str | None = None

    async def prepare(self) -> None:
        self._warden.send(self._request(), self._on_message)
        try:
            async with asyncio.timeout(self._spec.init_timeout_s + _BUILD_TIMEOUT_S):
                await self._prepared
        except TimeoutError as exc:
            await self.close()
            raise TimedOut(f"the template was not ready within {self._spec.init_timeout_s:g} s") from exc
        except asyncio.CancelledError:
            self._ask_to_close()
            raise
        except IsothermError as exc:
            await self._until_closed()
            if self._output.text:
                exc.data["output"] = self._output.text
            raise

    async def start(self) -> ProcessInstance:
        if self.closed.done():
            raise Unavailable(f"the template has ended: {self.closed.result()}")
        asked = time.perf_counter()
        starting = _Starting(self._warden, self._warden.new_id("i"))
        self._warden.send({"op": "start", "id": starting.id, "template": self.id}, starting.on_message)
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                instance = await starting.answer
        except TimeoutError as exc:
            starting.abandon()
            raise Unavailable(f"no instance was started within {_START_TIMEOUT_S:g} s") from exc
        except asyncio.CancelledError:
            starting.abandon()
            raise
        instance.start_steps_ms["total"] = (time.perf_counter() - asked) * 1000
        if not self._spec.template or self.info.unfit:
            await self._until_imported(instance)
        return instance

    async def close(self) -> None:
        self._ask_to_close()
        await self._until_closed()

    def memory_bytes(self) -> int:
        return 0 if self._memory_file is None else read_number(self._memory_file)

    async def _until_imported(self, instance: ProcessInstance) -> None:
        limits = self._spec.limits
        try:
            await await_import(instance, limits.memory_bytes, self._spec.init_timeout_s)
        except BaseException:
            instance.kill()
            instance.stream.close()
            os.close(instance.output)
            raise

    def _request(self) -> dict[str, Any]:
        spec, limits = self._spec, self._spec.limits
        return {
            "op": "prepare",
            "id": self.id,
            "tenant": _namespace(spec.function_arn),
            "runtime": spec.runtime,
            "code_dir": spec.code_dir,
            "deps_dir": spec.deps_dir,
            "layers_dir": spec.layers_dir,
            "config": spec.runtime_config().to_json().decode(),
            "template": spec.template,
            "threads": spec.threads,
            "init_timeout_s": spec.init_timeout_s,
            "egress": None if spec.egress is None else msgspec.json.encode(spec.egress).decode(),
            "memory_bytes": limits.memory_bytes,
            "cpus": limits.cpus,
            "pids": limits.pids,
            "tmp_bytes": limits.tmp_bytes,
            "revision_memory_bytes": limits.revision_memory_bytes,
            "revision_pids": limits.revision_pids,
        }

    def _ask_to_close(self) -> None:
        if not self.closed.done():
            with contextlib.suppress(Unavailable):  # without a warden it has ended already
                self._warden.send({"op": "close", "id": self.id})

    async def _until_closed(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await asyncio.shield(self.closed)
        except TimeoutError as exc:
            raise Unavailable(f"the template was not ended within {_CLOSE_TIMEOUT_S:g} s") from exc

    def _on_message(self, message: dict[str, Any], descriptors: list[int]) -> None:
        operation = message["op"]
        if operation == "output":
            self._output.follow(descriptors.pop())
        elif operation == "prepared":
            self._memory_file = message["memory_file"]
            self.info = TemplateInfo(
                unfit=unforkable(self._spec.runtime) or tuple(message["unfit"]),
                import_ms=message["import_ms"],
                memory_bytes=message["memory_bytes"],
            )
            if not self._prepared.done():
                self._prepared.set_result(None)
        elif operation == "egress":
            self._on_egress(_egress_report(message))
        elif operation in ("unprepared", "bad_request"):
            self._refuse(preparation_error(message))
            if operation == "bad_request":
                self._end(str(message["why"]))
        elif operation in ("closed", "lost"):
            self._refuse(Unavailable("the template was ended"))
            self._end(str(message.get("reason", "the warden ended")))
        close_all(descriptors)

    def _refuse(self, error: IsothermError) -> None:
        if not self._prepared.done():
            self._prepared.set_exception(error)
            self._prepared.exception()  # looked at, even where nobody waits any more

    def _end(self, reason: str) -> None:
        self._output.close()
        self._warden.forget(self.id)
        if self._spec.egress is not None:
            self._on_egress(EgressReport())  # nothing of it is open any more
        if not self.closed.done():
            self.closed.set_result(reason)
        self._on_closed(self)


class _Starting:
    """One start, from the request to the instance's end."""

    def __init__(self, warden: WardenLink, instance_id: str) -> None:
        self.id = instance_id
        self.answer: asyncio.Future[ProcessInstance] = asyncio.get_running_loop().create_future()
        self._warden = warden
        self._instance: ProcessInstance | None = None
        self._abandoned = False

    def abandon(self) -> None:
        """Nobody waits any more: end it, now or when it comes."""
        self._abandoned = True
        with contextlib.suppress(Unavailable):
            self._warden.send({"op": "kill", "id": self.id})
        if self._instance is not None:
            self._instance.stream.close()
            close_all([self._instance.output])

    def on_message(self, message: dict[str, Any], descriptors: list[int]) -> None:
        operation = message["op"]
        if operation == "started" and len(descriptors) == 2 and not self._abandoned:
            stream = socket.socket(fileno=descriptors[0])
            stream.setblocking(False)
            self._instance = ProcessInstance(self._warden, message, stream, descriptors[1])
            if self.answer.cancelled():
                self.abandon()
            else:
                self.answer.set_result(self._instance)
            return
        close_all(descriptors)
        if operation in ("exited", "lost", "unstarted", "bad_request"):
            self._warden.forget(self.id)
            if self._instance is not None:
                self._instance.end(exit_of(message))
            elif not self.answer.done():
                self.answer.set_exception(Unavailable(str(message.get("why", "the warden ended"))))


def _egress_report(message: dict[str, Any]) -> EgressReport:
    return EgressReport(
        opened=message["opened"],
        refused=message["refused"],
        open=message["open"],
        sent_bytes=message["sent_bytes"],
        received_bytes=message["received_bytes"],
        lines=tuple(message["lines"]),
    )


def _namespace(arn: str) -> str:
    """The namespace in `arn:aws:lambda:REGION:NAMESPACE:function:NAME`."""
    parts = arn.split(":")
    return parts[4] if len(parts) > 4 and parts[4] else "default"


def preparation_error(message: dict[str, Any]) -> IsothermError:
    """What the warden says went wrong, as an error of the tree."""
    code, why = message.get("code"), str(message.get("why"))
    if code == "import_failed":
        return import_failure(message.get("head") or {})
    if code == "not_isolated":
        return NotIsolated(why, missing=["egress"])
    if code == "out_of_memory":
        return OutOfMemory(why)
    if code == "timed_out":
        return TimedOut(why)
    if code == "died":
        return ImportFailed(why, error_type="Runtime.ExitError", error_message=why, stack_trace=[])
    return Unavailable(why)
