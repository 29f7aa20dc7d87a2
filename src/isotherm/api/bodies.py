"""Request bodies: bounded, with a time limit between parts, parsed to typed values before an endpoint sees them."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from typing import Any, BinaryIO, cast

import msgspec
from fastapi import Request

from isotherm.base.errors import (
    Invalid,
    MalformedRequest,
    RequestTimeout,
    TooLarge,
    TooManyRequests,
    UnsupportedMediaType,
)

__all__ = ["MAX_JSON_BYTES", "ZIP_TYPES", "JsonBody", "read_body", "received_zip", "upload_slots"]

MAX_JSON_BYTES = 4 * 1024 * 1024
ZIP_TYPES = ("application/zip", "application/x-zip-compressed", "application/octet-stream")
_uploads_at_once = 8
_write_bytes = 1024 * 1024


async def read_body(request: Request, limit_bytes: int, what: str) -> bytes:
    """Raises `TooLarge`, `RequestTimeout`."""
    content = bytearray()
    async for part in _parts(request, limit_bytes, what):
        content += part
    return bytes(content)


class JsonBody:
    """A dependency that gives the body as a `kind`, a msgspec type.

    Raises `UnsupportedMediaType`, `TooLarge`, `MalformedRequest` (not JSON), `Invalid` (not a `kind`; says where).
    """

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(kind)

    async def __call__(self, request: Request) -> Any:
        _check_type(request, ("application/json",))
        content = bytearray()
        async for part in _parts(request, MAX_JSON_BYTES, "a JSON body"):
            content += part
        try:
            return self._decoder.decode(content)
        except msgspec.ValidationError as exc:
            raise Invalid(f"the body is not valid: {exc}") from exc
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise MalformedRequest(f"the body is not JSON in UTF-8: {exc}") from exc


async def received_zip(request: Request) -> AsyncIterator[BinaryIO]:
    """A dependency that gives the body as an unnamed temporary file, at its start; gone after the answer.

    Raises `UnsupportedMediaType`, `TooLarge` (over `max_package_mb`), `TooManyRequests`, `RequestTimeout`.
    """
    services = request.app.state.services
    _check_type(request, ZIP_TYPES)
    slots: asyncio.Semaphore = request.app.state.upload_slots
    if slots.locked():
        raise TooManyRequests(f"{_uploads_at_once} uploads are under way; try again later", retry_after_s=2.0)
    async with slots:
        file = await asyncio.to_thread(_temporary, services.upload_dir)
        try:
            await _receive(request, file, services.settings.max_package_mb * 1024 * 1024)
            yield file
        finally:
            await asyncio.to_thread(file.close)


def upload_slots() -> asyncio.Semaphore:
    return asyncio.Semaphore(_uploads_at_once)


async def _receive(request: Request, file: BinaryIO, limit_bytes: int) -> None:
    held = bytearray()
    async for part in _parts(request, limit_bytes, "a package"):
        held += part
        if len(held) >= _write_bytes:
            await asyncio.to_thread(file.write, bytes(held))
            held.clear()
    await asyncio.to_thread(_write_and_rewind, file, bytes(held))


def _temporary(folder: str) -> BinaryIO:
    return cast("BinaryIO", tempfile.TemporaryFile(dir=folder))


def _write_and_rewind(file: BinaryIO, rest: bytes) -> None:
    file.write(rest)
    file.seek(0)


def _check_type(request: Request, accepted: tuple[str, ...]) -> None:
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sent not in accepted:
        raise UnsupportedMediaType(
            f"{request.url.path} takes {accepted[0]}, not {sent or 'a body without Content-Type'}",
            accepted=list(accepted),
        )


async def _parts(request: Request, limit_bytes: int, what: str) -> AsyncIterator[bytes]:
    too_large = TooLarge(f"{what} may have {limit_bytes} bytes at most", limit_bytes=limit_bytes)
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit_bytes:
        raise too_large
    pause_s = _pause_s(request)
    received, stream = 0, request.stream()
    while True:
        try:
            async with asyncio.timeout(pause_s):
                part = await anext(stream, None)
        except TimeoutError as exc:
            raise RequestTimeout(f"no part of the body came for {pause_s:.0f} s") from exc
        if part is None:
            return
        received += len(part)
        if received > limit_bytes:
            raise too_large
        yield part


def _pause_s(request: Request) -> float:
    pause_s: float = request.scope["isotherm.body_timeout_s"]
    return pause_s
