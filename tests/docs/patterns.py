"""What a page shows of a command's output, against what the command wrote.

- `…` in a line is any text within it, none too; a line that is `…` alone is any number of lines, none too.
- Runs of spaces, and of the rules below the heads of tables, are as long as they happen to be. Empty lines do not
  count.
- A request id, a key (`iso_…`) or another id stands for the one that came in its place at its first appearance, there
  and from then on: in output and in commands.
- All else is as it stands, and there is nothing beside it.
"""

import re

__all__ = ["Names", "plain"]

_hex = "[0-9a-f]"
_kinds = [  # what a page may show, what it stands for
    (
        rf"{_hex}{{8}}-{_hex}{{4}}-{_hex}{{4}}-{_hex}{{4}}-{_hex}{{12}}",
        rf"{_hex}{{8}}(?:-{_hex}{{4}}){{3}}-{_hex}{{12}}",
    ),
    (r"iso_\w[\w-]*…?", r"iso_[\w-]+"),
    (r"\b(?:inst|key|roll)_\w+…?", r"[a-z]+_[0-9a-z]{26}"),
]
_shown = re.compile("|".join(shown for shown, _ in _kinds))
_ellipsis = "…"


def plain(text: str) -> list[str]:
    """Lines as a person reads them: without colours, with single spaces, without empty ones."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.replace("\r", ""))
    lines = (re.sub(r"\s+", " ", re.sub("─+", "─", line)).strip() for line in text.split("\n"))
    return [line for line in lines if line]


class Names:
    """What the ids of a page stand for, as far as they have appeared."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def know(self, shown: str, real: str) -> None:
        """From now on the one stands for the other."""
        self._known[shown] = real

    def fill_in(self, command: str) -> str:
        """The command with what was found for its ids. Raises `ValueError` for one that no output has shown."""
        for name in _shown.findall(command):
            if name not in self._known:
                raise ValueError(f"{name} is used before any output has shown it: {command}")
        for name, value in sorted(self._known.items(), key=lambda each: -len(each[0])):
            command = command.replace(name, value)
        return command

    def missed(self, shown: list[str], real: str) -> str | None:
        """None where the output is as shown, and then its ids are known; else the first line that is not."""
        wanted, text = plain("\n".join(shown)), "".join(f"{line}\n" for line in plain(real))
        found = self._match(wanted, text, whole=True)
        if found is not None:
            self._known |= found
            return None
        for count in range(1, len(wanted) + 1):
            if self._match(wanted[:count], text, whole=False) is None:
                return wanted[count - 1]
        return "nothing more"

    def _match(self, shown: list[str], text: str, *, whole: bool) -> dict[str, str] | None:
        groups: dict[str, str] = {}
        pattern = "".join(self._line(line, groups) for line in shown)
        found = re.fullmatch(pattern, text) if whole else re.match(pattern, text)
        return None if found is None else {name: found[group] for name, group in groups.items()}

    def _line(self, line: str, groups: dict[str, str]) -> str:
        if line == _ellipsis:
            return r"(?:[^\n]*\n)*?"
        pattern, rest = "", 0
        ids = "|".join([*map(re.escape, sorted(self._known, key=len, reverse=True)), _shown.pattern])
        for part in re.finditer(ids, line):
            pattern += self._text(line[rest : part.start()]) + self._id(part[0], groups)
            rest = part.end()
        return pattern + self._text(line[rest:]) + "\n"

    def _text(self, text: str) -> str:
        return r"[^\n]*".join(re.escape(part) for part in text.split(_ellipsis))

    def _id(self, name: str, groups: dict[str, str]) -> str:
        if name in self._known:
            return re.escape(self._known[name])
        if name in groups:
            return f"(?P={groups[name]})"
        groups[name] = f"id{len(groups)}"
        real = next(real for shown, real in _kinds if re.fullmatch(shown, name))
        return f"(?P<{groups[name]}>{real})"
