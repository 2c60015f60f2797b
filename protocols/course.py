"""The course of a run: everything that follows from a signed order, for every party alike.

Coordinator, members and auditors call the same functions here, so the descriptor that the
coordinator signs and the one that a member expects can only differ if somebody lies. The model
is derived, never received: model_0 from the order's hash, each next one from the published sum
(secure aggregation, section 2.4a).

Rounds are numbered from 1; ``order.rounds`` rounds of training, then one of evaluation.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from protocols.agreement.order import ParsedOrder
from protocols.agreement.roster import ParsedRoster
from protocols.agreement.terms import (
    Audit,
    Competition,
    Contribution,
    Privacy,
    Terms,
    cohort_floor,
)
from protocols.canonical import digest, json_bytes
from protocols.errors import InputError, Refused
from protocols.ids import MemberId, ModelId
from protocols.privacy.plan import Phase, Plan, make_plan
from protocols.privacy.rotation import unrotate
from protocols.privacy.rounding import norm_bound
from protocols.secagg.params import (
    NO_TRANSCRIPT,
    Demands,
    Expected,
    LogHead,
    RoundDescriptor,
    Task,
    least_cohort,
    make_descriptor,
    quorum_size,
)
from protocols.workloads.catalogue import find
from protocols.workloads.recipe import Recipe, Shape
from protocols.workloads.server import ServerState, start


@dataclass(frozen=True, slots=True)
class Course:
    """One order under one agreement and one roster epoch, all verified by the caller."""

    order: ParsedOrder
    terms: Terms
    roster: ParsedRoster
    recipe: Recipe

    @property
    def training_rounds(self) -> int:
        """Rounds that change the model."""
        return self.order.order.rounds

    @property
    def last_round(self) -> int:
        """Number of the evaluation round."""
        return self.training_rounds + 1

    @property
    def cohort(self) -> tuple[MemberId, ...]:
        """Everybody whom the order asks, sorted."""
        return tuple(MemberId(one) for one in self.order.order.cohort)

    @property
    def roster_keys(self) -> dict[bytes, bytes]:
        """Raw member id -> Ed25519 public key."""
        return {bytes.fromhex(one): key for one, key in self.roster.keys.items()}

    def task(self, round_number: int) -> Task:
        """What a round is for; InputError beyond the last one."""
        if not 1 <= round_number <= self.last_round:
            raise InputError(f"the run has rounds 1 to {self.last_round}, not {round_number}.")
        return "train" if round_number <= self.training_rounds else "evaluate"

    def shape(self, task: Task) -> Shape:
        """Vectors of a task."""
        return self.recipe.shape(task)

    def first_model(self) -> ServerState:
        """model_0, from ``H("init", order)``."""
        return start(self.recipe.init(digest("init", bytes.fromhex(self.order.id))))

    def next_model(
        self,
        state: ServerState,
        descriptor: RoundDescriptor,
        total: NDArray[np.int64],
        weight_sum: int,
    ) -> ServerState:
        """The state after a training round; an evaluation round leaves it as it is."""
        if descriptor.task == "evaluate":
            return state
        return self.recipe.step(state, self._turned_back(descriptor, total), weight_sum)

    def rotation_seed(self, round_number: int) -> bytes:
        """Signs of a training round's rotation, 32 bytes.

        They may be known early: rotation makes vectors narrow, it hides nothing, and each member
        clamps what it sends whatever the signs are.
        """
        return digest("datacoop/rotation/1", bytes.fromhex(self.order.id), round_number)

    def _turned_back(
        self, descriptor: RoundDescriptor, total: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        if not self.recipe.rotate:
            return total.astype(np.float64)
        size = sum(block.size for block in self.recipe.layout())
        turned, divisor = unrotate(total, self.rotation_seed(descriptor.round), size)
        return turned.astype(np.float64) / np.float64(divisor)

    def metrics_of(self, total: NDArray[np.int64], survivors: int) -> dict[str, float]:
        """Figures over the members from the evaluation round's sum (int64)."""
        return self.recipe.metrics(total.astype(np.float64), survivors)

    def task_hash(self, task: Task) -> bytes:
        """What is computed: code, settings, task; 32 bytes."""
        order = self.order.order
        return digest(
            "datacoop/task/1",
            order.workload.id,
            str(order.workload.version),
            order.workload.digest,
            json_bytes(order.config),
            task,
        )

    def training_seed(self, round_number: int, member: MemberId) -> bytes:
        """Seed of one member's local training in one round, 32 bytes."""
        return digest("train", bytes.fromhex(self.order.id), round_number, bytes.fromhex(member))

    @property
    def floor(self) -> int:
        """Smallest number of members in any sum."""
        privacy, competition = self._blocks()
        return max(cohort_floor(privacy, competition), self.order.order.min_cohort)

    @property
    def colluders(self) -> int:
        """C: members that may help the coordinator."""
        privacy, _ = self._blocks()
        return max(privacy.colluders, self.order.order.colluders)

    @property
    def spot_percent(self) -> int:
        """How much of a large sum each auditor recomputes (clause 24)."""
        audit = self.terms.block("c24", Audit)
        if audit is None:
            raise Refused("the agreement says nothing about evidence.", clauses=("c24",))
        return audit.spot_check_percent

    @property
    def least_survivors(self) -> int:
        """No sum is over fewer members, as the descriptor has it."""
        floor = least_cohort(self.colluders, self.floor)
        return max(quorum_size(len(self.cohort), self.colluders), floor)

    def privacy(self) -> Plan | None:
        """The noise of the run and what it promises; None for a recipe without a promise.

        Training and evaluation are composed. Noise is sized for the fewest survivors and the
        agreed colluders, never for who turns up.

        Raises:
            InputError: the figures make no plan.
        """
        phases = tuple(phase for phase in map(self._phase, get_args(Task)) if phase is not None)
        noise, delta = self.recipe.noise("train"), self.recipe.delta
        if noise is None or delta is None or not phases:
            return None
        return make_plan(
            unit=noise.unit,
            delta=delta,
            least_survivors=self.least_survivors,
            colluders=self.colluders,
            phases=phases,
        )

    def norm_bound(self, task: Task) -> float:
        """The most that one record adds to a sum of the task: L2 norm in whole units; 0: no noise.

        Training within a node rounds to this very bound.
        """
        noise, shape = self.recipe.noise(task), self.shape(task)
        if noise is None:
            return 0.0
        if noise.rounded:
            return norm_bound(shape.scale, noise.clip_l2, shape.dim)
        return noise.clip_l2 * shape.scale

    def sigma_local(self, task: Task) -> float:
        """Each member's share of the noise in a round of the task, in units of 1 / scale."""
        plan = self.privacy()
        return 0.0 if plan is None else plan.sigma_local(task)

    def _phase(self, task: Task) -> Phase | None:
        noise = self.recipe.noise(task)
        if noise is None:
            return None
        return Phase(
            name=task,
            noise_multiplier=noise.multiplier,
            sample_rate=noise.sample_rate,
            steps=self.training_rounds if task == "train" else 1,
            norm_bound=self.norm_bound(task),
            dim=self.shape(task).dim,
        )

    def demands(self) -> Demands:
        """What the signed agreement asks of any round."""
        contribution = self.terms.block("c17", Contribution)
        if contribution is None:
            raise Refused("the agreement says nothing about contribution.", clauses=("c17",))
        return Demands(
            colluders=self.colluders,
            min_cohort=self.floor,
            w_max=contribution.w_max,
            spot_percent=self.spot_percent,
        )

    def descriptor(
        self,
        round_number: int,
        attempt: int,
        state: ServerState,
        log: LogHead,
        prev_transcript: bytes = NO_TRANSCRIPT,
    ) -> RoundDescriptor:
        """The descriptor that the coordinator signs."""
        order, task = self.order.order, self.task(round_number)
        shape = self.shape(task)
        return make_descriptor(
            coop=bytes.fromhex(order.coop),
            run=bytes.fromhex(order.run),
            round=round_number,
            attempt=attempt,
            task=task,
            model_hash=model_hash(state),
            order_hash=bytes.fromhex(self.order.id),
            agreement=bytes.fromhex(order.agreement),
            log_root=log.root,
            log_size=log.size,
            task_hash=self.task_hash(task),
            roster_hash=bytes.fromhex(order.roster),
            ids=tuple(bytes.fromhex(one) for one in self.cohort),
            colluders=self.demands().colluders,
            min_cohort=self.floor,
            dim=shape.dim,
            scale=shape.scale,
            clip=shape.clip,
            w_max=shape.w_max,
            prev_transcript=prev_transcript,
            max_dropout=order.max_dropout_percent,
            stage_timeouts_s=order.stage_timeouts_s.in_order,
            sigma_local=self.sigma_local(task),
            spot_percent=self.spot_percent,
        )

    def expected(
        self, round_number: int, min_attempt: int, state: ServerState, prev_transcript: bytes
    ) -> Expected:
        """What a member knows of a round without being told."""
        order, task = self.order.order, self.task(round_number)
        shape = self.shape(task)
        return Expected(
            coop=bytes.fromhex(order.coop),
            run=bytes.fromhex(order.run),
            round=round_number,
            task=task,
            model_hash=model_hash(state),
            order_hash=bytes.fromhex(self.order.id),
            agreement=bytes.fromhex(order.agreement),
            task_hash=self.task_hash(task),
            roster_hash=bytes.fromhex(order.roster),
            ids=frozenset(bytes.fromhex(one) for one in self.cohort),
            dim=shape.dim,
            scale=shape.scale,
            clip=shape.clip,
            w_max=shape.w_max,
            max_dropout=order.max_dropout_percent,
            stage_timeouts_s=order.stage_timeouts_s.in_order,
            sigma_local=self.sigma_local(task),
            prev_transcript=prev_transcript,
            min_attempt=min_attempt,
        )

    def _blocks(self) -> tuple[Privacy, Competition]:
        privacy = self.terms.block("c14", Privacy)
        competition = self.terms.block("c27", Competition)
        if privacy is None or competition is None:
            raise Refused(
                "the agreement lacks its privacy or competition clause.", clauses=("c14", "c27")
            )
        return privacy, competition


def chart(order: ParsedOrder, terms: Terms, roster: ParsedRoster) -> Course:
    """The course of an order.

    Raises:
        InputError: the order is of another agreement or roster, names a workload that is not
            installed, or its config does not fit.
    """
    found = order.order
    if found.agreement != terms.id or found.roster != roster.id:
        raise InputError("the order belongs to another agreement or roster.", where="order")
    workload = find(found.workload.id, str(found.workload.version))
    return Course(order, terms, roster, workload.configure(found.config, "order config"))


def model_hash(state: ServerState) -> bytes:
    """SHA-256 over the parameters as float32, little-endian; 32 bytes."""
    return bytes.fromhex(model_name(state))


def model_name(state: ServerState) -> ModelId:
    """The model id: ``model_hash`` in hex."""
    return ModelId(hashlib.sha256(state.params.astype("<f4").tobytes()).hexdigest())
