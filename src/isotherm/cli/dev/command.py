"""`isotherm dev`: where to, under which name, with which debugger."""

from pathlib import Path

from isotherm.base.errors import Invalid
from isotherm.base.ids import is_name
from isotherm.cli.dev.local import some_platform
from isotherm.cli.dev.session import Session
from isotherm.functions.manifest import MANIFEST, read_manifest

__all__ = ["run"]


def run(
    folder: Path,
    name: str | None,
    namespace: str | None,
    *,
    debug_port: int | None,
    private: bool,
    allow_unisolated: bool,
) -> None:
    """Until it is ended. Raises `InvalidManifest`, `Unavailable`, `Conflict` (the name is taken in production)."""
    folder = folder.resolve()
    manifest = read_manifest(folder / MANIFEST)
    chosen = name or f"{manifest.name[:59]}-dev"
    if not is_name(chosen):
        raise Invalid(f"--name {chosen}: lower-case letters, digits and hyphens, the first a letter")
    with some_platform(namespace, private=private, allow_unisolated=allow_unisolated) as (client, profile):
        Session(client, profile, folder, chosen, debug_port=debug_port).run()
