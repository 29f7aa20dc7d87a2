"""The runtime's configuration on its way through JSON."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm_runtime.config import MAX_RESPONSE_BYTES, RuntimeConfig


@given(
    st.builds(
        RuntimeConfig,
        handler=st.text(),
        path=st.lists(st.text()),
        env=st.dictionaries(st.text(), st.text()),
        concurrency=st.integers(1, 1000),
        dispatch=st.sampled_from(["threads", "serial"]),
        timeout_ms=st.integers(1, 10**7),
    )
)
def test_it_comes_back_from_json_as_it_was(config: RuntimeConfig) -> None:
    assert RuntimeConfig.from_json(config.to_json()) == config


def test_it_is_immutable_and_shows_no_secrets() -> None:
    config = RuntimeConfig(handler="app.handler", env={"PASSWORD": "hunter2"})
    with pytest.raises(AttributeError):
        config.handler = "other.handler"  # type: ignore[misc]  # what the test is about
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize("data", [b"[]", b"{}", b'{"handler": "a.b", "colour": 1}', b"nonsense"])
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises((TypeError, ValueError)):
        RuntimeConfig.from_json(data)


def test_bad_values_are_named() -> None:
    with pytest.raises(ValueError, match="dispatch is 'magic'"):
        RuntimeConfig(handler="a.b", dispatch="magic")
    with pytest.raises(ValueError, match="concurrency is 0"):
        RuntimeConfig(handler="a.b", concurrency=0)
    assert RuntimeConfig(handler="a.b", max_response_bytes=10**12).max_response_bytes == MAX_RESPONSE_BYTES
