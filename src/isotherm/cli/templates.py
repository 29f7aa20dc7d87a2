"""What `isotherm init` makes, by template. `@NAME@` stands for the function's name."""

from dataclasses import dataclass, field

__all__ = ["DEFAULT", "TEMPLATES", "Template"]

DEFAULT = "python"

_MANIFEST = """name = "@NAME@"
%smemory_mb = %d
timeout_s = 30
"""
_GREETING = """
[env]
GREETING = "Hello"

[warm]
spare = 1
"""
_EVENT = '{"name": "you"}\n'
_HELLO = '{\n  "contains": {"message": "Hello, you!"},\n  "log": ["greeting you"],\n  "max_ms": 1000\n}\n'
_NOBODY = '{\n  "error": {"type": "%s", "message": "name"}\n}\n'
_EVENTS = {"events/hello.json": _EVENT, "events/hello.expect.json": _HELLO, "events/nobody.json": '{"name": ""}\n'}
_IGNORED = "# Left out of the package, besides what .gitignore files usually name.\nevents/\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """`files` by name. `example`: the example whose files it takes, besides. `build`: what has to be run before a
    deploy."""

    about: str
    runtime: str
    files: dict[str, str]
    executable: frozenset[str] = frozenset()
    example: str | None = None
    taken: tuple[str, ...] = field(default=())
    build: str | None = None


PYTHON = Template(
    about="Python: handler(event, context)",
    runtime="python",
    files={
        "isotherm.toml": _MANIFEST % ('handler = "app.handler"\n', 256) + _GREETING,
        "app.py": '''"""A function: what it returns is the answer, as JSON."""

import os


def handler(event, context):
    """`event` is what the caller sent; `context` knows the request id and the time that is left."""
    name = event.get("name", "world")
    if not name:
        raise ValueError("the event has an empty name")
    print(f"greeting {name}")
    return {"message": f"{os.environ['GREETING']}, {name}!", "request_id": context.aws_request_id}
''',
        **_EVENTS,
        "events/nobody.expect.json": _NOBODY % "ValueError",
        "test_app.py": '''"""Runs without the platform: `python -m unittest`. With it: `isotherm test` runs events/."""

import json
import os
import types
import unittest
from pathlib import Path

from app import handler


class HandlerTest(unittest.TestCase):
    def test_greets_by_name(self):
        os.environ["GREETING"] = "Hello"
        event = json.loads((Path(__file__).parent / "events" / "hello.json").read_text())
        answer = handler(event, types.SimpleNamespace(aws_request_id="test"))
        self.assertEqual(answer["message"], "Hello, you!")
''',
        ".isothermignore": _IGNORED + "test_*.py\n",
        ".gitignore": "__pycache__/\n*.py[cod]\n.venv/\n.pytest_cache/\n.env\n",
    },
)

_NODE_TEST = """// Runs without the platform: `node --test`. `isotherm test` runs events/ on it.

%s
test('greets by name', async () => {
  process.env.GREETING = 'Hello';
  const event = JSON.parse(%s);
  const answer = await handler(event, { awsRequestId: 'test' });
  assert.strictEqual(answer.message, 'Hello, you!');
});
"""
_ESM_HEAD = """import assert from 'node:assert';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { handler } from './index.js';
"""
_ESM_READ = "readFileSync(new URL('events/hello.json', import.meta.url), 'utf8')"
_CJS_HEAD = """const assert = require('node:assert');
const { readFileSync } = require('node:fs');
const test = require('node:test');
const { handler } = require('./index.js');
"""
_NODE_BODY = """  const { name = 'world' } = event;
  if (!name) throw new RangeError('the event has an empty name');
  console.log(`greeting ${name}`);
  return { message: `${process.env.GREETING}, ${name}!`, request_id: context.awsRequestId };
"""
_NODE_ABOUT = """// A function: what it returns is the answer, as JSON.

/** `event` is what the caller sent; `context` knows the request id and the time that is left. */
"""
_NODE_COMMON = {
    "isotherm.toml": _MANIFEST % ('runtime = "nodejs"\nhandler = "index.handler"\n', 256) + _GREETING,
    **_EVENTS,
    "events/nobody.expect.json": _NOBODY % "RangeError",
    ".isothermignore": _IGNORED + "*.test.js\n*.test.cjs\n",
    ".gitignore": "node_modules/\n.env\n",
}

NODEJS = Template(
    about="Node.js, an ES module: export async function handler(event, context)",
    runtime="nodejs",
    files={
        **_NODE_COMMON,
        "package.json": '{\n  "private": true,\n  "type": "module"\n}\n',
        "index.js": f"{_NODE_ABOUT}export async function handler(event, context) {{\n{_NODE_BODY}}}\n",
        "index.test.js": _NODE_TEST % (_ESM_HEAD, _ESM_READ),
    },
)

NODEJS_CJS = Template(
    about="Node.js, CommonJS: exports.handler = async (event, context)",
    runtime="nodejs",
    files={
        **_NODE_COMMON,
        "package.json": '{\n  "private": true,\n  "type": "commonjs"\n}\n',
        "index.js": f"{_NODE_ABOUT}exports.handler = async (event, context) => {{\n{_NODE_BODY}}};\n",
        "index.test.js": _NODE_TEST % (_CJS_HEAD, "readFileSync(`${__dirname}/events/hello.json`, 'utf8')"),
    },
)

BASH = Template(
    about="Bash: any program that speaks AWS's Runtime API; this one needs curl",
    runtime="provided",
    files={
        "isotherm.toml": _MANIFEST % ('runtime = "provided"\n', 128),
        "bootstrap": """#!/bin/bash
# A function: any program that fetches calls from AWS's Runtime API and posts the answers. This one needs curl.
set -euo pipefail
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation
while true; do
  event=$(curl --silent --show-error --fail --dump-header /tmp/head "$api/next")
  id=$(tr -d '\\r' </tmp/head | sed -n 's/^lambda-runtime-aws-request-id: //Ip')
  echo "called with $event"
  curl --silent --show-error --output /tmp/said --data-binary "{\\"sent\\": $event}" "$api/$id/response"
done
""",
        "events/hello.json": _EVENT,
        "events/hello.expect.json": '{\n  "equals": {"sent": {"name": "you"}},\n  "log": ["called with"]\n}\n',
        ".isothermignore": _IGNORED,
        ".gitignore": ".env\n",
    },
    executable=frozenset({"bootstrap"}),
)

C = Template(
    about="C: AWS's Runtime API over one socket, with nothing but libc; needs a compiler",
    runtime="provided",
    files={
        "isotherm.toml": _MANIFEST % ('runtime = "provided"\n', 64),
        "events/words.json": '"to be or not to be"\n',
        "events/words.expect.json": '{\n  "equals": {"words": 6},\n  "log": ["counted 6 words"]\n}\n',
        ".isothermignore": _IGNORED + "*.c\nMakefile\n",
        ".gitignore": "bootstrap\n*.o\n",
    },
    example="c-words",
    taken=("bootstrap.c", "Makefile"),
    build="make",
)

TEMPLATES = {"python": PYTHON, "nodejs": NODEJS, "nodejs-cjs": NODEJS_CJS, "bash": BASH, "c": C}
