"""Users and scoped keys at the gateway, which knows them from the desired state alone."""

from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from isotherm.base.clock import SystemClock
from isotherm.base.ids import token_digest
from isotherm.wire.desired import GrantSpec, KeySpec, Role, TokenKeySpec, UserSpec
from tests.gateway.front import Front

KEY = Ed25519PrivateKey.generate()
ECHO = "def handler(event, context):\n    return event\n"


def token(sub: str = "pr_ann", *, sid: str = "ses_1", ver: int = 1, life_s: int = 900, key: Any = KEY) -> str:
    now_s = SystemClock().time_ms() // 1000
    claims = {
        "iss": "iso_1", "aud": "isotherm", "sub": sub, "sid": sid, "ver": ver, "iat": now_s, "exp": now_s + life_s,
    }  # fmt: skip
    return jwt.encode(claims, key, "EdDSA", headers={"kid": "isk_1"})


def user(front: Front, role: Role = "invoker", namespace: str = "default", **changes: Any) -> None:
    spec = UserSpec(**({"id": "pr_ann", "version": 1, "grants": [GrantSpec(namespace, role)]} | changes))
    front.keys.put_user(spec)
    front.routes.renew()


def scoped(front: Front, *scopes: str, role: Role = "developer") -> str:
    made = "iso_scoped" + "".join(scopes)
    front.keys.put(
        KeySpec(
            id=f"key_{made}",
            digest=token_digest(made),
            principal_id="pr_scoped",
            grants=[GrantSpec("default", role)],
            scopes=list(scopes),
        )
    )
    front.routes.renew()
    return made


@pytest.fixture
async def known(front: Front) -> Front:
    """A gateway that knows a user and a key that signs."""
    front.keys.put_token_key(TokenKeySpec(id="isk_1", public=KEY.public_key().public_bytes_raw(), issuer="iso_1"))
    user(front)
    front.function("hello", ECHO)
    return front


async def test_a_user_invokes_with_an_access_token_and_control_is_not_asked(known: Front) -> None:
    assert (await known.invoke("hello", 1, token=token())).status == 200
    assert (await known.get("/hello/", token=token())).status == 200


async def test_a_role_that_changes_counts_for_the_same_token(known: Front) -> None:
    made = token()
    assert (await known.invoke("hello", token=made)).status == 200
    user(known, "viewer")
    assert (await known.invoke("hello", token=made)).status == 403
    user(known, "admin", "other")
    assert (await known.invoke("hello", token=made)).status == 404


async def test_whose_session_ended_or_who_is_gone_is_out_also_on_an_open_connection(known: Front) -> None:
    made = token()
    wire = await known.wire()

    async def status() -> int:
        wire.send(f"GET /hello/ HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {made}\r\n\r\n".encode())
        return (await wire.reply()).status

    assert await status() == 200
    assert await status() == 200
    user(known, ended=["ses_1"])
    assert await status() == 401
    user(known, ended=["ses_2"])
    assert await status() == 200
    user(known, version=2)
    assert await status() == 401
    user(known)
    assert await status() == 200
    known.keys.remove_user("pr_ann")
    known.routes.renew()
    assert await status() == 401


async def test_a_token_that_is_over_or_forged_is_refused(known: Front) -> None:
    forged = (
        token(life_s=-1),
        token(key=Ed25519PrivateKey.generate()),
        token("pr_bob"),
        token()[:-10],
        token() + "a" * 600,
        "eyJ",
    )
    for made in forged:
        assert (await known.invoke("hello", token=made)).status == 401
    known.keys.remove_token_key("isk_1")
    assert (await known.invoke("hello", token=token())).status == 401


async def test_a_token_that_runs_out_is_refused_though_its_head_is_known(known: Front) -> None:
    now_ms = SystemClock().time_ms()
    known.keys._time_ms = known.keys._tokens._time_ms = lambda: now_ms + 901_000
    assert (await known.invoke("hello", token=token())).status == 401


async def test_no_access_token_of_the_platform_reaches_a_function_but_a_foreign_one_does(known: Front) -> None:
    known.function("open", ECHO, route={"public": True})
    for name in ("hello", "open"):
        seen = await known.get(f"/{name}/", token=token())
        assert "authorization" not in seen.json()["headers"], name
    over = await known.get("/open/", token=token(life_s=-5, key=Ed25519PrivateKey.generate()))
    assert "authorization" not in over.json()["headers"], "not one that is over, either"
    foreign = jwt.encode({"sub": "x"}, "a secret that is thirty-two bytes", "HS256", headers={"kid": "theirs"})
    seen = await known.get("/open/", token=foreign)
    assert seen.json()["headers"]["authorization"] == f"Bearer {foreign}"


async def test_scopes_count_at_every_way_in(known: Front) -> None:
    known.function("img-small", ECHO)
    for name, status in (("img-small", 200), ("hello", 403), ("absent", 403), ("img-absent", 404)):
        key = scoped(known, "invoke:img-*")
        assert (await known.invoke(name, token=key)).status == status, name
        assert (await known.get(f"/{name}/", token=key)).status == status, name
        assert (await known.get(f"/@default/{name}/", token=key)).status == status, name


async def test_a_key_that_reads_does_not_invoke(known: Front) -> None:
    assert (await known.invoke("hello", token=scoped(known, "read"))).status == 403
    assert (await known.invoke("hello", token=scoped(known, "secrets"))).status == 403
    assert (await known.invoke("hello", token=scoped(known, "invoke"))).status == 200


async def test_a_key_whose_scopes_are_not_about_a_function_cannot_tell_whether_it_is_there(known: Front) -> None:
    key = scoped(known, "invoke:other")
    there, absent = await known.invoke("hello", token=key), await known.invoke("hollo", token=key)
    assert there.status == absent.status == 403
    assert there.json()["detail"].replace("hello", "?") == absent.json()["detail"].replace("hollo", "?")


async def test_traces_are_for_those_whose_scopes_read(known: Front) -> None:
    known.function("broken", "def handler(event, context):\n    raise ValueError('no')\n")
    blind = await known.get("/broken/", token=scoped(known, "invoke"))
    seeing = await known.get("/broken/", token=scoped(known, "invoke", "read"))
    assert b"stack_trace" not in blind.body
    assert b"stack_trace" in seeing.body


async def test_metrics_take_a_key_that_reads_everywhere(known: Front) -> None:
    known.keys.put(
        KeySpec(
            id="key_m",
            digest=token_digest("iso_metrics"),
            principal_id="pr_m",
            grants=[GrantSpec("*", "viewer")],
            scopes=["read"],
        )
    )
    assert (await known.get("/metrics", token="iso_metrics", port=known.api)).status == 200
    assert (await known.get("/metrics", token=scoped(known, "read"), port=known.api)).status == 403


async def test_logs_of_everything_are_not_the_metrics(known: Front) -> None:
    known.keys.put(
        KeySpec(
            id="key_logs",
            digest=token_digest("iso_logs"),
            principal_id="pr_l",
            grants=[GrantSpec("*", "viewer")],
            scopes=["logs"],
        )
    )
    assert (await known.get("/metrics", token="iso_logs", port=known.api)).status == 403


async def test_the_debugger_tells_nobody_who_may_not_debug_whether_a_function_is_there(known: Front) -> None:
    async def refused(name: str, token: str) -> tuple[int, str]:
        path = f"/api/v1/namespaces/default/functions/{name}/debugger"
        answer = await known.get(path, method="POST", token=token, port=known.api)
        return answer.status, answer.json()["detail"].replace(name, "?")

    known.key("viewer", "default", "iso_viewer")
    known.key("admin", "other", "iso_foreign")
    for key, status in ((scoped(known, "deploy:own*"), 403), ("iso_viewer", 403), ("iso_foreign", 404)):
        assert await refused("hello", key) == await refused("absent", key)
        assert (await refused("hello", key))[0] == status
    assert (await refused("hello", scoped(known, "deploy:hel*")))[0] == 409
    assert (await refused("hel", scoped(known, "deploy:hel*")))[0] == 404


@pytest.mark.parametrize("out", ["key removed", "role taken", "nothing"])
async def test_a_debugger_is_cut_off_within_a_second_where_its_key_or_role_is_gone(known: Front, out: str) -> None:
    known.function("dev", ECHO, development=True, debug=True, warm={"max_instances": 1})
    await known.invoke("dev", 1)
    user(known, "developer")
    key = scoped(known, "deploy")
    wire = await known.wire(known.api)
    made = key if out == "key removed" else token()
    wire.send(
        b"POST /api/v1/namespaces/default/functions/dev/debugger HTTP/1.1\r\nHost: test\r\n"
        b"Transfer-Encoding: chunked\r\nAuthorization: Bearer " + made.encode() + b"\r\n\r\n"
    )
    assert (await wire.reply(head=True)).status == 200
    assert len(known.debugging._open) == 1
    if out == "key removed":
        known.keys.remove(f"key_{key}")
    elif out == "role taken":
        user(known, "viewer")
    known.api.tick()
    assert len(known.debugging._open) == (1 if out == "nothing" else 0)
    if out != "nothing":
        assert await wire.ended()


async def test_who_was_let_in_is_looked_up_again_by_key_or_session(known: Front) -> None:
    keys, made = known.keys, token(life_s=900)
    key = scoped(known, "deploy")
    by_key, by_token = (keys.principal(f"Bearer {each}".encode()) for each in (key, made))
    assert keys.renewed(by_key) is by_key
    user(known, "viewer")
    renewed = keys.renewed(by_token)
    assert renewed is not None
    assert (renewed.may_view("default", None), renewed.may_deploy("default", "hello")) == (True, False)
    user(known, ended=["ses_1"])
    keys.remove(f"key_{key}")
    assert (keys.renewed(by_key), keys.renewed(by_token)) == (None, None)


async def test_which_keys_were_used_is_told_once_and_again_when_used_again(known: Front) -> None:
    known.keys.take_used()
    assert known.keys.take_used() == {}
    key = scoped(known, "invoke")
    await known.invoke("hello", token=key)
    used = known.keys.take_used()
    assert list(used) == [f"key_{key}"]
    assert all(at_ms % 60_000 == 0 for at_ms in used.values())
    assert known.keys.take_used() == {}
    await known.invoke("hello", token=key)
    await known.invoke("hello", token="iso_unknown")
    assert list(known.keys.take_used()) == [f"key_{key}"]
