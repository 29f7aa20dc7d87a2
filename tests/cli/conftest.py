"""The command line in this process, against a scripted platform on a real socket."""

import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from isotherm.cli.main import main
from isotherm.cli.output import output

KEY = "iso_test"


class Asked:
    """One request that came."""

    def __init__(self, method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> None:
        self.method, self.path, self.query, self.headers, self.body = method, path, query, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class ScriptedPlatform:
    """Answers `METHOD /path` with what `on` was given: (status, headers, body); all else with a 404 problem."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.away = 0  # so many requests are answered as if control restarted
        self._answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        platform = self

        class Handler(BaseHTTPRequestHandler):
            def do_any(self) -> None:
                path, _, query = self.path.partition("?")
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                platform.asked.append(Asked(self.command, path, query, dict(self.headers), body))
                missing = json.dumps({"code": "not_found", "detail": f"no {path}"}).encode()
                status, headers, answer = platform._answers.get(f"{self.command} {path}", (404, {}, missing))
                if platform.away:
                    platform.away -= 1
                    status, answer = 503, b'{"code": "unavailable", "detail": "control restarts"}'
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = do_DELETE = do_any  # noqa: N815 (names of the base class)

            def log_message(self, *_: Any) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def on(self, call: str, value: Any = None, status: int = 200, headers: dict[str, str] | None = None) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self._answers[call] = (status, headers or {}, b"" if value is None else content)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ScriptedPlatform]:
    scripted = ScriptedPlatform()
    monkeypatch.setenv("ISOTHERM_URL", scripted.url)
    monkeypatch.setenv("ISOTHERM_KEY", KEY)
    monkeypatch.delenv("ISOTHERM_NAMESPACE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    yield scripted
    scripted.close()


@pytest.fixture
def isotherm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., "Ran"]:
    """Runs the command line: `isotherm("ls", "--json")`."""

    def run(*argv: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["isotherm", *argv])
        monkeypatch.setattr(output, "json", False)
        code: Any = 0
        try:
            main()
        except SystemExit as exc:
            code = exc.code or 0
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run


class Ran:
    """A command that ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)
