"""What must hold after every simulated run, whatever happened in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from coordinator.store.runs import State
from protocols import codec, retrace
from protocols.audit.entries import Kind
from protocols.secagg.member import REFUSAL
from protocols.secagg.messages import Stage, UnmaskReply
from sim_nodes import Node
from sim_operations import Operation
from sim_spies import held_bytes
from sim_world import World

ENDED = (State.RELEASED, State.REFUSED, State.FAILED, State.ABORTED)


def played(world: World, operations: Iterable[Operation] = ()) -> State:
    """Play the operations, check everything; the state in which the run ended."""
    state = world.play(operations)
    check(world, state)
    return state


def check(world: World, state: State) -> None:
    """All of them."""
    check_end(world, state)
    check_models(world)
    check_sums(world)
    check_signed_once(world)
    check_silence(world)
    check_nothing_leaked(world)


def check_end(world: World, state: State) -> None:
    """The run ended in a state that says what happened, in the database and to the operator."""
    found, detail = world.home.state()
    assert found is state and state in ENDED
    releases = sorted((world.home.folder / "releases").glob("*"))
    if state is State.RELEASED:
        assert [one.name for one in releases] == [world.trace.model] == [detail]
    else:
        assert releases == []
        assert state is State.ABORTED or (len(detail) > 20 and "." in detail), detail


def check_models(world: World) -> None:
    """Every node that followed to the end derived the coordinator's model, by itself."""
    for node in world.nodes.values():
        if node.participant is None:
            continue
        trace = node.participant.trace
        if trace.number == world.trace.number:
            assert trace.model == world.trace.model
            assert trace.transcript == world.trace.transcript
            assert np.array_equal(trace.state.params, world.trace.state.params)
        else:
            assert _behind(node), f"{node.name} stopped at round {trace.number} without a word"


def _behind(node: Node) -> bool:
    return any(event == "behind" for event, _ in node.events)


def check_sums(world: World) -> None:
    """A published sum is the sum of what its survivors put in, to the last bit and in floats."""
    for raw in world.home.records():
        record = retrace.read_record(raw, "record")
        descriptor, published = record.descriptor, record.published
        survivors = published.survivors(descriptor)
        inputs = [
            world.spies.input_of(one, descriptor.round, descriptor.attempt) for one in survivors
        ]
        total = sum(one.signed for one in inputs)
        assert np.array_equal(published.total, total[:-1])
        assert published.weight_sum == total[-1] == len(survivors)
        plain = np.sum([one.update.astype(np.float64) for one in inputs], axis=0)
        error = np.abs(published.total / descriptor.scale - plain)
        assert error.max() <= len(survivors) / descriptor.scale


def check_signed_once(world: World) -> None:
    """Nobody ever signed two survivor sets or two sums of one round, or opened shares for two."""
    signed: dict[tuple[str, int], set[bytes]] = defaultdict(set)
    opened: dict[tuple[str, int], set[bytes]] = defaultdict(set)
    masked: dict[tuple[str, int, int, int], set[bytes]] = defaultdict(set)
    summed: dict[tuple[str, int], set[bytes]] = defaultdict(set)
    for one in world.said:
        if one.envelope is None:
            continue
        body = codec.peek_envelope(one.envelope).body
        if one.stage is Stage.AGREE:
            signed[one.member, one.round].add(body)
        elif one.stage is Stage.UNMASK:
            opened[one.member, one.round].add(body)
            _never_both(one.member, body)
        elif one.stage is Stage.MASK:
            masked[one.member, one.start, one.round, one.attempt].add(body)
        elif one.stage is Stage.AUDIT:
            summed[one.member, one.round].add(body)
    for many in (*signed.values(), *opened.values(), *masked.values(), *summed.values()):
        assert len(many) == 1


def _never_both(member: str, body: bytes) -> None:
    reply = codec.decode_reply(Stage.UNMASK, body, member)
    assert isinstance(reply, UnmaskReply)
    own = {one.owner for one in reply.own_shares}
    assert not own & {one.owner for one in reply.seed_shares}


def check_silence(world: World) -> None:
    """The coordinator heard one sentence; the reason stands in the member's own journal."""
    errors: dict[str, int] = defaultdict(int)
    for one in world.said:
        if one.envelope is None:
            errors[one.member] += 1
            assert one.problem.endswith(f"<'{REFUSAL}'>"), one.problem
    for name, node in world.nodes.items():
        reasons = node.refusals()
        assert len(reasons) == errors[name], (name, reasons)
        assert all(REFUSAL not in reason and len(reason) > 20 for reason in reasons), reasons
    for kind, facts in (entry for node in world.nodes.values() for entry in node.journal):
        assert kind != Kind.REFUSAL or facts["clauses"]


def check_nothing_leaked(world: World) -> None:
    """No byte of an unmasked input is in anything that the coordinator got, kept or held."""
    traces = {trace for one in world.spies.inputs for trace in one.traces()}
    files = [one for one in world.home.folder.rglob("*") if one.is_file()]
    got = [one.envelope for one in world.heard if one.envelope is not None]
    seen = [*got, *(one.read_bytes() for one in files), *world.held]
    everything = b"\x00".join(seen)
    for trace in traces:
        assert trace not in everything
    held = b"\x00".join(held_bytes(world.spies.machines))
    assert not any(trace in held for trace in traces)
