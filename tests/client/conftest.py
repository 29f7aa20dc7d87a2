"""Both clients over a transport that answers from a script."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from isotherm.client import AsyncClient, Client
from tests.client.both import KINDS, Waited

URL, KEY = "https://platform.example", "iso_test"
Answering = Callable[[httpx.Request], httpx.Response]


class Scripted:
    """Makes clients whose requests `answer` gets; `asked` has them all."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.asked: list[httpx.Request] = []
        self._made: list[Any] = []

    def __call__(self, answer: Answering, **options: Any) -> Any:
        def noted(request: httpx.Request) -> httpx.Response:
            self.asked.append(request)
            return answer(request)

        options = {"url": URL, "key": KEY, "transport": httpx.MockTransport(noted)} | options
        made = Client(**options) if self.kind == "blocking" else Waited(lambda: AsyncClient(**options))
        self._made.append(made)
        return made

    def answers(self, *answers: httpx.Response | Exception, **options: Any) -> Any:
        """A client that gets these one after the other; the last one again and again."""
        rest = list(answers)

        def answer(_: httpx.Request) -> httpx.Response:
            found = rest.pop(0) if len(rest) > 1 else rest[0]
            if isinstance(found, Exception):
                raise found
            return httpx.Response(found.status_code, headers=found.headers, content=found.content)

        return self(answer, **options)

    def close(self) -> None:
        for each in self._made:
            each.close()


@pytest.fixture(params=KINDS)
def client_of(request: pytest.FixtureRequest, environment: None) -> Iterator[Scripted]:
    scripted = Scripted(request.param)
    yield scripted
    scripted.close()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's."""
    for name in ("ISOTHERM_URL", "ISOTHERM_KEY", "ISOTHERM_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
