"""What a request's head comes down to: which target, who calls, and the frame's head. Kept while the head repeats."""

import base64
import json
from urllib.parse import parse_qsl, unquote

import msgspec

from isotherm.base.errors import Forbidden, Invalid, MalformedRequest, NotFound, SignatureRefused, Unauthenticated
from isotherm.gateway.cors import cors_lines, preflight_head
from isotherm.gateway.keys import NEVER_MS, KeyRing, Principal, is_own
from isotherm.gateway.messages import HOP_BY_HOP
from isotherm.gateway.names import STREAM_PREFIX, Reference, arn_region, parse_invoke_target, split_content_url
from isotherm.gateway.request import Request
from isotherm.gateway.routes import RouteTable
from isotherm.gateway.signed import Signatures, SignedHead
from isotherm.gateway.target import Route, Target
from isotherm.sigv4.chunks import decoded_headers
from isotherm.sigv4.model import EXECUTE_API, LAMBDA, Headers
from isotherm.sigv4.parsing import is_signed, without_signature

__all__ = ["INVOKE_SERVICES", "URL_SERVICES", "Plan", "Planner"]

MAX_CLIENT_CONTEXT = 3584  # bytes, Lambda's own limit
NOT_FORWARDED = HOP_BY_HOP | {"x-forwarded-for", "x-forwarded-proto", "expect"}
INVOKE_SERVICES = (LAMBDA,)
URL_SERVICES = (LAMBDA, EXECUTE_API)
encode = msgspec.json.encode


class Plan:
    """How to serve every request with this head, as long as routes and keys stay as they are."""

    __slots__ = (
        "client_context", "event", "expires_at_ms", "extra", "generation", "head", "head_only", "invoke", "principal",
        "qualifier", "show_trace", "signed", "streamed", "tail", "target", "unusual",
    )  # fmt: skip

    def __init__(self, target: Target, principal: Principal | None, generation: int) -> None:
        self.target = target
        self.generation = generation
        self.principal = principal
        self.expires_at_ms = NEVER_MS if principal is None else principal.expires_at_ms
        spec = target.route.spec
        self.show_trace = principal is not None and principal.may_view(spec.namespace, spec.name)
        self.invoke = self.unusual = self.event = self.streamed = self.tail = self.head_only = False
        self.signed: SignedHead | None = None  # then it serves this one request alone
        self.client_context = "null"  # JSON text
        self.extra = ""  # headers beside those of every answer
        self.qualifier: str | None = None
        self.head = ""  # what of the frame's head is the same for all these requests, see `isotherm_runtime.frames`


class Planner:
    """Makes plans from heads. Raises what the request is refused with."""

    def __init__(self, routes: RouteTable, keys: KeyRing, signatures: Signatures) -> None:
        self.routes = routes
        self._keys = keys
        self._signatures = signatures

    def for_url(self, request: Request, source_ip: str, *, secure: bool, whole: bool = True) -> Plan:
        """A function URL's request. `whole`: its body is there; else it is refused where its signature cannot be
        checked without."""
        split = split_content_url(request.url)
        if split is None:
            raise NotFound("no function has this URL; it is /NAME/… or /@NAMESPACE/NAME/…")
        reference, path, query = split
        route = self.routes.find(reference.namespace or "default", reference.name)
        url = None if route is None else route.url_of(reference.qualifier)
        signed: SignedHead | None = None
        if route is not None and (route.spec.public if url is None else url.public):
            principal = self._anyone(request)
        else:
            principal, signed = self._caller(request, URL_SERVICES, whole=whole)
            _check(principal, route, reference)
        assert route is not None
        plan = Plan(self.routes.target(route, reference), principal, self.routes.generation)
        plan.signed = signed
        plan.head_only = request.method == b"HEAD"
        if url is not None and url.cors is not None:
            plan.extra = cors_lines(url.cors, request)
        sent = request.headers if signed is None or not signed.chunked else decoded_headers(request.headers)
        headers, domain = _event_headers(sent, source_ip, secure=secure, signed=signed is not None)
        if signed is not None:
            query = without_signature(b"?" + query.encode("latin-1")).decode("latin-1")[1:]
        method = request.method.decode("latin-1")
        plan.head = encode([method, path, query, headers, source_ip, domain]).decode()
        return plan

    def preflight(self, request: Request) -> str | None:
        """The head of the answer to a browser that asks before it calls; None: the function is asked itself."""
        split = split_content_url(request.url)
        route = None if split is None else self.routes.find(split[0].namespace or "default", split[0].name)
        url = None if route is None or split is None else route.url_of(split[0].qualifier)
        return None if url is None or url.cors is None else preflight_head(url.cors, request)

    def for_invoke(self, request: Request) -> Plan:
        """Lambda's Invoke, or its InvokeWithResponseStream."""
        url = request.url.decode("latin-1")
        path, _, query = url.partition("?")
        qualifier = dict(parse_qsl(query)).get("Qualifier")
        reference = parse_invoke_target(unquote(path), qualifier)
        principal, signed = self._caller(request, INVOKE_SERVICES)
        if reference is None:
            raise NotFound("no function has this name: NAME, NAMESPACE/NAME or an ARN, with an optional qualifier")
        target = self._invoked(unquote(path), reference, principal, aws=signed is not None)
        plan = Plan(target, principal, self.routes.generation)
        plan.invoke = True
        plan.signed = signed
        kind = (request.header(b"x-amz-invocation-type") or b"RequestResponse").decode("latin-1")
        if kind not in ("RequestResponse", "Event", "DryRun"):
            raise Invalid(f"X-Amz-Invocation-Type must be RequestResponse, Event or DryRun, not {kind[:32]!r}")
        plan.streamed = kind == "RequestResponse" and request.url.startswith(STREAM_PREFIX)
        plan.unusual = kind != "RequestResponse" or plan.streamed  # nobody waits for the function, or for its whole
        plan.event = kind == "Event"
        if plan.event and request.url.startswith(STREAM_PREFIX):
            raise Invalid("a streamed invocation is not asynchronous: X-Amz-Invocation-Type must not be Event")
        plan.qualifier = reference.qualifier
        plan.tail = (request.header(b"x-amz-log-type") or b"").lower() == b"tail"
        plan.client_context = _client_context(request)
        plan.head = f'",{plan.client_context}]'
        return plan

    def _invoked(self, path: str, reference: Reference, principal: Principal, *, aws: bool) -> Target:
        """What an Invoke calls. Raises `NotFound`, for AWS's clients in AWS's words; `Forbidden`."""
        namespace = reference.namespace or principal.home_namespace
        region = self._signatures.region
        asked = arn_region(path)
        if asked is not None and asked != region:
            raise NotFound(f"Functions from '{asked}' are not reachable in this region ('{region}')")
        route = self.routes.find(namespace, reference.name)
        try:
            _check(principal, route, Reference(namespace, reference.name, reference.qualifier))
            assert route is not None
            return self.routes.target(route, reference)
        except NotFound as exc:
            if not aws:
                raise
            arn = f"arn:aws:lambda:{region}:{namespace}:function:{reference.name}"
            qualifier = "" if reference.qualifier is None else f":{reference.qualifier}"
            raise NotFound(f"Function not found: {arn}{qualifier}", **exc.data) from exc

    def check_signer(self, request: Request, services: tuple[str, ...]) -> bool:
        """Whether a request is signed. Raises `SignatureRefused` where its head tells already that it is in vain."""
        if not is_signed(request.url, request.header(b"authorization")):
            return False
        self._signatures.head(request, services)
        return True

    def _caller(
        self, request: Request, services: tuple[str, ...], *, whole: bool = True
    ) -> tuple[Principal, SignedHead | None]:
        """Who sent a request that needs a key. Raises `Unauthenticated`.

        Of one that is signed the `whole` body becomes what was signed of it. Nobody learns what a key may do before it
        is proven that they have it.
        """
        given = request.header(b"authorization")
        if not is_signed(request.url, given):
            return self._keys.principal(_needed(given)), None
        signed = self._signatures.head(request, services)
        if whole:
            request.body = signed.take(request.body, None if request.stream is None else request.stream.digest)
        elif not signed.proven:
            raise SignatureRefused("the signature covers a body that is not there yet", reason="payload")
        return signed.principal, signed

    def _anyone(self, request: Request) -> Principal | None:
        """On a public route a key of this platform still says who calls; anything else is the function's business."""
        given = request.header(b"authorization")
        if given is None or not is_own(given):
            return None
        try:
            return self._keys.principal(given)
        except Unauthenticated:
            return None


def _needed(given: bytes | None) -> bytes:
    if given is None:
        raise Unauthenticated("a key is needed: send `Authorization: Bearer KEY`, or sign the request")
    return given


def _check(principal: Principal, route: Route | None, reference: Reference) -> None:
    """Raises `NotFound` where there is nothing, or nothing that this principal may know of; `Forbidden` where it may
    look but not call, or no scope of its key is about the function, whether it is there or not."""
    namespace = reference.namespace or "default"
    known = principal.knows(namespace)
    if known and not principal.reaches(reference.name):
        raise Forbidden(f"this key's scopes are not about {namespace}/{reference.name}; use one with invoke in them")
    if route is None or not known:
        raise NotFound(f"there is no function {namespace}/{reference.name}", namespace=namespace, name=reference.name)
    if not principal.may_invoke(namespace, reference.name):
        raise Forbidden(
            f"you may look at {namespace}/{reference.name} but not call it; that takes the role invoker and, of a key "
            "with scopes, the scope invoke"
        )


def _event_headers(sent: Headers, source_ip: str, *, secure: bool, signed: bool) -> tuple[list[tuple[str, str]], str]:
    """The headers that the function sees, and the Host among them. `signed`: what Authorization has is ours."""
    domain = ""
    headers = []
    for name, value in sent:
        lower = name.decode("latin-1").lower()
        if lower == "host":
            domain = value.decode("latin-1")
        if lower in NOT_FORWARDED or (lower == "authorization" and (signed or is_own(value))):
            continue
        headers.append((lower, value.decode("latin-1")))
    headers.append(("x-forwarded-for", source_ip))
    headers.append(("x-forwarded-proto", "https" if secure else "http"))
    return headers, domain


def _client_context(request: Request) -> str:
    """The client context as JSON text, `null` where there is none. Raises `MalformedRequest`."""
    given = request.header(b"x-amz-client-context")
    if given is None:
        return "null"
    try:
        if len(given) > MAX_CLIENT_CONTEXT:
            raise ValueError("it is too long")
        return encode(json.loads(base64.b64decode(given, validate=True))).decode()
    except (ValueError, RecursionError) as exc:  # also what is not base64, and what UTF-8 cannot hold
        raise MalformedRequest(
            f"X-Amz-Client-Context must be base64 of JSON, at most {MAX_CLIENT_CONTEXT} bytes"
        ) from exc
