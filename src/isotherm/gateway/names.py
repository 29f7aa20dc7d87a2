"""How a function is named in a URL or an ARN. Pure; a name that cannot be one is `None`, not an error."""

import re
from dataclasses import dataclass

from isotherm.base.ids import FUNCTION_PATTERN, NAME_PATTERN

__all__ = [
    "INVOKE_PREFIX",
    "STREAM_PREFIX",
    "Reference",
    "arn_region",
    "is_invoke",
    "parse_invoke_target",
    "parse_reference",
    "split_content_url",
]

INVOKE_PREFIX = b"/2015-03-31/functions/"
STREAM_PREFIX = b"/2021-11-15/functions/"  # Lambda's own: a version of its API per operation
INVOKES = (INVOKE_PREFIX, STREAM_PREFIX)
INVOKE_SUFFIX = "/invocations"
STREAM_SUFFIX = "/response-streaming-invocations"
LATEST = "$LATEST"  # Lambda's name of what is served when no qualifier is given

space_body = NAME_PATTERN.removeprefix("^").removesuffix("$")
name_body = FUNCTION_PATTERN.removeprefix("^").removesuffix("$")
qualifier_body = r"(?:\$LATEST|[A-Za-z0-9_-]{1,128})"
plain = re.compile(rf"(?:({space_body})/)?({name_body})(?::({qualifier_body}))?")
arn = re.compile(
    rf"arn:aws:lambda:[a-z0-9-]{{0,32}}:({space_body}|[0-9]{{12}}):function:({name_body})(?::({qualifier_body}))?"
)
partial_arn = re.compile(rf"(?:({space_body}|[0-9]{{12}}):)?function:({name_body})(?::({qualifier_body}))?")
qualifier_only = re.compile(qualifier_body)
region_in_arn = re.compile(r"/20[0-9-]{8}/functions/arn:aws[a-z-]*:lambda:([a-z0-9-]{1,32}):")


@dataclass(frozen=True, slots=True)
class Reference:
    """A function and, where given, a namespace and an alias or revision number."""

    namespace: str | None
    name: str
    qualifier: str | None


def parse_reference(text: str) -> Reference | None:
    """NAME, NAME:QUALIFIER, NS/NAME, NS/NAME:QUALIFIER, an ARN or the end of one from the account on. An account
    number stands for no namespace."""
    match = arn.fullmatch(text) or partial_arn.fullmatch(text) or plain.fullmatch(text)
    if match is None:
        return None
    namespace, name, qualifier = match.groups()
    if namespace is not None and namespace.isdigit():
        namespace = None
    return Reference(namespace, name, None if qualifier == LATEST else qualifier)


def arn_region(path: str) -> str | None:
    """The region in the ARN that an Invoke's path names its function by; None where there is none."""
    found = region_in_arn.match(path)
    return None if found is None else found[1]


def is_invoke(url: bytes) -> bool:
    """Whether a request target is that of an Invoke, streamed or not; other operations begin alike."""
    return url.startswith(INVOKES) and url.partition(b"?")[0].endswith(b"invocations")


def parse_invoke_target(path: str, qualifier: str | None) -> Reference | None:
    """From `/2015-03-31/functions/TARGET/invocations`, or the same of a streamed Invoke; TARGET percent-decoded;
    `qualifier` is that of the query."""
    streamed = path.startswith(STREAM_PREFIX.decode())
    prefix, suffix = (STREAM_PREFIX, STREAM_SUFFIX) if streamed else (INVOKE_PREFIX, INVOKE_SUFFIX)
    if not path.endswith(suffix):
        return None
    reference = parse_reference(path[len(prefix) : -len(suffix)])
    if reference is None or qualifier is None:
        return reference
    if reference.qualifier not in (None, qualifier) or not qualifier_only.fullmatch(qualifier):
        return None
    return Reference(reference.namespace, reference.name, None if qualifier == LATEST else qualifier)


def split_content_url(url: bytes) -> tuple[Reference, str, str] | None:
    """`(reference, path, query)` of a request target on the content port; the path is at least `/`.

    `/NAME/…` is in the namespace `default`; `/@NS/NAME/…` says it; NAME may carry `:QUALIFIER`.
    """
    text = url.decode("latin-1")
    path, _, query = text.partition("?")
    if path.startswith("/@"):
        namespace, _, rest = path[2:].partition("/")
        name, slash, tail = rest.partition("/")
        reference = parse_reference(f"{namespace}/{name}")
    else:
        name, slash, tail = path[1:].partition("/")
        reference = parse_reference(f"default/{name}") if path.startswith("/") else None
    if reference is None:
        return None
    return reference, slash + tail or "/", query
