"""Which files of a folder belong into a package, and which are left out."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from isotherm.base.errors import InvalidPackage

__all__ = ["IGNORE_FILE", "Patterns", "files_of", "ignored", "parse_patterns", "patterns_of"]

IGNORE_FILE = ".isothermignore"

DEFAULTS = """
.git/
.gitignore
.gitattributes
.hg/
.svn/
.venv/
venv/
.env
.isotherm/
.isothermignore
__pycache__/
*.py[cod]
*.egg-info/
.mypy_cache/
.pytest_cache/
.ruff_cache/
.hypothesis/
.tox/
.nox/
.idea/
.vscode/
.DS_Store
node_modules/
*~
.*.sw?
.#*
"""

Pattern = tuple[re.Pattern[str], bool, bool]  # expression, folders only, negated
Patterns = list[Pattern]


def files_of(folder: Path) -> Iterator[Path]:
    """The files that belong in the package, in the order of their names. Raises `InvalidPackage`."""
    found = _walk(folder, folder.resolve(), "", patterns_of(folder))
    yield from sorted(found, key=lambda path: path.relative_to(folder).parts)


def patterns_of(folder: Path) -> Patterns:
    """What is left out: what has no place in any package, and what the folder's own file says."""
    patterns = parse_patterns(DEFAULTS.splitlines())
    own = folder / IGNORE_FILE
    if own.is_file():
        patterns += parse_patterns(own.read_text(encoding="utf-8").splitlines())
    return patterns


def parse_patterns(lines: Iterable[str]) -> list[Pattern]:
    """Patterns as in .gitignore: `*`, `?`, `[…]`, `**`, a leading `/`, a trailing `/`, and `!` to take back in."""
    patterns = []
    for line in lines:
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        negated, folders_only = text.startswith("!"), text.endswith("/")
        text = text.removeprefix("!").rstrip("/")
        anchored = "/" in text
        expression = ("" if anchored else "(?:.*/)?") + _translate(text.removeprefix("/"))
        patterns.append((re.compile(expression + r"\Z", re.DOTALL), folders_only, negated))
    return patterns


def ignored(relative: str, is_folder: bool, patterns: Iterable[Pattern]) -> bool:
    """Whether a path is left out; the last pattern that matches decides."""
    verdict = False
    for expression, folders_only, negated in patterns:
        if (is_folder or not folders_only) and expression.match(relative):
            verdict = not negated
    return verdict


def _walk(folder: Path, root: Path, prefix: str, patterns: list[Pattern]) -> Iterator[Path]:
    for entry in os.scandir(folder):
        relative = prefix + entry.name
        is_folder = entry.is_dir()
        if ignored(relative, is_folder, patterns):
            continue
        path = Path(entry.path)
        if entry.is_symlink() and (is_folder or not path.resolve().is_relative_to(root)):
            raise InvalidPackage(
                f"{path}: a link to a folder or out of the package; copy what it leads to, "
                f"or leave it out in {IGNORE_FILE}",
                file=relative,
            )
        if is_folder:
            yield from _walk(path, root, relative + "/", patterns)
        elif entry.is_file():
            yield path


def _translate(glob: str) -> str:
    """A glob as a regular expression, where `*` stays within one name and `**` does not."""
    pieces = re.split(r"(\*\*/|/\*\*$|\*|\?|\[[^\]]+\])", glob)
    known = {"**/": "(?:.*/)?", "/**": "/.*", "*": "[^/]*", "?": "[^/]"}
    return "".join(known.get(piece) or _translate_rest(piece) for piece in pieces)


def _translate_rest(piece: str) -> str:
    """A class such as `[a-z]` or `[!a]`, or text; a class that makes no sense is text."""
    if not piece.startswith("[") or not piece.endswith("]"):
        return re.escape(piece)
    negated = piece[1] in "!^"
    body = re.sub(r"[^\w-]|(?<!\w)-|-(?!\w)", lambda match: "\\" + match[0], piece[1 + negated : -1])
    expression = f"[{'^' * negated}{body}]"
    try:
        re.compile(expression)
    except re.error:
        return re.escape(piece)
    return expression
