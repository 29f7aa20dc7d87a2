"""A pool over the fake driver: functions from source text, a clock that tests move on, calls that can be awaited."""

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec

from isotherm.base.clock import SystemClock
from isotherm.base.errors import IsothermError
from isotherm.base.settings import Settings
from isotherm.invocations.recorder import Recorder
from isotherm.pool.call import Answer as PoolAnswer
from isotherm.pool.call import Call
from isotherm.pool.model import limits_from
from isotherm.pool.revision import RevisionPool
from isotherm.pool.service import Pool
from isotherm.pool.templates import DriverSlot
from isotherm.sandbox.drivers.fake import FakeDriver
from isotherm.sandbox.model import SandboxLimits, SandboxSpec
from isotherm.wire.desired import RevisionSpec, WarmSpec

MIB = 1 << 20
ECHO = "def handler(event, context):\n    return event\n"
WAIT_S = 10.0


class MovableClock:
    """Real time, plus what a test has skipped."""

    def __init__(self) -> None:
        self.skipped_s = 0.0

    def now(self) -> float:
        return time.monotonic() + self.skipped_s

    def skip(self, seconds: float) -> None:
        self.skipped_s += seconds


class Answer:
    """The sink of one call."""

    def __init__(self, bench: "PoolBench") -> None:
        self._bench = bench
        self.done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.call: Call
        self.pieces: bytes | None = None  # of an answer that comes in pieces
        self.stream: PoolAnswer
        self.takes = True  # False: the pieces are not taken, so no more are granted

    def answered(self, _call: Call, _flags: int, _head: bytes, body: bytes, _now_s: float) -> int:
        self.done.set_result(msgspec.json.decode(body))
        return 200

    def failed(self, _call: Call, error: IsothermError, _now_s: float) -> int:
        self.done.set_exception(error)
        return error.status

    def begun(self, _call: Call, answer: PoolAnswer, _flags: int, _head: bytes, _now_s: float) -> "Answer":
        self.pieces = b""
        self.stream = answer
        return self

    def piece(self, body: bytes) -> None:
        self.pieces += body
        if self.takes:
            self.stream.taken(len(body))

    def ended(self, _call: Call, _now_s: float) -> int:
        self.done.set_result(self.pieces)
        return 200

    async def value(self) -> Any:
        """What the handler returned. Raises what the call failed with."""
        async with asyncio.timeout(WAIT_S):
            return await self.done


class PoolBench:
    """Also the pool's source of materials."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.clock = MovableClock()
        self.driver = FakeDriver()
        self.recorder = Recorder(SystemClock())
        self.referenced = True
        self.drivers = DriverSlot()
        limits = limits_from(Settings(**({"sample_rate": 0.0} | settings)), 8 << 30)
        self.pool = Pool(limits, self.recorder, self, self.drivers, SystemClock(), self.clock.now)
        self.pool.attach(self.driver)
        self._code: dict[str, Path] = {}
        self._numbers = 0
        self._ticking = asyncio.create_task(self._tick())

    async def sandbox_spec(self, revision: RevisionSpec) -> SandboxSpec:
        return SandboxSpec(
            revision_id=revision.id,
            runtime=revision.runtime,
            handler=revision.handler,
            code_dir=str(self._code[revision.id]),
            deps_dir=None,
            env=revision.env,
            limits=SandboxLimits(
                memory_bytes=revision.memory_mb * MIB,
                cpus=1.0,
                pids=32,
                tmp_bytes=16 * MIB,
                revision_memory_bytes=1 << 30,
                revision_pids=1000,
            ),
            timeout_s=revision.timeout_s,
            init_timeout_s=revision.init_timeout_s,
            concurrency=revision.concurrency,
            dispatch=revision.dispatch,
            template=revision.warm.template,
            threads=1,
            log_limit_bytes=64 * 1024,
            function_name=revision.name,
            function_version=str(revision.number),
            function_arn=f"arn:aws:lambda:local:{revision.namespace}:function:{revision.name}",
            memory_mb=revision.memory_mb,
            region="local",
            request_body=revision.request_body,
        )

    def spec(self, code: str = ECHO, *, warm: dict[str, Any] | None = None, **changes: Any) -> RevisionSpec:
        """A revision of this source text. Without spares, unless `warm` says otherwise."""
        self._numbers += 1
        name = changes.pop("name", f"f{self._numbers}")
        values: dict[str, Any] = {
            "id": f"rev_{self._numbers}",
            "workload_id": f"wl_{name}",
            "namespace": "default",
            "name": name,
            "number": 1,
            "runtime": "python3.11",
            "handler": "app.handler",
            "package": "0" * 64,
            "warm": WarmSpec(**({"spare": 0} | (warm or {}))),
        }
        spec = RevisionSpec(**(values | changes))
        place = self.folder / spec.id
        place.mkdir(parents=True)
        (place / "app.py").write_text(code)
        self._code[spec.id] = place
        return spec

    def revision(self, code: str = ECHO, **changes: Any) -> RevisionPool:
        return self.pool.revision(self.spec(code, **changes))

    def call(self, revision: RevisionPool, event: Any = None) -> Answer:
        """Submit a call; await its `value()`."""
        self._numbers += 1
        answer = Answer(self)
        call_id = f"call-{self._numbers}"
        head = msgspec.json.encode([call_id, None])
        answer.call = Call(call_id, 0, head, msgspec.json.encode(event), answer, self.clock.now())
        revision.submit(answer.call, answer.call.arrived_s)
        return answer

    async def until(self, condition: Any, what: str = "it") -> None:
        """Wait until a condition holds."""
        try:
            async with asyncio.timeout(WAIT_S):
                while not condition():
                    await asyncio.sleep(0.002)
        except TimeoutError:
            raise AssertionError(f"{what} did not happen within {WAIT_S:g} s") from None

    def maintain(self) -> None:
        """What the host does every second."""
        self.pool.maintain(lambda _: self.referenced)

    async def close(self) -> None:
        self._ticking.cancel()
        await self.pool.close()
        await self.driver.close()
        await self.until(lambda: not self.driver.instances, "the end of all instances")

    async def _tick(self) -> None:
        while True:
            self.pool.tick()
            await asyncio.sleep(0.005)
