"""The bytes of every kind of message of one round of secure aggregation."""

from __future__ import annotations

from typing import Any

from secagg_world import World, confirm, play

from protocols import codec
from protocols.secagg import RoundResult, Stage, SumAudit


def record() -> dict[tuple[str, Stage], bytes]:
    """(``down`` or ``up``, stage) -> one honest message of that kind."""
    seen: dict[tuple[str, Stage], bytes] = {}

    def keep(way: str) -> Any:
        def inner(stage: Stage, one: bytes, message: Any) -> Any:
            seen.setdefault((way, stage), codec.encode_message(message))
            return message

        return inner

    world = World(n=5, seed="fuzz")
    gone = {Stage.MASK: frozenset(world.ids[4:])}
    office = world.aggregator()
    result = play(world, world.members(), office, gone=gone, down=keep("down"), up=keep("up"))
    assert isinstance(result, RoundResult)
    due = SumAudit(result, world.roster, world.vectors.__getitem__).due()
    one, request = next(iter(due.items()))
    seen["down", Stage.AUDIT] = codec.encode_message(request)
    seen["up", Stage.AUDIT] = codec.encode_message(confirm(world, one, request))
    seen["down", Stage.PUBLISH] = codec.encode_message(result.published)
    return seen
