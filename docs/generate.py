"""Write docs/reference from the code, or with --check say which page no longer matches it (exit 1)."""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from isotherm.base.errors import IsothermError, all_errors
from isotherm.base.settings import describe_settings

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/generate.py (`make docs`); edits here are lost. -->\n"


# Variables that are no settings: who reads them, and what for.
VARIABLES = (
    (
        "ISOTHERM_MASTER_KEY",
        "control, host",
        "32 bytes, base64, that encrypt secrets at rest; default: `keys/master.key`",
    ),
    ("ISOTHERM_URL", "command line", "Where the platform is; default: the profile that `login` or `up` saved"),
    ("ISOTHERM_KEY", "command line", "The key to call it with; default: that of the profile"),
)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def code(text: object) -> str:
    return f"`{text}`" if text not in ("", None) else ""


def settings_page() -> str:
    rows = [
        (code(name), code("--" + name.replace("_", "-")), code(variable), code(default), help_text)
        for name, variable, default, help_text in describe_settings()
    ]
    return f"""# Settings

A flag of `isotherm up` wins over an environment variable, a variable over the default. Flags that `isotherm up --help`
does not show are set by their variable only. A bad value stops the start; the message names the source and what was
expected.

{table(("setting", "flag", "variable", "default", "meaning"), rows)}
## Other variables

{table(("variable", "read by", "meaning"), [(code(name), reader, meaning) for name, reader, meaning in VARIABLES])}"""


def errors_page() -> str:
    def depth(kind: type[IsothermError]) -> int:
        return len(kind.__mro__) - len(IsothermError.__mro__)

    kinds = sorted(all_errors().values(), key=lambda kind: (kind.status, depth(kind), kind.code))
    rows = [
        (code(kind.code), str(kind.status), str(kind.exit_code), kind.title, (kind.__doc__ or "").strip())
        for kind in kinds
    ]
    return f"""# Errors

Every error that a caller can see is one of these. Over HTTP it is `application/problem+json` (RFC 9457) with `code`,
`detail`, where there is one `instance` (the request id), and `data`, which is what caused it. The command line prints
the same message and ends with the exit code.

{table(("code", "HTTP status", "exit code", "title", "when"), rows)}"""


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "errors.md": errors_page,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    stale = []
    for name, page in PAGES.items():
        path, text = REFERENCE / name, NOTE + "\n" + page()
        if check and (not path.exists() or path.read_text() != text):
            stale.append(str(path))
        elif not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    if stale:
        print(f"these pages do not match the code; run `make docs`: {', '.join(stale)}", file=sys.stderr)
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
