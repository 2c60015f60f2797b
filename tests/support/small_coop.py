"""A cooperative of six as values: agreement, rosters, order, rounds, and a real release.

The rounds carry true descriptors, transcripts and certificates over made-up sums: what a sum
hides is the business of the tests of secure aggregation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from coordinator.release.models import Source, make_release
from memory_place import Memory
from protocols.agreement.order import ParsedOrder, make_order, stage_timeouts
from protocols.agreement.parse import ParsedAgreement
from protocols.agreement.roster import Member, ParsedRoster, make_roster, read_roster
from protocols.agreement.template import make_agreement
from protocols.audit.entries import Kind
from protocols.audit.writer import LogWriter
from protocols.canonical import Json, digest
from protocols.course import Course, chart
from protocols.evidence import Pins
from protocols.ids import RosterId
from protocols.retrace import Record, Trace, begin, follow, record_bytes
from protocols.secagg.messages import (
    AdvertiseRequest,
    AgreementSignature,
    bitmap,
    first_transcript,
    second_transcript,
    third_transcript,
)
from protocols.secagg.params import LogHead, RoundDescriptor
from protocols.secagg.published import SUM_TAG, PublishedSum
from protocols.signing import SigningKey, identity_of, jws_merge, jws_sign
from protocols.workloads import churn, churn_metrics, demand, metrics
from protocols.workloads.recipe import Workload

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
COOP = "c0" * 32
LOG = LogHead(9, b"\x07" * 32)
DIGEST, CHURN_DIGEST = "d1" * 32, "d2" * 32
DIGESTS = {demand.ID: DIGEST, churn.ID: CHURN_DIGEST}
OPERATOR, COORDINATOR = SigningKey(b"\x01" * 32), SigningKey(b"\x02" * 32)
_KEYS = [SigningKey(bytes([n]) * 32) for n in range(11, 17)]
MEMBERS = tuple(sorted(_KEYS, key=lambda key: identity_of(key.public)))
IDS = tuple(identity_of(key.public) for key in MEMBERS)
GOOD = {"own": 0.60, "shared": 0.58, "blend": 0.55}


def opens_with(key: SigningKey) -> X25519PrivateKey:
    """The private encryption key of the member with this identity."""
    return X25519PrivateKey.from_private_bytes(digest("test/encryption", key.seed))


def sealed_to(key: SigningKey) -> bytes:
    """Its public half, as the roster carries it."""
    return opens_with(key).public_key().public_bytes_raw()


def party(key: SigningKey) -> Member:
    name = f"Shop {identity_of(key.public)[:4]}"
    return Member(
        id=identity_of(key.public),
        name=name,
        legal_id=f"HRB {name}",
        trade="grocery",
        region="town",
        public_key=key.public.hex(),
        encryption_key=sealed_to(key).hex(),
        replaces=None,
        not_after=NOW + timedelta(days=365),
        roles=("member",),
    )


def signed_by_all(document: Json, keys: Sequence[SigningKey] = MEMBERS) -> dict[str, Any]:
    parts = [jws_sign(document, identity_of(key.public), key) for key in keys]
    return jws_merge(parts[0], *parts[1:])


def recipe_terms(workload: Workload) -> dict[str, Any]:
    """Clause 13's entry; every setting is free."""
    return {
        "id": workload.id,
        "version": workload.version,
        "digest": DIGESTS[workload.id],
        "purpose": workload.purpose,
        "columns": list(workload.columns),
        "max_rounds": 100,
        "config": {},
        "free": sorted({*workload.defaults, *workload.free}),
        "privacy": workload.claim,
    }


def agreement(**figures: Any) -> ParsedAgreement:
    text = resources.files("protocols.agreement").joinpath("templates/grocers.json").read_text()
    return make_agreement(
        json.loads(text),
        name="Six shops",
        coop=COOP,
        operator_key=OPERATOR.public.hex(),
        coordinator_key=COORDINATOR.public.hex(),
        workloads=[recipe_terms(churn.WORKLOAD), recipe_terms(demand.WORKLOAD)],
        starts=NOW - timedelta(days=10),
        ends=NOW + timedelta(days=300),
        figures=figures,
    )


def rosters() -> tuple[list[dict[str, Any]], ParsedRoster]:
    """Two epochs: five found the cooperative, the sixth joins; signed. And the last, parsed."""
    first = make_roster(COOP, [party(key) for key in MEMBERS[:5]], issued=NOW)
    parsed = read_roster(first, "roster")
    second = make_roster(COOP, [party(key) for key in MEMBERS], parsed, issued=NOW)
    signed = [signed_by_all(first, MEMBERS[:5]), signed_by_all(second)]
    return signed, read_roster(second, "roster")


def order_under(terms: ParsedAgreement, epoch: ParsedRoster, **changes: Any) -> ParsedOrder:
    fields: dict[str, Any] = {
        "coop": COOP,
        "run": "ab" * 16,
        "agreement": terms.id,
        "roster": epoch.id,
        "roster_epoch": epoch.roster.epoch,
        "workload": {"id": demand.ID, "version": demand.VERSION, "digest": DIGEST},
        "purpose": demand.PURPOSE,
        "columns": demand.COLUMNS,
        "cohort": IDS,
        "colluders": 2,
        "min_cohort": 5,
        "max_dropout_percent": 20,
        "rounds": 2,
        "config": {
            **demand.DEFAULTS,
            "categories": ["bread", "milk"],
            "train_until": date(2025, 12, 1).isoformat(),
        },
        "stage_timeouts_s": stage_timeouts(30),
        "rejoin_wait_s": 5.0,
        "issued": NOW - timedelta(hours=1),
        "deadline": NOW + timedelta(hours=5),
    }
    return make_order(**{**fields, **changes})


def churn_order(terms: ParsedAgreement, epoch: ParsedRoster, **changes: Any) -> ParsedOrder:
    """An order of two noised steps; the noise costs little, so that any budget admits it."""
    config = {**churn.DEFAULTS, "train_until": "2025-12-01", "expected_customers": 1000}
    fields: dict[str, Any] = {
        "workload": {"id": churn.ID, "version": churn.VERSION, "digest": CHURN_DIGEST},
        "purpose": churn.PURPOSE,
        "columns": churn.COLUMNS,
        "config": config,
    }
    return order_under(terms, epoch, **{**fields, **changes})


def churn_evaluation(members: int) -> Any:
    """The sum of an evaluation in which the shared model knows more; noise of 0 is noise too."""
    left = np.arange(200) % 4 == 0
    own, shared = np.where(left, 0.4, 0.3), np.where(left, 0.7, 0.2)
    rows = churn_metrics.customer_rows(shared, left)
    gain = churn_metrics.member_gain(own, (own + 2 * shared) / 3, left)
    return members * churn_metrics.member_vector(rows, gain)


def demand_config(course: Course) -> demand.DemandConfig:
    assert isinstance(course.recipe, demand.Demand)
    return course.recipe.config


@dataclass
class Run:
    """A run under way; each ``play`` adds one round's record."""

    course: Course
    trace: Trace
    present: Sequence[SigningKey] = MEMBERS
    records: list[bytes] = field(default_factory=list)

    @property
    def descriptor_dim(self) -> int:
        return self.course.shape("train").dim

    def descriptor(self, attempt: int = 0, log: LogHead = LOG) -> RoundDescriptor:
        return self.course.descriptor(
            self.trace.number + 1, attempt, self.trace.state, log, self.trace.transcript
        )

    def total(self, descriptor: RoundDescriptor, wape: Mapping[str, float]) -> Any:
        if descriptor.task == "evaluate" and self.course.recipe.workload.id == churn.ID:
            return churn_evaluation(len(self.present))
        if descriptor.task == "evaluate":
            own, shared, blend = wape["own"], wape["shared"], wape["blend"]
            figures = {name: 0.5 for name in metrics.metric_names() if name != "evaluated"}
            figures |= {"wape_own": own, "wape_shared": shared, "wape_blend": blend}
            mean = metrics.encode_metrics(figures)
            return np.round(mean * len(self.present) * descriptor.scale).astype(np.int64)
        at = np.arange(descriptor.dim, dtype=np.int64)
        return (at * 7919 + descriptor.round * 104729) % 2001 - 1000

    def record(
        self,
        descriptor: RoundDescriptor,
        wape: Mapping[str, float] = GOOD,
        signer: SigningKey = COORDINATOR,
        quorum: Sequence[SigningKey] | None = None,
        total: Any = None,
        auditors: Sequence[SigningKey] | None = None,
    ) -> Record:
        ids = [bytes.fromhex(identity_of(key.public)) for key in self.present]
        members = bitmap(ids, descriptor.ids)
        ads = bytes([descriptor.round]) * 32
        a2 = second_transcript(first_transcript(descriptor.digest(), ads), members)
        vectors = bytes([descriptor.round + 100]) * 32
        a3 = third_transcript(a2, members, vectors)
        signing = self.present[: descriptor.quorum] if quorum is None else quorum
        published = PublishedSum(
            run=descriptor.run,
            round=descriptor.round,
            attempt=descriptor.attempt,
            task=descriptor.task,
            descriptor_digest=descriptor.digest(),
            ads_hash=ads,
            cohort=members,
            survivor_map=members,
            vectors_hash=vectors,
            total=self.total(descriptor, wape) if total is None else total,
            weight_sum=len(self.present),
            a3=a3,
            certificate=tuple(
                AgreementSignature(bytes.fromhex(identity_of(key.public)), key.sign("SAQ1 A3", a3))
                for key in signing
            ),
        )
        hashed = published.sum_hash()
        if auditors is None:
            auditors = self.present[: descriptor.colluders + 1]
        published = replace(
            published,
            sum_certificate=tuple(
                AgreementSignature(
                    bytes.fromhex(identity_of(key.public)), key.sign(SUM_TAG, a3, hashed)
                )
                for key in auditors
            ),
        )
        signature = signer.sign("SAQ1 RD", descriptor.digest())
        return Record(AdvertiseRequest(descriptor, signature), published)

    def play(self, wape: Mapping[str, float] = GOOD) -> None:
        raw = record_bytes(self.record(self.descriptor(), wape))
        self.trace = follow(self.trace, raw, COORDINATOR.public, "record")
        self.records.append(raw)


@dataclass(frozen=True)
class Coop:
    """All documents of one run."""

    agreement: ParsedAgreement
    rosters: Sequence[dict[str, Any]]
    roster: ParsedRoster
    order: ParsedOrder

    def run(self) -> Run:
        course = chart(self.order, self.agreement.terms, self.roster)
        return Run(course, begin(course))

    def source(self, records: Sequence[bytes]) -> Source:
        return Source(
            agreement=signed_by_all(self.agreement.document),
            rosters=self.rosters,
            order=jws_sign(self.order.document, "operator", OPERATOR),
            records=records,
        )

    @property
    def pins(self) -> Pins:
        return Pins(self.agreement.id, RosterId(self.roster.id), COORDINATOR.public)


def coop(order: Mapping[str, Any] | None = None, **figures: Any) -> Coop:
    terms = agreement(**figures)
    signed, roster = rosters()
    return Coop(terms, signed, roster, order_under(terms, roster, **(order or {})))


def office_log(place: Memory | None = None) -> LogWriter:
    ticks = iter(range(10**6))
    clock: Callable[[], datetime] = lambda: NOW + timedelta(seconds=next(ticks))  # noqa: E731
    return LogWriter(place or Memory(), "coordinator", COORDINATOR, clock)


def finished(wape: Mapping[str, float] = GOOD, found: Coop | None = None) -> tuple[Coop, Run]:
    found = found or coop()
    run = found.run()
    for _ in range(run.course.last_round):
        run.play(wape)
    return found, run


@cache
def released() -> tuple[Pins, Mapping[str, bytes]]:
    """Pins and files of one real release; made once for all tests."""
    found, run = finished()
    log = office_log()
    log.append(Kind.START)
    release = make_release(found.source(run.records), COORDINATOR, log, NOW)
    for _ in range(3):
        log.append(Kind.STOP)
    return found.pins, dict(release.files)
