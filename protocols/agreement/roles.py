"""Who may do what on a node and at the coordinator (SPEC.md section 6.6; clause 6 tightens it).

A person acts in one role. What a role may do by default stands in ``ACTIONS``; clause 6 of an
agreement can take away, never add. An unknown role or act is not allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from protocols.agreement.terms import DataRoles


class Role(StrEnum):
    """Four on a node, two at the coordinator."""

    OWNER = "owner"  # node: the business itself
    STEWARD = "steward"  # node: looks after data and customers
    CUSTODIAN = "custodian"  # node: looks after the computer
    VIEWER = "viewer"  # node: looks
    OPERATOR = "operator"  # coordinator: runs the cooperative's server
    AUDITOR = "auditor"  # coordinator: checks it


class Action(StrEnum):
    """What a person does at a command line or a console."""

    SEE = "see"  # orders, releases, the agreement, reports without customers
    VERIFY = "verify"  # logs, releases, the evidence pack
    USE = "use"  # run a released result on the own data
    EXPORT = "export"  # take a list or figure out of the node
    SIGN = "sign"  # an agreement, a roster, a termination
    APPROVE = "approve"  # or refuse, an order
    HOUSE = "house"  # change house rules
    DATA = "data"  # connect, import and repair data
    CONSENT = "consent"  # record consents, the legal basis, notices
    ANSWER = "answer"  # requests of customers
    MEMBERSHIP = "membership"  # join, suspend, resume, leave
    KEYS = "keys"  # back up, restore and renew keys
    PEOPLE = "people"  # register people and their roles
    DRAFT = "draft"  # write and propose an agreement
    ENROL = "enrol"  # invite, accept and remove members
    LAUNCH = "launch"  # or stop, a run
    RELEASE = "release"
    REVOKE = "revoke"
    INCIDENT = "incident"  # open, announce and close one
    SETTINGS = "settings"  # of the server, and what it deletes


ACTIONS: Mapping[Role, frozenset[Action]] = {
    Role.OWNER: frozenset(
        {
            Action.SEE,
            Action.VERIFY,
            Action.USE,
            Action.EXPORT,
            Action.SIGN,
            Action.APPROVE,
            Action.HOUSE,
            Action.DATA,
            Action.CONSENT,
            Action.ANSWER,
            Action.MEMBERSHIP,
            Action.KEYS,
            Action.PEOPLE,
        }
    ),
    Role.STEWARD: frozenset(
        {
            Action.SEE,
            Action.VERIFY,
            Action.USE,
            Action.EXPORT,
            Action.APPROVE,
            Action.DATA,
            Action.CONSENT,
            Action.ANSWER,
        }
    ),
    Role.CUSTODIAN: frozenset(
        {Action.SEE, Action.VERIFY, Action.APPROVE, Action.DATA, Action.KEYS}
    ),
    Role.VIEWER: frozenset({Action.SEE, Action.VERIFY}),
    Role.OPERATOR: frozenset(
        {
            Action.SEE,
            Action.VERIFY,
            Action.DRAFT,
            Action.ENROL,
            Action.LAUNCH,
            Action.RELEASE,
            Action.REVOKE,
            Action.INCIDENT,
            Action.SETTINGS,
            Action.PEOPLE,
            Action.KEYS,
        }
    ),
    Role.AUDITOR: frozenset({Action.SEE, Action.VERIFY}),
}
"""What each role may do where no clause says less."""

NODE_ROLES = (Role.OWNER, Role.STEWARD, Role.CUSTODIAN, Role.VIEWER)
OFFICE_ROLES = (Role.OPERATOR, Role.AUDITOR)


def may(role: str, action: str) -> bool:
    """Whether a role may do something by default; no for what is not known."""
    if role not in set(Role) or action not in set(Action):
        return False
    return Action(action) in ACTIONS[Role(role)]


def may_under(role: str, action: str, clause: DataRoles | None) -> bool:
    """Whether a role on a node may do something under clause 6.

    Without a clause, as before the first agreement is signed, the default alone counts.
    """
    if not may(role, action):
        return False
    if clause is None:
        return True
    named: Mapping[str, tuple[str, ...]] = {
        Action.SIGN: clause.sign_agreement,
        Action.APPROVE: clause.approve_orders,
        Action.EXPORT: clause.export_results,
    }
    return action not in named or role in named[action]
