"""The jobs that install what a package asks for: what pip and npm are told, what they may use, what their end means."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from isotherm.base.errors import BuildFailed, IsothermError
from isotherm.base.runtimes import Node
from isotherm.base.settings import Settings
from isotherm.host.wanted import LOCK_FILES, Wanted
from isotherm.sandbox.model import JobResult, JobSpec

__all__ = ["install_jobs", "installer_error", "npm_argv", "pip_argv"]

MIB = 1024 * 1024
LOG_TAIL = 8000
BUILD_PIDS = 256
BUILD_TMP_BYTES = 2048 * MIB
PASSED_ON = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
ASKED = {"pip": "requirements.txt", "npm": "package.json"}


def pip_argv() -> tuple[str, ...]:
    """pip's command line inside the sandbox."""
    return (
        "python", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-warn-script-location",
        "--no-cache-dir", "--progress-bar", "off", "--target", "/out", "--requirement", "/code/requirements.txt",
    )  # fmt: skip


def npm_argv(node: Node, wanted: Wanted) -> tuple[str, ...]:
    """npm's command line inside the sandbox. Raises `BuildFailed` where it is not installed."""
    if node.npm is None:
        raise BuildFailed(f"package.json names dependencies, and npm is not installed beside {node.executable}", log="")
    verb = "ci" if any(name in wanted.npm for name in LOCK_FILES) else "install"
    scripts = "false" if wanted.scripts else "true"
    return (
        node.executable, node.npm, verb, "--prefix", "/out", "--omit", "dev", f"--ignore-scripts={scripts}",
        "--no-audit", "--no-fund", "--no-update-notifier", "--no-progress", "--loglevel", "http",
    )  # fmt: skip


def install_jobs(
    wanted: Wanted, code: Path, out: Path, settings: Settings, environ: Mapping[str, str], node: Node | None
) -> dict[str, JobSpec]:
    """By tool, the jobs to run one after the other; each adds to `out`, which exists. Raises `BuildFailed`."""
    jobs = {}
    if wanted.pip:
        jobs["pip"] = _pip_job(wanted, code, out, settings, environ)
    if wanted.npm:
        if node is None:
            raise BuildFailed(
                "package.json names dependencies, and this machine has no Node.js to run npm with", log=""
            )
        jobs["npm"] = _npm_job(wanted, out, settings, environ, node)
    return jobs


def installer_error(tool: str, result: JobResult, timeout_s: float, memory_bytes: int) -> IsothermError | None:
    """Why the installation failed; None where it did not."""
    log = result.output[-LOG_TAIL:]
    if result.timed_out:
        return BuildFailed(f"the dependencies were not installed within {timeout_s:g} s", log=log)
    if result.exit.out_of_memory:
        return BuildFailed(f"installing the dependencies took more than {memory_bytes // MIB} MB of memory", log=log)
    if result.exit.status != 0:
        return BuildFailed(
            f"{tool} could not install what {ASKED[tool]} asks for; the end of its output is in `log`", log=log
        )
    return None


def _pip_job(wanted: Wanted, code: Path, out: Path, settings: Settings, environ: Mapping[str, str]) -> JobSpec:
    pip = importlib.util.find_spec("pip")
    read_only = {str(code): "/code"}
    env = _passed_on(environ, "PIP_")
    if pip is not None and pip.origin is not None:
        read_only[str(Path(pip.origin).parent)] = "/opt/pip"
        env["PYTHONPATH"] = "/opt"
    read_only |= _config(out, "pip.conf")
    return _job(f"install {wanted.digest[:12]}", pip_argv(), env, read_only, out, settings)


def _npm_job(wanted: Wanted, out: Path, settings: Settings, environ: Mapping[str, str], node: Node) -> JobSpec:
    env = _passed_on(environ, "NPM_CONFIG_")
    headers = Path(node.prefix, "include", "node")
    if headers.is_dir():
        env["npm_config_nodedir"] = node.prefix  # native code is built against them, instead of loading others
    read_only = _config(out, "npmrc")
    if read_only:
        env["npm_config_globalconfig"] = "/etc/npmrc"
    return _job(f"npm {wanted.digest[:12]}", npm_argv(node, wanted), env, read_only, out, settings)


def _job(
    name: str, argv: tuple[str, ...], env: dict[str, str], read_only: dict[str, str], out: Path, settings: Settings
) -> JobSpec:
    return JobSpec(
        name=name,
        argv=argv,
        env=env | {"HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"},  # noqa: S108 -- the sandbox's own /tmp
        read_only=read_only,
        out_dir=str(out),
        memory_bytes=settings.build_memory_mb * MIB,
        pids=BUILD_PIDS,
        tmp_bytes=BUILD_TMP_BYTES,
        timeout_s=settings.build_timeout_s,
    )


def _passed_on(environ: Mapping[str, str], prefix: str) -> dict[str, str]:
    """The tool's own settings, and how the network is reached; nothing else of the platform's."""
    return {key: value for key, value in environ.items() if key.upper().startswith(prefix) or key.upper() in PASSED_ON}


def _config(out: Path, name: str) -> dict[str, str]:
    """The operator's configuration of the tool, as the host has laid it beside the folders of dependencies."""
    config = out.parent.parent / name
    return {str(config): f"/etc/{name}"} if config.is_file() else {}
