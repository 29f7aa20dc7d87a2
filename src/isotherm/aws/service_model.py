"""A service as botocore's model describes it: which operation a request is for. Loaded when it is first asked for."""

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

__all__ = ["Matched", "ServiceModel"]

_placeholder = re.compile(r"\{(\w+)(\+?)\}")
_any = "(.+)"
_part = "([^/]+)"


@dataclass(frozen=True, slots=True)
class Matched:
    """The operation (a `botocore.model.OperationModel`) and the values in the path, percent-decoded."""

    operation: Any
    path: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Route:
    operation: str
    method: str
    pattern: re.Pattern[str]
    names: tuple[str, ...]
    query: tuple[tuple[str, str], ...]  # constants, as in `?find=LayerVersion`

    def rank(self) -> tuple[int, int]:
        """The more exact a route is, the smaller: constants of the query first, then few placeholders."""
        return -len(self.query), len(self.names)


class ServiceModel:
    """One service that speaks `rest-json`. Thread-safe. `loose`: parts of patterns and what stands in their place here.

    botocore takes tens of milliseconds and some megabytes to load: only the process that serves such requests pays,
    and only once one comes.
    """

    def __init__(self, service: str, loose: Mapping[str, str] | None = None) -> None:
        self.service = service
        self._loose = dict(loose or {})
        self._lock = threading.Lock()
        self._model: Any = None
        self._routes: list[_Route] = []
        self._patterns: dict[str, re.Pattern[str] | None] = {}

    @property
    def operations(self) -> list[str]:
        """The names of all operations."""
        return list(self._loaded().operation_names)

    def operation(self, name: str) -> Any:
        return self._loaded().operation_model(name)

    def shape(self, name: str) -> Any:
        return self._loaded().shape_for(name)

    def match(self, method: str, raw_path: str, query: Sequence[tuple[str, str]]) -> Matched | None:
        """The operation that a request is for. `raw_path` is as it came, percent-encoded."""
        self._loaded()
        path = raw_path.rstrip("/") or "/"
        for route in self._routes:
            if route.method != method or not set(route.query) <= set(query):
                continue
            found = route.pattern.fullmatch(path)
            if found is not None:
                values = dict(zip(route.names, map(unquote, found.groups()), strict=True))
                return Matched(self.operation(route.operation), values)
        return None

    def pattern(self, text: str) -> "re.Pattern[str] | None":
        """A shape's pattern; None where Python cannot read it."""
        if text not in self._patterns:
            mended = text
            for part, instead in self._loose.items():
                mended = mended.replace(part, instead)
            try:
                self._patterns[text] = re.compile(mended)
            except re.error:
                self._patterns[text] = None
        return self._patterns[text]

    def _loaded(self) -> Any:
        if self._model is None:
            with self._lock:
                if self._model is None:
                    self._model = self._load()
        return self._model

    def _load(self) -> Any:
        from botocore.loaders import Loader
        from botocore.model import ServiceModel as BotocoreModel

        description = Loader().load_service_model(self.service, "service-2")
        model = BotocoreModel(description, self.service)
        routes = [_route(name, model.operation_model(name).http) for name in model.operation_names]
        self._routes = sorted(routes, key=_Route.rank)
        return model


def _route(operation: str, http: Mapping[str, Any]) -> _Route:
    template, _, query = http["requestUri"].partition("?")
    constants = tuple(tuple(pair.partition("=")[::2]) for pair in query.split("&") if pair)
    parts, names, at = [], [], 0
    template = template.rstrip("/")
    for found in _placeholder.finditer(template):
        parts += [re.escape(template[at : found.start()]), _any if found[2] else _part]
        names.append(found[1])
        at = found.end()
    parts.append(re.escape(template[at:]))
    return _Route(operation, http["method"], re.compile("".join(parts)), tuple(names), constants)
