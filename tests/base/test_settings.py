"""Settings: flags win over variables, variables over defaults; what is wrong is named."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.errors import Invalid
from isotherm.base.settings import Settings, describe_settings, load_settings

_values: dict[str, st.SearchStrategy[Any]] = {
    "port": st.integers(0, 65535),
    "max_body_mb": st.floats(0.01, 60),
    "allow_unisolated": st.booleans(),
    "region": st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=32),
    "max_instances": st.integers(1, 10_000),
    "memory_mb": st.integers(1, 1_000_000),
}
_some = st.fixed_dictionaries({}, optional=_values)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@given(flags=_some, variables=_some)
def test_flags_win_over_variables_and_variables_over_defaults(flags: dict[str, Any], variables: dict[str, Any]) -> None:
    environ = {"ISOTHERM_" + name.upper(): _text(value) for name, value in variables.items()}
    assert load_settings(flags, environ) == msgspec.structs.replace(Settings(), **{**variables, **flags})


@given(_some)
def test_a_flag_may_come_as_text(flags: dict[str, Any]) -> None:
    assert load_settings({name: _text(value) for name, value in flags.items()}, {}) == load_settings(flags, {})


def test_an_empty_variable_and_a_flag_of_none_count_as_not_given() -> None:
    assert load_settings({"port": None}, {"ISOTHERM_PORT": "", "ISOTHERM_HOST": ""}) == Settings()


@pytest.mark.parametrize(
    ("flags", "environ", "named", "expected"),
    [
        ({"port": 70000}, {}, "--port", "65535"),
        ({}, {"ISOTHERM_PORT": "http"}, "ISOTHERM_PORT", "int"),
        ({}, {"ISOTHERM_SAMPLE_RATE": "2"}, "ISOTHERM_SAMPLE_RATE", "<= 1"),
        ({"content_port": "x"}, {}, "--content-port", "int"),
        ({}, {"ISOTHERM_ALLOW_UNISOLATED": "perhaps"}, "ISOTHERM_ALLOW_UNISOLATED", "bool"),
    ],
)
def test_a_bad_value_names_its_source_and_what_was_expected(
    flags: dict[str, Any], environ: dict[str, str], named: str, expected: str
) -> None:
    with pytest.raises(Invalid) as caught:
        load_settings(flags, environ)
    assert caught.value.message.startswith(named + ":")
    assert expected in caught.value.message
    assert caught.value.data["setting"] in Settings.__struct_fields__


def test_every_setting_has_a_help_text_and_a_variable() -> None:
    rows = describe_settings()
    assert [row[0] for row in rows] == list(Settings.__struct_fields__)
    assert all(help_text for *_, help_text in rows)
    assert all(variable == "ISOTHERM_" + name.upper() for name, variable, *_ in rows)


def test_defaults_listen_on_loopback_and_isolate() -> None:
    settings = Settings()
    assert settings.host == "127.0.0.1"
    assert settings.allow_unisolated is False
