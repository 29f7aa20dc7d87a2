"""AWS's published cases of Signature Version 4: the requests, and the signatures that AWS gives for them."""

import pytest

from isotherm.base.errors import SignatureRefused
from isotherm.sigv4.parsing import parse_signature, sent_headers
from isotherm.sigv4.policy import check_signature, derive_key
from tests.sigv4.requests import EMPTY, digest

HOST = (b"Host", b"example.amazonaws.com")
DATE = (b"X-Amz-Date", b"20150830T123600Z")
SCOPE = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"
KEY = derive_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830", "us-east-1", "service")
VANILLA = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
POST = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
UNRESERVED = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

# `multiline` is published as one header folded over three lines, which HTTP/1.1 no longer allows and the gateway
# refuses; its signature is that of three.
CASES = {
    "get-vanilla": ("GET", "/", [], VANILLA),
    "get-vanilla-query": ("GET", "/", [], VANILLA),
    "get-vanilla-empty-query-key": (
        "GET", "/?Param1=value1", [], "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    ),
    "get-vanilla-query-order-key-case": (
        "GET", "/?Param2=value2&Param1=value1", [], "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "get-vanilla-query-order-encoded": (
        "GET", "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1", [],
        "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
    ),
    "get-vanilla-query-unreserved": (
        "GET", f"/?{UNRESERVED}={UNRESERVED}", [], "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
    ),
    "get-vanilla-utf8-query": (
        "GET", "/?ሴ=bar", [], "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    ),
    "get-unreserved": (
        "GET", f"/{UNRESERVED}", [], "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    "get-utf8": ("GET", "/ሴ", [], "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    "get-space": ("GET", "/example space/", [], "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"),
    "get-relative": ("GET", "/example/..", [], VANILLA),
    "get-relative-relative": ("GET", "/example1/example2/../..", [], VANILLA),
    "get-slash": ("GET", "//", [], VANILLA),
    "get-slash-dot-slash": ("GET", "/./", [], VANILLA),
    "get-slash-pointless-dot": (
        "GET", "/./example", [], "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
    ),
    "get-slashes": (
        "GET", "//example//", [], "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
    ),
    "get-header-key-duplicate": (
        "GET", "/", [("My-Header1", "value2"), ("My-Header1", "value2"), ("My-Header1", "value1")],
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    ),
    "get-header-value-multiline": (
        "GET", "/", [("My-Header1", "value1"), ("My-Header1", "value2"), ("My-Header1", "value3")],
        "ba17b383a53190154eb5fa66a1b836cc297cc0a3d70a5d00705980573d8ff790",
    ),
    "get-header-value-order": (
        "GET", "/",
        [("My-Header1", "value4"), ("My-Header1", "value1"), ("My-Header1", "value3"), ("My-Header1", "value2")],
        "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
    ),
    "get-header-value-trim": (
        "GET", "/", [("My-Header1", " value1"), ("My-Header2", ' "a   b   c"')],
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    "post-vanilla": ("POST", "/", [], POST),
    "post-header-key-case": ("POST", "/", [], POST),
    "post-header-key-sort": (
        "POST", "/", [("My-Header1", "value1")], "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
    "post-header-value-case": (
        "POST", "/", [("My-Header1", "VALUE1")], "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
    ),
    "post-vanilla-query": (
        "POST", "/?Param1=value1", [], "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
    ),
}  # fmt: skip
FORM = (
    b"Param1=value1",
    [("Content-Type", "application/x-www-form-urlencoded")],
    "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
)


def authorization(names: list[str], signature: str) -> tuple[bytes, bytes]:
    value = f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders={';'.join(sorted(names))}, Signature={signature}"
    return b"Authorization", value.encode()


@pytest.mark.parametrize("case", CASES)
def test_the_signature_of_a_published_case_holds(case: str) -> None:
    method, target, extra, signature = CASES[case]
    names = {"host", "x-amz-date"} | {name.lower() for name, _ in extra}
    headers = [HOST, DATE, *((name.encode(), value.encode()) for name, value in extra)]
    headers.append(authorization(list(names), signature))
    sent = sent_headers(headers)
    parsed = parse_signature(target.encode(), sent)
    check_signature(parsed, KEY, method.encode(), target.encode(), sent, EMPTY)
    with pytest.raises(SignatureRefused):
        check_signature(parsed, KEY, b"PUT", target.encode(), sent, EMPTY)


def test_the_signature_of_a_published_form_holds() -> None:
    body, extra, signature = FORM
    headers = [HOST, DATE, *((name.encode(), value.encode()) for name, value in extra)]
    headers.append(authorization(["host", "x-amz-date", "content-type"], signature))
    sent = sent_headers(headers)
    check_signature(parse_signature(b"/", sent), KEY, b"POST", b"/", sent, digest(body))


@pytest.mark.parametrize(
    ("target", "signature"),
    [
        ("/ሴ?", "10eae3f14a260bd3911cc6d008d3c576d143b05b62f09782a7a4b37f52178e44"),
        ("/?Param2=value2&Param1=value1&", "86012e2c9ad4d77369f5d81c11f75158aae4f895a085212cc6d3f923d300bed5"),
    ],
)
def test_the_signature_of_a_published_presigned_url_holds(target: str, signature: str) -> None:
    credential = SCOPE.replace("/", "%2F")
    target += (
        f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={credential}&X-Amz-Date=20150830T123600Z"
        f"&X-Amz-SignedHeaders=host&X-Amz-Expires=3600&X-Amz-Signature={signature}"
    )
    sent = sent_headers([HOST])
    check_signature(parse_signature(target.encode(), sent), KEY, b"GET", target.encode(), sent, EMPTY)
