"""Keys and secrets are in nothing that is shown, logged or raised; a key goes to its platform alone."""

import logging
import traceback
from typing import Any

import httpx
import pytest

from isotherm.base.errors import Invalid, IsothermError, Unauthenticated
from isotherm.client import Client
from isotherm.client.model import Key
from isotherm.client.profiles import Profile, find_profile, save_profile
from isotherm.client.request import Request
from tests.client.conftest import Scripted

KEY, VALUE = "iso_very-secret-key", "a-very-secret-value"
URL = "https://platform.example"


def shown(value: Any) -> str:
    return f"{value!r} {value!s} {vars(value) if hasattr(value, '__dict__') else ''}"


def test_no_repr_has_a_key(client_of: Scripted) -> None:
    client = client_of.answers(httpx.Response(200, json={}), key=KEY)
    real = client if client_of.kind == "blocking" else client.client
    for value in (real, real._session, real._session.wire, real.functions, Profile(url=URL, key=KEY)):
        assert KEY not in shown(value)
    made = Key(id="key_1", token=KEY, secret_access_key=VALUE, access_key_id="AK")
    assert KEY not in shown(made)
    assert VALUE not in shown(made)
    assert "AK" in repr(made)
    assert VALUE not in shown(Request(method="PUT", path="/", content=VALUE.encode()))


def test_no_log_and_no_error_has_a_key_or_a_value(client_of: Scripted, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for answer in (httpx.ReadError("gone"), httpx.Response(500, text="broken"), httpx.Response(200, text="?")):
        client = client_of.answers(answer, key=KEY, retry_s=0)
        with pytest.raises(IsothermError) as caught:
            client.secrets.set("s", VALUE)
        text = "".join(traceback.format_exception(caught.value)) + repr(caught.value.problem()) + caplog.text
        assert KEY not in text
        assert VALUE not in text
        assert f"{getattr(caught.value.__cause__, 'request', '')!r}".count(KEY) == 0


@pytest.fixture
def saved(environment: None) -> None:
    save_profile(Profile(url="https://saved.example", key="iso_saved", namespace="team"))


@pytest.mark.usefixtures("saved")
def test_what_is_given_wins_over_the_environment_and_that_over_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_profile() == Profile(url="https://saved.example", key="iso_saved", namespace="team")
    monkeypatch.setenv("ISOTHERM_URL", "https://env.example/")
    monkeypatch.setenv("ISOTHERM_KEY", "iso_env")
    monkeypatch.setenv("ISOTHERM_NAMESPACE", "shop")
    assert find_profile() == Profile(url="https://env.example", key="iso_env", namespace="shop")
    given = find_profile("own", url="https://given.example", key="iso_given")
    assert given == Profile(url="https://given.example", key="iso_given", namespace="own")


@pytest.mark.usefixtures("saved")
def test_a_key_is_never_sent_to_another_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unauthenticated):
        find_profile(url="https://given.example")
    monkeypatch.setenv("ISOTHERM_KEY", "iso_env")
    assert find_profile(url="https://given.example").key == "iso_env"  # it was said for no other
    monkeypatch.setenv("ISOTHERM_URL", "https://env.example")
    with pytest.raises(Unauthenticated):
        find_profile(url="https://given.example")
    assert find_profile(url="https://saved.example").key == "iso_saved"


@pytest.mark.usefixtures("environment")
def test_what_is_no_url_or_no_key_is_told() -> None:
    for url, key in (("ftp://h", "iso_k"), ("platform.example", "iso_k"), (URL, "iso_k\n"), (URL, "iso_ü")):
        with pytest.raises(Invalid):
            Client(url, key)
    with pytest.raises(Unauthenticated, match="ISOTHERM_KEY"):
        Client(URL)
