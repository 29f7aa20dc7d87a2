"""All ways in, by all kinds of callers, in their own namespace, a foreign one, and one that is not there.

Who is let in gets the answer that the table says; everybody else exactly 401, 403 or 404, and nothing that tells a
foreign thing from one that does not exist.
"""

import json
import re
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from isotherm.wire.scopes import parse_scopes
from tests.e2e import aws
from tests.e2e.aws_ways import AWS, request_of, text_of
from tests.e2e.conftest import Platform, wait_until
from tests.e2e.way import ANY_ROLE, EVERYBODY, LOGGED_IN, Way
from tests.e2e.ways import BY_URL, CONTENT, CONTROL, GATEWAY, INVOKING, missing

pytestmark = [pytest.mark.e2e, pytest.mark.root, pytest.mark.slow]
PASSWORD = "correct horse battery"
ECHO = "def handler(event, context):\n    return {'ok': True}\n"
ROLES = {"A": "admin", "D": "developer", "V": "viewer", "I": "invoker"}
HOME, FOREIGN, NOWHERE = "home", "foreign", "nowhere"
NO_MAPPING = "00000000-0000-4000-8000-000000000000"
SCOPES = (
    ["read"], ["invoke"], ["deploy"], ["secrets"], ["queue", "logs"], ["audit"], ["delete"],
    ["read:own*"], ["invoke:own*"], ["deploy:own*", "logs:own*"],
)  # fmt: skip
OPERATIONS = {text_of(operation): way for operation, way in AWS.items()}


class Signed(httpx.Auth):
    """Signs each request with a key, as AWS's clients do."""

    requires_request_body = True

    def __init__(self, key: dict[str, Any]) -> None:
        self._credentials = Credentials(key["access_key_id"], key["secret_access_key"])

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        signed = {name: value for name, value in request.headers.items() if name.startswith("x-amz-")}
        made = AWSRequest(request.method, str(request.url), data=request.content, headers=signed)
        SigV4Auth(self._credentials, "lambda", "local").add_auth(made)
        request.headers.update(dict(made.headers.items()))
        yield request


@dataclass(frozen=True)
class Caller:
    """Who asks. `known`: the platform lets it in at all."""

    name: str
    token: str | None
    known: bool = True
    role: str = ""  # letter; empty: none
    everywhere: bool = False
    scopes: tuple[str, ...] | None = None
    signs: Signed | None = None  # in place of the token

    def may(self, way: Way, place: str, function: str, *, scoped: bool, names_function: bool) -> bool:
        """Whether the table lets it in there."""
        if way.roles == EVERYBODY:
            return True
        if not self.known:
            return False
        if way.roles == LOGGED_IN:
            return True
        if way.roles == ANY_ROLE:
            return bool(self.role)
        in_reach = self.everywhere or (scoped and place == HOME and not way.platform)
        return in_reach and self.role != "" and self.role in way.roles and self._covered(way, function, names_function)

    def may_somewhere(self, way: Way) -> bool:
        """Whether its role and scopes let it in anywhere, of any function."""
        words = None if self.scopes is None else {scope.partition(":")[0] for scope in self.scopes}
        return self.role != "" and self.role in way.roles and (words is None or bool(words & set(way.scopes.split())))

    def knows_of(self, function: str) -> bool:
        """Whether it may learn whether a function is there in its own namespace."""
        scopes = parse_scopes(None if self.scopes is None else list(self.scopes))
        if not self.role or scopes is None:
            return bool(self.role)
        return any(scope.word not in ("secrets", "audit") and scope.covers(function) for scope in scopes)

    def _covered(self, way: Way, function: str, names_function: bool) -> bool:
        if self.scopes is None or way.scopes == "every":
            return True
        for scope in parse_scopes(list(self.scopes)) or ():
            about = function if names_function else None
            if scope.word in way.scopes.split() and (way.loose or scope.covers(about)):
                return True
        return False


class Walk:
    """A platform with a home and a foreign namespace that have the same things, and all kinds of callers."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.admin = platform.http()
        self.ids: dict[str, dict[str, str]] = {}
        self.wrong: list[str] = []
        self.taken = 0
        for namespace in (HOME, FOREIGN):
            self._made("/api/v1/namespaces", name=namespace)
            for name in ("ownfn", "strangefn"):
                platform.function(name, ECHO, "-n", namespace)
            secret = f"/api/v1/namespaces/{namespace}/secrets/own"
            assert self.admin.put(secret, json={"value": "a value"}).status_code == 201
            key = self._made(f"/api/v1/namespaces/{namespace}/keys", name="there", role="viewer")
            self.ids[namespace] = {"key_id": key["id"], "mapping": self._aws_things(namespace)}
        self.ids[NOWHERE] = {"key_id": self.ids[FOREIGN]["key_id"], "mapping": NO_MAPPING}
        self.user = self._user("seen", "V", everywhere=False)["principal_id"]

    def _aws_things(self, namespace: str) -> str:
        """A layer, and an event source mapping: its id."""
        admin, arn = aws.client(self.platform), f"arn:aws:lambda:local:{namespace}"
        admin.publish_layer_version(LayerName=f"{arn}:layer:base", Content={"ZipFile": aws.zip_of(shared="X = 1")})
        source = "arn:aws:sqs:eu-west-1:123456789012:there"
        made = admin.create_event_source_mapping(FunctionName=f"{arn}:function:ownfn", EventSourceArn=source)
        return str(made["UUID"])

    def callers(self) -> Iterator[Caller]:
        yield Caller("nobody", None, known=False)
        yield Caller("an unknown key", "iso_" + "x" * 43, known=False)
        yield Caller("no token at all", "eyJ.eyJ.eyJ", known=False)
        for letter, role in ROLES.items():
            yield Caller(f"{role}'s key", self._key(role)["token"], role=letter)
            yield Caller(role, self._user(f"user-{role}", letter)["access_token"], role=letter)
            token = self._user(f"all-{role}", letter, everywhere=True)["access_token"]
            yield Caller(f"{role} of everything", token, role=letter, everywhere=True)
        yield Caller("bootstrap admin", self.platform.ready["admin_key"], role="A", everywhere=True)
        for scopes in SCOPES:
            key = self._key("admin", scopes=scopes)
            yield Caller(f"key for {scopes}", key["token"], role="A", scopes=tuple(scopes))
        for role, signed_scopes in (("developer", None), ("viewer", None), ("admin", ["invoke:own*"])):
            key = self._key(role, **({} if signed_scopes is None else {"scopes": signed_scopes}))
            narrowed = None if signed_scopes is None else tuple(signed_scopes)
            letter = next(each for each, named in ROLES.items() if named == role)
            yield Caller(f"{role} who signs, {narrowed}", "", role=letter, scopes=narrowed, signs=Signed(key))
        for word in ("logs", "read"):
            key = self._made("/api/v1/namespaces/*/keys", name=word, role="admin", scopes=[word])
            yield Caller(f"{word} of everything", key["token"], role="A", everywhere=True, scopes=(word,))
        yield Caller("a user without a role", self._user("stranger", "")["access_token"])
        yield from self._who_is_out()

    def _who_is_out(self) -> Iterator[Caller]:
        key = self._key("admin", expires_at_ms=round(time.time() * 1000) + 1500)
        url = "/api/v1/me"
        wait_until(lambda: self._get(url, key["token"]).status_code == 401, "a key expires")
        yield Caller("an expired key", key["token"], known=False)
        key = self._key("admin")
        assert self.admin.delete(f"/api/v1/namespaces/{HOME}/keys/{key['id']}").status_code == 204
        yield Caller("a revoked key", key["token"], known=False)
        tokens = self._user("disabled", "A", everywhere=True)
        assert self.admin.post(f"/api/v1/users/{tokens['principal_id']}/disable").status_code == 200
        yield Caller("a disabled user", tokens["access_token"], known=False)
        tokens = self._user("logged-out", "A", everywhere=True)
        refresh = {"refresh_token": tokens["refresh_token"]}
        assert self.admin.post("/api/v1/auth/logout", json=refresh).status_code == 204
        yield Caller("a user who logged out", tokens["access_token"], known=False)

    def take(self, caller: Caller) -> None:
        """Every way, in every place."""
        headers = {"Authorization": f"Bearer {caller.token}"} if caller.token else {}
        # A connection for each: one on which a body was refused unread may be about to close.
        options: dict[str, Any] = {
            "headers": headers, "auth": caller.signs, "timeout": 60,
            "limits": httpx.Limits(max_keepalive_connections=0),
        }  # fmt: skip
        with (
            httpx.Client(base_url=self.platform.ready["url"], **options) as api,
            httpx.Client(base_url=self.platform.ready["content_url"], **options) as content,
        ):
            tables = (
                (CONTROL, api), (OPERATIONS, api), (INVOKING, api), (GATEWAY, api), (BY_URL, api), (CONTENT, content)
            )  # fmt: skip
            for table, client in tables:
                for text, way in table.items():
                    self._take(caller, client, text, way, calls=table in (INVOKING, CONTENT))

    def _take(self, caller: Caller, client: httpx.Client, text: str, way: Way, *, calls: bool) -> None:
        scoped = names_place(text, way)
        places = (HOME, FOREIGN, NOWHERE) if scoped and not caller.everywhere else (HOME,)
        for function in ("ownfn", "strangefn") if "{name}" in text and caller.scopes else ("ownfn",):
            answers = {place: self._ask(client, text, way, place, function, calls=calls) for place in places}
            for place, answer in answers.items():
                self._judge(caller, text, way, place, function, answer)
            if way.bearer and caller.signs:
                continue
            if len(places) == 3 and caller.known and not caller.everywhere:
                self._compare(caller, text, answers[FOREIGN], answers[NOWHERE])
            if caller.known and "{name}" in text and (calls or looks(text)):
                self._absent(caller, client, text, way, function, answers, calls=calls)

    def _ask(
        self, client: httpx.Client, text: str, way: Way, place: str, function: str, *, calls: bool, absent: bool = False
    ) -> httpx.Response:
        """What is looked at or called is there; what would be changed is not, but for in the foreign namespace."""
        self.taken += 1
        real = not absent and (looks(text) or calls or place == FOREIGN)
        ids = self.ids[place]
        if way.given is not None:
            named = function if real else f"{function}-absent"
            mapping = ids["mapping"] if real else NO_MAPPING
            values = {"ns": place, "name": named, "mapping": mapping}
            method, path, headers, content = request_of(text.split(" ")[1], values)
            return client.request(method, path, content=content, headers=headers)
        method, path = text.split(" ")
        path = path.partition("#")[0]
        names = {
            "ns": place,
            "name": function if real else f"{function}-absent",
            "number": "1",
            "alias": "live" if real else "absent",
            "rollout_id": "roll_absent",
            "secret": "own" if real else "absent",
            "key_id": ids["key_id"] if real else "key_absent",
            "user_id": self.user if real and method == "GET" else "pr_absent",
        }
        path = re.sub(r"{(\w+)}", lambda found: names.get(found[1], "absent"), path)
        query = {"namespace": place} if way.query else None
        body: dict[str, Any] = {"json": {}}
        if method in ("GET", "DELETE"):
            body = {}
        elif path.endswith("/packages"):
            body = {"content": b"PK", "headers": {"Content-Type": "application/zip"}}
        if way.headers:
            body["headers"] = dict(way.headers)
        return client.request(method, path, params=query, **body)

    def _judge(self, caller: Caller, text: str, way: Way, place: str, function: str, answer: httpx.Response) -> None:
        """Hold one answer against the table."""
        names_function = "{name}" in text
        scoped = names_place(text, way) or way.given is not None  # else it is about the caller's own
        if way.bearer and caller.signs:
            expected: tuple[int, ...] = (401,)
        elif caller.may(way, place, function, scoped=scoped, names_function=names_function):
            expected = way.allowed
        elif way.roles == "":
            expected = (404,)
        elif not caller.known:
            expected = (way.unknown if caller.token else way.without,)
        elif way.given is not None and caller.role and not caller.may_somewhere(way):
            expected = (403,)
        elif scoped and not caller.everywhere and (place != HOME or not caller.role):
            expected = (404,)
        else:
            expected = (403,)
        if answer.status_code not in expected:
            was = f"{answer.status_code}, not {expected}: {answer.text[:200]}"
            self.wrong.append(f"{caller.name}: {text} in {place} of {function}: {was}")

    def _compare(self, caller: Caller, text: str, foreign: httpx.Response, nowhere: httpx.Response) -> None:
        """All that the answers say but names and request ids is the same."""
        if said(foreign, FOREIGN) != said(nowhere, NOWHERE):
            self.wrong.append(
                f"{caller.name}: {text} tells a foreign namespace from none: {foreign.text} {nowhere.text}"
            )

    def _absent(
        self,
        caller: Caller,
        client: httpx.Client,
        text: str,
        way: Way,
        function: str,
        there: dict[str, httpx.Response],
        *,
        calls: bool,
    ) -> None:
        """Who may not know of a function gets the same answer where there is none."""
        for place, answer in there.items():
            if place == HOME and caller.knows_of(function):
                continue
            absent = self._ask(client, text, way, place, function, calls=calls, absent=True)
            if said(absent, f"{function}-absent") != said(answer, function):
                self.wrong.append(
                    f"{caller.name}: {text} tells {place}/{function} from none: {answer.text} {absent.text}"
                )

    def _key(self, role: str, **more: Any) -> dict[str, Any]:
        return self._made(f"/api/v1/namespaces/{HOME}/keys", name=role, role=role, **more)

    def _user(self, name: str, letter: str, *, everywhere: bool = False) -> dict[str, Any]:
        place = "*" if everywhere else HOME
        grants = [{"namespace": place, "role": ROLES[letter]}] if letter else []
        invited = self._made("/api/v1/users", name=name, grants=grants)
        return self._made("/api/v1/auth/register", invitation=invited["invitation"], password=PASSWORD)

    def _made(self, path: str, **body: Any) -> dict[str, Any]:
        answer = self.admin.post(path, json=body)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def _get(self, path: str, token: str) -> httpx.Response:
        return httpx.get(self.platform.ready["url"] + path, headers={"Authorization": f"Bearer {token}"}, timeout=30)


def names_place(text: str, way: Way) -> bool:
    """Whether the request says of which namespace it is, or of what in one."""
    return "{ns}" in text or "{mapping}" in text or way.query


def looks(text: str) -> bool:
    """Whether it changes nothing."""
    return text.startswith(("GET ", "aws Get", "aws List"))


def said(answer: httpx.Response, namespace: str) -> tuple[int, str, list[str]]:
    """An answer without what differs from call to call, and without the namespace's name."""
    try:
        body = answer.json()
    except json.JSONDecodeError:
        body = answer.text
    if isinstance(body, dict):
        body.pop("instance", None)
    passing = ("date", "x-amzn-requestid", "content-length", "server-timing")
    headers = sorted(f"{name}: {value}" for name, value in answer.headers.items() if name not in passing)
    return answer.status_code, json.dumps(body).replace(namespace, "?"), headers


def test_every_way_in_is_in_a_table() -> None:
    assert missing() == set()


@pytest.mark.timeout(1200)
def test_every_caller_gets_in_where_it_may_and_learns_nothing_where_not(start: Callable[..., Platform]) -> None:
    platform = start(environment={"ISOTHERM_API_RATE_PER_S": "100000"})
    walk = Walk(platform)
    callers = list(walk.callers())
    for caller in callers:
        walk.take(caller)
    assert walk.wrong == [], f"{len(walk.wrong)} of {walk.taken}:\n" + "\n".join(walk.wrong[:40])
    ways = sum(len(table) for table in (CONTROL, OPERATIONS, INVOKING, GATEWAY, BY_URL, CONTENT))
    assert walk.taken > len(callers) * ways
    with platform.http() as http:
        for namespace in (HOME, FOREIGN):
            found = http.get(f"/api/v1/namespaces/{namespace}/functions").json()["items"]
            assert [function["name"] for function in found] == ["ownfn", "strangefn"], "nobody changed anything"


def test_a_public_function_is_for_everybody_and_its_neighbour_is_not(start: Callable[..., Platform]) -> None:
    platform = start()
    platform.function("open", ECHO, public=True)
    platform.function("shut", ECHO)
    url = platform.ready["content_url"]
    for headers in ({}, {"Authorization": "Bearer iso_unknown"}, {"Authorization": "Bearer eyJ.e.e"}):
        assert httpx.get(f"{url}/open/", headers=headers, timeout=30).status_code == 200
        assert httpx.get(f"{url}/shut/", headers=headers, timeout=30).status_code == 401
