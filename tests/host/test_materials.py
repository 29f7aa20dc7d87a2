"""Code and dependencies by content: made once, found again, told in steps; what fails leaves nothing."""

import asyncio
import io
import os
import zipfile
from pathlib import Path

import pytest

from isotherm.base.errors import BuildFailed, InvalidPackage, TooLarge, Unavailable
from isotherm.base.settings import Settings
from isotherm.host.installer import install_job
from isotherm.host.materials import MaterialStore
from isotherm.pool.templates import DriverSlot
from isotherm.pool.tenants import Tenants
from isotherm.sandbox.drivers.fake import FakeDriver
from isotherm.sandbox.model import Exit, JobResult
from isotherm.storage.drivers.memory import MemoryBlobs
from isotherm.wire.desired import RevisionSpec, WarmSpec
from isotherm.wire.quota import Quota


def package(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)
    return buffer.getvalue()


class Store:
    def __init__(self, folder: Path) -> None:
        self.blobs = MemoryBlobs()
        self.driver = FakeDriver()
        slot = DriverSlot()
        slot.put(self.driver)
        self.tenants = Tenants()
        self.materials = MaterialStore(folder, self.blobs, slot, Settings(max_unpacked_mb=1), self.tenants)
        self.steps: list[tuple[str, str]] = []

    def revision(self, content: bytes, **changes: object) -> RevisionSpec:
        values: dict[str, object] = {
            "id": "rev_1",
            "workload_id": "wl_1",
            "namespace": "default",
            "name": "f",
            "number": 3,
            "runtime": "python3.11",
            "handler": "app.handler",
            "package": self.blobs.put(content),
        }
        return RevisionSpec(**(values | changes))  # type: ignore[arg-type]  # the test names them right

    def on_step(self, step: str, state: str, _message: str) -> None:
        self.steps.append((step, state))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


async def test_code_is_unpacked_once_however_many_ask(store: Store) -> None:
    revision = store.revision(package(app__py="x = 1"), memory_mb=64, env={"A": "1"}, warm=WarmSpec(max_instances=3))
    specs = await asyncio.gather(*(store.materials.ensure(revision, store.on_step) for _ in range(5)))
    assert (Path(specs[0].code_dir) / "app.py").read_text() == "x = 1"
    assert store.steps.count(("unpack", "done")) + store.steps.count(("unpack", "cached")) == 5
    again = await store.materials.sandbox_spec(revision)
    assert again == specs[0]
    assert again.function_arn == "arn:aws:lambda:local:default:function:f"
    assert (again.function_version, again.deps_dir, again.env) == ("3", None, {"A": "1"})
    assert again.limits.revision_memory_bytes >= 4 * again.limits.memory_bytes


async def test_dependencies_are_installed_once_per_content(store: Store) -> None:
    one = store.revision(package(app__py="1", requirements__txt="left-pad==1"))
    two = store.revision(package(app__py="2", requirements__txt="left-pad==1"))
    three = store.revision(package(app__py="3", requirements__txt="left-pad==2"))
    found = [(await store.materials.ensure(each, store.on_step)).deps_dir for each in (one, two, three)]
    assert found[0] == found[1] != found[2]
    assert len(store.driver.jobs) == 2
    assert ("dependencies", "cached") in store.steps
    assert all(path is not None and Path(path).is_dir() for path in found)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (JobResult(exit=Exit(status=1), output="ERROR: No matching distribution"), "could not install"),
        (JobResult(exit=Exit(signal=9), output="", timed_out=True), "within 600 s"),
        (JobResult(exit=Exit(signal=9, out_of_memory=True), output=""), "2048 MB"),
    ],
)
async def test_a_failed_installation_tells_its_log_and_leaves_nothing(
    store: Store, result: JobResult, message: str
) -> None:
    store.driver.faults.job_result = result
    revision = store.revision(package(app__py="1", requirements__txt="nothing==0"))
    with pytest.raises(BuildFailed, match=message) as caught:
        await store.materials.ensure(revision, store.on_step)
    assert caught.value.data["log"] == result.output
    deps = (
        Path((await store.materials.ensure(store.revision(package(app__py="1")), store.on_step)).code_dir).parent.parent
        / "deps"
    )
    assert list(deps.iterdir()) == []
    store.driver.faults.job_result = JobResult(exit=Exit(status=0), output="")
    assert (await store.materials.ensure(revision, store.on_step)).deps_dir is not None


async def test_a_package_that_is_missing_or_bad_is_said_so(store: Store) -> None:
    with pytest.raises(Unavailable, match="deploy it again"):
        await store.materials.sandbox_spec(store.revision(b"x", package="0" * 64))
    with pytest.raises(InvalidPackage, match="zip"):
        await store.materials.sandbox_spec(store.revision(b"not a zip"))


async def test_unused_folders_go_after_a_while(store: Store) -> None:
    kept = store.revision(package(app__py="1", requirements__txt="a"))
    gone = store.revision(package(app__py="2", requirements__txt="b"))
    specs = [await store.materials.sandbox_spec(each) for each in (kept, gone)]
    for spec in specs:
        for path in (spec.code_dir, spec.deps_dir or ""):
            os.utime(path, (0, 0))
    await asyncio.to_thread(store.materials.sweep, [kept])
    assert [Path(spec.code_dir).exists() for spec in specs] == [True, False]
    assert [Path(spec.deps_dir or "").exists() for spec in specs] == [True, False]


def test_the_job_gets_pip_and_its_settings_but_no_other_secret(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("[global]\n")
    out = tmp_path / "deps" / "new"
    environ = {"PIP_INDEX_URL": "u", "HTTPS_PROXY": "p", "ISOTHERM_MASTER_KEY": "secret", "AWS_SECRET_ACCESS_KEY": "s"}
    job = install_job("name", tmp_path / "code", out, Settings(), environ)
    assert job.argv[:4] == ("python", "-m", "pip", "install")
    assert {"PIP_INDEX_URL", "HTTPS_PROXY"} <= set(job.env)
    assert "secret" not in str(job.env)
    assert job.read_only[str(tmp_path / "pip.conf")] == "/etc/pip.conf"
    assert job.read_only[str(tmp_path / "code")] == "/code"
    assert "/opt/pip" in job.read_only.values()


async def used(store: Store) -> int:
    return await asyncio.to_thread(store.materials.disk.used_bytes, "team")


async def test_a_namespace_takes_no_more_disk_than_its_quota_and_its_neighbour_is_not_asked(
    store: Store, tmp_path: Path
) -> None:
    store.tenants.put("team", Quota(disk_mb=1))
    small = store.revision(package(app__py="x" * 300_000), namespace="team")
    await store.materials.prepare(small, store.on_step)
    large = store.revision(package(app__py="y" * 900_000), namespace="team", id="rev_2")
    with pytest.raises(TooLarge, match=r"more than its quota of 1 MB.*revisions prune") as told:
        await store.materials.prepare(large, store.on_step)
    assert told.value.data == {"quota": "disk_mb", "limit": 1, "namespace": "team"}
    assert [entry.name for entry in (tmp_path / "code").iterdir()] == [small.package], "nothing is left of it"
    assert 300_000 <= await used(store) <= 310_000
    neighbour = store.revision(package(app__py="y" * 900_000), id="rev_3")
    await store.materials.prepare(neighbour, store.on_step)
    with pytest.raises(TooLarge):
        await store.materials.prepare(large, store.on_step)
    assert (tmp_path / "code" / large.package).is_dir(), "the neighbour needs it"
    store.materials.disk.forget(small.id)
    await store.materials.prepare(large, store.on_step)
    assert (await asyncio.to_thread(store.materials.disk.all_used_bytes)).keys() == {"team", "default"}


async def test_dependencies_count_too_and_what_was_let_in_is_never_refused_later(store: Store, tmp_path: Path) -> None:
    revision = store.revision(package(app__py="1", requirements__txt="left-pad==1"), namespace="team")
    spec = await store.materials.ensure(revision, store.on_step)
    assert spec.deps_dir is not None
    (Path(spec.deps_dir) / "large.so").write_bytes(b"x" * 2_000_000)
    store.tenants.put("team", Quota(disk_mb=1))
    assert await used(store) > 2_000_000
    assert await store.materials.sandbox_spec(revision) == spec
    another = store.revision(package(app__py="2"), namespace="team", id="rev_2")
    with pytest.raises(TooLarge):
        await store.materials.prepare(another, store.on_step)
    await asyncio.to_thread(store.materials.sweep, [])
    assert await used(store) == 0
