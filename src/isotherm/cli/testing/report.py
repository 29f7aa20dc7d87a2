"""What `isotherm test` says: as pytest does, as JSON, and as JUnit's XML."""

import xml.etree.ElementTree as Xml
from collections.abc import Sequence
from pathlib import Path

import msgspec

from isotherm.base.errors import Invalid
from isotherm.cli.output import output
from isotherm.cli.times import duration

__all__ = ["Verdict", "show", "summary", "write_junit"]

WIDTH = 80


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one case. `problems`: why it failed; none: it passed."""

    name: str
    file: str
    problems: list[str]
    run_ms: float
    total_ms: float
    request_id: str = ""
    log: str = ""

    @property
    def passed(self) -> bool:
        return not self.problems


def show(verdict: Verdict, number: int, count: int) -> None:
    """One line as soon as it is known."""
    word = "PASSED" if verdict.passed else "FAILED"
    left = f"{verdict.file} {word} ({duration(verdict.run_ms)})"
    output.line(f"{left:<{WIDTH - 7}} [{100 * number // count:>3}%]")


def summary(verdicts: Sequence[Verdict], took_s: float) -> None:
    """What failed and why, then the counts."""
    failed = [each for each in verdicts if not each.passed]
    if failed:
        output.line(" FAILURES ".center(WIDTH, "="))
    for each in failed:
        output.line(f" {each.name} ".center(WIDTH, "_"))
        for line in each.problems:
            output.line(line if line[:1] in ("-", "+", " ", "@") else f"E   {line}")
        if each.log.strip():
            output.line(" log of the call ".center(WIDTH, "-"))
            output.line(each.log.rstrip("\n"))
    counts = [f"{len(failed)} failed"] * bool(failed) + [f"{len(verdicts) - len(failed)} passed"]
    output.line(f" {', '.join(counts)} in {took_s:.2f}s ".center(WIDTH, "="))


def write_junit(path: Path, suite: str, verdicts: Sequence[Verdict], took_s: float) -> None:
    """In the form that continuous integration reads. Raises `Invalid` where it cannot be written."""
    failures = sum(not each.passed for each in verdicts)
    counts = {"tests": str(len(verdicts)), "failures": str(failures), "errors": "0", "time": f"{took_s:.3f}"}
    root = Xml.Element("testsuites", counts)
    group = Xml.SubElement(root, "testsuite", {"name": suite} | counts)
    for each in verdicts:
        about = {"classname": suite, "name": each.name, "file": each.file, "time": f"{each.total_ms / 1000:.3f}"}
        case = Xml.SubElement(group, "testcase", about)
        if each.problems:
            failure = Xml.SubElement(case, "failure", {"message": _clean(each.problems[0])})
            failure.text = _clean("\n".join(each.problems))
        if each.log:
            Xml.SubElement(case, "system-out").text = _clean(each.log)
    Xml.indent(root)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Xml.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as exc:
        raise Invalid(f"--junit {path}: {exc.strerror}; choose a file that can be written") from exc


def _clean(text: str) -> str:
    """Without the characters that XML 1.0 has no place for."""
    return "".join(char if char in "\t\n\r" or " " <= char <= "\ud7ff" or char >= "\ue000" else "�" for char in text)
