"""The board: the last word of each host; states of a boot that is over are not shown."""

import msgspec
from msgspec.structs import replace

from isotherm.bus.board import HostBoard
from isotherm.wire.link import PROTOCOL, Hello
from isotherm.wire.telemetry import Batch, MinuteAggregate, NamespaceUse, WorkloadState


def hello(host_id: str = "host_1", boot_id: str = "boot_1") -> Hello:
    return Hello(
        protocol=PROTOCOL,
        host_id=host_id,
        boot_id=boot_id,
        isotherm_version="1",
        epoch=None,
        version=0,
        probes={"process": {"works": True}},
        runtimes=["python3.11"],
    )


def batch(boot_id: str = "boot_1", states: list[WorkloadState] | None = None, dropped: int = 0) -> Batch:
    return Batch(
        host_id="host_1",
        boot_id=boot_id,
        sequence=1,
        sent_at_ms=1,
        states=states,
        dropped={"logs": dropped} if dropped else {},
    )


def state(warm: int) -> WorkloadState:
    return WorkloadState(
        namespace="default",
        name="hello",
        revision_id="rev_1",
        temperatures={"warm": warm},
        memory_bytes=1,
        cpu_s=0,
        queued=0,
    )


def test_states_are_those_of_the_last_batch_that_had_any() -> None:
    board = HostBoard()
    board.host_connected(hello(), 1)
    board.telemetry_came(batch(states=[state(2)]), 2)
    board.telemetry_came(batch(states=None), 3)
    assert board.states("default", "hello") == [state(2)]
    assert board.states("default", "other") == []
    assert board.instance_counts() == {"warm": 2}
    assert board.hosts()[0].last_seen_ms == 3


def test_a_spooled_batch_of_a_former_boot_says_nothing_of_now() -> None:
    board = HostBoard()
    board.host_connected(hello(boot_id="boot_2"), 1)
    board.telemetry_came(batch(boot_id="boot_1", states=[state(2)]), 2)
    assert board.states("default", "hello") == []


def test_a_host_that_left_is_shown_as_gone_and_holds_nothing() -> None:
    board = HostBoard()
    board.host_connected(hello(), 1)
    board.telemetry_came(batch(states=[state(1)], dropped=3), 2)
    board.host_gone("host_1", 5)
    assert [(entry.connected, entry.last_seen_ms, entry.dropped) for entry in board.hosts()] == [
        (False, 5, {"logs": 3})
    ]
    assert board.states("default", "hello") == []


def test_the_board_is_bounded_and_those_that_left_give_way_first() -> None:
    board = HostBoard(max_hosts=2)
    board.host_connected(hello("host_1"), 1)
    board.host_connected(hello("host_2"), 2)
    board.host_gone("host_2", 3)
    board.host_connected(hello("host_3"), 4)
    assert [entry.host_id for entry in board.hosts()] == ["host_1", "host_3"]


def test_uses_are_those_of_the_host_where_most_is_used_and_refusals_of_all() -> None:
    board = HostBoard()
    for number, host in enumerate(("host_1", "host_2")):
        board.host_connected(hello(host), 1)
        use = NamespaceUse(namespace="team", instances=number, memory_mb=256 - number, refused={"instances": 2})
        board.telemetry_came(replace(batch(), host_id=host, uses=[use]), 2)
    assert board.use("team") == NamespaceUse(namespace="team", instances=1, memory_mb=256, refused={"instances": 4})
    assert board.use("other") == NamespaceUse(namespace="other")
    board.host_gone("host_1", 3)
    assert board.use("team").memory_mb == 255
    board.telemetry_came(replace(batch(), host_id="host_2", uses=None), 4)
    assert board.use("team").memory_mb == 255, "None: unchanged"


def test_calls_a_second_are_those_of_the_last_ten_seconds() -> None:
    board = HostBoard()
    board.host_connected(hello(), 0)
    for second in range(30):
        board.telemetry_came(replace(batch(), minutes=[counted("team", 4), counted("other", 1)]), second * 1000)
    assert board.rate_per_s("team", 29_000) == 4
    assert board.rate_per_s("other", 29_000) == 1
    assert board.rate_per_s("team", 60_000) == 0
    assert board.rate_per_s("nobody", 29_000) == 0


def test_held_revisions_are_those_that_serve() -> None:
    board = HostBoard()
    board.host_connected(hello(), 1)
    board.telemetry_came(batch(states=[state(1), replace(state(0), revision_id="rev_2")]), 2)
    assert board.held_revisions() == {"rev_1"}


def counted(namespace: str, count: int) -> MinuteAggregate:
    return MinuteAggregate(
        namespace=namespace,
        name="f",
        revision_id="rev_1",
        minute=0,
        count=count,
        outcomes={},
        cold={},
        latency=[],
        total_ms=0,
        run_ms=0,
        queue_ms=0,
    )


def test_live_instances_are_those_of_a_revision_or_of_the_largest_one() -> None:
    board = HostBoard()
    board.host_connected(hello(), 1)
    board.telemetry_came(
        batch(
            states=[
                msgspec.structs.replace(state(2), temperatures={"hot": 1, "warm": 2, "spare": 9, "template": 1}),
                msgspec.structs.replace(state(1), revision_id="rev_2"),
            ]
        ),
        2,
    )
    assert board.live_instances("host_1", "default", "hello") == 3
    assert board.live_instances("host_1", "default", "hello", "rev_2") == 1
    assert board.live_instances("host_1", "default", "hello", "rev_9") == 0
    assert board.live_instances("host_2", "default", "hello") == 0
