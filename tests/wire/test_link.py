"""Framing of the link between host and control: whole messages come out as they went in, however they are cut."""

import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.wire import link
from isotherm.wire.desired import Desired, GrantSpec, Item, KeySpec, Removed, RevisionSpec, RouteSpec, item_id
from isotherm.wire.link import FromControl, FromHost, LinkError
from isotherm.wire.telemetry import Batch, InvocationRecord, LogLine, MinuteAggregate, WorkloadState

REVISION = RevisionSpec(
    id="rev_1", workload_id="wl_1", namespace="default", name="hello", number=1, runtime="python3.11",
    handler="app.handler", package="0" * 64, env={"A": "é"},
)  # fmt: skip
ROUTE = RouteSpec(workload_id="wl_1", namespace="default", name="hello", versions=[(1, "rev_1")])
KEY = KeySpec(id="key_1", digest="0" * 64, principal_id="p_1", grants=[GrantSpec("*", "admin")])

FROM_HOST: list[FromHost] = [
    link.Hello(
        protocol=1, host_id="h", boot_id="b", isotherm_version="0.1.0", epoch=None, version=0, probes={}, runtimes=[]
    ),
    link.Progress(order_id="o", step="import", state="running", message="…"),
    link.Reply(order_id="o", problem={"code": "import_failed", "status": 502}),
    link.Telemetry(
        Batch(
            host_id="h", boot_id="b", sequence=7, sent_at_ms=1,
            invocations=[
                InvocationRecord(
                    id="i", namespace="default", name="hello", revision_id="rev_1", alias="live", source="url",
                    started_at_ms=1, queue_ms=0.1, start_ms=0, run_ms=1.5, total_ms=1.6, outcome="ok", status=200,
                )
            ],
            minutes=[
                MinuteAggregate(
                    namespace="default", name="hello", revision_id="rev_1", minute=1, count=1, outcomes={"ok": 1},
                    cold={}, latency=[1], total_ms=1.6, run_ms=1.5, queue_ms=0.1,
                )
            ],
            logs=[
                LogLine(
                    namespace="default", name="hello", revision_id="rev_1", instance_id="i", at_ms=1, message="hi"
                )
            ],
            states=[
                WorkloadState(
                    namespace="default", name="hello", revision_id="rev_1", temperatures={"warm": 1}, memory_bytes=1,
                    cpu_s=0.1, queued=0,
                )
            ],
        )
    ),
]  # fmt: skip
FROM_CONTROL: list[FromControl] = [
    link.Welcome(protocol=1, isotherm_version="0.1.0"),
    link.Ack(boot_id="b", sequence=7),
    link.Order(id="o", verb="prepare", timeout_s=60, revision=REVISION),
    link.State(
        Desired(
            epoch="e", version=2, full=False,
            items=[Item(revision=REVISION), Item(route=ROUTE), Item(key=KEY)], removed=[Removed("key", "key_0")],
        )
    ),
]  # fmt: skip


@given(payloads=st.lists(st.binary(max_size=200), max_size=8), cuts=st.lists(st.integers(1, 64), min_size=1))
def test_messages_come_out_whole_however_the_stream_is_cut(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(struct.pack("<I", len(payload)) + payload for payload in payloads)
    buffer, got, at, turn = bytearray(), [], 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        buffer += stream[at : at + size]
        got += link.split_messages(buffer)
        at, turn = at + size, turn + 1
    assert got == payloads
    assert buffer == b""


@pytest.mark.parametrize("message", FROM_HOST, ids=lambda message: type(message).__name__)
def test_what_a_host_says_arrives_as_it_was(message: FromHost) -> None:
    (payload,) = link.split_messages(bytearray(link.encode(message)))
    assert link.decode_from_host(payload) == message


@pytest.mark.parametrize("message", FROM_CONTROL, ids=lambda message: type(message).__name__)
def test_what_control_says_arrives_as_it_was(message: FromControl) -> None:
    (payload,) = link.split_messages(bytearray(link.encode(message)))
    assert link.decode_from_control(payload) == message


def test_each_side_refuses_what_only_the_other_may_say() -> None:
    with pytest.raises(LinkError):
        link.decode_from_control(link.encode(FROM_HOST[0])[4:])
    with pytest.raises(LinkError):
        link.decode_from_host(link.encode(FROM_CONTROL[0])[4:])


@given(st.binary(max_size=300))
def test_noise_is_refused_with_the_links_own_error(noise: bytes) -> None:
    for decode in (link.decode_from_host, link.decode_from_control):
        with pytest.raises(LinkError):
            decode(noise)


def test_a_length_over_the_limit_is_refused_before_anything_is_kept() -> None:
    with pytest.raises(LinkError, match="over the limit"):
        link.split_messages(bytearray(struct.pack("<I", link.MAX_MESSAGE_BYTES + 1)))


def test_unknown_fields_of_a_newer_peer_are_ignored() -> None:
    newer = msgspec.msgpack.encode({"type": "ack", "boot_id": "b", "sequence": 7, "added_later": True})
    assert link.decode_from_control(newer) == link.Ack(boot_id="b", sequence=7)


def test_an_item_names_its_kind_and_id() -> None:
    assert item_id(Item(revision=REVISION)) == ("revision", "rev_1")
    assert item_id(Item(route=ROUTE)) == ("route", "wl_1")
    assert item_id(Item(key=KEY)) == ("key", "key_1")
    with pytest.raises(ValueError, match="empty"):
        item_id(Item())
