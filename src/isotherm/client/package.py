"""A folder of code as a zip: the same bytes for the same content, without what has no place in a package."""

import io
import os
import re
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from isotherm.base.errors import InvalidPackage, TooLarge

__all__ = ["IGNORE_FILE", "files_of", "ignored", "parse_patterns", "zip_folder"]

IGNORE_FILE = ".isothermignore"
MAX_FILES = 20_000
MAX_BYTES = 1 << 30
_EPOCH = (1980, 1, 1, 0, 0, 0)

DEFAULTS = """
.git/
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
"""

Pattern = tuple[re.Pattern[str], bool, bool]  # expression, folders only, negated


def zip_folder(folder: Path) -> bytes:
    """The zip to upload. Raises `InvalidPackage` (a link that leads out, nothing in it), `TooLarge`."""
    buffer = io.BytesIO()
    total = 0
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for count, path in enumerate(files_of(folder), 1):
            total += path.stat().st_size
            if count > MAX_FILES or total > MAX_BYTES:
                raise TooLarge(
                    f"{folder}: more than {MAX_FILES} files or {MAX_BYTES >> 30} GiB; is this the right folder? "
                    f"Patterns in {IGNORE_FILE} leave files out"
                )
            info = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _EPOCH)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.create_system = 3
            info.external_attr = (0o100755 if os.access(path, os.X_OK) else 0o100644) << 16
            archive.writestr(info, path.read_bytes())
    if not total:
        raise InvalidPackage(f"{folder}: nothing to deploy; the folder is empty or all is left out")
    return buffer.getvalue()


def files_of(folder: Path) -> Iterator[Path]:
    """The files that belong in the package, in the order of their names. Raises `InvalidPackage`."""
    patterns = parse_patterns(DEFAULTS.splitlines())
    own = folder / IGNORE_FILE
    if own.is_file():
        patterns += parse_patterns(own.read_text(encoding="utf-8").splitlines())
    yield from sorted(_walk(folder, folder.resolve(), "", patterns), key=lambda path: path.relative_to(folder).parts)


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
