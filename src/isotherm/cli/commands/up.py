"""`isotherm up`: start the platform, say where it is, keep it running until a signal, drain it."""

import ipaddress
import os
import socket
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from isotherm.base.errors import Invalid, IsothermError, Unavailable
from isotherm.base.settings import Settings, load_settings
from isotherm.cli.output import output
from isotherm.cli.platform import Platform, Report
from isotherm.cli.times import duration
from isotherm.client.profiles import Profile, load_profile, save_profile
from isotherm.storage.postgres import queue_url

__all__ = ["Ready", "default_data", "is_loopback", "run", "save_own_profile", "wait_until_ready"]

START_S = 90.0
POLL_S = 0.05


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """The ready file."""

    url: str
    content_url: str
    admin_key: str
    access_key_id: str
    secret_access_key: str
    region: str
    pid: int


def run(flags: dict[str, Any], *, demo: bool) -> int:
    """Returns the exit code: 0 after a drain. Raises why it could not start, or why it ended."""
    settings = _settings(flags)
    _warn(settings)
    started = time.monotonic()
    with Platform(settings) as platform:
        ready = wait_until_ready(platform, settings)
        if ready is not None:
            _announce(settings, ready, (time.monotonic() - started) * 1000)
            if demo:
                threading.Thread(target=_demo, args=(ready,), name="demo", daemon=True).start()
            _watch(platform)
        output.note("stopping: waiting for running calls to end")
        platform.stop()
    output.note("stopped")
    return 0


def default_data() -> Path:
    """Where state lives unless somebody says otherwise."""
    if os.geteuid() == 0:
        return Path("/var/lib/isotherm")
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "isotherm"


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach it there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _settings(flags: dict[str, Any]) -> Settings:
    settings = load_settings(flags, os.environ)
    if (settings.tls_cert is None) != (settings.tls_key is None):
        raise Invalid("--tls-cert and --tls-key: give both, or neither")
    if settings.port == settings.content_port != 0:
        raise Invalid(f"--port and --content-port: both are {settings.port}; functions need an origin of their own")
    queue_url(settings)
    _check_budget(settings)
    data = Path(settings.data or default_data()).absolute()
    return msgspec.structs.replace(settings, data=str(data))


def _check_budget(settings: Settings) -> None:
    if not settings.warming_budget.strip():
        return
    from isotherm.warming.budgets import platform_budget  # brings numpy, which no other command needs

    try:
        platform_budget(settings.warming_budget)
    except Invalid as error:
        raise Invalid(f"ISOTHERM_WARMING_BUDGET: {error.message}", setting="warming_budget") from error


def _warn(settings: Settings) -> None:
    if not is_loopback(settings.host) and settings.tls_cert is None:
        output.note(
            f"warning: listening on {settings.host} without TLS: keys and data cross the network in the clear; "
            f"pass --tls-cert and --tls-key, or put a proxy that speaks TLS before it"
        )
    if os.geteuid() != 0:
        what = "code runs unisolated" if settings.allow_unisolated else "deploys are refused"
        output.note(f"warning: not root, so nothing can be isolated: {what}; `isotherm doctor` says more")


def wait_until_ready(platform: Platform, settings: Settings) -> Ready | None:
    """None: a signal came first. Raises what the supervisor says, `Unavailable` where it takes too long."""
    deadline = time.monotonic() + START_S
    listening = Report(op="")
    for report in platform.reports(deadline):
        if report.op == "listening":
            listening = report
            if settings.ready_file is not None:  # of a former run; the folder is locked now, so it is ours
                Path(settings.ready_file).unlink(missing_ok=True)
        elif report.op == "died":
            _say_died(report)
        elif report.op == "ready":
            _poll_ready(platform, listening.url, deadline)
            return Ready(
                url=listening.url,
                content_url=listening.content_url,
                admin_key=report.admin_key,
                access_key_id=report.access_key_id,
                secret_access_key=report.secret_access_key,
                region=settings.region,
                pid=os.getpid(),
            )
    if platform.interrupted:
        return None
    raise Unavailable(f"the platform was not ready within {START_S:.0f} s; what it wrote to stderr says why")


def _poll_ready(platform: Platform, url: str, deadline: float) -> None:
    """Until /readyz says yes. The certificate is not checked: this is our own port."""
    said = ""
    with httpx.Client(transport=httpx.HTTPTransport(verify=False), timeout=2.0) as http:
        while time.monotonic() < deadline and not platform.interrupted:
            try:
                answer = http.get(url + "/readyz")
                if answer.status_code == httpx.codes.OK:
                    return
                said = answer.text[:300]
            except httpx.HTTPError as exc:
                said = str(exc)
            time.sleep(POLL_S)
    if not platform.interrupted:
        raise Unavailable(f"{url}/readyz did not become ready within {START_S:.0f} s: {said}")


def _announce(settings: Settings, ready: Ready, took_ms: float) -> None:
    """The ready file, the profile, systemd, the banner."""
    if settings.ready_file is not None:
        _write_ready_file(Path(settings.ready_file), ready)
    saved = save_own_profile(ready.url, ready.admin_key) if is_loopback(settings.host) else ""
    _tell_systemd()
    if output.json:
        output.result(msgspec.to_builtins(ready))
        return
    output.line(f"isotherm {version('isotherm')} is up in {duration(took_ms)}; state in {settings.data}")
    output.line(f"  API         {ready.url}")
    output.line(f"  functions   {ready.content_url}")
    output.line(f"  admin key   {ready.admin_key}")
    if saved:
        output.line(f"  profile     {saved.replace(str(Path.home()), '~', 1)}")
    output.line("try, in another terminal:")
    prefix = "" if saved else f"ISOTHERM_URL={ready.url} ISOTHERM_KEY={ready.admin_key} "
    output.line(f"  {prefix}isotherm init greet && {prefix}isotherm deploy greet")
    output.line(f'  {prefix}isotherm invoke greet -d \'{{"name": "you"}}\' --tail')
    output.line(f"  curl -H 'Authorization: Bearer {ready.admin_key}' {ready.content_url}/greet/")


def save_own_profile(url: str, key: str) -> str:
    """Where it was saved; empty where it could not be, or where somebody logged in to a platform elsewhere, or to this
    one as a user, before."""
    try:
        before = load_profile()
    except Invalid:
        before = None  # it is no use to anybody
    if before is not None and not is_loopback(urlsplit(before.url).hostname or ""):
        output.note(f"the profile of {before.url} is kept: set ISOTHERM_URL and ISOTHERM_KEY to speak to this platform")
        return ""
    if before is not None and before.url == url and before.login is not None:
        output.note(f"{before.login.name} is logged in to {url}: the profile is kept")
        return ""
    try:
        return str(save_profile(Profile(url=url, key=key, device=None if before is None else before.device)))
    except Invalid as exc:
        output.note(f"warning: {exc.message}")
        return ""


def _write_ready_file(path: Path, ready: Ready) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as stream:
            stream.write(msgspec.json.encode(ready) + b"\n")
            stream.flush()
            os.fsync(fd)
        fresh.replace(path)
    except OSError as exc:
        raise Invalid(f"--ready-file {path}: {exc.strerror}; choose a file that can be written") from exc


def _tell_systemd() -> None:
    """`Type=notify`: systemd holds back what comes after us until we serve."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        try:
            notify.sendto(b"READY=1", "\0" + address[1:] if address.startswith("@") else address)
        except OSError as exc:
            output.note(f"warning: systemd was not told that we serve: {exc}")


def _watch(platform: Platform) -> None:
    """Until a signal comes."""
    for report in platform.reports():
        if report.op == "died":
            _say_died(report)


def _say_died(report: Report) -> None:
    wait = f"in {report.restart_in_s:.1f} s" if report.restart_in_s else "at once"
    output.note(f"the {report.process} process ended (exit {report.exit_code}); starting it again {wait}")


def _demo(ready: Ready) -> None:
    from isotherm.cli.commands.demo import deploy_examples

    try:
        deploy_examples(Profile(url=ready.url, key=ready.admin_key))
    except IsothermError as exc:
        output.error(exc)
