"""Secrets through the real processes: taken up under load without a lost call, and found nowhere afterwards."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import Platform, Ran, running_platform, wait_until
from tests.e2e.load import Load

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.slow]
TAKEN_UP_S = 10.0
MASK = "********"
TOKEN = "import os, time\nTOKEN = os.environ.get('TOKEN', 'none')\n"
TELLING = TOKEN + "\ndef handler(event, context):\n    time.sleep(0.003)\n    return TOKEN\n"
PICKY = TELLING + "if 'bad' in TOKEN:\n    raise ValueError('refused: ' + TOKEN)\n"
CHATTY = (
    TOKEN
    + """
import logging, sys
print('at import', TOKEN)

def handler(event, context):
    print('printed', TOKEN, {'token': TOKEN})
    sys.stderr.write('to stderr ' + TOKEN + '\\n')
    os.write(1, b'raw ' + TOKEN.encode() + b'\\n')
    logging.getLogger().error('logged %s', TOKEN)
    if event.get('fail'):
        raise ValueError('raised ' + TOKEN)
    return len(TOKEN)
"""
)


@pytest.fixture(scope="module")
def victim(can_isolate: None) -> Iterator[Platform]:
    with running_platform() as running:
        yield running


def put(platform: Platform, name: str, value: str) -> Ran:
    """As a person does: the value on standard input."""
    ran = platform.cli("secrets", "set", name, "--json", input=value + "\n")
    assert ran.code == 0, ran.out + ran.err
    return ran


def test_a_changed_secret_is_taken_up_under_load_and_no_call_is_lost(victim: Platform) -> None:
    put(victim, "load-token", "value-0")
    victim.function("loaded", TELLING, secrets={"TOKEN": "load-token"})
    with Load(victim, "loaded") as load:
        load.wait_for_more(50)
        for number in range(1, 4):
            assert put(victim, "load-token", f"value-{number}").json["used_by"] == ["loaded"]
            began = time.monotonic()
            wait_until(lambda number=number: load.answers[f'"value-{number}"'], "the new value", TAKEN_UP_S)
            assert time.monotonic() - began < TAKEN_UP_S

            def only_the_new_one(former: str = f'"value-{number - 1}"') -> bool:
                count = load.answers[former]
                load.wait_for_more(50)
                return load.answers[former] == count

            wait_until(only_the_new_one, "the end of what ran in the old instances")
    assert load.failures == []
    assert set(load.answers) == {f'"value-{number}"' for number in range(4)}
    assert victim.cli("versions", "loaded", "--json").json["items"][0]["number"] == 1, "it is the same revision"


def test_a_value_that_the_code_refuses_leaves_the_former_one_serving(victim: Platform) -> None:
    put(victim, "picky-token", "good-value")
    victim.function("picky", PICKY, secrets={"TOKEN": "picky-token"})
    assert victim.invoke("picky").json() == "good-value"
    put(victim, "picky-token", "bad-value")

    def said() -> bool:
        return "goes on with the former ones" in victim.cli("logs", "picky").out

    wait_until(said, "the line in the function's log")
    shown = wait_until(lambda: _former_secrets(victim), "its state")
    assert shown.endswith(f"ValueError: refused: {MASK}")
    assert victim.invoke("picky").json() == "good-value"
    put(victim, "picky-token", "better-value")
    wait_until(lambda: victim.invoke("picky").json() == "better-value", "the next value", TAKEN_UP_S)
    wait_until(lambda: not _former_secrets(victim), "the end of what it said")


def _former_secrets(platform: Platform) -> str:
    lines = platform.cli("show", "picky").out.splitlines()
    return next((line for line in lines if "former secrets" in line), "")


def test_a_removal_by_force_takes_the_variable_away_and_a_restart_keeps_what_is_set(victim: Platform) -> None:
    put(victim, "gone-token", "some-value")
    victim.function("without", TELLING, secrets={"TOKEN": "gone-token"})
    refused = victim.cli("secrets", "rm", "gone-token")
    assert (refused.code, "used by without" in refused.err) == (73, True)
    assert victim.cli("secrets", "rm", "gone-token", "--force").code == 0
    wait_until(lambda: victim.invoke("without").json() == "none", "new instances", TAKEN_UP_S)
    put(victim, "gone-token", "back-again")
    wait_until(lambda: victim.invoke("without").json() == "back-again", "new instances", TAKEN_UP_S)
    former = victim.kill("host")
    wait_until(lambda: victim.pid("host") != former, "a new host process")
    wait_until(lambda: _answer(victim, "without") == "back-again", "the value after a restart")


def _answer(platform: Platform, name: str) -> object:
    try:
        return platform.invoke(name).json()
    except (OSError, ValueError):
        return None
    except Exception as exc:  # noqa: BLE001 -- whatever the client says of a host that is not back yet
        return exc


def test_a_value_is_found_nowhere_afterwards(victim: Platform) -> None:
    values = ["first-s3cr3t-Zx9", 'seco"nd s3cr3t-Qy7\nits second line-Kp3', "last-s3cr3t-Vw5"]
    outputs: list[str] = []

    def cli(*argv: str, **options: str) -> Ran:
        ran = victim.cli(*argv, **options)
        outputs.extend((ran.out, ran.err))
        return ran

    cli("secrets", "set", "chatty-token", input=values[0])
    victim.function("chatty", CHATTY, secrets={"TOKEN": "chatty-token"})
    for value in values:
        assert cli("secrets", "set", "chatty-token", input=value).code == 0
        wait_until(lambda value=value: victim.invoke("chatty").json() == len(value), "the value", TAKEN_UP_S)
        failed = victim.invoke("chatty", {"fail": True}, headers={"X-Amz-Log-Type": "Tail"})
        assert MASK in failed.text
        outputs.extend((failed.text, str(failed.headers)))
        assert cli("invoke", "chatty", "-d", '{"fail": true}', "--tail").code == 1

    folder = victim.folder / "code" / "broken"
    folder.mkdir(parents=True)
    (folder / "app.py").write_text(CHATTY + "raise RuntimeError('no good: ' + TOKEN)\n")
    (folder / "isotherm.toml").write_text('name = "broken"\n[secrets]\nTOKEN = "chatty-token"\n')
    broken = cli("deploy", str(folder))
    assert broken.code != 0
    assert MASK in broken.err

    wait_until(lambda: cli("logs", "chatty", "--limit", "1000").out.count(MASK) >= 12, "its lines")
    for argv in (
        ["show", "chatty"], ["show", "broken"], ["versions", "broken", "--json"], ["secrets", "ls"],
        ["show", "chatty", "--json"], ["status", "--json"], ["logs", "broken"], ["ls", "--json"],
    ):  # fmt: skip
        cli(*argv)
    with victim.http() as http:
        for path in ("/api/v1/events?limit=1000", "/api/v1/namespaces/default/invocations", "/api/v1/hosts"):
            answer = http.get(path)
            assert answer.status_code == 200
            outputs.append(answer.text)
    parts = [part for value in values for part in (value, json.dumps(value)[1:-1], *value.splitlines())]
    assert [part for part in parts if any(part in text for text in outputs)] == []
    assert _files_with(victim.folder, [part.encode() for part in parts]) == []


def _files_with(folder: Path, parts: list[bytes]) -> list[str]:
    """All that the platform wrote: its state, its log, its ready file. What it has mounted is not on the disk."""
    found, looked_at = [], 0
    for path in sorted(folder.rglob("*")):
        if path.is_relative_to(folder / "data" / "warden") or not path.is_file() or path.is_symlink():
            continue
        content = path.read_bytes()
        looked_at += 1
        found += [f"{path}: {part!r}" for part in parts if part in content]
    assert looked_at > 10
    return found


@pytest.mark.parametrize(
    ("secret", "variable"), [("x" * 49_152, "y" * 16_000), ("\x01" * 20_900, "")], ids=["plain", "escaped"]
)
def test_the_largest_values_that_are_let_in_reach_the_code(victim: Platform, secret: str, variable: str) -> None:
    code = "import os\n\ndef handler(event, context):\n    return [len(os.environ['A']), len(os.environ['B'])]\n"
    name = f"large-{len(secret)}"
    put(victim, name, secret)
    victim.function(name, code, env={"B": variable}, secrets={"A": name})
    assert victim.invoke(name).json() == [len(secret), len(variable)]
    victim.function("small", TELLING)
    refused = victim.cli("secrets", "set", name, input="\x01" * 40_000)
    assert "cannot take it" in refused.err
    assert victim.invoke("small").json() == "none", "the warden is still there"
