"""`isotherm deploy`: zip, upload, make a revision, follow it until it serves."""

import time
from pathlib import Path
from typing import Any

import msgspec

from isotherm.base.errors import Invalid, IsothermError, NotFound, TimedOut, error_from_problem
from isotherm.cli.archive import zip_folder
from isotherm.cli.client import Client
from isotherm.cli.commands.rollouts import follow
from isotherm.cli.output import output
from isotherm.cli.steps import Steps, steps_for
from isotherm.cli.times import duration, size
from isotherm.cli.views import Package, Progress, Revision
from isotherm.functions.manifest import MANIFEST, Manifest, RolloutPlan, read_manifest

__all__ = ["Deployed", "deploy_folder", "follow_build", "run"]

BUILD_S = 1800.0  # longest silence between two steps: an install of dependencies may take that long
FOLLOW_TRIES = 20
FOLLOW_PAUSE_S = 0.5


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """A deploy that ended well."""

    name: str
    number: int
    url: str
    took_ms: float
    unchanged: bool
    moved: bool  # `live` was at another revision before
    warnings: list[str] = []  # time limits that hardly go together
    rollout: str | None = None  # id of the rollout that moves `live` to it, where that is not done at once


def run(
    client: Client,
    folder: Path,
    name: str | None,
    env: list[str],
    public: bool | None,
    plan: dict[str, Any],
    *,
    abort_rollout: bool,
    watch: bool,
) -> None:
    """Deploy a folder and print what came of it. Raises the platform's reason where it failed, and `RolledBack` where
    it was to be watched and went back."""
    manifest = read_manifest(folder / MANIFEST)
    manifest = _changed(manifest, name, env, public, plan)
    with steps_for(output) as steps:
        deployed = deploy_folder(client, folder, manifest, steps, abort_rollout=abort_rollout)
    if watch and deployed.rollout is not None:
        follow(client, manifest.name, client.rollout(manifest.name, deployed.rollout))
    if output.json:
        output.result(msgspec.to_builtins(deployed))
        return
    for warning in deployed.warnings:
        output.note(f"warning: {warning}")
    word = "deployed" if not deployed.unchanged else "live again:" if deployed.moved else "unchanged"
    output.line(f"{word} {deployed.name} revision {deployed.number} in {duration(deployed.took_ms)}")
    if deployed.rollout is not None:
        output.line(f"live goes to it by {deployed.rollout}: `isotherm rollout status {deployed.name}`")
    output.line(deployed.url)


def deploy_folder(
    client: Client, folder: Path, manifest: Manifest, steps: Steps, *, abort_rollout: bool = False
) -> Deployed:
    """Deploy and wait until the revision serves."""
    started = time.monotonic()
    before = _live(client, manifest.name)
    package = _upload(client, folder, steps)
    config = msgspec.to_builtins(manifest.config(package.digest))
    revision = client.deploy(manifest.name, config, abort_rollout=abort_rollout)
    unchanged = revision.state == "ready"
    if not unchanged:
        steps.done(f"revision {revision.number}")
        follow_build(client, manifest.name, revision, steps)
    took_ms = (time.monotonic() - started) * 1000
    url = client.function(manifest.name).url  # that of the revision is by its number
    return Deployed(
        name=manifest.name,
        number=revision.number,
        url=url,
        took_ms=took_ms,
        unchanged=unchanged,
        warnings=revision.warnings,
        moved=bool(before) and before != [revision.number],
        rollout=_rollout(client, manifest, revision.number),
    )


def _live(client: Client, name: str) -> list[int]:
    """The revisions that have the calls now; none where there is no such function."""
    try:
        return [each.number for each in client.function(name).live]
    except NotFound:
        return []


def _rollout(client: Client, manifest: Manifest, number: int) -> str | None:
    """The open rollout that moves `live` to this revision."""
    if "rollout" not in manifest.fields:
        return None
    newest = client.rollouts(manifest.name, 10)
    return next((each.id for each in newest if (each.alias, each.to, each.state) == ("live", number, "open")), None)


def _upload(client: Client, folder: Path, steps: Steps) -> Package:
    content = zip_folder(folder)
    steps.now(f"uploading {size(len(content))}")
    package = client.upload(content)
    needs = ", with requirements.txt" if package.requirements else ""
    steps.done(f"package {package.digest[:12]}: {package.files} files, {size(len(content))}{needs}")
    return package


def follow_build(client: Client, name: str, revision: Revision, steps: Steps) -> None:
    """Until the revision is ready; a stream that breaks (control restarts) is taken up again. Raises why it failed."""
    for attempt in range(FOLLOW_TRIES):
        try:
            for line in client.progress(name, revision.number, BUILD_S):
                if line.done:
                    _end(line)
                    return
                _show(line, steps)
        except IsothermError as exc:
            if exc.code != "unavailable" or attempt == FOLLOW_TRIES - 1:
                raise
        time.sleep(FOLLOW_PAUSE_S)
    raise TimedOut(f"{name}: revision {revision.number} is still building; `isotherm versions {name}` shows its state")


def _end(line: Progress) -> None:
    """Raises why the revision failed, where it did."""
    if line.problem is not None:
        raise error_from_problem(line.problem)
    if line.state != "ready":
        raise IsothermError(f"the revision is {line.state}, and the platform gave no reason")


def _show(line: Progress, steps: Steps) -> None:
    message = line.message.strip().rpartition("\n")[2]
    if line.state == "running":
        steps.now(f"  {line.step:<14} {message}".rstrip())
        return
    took = duration(line.elapsed_ms) if line.state == "done" else line.state
    steps.done(f"  {line.step:<14} {took:>8}  {message}".rstrip())


def _changed(
    manifest: Manifest, name: str | None, env: list[str], public: bool | None, plan: dict[str, Any]
) -> Manifest:
    """The manifest with what the flags say otherwise."""
    fields: dict[str, Any] = dict(manifest.fields)
    if env:
        pairs = dict(_pair(text) for text in env)
        fields["env"] = dict(fields.get("env", {})) | pairs
    if public is not None:
        fields["public"] = public
    if plan:
        given = msgspec.to_builtins(fields["rollout"]) if "rollout" in fields else {}
        fields["rollout"] = _plan(given | plan)
    return Manifest(name=name or manifest.name, fields=fields)


def _plan(values: dict[str, Any]) -> RolloutPlan:
    try:
        return msgspec.convert(values, RolloutPlan)
    except msgspec.ValidationError as exc:
        raise Invalid(f"the rollout cannot be by these flags: {exc}") from exc


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Invalid(f"--env {text}: expected NAME=VALUE")
    return name, value
