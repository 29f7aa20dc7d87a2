"""The language of the pages that are run: what is a step, and what an output may look like."""

from pathlib import Path

import pytest

from tests.docs.console import Command, File, Interrupt, steps_of
from tests.docs.patterns import Names, plain
from tests.docs.terminal import Terminal, environment_for

PAGE = """# A page

```sh
never run
```

## One

```console
$ isotherm init hello
made hello
$ isotherm invoke hello # exits 1
error: no
$ curl -s \\
    http://x
```

```python hello/app.py
x = 1
```

## Two

```toml >> hello/isotherm.toml
[env]
```

```console
^Cstopping
stopped
```
"""
ID = "6f0d2c9e-1b7a-4c52-a9f3-000000000007"
REAL = "227fc589-f79c-408c-a435-00000000000d"


def test_a_page_is_read_into_steps() -> None:
    init, invoke, curl, code, table, stop = steps_of(PAGE)
    assert init == Command("isotherm init hello", 10, 0, ["made hello"])
    assert invoke == Command("isotherm invoke hello", 12, 1, ["error: no"])
    assert curl == Command("curl -s http://x", 14)
    assert code == File("hello/app.py", "x = 1\n", 18, append=False)
    assert table == File("hello/isotherm.toml", "[env]\n", 24, append=True)
    assert stop == Interrupt(29, ["^Cstopping", "stopped"])
    assert steps_of(PAGE, "## Two") == [table, stop]
    assert steps_of(PAGE, "## One") == [init, invoke, curl, code]


def test_output_without_a_command_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="line 2: output before any command: lost"):
        steps_of("```console\nlost\n```\n")


@pytest.mark.parametrize(
    ("shown", "real", "missed"),
    [
        (["deployed in … ms", "url"], "deployed in 12 ms\nurl\n", None),
        (["deployed in … ms", "url"], "deployed in 1.2 s\nurl\n", "deployed in … ms"),
        (["a", "…", "d"], "a\nb\nc\nd\n", None),
        (["a", "…", "b"], "a\nb\n", None),
        (["a", "…", "d"], "a\nb\n", "d"),
        (["a"], "a\nb\n", "nothing more"),
        (["a", "b"], "a\n", "b"),
        ([], "a\n", "nothing more"),
        ([], "\n", None),
        (["NAME   LIVE", "─────", "hello  1"], "NAME LIVE \r\n────────────\r\nhello   1\r\n", None),
        (["revision 1"], "revision 2\n", "revision 1"),
        (["a.c"], "abc\n", "a.c"),
    ],
)
def test_an_output_is_as_shown_or_the_first_line_that_is_not_is_named(
    shown: list[str], real: str, missed: str | None
) -> None:
    assert Names().missed(shown, real) == missed


def test_ids_stand_for_what_came_in_their_place() -> None:
    names = Names()
    assert names.missed([f"START {ID}", f"END {ID}"], f"START {REAL}\nEND {REAL}\n") is None
    assert names.fill_in(f"isotherm explain {ID}") == f"isotherm explain {REAL}"
    assert names.missed([f"record {ID}"], f"record {REAL}\n") is None
    assert names.missed([f"record {ID}"], f"record {REAL[:-1]}e\n") == f"record {ID}"
    assert Names().missed([f"{ID} {ID}"], f"{REAL} {REAL[:-1]}e\n") == f"{ID} {ID}"


def test_keys_are_cut_on_the_page_and_whole_in_commands() -> None:
    names = Names()
    assert names.missed(["key  iso_uHkZ…"], "key    iso_KTt0HzxQ-jw_c\n") is None
    assert names.fill_in("KEY=iso_uHkZ…") == "KEY=iso_KTt0HzxQ-jw_c"
    with pytest.raises(ValueError, match="used before any output has shown it"):
        names.fill_in("KEY=iso_other")


def test_colours_and_returns_are_not_seen() -> None:
    assert plain("\x1b[1mcontent-type\x1b[0m: text\r\n\r\n") == ["content-type: text"]


def test_a_terminal_keeps_its_folder_and_tells_exit_codes(tmp_path: Path) -> None:
    shell = Terminal(tmp_path, environment_for(tmp_path))
    try:
        assert shell.run("mkdir a && cd a && A=1") == ("", 0)
        text, code = shell.run('[ -t 0 ] && [ -t 1 ] && printf "%s in %s…" "$A" "${PWD##*/}"; false')
        assert (text, code) == ("1 in a…", 1)
        shell.start("sleep 60")
        shell.read(0.5)
        shell.interrupt()
        assert shell.end(10)[1] == 130
    finally:
        shell.close()
