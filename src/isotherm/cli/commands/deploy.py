"""`isotherm deploy`: zip, upload, make a revision, follow it until it serves."""

from pathlib import Path
from typing import Any

import msgspec

from isotherm.base.errors import Invalid
from isotherm.cli.commands.rollouts import follow
from isotherm.cli.output import output
from isotherm.cli.steps import Steps, steps_for
from isotherm.cli.times import duration, size
from isotherm.client import Client
from isotherm.client.model import Progress

__all__ = ["run", "show_step"]


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
    pairs = dict(_pair(text) for text in env)
    with steps_for(output) as steps:
        deployed = client.functions.deploy(
            folder, name=name, env=pairs, public=public, rollout=plan,
            abort_rollout=abort_rollout, on_progress=lambda line: show_step(line, steps),
        )  # fmt: skip
    if watch and deployed.rollout is not None:
        follow(client, deployed.name, client.rollouts.get(deployed.name, deployed.rollout))
    if output.json:
        output.result(msgspec.to_builtins(deployed))
        return
    word = "deployed" if not deployed.unchanged else "live again:" if deployed.moved else "unchanged"
    output.line(f"{word} {deployed.name} revision {deployed.number} in {duration(deployed.took_ms)}")
    if deployed.rollout is not None:
        output.line(f"live goes to it by {deployed.rollout}: `isotherm rollout status {deployed.name}`")
    output.line(deployed.url)


def show_step(line: Progress, steps: Steps) -> None:
    """A step of a deploy, as it is told."""
    if line.step == "upload":
        steps.now(f"uploading {size(int(line.message))}")
        return
    if line.package is not None:
        needs = ", with requirements.txt" if line.package.requirements else ""
        files = f"{line.package.files} files, {size(line.package.size_bytes)}"
        steps.done(f"package {line.package.digest[:12]}: {files}{needs}")
        return
    if line.step == "revision":
        steps.done(f"revision {line.message}")
        return
    message = line.message.strip().rpartition("\n")[2]
    if line.state == "running":
        steps.now(f"  {line.step:<14} {message}".rstrip())
        return
    took = duration(line.elapsed_ms) if line.state == "done" else line.state
    steps.done(f"  {line.step:<14} {took:>8}  {message}".rstrip())


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Invalid(f"--env {text}: expected NAME=VALUE")
    return name, value
