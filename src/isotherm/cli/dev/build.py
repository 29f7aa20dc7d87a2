"""From a folder to the revision that has the calls: pack, upload, deploy, follow; and where the time went."""

import hashlib
import time
from pathlib import Path
from typing import Any

import msgspec

from isotherm.base.errors import Invalid, IsothermError
from isotherm.cli.commands.deploy import show_step
from isotherm.cli.steps import Steps
from isotherm.client import Client
from isotherm.client.archive import Packer
from isotherm.functions.manifest import MANIFEST, Manifest, read_manifest

__all__ = ["Builder", "Built", "development_config"]

PACK_TRIES = 10
PACK_PAUSE_S = 0.02


class Built(msgspec.Struct, frozen=True, kw_only=True):
    """A revision that has the calls now. `steps_ms` says where the time went, by step, in order."""

    number: int
    url: str
    changed: bool  # False: code and configuration are as before
    steps_ms: dict[str, float]

    @property
    def took_ms(self) -> float:
        return sum(self.steps_ms.values())


class Builder:
    """Deploys one folder again and again as a development function called `name`."""

    def __init__(self, client: Client, folder: Path, name: str, *, debug: bool = False) -> None:
        self.name = name
        self._client = client
        self._folder = folder
        self._debug = debug
        self._packer = Packer(folder)
        self._mine = False  # whether the function is one that this made
        self._uploaded: tuple[str, str] | None = None  # digest of what was packed, and the platform's own name for it

    def build(self, steps: Steps) -> Built:
        """Until it has the calls. Raises why it cannot: the former revision goes on then."""
        taken: dict[str, float] = {}
        clock = time.monotonic()

        def took(step: str) -> None:
            nonlocal clock
            now = time.monotonic()
            taken[step] = (now - clock) * 1000
            clock = now

        manifest = read_manifest(self._folder / MANIFEST)
        content = self._pack()
        took("pack")
        package = self._upload(content)
        took("upload")
        config = development_config(manifest, package, debug=self._debug)
        revision = self._client.revisions.make(self.name, config)
        self._mine = True
        took("deploy")
        changed = revision.state != "ready"
        if changed:
            self._client.revisions.wait(self.name, revision, on_progress=lambda line: show_step(line, steps))
        took("build")
        return Built(number=revision.number, url=revision.url, changed=changed, steps_ms=taken)

    def content(self) -> str | None:
        """A digest of all that a build depends on; None where it cannot be read now."""
        try:
            return hashlib.sha256((self._folder / MANIFEST).read_bytes() + self._packer.pack()).hexdigest()
        except (OSError, IsothermError):
            return None

    def stale(self) -> bool:
        """Whether the folder holds something else than what was built last."""
        try:
            digest = hashlib.sha256(self._pack()).hexdigest()
        except IsothermError:
            return True
        return self._uploaded is None or self._uploaded[0] != digest

    def remove(self) -> bool:
        """Delete the function, where this made it; whether it did. Raises `NotFound` where it is gone."""
        if self._mine:
            self._client.functions.delete(self.name)
        return self._mine

    def _pack(self) -> bytes:
        """An editor replaces a file by another, so that for a moment there is none."""
        for _ in range(PACK_TRIES - 1):
            try:
                return self._packer.pack()
            except OSError:
                time.sleep(PACK_PAUSE_S)
        try:
            return self._packer.pack()
        except OSError as exc:
            raise Invalid(f"{exc.filename or self._folder}: cannot be read: {exc.strerror}") from exc

    def _upload(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        if self._uploaded is None or self._uploaded[0] != digest:
            self._uploaded = digest, self._client.packages.upload(content).digest
        return self._uploaded[1]


def development_config(manifest: Manifest, package: str, *, debug: bool) -> dict[str, Any]:
    """The manifest's configuration for a development function: no schedules, no rollout, and no destinations, which
    would carry what half-written code answers to functions that are not."""
    fields = {key: value for key, value in manifest.fields.items() if key not in ("cron", "rollout", "asynchronous")}
    config = Manifest(name=manifest.name, fields=fields).config(package)
    made: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(config, development=True, debug=debug))
    return made
