"""`isotherm init`: a function to start from."""

import re
from pathlib import Path

from isotherm.base.errors import Conflict, Invalid
from isotherm.base.ids import NAME_PATTERN, is_name
from isotherm.cli.output import output

__all__ = ["FILES", "run"]

EVENT = '{{"name": "you"}}\n'
MANIFEST = """name = "{name}"
memory_mb = 256
timeout_s = 30
"""
TABLES = """
[env]
GREETING = "Hello"

[warm]
spare = 1
"""
PYTHON = {
    "isotherm.toml": MANIFEST.replace("\n", '\nhandler = "app.handler"\n', 1) + TABLES,
    "app.py": '''"""A function: what it returns is the answer, as JSON."""

import os


def handler(event, context):
    """`event` is what the caller sent; `context` knows the request id and the time that is left."""
    name = event.get("name", "world")
    print(f"greeting {{name}}")
    return {{"message": f"{{os.environ['GREETING']}}, {{name}}!", "request_id": context.aws_request_id}}
''',
    "event.json": EVENT,
    "test_app.py": '''"""Runs without the platform: `python -m pytest`, or `python -m unittest`."""

import json
import os
import types
import unittest
from pathlib import Path

from app import handler


class HandlerTest(unittest.TestCase):
    def test_greets_by_name(self):
        os.environ["GREETING"] = "Hello"
        event = json.loads((Path(__file__).parent / "event.json").read_text())
        answer = handler(event, types.SimpleNamespace(aws_request_id="test"))
        self.assertEqual(answer["message"], "Hello, you!")
''',
    ".isothermignore": "test_*.py\nevent.json\n",
}

NODEJS = {
    "isotherm.toml": MANIFEST.replace("\n", '\nruntime = "nodejs"\nhandler = "index.handler"\n', 1) + TABLES,
    "package.json": '{{\n  "private": true,\n  "type": "module"\n}}\n',
    "index.js": """// A function: what it returns is the answer, as JSON.

/** `event` is what the caller sent; `context` knows the request id and the time that is left. */
export async function handler(event, context) {{
  const {{ name = 'world' }} = event;
  console.log(`greeting ${{name}}`);
  return {{ message: `${{process.env.GREETING}}, ${{name}}!`, request_id: context.awsRequestId }};
}}
""",
    "event.json": EVENT,
    "index.test.js": """// Runs without the platform: `node --test`.

import assert from 'node:assert';
import {{ readFileSync }} from 'node:fs';
import test from 'node:test';
import {{ handler }} from './index.js';

test('greets by name', async () => {{
  process.env.GREETING = 'Hello';
  const event = JSON.parse(readFileSync(new URL('event.json', import.meta.url), 'utf8'));
  const answer = await handler(event, {{ awsRequestId: 'test' }});
  assert.strictEqual(answer.message, 'Hello, you!');
}});
""",
    ".isothermignore": "*.test.js\nevent.json\n",
}

PROVIDED = {
    "isotherm.toml": MANIFEST.replace("\n", '\nruntime = "provided"\n', 1) + TABLES,
    "bootstrap": """#!/bin/bash
# A function: any program that fetches calls from AWS's Runtime API and posts the answers. This one needs curl.
set -euo pipefail
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation
while true; do
  event=$(curl --silent --show-error --fail --dump-header /tmp/head "$api/next")
  id=$(tr -d '\\r' </tmp/head | sed -n 's/^lambda-runtime-aws-request-id: //Ip')
  echo "called with $event"
  curl --silent --show-error --output /tmp/said --data-binary "{{\\"sent\\": $event}}" "$api/$id/response"
done
""",
    "event.json": EVENT,
    ".isothermignore": "event.json\n",
}

FILES = {"python": PYTHON, "nodejs": NODEJS, "provided": PROVIDED}
EXECUTABLE = {"bootstrap"}


def run(folder: Path, name: str | None, runtime: str, force: bool) -> None:
    """Write the files. Raises `Conflict` where one is there already, `Invalid` where no name can be made."""
    chosen = name or _name_of(folder)
    files = FILES.get(runtime)
    if files is None:
        raise Invalid(f"--runtime {runtime}: must be one of {', '.join(FILES)}")
    there = [each for each in files if (folder / each).exists()]
    if there and not force:
        raise Conflict(f"{folder}: {', '.join(there)} exist already; choose another folder, or pass --force")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each, text in files.items():
            (folder / each).write_text(text.format(name=chosen), encoding="utf-8")
            if each in EXECUTABLE:
                (folder / each).chmod(0o755)
    except OSError as exc:
        raise Invalid(f"{folder}: {exc.strerror}; choose a folder that can be written") from exc
    if output.json:
        output.result({"name": chosen, "folder": str(folder), "files": list(files)})
        return
    output.line(f"made {chosen} in {folder}: {', '.join(files)}")
    where = "" if folder.resolve() == Path.cwd() else f" {folder}"
    output.line(f"next: isotherm deploy{where} && isotherm invoke {chosen} -d @{folder / 'event.json'} --tail")


def _name_of(folder: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")[:63].strip("-")
    if not is_name(name):
        raise Invalid(f"{folder}: no function can be called that; pass --name (it must match {NAME_PATTERN})")
    return name
