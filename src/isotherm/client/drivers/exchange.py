"""What both drivers do alike: options of the connection, arguments of a request, failures as errors of ours."""

import socket
import ssl
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any
from urllib.request import getproxies

import httpx

from isotherm.base.errors import TimedOut, Unavailable
from isotherm.client.logins import LoginAuth
from isotherm.client.profiles import Profile, is_loopback
from isotherm.client.request import Request

__all__ = ["CONNECT_S", "Verify", "arguments", "client_options", "translated", "transport_options"]

CONNECT_S = 5.0
Verify = bool | ssl.SSLContext  # whether a certificate is checked, and by what
# A stream may rest for long: the kernel tells whether its other end is still there.
_keep_alive = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)] + [
    (socket.IPPROTO_TCP, getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)
]


class KeyAuth(httpx.Auth):
    """Puts the key on each request. Not among a client's headers, so that no request to elsewhere could have it."""

    def __init__(self, key: str) -> None:
        self._header = f"Bearer {key}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = self._header
        yield request


def client_options(profile: Profile, verify: Verify) -> dict[str, Any]:
    """Redirects are not followed: the key goes to the platform that was named, and nowhere else."""
    return {
        "base_url": profile.url,
        "auth": KeyAuth(profile.key) if profile.login is None else LoginAuth(profile, verify),
        "headers": {"User-Agent": f"isotherm/{version('isotherm')}", "Accept-Encoding": "identity"},
        "follow_redirects": False,
        "trust_env": not is_loopback(profile.url),
    }


def transport_options(options: dict[str, Any], verify: Verify) -> dict[str, Any] | None:
    """Of a transport of our own; None: httpx makes its own, by way of the proxies that the environment names."""
    if options["trust_env"] and getproxies():
        return None
    return {"verify": verify, "socket_options": _keep_alive}


def arguments(request: Request) -> dict[str, Any]:
    """Those of httpx's `build_request`."""
    limit_s = request.timeout_s
    connect_s = CONNECT_S if limit_s is None else min(CONNECT_S, limit_s)
    return {
        "method": request.method,
        "url": request.path,
        "params": request.params,
        "headers": request.headers,
        "content": request.content or None,
        "timeout": httpx.Timeout(limit_s, connect=connect_s),
    }


@contextmanager
def translated(url: str, request: Request) -> Iterator[None]:
    """Raises `TimedOut` and `Unavailable` for httpx's errors."""
    try:
        yield
    except (httpx.ConnectTimeout, httpx.PoolTimeout) as exc:
        raise Unavailable(
            f"{url} cannot be reached within {CONNECT_S:g} s; is it there, is it overloaded?", begun=False
        ) from exc
    except httpx.TimeoutException as exc:
        raise TimedOut(f"{url} did not answer within {request.timeout_s:g} s: {request.method} {request.path}") from exc
    except httpx.ConnectError as exc:
        raise _unreachable(url, exc) from exc
    except httpx.HTTPError as exc:
        raise Unavailable(f"the connection to {url} broke off: {exc or type(exc).__name__}") from exc


def _unreachable(url: str, exc: httpx.ConnectError) -> Unavailable:
    if "CERTIFICATE_VERIFY_FAILED" in str(exc):
        return Unavailable(
            f"{url}: its certificate is not trusted here; name the file of the authority that "
            f"signed it by SSL_CERT_FILE, and reach it by a name that the certificate has ({exc})",
            begun=False,
        )
    return Unavailable(
        f"cannot reach {url}: {exc or type(exc).__name__}; start it with `isotherm up`, "
        f"or name another by ISOTHERM_URL or `isotherm login`",
        begun=False,
    )
