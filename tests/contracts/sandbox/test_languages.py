"""The promises of the port where the code is no Python: front ends that begin in the instance (process driver)."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from isotherm.base.errors import ImportFailed
from isotherm.base.runtimes import find_node
from isotherm.sandbox.model import SandboxLimits, SandboxSpec
from isotherm.sandbox.port import Template
from isotherm_runtime.frames import Kind
from tests.conftest import require
from tests.contracts.sandbox.client import TIME_LIMIT_S, Client, Ended
from tests.contracts.sandbox.harness import Harness, make_spec, missing, open_harness

pytestmark = pytest.mark.root

# One function in each language. It echoes, and does what `do` says: crash, hoard, look around.
FILES = {
    "nodejs": {
        "index.js": """
const fs = require('node:fs');
console.log('imported');
exports.handler = async (event) => {
  console.log('called');
  if (event.do === 'crash') process.exit(3);
  if (event.do === 'hoard') for (const all = []; ;) all.push(Buffer.alloc(8 << 20, 1));
  if (event.do === 'look') return {
    status: fs.readFileSync('/proc/self/status', 'utf8'), root: fs.readdirSync('/'),
    network: fs.readFileSync('/proc/net/dev', 'utf8'),
    write: attempt(() => fs.writeFileSync('/code/x', '')),
  };
  return event;
};
function attempt(action) { try { action(); return ''; } catch (error) { return error.code; } }
"""
    },
    "provided": {
        "bootstrap": """#!/usr/bin/env python3
import http.client, json, os
print("imported", flush=True)
api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
def attempt(action):
    try:
        action()
        return ""
    except OSError as exc:
        return {30: "EROFS"}.get(exc.errno, str(exc))
while True:
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    answer = api.getresponse()
    event, call = json.loads(answer.read()), answer.headers["Lambda-Runtime-Aws-Request-Id"]
    print("called", flush=True)
    if isinstance(event, dict) and event.get("do") == "crash":
        os._exit(3)
    if isinstance(event, dict) and event.get("do") == "hoard":
        hoard = []
        while True:
            hoard.append(b"x" * (8 << 20))
    if isinstance(event, dict) and event.get("do") == "look":
        event = {"status": open("/proc/self/status").read(), "root": os.listdir("/"),
                 "network": open("/proc/net/dev").read(),
                 "write": attempt(lambda: open("/code/x", "w"))}
    api.request("POST", f"/2018-06-01/runtime/invocation/{call}/response", json.dumps(event))
    api.getresponse().read()
"""
    },
}


@pytest.fixture(params=list(FILES))
def language(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    require(found != "nodejs" or find_node() is not None, "needs Node.js 18 or newer")
    return found


@pytest.fixture
async def harness(data_dir: Path) -> AsyncIterator[Harness]:
    reason = missing("process")
    require(reason is None, reason or "")
    async with open_harness("process", data_dir) as opened:
        yield opened


def spec_of(folder: Path, language: str, files: dict[str, str] | None = None, **changes: Any) -> SandboxSpec:
    node = find_node()
    runtime = node.name if language == "nodejs" and node is not None else "provided"
    spec = make_spec(folder, "", runtime=runtime, handler="index.handler", **({"template": False} | changes))
    for name, text in (FILES[language] if files is None else files).items():
        (Path(spec.code_dir) / name).write_text(text)
        (Path(spec.code_dir) / name).chmod(0o755)
    return spec


@pytest.fixture
async def template(harness: Harness, data_dir: Path, language: str) -> AsyncIterator[Template]:
    made = await harness.driver.prepare(spec_of(data_dir, language))
    yield made
    await made.close()


async def test_it_says_why_its_instances_are_no_forks(template: Template) -> None:
    assert len(template.info.unfit) == 1


async def test_an_instance_answers_and_a_kill_ends_it(template: Template) -> None:
    async with Client(await template.start()) as client:
        assert (await client.started())["v"] == 1
        for event in ({"a": [1, "ä", None]}, "text", None):
            if event is not None or template.info.unfit[0].startswith("its bootstrap"):
                assert (await client.invoke(event or {})).value == (event or {})
        assert (await client.http("POST", "/x", body=b"hi")).value["rawPath"] == "/x"
        client.instance.kill()
        assert (await asyncio.wait_for(client.instance.exited, TIME_LIMIT_S)).asked


async def test_an_instance_is_confined_as_one_of_python_is(template: Template) -> None:
    async with Client(await template.start()) as client:
        found = (await client.invoke({"do": "look"})).value
    status = dict(line.split(":\t", 1) for line in found["status"].splitlines() if ":\t" in line)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["Uid"].split() == ["1000"] * 4
    assert [line.split(":")[0].strip() for line in found["network"].splitlines()[2:]] == ["lo"]
    assert found["write"] == "EROFS"
    assert {"code", "tmp", "usr"} <= set(found["root"])
    assert not {"home", "srv", "var"} & set(found["root"])


async def test_a_crash_closes_the_stream_and_tells_the_status(template: Template) -> None:
    async with Client(await template.start()) as client:
        with pytest.raises(Ended):
            await client.invoke({"do": "crash"})
        ended = await asyncio.wait_for(client.instance.exited, TIME_LIMIT_S)
        assert (ended.status, ended.asked, ended.out_of_memory) == (3, False, False)


async def test_an_instance_over_its_memory_dies_alone_and_says_so(template: Template) -> None:
    async with Client(await template.start()) as hungry, Client(await template.start()) as other:
        with pytest.raises(Ended):
            await hungry.invoke({"do": "hoard"})
        ended = await asyncio.wait_for(hungry.instance.exited, TIME_LIMIT_S)
        assert (ended.out_of_memory, ended.asked) == (True, False)
        assert (await other.invoke({"fine": 1})).value == {"fine": 1}


async def test_drain_ends_an_idle_instance_with_0(template: Template) -> None:
    async with Client(await template.start()) as client:
        await client.started()
        client.send(Kind.DRAIN, 0)
        assert (await asyncio.wait_for(client.instance.exited, TIME_LIMIT_S)).status == 0


async def test_output_is_told_with_its_call(template: Template) -> None:
    async with Client(await template.start()) as client:
        await client.invoke({})
        assert client.lines_of(1) == ["called"]
        assert client.lines_of(0) == ["imported"]


async def test_closing_a_template_ends_its_instances(template: Template) -> None:
    async with Client(await template.start()) as one, Client(await template.start()) as two:
        await asyncio.gather(one.started(), two.started())
        await asyncio.wait_for(template.close(), TIME_LIMIT_S)
        assert one.instance.exited.done()
        assert two.instance.exited.done()


BROKEN = {
    "nodejs": ({"index.js": "require('nothing-here')"}, "Runtime.ImportModuleError", "nothing-here"),
    "provided": ({"bootstrap": "#!/bin/sh\nexit 3\n"}, "Runtime.ExitError", "exited with status 3"),
}


async def test_what_cannot_begin_says_why(harness: Harness, data_dir: Path, language: str) -> None:
    files, error_type, words = BROKEN[language]
    template = await harness.driver.prepare(spec_of(data_dir, language, files))
    with pytest.raises(ImportFailed) as caught:
        await template.start()
    await template.close()
    assert caught.value.data["error_type"] == error_type
    assert words in caught.value.data["error_message"]
    assert "isotherm_runtime" not in json.dumps(caught.value.data["stack_trace"])


async def test_much_printed_before_it_can_be_called_holds_nothing_up(
    harness: Harness, data_dir: Path, language: str
) -> None:
    loud = {
        "nodejs": {
            "index.js": "for (let i = 0; i < 99; i++) console.log('x'.repeat(9999)); exports.handler = () => 1;"
        },
        "provided": {"bootstrap": FILES["provided"]["bootstrap"].replace('"imported"', '"x" * 999_999')},
    }[language]
    template = await harness.driver.prepare(spec_of(data_dir, language, loud, log_limit_bytes=1 << 20))
    async with Client(await template.start()) as client:
        await client.started()
        assert (await client.invoke({})).value in (1, {})
    await template.close()


async def test_dependencies_are_found_beside_the_code(harness: Harness, data_dir: Path) -> None:
    require(find_node() is not None, "needs Node.js 18 or newer")
    module = data_dir / "deps" / "node_modules" / "word"
    module.mkdir(parents=True)
    (module / "package.json").write_text('{"name": "word", "main": "main.js"}')
    (module / "main.js").write_text("module.exports = 'here';")
    code = "import word from 'word'; import { createRequire } from 'node:module';\n"
    code += "export const handler = () => [word, createRequire(import.meta.url)('word')];"
    spec = spec_of(data_dir, "nodejs", {"index.mjs": code}, deps_dir=str(data_dir / "deps"))
    template = await harness.driver.prepare(spec)
    async with Client(await template.start()) as client:
        assert (await client.invoke({})).value == ["here", "here"]
    await template.close()


async def test_few_processes_are_enough_for_nodejs(harness: Harness, data_dir: Path) -> None:
    require(find_node() is not None, "needs Node.js 18 or newer")
    least = SandboxLimits(
        memory_bytes=128 << 20, cpus=0.5, pids=25, tmp_bytes=1 << 20, revision_memory_bytes=1 << 30, revision_pids=512
    )
    template = await harness.driver.prepare(spec_of(data_dir, "nodejs", limits=least))
    async with Client(await template.start()) as client:
        assert (await client.invoke({"a": 1})).value == {"a": 1}
    await template.close()
