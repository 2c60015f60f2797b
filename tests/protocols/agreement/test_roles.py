"""Who may do what, and how clause 6 takes away."""

from __future__ import annotations

import pytest
from agreement_world import agreement

from protocols.agreement.roles import (
    ACTIONS,
    NODE_ROLES,
    OFFICE_ROLES,
    Action,
    Role,
    may,
    may_under,
)
from protocols.agreement.terms import DataRoles
from protocols.errors import InputError


def block(**figures: list[str]) -> DataRoles:
    found = agreement(figures).terms.block("c06", DataRoles)
    assert found is not None
    return found


def test_every_role_has_its_acts_and_every_act_a_role() -> None:
    assert set(ACTIONS) == set(Role) == {*NODE_ROLES, *OFFICE_ROLES}
    assert set().union(*ACTIONS.values()) == set(Action)
    assert ACTIONS[Role.VIEWER] == ACTIONS[Role.AUDITOR] == {Action.SEE, Action.VERIFY}
    assert ACTIONS[Role.STEWARD] < ACTIONS[Role.OWNER]
    assert not ACTIONS[Role.OPERATOR] & {Action.SIGN, Action.APPROVE, Action.EXPORT, Action.DATA}


@pytest.mark.parametrize(
    ("role", "action", "expected"),
    [
        ("owner", "sign", True),
        ("steward", "sign", False),
        ("steward", "answer", True),
        ("custodian", "answer", False),
        ("viewer", "approve", False),
        ("operator", "launch", True),
        ("auditor", "launch", False),
        ("owner", "launch", False),
        ("nobody", "see", False),
        ("owner", "fly", False),
        ("", "", False),
    ],
)
def test_what_is_not_known_is_not_allowed(role: str, action: str, expected: bool) -> None:
    assert may(role, action) is expected
    assert may_under(role, action, None) is expected


def test_clause_6_takes_away_and_never_adds() -> None:
    clause = block(approve_orders=["owner", "custodian"], export_results=["viewer", "owner"])
    allowed = {role for role in Role if may_under(role, Action.APPROVE, clause)}
    assert allowed == {Role.OWNER, Role.CUSTODIAN}
    assert {role for role in Role if may_under(role, Action.EXPORT, clause)} == {Role.OWNER}
    for role in Role:
        for action in Action:
            assert may(role, action) or not may_under(role, action, clause)


@pytest.mark.parametrize("field", ["sign_agreement", "approve_orders"])
def test_a_viewer_signs_and_approves_nothing(field: str) -> None:
    with pytest.raises(InputError, match="c06 data_roles: a viewer can neither sign"):
        block(**{field: ["viewer"]})
