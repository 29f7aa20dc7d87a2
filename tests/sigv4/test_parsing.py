"""What cannot be a signature is refused, and the message says what of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.base.errors import SignatureRefused
from isotherm.sigv4.model import Headers
from isotherm.sigv4.parsing import is_signed, parse_signature, sent_headers, without_signature
from tests.sigv4.requests import sign

GOOD = {
    "Credential": "AK/20150830/local/lambda/aws4_request",
    "SignedHeaders": "host;x-amz-date",
    "Signature": "0" * 64,
}


def header_form(algorithm: str = "AWS4-HMAC-SHA256", **changes: str | None) -> Headers:
    fields = {name: value for name, value in (GOOD | changes).items() if value is not None}
    value = algorithm + " " + ", ".join(f"{name}={value}" for name, value in fields.items())
    return [(b"X-Amz-Date", b"20150830T123600Z"), (b"Authorization", value.encode())]


def refused(target: bytes, headers: Headers, reason: str = "incomplete") -> str:
    with pytest.raises(SignatureRefused) as error:
        parse_signature(target, sent_headers(headers))
    assert error.value.data["reason"] == reason
    return error.value.message


def test_a_good_one_is_read() -> None:
    found = parse_signature(b"/", sent_headers(header_form()))
    assert (found.access_key_id, found.region, found.service, found.in_query) == ("AK", "local", "lambda", False)
    assert found.signed_headers == ("host", "x-amz-date")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"Credential": None}, "needs Credential"),
        ({"SignedHeaders": None, "Signature": None}, "needs SignedHeaders and Signature"),
        ({"Credential": "AK/20150830/local/lambda"}, "KEY-ID/DATE/REGION/SERVICE/aws4_request"),
        ({"Credential": "AK/20150830/local/lambda/aws5_request"}, "must end with aws4_request"),
        ({"Credential": "A K/20150830/local/lambda/aws4_request"}, "KEY-ID/DATE"),
        ({"Credential": "A" * 200 + "/20150830/local/lambda/aws4_request"}, "KEY-ID/DATE"),
        ({"SignedHeaders": "x-amz-date;host"}, "alphabetical order"),
        ({"SignedHeaders": "host;host"}, "alphabetical order"),
        ({"SignedHeaders": "Host"}, "lower-case names"),
        ({"SignedHeaders": ";".join(f"h{number:03}" for number in range(101))}, "at most 100"),
        ({"Signature": "0" * 63}, "64 hexadecimal digits"),
        ({"Signature": "A" * 64}, "64 hexadecimal digits"),
        ({"Signature": "0" * 64 + ", Signature=" + "0" * 64}, "comes twice"),
        ({"SignedHeaders": "h" * 9000}, "more than 8192 bytes"),
    ],
)
def test_what_is_wrong_in_the_header_is_named(changes: dict[str, str | None], says: str) -> None:
    assert says in refused(b"/", header_form(**changes))


def test_another_algorithm_is_named() -> None:
    assert "'AWS4-ECDSA-P256-SHA256'" in refused(b"/", header_form("AWS4-ECDSA-P256-SHA256"))


def test_the_date_must_be_there_once_and_well_formed() -> None:
    authorization = header_form()[1]
    assert "X-Amz-Date is missing" in refused(b"/", [authorization])
    for date in (b"20150830", b"Sun, 30 Aug 2015 12:36:00 GMT", b"20150830T123600z"):
        assert "YYYYMMDDTHHMMSSZ" in refused(b"/", [(b"x-amz-date", date), authorization])
    assert "two headers x-amz-date" in refused(b"/", [*header_form(), (b"X-AMZ-DATE", b"20150830T123600Z")])
    assert "two headers authorization" in refused(b"/", [*header_form(), authorization])


def test_a_session_token_is_refused_for_what_it_is() -> None:
    message = refused(b"/", [*header_form(), (b"X-Amz-Security-Token", b"t")], "session_token")
    assert "AWS_SESSION_TOKEN" in message
    presigned = sign("query", "GET", "/")
    refused(presigned.target + b"&X-Amz-Security-Token=t", presigned.headers, "session_token")


def test_header_and_query_do_not_go_together() -> None:
    presigned = sign("query", "GET", "/")
    assert "both by header and by query" in refused(presigned.target, [*presigned.headers, *header_form()])


@pytest.mark.parametrize("name", ["Algorithm", "Credential", "Date", "Expires", "SignedHeaders"])
def test_a_presigned_url_needs_each_parameter_once(name: str) -> None:
    presigned = sign("query", "GET", "/")
    path, _, query = presigned.target.partition(b"?")
    pieces = query.split(b"&")
    mine = [piece for piece in pieces if piece.startswith(f"X-Amz-{name}=".encode())]
    rest = [piece for piece in pieces if piece not in mine]
    assert len(mine) == 1
    assert f"X-Amz-{name}" in refused(path + b"?" + b"&".join(rest), [])
    assert "comes twice" in refused(presigned.target + b"&" + mine[0], [])


@pytest.mark.parametrize("said", ["", "abc", "F" * 64, "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "UNSIGNED"])
def test_what_is_said_of_the_body_is_a_digest_or_a_known_word(said: str) -> None:
    message = refused(b"/", [*header_form(), (b"x-amz-content-sha256", said.encode())])
    assert "UNSIGNED-PAYLOAD" in message


def test_a_presigned_url_may_say_what_its_body_is() -> None:
    presigned = sign("query", "GET", "/?X-Amz-Content-Sha256=UNSIGNED-PAYLOAD")
    assert parse_signature(presigned.target, sent_headers(presigned.headers)).payload == "UNSIGNED-PAYLOAD"
    plain = sign("query", "GET", "/")
    assert parse_signature(plain.target, sent_headers(plain.headers)).payload is None


def test_whether_a_request_claims_to_be_signed() -> None:
    assert is_signed(b"/", b"AWS4-HMAC-SHA256 x")
    assert is_signed(b"/", b"aws4-whatever")
    assert is_signed(b"/?a=1&X-Amz-Algorithm=x", None)
    assert is_signed(b"/?X-Amz-Signature=x", None)
    assert not is_signed(b"/?X-Amz-Signature=x", b"Bearer iso_x")
    assert not is_signed(b"/?a=1", None)
    assert not is_signed(b"/X-Amz-Signature=1", None)


def test_what_signs_is_taken_off_a_target_and_nothing_else() -> None:
    assert without_signature(sign("query", "GET", "/a%2Fb?x=1%202&y").target) == b"/a%2Fb?x=1%202&y="
    assert without_signature(sign("query", "GET", "/a").target) == b"/a"
    assert without_signature(b"/a?") == b"/a"
    assert without_signature(b"/a?x-amz-date=1") == b"/a?x-amz-date=1"


@given(st.binary(max_size=60), st.binary(max_size=200))
def test_nothing_that_is_sent_breaks_it(query: bytes, authorization: bytes) -> None:
    for target, headers in (
        (b"/?" + query + b"&X-Amz-Signature=1", []),
        (b"/?" + query, [(b"authorization", b"AWS4-HMAC-SHA256 " + authorization), (b"x-amz-date", query)]),
    ):
        with pytest.raises(SignatureRefused):
            parse_signature(target, sent_headers(headers))
