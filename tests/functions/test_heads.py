"""Mutable functions with published versions, what is set beside revisions, and layers."""

import pytest

from isotherm.base.errors import Conflict, Forbidden, Invalid, NotFound
from isotherm.wire.desired import RouteSpec
from isotherm.workloads.history import WorkloadHistory
from isotherm.workloads.model import Weight
from isotherm.workloads.policy import KEPT_REVISIONS, callable_numbers
from isotherm.workloads.settings_model import (
    AsyncSetting,
    CorsSetting,
    PolicySetting,
    ProvisionedSetting,
    ReservedSetting,
    Setting,
    Statement,
    TagsSetting,
    UrlSetting,
)
from tests.house import House, house

__all__ = ["house"]

OPEN = Statement(sid="open", action="lambda:InvokeFunctionUrl", principal="*")


def route(house: House, name: str = "hello") -> RouteSpec:
    """What hosts are told."""
    found = [item.route for item in house.feed.full().items if item.route is not None and item.route.name == name]
    assert len(found) == 1
    return found[0]


def put(house: House, setting: Setting, qualifier: str | None = None, name: str = "hello") -> None:
    house.heads.change_setting(house.admin, "default", name, qualifier, type(setting), lambda _seen, _before: setting)


def versions(house: House) -> dict[int, int]:
    """What hosts are told can be called by number: the number of the revision by version."""
    numbers = {item.revision.id: item.revision.number for item in house.feed.full().items if item.revision is not None}
    return {version: numbers[revision_id] for version, revision_id in route(house).versions}


def test_versions_of_a_head_are_numbered_by_themselves(house: House) -> None:
    for memory_mb in (64, 65, 66):
        house.head_ready(memory_mb=memory_mb)
    assert versions(house) == {}, "nothing was published"
    assert house.heads.publish(house.admin, "default", "hello").version == 1
    assert house.heads.publish(house.admin, "default", "hello").version == 1, "nothing has changed"
    house.head_ready(memory_mb=67)
    assert house.heads.publish(house.admin, "default", "hello", description="two").version == 2
    assert versions(house) == {1: 3, 2: 4}
    seen = house.heads.see(house.admin, "default", "hello", "2")
    assert (seen.description, seen.revision.spec.memory_mb) == ("two", 67)
    assert house.heads.see(house.admin, "default", "hello").version is None


def test_a_deployed_revision_is_its_own_version_also_among_heads(house: House) -> None:
    house.deploy_ready(memory_mb=64)
    house.deploy_ready(memory_mb=65)
    house.head_ready(memory_mb=66)
    assert house.heads.publish(house.admin, "default", "hello").version == 3
    house.head_ready(memory_mb=67)
    house.head_ready(memory_mb=68)
    assert house.heads.publish(house.admin, "default", "hello").version == 4
    assert house.deploy_ready(memory_mb=69) == 6
    assert versions(house) == {1: 1, 2: 2, 3: 3, 4: 5, 6: 6}
    house.head_ready(memory_mb=70)
    assert house.heads.publish(house.admin, "default", "hello").version == 7


def test_a_version_that_was_deleted_is_never_used_again(house: House) -> None:
    house.head_ready(memory_mb=64)
    house.heads.publish(house.admin, "default", "hello")
    house.heads.delete_version(house.admin, "default", "hello", 1)
    with pytest.raises(NotFound):
        house.heads.see(house.admin, "default", "hello", "1")
    assert house.heads.publish(house.admin, "default", "hello").version == 2
    house.functions.set_alias(house.admin, "default", "hello", "PROD", [Weight(1, 1.0)])
    with pytest.raises(Conflict, match="PROD"):
        house.heads.delete_version(house.admin, "default", "hello", 2)


def test_what_was_published_outlives_the_sweep() -> None:
    history = WorkloadHistory("wl_1")
    history.create("function", "default", "hello")
    for number in range(1, 300):
        history.deploy(f"rev_{number}", "aa", str(number), head=True)
        history.mark_ready(number, template=True, unfit=[])
        history.make_live(number)
        if number == 7:
            assert history.publish() == 1
    assert history.state.versions == {1: 7}
    assert len(history.state.ids) == KEPT_REVISIONS + 1
    assert history.prune({}, (), 10**15, keep_last=1, keep_days=0.0)
    assert sorted(history.state.ids) == [7, 299]
    assert callable_numbers(history.state.states, history.held()) == {7, 299}


def test_a_failed_head_cannot_be_published(house: House) -> None:
    house.head_ready(memory_mb=64)
    number = house.head_ready(memory_mb=65)
    assert house.heads.see(house.admin, "default", "hello").revision.spec.number == number
    failed = house.deploy(memory_mb=66).revision
    house.functions.mark_failed(failed.id, {"code": "import_failed"})
    with pytest.raises(Conflict, match="failed"):
        house.heads.publish(house.admin, "default", "hello")


def test_a_url_is_open_where_both_its_owner_and_its_policy_say_so(house: House) -> None:
    house.head_ready()
    put(house, UrlSetting(open=True, cors=CorsSetting(allow_origins=["*"])))
    assert [(url.qualifier, url.public) for url in route(house).urls] == [("live", False)]
    put(house, PolicySetting(statements=[OPEN]))
    assert [(url.qualifier, url.public) for url in route(house).urls] == [("live", True)]
    put(house, UrlSetting(open=False))
    assert [(url.qualifier, url.public) for url in route(house).urls] == [("live", False)]


@pytest.mark.parametrize(
    ("statement", "opens"),
    [
        (OPEN, True),
        (Statement(sid="a", action="lambda:*", principal="*"), True),
        (Statement(sid="a", action="lambda:InvokeFunction", principal="*"), False),
        (Statement(sid="a", action="lambda:InvokeFunctionUrl", principal={"AWS": "arn:aws:iam::1:root"}), False),
        (
            Statement(
                sid="a",
                action="lambda:InvokeFunctionUrl",
                principal="*",
                condition={"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}},
            ),
            True,
        ),
        (
            Statement(
                sid="a",
                action="lambda:InvokeFunctionUrl",
                principal="*",
                condition={"StringEquals": {"AWS:SourceAccount": "123456789012"}},
            ),
            False,
        ),
    ],
)
def test_a_condition_that_is_not_known_never_holds(house: House, statement: Statement, opens: bool) -> None:
    house.head_ready()
    put(house, UrlSetting(open=True))
    put(house, PolicySetting(statements=[statement]))
    assert [url.public for url in route(house).urls] == [opens]


def test_what_is_set_is_in_the_route_and_goes_with_its_alias(house: House) -> None:
    house.head_ready()
    house.heads.publish(house.admin, "default", "hello")
    house.functions.set_alias(house.admin, "default", "hello", "PROD", [Weight(1, 1.0)])
    put(house, ReservedSetting(calls=5))
    put(house, ProvisionedSetting(instances=2), "PROD")
    put(house, ProvisionedSetting(instances=3), "1")
    put(house, AsyncSetting(retries=0, on_failure="keeper"), "PROD")
    told = route(house)
    assert told.reserved == 5
    assert [instances for _, instances in told.provisioned] == [3], "of one revision the larger"
    assert [(rules.qualifier, rules.retries, rules.on_failure) for rules in told.rules] == [("PROD", 0, "keeper")]
    house.functions.delete_alias(house.admin, "default", "hello", "PROD")
    told = route(house)
    assert (told.rules, [instances for _, instances in told.provisioned]) == ([], [3])
    house.functions.delete(house.admin, "default", "hello")
    house.head_ready()
    assert route(house).reserved is None, "another function of the same name has none of it"


def test_a_setting_needs_its_permission_and_is_in_the_audit_log(house: House) -> None:
    house.head_ready()
    with pytest.raises(Forbidden):
        house.heads.change_setting(
            house.principal("viewer"),
            "default",
            "hello",
            None,
            TagsSetting,
            lambda _seen, _before: TagsSetting(tags={}),
        )
    put(house, TagsSetting(tags={"a": "b"}))
    assert house.kinds()[-1] == "workload.setting_put"
    with pytest.raises(NotFound):
        put(house, TagsSetting(tags={}), "absent")


def test_layers_are_versions_that_functions_take(house: House) -> None:
    first, second = house.layer(), house.layer()
    assert (first, second) == ("base:1", "base:2")
    house.deploy_ready(layers=[second, first])
    revision = house.functions.revision(house.admin, "default", "hello", 1)
    assert revision.config.layers == [second, first]
    spec = house.functions.spec(revision.id)
    assert [name for name, _ in spec.layers] == [second, first]
    house.layers.delete(house.admin, "default", "base", 1)
    with pytest.raises(NotFound):
        house.layers.version(house.admin, "default", "base", 1)
    assert house.layer() == "base:3"
    with pytest.raises(Invalid, match="no layer base:9"):
        house.deploy(layers=["base:9"])


def test_the_sweep_of_packages_leaves_layers_alone(house: House) -> None:
    house.layer()
    house.clock.advance(100_000)
    assert house.functions.sweep_packages() == 0
    assert house.layers.version(house.admin, "default", "base", 1).size_bytes > 0
