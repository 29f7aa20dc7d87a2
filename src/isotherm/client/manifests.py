"""isotherm.toml, with what was said otherwise. Loaded at the first deploy: it takes long to import."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from isotherm.base.errors import Invalid
from isotherm.functions.manifest import MANIFEST, Manifest, RolloutPlan, read_manifest

__all__ = ["Manifest", "read_changed"]


def read_changed(
    folder: Path,
    name: str | None,
    env: Mapping[str, str] | None,
    public: bool | None,
    rollout: Mapping[str, Any] | None,
) -> Manifest:
    """What is given wins over the manifest. Raises `InvalidManifest`, `Invalid`."""
    manifest = read_manifest(folder / MANIFEST)
    fields: dict[str, Any] = dict(manifest.fields)
    if env:
        fields["env"] = dict(fields.get("env", {})) | dict(env)
    if public is not None:
        fields["public"] = public
    if rollout:
        planned = msgspec.to_builtins(fields["rollout"]) if "rollout" in fields else {}
        fields["rollout"] = _plan(planned | dict(rollout))
    return Manifest(name=name or manifest.name, fields=fields)


def _plan(values: dict[str, Any]) -> RolloutPlan:
    try:
        return msgspec.convert(values, RolloutPlan)
    except msgspec.ValidationError as exc:
        raise Invalid(f"the rollout cannot be like this: {exc}") from exc
