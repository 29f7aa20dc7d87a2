"""Nouns of layers: zips that functions of a namespace share, each version immutable."""

import msgspec

__all__ = ["LayerStatement", "LayerVersion"]


class LayerStatement(msgspec.Struct, frozen=True, kw_only=True):
    """Who else may use a version; kept and shown, see the guide."""

    sid: str
    action: str
    principal: str
    organization: str | None = None


class LayerVersion(msgspec.Struct, frozen=True, kw_only=True):
    namespace: str
    name: str
    version: int
    package: str  # digest of its zip
    size_bytes: int
    created_at_ms: int
    description: str = ""
    license: str = ""
    runtimes: list[str] = msgspec.field(default_factory=list)
    architectures: list[str] = msgspec.field(default_factory=list)
    statements: list[LayerStatement] = msgspec.field(default_factory=list)
