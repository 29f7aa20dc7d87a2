"""A deploy from a folder to a revision that serves: zip, upload, make the revision, follow it."""

import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from isotherm.base.errors import IsothermError, NotFound, TimedOut, Unavailable, error_from_problem
from isotherm.client.model import Deployed, Function, Package, Progress, Revision, Rollout
from isotherm.client.package import zip_folder
from isotherm.client.request import Request, function_path
from isotherm.client.session import Session

__all__ = ["BUILD_S", "UPLOAD_S", "deploy", "upload"]

UPLOAD_S = 300.0
BUILD_S = 1800.0  # longest silence between two steps: an install of dependencies may take that long
FOLLOW_TRIES = 20
FOLLOW_PAUSE_S = 0.5
Tell = Callable[[Progress], None]


async def deploy(
    session: Session,
    folder: Path,
    name: str | None,
    env: Mapping[str, str] | None,
    public: bool | None,
    rollout: Mapping[str, Any] | None,
    *,
    abort_rollout: bool,
    tell: Tell,
    timeout_s: float,
) -> Deployed:
    """See `AsyncFunctions.deploy`."""
    from isotherm.client.manifests import read_changed

    started_s = time.monotonic()
    manifest = await session.wire.work(partial(read_changed, folder, name, env, public, rollout))
    path = session.path(function_path(manifest.name))
    before = await _live(session, path)
    package = await _upload(session, folder, tell)
    config = msgspec.to_builtins(manifest.config(package.digest))
    revision = await session.put(path, Revision, config, abort_rollout=True if abort_rollout else None)
    unchanged = revision.state == "ready"
    if not unchanged:
        tell(Progress(step="revision", state="done", message=str(revision.number)))
        await _follow(session, f"{path}/revisions/{revision.number}/progress", revision, tell, timeout_s)
    took_ms = (time.monotonic() - started_s) * 1000
    return Deployed(
        name=manifest.name,
        number=revision.number,
        url=(await session.get(path, Function)).url,  # that of the revision is by its number
        took_ms=took_ms,
        unchanged=unchanged,
        moved=bool(before) and before != [revision.number],
        rollout=await _rollout(session, path, revision.number) if "rollout" in manifest.fields else None,
    )


async def upload(session: Session, content: bytes) -> Package:
    """The same zip again is the same package."""
    request = Request(
        method="POST", path=session.path("packages"), headers={"Content-Type": "application/zip"}, content=content,
        timeout_s=session.limit_s(None, UPLOAD_S), repeatable=True,
    )  # fmt: skip
    return session.decode((await session.send(request)).content, Package)


async def _live(session: Session, path: str) -> list[int]:
    """The revisions that have the calls now; none where there is no such function."""
    try:
        return [each.number for each in (await session.get(path, Function)).live]
    except NotFound:
        return []


async def _upload(session: Session, folder: Path, tell: Tell) -> Package:
    content = await session.wire.work(partial(zip_folder, folder))
    tell(Progress(step="upload", state="running", message=str(len(content))))
    package = await upload(session, content)
    tell(Progress(step="package", state="done", package=package))
    return package


async def _follow(session: Session, path: str, revision: Revision, tell: Tell, timeout_s: float) -> None:
    """Until the revision is ready; a stream that breaks (control restarts) is taken up again."""
    for attempt in range(FOLLOW_TRIES):
        try:
            async with aclosing(session.lines(path, Progress, timeout_s)) as lines:
                async for line in lines:
                    if line.done:
                        return _end(line)
                    tell(line)
        except Unavailable:
            if attempt == FOLLOW_TRIES - 1:
                raise
        await session.wire.sleep(FOLLOW_PAUSE_S)
    raise TimedOut(f"revision {revision.number} is still building; `revisions.get` tells its state")


def _end(line: Progress) -> None:
    """Raises why the revision failed, where it did."""
    if line.problem is not None:
        raise error_from_problem(line.problem)
    if line.state != "ready":
        raise IsothermError(f"the revision is {line.state}, and the platform gave no reason")


async def _rollout(session: Session, path: str, number: int) -> str | None:
    """The open rollout that moves `live` to this revision."""
    async with aclosing(session.pages(f"{path}/rollouts", Rollout, 10)) as newest:
        async for each in newest:
            if (each.alias, each.to, each.state) == ("live", number, "open"):
                return each.id
    return None
