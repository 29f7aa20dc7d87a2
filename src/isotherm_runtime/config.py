"""What an instance is told about itself. Travels as JSON in the template's start message."""

from __future__ import annotations

import json

__all__ = ["RuntimeConfig"]

MAX_RESPONSE_BYTES = 64 * 1024 * 1024


class RuntimeConfig:
    """Immutable. Written by hand because `dataclasses` takes longer to import than all of this package.

    `path` are the first entries of sys.path, as the sandbox sees them; the first is the code's folder. `layers` is the
    folder of what layers bring, "" where there are none.
    `dispatch` says how sync handlers run where `concurrency` > 1: "threads", or "serial" (one at a time, in order).
    `request_body` "stream": the handler gets a URL request's body as `context.body`, not in its event.
    `debug`: a debugger may be attached, which is among the dependencies.
    `timeout_ms` counts where a request brings no deadline. `log_limit_bytes` is for one invocation.
    """

    __slots__ = (
        "concurrency",
        "debug",
        "dispatch",
        "env",
        "function_arn",
        "function_name",
        "function_version",
        "handler",
        "init_timeout_ms",
        "layers",
        "log_limit_bytes",
        "max_response_bytes",
        "memory_mb",
        "path",
        "region",
        "request_body",
        "runtime",
        "timeout_ms",
    )

    handler: str
    path: tuple[str, ...]
    layers: str
    env: dict[str, str]
    concurrency: int
    dispatch: str
    timeout_ms: int
    memory_mb: int
    function_name: str
    function_version: str
    function_arn: str
    region: str
    runtime: str
    log_limit_bytes: int
    init_timeout_ms: int
    max_response_bytes: int
    request_body: str
    debug: bool

    def __init__(
        self,
        *,
        handler: str,
        path: tuple[str, ...] | list[str] = (),
        layers: str = "",
        env: dict[str, str] | None = None,
        concurrency: int = 1,
        dispatch: str = "threads",
        timeout_ms: int = 30_000,
        memory_mb: int = 256,
        function_name: str = "function",
        function_version: str = "1",
        function_arn: str = "",
        region: str = "local",
        runtime: str = "python3",
        log_limit_bytes: int = 256 * 1024,
        init_timeout_ms: int = 60_000,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        request_body: str = "buffer",
        debug: bool = False,
    ) -> None:
        if dispatch not in ("threads", "serial"):
            raise ValueError(f'dispatch is {dispatch!r}; it must be "threads" or "serial"')
        if request_body not in ("buffer", "stream"):
            raise ValueError(f'request_body is {request_body!r}; it must be "buffer" or "stream"')
        if concurrency < 1:
            raise ValueError(f"concurrency is {concurrency}; it must be at least 1")
        put = object.__setattr__
        put(self, "handler", handler)
        put(self, "path", tuple(path))
        put(self, "layers", layers)
        put(self, "env", dict(env or {}))
        put(self, "concurrency", concurrency)
        put(self, "dispatch", dispatch)
        put(self, "timeout_ms", timeout_ms)
        put(self, "memory_mb", memory_mb)
        put(self, "function_name", function_name)
        put(self, "function_version", function_version)
        put(self, "function_arn", function_arn)
        put(self, "region", region)
        put(self, "runtime", runtime)
        put(self, "log_limit_bytes", log_limit_bytes)
        put(self, "init_timeout_ms", init_timeout_ms)
        put(self, "max_response_bytes", min(max_response_bytes, MAX_RESPONSE_BYTES))
        put(self, "request_body", request_body)
        put(self, "debug", debug)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"RuntimeConfig is immutable: {name}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RuntimeConfig) and self._values() == other._values()

    __hash__ = None  # type: ignore[assignment]  # `env` is a dict; this is how an unhashable class is declared

    def __repr__(self) -> str:
        return f"RuntimeConfig(handler={self.handler!r}, function_name={self.function_name!r})"  # env has secrets

    def _values(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.__slots__}

    def to_json(self) -> bytes:
        return json.dumps(self._values()).encode()

    @classmethod
    def from_json(cls, data: bytes) -> RuntimeConfig:
        """Raises `ValueError` or `TypeError` where `data` is not what `to_json` makes."""
        values = json.loads(data)
        if not isinstance(values, dict):
            raise TypeError("the runtime's configuration is not a JSON object")
        return cls(**values)
