"""What pip and npm are told, and what they are not given."""

from pathlib import Path

import pytest

from isotherm.base.errors import BuildFailed
from isotherm.base.runtimes import Node
from isotherm.base.settings import Settings
from isotherm.host.installer import install_jobs
from isotherm.host.wanted import Wanted
from isotherm.sandbox.model import JobSpec

ENVIRON = {
    "PIP_INDEX_URL": "u",
    "npm_config_registry": "r",
    "HTTPS_PROXY": "p",
    "ISOTHERM_MASTER_KEY": "secret",
    "AWS_SECRET_ACCESS_KEY": "secret",
}
PIP = Wanted("digest", pip=True)
NPM = Wanted("digest", npm={"package.json": b"{}"})


def node(folder: Path, npm: str | None = "/opt/node/npm-cli.js") -> Node:
    return Node("/opt/node/bin/node", "20.1.0", str(folder), npm)


def job_of(tool: str, wanted: Wanted, folder: Path) -> JobSpec:
    out = folder / "deps" / "new"
    return install_jobs(wanted, folder / "code", out, Settings(), ENVIRON, node(folder))[tool]


def test_pip_gets_its_settings_but_no_secret(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("[global]\n")
    job = job_of("pip", PIP, tmp_path)
    assert job.argv[:4] == ("python", "-m", "pip", "install")
    assert {"PIP_INDEX_URL", "HTTPS_PROXY"} <= set(job.env)
    assert "secret" not in str(job.env)
    assert job.read_only[str(tmp_path / "pip.conf")] == "/etc/pip.conf"
    assert job.read_only[str(tmp_path / "code")] == "/code"
    assert "/opt/pip" in job.read_only.values()


def test_npm_gets_its_settings_but_neither_the_code_nor_a_secret(tmp_path: Path) -> None:
    (tmp_path / "npmrc").write_text("fund=false\n")
    (tmp_path / "include/node").mkdir(parents=True)
    job = job_of("npm", NPM, tmp_path)
    assert job.argv[:3] == ("/opt/node/bin/node", "/opt/node/npm-cli.js", "install")
    assert {"npm_config_registry", "HTTPS_PROXY"} <= set(job.env)
    assert "secret" not in str(job.env)
    assert job.read_only == {str(tmp_path / "npmrc"): "/etc/npmrc"}
    assert job.env["npm_config_globalconfig"] == "/etc/npmrc"
    assert job.env["npm_config_nodedir"] == str(tmp_path)


@pytest.mark.parametrize("lock", ["package-lock.json", "npm-shrinkwrap.json"])
def test_a_lock_file_is_installed_to_the_letter(tmp_path: Path, lock: str) -> None:
    wanted = Wanted("digest", npm={"package.json": b"{}", lock: b"{}"})
    assert job_of("npm", wanted, tmp_path).argv[2] == "ci"


def test_scripts_of_packages_run_only_where_the_manifest_says_so(tmp_path: Path) -> None:
    assert "--ignore-scripts=true" in job_of("npm", NPM, tmp_path).argv
    scripted = Wanted("digest", npm=NPM.npm, scripts=True)
    assert "--ignore-scripts=false" in job_of("npm", scripted, tmp_path).argv


def test_without_npm_or_node_it_is_said_what_is_missing(tmp_path: Path) -> None:
    out = tmp_path / "deps" / "new"
    with pytest.raises(BuildFailed, match="npm is not installed beside /opt/node/bin/node"):
        install_jobs(NPM, tmp_path, out, Settings(), {}, node(tmp_path, npm=None))
    with pytest.raises(BuildFailed, match=r"no Node\.js"):
        install_jobs(NPM, tmp_path, out, Settings(), {}, None)
