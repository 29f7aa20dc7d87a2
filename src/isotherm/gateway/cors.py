"""What a browser is told of a function URL whose owner has set CORS: the answer to a preflight, headers of answers."""

from isotherm.gateway.messages import status_line
from isotherm.gateway.request import Request
from isotherm.wire.desired import CorsSpec

__all__ = ["cors_lines", "is_preflight", "preflight_head"]

ANY = "*"


def is_preflight(request: Request) -> bool:
    return (
        request.method == b"OPTIONS"
        and request.header(b"origin") is not None
        and request.header(b"access-control-request-method") is not None
    )


def preflight_head(cors: CorsSpec, request: Request) -> str:
    """The status line and the headers. A method or origin that is not allowed is told nothing."""
    lines = [status_line(200), "content-type: application/json\r\n"]
    allowed = cors_lines(cors, request)
    method = _text(request, b"access-control-request-method")
    if allowed and (ANY in cors.allow_methods or method.upper() in cors.allow_methods):
        lines += [allowed, _line("access-control-allow-methods", cors.allow_methods)]
        wanted = _text(request, b"access-control-request-headers")
        if wanted and ANY in cors.allow_headers:
            lines.append(f"access-control-allow-headers: {wanted}\r\n")
        else:
            lines.append(_line("access-control-allow-headers", cors.allow_headers))
        if cors.max_age_s is not None:
            lines.append(f"access-control-max-age: {cors.max_age_s}\r\n")
    return "".join(lines)


def cors_lines(cors: CorsSpec, request: Request) -> str:
    """The headers of an answer to this request; none where its origin is not allowed, or it has none."""
    origin = _text(request, b"origin")
    if not origin or not (ANY in cors.allow_origins or origin in cors.allow_origins):
        return ""
    shown = ANY if ANY in cors.allow_origins and not cors.allow_credentials else origin
    lines = f"access-control-allow-origin: {shown}\r\n"
    if shown != ANY:
        lines += "vary: Origin\r\n"
    if cors.allow_credentials:
        lines += "access-control-allow-credentials: true\r\n"
    return lines + _line("access-control-expose-headers", cors.expose_headers)


def _line(name: str, values: list[str]) -> str:
    return f"{name}: {','.join(values)}\r\n" if values else ""


def _text(request: Request, name: bytes) -> str:
    """A header's value; what could break a response never came through the parser."""
    return (request.header(name) or b"").decode("latin-1")
