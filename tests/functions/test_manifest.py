"""isotherm.toml: every mistake is named with file, key and what was expected, all at once."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.errors import InvalidManifest
from isotherm.functions.manifest import parse_manifest, read_manifest
from isotherm.functions.model import FunctionConfig, WarmConfig
from isotherm.wire.egress import EgressAllow

DIGEST = "ab" * 32


def problems_of(text: str) -> list[str]:
    with pytest.raises(InvalidManifest) as caught:
        parse_manifest(text.encode())
    assert caught.value.message.startswith("isotherm.toml: ")
    return caught.value.data.get("problems", [caught.value.message])


def test_a_name_is_enough() -> None:
    manifest = parse_manifest(b'name = "hello"')
    assert manifest.name == "hello"
    assert manifest.config(DIGEST) == FunctionConfig(package=DIGEST)


def test_all_that_the_manifest_can_say() -> None:
    manifest = parse_manifest(b"""
        name = "hello"
        runtime = "python3.11"
        handler = "app.handler"
        memory_mb = 512
        timeout_s = 2
        concurrency = 8
        dispatch = "serial"
        isolation = "process"
        public = true
        [env]
        GREETING = "hi"
        [secrets]
        DB_PASSWORD = "db-password"
        [warm]
        min_instances = 1
        max_instances = 3
        keep_alive_s = 60
        spare = 2
        warm_event = { ping = true }
        policy = "foresight"
        budget = "p_cold <= 1%"
    """)
    config = manifest.config(DIGEST)
    assert config.timeout_s == 2.0
    assert config.env == {"GREETING": "hi"}
    assert config.secrets == {"DB_PASSWORD": "db-password"}
    assert config.warm == WarmConfig(
        min_instances=1, max_instances=3, keep_alive_s=60.0, spare=2, warm_event={"ping": True}, budget="p_cold <= 1%"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "name: missing"),
        ('name = "Hello World"', "name: expected a string that matches"),
        ('name = "a"\nmemroy_mb = 5', "memroy_mb: unknown key; did you mean memory_mb?"),
        ('name = "a"\nfrobnicate = 5', "frobnicate: unknown key; expected one of asynchronous, burst"),
        ('name = "a"\n[warn]\nspare = 1', "warn: unknown table; did you mean warm?"),
        ('name = "a"\n[warm]\nspares = 1', "warm.spares: unknown key; did you mean warm.spare?"),
        ('name = "a"\nmemory_mb = "256"', "memory_mb: expected a whole number; got '256'"),
        ('name = "a"\nmemory_mb = 1', "memory_mb: expected a whole number >= 32; got 1"),
        ('name = "a"\ntimeout_s = 0', "timeout_s: expected a number > 0.0; got 0"),
        ('name = "a"\npublic = "yes"', "public: expected true or false; got 'yes'"),
        ('name = "a"\ndispatch = "fast"', "dispatch: expected threads or serial; got 'fast'"),
        (
            'name = "a"\nruntime = "python2.7"',
            "runtime: expected python3.N, nodejs, nodejsN or provided; got 'python2.7'",
        ),
        ('name = "a"\n[env]\nPORT = 80', "env.PORT: expected text in quotes, at most 32768 characters; got 80"),
        ('name = "a"\n[env]\n"A B" = "x"', "env.A B: expected a name of letters, digits and _"),
        ('name = "a"\nenv = 3', "env: expected a table of names and texts"),
        ('name = "a"\n[secrets]\nTOKEN = "A B"', "secrets.TOKEN: expected the name of a secret"),
        ('name = "a"\n[secrets]\n"A B" = "x"', "secrets.A B: expected a name of letters, digits and _"),
        ('name = "a"\nsecrets = "x"', "secrets: expected a table of variables and names of secrets"),
        ('name = "a"\nhandler = "app"', "handler: expected MODULE.FUNCTION, such as app.handler; got 'app'"),
        ('name = "a"\nisolation = "none"', "isolation: expected process; got 'none'"),
        ('name = "a"\nwarm = 3', "warm: expected a table, got 3"),
        (
            'name = "a"\n[asynchronous]\nretry = 1',
            "asynchronous.retry: unknown key; did you mean asynchronous.retries?",
        ),
        ('name = "a"\ncron = 3', "cron: expected tables, each begun by [[cron]], got 3"),
        ('name = "a"\n[[cron]]\nname = "c"', "cron[0].schedule: missing"),
        (
            'name = "a"\n[[cron]]\nname = "c"\nschedule = "@daily"\nmissed = "no"',
            "cron[0].missed: expected skip or once or all; got 'no'",
        ),
        ('name = "a"\npackage = "x"', "package: unknown key"),
        ('name = "a"\negress = "some"', 'egress: expected "deny", "open", or a table such as [egress]'),
        ('name = "a"\n[egress]\nhost = ["a.b"]', "egress.host: unknown key; did you mean egress.hosts?"),
        ('name = "a"\n[egress]\nhosts = "a.b"', "egress.hosts: expected a list of texts, such as"),
        ('name = "a"\n[egress]\ncidrs = [80]', "egress.cidrs: expected a list of texts, such as"),
    ],
)
def test_a_mistake_names_the_key_and_what_was_expected(text: str, expected: str) -> None:
    (problem,) = problems_of(text)
    assert expected in problem


@pytest.mark.parametrize(
    ("text", "egress"),
    [
        ("", "deny"),
        ('egress = "open"', "open"),
        ('[egress]\nhosts = ["a.b:443"]', EgressAllow(hosts=["a.b:443"])),
        ('egress = { hosts = ["a.b"], cidrs = ["192.0.2.0/24"] }', EgressAllow(hosts=["a.b"], cidrs=["192.0.2.0/24"])),
    ],
)
def test_egress_is_a_word_or_a_table(text: str, egress: object) -> None:
    assert parse_manifest(f'name = "a"\n{text}'.encode()).config(DIGEST).egress == egress


def test_all_mistakes_come_at_once() -> None:
    found = problems_of('nam = "a"\nmemory_mb = 1\n[warm]\nspare = -1\nx = 1')
    assert len(found) == 5


def test_broken_toml_says_where() -> None:
    (problem,) = problems_of('name = "a"\nname = "b"\nx = 1')
    assert "line 2" in problem


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidManifest, match="isotherm init"):
        read_manifest(tmp_path / "isotherm.toml")


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_refused(content: bytes) -> None:
    with contextlib.suppress(InvalidManifest):
        assert parse_manifest(content).name


def test_how_it_is_rolled_out_is_a_table_of_its_own() -> None:
    manifest = parse_manifest(b'name = "hello"\n[rollout]\nstrategy = "canary"\nsteps = [1, 100]\n')
    plan = manifest.config("0" * 64).rollout
    assert (plan.strategy, plan.steps, plan.step_s) == ("canary", (1.0, 100.0), 60.0)
    with pytest.raises(InvalidManifest, match=r"rollout\.stragety: unknown key; did you mean rollout\.strategy"):
        parse_manifest(b'name = "hello"\n[rollout]\nstragety = "canary"\n')
