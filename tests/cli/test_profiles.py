"""Which platform the command line speaks to."""

from pathlib import Path

import pytest

from isotherm.cli.commands.up import save_own_profile
from isotherm.client.profiles import Profile, load_profile, profile_path, save_profile


@pytest.fixture(autouse=True)
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def test_up_saves_the_profile_of_its_platform_over_that_of_another_here() -> None:
    for port in (7070, 8070):
        url = f"http://127.0.0.1:{port}"
        assert save_own_profile(url, f"iso_{port}") == str(profile_path())
        assert load_profile() == Profile(url=url, key=f"iso_{port}")


def test_up_keeps_the_profile_of_a_platform_elsewhere_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere = Profile(url="https://isotherm.example.org", key="iso_team", namespace="shop")
    save_profile(elsewhere)
    assert save_own_profile("http://127.0.0.1:7070", "iso_here") == ""
    assert load_profile() == elsewhere
    assert "https://isotherm.example.org is kept" in capsys.readouterr().err


def test_a_file_that_is_no_profile_is_replaced() -> None:
    profile_path().parent.mkdir(parents=True)
    profile_path().write_text("{")
    assert save_own_profile("http://127.0.0.1:7070", "iso_here")
    found = load_profile()
    assert found is not None
    assert found.key == "iso_here"
