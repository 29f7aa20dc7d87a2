"""The job that installs a package's requirements: what pip is told, what it may use, and what its end means. Pure."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from isotherm.base.errors import BuildFailed, IsothermError
from isotherm.base.settings import Settings
from isotherm.sandbox.model import JobResult, JobSpec

__all__ = ["install_job", "installer_error", "pip_argv"]

MIB = 1024 * 1024
LOG_TAIL = 8000
BUILD_PIDS = 256
BUILD_TMP_BYTES = 2048 * MIB
PASSED_ON = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


def pip_argv() -> tuple[str, ...]:
    """pip's command line inside the sandbox."""
    return (
        "python", "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-warn-script-location",
        "--no-cache-dir", "--progress-bar", "off", "--target", "/out", "--requirement", "/code/requirements.txt",
    )  # fmt: skip


def install_job(name: str, code: Path, out: Path, settings: Settings, environ: Mapping[str, str]) -> JobSpec:
    """The job. `out` exists and is empty."""
    pip = importlib.util.find_spec("pip")
    read_only = {str(code): "/code"}
    env = {key: value for key, value in environ.items() if key.startswith("PIP_") or key.upper() in PASSED_ON}
    if pip is not None and pip.origin is not None:
        read_only[str(Path(pip.origin).parent)] = "/opt/pip"
        env["PYTHONPATH"] = "/opt"
    config = out.parent.parent / "pip.conf"
    if config.is_file():
        read_only[str(config)] = "/etc/pip.conf"
    return JobSpec(
        name=f"install {name[:12]}",
        argv=pip_argv(),
        env=env | {"HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"},  # noqa: S108 -- the sandbox's own /tmp
        read_only=read_only,
        out_dir=str(out),
        memory_bytes=settings.build_memory_mb * MIB,
        pids=BUILD_PIDS,
        tmp_bytes=BUILD_TMP_BYTES,
        timeout_s=settings.build_timeout_s,
    )


def installer_error(result: JobResult, timeout_s: float, memory_bytes: int) -> IsothermError | None:
    """Why the installation failed; None where it did not."""
    log = result.output[-LOG_TAIL:]
    if result.timed_out:
        return BuildFailed(f"the dependencies were not installed within {timeout_s:g} s", log=log)
    if result.exit.out_of_memory:
        return BuildFailed(f"installing the dependencies took more than {memory_bytes // MIB} MB of memory", log=log)
    if result.exit.status != 0:
        return BuildFailed(
            "pip could not install what requirements.txt asks for; the end of its output is in `log`", log=log
        )
    return None
