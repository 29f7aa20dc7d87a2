"""Shells on pseudo-terminals, in which a page is followed as a person would, and sees what a person would."""

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
from pathlib import Path

import psutil

from tests.docs.console import Command, File, Interrupt, Step
from tests.docs.patterns import Names, plain

__all__ = ["Reader", "Terminal", "environment_for"]

LOOKS_S = 90.0  # what is looked for may take its time to be there: a log line a second, a schedule's time a minute
LOOK_PAUSE_S = 0.5
COMMAND_S = 600.0  # an installation; a machine that is busy
_looks = re.compile(
    r"isotherm (logs|show|ls|versions|invocations|explain|triggers|status|secrets ls|rollout (status|ls)|queue ls)\b"
)


def environment_for(folder: Path, **more: str) -> dict[str, str]:
    """A home of its own, no profile of anybody's, free ports, a terminal without colours or spinners."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("ISOTHERM_", "PYTHON"))}
    return {
        **ours,
        "HOME": str(folder),
        "XDG_CONFIG_HOME": str(folder / ".config"),
        "TERM": "dumb",
        "NO_COLOR": "1",
        "ISOTHERM_PORT": "0",
        "ISOTHERM_CONTENT_PORT": "0",
        **more,
    }


class Terminal:
    """One shell. `run` waits for a command's end; `start` and `read` are for one that goes on."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
        script, self._script = os.pipe()
        self._shell = subprocess.Popen(
            ["setsid", "--ctty", "--wait", "bash", f"/dev/fd/{script}"],
            cwd=folder,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            pass_fds=(script,),
        )
        os.close(script)
        os.close(theirs)
        self._written = bytearray()
        os.write(self._script, b"trap : INT\n")  # Ctrl-C ends what runs, not the shell

    def start(self, command: str) -> None:
        """Begin a command; what it has written so far is in `text`."""
        self._written.clear()
        os.write(self._script, f"{command}\nprintf '\\036%d\\036' $?\n".encode())

    def run(self, command: str, limit_s: float = COMMAND_S) -> tuple[str, int]:
        """What a command wrote, and its exit code."""
        self.start(command)
        return self.end(limit_s)

    def end(self, limit_s: float) -> tuple[str, int]:
        """Wait for the end of the command that was started. Raises `AssertionError` where it does not come."""
        deadline = time.monotonic() + limit_s
        while not (found := re.search("\x1e(\\d+)\x1e", self.text)):
            assert time.monotonic() < deadline, f"no end within {limit_s:.0f} s:\n{self.text}"
            assert self.read(0.2) or self._shell.poll() is None, f"the shell ended:\n{self.text}"
        return self.text[: found.start()], int(found[1])

    def read(self, wait_s: float) -> bool:
        """Take in what was written since; false where nothing was."""
        if not select.select([self._ours], [], [], wait_s)[0]:
            return False
        try:
            self._written += os.read(self._ours, 1 << 16)
        except OSError:  # nobody has the other end any more
            return False
        return True

    def drain(self) -> None:
        """Take in all that is there, so that whoever writes is not held back."""
        while self.read(0):
            pass

    @property
    def text(self) -> str:
        return self._written.decode("utf-8", "replace")

    def interrupt(self) -> None:
        """Ctrl-C; `text` begins with it."""
        self.drain()
        self._written.clear()
        os.write(self._ours, b"\x03")

    def close(self) -> None:
        """End the shell; one that does not end by itself is killed with what runs in it."""
        os.close(self._script)
        try:
            self._shell.wait(10)
        except subprocess.TimeoutExpired:
            for child in psutil.Process(self._shell.pid).children(recursive=True):
                child.kill()
            self._shell.wait(10)
        os.close(self._ours)


class Reader:
    """Somebody who follows a page: the platform in one terminal, everything else in another."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._names = Names()
        self.platform, self.shell = Terminal(folder, environment), Terminal(folder, environment)
        self.runs = False

    def follow(self, step: Step) -> None:
        """Do what the page says. Raises `AssertionError` with the line where it comes out otherwise."""
        self.platform.drain()
        if isinstance(step, File):
            self._write(step)
        elif isinstance(step, Interrupt):
            self.stop(step)
        elif step.text.startswith("isotherm up"):
            self._up(step)
        else:
            self._run(step)

    def _write(self, step: File) -> None:
        where, _ = self.shell.run("pwd")
        with Path(where.strip(), step.path).open("a" if step.append else "w") as file:
            file.write(step.content)

    def _run(self, step: Command) -> None:
        deadline = time.monotonic() + (LOOKS_S if _looks.match(step.text) else 0)
        while True:
            text, code = self.shell.run(self._names.fill_in(step.text))
            missed = self._names.missed(step.output, text)
            if missed is None and code == step.code:
                return
            assert time.monotonic() < deadline, self._told(step, missed, f"exit {code}\n{text}")
            time.sleep(LOOK_PAUSE_S)

    def _up(self, step: Command) -> None:
        """In the first terminal, where the other one's folder and PATH are; until it says what the page shows."""
        here, _ = self.shell.run('printf "%s\\n%s" "$PWD" "$PATH"')
        folder, path = here.splitlines()
        self.platform.run(f"cd {folder!r}; PATH={path!r}")
        self.platform.start(step.text)
        self.runs = True
        deadline = time.monotonic() + LOOKS_S
        while True:
            self.platform.read(0.2)
            known = self._addresses()
            missed = self._names.missed(step.output, self.platform.text)
            if missed is None and known:
                return
            assert time.monotonic() < deadline, self._told(step, missed, self.platform.text)

    def _addresses(self) -> bool:
        """The page has the default ports; these are free ones, others after each start. False: not told yet."""
        known = 0
        for label, shown in (("API", "http://127.0.0.1:7070"), ("functions", "http://127.0.0.1:7071")):
            for line in plain(self.platform.text):
                if found := re.fullmatch(rf"{label} (http://127\.0\.0\.1:\d+)", line):
                    self._names.know(shown, found[1])
                    known += 1
        return known == 2

    def stop(self, step: Interrupt) -> None:
        self.platform.interrupt()
        text, code = self.platform.end(LOOKS_S)
        self.runs = False
        missed = self._names.missed(step.output, text)
        assert (missed, code) == (None, 0), self._told(step, missed, f"exit {code}\n{text}")

    def close(self) -> None:
        if self.runs:
            self.platform.interrupt()
            self.platform.end(LOOKS_S)
        self.shell.close()
        self.platform.close()

    def _told(self, step: Command | Interrupt, missed: str | None, text: str) -> str:
        command = step.text if isinstance(step, Command) else "^C"
        line = "" if missed is None else f"; no line like: {missed}"
        return f"line {step.line}: {command}\n{line}\n{text}\n\nthe platform's terminal:\n{self.platform.text[-4000:]}"
