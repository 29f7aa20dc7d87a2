"""Roles and permissions: the whole matrix, and what a grant can and cannot reach."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isotherm.tenancy.model import EVERYWHERE, Grant, Permission
from isotherm.tenancy.policy import PERMISSIONS, judge, permissions_of
from isotherm.wire.desired import Role

ROLES: tuple[Role, ...] = get_args(Role)
ALL: tuple[Permission, ...] = get_args(Permission)

# Written out, so that a change of the table has to be meant.
MATRIX = """
permission            invoker  viewer  developer  admin
platform.read         yes      yes     yes        yes
hosts.read            -        yes     yes        yes
events.read           -        -       -          yes
namespaces.read       yes      yes     yes        yes
namespaces.create     -        -       -          yes
namespaces.delete     -        -       -          yes
functions.read        -        yes     yes        yes
functions.deploy      -        -       yes        yes
functions.delete      -        -       yes        yes
functions.invoke      yes      -       yes        yes
functions.read_env    -        -       yes        yes
invocations.read      -        yes     yes        yes
invocations.read_event -       -       yes        yes
calls.read            yes      yes     yes        yes
calls.manage          -        -       yes        yes
logs.read             -        yes     yes        yes
keys.read             -        -       -          yes
keys.create           -        -       -          yes
keys.revoke           -        -       -          yes
quotas.read           -        yes     yes        yes
quotas.set            -        -       -          yes
secrets.read          -        yes     yes        yes
secrets.set           -        -       yes        yes
secrets.delete        -        -       yes        yes
members.read          -        -       -          yes
members.set           -        -       -          yes
users.read            -        -       -          yes
users.manage          -        -       -          yes
"""
rows = [line.split() for line in MATRIX.strip().splitlines()]
cells = [(row[0], role, cell == "yes") for row in rows[1:] for role, cell in zip(rows[0][1:], row[1:], strict=True)]

names = st.sampled_from(["default", "team-a", "team-b"])
grants = st.builds(Grant, st.one_of(names, st.just(EVERYWHERE)), st.sampled_from(ROLES))


def test_the_matrix_names_every_permission_and_role() -> None:
    assert {row[0] for row in rows[1:]} == set(ALL)
    assert set(rows[0][1:]) == set(ROLES) == set(PERMISSIONS)


@pytest.mark.parametrize(("permission", "role", "allowed"), cells)
def test_a_role_in_its_namespace(permission: Permission, role: Role, allowed: bool) -> None:
    verdict = judge([Grant("default", role)], permission, "default")
    assert verdict == ("allowed" if allowed else "forbidden")


@given(st.lists(grants, max_size=4), st.sampled_from(ALL), st.one_of(names, st.none()))
def test_what_is_allowed_comes_from_one_grant_that_reaches_there(
    held: list[Grant], permission: Permission, namespace: str | None
) -> None:
    reaching = [grant for grant in held if grant.namespace in (EVERYWHERE, namespace)]
    verdict = judge(held, permission, namespace)
    if permission == "platform.read" and namespace is None:
        assert verdict == ("allowed" if held else "forbidden")
    elif any(permission in PERMISSIONS[grant.role] for grant in reaching):
        assert verdict == "allowed"
    elif namespace is not None and not reaching:
        assert verdict == "hidden", "a foreign namespace looks like one that does not exist"
    else:
        assert verdict == "forbidden"


@given(st.lists(grants, max_size=4), grants, st.one_of(names, st.none()))
def test_another_grant_never_takes_anything_away(held: list[Grant], more: Grant, namespace: str | None) -> None:
    assert permissions_of(held, namespace) <= permissions_of([*held, more], namespace)


@given(st.lists(st.builds(Grant, names, st.sampled_from(ROLES)), max_size=4), st.sampled_from(ALL))
def test_a_grant_of_a_namespace_never_reaches_the_platform(held: list[Grant], permission: Permission) -> None:
    if permission != "platform.read":
        assert judge(held, permission, None) == "forbidden"
