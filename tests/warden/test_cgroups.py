"""Where control groups are made, on machines of every make."""

import os
from pathlib import Path

import pytest

from isotherm.warden.cgroups import CgroupError, Group, GroupLimits, find_hierarchies

V1 = """
30 24 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 24 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
33 24 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup rw
""".strip().splitlines()
OWN_V1 = ["4:memory:/jobs/7", "3:pids:/", "2:cpu,cpuacct:/", "0::/"]
V2 = ["33 24 0:29 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"]


def test_version_1_below_the_own_groups() -> None:
    found = find_hierarchies(V1, OWN_V1)
    assert found.version == 1
    group = found.group("isotherm-x").child("t1")
    assert group.directories == (
        "/sys/fs/cgroup/memory/jobs/7/isotherm-x/t1",
        "/sys/fs/cgroup/cpu,cpuacct/isotherm-x/t1",
        "/sys/fs/cgroup/pids/isotherm-x/t1",
    )
    assert group.memory_file.endswith("jobs/7/isotherm-x/t1/memory.usage_in_bytes")


def test_version_1_in_a_container_that_sees_its_part_alone() -> None:
    mounts = [line.replace(" / ", " /docker/abc ", 1) for line in V1]
    own = ["4:memory:/docker/abc", "3:pids:/docker/abc", "2:cpu,cpuacct:/docker/abc/inner"]
    found = find_hierarchies(mounts, own)
    assert found.parents["memory"] == "/sys/fs/cgroup/memory"
    assert found.parents["cpu"] == "/sys/fs/cgroup/cpu,cpuacct/inner"


def test_version_2() -> None:
    found = find_hierarchies(V2, ["0::/user.slice/session.scope"])
    assert found.version == 2
    assert found.group("isotherm-x").directories == ("/sys/fs/cgroup/isotherm-x",)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(CgroupError, match="pids"):
        find_hierarchies([line for line in V1 if "pids" not in line], OWN_V1)
    with pytest.raises(CgroupError, match="no control groups"):
        find_hierarchies([], [])


def test_limits_of_version_2_are_written_as_its_files_want_them(tmp_path: Path) -> None:
    group = Group("g", dict.fromkeys(("memory", "cpu", "pids"), str(tmp_path)), 2)
    for name in ("memory.max", "memory.swap.max", "cpu.max", "pids.max", "cgroup.subtree_control"):
        (tmp_path / name).touch()
    group.make(GroupLimits(memory_bytes=1 << 20, cpus=0.5, pids=9))
    group.delegate()
    assert (tmp_path / "memory.max").read_text() == "1048576"
    assert (tmp_path / "memory.swap.max").read_text() == "0"
    assert (tmp_path / "cpu.max").read_text() == "50000 100000"
    assert (tmp_path / "pids.max").read_text() == "9"
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory +cpu +pids"


def test_a_sweep_leaves_what_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "base" / "t1" / "i1").mkdir(parents=True)
    (tmp_path / "base" / "t2").mkdir()
    (tmp_path / "base" / "t2" / "file").touch()
    Group("base", {"memory": str(tmp_path / "base")}, 1).sweep()
    assert sorted(os.listdir(tmp_path / "base")) == ["t2"]
