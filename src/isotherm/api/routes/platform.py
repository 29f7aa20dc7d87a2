"""The platform itself: who am I, how is it, its hosts, its audit log."""

from typing import Annotated

import msgspec
from fastapi import Query
from starlette.responses import Response

from isotherm.api.answers import Cursor, Limit, json_answer, page_answer
from isotherm.api.calls import ToCall
from isotherm.api.routing import Answer, RouteTable
from isotherm.api.schemas import Counts, EntryList, HostList, HostSummary, HostView, Me, Status
from isotherm.base.ids import NAME_PATTERN
from isotherm.events.verifying import Head, Verdict

__all__ = ["routes"]

routes = RouteTable("platform")


@routes.add("GET", "/api/v1/me", permission="any", summary="Who is asking", answers={200: Answer(Me, "You")})
def get_me(call: ToCall) -> Response:
    """The user or key, its roles, and the namespace in which unqualified names are looked up."""
    who = call.principal
    return json_answer(
        Me(
            principal_id=who.id,
            grants=list(who.grants),
            home_namespace=who.home_namespace,
            kind="key" if who.session is None else "user",
            name=None if who.session is None else call.services.users.named(who),
            scopes=None if who.scopes is None else [str(scope) for scope in who.scopes],
        )
    )


@routes.add(
    "GET",
    "/api/v1/status",
    permission="platform.read",
    summary="How the platform is",
    answers={200: Answer(Status, "Version, hosts, counts")},
)
def get_status(call: ToCall) -> Response:
    """Version; to who may look at hosts, also those that are connected and how much there is."""
    services = call.services
    allowed = services.tenancy.allows(call.principal, "hosts.read")
    hosts = services.board.hosts() if allowed else []
    return json_answer(
        Status(
            version=services.version,
            region=services.settings.region,
            time_ms=services.clock.time_ms(),
            hosts=[
                HostSummary(host_id=host.host_id, connected=host.connected, last_seen_ms=host.last_seen_ms)
                for host in hosts
            ],
            counts=Counts(
                functions=services.functions.count(), hosts=len(hosts), instances=services.board.instance_counts()
            )
            if allowed
            else None,
        )
    )


@routes.add(
    "GET",
    "/api/v1/hosts",
    permission="hosts.read",
    summary="Hosts",
    answers={200: Answer(HostList, "Probes, runtimes, states")},
)
async def list_hosts(call: ToCall) -> Response:
    """Every host: what its probes say works there, its runtimes, what it holds now."""
    board = call.services.board
    items = [HostView(**msgspec.structs.asdict(host), states=board.states_of(host.host_id)) for host in board.hosts()]
    return json_answer({"items": items, "next_cursor": None})


@routes.add(
    "GET",
    "/api/v1/events",
    permission="events.read",
    by_query=True,
    summary="The audit log",
    answers={200: Answer(EntryList, "Who decided what, newest first")},
)
def list_events(
    call: ToCall,
    limit: Limit = 100,
    cursor: Cursor = None,
    namespace: Annotated[str | None, Query(pattern=NAME_PATTERN, max_length=63)] = None,
) -> Response:
    """Events of one namespace, or, for those who may read all, of all. Newest first."""
    return page_answer(call.services.events.entries(namespace=namespace, limit=limit, cursor=cursor))


@routes.add(
    "GET",
    "/api/v1/events/head",
    permission="events.read",
    summary="The newest hash of the audit log",
    answers={200: Answer(Head, "Keep it elsewhere: it vouches for all events up to here")},
)
def get_head(call: ToCall) -> Response:
    """The hash of the newest event, which covers all before it."""
    return json_answer(call.services.events.head())


@routes.add(
    "GET",
    "/api/v1/events/verification",
    permission="events.read",
    summary="Whether the audit log is whole",
    answers={200: Answer(Verdict, "Whether each event follows from the one before, and the first that does not")},
)
def verify_events(
    call: ToCall,
    expect: Annotated[
        str | None, Query(pattern="^[0-9a-f]{64}$", max_length=64, description="A hash that was the head once")
    ] = None,
) -> Response:
    """Walks the whole log: some ten seconds for a million events. Only `expect` tells what was cut off at the end."""
    return json_answer(call.services.events.verify(expect))
