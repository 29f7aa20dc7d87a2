"""What one host process has running here, from its first request to its last: a new peer begins with nothing."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable
from typing import Any

from isotherm.warden.egress import EgressDesk
from isotherm.warden.facilities import Facilities
from isotherm.warden.job import Job
from isotherm.warden.nurseries import Nurseries
from isotherm.warden.request import (
    BadRequest,
    CloseTemplate,
    EndJob,
    Kill,
    Prepare,
    ProbeHost,
    RunJob,
    Start,
    parse_request,
)
from isotherm.warden.revision import Revision
from isotherm_runtime.seqpacket import close_all
from isotherm_runtime.seqpacket_async import AsyncChannel

__all__ = ["Session"]

_MAX_REVISIONS = 2048
_MAX_JOBS = 16
_END_TIMEOUT_S = 20.0


class Session:
    """`on_closed` is called once when the host has gone; `end` then ends what it left."""

    def __init__(
        self,
        peer: socket.socket,
        facilities: Facilities,
        nurseries: Nurseries,
        egress: EgressDesk,
        probe: Callable[[], list[dict[str, Any]]],
        on_closed: Callable[[], None],
    ) -> None:
        self._have = facilities
        self._on_closed = on_closed
        self._revisions: dict[str, Revision] = {}
        self._template_of: dict[str, str] = {}
        self._jobs: dict[str, Job] = {}
        self._nurseries = nurseries
        self._egress = egress
        self._probe = probe
        self._empty = asyncio.Event()
        self._channel = AsyncChannel(peer, self._on_message, self._on_channel_closed)

    @property
    def is_open(self) -> bool:
        return self._channel.is_open

    async def end(self) -> None:
        """End everything; returns when nothing is left, or says on stderr what is."""
        self._channel.close()
        for revision in list(self._revisions.values()):
            revision.close("the host process ended")
        for job in list(self._jobs.values()):
            job.end()
        self._note_empty()
        try:
            async with asyncio.timeout(_END_TIMEOUT_S):
                await self._empty.wait()
        except TimeoutError:
            left = ", ".join([*self._revisions, *self._jobs])
            sys.stderr.write(f"warden: not ended within {_END_TIMEOUT_S:g} s: {left}\n")

    def _on_message(self, message: dict[str, Any], descriptors: list[int]) -> None:
        close_all(descriptors)  # the host has none to give
        try:
            self._dispatch(message)
        except BadRequest as exc:
            self._tell({"op": "bad_request", "id": str(message.get("id"))[:32], "why": str(exc)})

    def _dispatch(self, message: dict[str, Any]) -> None:
        request = parse_request(message, self._have.host_dir)
        if isinstance(request, Start):
            self._start(request)
        elif isinstance(request, Kill):
            revision = self._revisions.get(self._template_of.get(request.id, ""))
            if revision is not None:
                revision.kill(request.id)
        elif isinstance(request, Prepare):
            self._prepare(request)
        elif isinstance(request, CloseTemplate):
            if request.id in self._revisions:
                self._revisions[request.id].close("closed", asked=True)
        elif isinstance(request, RunJob):
            self._run(request)
        elif isinstance(request, EndJob):
            if request.id in self._jobs:
                self._jobs[request.id].end()
        else:
            assert isinstance(request, ProbeHost)
            self._tell({"op": "probed", "id": request.id, "checks": self._probe()})

    def _prepare(self, request: Prepare) -> None:
        if request.id in self._revisions:
            raise BadRequest(f"id: {request.id} is in use")
        if len(self._revisions) >= _MAX_REVISIONS:
            raise BadRequest(f"id: {_MAX_REVISIONS} templates are the most at a time")
        self._have.interpreter(request.runtime)
        revision = Revision(request, self._have, self._nurseries, self._egress, self._tell, self._on_revision_gone)
        self._revisions[request.id] = revision
        revision.prepare()

    def _start(self, request: Start) -> None:
        revision = self._revisions.get(request.template)
        if revision is None:
            self._tell({"op": "unstarted", "id": request.id, "why": "the template has ended"})
            return
        if request.id in self._template_of:
            raise BadRequest(f"id: {request.id} is in use")
        self._template_of[request.id] = request.template
        revision.start(request.id)

    def _run(self, request: RunJob) -> None:
        if request.id in self._jobs:
            raise BadRequest(f"id: {request.id} is in use")
        if len(self._jobs) >= _MAX_JOBS:
            raise BadRequest(f"id: {_MAX_JOBS} jobs are the most at a time")
        job = Job(request, self._have, self._tell, self._on_job_gone)
        self._jobs[request.id] = job
        job.start()

    def _tell(self, message: dict[str, Any], descriptors: list[int] | None = None, /) -> None:
        if message["op"] in ("exited", "unstarted"):
            self._template_of.pop(message["id"], None)
        self._channel.send(message, descriptors or [])

    def _on_revision_gone(self, revision: Revision) -> None:
        self._revisions.pop(revision.id, None)
        self._note_empty()

    def _on_job_gone(self, job: Job) -> None:
        self._jobs.pop(job.id, None)
        self._note_empty()

    def _note_empty(self) -> None:
        if not self._revisions and not self._jobs and not self._channel.is_open:
            self._empty.set()

    def _on_channel_closed(self, _reason: str) -> None:
        self._on_closed()
