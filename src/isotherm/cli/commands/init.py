"""`isotherm init`: a function to start from."""

import re
from pathlib import Path

from isotherm.base.errors import Conflict, Invalid
from isotherm.base.ids import NAME_PATTERN, is_name
from isotherm.cli.output import output

__all__ = ["FILES", "run"]

FILES = {
    "isotherm.toml": """name = "{name}"
handler = "app.handler"
memory_mb = 256
timeout_s = 30

[env]
GREETING = "Hello"

[warm]
spare = 1
""",
    "app.py": '''"""A function: what it returns is the answer, as JSON."""

import os


def handler(event, context):
    """`event` is what the caller sent; `context` knows the request id and the time that is left."""
    name = event.get("name", "world")
    print(f"greeting {{name}}")
    return {{"message": f"{{os.environ['GREETING']}}, {{name}}!", "request_id": context.aws_request_id}}
''',
    "event.json": '{{"name": "you"}}\n',
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


def run(folder: Path, name: str | None, force: bool) -> None:
    """Write the files. Raises `Conflict` where one is there already, `Invalid` where no name can be made."""
    chosen = name or _name_of(folder)
    there = [each for each in FILES if (folder / each).exists()]
    if there and not force:
        raise Conflict(f"{folder}: {', '.join(there)} exist already; choose another folder, or pass --force")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for each, text in FILES.items():
            (folder / each).write_text(text.format(name=chosen), encoding="utf-8")
    except OSError as exc:
        raise Invalid(f"{folder}: {exc.strerror}; choose a folder that can be written") from exc
    if output.json:
        output.result({"name": chosen, "folder": str(folder), "files": list(FILES)})
        return
    output.line(f"made {chosen} in {folder}: {', '.join(FILES)}")
    where = "" if folder.resolve() == Path.cwd() else f" {folder}"
    output.line(f"next: isotherm deploy{where} && isotherm invoke {chosen} -d @{folder / 'event.json'} --tail")


def _name_of(folder: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")[:63].strip("-")
    if not is_name(name):
        raise Invalid(f"{folder}: no function can be called that; pass --name (it must match {NAME_PATTERN})")
    return name
