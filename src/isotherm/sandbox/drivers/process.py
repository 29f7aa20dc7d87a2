"""The `process` driver: instances are forks of the revision's template, made by the warden on this machine.

It runs in the host process, unprivileged, and only asks: what root does, the warden does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from isotherm.base.errors import NotIsolated, Unavailable
from isotherm.sandbox.drivers.output import OutputTail
from isotherm.sandbox.drivers.process_instance import exit_of
from isotherm.sandbox.drivers.process_template import ProcessTemplate
from isotherm.sandbox.drivers.warden_link import WardenLink
from isotherm.sandbox.model import CheckResult, JobResult, JobSpec, Probe, SandboxSpec
from isotherm.sandbox.port import OnEgress

__all__ = ["ProcessDriver", "WardenLink"]

_REPLY_TIMEOUT_S = 30.0
_CONNECT_TIMEOUT_S = 10.0


class ProcessDriver:
    """`ProcessDriver(WardenLink(fd))`. `allow_unisolated`: run code even where the probe finds something missing."""

    name = "process"

    def __init__(self, warden: WardenLink, *, allow_unisolated: bool = False) -> None:
        self._warden = warden
        self._allow_unisolated = allow_unisolated
        self._templates: set[ProcessTemplate] = set()
        self._probe: Probe | None = None

    async def probe(self) -> Probe:
        """Raises `Unavailable`."""
        await self._warden.connected(_CONNECT_TIMEOUT_S)
        message = await self._ask({"op": "probe", "id": self._warden.new_id("p")}, {"probed"})
        checks = tuple(
            CheckResult(
                str(check["name"]),
                bool(check["ok"]),
                str(check["detail"]),
                str(check["enforced"]),
                bool(check["needed"]),
            )
            for check in message["checks"]
        )
        self._probe = Probe(self.name, checks)
        return self._probe

    async def prepare(self, spec: SandboxSpec, on_egress: OnEgress = lambda _report: None) -> ProcessTemplate:
        await self._refuse_unisolated()
        template = ProcessTemplate(self._warden, self._warden.new_id("t"), spec, on_egress, self._templates.discard)
        self._templates.add(template)
        await template.prepare()
        return template

    async def run(self, job: JobSpec, on_output: Callable[[str], None]) -> JobResult:
        """`argv[0]` "python" stands for the interpreter inside. `read_only` may name what lies below DATA/host, and
        the folder of the `pip` package that the platform itself uses."""
        await self._refuse_unisolated()
        tail = OutputTail(on_output)
        request = {
            "op": "run",
            "id": self._warden.new_id("j"),
            "argv": list(job.argv),
            "env": job.env,
            "read_only": job.read_only,
            "out_dir": job.out_dir,
            "memory_bytes": job.memory_bytes,
            "pids": job.pids,
            "tmp_bytes": job.tmp_bytes,
            "timeout_s": job.timeout_s,
        }
        try:
            done = await self._ask(request, {"done"}, job.timeout_s + _REPLY_TIMEOUT_S, on_descriptor=tail.follow)
        except asyncio.CancelledError:
            if self._warden.is_connected:
                self._warden.send({"op": "end", "id": request["id"]})
            raise
        finally:
            await tail.finish()
        if "why" in done:
            raise Unavailable(str(done["why"]))
        return JobResult(exit=exit_of(done), output=tail.text, timed_out=bool(done["timed_out"]))

    async def close(self) -> None:
        await asyncio.gather(*(template.close() for template in list(self._templates)))

    async def _refuse_unisolated(self) -> None:
        await self._warden.connected(_CONNECT_TIMEOUT_S)
        if self._allow_unisolated:
            return
        found = self._probe or await self.probe()
        if not found.isolated:
            raise NotIsolated(
                f"this host cannot isolate code ({'; '.join(found.missing)}). `isotherm doctor` says more; "
                "`isotherm up --allow-unisolated` runs it nevertheless",
                missing=list(found.missing),
            )

    async def _ask(
        self,
        request: dict[str, Any],
        answers: set[str],
        timeout_s: float = _REPLY_TIMEOUT_S,
        on_descriptor: Callable[[int], None] | None = None,
    ) -> dict[str, Any]:
        """One request, one answer. Raises `Unavailable`."""
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

        def receive(message: dict[str, Any], descriptors: list[int]) -> None:
            if message["op"] == "output" and on_descriptor is not None:
                on_descriptor(descriptors.pop())
            elif not answer.done():
                answer.set_result(message)

        self._warden.send(request, receive)
        try:
            async with asyncio.timeout(timeout_s):
                message = await answer
        except TimeoutError as exc:
            raise Unavailable(f"the warden did not answer within {timeout_s:g} s") from exc
        finally:
            self._warden.forget(request["id"])
        if message["op"] not in answers:
            raise Unavailable(f"the warden did not do it: {message.get('why', 'it ended')}")
        return message
