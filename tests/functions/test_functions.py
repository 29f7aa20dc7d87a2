"""Deploy, see, steer and delete functions: from the upload to what hosts are told."""

import io
import threading
from collections.abc import Callable

import msgspec
import pytest

from isotherm.base.errors import (
    Conflict,
    Forbidden,
    Invalid,
    InvalidPackage,
    IsothermError,
    NotFound,
    PreconditionFailed,
    TooLarge,
)
from isotherm.base.ids import content_digest
from isotherm.functions.model import FunctionConfig, WarmConfig
from isotherm.functions.policy import MASK
from isotherm.tenancy.model import Principal
from isotherm.wire.desired import RevisionSpec, RouteSpec
from isotherm.wire.egress import EgressAllow
from isotherm.wire.quota import Quota
from isotherm.workloads.model import Weight
from tests.house import House, house, zipped

__all__ = ["house"]


def routes(house: House) -> dict[str, RouteSpec]:
    return {item.route.name: item.route for item in house.feed.full().items if item.route is not None}


def told(house: House) -> dict[int, RevisionSpec]:
    """What hosts are told of `hello`, by number."""
    found = [item.revision for item in house.feed.full().items if item.revision is not None]
    return {spec.number: spec for spec in found if spec.name == "hello"}


def live(house: House, name: str = "hello") -> dict[int, float]:
    found = house.functions.get(house.admin, "default", name).live
    return {weight.number: weight.weight for weight in found}


def test_an_upload_is_checked_and_kept_by_its_digest(house: House) -> None:
    content = zipped(app="x = 1")
    package = house.functions.upload_package(house.admin, "default", io.BytesIO(content))
    assert package.digest == content_digest(content)
    assert (package.size_bytes, package.files, package.requirements) == (len(content), 1, None)
    assert house.blobs.read(package.digest) == content
    with pytest.raises(InvalidPackage):
        house.functions.upload_package(house.admin, "default", b"not a zip")


def test_a_deploy_is_building_until_a_host_has_prepared_it_then_live(house: House) -> None:
    deployed = house.deploy(memory_mb=128)
    assert (deployed.created, deployed.revision.number, deployed.revision.state) == (True, 1, "building")
    assert routes(house) == {}
    assert told(house) == {}
    assert [spec.id for spec in house.functions.building()] == [deployed.revision.id]
    house.functions.mark_ready(deployed.revision.id, template=False, unfit=["a thread: Thread-1"], elapsed_ms=812.5)
    found = house.functions.get(house.admin, "default", "hello")
    assert found.live == [Weight(1, 1.0)]
    assert found.latest is not None
    assert (found.latest.state, found.latest.ready_after_ms) == ("ready", 812.5)
    assert (found.latest.template, found.latest.unfit) == (False, ["a thread: Thread-1"])
    assert house.functions.building() == []
    route = routes(house)["hello"]
    assert route.versions == [(1, deployed.revision.id)]
    assert [(alias.name, alias.weights) for alias in route.aliases] == [("live", [(deployed.revision.id, 1.0)])]
    assert told(house)[1].memory_mb == 128


def test_urls_are_those_of_the_content_port(house: House) -> None:
    house.tenancy.create_namespace(house.admin, "team")
    house.deploy()
    house.deploy(namespace="team")
    mine = house.functions.get(house.admin, "default", "hello")
    theirs = house.functions.get(house.admin, "team", "hello")
    assert mine.url == "http://localhost:7071/hello/"
    assert theirs.url == "http://localhost:7071/@team/hello/"
    assert theirs.latest is not None
    assert theirs.latest.url == "http://localhost:7071/@team/hello:1/"


def test_a_failed_revision_keeps_its_problem_and_live_stays(house: House) -> None:
    house.deploy_ready()
    broken = house.deploy(memory_mb=64).revision
    problem = {"code": "import_failed", "detail": "No module named 'nothing'", "data": {"stack_trace": ["app.py:1"]}}
    house.functions.mark_failed(broken.id, problem)
    found = house.functions.revision(house.admin, "default", "hello", broken.number)
    assert (found.state, found.problem) == ("failed", problem)
    assert live(house) == {1: 1.0}
    assert broken.number not in told(house)
    (entry,) = [entry for entry in house.log.entries().items if entry.kind == "workload.revision_failed"]
    assert entry.data == {"number": broken.number, "code": "import_failed"}, "tracebacks may hold secrets"


def test_the_same_code_and_configuration_is_the_same_revision(house: House) -> None:
    first = house.deploy(env={"A": "1", "B": "2"}).revision
    again = house.deploy(env={"B": "2", "A": "1"})
    assert (again.created, again.revision.id) == (False, first.id)
    house.functions.mark_ready(first.id, template=True, unfit=[], elapsed_ms=1)
    assert not house.deploy(env={"A": "1", "B": "2"}).created
    assert house.deploy(env={"A": "1", "B": "3"}).created, "another value of a secret"
    assert house.deploy(env={"A": "1", "B": "3"}, memory_mb=64).created
    assert house.deploy(env={"A": "1", "B": "3"}, memory_mb=64, public=True).created


def test_a_failed_revision_is_not_taken_for_the_same(house: House) -> None:
    first = house.deploy().revision
    house.functions.mark_failed(first.id, {"code": "build_failed"})
    assert house.deploy().created


def test_deploying_the_latest_again_makes_it_live_again(house: House) -> None:
    house.deploy_ready(memory_mb=64)
    house.deploy_ready(memory_mb=128)
    house.functions.rollback(house.admin, "default", "hello")
    assert live(house) == {1: 1.0}
    assert not house.deploy(memory_mb=128).created
    assert live(house) == {2: 1.0}


def test_an_older_revision_that_is_ready_late_does_not_take_over(house: House) -> None:
    slow = house.deploy(memory_mb=64).revision
    house.deploy_ready(memory_mb=128)
    house.functions.mark_ready(slow.id, template=True, unfit=[], elapsed_ms=9)
    assert live(house) == {2: 1.0}
    assert sorted(told(house)) == [1, 2], "yet it can be called by its number"


def test_marking_twice_changes_nothing_and_verdicts_are_final(house: House) -> None:
    revision = house.deploy().revision
    house.functions.mark_ready(revision.id, template=True, unfit=[], elapsed_ms=1)
    before = (house.feed.version(), house.kinds())
    house.functions.mark_ready(revision.id, template=False, unfit=["other"], elapsed_ms=2)
    assert (house.feed.version(), house.kinds()) == before
    with pytest.raises(Conflict):
        house.functions.mark_failed(revision.id, {"code": "internal"})
    failed = house.deploy(memory_mb=64).revision
    house.functions.mark_failed(failed.id, {"code": "internal"}, elapsed_ms=3)
    house.functions.mark_failed(failed.id, {"code": "other"})
    assert house.functions.revision(house.admin, "default", "hello", 2).problem == {"code": "internal"}
    with pytest.raises(Conflict):
        house.functions.mark_ready(failed.id, template=True, unfit=[], elapsed_ms=1)


def test_a_revision_deleted_meanwhile_is_not_found(house: House) -> None:
    revision = house.deploy().revision
    house.functions.delete(house.admin, "default", "hello")
    calls: list[Callable[[], object]] = [
        lambda: house.functions.mark_ready(revision.id, template=True, unfit=[], elapsed_ms=1),
        lambda: house.functions.mark_failed(revision.id, {}),
        lambda: house.functions.spec(revision.id),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            call()


def test_env_values_reach_hosts_and_whoever_may_read_them_and_nothing_else(house: House) -> None:
    number = house.deploy_ready(env={"TOKEN": "s3cr3t-value"})
    assert told(house)[number].env == {"TOKEN": "s3cr3t-value"}
    developer, viewer = house.principal("developer"), house.principal("viewer")
    assert house.functions.revision(developer, "default", "hello", number).config.env == {"TOKEN": "s3cr3t-value"}
    for shown in (
        house.functions.revision(viewer, "default", "hello", number),
        house.functions.get(viewer, "default", "hello"),
        house.functions.page(developer, "default").items,
        house.functions.revisions(developer, "default", "hello").items,
        house.log.entries(limit=1000).items,
    ):
        assert b"s3cr3t" not in msgspec.json.encode(shown)
    assert house.functions.revision(viewer, "default", "hello", number).config.env == {"TOKEN": MASK}
    with pytest.raises(Invalid, match="stands for a value"):
        house.deploy(env={"TOKEN": MASK})


def test_env_values_are_encrypted_at_rest(house: House) -> None:
    house.deploy_ready(env={"TOKEN": "s3cr3t-value"})
    assert b"s3cr3t" not in house.stored()


def test_what_a_deploy_gets_is_what_it_gave_with_the_runtime_settled(house: House) -> None:
    config = FunctionConfig(
        package=house.package(),
        handler="lib/app.main",
        memory_mb=512,
        concurrency=8,
        env={"A": "1"},
        public=True,
        rate_per_s=5.5,
        burst=10,
        egress=EgressAllow(hosts=["api.example.com:443"], cidrs=["10.1.0.0/16"]),
        warm=WarmConfig(min_instances=1, warm_event={"ping": [1, None]}, spare=3),
    )
    shown = house.functions.deploy(house.admin, "default", "hello", config).revision.config
    assert shown == msgspec.structs.replace(config, runtime="python3.11")
    assert house.functions.revision(house.admin, "default", "hello", 1).config == shown


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"package": "0" * 64}, "was not uploaded"),
        ({"package": "short"}, "package"),
        ({"runtime": "python3.4"}, r"this platform has python3\.11"),
        ({"runtime": "node20"}, "runtime"),
        ({"handler": "handler"}, "handler"),
        ({"memory_mb": 1}, "memory_mb"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": 1e9}, "timeout_s"),
        ({"concurrency": 0}, "concurrency"),
        ({"dispatch": "magic"}, "dispatch"),
        ({"env": {"1A": "x"}}, "env"),
        ({"env": {"ISOTHERM_X": "x"}}, r"env\.ISOTHERM_X is set by the platform"),
        ({"env": {"A": "x\x00"}}, "zero byte"),
        ({"env": {f"A{number}": "x" * 30_000 for number in range(3)}}, "more than 65536"),
        ({"env": {"A": "\x01" * 30_000}}, "JSON escapes"),
        ({"secrets": {"TOKEN": "absent"}}, r"secrets\.TOKEN is the secret 'absent'"),
        ({"secrets": {"TOKEN": "Not A Name"}}, "secrets"),
        ({"secrets": {"1A": "token"}}, "secrets"),
        ({"secrets": {"_HANDLER": "token"}}, r"secrets\._HANDLER is set by the platform"),
        ({"secrets": {"A": "token"}, "env": {"A": "x"}}, r"secrets\.A is also in env"),
        ({"secrets": {f"A{number}": "token" for number in range(65)}}, "secrets"),
        ({"burst": 5}, "without rate_per_s"),
        ({"warm": WarmConfig(min_instances=5, max_instances=4)}, r"warm\.min_instances is 5"),
        ({"warm": WarmConfig(warm_event="x" * 300_000)}, "warm_event"),
        ({"egress": "most"}, "egress"),
        ({"egress": EgressAllow()}, "egress allows nothing"),
        ({"egress": EgressAllow(hosts=["https://a.b"])}, r"egress\.hosts: 'https://a\.b' is no host name"),
        ({"egress": EgressAllow(hosts=["a.b"] * 65)}, "egress"),
        ({"egress": EgressAllow(cidrs=["169.254.169.254"])}, r"egress\.cidrs: .* can never be reached"),
    ],
)
def test_bad_configurations_are_refused_with_the_key_named(
    house: House, settings: dict[str, object], what: str
) -> None:
    with pytest.raises(Invalid, match=what):
        house.deploy(**settings)
    assert house.functions.page(house.admin, "default").items == []


@pytest.mark.parametrize("name", ["", "a b", "a" * 65, "hello:1", "../x", "grüße"])
def test_bad_names_are_refused(house: House, name: str) -> None:
    with pytest.raises(Invalid, match="1 to 64 letters, digits, hyphens and underscores"):
        house.deploy(name)


def test_names_are_those_that_aws_takes(house: House) -> None:
    for name in ("Hello", "a_b", "a" * 64, "-a", "7"):
        assert house.deploy_ready(name) == 1


def test_a_package_of_another_namespace_cannot_be_deployed(house: House) -> None:
    house.tenancy.create_namespace(house.admin, "team")
    digest = house.package("team")
    with pytest.raises(Invalid, match="was not uploaded to the namespace 'default'"):
        house.deploy(package=digest)


def test_a_function_under_many_eyes_is_listed_by_name_page_by_page(house: House) -> None:
    names = [f"fn-{number:02}" for number in range(11)]
    for name in reversed(names):
        house.deploy(name)
    seen: list[str] = []
    cursor = None
    while True:
        page = house.functions.page(house.admin, "default", limit=4, cursor=cursor)
        seen += [function.name for function in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == names
    assert house.functions.count() == 11


def test_revisions_are_listed_the_newest_first(house: House) -> None:
    for memory_mb in (64, 65, 66, 67, 68):
        house.deploy(memory_mb=memory_mb)
    first = house.functions.revisions(house.admin, "default", "hello", limit=3)
    rest = house.functions.revisions(house.admin, "default", "hello", limit=3, cursor=first.next_cursor)
    assert [revision.number for revision in first.items + rest.items] == [5, 4, 3, 2, 1]
    assert rest.next_cursor is None


def test_an_alias_shares_traffic_and_is_told_to_hosts(house: House) -> None:
    for memory_mb in (64, 128):
        house.deploy_ready(memory_mb=memory_mb)
    made = house.functions.set_alias(house.admin, "default", "hello", "beta", [Weight(2, 0.1), Weight(1, 0.9)])
    assert made.weights == [Weight(1, 0.9), Weight(2, 0.1)]
    assert house.functions.alias(house.admin, "default", "hello", "beta") == made
    route = routes(house)["hello"]
    ids = {number: spec.id for number, spec in told(house).items()}
    assert {alias.name: alias.weights for alias in route.aliases} == {
        "beta": [(ids[1], 0.9), (ids[2], 0.1)],
        "live": [(ids[2], 1.0)],
    }
    assert [alias.name for alias in house.functions.aliases(house.admin, "default", "hello").items] == ["beta", "live"]
    house.functions.delete_alias(house.admin, "default", "hello", "beta")
    with pytest.raises(NotFound):
        house.functions.alias(house.admin, "default", "hello", "beta")
    assert [alias.name for alias in routes(house)["hello"].aliases] == ["live"]


def test_aliases_that_make_no_sense_are_refused(house: House) -> None:
    house.deploy_ready()
    house.deploy(memory_mb=64)
    for alias, weights, what in (
        ("not good", [Weight(1, 1.0)], "1 to 128 letters"),
        ("12", [Weight(1, 1.0)], "not digits alone"),
        ("a" * 129, [Weight(1, 1.0)], "1 to 128 letters"),
        ("beta", [Weight(2, 1.0)], "building"),
        ("beta", [Weight(9, 1.0)], "unknown"),
        ("beta", [Weight(1, 0.5)], "sum to 0.5"),
    ):
        with pytest.raises(Invalid, match=what):
            house.functions.set_alias(house.admin, "default", "hello", alias, weights)
    with pytest.raises(Invalid, match="cannot be deleted"):
        house.functions.delete_alias(house.admin, "default", "hello", "live")
    with pytest.raises(NotFound):
        house.functions.delete_alias(house.admin, "default", "hello", "beta")


def test_a_rollback_goes_to_the_ready_revision_before_or_to_the_one_named(house: House) -> None:
    with pytest.raises(NotFound):
        house.functions.rollback(house.admin, "default", "hello")
    house.deploy_ready(memory_mb=64)
    with pytest.raises(Conflict, match="no earlier"):
        house.functions.rollback(house.admin, "default", "hello")
    failed = house.deploy(memory_mb=65).revision
    house.functions.mark_failed(failed.id, {"code": "internal"})
    house.deploy_ready(memory_mb=66)
    house.deploy_ready(memory_mb=67)
    assert house.functions.rollback(house.admin, "default", "hello").weights == [Weight(3, 1.0)]
    assert house.functions.rollback(house.admin, "default", "hello").weights == [Weight(1, 1.0)], "2 has failed"
    assert house.functions.rollback(house.admin, "default", "hello", to=4).weights == [Weight(4, 1.0)]
    with pytest.raises(Invalid, match="failed"):
        house.functions.rollback(house.admin, "default", "hello", to=2)
    reasons = [entry.data["reason"] for entry in house.log.entries().items if entry.kind == "workload.alias_moved"]
    assert reasons[:3] == ["rollback"] * 3


def test_whether_it_is_public_goes_with_the_revision_that_is_live(house: House) -> None:
    house.deploy_ready(public=True, rate_per_s=5.0)
    assert routes(house)["hello"].public
    house.deploy_ready(public=False)
    assert not routes(house)["hello"].public
    assert not house.functions.get(house.admin, "default", "hello").public
    house.functions.rollback(house.admin, "default", "hello")
    assert (routes(house)["hello"].public, routes(house)["hello"].rate_per_s) == (True, 5.0)


def test_a_deleted_function_is_gone_everywhere_and_its_name_is_free(house: House) -> None:
    house.deploy_ready(env={"A": "1"})
    old = house.functions.get(house.admin, "default", "hello")
    house.functions.delete(house.admin, "default", "hello")
    with pytest.raises(NotFound):
        house.functions.get(house.admin, "default", "hello")
    assert (routes(house), told(house), house.functions.count()) == ({}, {}, 0)
    house.deploy_ready()
    new = house.functions.get(house.admin, "default", "hello")
    assert new.id != old.id
    assert new.latest is not None
    assert new.latest.number == 1
    assert new.etag != old.etag


def test_if_match_guards_every_change(house: House) -> None:
    stale = house.deploy().etag
    house.functions.mark_ready(house.functions.building()[0].id, template=True, unfit=[], elapsed_ms=1)
    fresh = house.functions.get(house.admin, "default", "hello").etag
    assert fresh != stale
    verbs: list[Callable[[str], object]] = [
        lambda tag: house.functions.deploy(
            house.admin, "default", "hello", FunctionConfig(package=house.package(), memory_mb=99), if_match=tag
        ),
        lambda tag: house.functions.set_alias(house.admin, "default", "hello", "beta", [Weight(1, 1)], if_match=tag),
        lambda tag: house.functions.delete_alias(house.admin, "default", "hello", "beta", if_match=tag),
        lambda tag: house.functions.rollback(house.admin, "default", "hello", to=1, if_match=tag),
        lambda tag: house.functions.delete(house.admin, "default", "hello", if_match=tag),
    ]
    for verb in verbs:
        before = house.kinds()
        for tag in (f'"{stale}"', stale, '"other"'):
            with pytest.raises(PreconditionFailed):
                verb(tag)
        assert house.kinds() == before
        verb(f'"other", W/"{house.functions.etag(house.admin, "default", "hello")}"')
    with pytest.raises(PreconditionFailed):
        verbs[0]("*")  # it does not exist any more


def test_only_who_may_does(house: House) -> None:
    house.deploy_ready()
    config = FunctionConfig(package=house.package())
    verbs: dict[str, Callable[[Principal], object]] = {
        "upload": lambda who: house.functions.upload_package(who, "default", zipped(app="")),
        "deploy": lambda who: house.functions.deploy(who, "default", "hello", config),
        "set_alias": lambda who: house.functions.set_alias(who, "default", "hello", "beta", [Weight(1, 1)]),
        "delete_alias": lambda who: house.functions.delete_alias(who, "default", "hello", "beta"),
        "rollback": lambda who: house.functions.rollback(who, "default", "hello", to=1),
        "get": lambda who: house.functions.get(who, "default", "hello"),
        "page": lambda who: house.functions.page(who, "default"),
        "revisions": lambda who: house.functions.revisions(who, "default", "hello"),
        "revision": lambda who: house.functions.revision(who, "default", "hello", 1),
        "aliases": lambda who: house.functions.aliases(who, "default", "hello"),
        "alias": lambda who: house.functions.alias(who, "default", "hello", "live"),
        "etag": lambda who: house.functions.etag(who, "default", "hello"),
        "delete": lambda who: house.functions.delete(who, "default", "hello"),
    }
    reading = {"get", "page", "revisions", "revision", "aliases", "alias", "etag"}
    house.tenancy.create_namespace(house.admin, "team")
    invoker, viewer, stranger = house.principal("invoker"), house.principal("viewer"), house.principal("admin", "team")
    for name, verb in verbs.items():
        with pytest.raises(NotFound, match="no namespace 'default'"):
            verb(stranger)
        with pytest.raises(Forbidden):
            verb(invoker)
        if name not in reading:
            with pytest.raises(Forbidden):
                verb(viewer)
        verb(viewer if name in reading else house.principal("developer"))


def test_a_foreign_namespace_answers_as_one_that_does_not_exist(house: House) -> None:
    house.tenancy.create_namespace(house.admin, "secret")
    house.deploy("hello", "secret")
    stranger = house.principal("developer")
    answers = set()
    for namespace in ("secret", "missing"):
        with pytest.raises(NotFound) as caught:
            house.functions.get(stranger, namespace, "hello")
        answers.add(caught.value.message.replace(namespace, "NAME"))
        with pytest.raises(NotFound) as caught:
            house.functions.get(house.admin, "missing", "hello")
        answers.add(caught.value.message.replace("missing", "NAME"))
    assert len(answers) == 1


def test_old_revisions_stay_listed_but_hosts_are_told_only_of_the_newest_and_those_in_aliases(house: House) -> None:
    for memory_mb in range(64, 64 + 55):
        house.deploy_ready(memory_mb=memory_mb)
        if memory_mb == 65:
            house.functions.set_alias(house.admin, "default", "hello", "pinned", [Weight(2, 1.0)])
    assert sorted(told(house)) == [2, *range(6, 56)]
    assert [number for number, _ in routes(house)["hello"].versions] == [2, *range(6, 56)]
    assert len(house.functions.revisions(house.admin, "default", "hello", limit=100).items) == 55
    house.functions.delete_alias(house.admin, "default", "hello", "pinned")
    assert sorted(told(house)) == list(range(6, 56))
    house.functions.rollback(house.admin, "default", "hello", to=1)
    assert 1 in told(house)


def test_very_old_revisions_are_forgotten_and_their_packages_with_them(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isotherm.workloads.policy.KEPT_REVISIONS", 3)
    first = house.package(app="first = 1")
    house.deploy_ready(package=first)
    house.deploy(memory_mb=64)
    house.functions.set_alias(house.admin, "default", "hello", "pinned", [Weight(1, 1.0)])
    for memory_mb in range(65, 70):
        house.deploy_ready(memory_mb=memory_mb)
    numbers = [revision.number for revision in house.functions.revisions(house.admin, "default", "hello").items]
    assert numbers == [7, 6, 5, 1]
    with pytest.raises(NotFound):
        house.functions.revision(house.admin, "default", "hello", 3)
    house.functions.delete_alias(house.admin, "default", "hello", "pinned")
    house.deploy_ready(memory_mb=99)
    assert sorted(told(house)) == [6, 7, 8]
    assert [number for number, _ in routes(house)["hello"].versions] == [6, 7, 8]
    house.clock.advance(90_000)
    assert house.functions.sweep_packages() == 1
    assert not house.blobs.exists(first)


def test_listeners_hear_of_each_revision_that_a_deploy_made(house: House) -> None:
    heard: list[str] = []
    take_off = house.functions.on_building(heard.append)
    first = house.deploy().revision
    house.deploy()
    second = house.deploy(memory_mb=64).revision
    take_off()
    house.deploy(memory_mb=65)
    assert heard == [first.id, second.id]


def test_unused_packages_are_swept_and_used_ones_stay(house: House) -> None:
    used = house.package(app="used = 1")
    unused = house.package(app="unused = 1")
    house.deploy(package=used)
    house.clock.advance(90_000)
    young = house.package(app="young = 1")
    assert house.functions.sweep_packages() == 1
    assert [house.blobs.exists(digest) for digest in (used, unused, young)] == [True, False, True]
    with pytest.raises(Invalid, match="was not uploaded"):
        house.deploy(package=unused)
    house.functions.delete(house.admin, "default", "hello")
    house.clock.advance(90_000)
    assert house.functions.sweep_packages() == 2
    assert house.package(app="used = 1") == used, "and can be uploaded again"
    assert house.blobs.exists(used)


def test_a_package_stays_as_long_as_another_namespace_uses_it(house: House) -> None:
    house.tenancy.create_namespace(house.admin, "team")
    digest = house.package("default")
    house.package("team")
    house.deploy(namespace="team")
    house.clock.advance(90_000)
    assert house.functions.sweep_packages() == 0
    assert house.blobs.exists(digest)


def test_deploys_at_the_same_moment_are_numbered_in_order(house: House) -> None:
    digest = house.package()
    failures: list[IsothermError] = []

    def deploy(memory_mb: int) -> None:
        try:
            house.functions.deploy(house.admin, "default", "hello", FunctionConfig(package=digest, memory_mb=memory_mb))
        except IsothermError as exc:
            failures.append(exc)

    threads = [threading.Thread(target=deploy, args=(64 + number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    numbers = [revision.number for revision in house.functions.revisions(house.admin, "default", "hello").items]
    assert numbers == list(range(12, 0, -1))


def test_of_changes_made_from_the_same_reading_one_wins(house: House) -> None:
    etag = house.deploy().etag
    digest = house.package()
    outcomes: list[str] = []

    def deploy(memory_mb: int) -> None:
        config = FunctionConfig(package=digest, memory_mb=memory_mb)
        try:
            house.functions.deploy(house.admin, "default", "hello", config, if_match=etag)
            outcomes.append("done")
        except PreconditionFailed:
            outcomes.append("stale")

    threads = [threading.Thread(target=deploy, args=(64 + number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == ["done", *["stale"] * 5]


def test_packages_are_bounded_by_the_quota_of_their_namespace_and_no_neighbour_is_asked(house: House) -> None:
    house.tenancy.create_namespace(house.admin, "team")
    house.quotas.set(house.admin, "team", Quota(disk_mb=1))
    first = house.package("team", app="x" * 700_000)
    assert house.package("team", app="x" * 700_000) == first, "the same again takes no more"
    with pytest.raises(TooLarge, match=r"have 0\.7 MB; with this one of 0\.5 MB .* quota of 1 MB") as told:
        house.package("team", app="y" * 500_000)
    assert told.value.data == {"quota": "disk_mb", "limit": 1, "namespace": "team"}
    assert house.functions.package_bytes("team") < 800_000
    assert house.package("default", app="y" * 500_000)
    house.clock.advance(90_000)
    house.functions.sweep_packages()
    assert house.package("team", app="y" * 500_000)


def test_what_could_never_start_within_the_quota_is_refused_at_the_deploy(house: House) -> None:
    house.quotas.set(house.admin, "default", Quota(memory_mb=256, instances=2))
    with pytest.raises(Invalid, match="memory_mb is 512, above the quota of the namespace default, 256") as told:
        house.deploy(memory_mb=512)
    assert told.value.data["quota"] == "memory_mb"
    with pytest.raises(Invalid, match=r"warm\.min_instances is 3"):
        house.deploy(warm=WarmConfig(min_instances=3))
    assert house.deploy(memory_mb=256, warm=WarmConfig(min_instances=2)).created
