"""How functions are named: what parses, what does not, and that nothing makes the parser fail otherwise."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from isotherm.base.ids import is_function_name, is_name
from isotherm.gateway.names import Reference, is_invoke, parse_invoke_target, parse_reference, split_content_url

names = st.from_regex(r"\A[a-z][a-z0-9-]{0,20}[a-z0-9]\Z")
qualifiers = st.none() | names | st.integers(0, 999_999_999).map(str)


@given(names, names, qualifiers)
def test_every_way_of_writing_a_reference_means_the_same(namespace: str, name: str, qualifier: str | None) -> None:
    end = "" if qualifier is None else f":{qualifier}"
    wanted = Reference(namespace, name, qualifier)
    assert parse_reference(f"{namespace}/{name}{end}") == wanted
    assert parse_reference(f"arn:aws:lambda:local:{namespace}:function:{name}{end}") == wanted
    assert parse_reference(f"{name}{end}") == Reference(None, name, qualifier)
    assert split_content_url(f"/@{namespace}/{name}{end}/a?b=c".encode()) == (wanted, "/a", "b=c")
    path = f"/2015-03-31/functions/{namespace}/{name}/invocations"
    assert parse_invoke_target(path, qualifier) == wanted


@given(st.text(max_size=80))
def test_any_text_is_a_reference_with_valid_names_or_none(text: str) -> None:
    found = parse_reference(text)
    if found is not None:
        assert is_function_name(found.name)
        assert found.namespace is None or is_name(found.namespace)


@given(st.binary(max_size=200))
def test_any_bytes_split_or_are_none(url: bytes) -> None:
    found = split_content_url(b"/" + url)
    if found is not None:
        reference, path, _ = found
        assert is_function_name(reference.name)
        assert path.startswith("/")


@pytest.mark.parametrize(
    "text", ["", "a/b/c", "UP/a", "a:", "a:b:c", "-a/b", "a-/b", "a" * 65, "../a", "arn:aws:s3:::a", "a b"]
)
def test_what_is_no_reference(text: str) -> None:
    assert parse_reference(text) is None


def test_latest_and_account_numbers_say_nothing() -> None:
    assert parse_reference("f:$LATEST") == Reference(None, "f", None)
    assert parse_reference("arn:aws:lambda:eu-1:123456789012:function:f") == Reference(None, "f", None)


def test_names_are_those_that_aws_takes() -> None:
    assert parse_reference("My_Function-1:PROD") == Reference(None, "My_Function-1", "PROD")
    assert parse_reference("123456789012:function:f") == Reference(None, "f", None)
    assert parse_reference("team:function:f:2") == Reference("team", "f", "2")


def test_only_invocations_are_invokes() -> None:
    assert is_invoke(b"/2015-03-31/functions/f/invocations?Qualifier=1")
    assert is_invoke(b"/2021-11-15/functions/f/response-streaming-invocations")
    for url in (
        b"/2015-03-31/functions/f",
        b"/2015-03-31/functions/",
        b"/2015-03-31/functions/f/aliases?x=invocations",
    ):
        assert not is_invoke(url)


def test_two_qualifiers_must_agree() -> None:
    path = "/2015-03-31/functions/f:1/invocations"
    assert parse_invoke_target(path, "1") == Reference(None, "f", "1")
    assert parse_invoke_target(path, "2") is None
    assert parse_invoke_target("/2015-03-31/functions/f", None) is None
