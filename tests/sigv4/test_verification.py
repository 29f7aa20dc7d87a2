"""Whatever botocore signs verifies, and with any one thing changed it does not."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.errors import SignatureRefused
from isotherm.sigv4.canonical import canonical_path, canonical_query
from isotherm.sigv4.policy import MAX_SKEW_S, derive_key, time_of
from tests.sigv4.requests import SECRET, Signed, sign

FORMS = ("header", "s3", "query")
texts = st.text(max_size=12)
segments = st.lists(texts.map(lambda text: quote(text, safe="~")), max_size=5)
names = st.from_regex(r"\AX-(Amz-|Own-)?[A-Za-z][A-Za-z0-9-]{0,10}\Z").filter(
    lambda name: name.lower() not in ("x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "x-amzn-trace-id")
)
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@st.composite
def requests(draw: st.DrawFn) -> Signed:
    path = "/" + "/".join(draw(segments))
    pairs = draw(st.lists(st.tuples(texts, texts), max_size=4))
    query = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in pairs if name)
    headers = draw(st.dictionaries(names, values, max_size=4))
    headers = {name.lower(): value for name, value in headers.items()}
    form = draw(st.sampled_from(FORMS))
    return sign(
        form,
        draw(st.sampled_from(("GET", "POST", "PUT", "DELETE"))),
        path + ("?" + query if query else ""),
        headers,
        b"" if form == "query" else draw(st.binary(max_size=40)),  # botocore moves it into the query
    )


@given(requests())
def test_what_botocore_signs_verifies(request: Signed) -> None:
    assert request.verify().access_key_id == "AKEXAMPLE"


@given(requests(), st.sampled_from(("method", "path", "query", "added", "body", "signature", "secret")), st.data())
def test_with_any_one_thing_changed_it_does_not(request: Signed, what: str, data: st.DataObject) -> None:
    found = request.verify()
    path, _, query = request.target.partition(b"?")
    if what == "method":
        request.method = b"PATCH"
    elif what == "path":
        request.target = path + b"x" + (b"?" + query if query else b"")
    elif what == "query":
        request.target += (b"&" if query else b"?") + b"another=1"
    elif what == "added":
        request.headers.append((b"x-amz-new", b"1"))
    elif what == "body" and found.payload is None:
        request.body += b"x"  # otherwise it is held against what the head says: see test_payload.py
    elif what == "signature":
        old = found.signature.encode()
        new = bytes([data.draw(st.sampled_from([each for each in b"0123456789abcdef" if each != old[0]]))]) + old[1:]
        request.target = request.target.replace(old, new)
        request.headers = [(name, value.replace(old, new)) for name, value in request.headers]
    else:
        request.key = derive_key(SECRET + "x", found.date, found.region, found.service)
    with pytest.raises(SignatureRefused):
        request.verify()


@given(requests(), st.data())
def test_with_any_signed_header_changed_it_does_not(request: Signed, data: st.DataObject) -> None:
    signed = request.verify().signed_headers
    name = data.draw(st.sampled_from(signed))
    at = next(at for at, (each, _) in enumerate(request.headers) if each.lower().decode() == name)
    if data.draw(st.booleans()):
        request.headers[at] = (request.headers[at][0], request.headers[at][1] + b"0")
    else:
        del request.headers[at]
    with pytest.raises(SignatureRefused):
        request.verify()


@given(requests())
def test_headers_on_the_way_that_nobody_signed_change_nothing(request: Signed) -> None:
    request.headers = [(b"Via", b"1.1 proxy"), (b"User-Agent", b"x"), *reversed(request.headers)]
    request.verify()


@pytest.mark.parametrize("form", FORMS)
def test_a_client_whose_clock_is_off_is_told_both_times(form: str) -> None:
    request = sign(form, "GET", "/")
    now_s = time_of(request.verify().time)
    for off_s in (-MAX_SKEW_S, MAX_SKEW_S):
        request.verify(now_s + off_s)
    with pytest.raises(
        SignatureRefused, match=r"not yet current: \d{8}T\d{6}Z is still later than \d{8}T\d{6}Z"
    ) as early:
        request.verify(now_s - MAX_SKEW_S - 1)
    assert (early.value.data["reason"], len(early.value.data["server_time"])) == ("early", 16)
    with pytest.raises(SignatureRefused, match=r"expired: \d{8}T\d{6}Z is now earlier than \d{8}T\d{6}Z") as late:
        request.verify(now_s + 3600 + 1)
    assert late.value.data["reason"] == "expired"


def test_a_presigned_url_holds_as_long_as_it_says() -> None:
    request = sign("query", "GET", "/f", expires=120)
    now_s = time_of(request.verify().time)
    request.verify(now_s + 120)
    with pytest.raises(SignatureRefused, match="expired"):
        request.verify(now_s + 121)
    sign("query", "GET", "/f", expires=7 * 24 * 3600).verify()
    with pytest.raises(SignatureRefused, match="X-Amz-Expires must be 1 to 604800 seconds"):
        sign("query", "GET", "/f", expires=7 * 24 * 3600 + 1).verify()


def test_another_service_region_or_date_in_the_scope_is_refused() -> None:
    request = sign("header", "GET", "/")
    request.service = "execute-api"
    with pytest.raises(SignatureRefused, match="correct service: 'execute-api', not 'lambda'"):
        request.verify()
    request.service = "lambda"
    for old, new, what in ((b"/local/", b"/mars/", "valid region"), (b"EXAMPLE/2", b"EXAMPLE/1", "Date in Credential")):
        other = Signed(b"GET", b"/", [(name, value.replace(old, new)) for name, value in request.headers])
        with pytest.raises(SignatureRefused, match=what) as refused:
            other.verify()
        assert refused.value.data["reason"] == "scope"


def test_a_query_means_what_it_meant_when_it_was_signed() -> None:
    """A plus is a space to whoever reads the query, so it is one here."""
    assert canonical_query(b"b=1+2&a=%7e&a=%41&b=") == "a=A&a=~&b=&b=1%202"
    assert canonical_query(b"a&=x&&b=%zz") == "=x&a=&b=%25zz"


def test_no_other_spelling_of_the_signature_is_left_out() -> None:
    """Whoever passes a presigned URL on could otherwise add a parameter that the function sees."""
    request = sign("query", "GET", "/f?a=1")
    request.verify()
    request.target += b"&X%2DAmz-Signature=1"
    with pytest.raises(SignatureRefused):
        request.verify()


def test_paths_are_encoded_twice_but_for_s3() -> None:
    assert canonical_path(b"/a%2Fb/$x:1/../c", once=False) == "/a%252Fb/c"
    assert canonical_path(b"/a%2fb/$x:1//c", once=True) == "/a%2Fb/%24x%3A1//c"
    assert canonical_path(b"", once=False) == canonical_path(b"", once=True) == "/"
