"""Words: nothing in the project names the machine it was written on, and every noun is in the glossary."""

import re
from pathlib import Path

from tests.docs.pages import ROOT, tracked

# Put together here so that this file does not find itself.
FORBIDDEN = re.compile(
    "|".join(
        [
            "/" + r"work/[a-z.]",
            "/" + r"opt/(pypi|wheels|dev-venv)",
            "/" + r"root/\.pyenv",
            "index" + "-url",
            "files" + r"\.pythonhosted",
            "pypi" + r"\.org",
        ]
    )
)
UNFINISHED = re.compile(r"\b(TO" + "DO|FIX" + "ME|XX" + r"X)\b|raise Not" + "ImplementedError")
BINARY = {".png", ".zip", ".gz", ".bin", ".ico"}

NOUNS = [
    "Alias", "Deploy", "Driver", "Event", "Fleet", "Grant", "Handler", "Host", "Instance", "Invocation", "Keeper",
    "Key", "Link", "Manifest", "Namespace", "Package", "Pool", "Principal", "Probe", "Quota", "Record", "Revision",
    "Role", "Rollout", "Runtime", "Sandbox", "Secret", "Spare", "Template", "Temperature", "Unfit", "Warden",
    "Workload",
]  # fmt: skip


def lines_with(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    found = []
    for path in paths:
        if path.suffix in BINARY:
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if pattern.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    return found


def test_no_file_names_a_machine_or_a_package_index() -> None:
    assert lines_with(FORBIDDEN, tracked()) == []


def test_nothing_is_left_unfinished() -> None:
    assert lines_with(UNFINISHED, [path for path in tracked() if path.suffix == ".py"]) == []


def test_the_glossary_has_every_noun_in_order() -> None:
    words = re.findall(r"^\| ([A-Z][\w ]+) \|", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    assert [noun for noun in NOUNS if noun not in words] == []
    assert words == sorted(words, key=str.lower)


def test_docs_use_no_word_of_praise() -> None:
    praise = re.compile(
        r"\b(blazing|seamless|effortless|cutting-edge|world-class|powerful|leverag\w+)\b", re.IGNORECASE
    )
    assert lines_with(praise, [path for path in tracked() if path.suffix == ".md"]) == []
