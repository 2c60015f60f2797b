"""The second person of clause 5: whose signatures an act needs beside the first.

protocols/SPEC.md section 3.

A coordinator's release needs operator and approver if ``two_person`` names "release"; an
operator's order, revocation or removal needs an approver if it names them.
"""

from __future__ import annotations

from collections.abc import Collection

from protocols.agreement.blocks import Act, Governance
from protocols.agreement.order import COORDINATOR, OPERATOR

APPROVER = "approver:"


def approver_kid(public_hex: str) -> str:
    """The key id under which an approver signs: the first 16 digits of the key."""
    return APPROVER + public_hex[:16]


def may_sign(governance: Governance, act: Act) -> dict[str, bytes]:
    """Key id -> Ed25519 key of everybody whose signature such a document may carry.

    Two approvers whose keys begin alike cannot be told apart by key id, so neither may sign.
    """
    keys = {COORDINATOR: governance.coordinator_key} if act == "release" else {}
    if act != "release" or act in governance.two_person:
        keys[OPERATOR] = governance.operator_key
    if act in governance.two_person:
        kids = [approver_kid(one) for one in governance.approver_keys]
        alone = [one for one in governance.approver_keys if kids.count(approver_kid(one)) == 1]
        keys |= {approver_kid(one): one for one in alone}
    return {kid: bytes.fromhex(key) for kid, key in keys.items()}


def still_missing(governance: Governance, act: Act, signed_by: Collection[str]) -> tuple[str, ...]:
    """Whose signature an act still needs, in words; empty if it has all.

    Args:
        signed_by: key ids with a verified signature, of ``may_sign``.
    """
    first = "coordinator" if act == "release" else "operator"
    needed = {first} | ({OPERATOR} if act in governance.two_person else set())
    missing = [f"the {one}" for one in sorted(needed - set(signed_by))]
    if act in governance.two_person and not any(one.startswith(APPROVER) for one in signed_by):
        missing.append("an approver")
    return tuple(missing)
