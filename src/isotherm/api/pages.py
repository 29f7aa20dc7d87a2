"""Pages for people: the index and the API's reference. Plain HTML made from the OpenAPI document; no scripts."""

from collections.abc import Mapping
from html import escape
from typing import Any

from starlette.responses import HTMLResponse

__all__ = ["index_page", "reference_page"]

_policy = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"}
_style = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "code{background:#f3f3f3;padding:.1em .3em}h3{margin-bottom:0}td{padding:.1rem 1rem .1rem 0;vertical-align:top}"
)


def index_page(version: str) -> HTMLResponse:
    return _page(
        "Isotherm",
        f"<p>Isotherm {escape(version)} serves here.</p><ul>"
        '<li><a href="/api/v1/docs">The REST API</a> (<a href="/api/v1/openapi.json">OpenAPI 3.1</a>)</li>'
        '<li><a href="/healthz">Health</a>, <a href="/readyz">readiness</a>, <a href="/metrics">metrics</a></li></ul>'
        "<p>From a terminal: <code>isotherm --help</code>.</p>",
    )


def reference_page(document: Mapping[str, Any]) -> HTMLResponse:
    """Every operation with its permission, parameters, body and answers."""
    parts = ["<p>Send <code>Authorization: Bearer iso_…</code>. Errors are <code>application/problem+json</code>.</p>"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.append(_operation(method.upper(), path, operation))
    return _page("Isotherm: the REST API", "".join(parts))


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    rows = [("permission", f"<code>{escape(operation['x-isotherm-permission'])}</code>")]
    for parameter in operation.get("parameters", ()):
        about = escape(parameter.get("description") or parameter["schema"].get("description") or "")
        rows.append((parameter["in"], f"<code>{escape(parameter['name'])}</code> {about}"))
    rows += [("body", f"<code>{escape(media)}</code>") for media in operation.get("requestBody", {}).get("content", {})]
    rows += [(status, escape(answer["description"])) for status, answer in operation["responses"].items()]
    table = "".join(f"<tr><td>{escape(left)}</td><td>{right}</td></tr>" for left, right in rows)
    return (
        f"<h3><code>{method} {escape(path)}</code></h3><p>{escape(operation['summary'])}. "
        f"{escape(operation.get('description', ''))}</p><table>{table}</table>"
    )


def _page(title: str, body: str) -> HTMLResponse:
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_style}</style>'
        f"<h1>{title}</h1>{body}</html>",
        headers=_policy,
    )
