"""SA-Q1: secure aggregation with a quorum certificate. SPEC.md beside this file is normative."""

from protocols.secagg._phases import Carried, Noise
from protocols.secagg._state import MemberState, OfficeState
from protocols.secagg.aggregator import Aggregator, Outbound, replay
from protocols.secagg.checks import check_descriptor
from protocols.secagg.disclosure import AuditReply, AuditRequest
from protocols.secagg.member import REFUSAL, Member
from protocols.secagg.messages import Stage
from protocols.secagg.params import (
    NO_TRANSCRIPT,
    Demands,
    Expected,
    RoundDescriptor,
    make_descriptor,
)
from protocols.secagg.published import (
    PublishedSum,
    RoundResult,
    check_certificate,
    mean_update,
)
from protocols.secagg.recovery import Blame
from protocols.secagg.sumaudit import SumAudit
from protocols.secagg.sumcheck import check_sum

__all__ = [
    "NO_TRANSCRIPT",
    "REFUSAL",
    "Aggregator",
    "AuditReply",
    "AuditRequest",
    "Blame",
    "Carried",
    "Demands",
    "Expected",
    "Member",
    "MemberState",
    "Noise",
    "OfficeState",
    "Outbound",
    "PublishedSum",
    "RoundDescriptor",
    "RoundResult",
    "Stage",
    "SumAudit",
    "check_certificate",
    "check_descriptor",
    "check_sum",
    "make_descriptor",
    "mean_update",
    "replay",
]
