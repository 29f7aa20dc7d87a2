"""One call: who makes it, whether it is allowed, and what the endpoint may use. The guard runs before all parsing."""

import ipaddress
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from isotherm.api.limits import RateLimits
from isotherm.api.port import ApiServices
from isotherm.base.errors import Invalid, NotFound, Unauthenticated
from isotherm.sigv4.caller import CALLER_HEADER
from isotherm.tenancy.model import ANONYMOUS, Permission, Principal
from isotherm.tenancy.policy import covers
from isotherm.wire.scopes import ANY_FUNCTION

__all__ = ["Call", "Guard", "RoutePermission", "ToCall", "ToServices", "authenticate", "client_address", "readmit"]

RoutePermission = Permission | Literal["any", "open"]  # "any": a key or login is needed, but no role; "open": nothing
_header_limit = 512


@dataclass(frozen=True, slots=True)
class Guard:
    """Lets a call through whose key or login has roles (and scopes) that allow `permission` in the namespace of the
    path, on the function that it names.

    Namespaces are taken from the path as they came, so that nobody learns from a syntax error what exists.
    """

    permission: RoutePermission
    by_query: bool = False  # the namespace is in the query, and may be absent: the platform as a whole
    on_platform: bool = False  # beside the namespace, the permission is needed on the platform as a whole
    any_function: bool = False  # which function it is about is known later: the endpoint looks again
    function_by_query: bool = False  # the query may name the function

    async def __call__(self, request: Request) -> None:
        request.scope["isotherm.guard"] = self
        request.scope["isotherm.principal"] = await run_in_threadpool(self._admit, request)

    def _admit(self, request: Request) -> Principal:
        services: ApiServices = request.app.state.services
        limits: RateLimits = request.app.state.limits
        if self.permission == "open":
            limits.take_open(client_address(request))
            return ANONYMOUS
        principal = authenticate(request, services, limits)
        limits.take_call(principal.id)
        self.require(principal, request)
        return principal

    def require(self, principal: Principal, request: Request) -> None:
        """Raises `Forbidden`, `NotFound`."""
        if self.permission in ("any", "open"):
            return
        tenancy = request.app.state.services.tenancy
        place = request.query_params.get("namespace") if self.by_query else request.path_params.get("ns")
        tenancy.require(principal, self.permission, place, self._function(request))
        if self.on_platform:
            tenancy.require(principal, self.permission)

    def _function(self, request: Request) -> str | None:
        if self.any_function:
            return ANY_FUNCTION
        found: str | None = request.path_params.get("name")
        return request.query_params.get("function") if self.function_by_query else found


def authenticate(request: Request, services: ApiServices, limits: RateLimits) -> Principal:
    """Whose call it is. Raises `Unauthenticated`, `TooManyRequests`."""
    caller = request.headers.get(CALLER_HEADER)
    if caller is not None:  # the gateway lets none in from outside
        return _signer(request, services, caller)
    header = request.headers.get("authorization", "")
    scheme, _, token = header.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated(
            "a key or a login is needed: send `Authorization: Bearer iso_…` or an access token, or sign the request"
        )
    try:
        if len(header) > _header_limit:
            raise Unauthenticated("this is no key and no access token: it is too long")
        if token.startswith("eyJ"):
            return services.logins.authenticate(token)
        return services.tenancy.authenticate(token)
    except Unauthenticated:
        limits.take_failure(client_address(request))  # a good key is let in from an address that guesses, too
        raise


def _signer(request: Request, services: ApiServices, caller: str) -> Principal:
    """Of a signed request, which the gateway has checked. Raises `Unauthenticated`."""
    target = request.scope["raw_path"] + b"?" + request.scope["query_string"]
    key_id = services.caller_seal.read(caller, request.method.encode(), target, services.clock.time_ms())
    return services.tenancy.authenticate_signer(key_id)


def client_address(request: Request) -> str:
    """The last hop that the gateway wrote; without one the peer of a Unix socket, which has no address.

    Of IPv6 the network of 64 bits: whoever has one address of it has all.
    """
    written = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()[:64]
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        return written or "local"
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    mapped = address.ipv4_mapped
    return str(ipaddress.IPv6Network((int(address), 64), strict=False) if mapped is None else mapped)


@dataclass(frozen=True, slots=True)
class Call:
    """What an endpoint gets."""

    services: ApiServices
    principal: Principal
    request: Request

    def check_scope(self, permission: Permission, function: str, absent: NotFound) -> None:
        """Where the path names no function: raises `absent` where the caller's scopes are not about this one."""
        if not covers(self.principal.scopes, permission, function):
            raise absent


def readmit(call: Call) -> Principal:
    """The caller as of now, where the guard would let it in again; an access token that only got old is no matter.

    Raises `Unauthenticated`, `Forbidden`, `NotFound`.
    """
    principal, services = call.principal, call.services
    if principal.session is not None:
        principal = services.logins.renewed(principal)
    elif principal.key is not None:
        principal = services.tenancy.authenticate_signer(principal.key)
    guard: Guard = call.request.scope["isotherm.guard"]
    guard.require(principal, call.request)
    return principal


async def _call(request: Request) -> Call:
    """Raises `Invalid` on query parameters that the route does not know: a misspelt filter would filter nothing."""
    known = {field.alias for field in request.scope["route"].dependant.query_params}
    strange = sorted(set(request.query_params) - known)
    if strange:
        takes = ", ".join(sorted(known)) or "none"
        raise Invalid(
            f"there is no query parameter {strange[0][:100]!r} here; there are: {takes}", unknown=strange[:10]
        )
    return Call(request.app.state.services, request.scope["isotherm.principal"], request)


async def _services(request: Request) -> Any:
    return request.app.state.services


ToCall = Annotated[Call, Depends(_call)]
ToServices = Annotated[ApiServices, Depends(_services)]
