"""What the warden takes from the host: nothing untyped, unbounded or outside DATA/host."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.warden.request import BadRequest, Kill, Prepare, RunJob, Start, parse_request, relative_path

HOST = "/var/lib/isotherm/host"
PREPARE: dict[str, Any] = {
    "op": "prepare",
    "id": "t1",
    "tenant": "default",
    "runtime": "python3.11",
    "code_dir": f"{HOST}/code/abc",
    "deps_dir": None,
    "config": "{}",
    "template": True,
    "threads": 1,
    "init_timeout_s": 10,
    "memory_bytes": 128 << 20,
    "cpus": 1.0,
    "pids": 64,
    "tmp_bytes": 64 << 20,
    "revision_memory_bytes": 1 << 30,
    "revision_pids": 1000,
}
RUN: dict[str, Any] = {
    "op": "run",
    "id": "j1",
    "argv": ["python", "-m", "pip"],
    "env": {"PIP_INDEX_URL": "https://pip.invalid/simple"},
    "read_only": {f"{HOST}/in": "/in"},
    "out_dir": f"{HOST}/deps/abc",
    "memory_bytes": 128 << 20,
    "pids": 64,
    "tmp_bytes": 64 << 20,
    "timeout_s": 600.0,
}


def test_good_requests_are_typed() -> None:
    prepare = parse_request(PREPARE, HOST)
    assert isinstance(prepare, Prepare)
    assert prepare.code_dir == "code/abc"
    assert prepare.limits.pids == 64
    run = parse_request(RUN, HOST)
    assert isinstance(run, RunJob)
    assert (run.out_dir, run.read_only) == ("deps/abc", ((f"{HOST}/in", "/in"),))
    assert parse_request({"op": "start", "id": "i5", "template": "t1"}, HOST) == Start(id="i5", template="t1")
    assert parse_request({"op": "kill", "id": "i5"}, HOST) == Kill(id="i5")
    for runtime in ("nodejs20", "provided"):
        assert isinstance(parse_request(PREPARE | {"runtime": runtime}, HOST), Prepare)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("op", "shell"),
        ("op", None),
        ("id", "../t1"),
        ("id", "t1/../../memory"),
        ("id", "t1\n"),
        ("id", "t" + "1" * 20),
        ("id", 1),
        ("tenant", "../default"),
        ("tenant", ""),
        ("runtime", "/bin/sh"),
        ("runtime", "python3.11\n"),
        ("runtime", "nodejs"),
        ("runtime", "nodejs20.x"),
        ("runtime", "provided/../sh"),
        ("code_dir", "/etc"),
        ("code_dir", f"{HOST}/../keys"),
        ("code_dir", f"{HOST}/code/../../../../etc"),
        ("code_dir", f"{HOST}//code"),
        ("code_dir", HOST),
        ("code_dir", f"{HOST}/"),
        ("code_dir", f"{HOST}-other/code"),
        ("code_dir", f"{HOST}/co\0de"),
        ("code_dir", "code"),
        ("deps_dir", "/"),
        ("config", ""),
        ("config", "x" * (1 << 18)),
        ("config", {}),
        ("template", 1),
        ("threads", 0),
        ("threads", True),
        ("init_timeout_s", float("nan")),
        ("init_timeout_s", float("inf")),
        ("init_timeout_s", -1),
        ("memory_bytes", 0),
        ("memory_bytes", -1),
        ("memory_bytes", 1 << 60),
        ("memory_bytes", "128M"),
        ("memory_bytes", 1.5),
        ("cpus", 0),
        ("pids", 1),
        ("tmp_bytes", 1 << 50),
        ("revision_pids", 1 << 30),
    ],
)
def test_a_bad_template_is_refused_by_field(field: str, value: object) -> None:
    with pytest.raises(BadRequest, match=field):
        parse_request(PREPARE | {field: value}, HOST)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("argv", []),
        ("argv", "sh -c x"),
        ("argv", ["a\0b"]),
        ("argv", [1]),
        ("argv", ["x"] * 1000),
        ("env", {"LD_PRELOAD=": "x"}),
        ("env", {"A": 1}),
        ("env", {"A": "x\0y"}),
        ("env", []),
        ("read_only", {"/x": "/usr/bin"}),
        ("read_only", {"/x": "/code/../usr"}),
        ("read_only", {"/x": "/code/.."}),
        ("read_only", {"/x": "/proc"}),
        ("read_only", {"/x": "/out"}),
        ("read_only", {"/x": "code"}),
        ("out_dir", "/etc"),
        ("out_dir", f"{HOST}/.."),
        ("timeout_s", 1e9),
    ],
)
def test_a_bad_job_is_refused_by_field(field: str, value: object) -> None:
    with pytest.raises(BadRequest, match=field):
        parse_request(RUN | {field: value}, HOST)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(base=st.sampled_from([PREPARE, RUN]), changes=st.dictionaries(st.sampled_from([*PREPARE, *RUN]), json_values))
def test_anything_is_parsed_or_refused(base: dict[str, Any], changes: dict[str, Any]) -> None:
    try:
        parsed = parse_request(base | changes, HOST)
    except BadRequest:
        return
    if isinstance(parsed, Prepare):
        assert not parsed.code_dir.startswith("/")
        assert ".." not in parsed.code_dir.split("/")


@given(st.text(alphabet="/.a\0", max_size=12))
def test_a_relative_path_stays_below(tail: str) -> None:
    found = relative_path(HOST + tail, HOST)
    if found is not None:
        assert found
        assert not found.startswith("/")
        assert not {"", ".", ".."} & set(found.split("/"))
