"""What can happen in a simulated run. A test is a list of these (as in janus' simulation).

Each operation fires once, at the first moment that fits. Rounds count from 1; the last one is the
evaluation. ``stage`` is one of the six exchanges; for the coordinator's crash also ``PUBLISH``.
Only members without early keys see ``ADVERTISE``, and only auditors of the sum see ``AUDIT``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from protocols.secagg.disclosure import AuditRequest
from protocols.secagg.messages import Request, Stage

ADVERTISE, SHARE, MASK, AGREE, UNMASK, AUDIT, PUBLISH = Stage
STAGES = (ADVERTISE, SHARE, MASK, AGREE, UNMASK)
EXCHANGES = (*STAGES, AUDIT)


@dataclass(frozen=True)
class Drop:
    """The node's process is killed: before it sees the request, with its reply not sent, or after.

    It stays away until a ``Restart``.
    """

    member: str
    stage: Stage
    round: int = 1
    when: Literal["before", "unsent", "after"] = "before"


@dataclass(frozen=True)
class Restart:
    """The node starts again, with what it had on its disk, just before this stage goes out."""

    member: str
    round: int = 1
    stage: Stage = ADVERTISE


@dataclass(frozen=True)
class Delay:
    """The node answers, but too late: the coordinator has gone on."""

    member: str
    stage: Stage
    round: int = 1


@dataclass(frozen=True)
class Resend:
    """The same request reaches the node twice; its second answer is what arrives."""

    member: str
    stage: Stage
    round: int = 1


@dataclass(frozen=True)
class Corrupt:
    """What arrives of the member's answer; ``how`` is a key of ``sim_lies.CORRUPTIONS``."""

    member: str
    stage: Stage
    round: int = 1
    how: str = "bit"


@dataclass(frozen=True)
class SplitView:
    """A lying coordinator: these members get another request, properly signed."""

    members: tuple[str, ...]
    stage: Stage
    edit: Callable[[Request | AuditRequest], Request | AuditRequest]
    round: int = 1


@dataclass(frozen=True)
class Forge:
    """These members get this envelope in place of the coordinator's."""

    members: tuple[str, ...]
    stage: Stage
    edit: Callable[[bytes], bytes]
    round: int = 1


@dataclass(frozen=True)
class FalseSum:
    """These members get other bytes when they fetch the published sum of this round."""

    members: tuple[str, ...]
    edit: Callable[[bytes], bytes]
    round: int = 1


@dataclass(frozen=True)
class CoordinatorCrash:
    """SIGKILL to the coordinator, which then starts again.

    ``start``: before the stage goes out; ``middle``: when half of the answers are in the log;
    ``end``: when all are, and the stage is not closed. For ``PUBLISH``: before the sum is in the
    audit log, after that but before the file, after the file but before the database.
    ``torn``: a record was being written, and half of it is on the disk. ``forgets``: its disk
    is replaced by an older copy, without the stage logs of this run.
    """

    stage: Stage
    round: int = 1
    when: Literal["start", "middle", "end"] = "start"
    torn: bool = False
    forgets: bool = False


@dataclass(frozen=True)
class Stop:
    """SIGTERM to the coordinator while this stage is under way; then it starts again."""

    stage: Stage
    round: int = 1


@dataclass(frozen=True)
class Abort:
    """The operator aborts the run in another process, before this stage goes out."""

    stage: Stage = ADVERTISE
    round: int = 1


Operation = (
    Drop
    | Restart
    | Delay
    | Resend
    | Corrupt
    | SplitView
    | Forge
    | FalseSum
    | CoordinatorCrash
    | Stop
    | Abort
)
