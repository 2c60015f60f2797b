"""Check a release from files alone: back to the agreement, forward to every parameter.

Nothing in the bundle is believed. The caller pins what it knows from elsewhere (its own copy of
the agreement's id, a roster epoch that it trusts); every other value is derived or verified, in
the order below, and the first check that fails names the file and itself.

=============  =================================================================================
check          what holds afterwards
=============  =================================================================================
files          the files of a release, no other
agreement      the pinned version; it names the keys of operator and coordinator
order          signed by the operator's key
roster         a chain of epochs signed by quorums, with the pinned one in it
quorum         the agreement is signed by its quorum of the order's roster
course         the order is under this agreement and roster; its workload is known here
rounds         every round: the descriptor that follows, signed by the coordinator; a quorum's
               certificate; the next model by the server step
survivors      the sets changed no oftener than clause 14 allows; with noise they may
metrics        figures from the evaluation round's sum
gate           the release decision, taken again: purpose, workload digest, figures, use terms
model          the parameters of the last step are the model file, byte for byte
use            who may use the model, for what and until when, as it follows from the above
card           every field follows from the above; signed by the coordinator, and by operator and
               approver where clause 5 asks for them
privacy        what the card promises is what the noise in every round's descriptor gives
log            the release stands in the coordinator's signed log
=============  =================================================================================
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from protocols import bundle
from protocols.agreement.base import parse_utc
from protocols.agreement.facts import Denial
from protocols.agreement.order import COORDINATOR, ParsedOrder, read_order
from protocols.agreement.parse import ParsedAgreement, read_agreement
from protocols.agreement.roster import ParsedRoster, replay
from protocols.agreement.second import may_sign, still_missing
from protocols.agreement.survivors import change_limit, near_changes
from protocols.agreement.terms import Governance
from protocols.audit.checkpoint import Checkpoint, origin_of, parse_checkpoint
from protocols.audit.entries import Kind
from protocols.audit.verify import check_inclusion
from protocols.canonical import Json, json_bytes, parse_json
from protocols.course import chart
from protocols.errors import Code, CoopError, InputError
from protocols.ids import AgreementId, MemberId, ModelId, RosterId
from protocols.release import Documents, check_card, decision, figures_of, log_facts, make_card
from protocols.retrace import Trace, begin, follow
from protocols.signing import jws_payload, jws_verify

MAX_EPOCHS = 1000


@dataclass(frozen=True, slots=True)
class Pins:
    """What the checker knows from elsewhere.

    Args:
        agreement: id of the version that it signed or was told.
        roster: id of the epoch that it accepted or was told.
        earlier: ids of epochs that it accepted before; a release may be older than ``roster``.
            One of all these must be in the chain of the release.
        coordinator_key: 32 bytes; compared with the agreement's if given.
        model: the model id that a member derived itself, if it took part; without it the model
            is the one that the sums in the bundle lead to, and the finding says so.
    """

    agreement: AgreementId
    roster: RosterId
    coordinator_key: bytes | None = None
    model: ModelId | None = None
    earlier: frozenset[RosterId] = frozenset()


@dataclass(frozen=True, slots=True)
class Finding:
    """A check that passed, with its figures, in a sentence."""

    check: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Findings:
    """All checks passed. Compare ``checkpoint`` with those of the coordinator that you kept."""

    model: ModelId
    card: Json
    order: ParsedOrder
    checkpoint: Checkpoint
    passed: tuple[Finding, ...]

    def lines(self) -> tuple[str, ...]:
        """For people."""
        return tuple(f"{one.check}: {one.sentence}" for one in self.passed)


def verify_release(files: Mapping[str, bytes], pins: Pins, *, held: bool = False) -> Findings:
    """Check every file of a release; see the table above.

    Args:
        files: name -> bytes, of a folder or of ``bundle.unpack``.
        pins: what the caller knows from elsewhere.
        held: the release still waits for operator and approver: their signatures may be missing.

    Raises:
        InputError: TAMPERED, naming the file and the check that failed first.
    """
    return _Checker(files, pins, held).run()


@contextmanager
def _check(name: str, file: str) -> Iterator[None]:
    """Whatever fails inside is tampering with ``file``, found by the check ``name``."""
    try:
        yield
    except CoopError as error:
        raise InputError(
            error.problem,
            code=Code.TAMPERED,
            where=f"{file}, check {name}",
            fix="Do not use this release. Pull it again; if it fails again, tell the others.",
        ) from error


def _bad(problem: str) -> InputError:
    return InputError(problem, code=Code.TAMPERED)


class _Checker:
    """One pass over one bundle; each method is one row of the table."""

    def __init__(self, files: Mapping[str, bytes], pins: Pins, held: bool) -> None:
        self._files, self._pins, self._held = files, pins, held
        self._passed: list[Finding] = []

    def run(self) -> Findings:
        self._all_there()
        agreement, governance = self._agreement()
        key = bytes.fromhex(governance.coordinator_key)
        order = self._order(governance)
        chain = self._roster(governance, order)
        documents = self._quorum(agreement, governance, order, chain)
        trace = self._rounds(documents, key)
        metrics = self._metrics(trace)
        card, created = self._read_card()
        self._gate(documents, trace, metrics, created)
        self._model(trace)
        self._card(card, trace, metrics, created)
        self._signatures(card, governance)
        checkpoint = self._log(card, key)
        return Findings(trace.model, card, order, checkpoint, tuple(self._passed))

    def _ok(self, check: str, sentence: str) -> None:
        self._passed.append(Finding(check, sentence))

    def _json(self, name: str) -> dict[str, Any]:
        return parse_json(self._files[name], name)

    def _signed(self, name: str) -> dict[str, Any]:
        """A signed document, written in its one form: nothing can hide between the signatures."""
        signed = self._json(name)
        bundle.check_form(signed, self._files[name])
        return signed

    def _all_there(self) -> None:
        try:
            bundle.check_names(self._files)
            bundle.numbered(self._files, "rosters")
            bundle.numbered(self._files, "rounds")
        except InputError as error:
            with _check("files", error.where):
                raise
        self._ok("files", f"{len(self._files)} files, all that a release has and no other")

    def _agreement(self) -> tuple[ParsedAgreement, Governance]:
        name, pins = bundle.AGREEMENT, self._pins
        with _check("agreement", name):
            agreement = read_agreement(jws_payload(self._signed(name), name), name)
            if agreement.id != pins.agreement:
                raise _bad(
                    f"this is agreement {agreement.id[:16]}, yours is {pins.agreement[:16]}."
                )
            governance = agreement.terms.block("c05", Governance)
            if governance is None:
                raise _bad("the agreement has no governance clause.")
            if pins.coordinator_key and pins.coordinator_key.hex() != governance.coordinator_key:
                raise _bad("the agreement names another coordinator key than yours.")
        self._ok("agreement", f"version {agreement.agreement.version}, {agreement.id[:16]}")
        return agreement, governance

    def _order(self, governance: Governance) -> ParsedOrder:
        name = bundle.ORDER
        with _check("order", name):
            signed = self._signed(name)
            kids = jws_verify(signed, may_sign(governance, "launch"), name)
            if missing := still_missing(governance, "launch", kids):
                raise _bad(f"the signature of {' and '.join(missing)} is missing.")
            order = read_order(jws_payload(signed, name), name)
        self._ok("order", f"run {order.order.run}, signed by {', '.join(kids)}")
        return order

    def _roster(self, governance: Governance, order: ParsedOrder) -> tuple[ParsedRoster, ...]:
        names = bundle.numbered(self._files, "rosters")
        one, pinned = order.order, self._pins.roster
        known = {pinned, *self._pins.earlier}
        signed = []
        for name in names[:MAX_EPOCHS]:
            with _check("roster", name):
                signed.append(self._signed(name))
        with _check("roster", "rosters"):
            if len(names) > MAX_EPOCHS:
                raise _bad(f"{len(names)} epochs are too many to check.")
            chain = replay(signed, governance, one.coop)
            if known.isdisjoint(epoch.id for epoch in chain):
                raise _bad(f"the epoch that you know, {pinned[:16]}, is not in this chain.")
            voters = chain[-1].voters(one.issued)  # keys that were fresh when it was ordered
            strangers = [member for member in one.cohort if MemberId(member) not in voters]
            if strangers:
                raise _bad(f"{len(strangers)} of the cohort are not members in the roster.")
        self._ok("roster", f"epoch {len(chain)}, {len(voters)} members, signed by quorums")
        return chain

    def _quorum(
        self,
        agreement: ParsedAgreement,
        governance: Governance,
        order: ParsedOrder,
        chain: tuple[ParsedRoster, ...],
    ) -> Documents:
        name, voters = bundle.AGREEMENT, chain[-1].voters()
        keys: dict[str, bytes] = {}
        for epoch in chain:  # who has left since may have signed; who counts is another matter
            keys |= epoch.keys
        with _check("quorum", name):
            signers = frozenset(jws_verify(self._signed(name), keys, name))
            count, needed = len(voters & signers), governance.quorum_agreement.needed(len(voters))
            if count < max(1, needed):
                raise _bad(f"{count} of {len(voters)} members have signed it, {needed} must.")
        self._ok("quorum", f"{count} of {len(voters)} members have signed, {needed} are needed")
        return Documents(agreement, chain[-1], order, signers)

    def _rounds(self, documents: Documents, key: bytes) -> Trace:
        names, order = bundle.numbered(self._files, "rounds"), documents.order.order
        with _check("course", bundle.ORDER):
            course = chart(documents.order, documents.agreement.terms, documents.roster)
            if order.coop != documents.agreement.agreement.coop:
                raise _bad("the order is of another cooperative than the agreement.")
        self._ok("course", f"workload {order.workload.id} {order.workload.version}")
        trace = begin(course)
        with _check("rounds", names[-1]):
            if len(names) != course.last_round:
                raise _bad(f"{len(names)} rounds are here, the run has {course.last_round}.")
        for name in names:
            with _check("rounds", name):
                trace = follow(trace, self._files[name], key, name)
        least = min(map(len, trace.survivors))
        self._ok("rounds", f"{len(names)} sums with certificates, each leads to the next model")
        allowed = change_limit(documents.agreement.terms, documents.order.order)
        with _check("survivors", names[-1]):
            changes = near_changes(trace.survivors, course.floor)
            if allowed is not None and changes > allowed:
                raise _bad(f"the members in the sums changed {changes} times, {allowed} may be.")
        self._ok("survivors", f"{least} or more members in each sum, changed {changes} times")
        return trace

    def _metrics(self, trace: Trace) -> Mapping[str, float]:
        with _check("metrics", bundle.round_file(trace.number)):
            metrics = trace.metrics()
        found = figures_of(trace.course.order.order.workload, metrics)
        self._ok(
            "metrics",
            f"{found.measure} {found.baseline_error:.4f} own baseline, "
            f"{found.blend_error:.4f} with the shared model, over {found.contributors} members",
        )
        return metrics

    def _read_card(self) -> tuple[dict[str, Any], datetime]:
        name = bundle.CARD
        with _check("card", name):
            card = self._json(name)
            if json_bytes(card) != self._files[name]:
                raise _bad("the card is not in canonical form (RFC 8785).")
            try:
                return card, parse_utc(card.get("created"))
            except ValueError as error:
                raise _bad(f"its date cannot be read: {error}.") from error

    def _gate(
        self, documents: Documents, trace: Trace, metrics: Mapping[str, float], created: datetime
    ) -> None:
        with _check("gate", bundle.CARD):
            if created < documents.order.order.issued:
                raise _bad("the release is dated before its order.")
            answer = decision(documents, trace.survivors, metrics, created)
            if isinstance(answer, Denial):
                raise answer.refused()
        self._ok("gate", f"the agreement allows it, as of {created:%Y-%m-%d}")

    def _model(self, trace: Trace) -> None:
        with _check("model", bundle.MODEL):
            if self._pins.model is not None and trace.model != self._pins.model:
                raise _bad(f"the run gives {trace.model[:16]}, you have {self._pins.model[:16]}.")
            if self._files[bundle.MODEL] != trace.model_file():
                raise _bad("its bytes are not those that follow from the published sums.")
        known = (
            "the one that this member derived in the run"
            if self._pins.model is not None
            else "not derived in the run by this checker, taken from the sums in the bundle"
        )
        self._ok("model", f"{trace.model[:16]}, every parameter derived again; {known}")

    def _card(
        self,
        card: Json,
        trace: Trace,
        metrics: Mapping[str, float],
        created: datetime,
    ) -> None:
        with _check("card", bundle.CARD):
            derived = make_card(
                trace.course,
                model=trace.model,
                model_file=self._files[bundle.MODEL],
                survivors=trace.survivors,
                metrics=metrics,
                created=created,
            )
            check_card(card, derived, bundle.CARD)
        use = card["use"]
        self._ok(
            "use",
            f"{', '.join(use['purposes'])} until {use['expires']}, for "
            f"{len(use['recipients']['members'])} members, licence {use['licence']}",
        )

    def _signatures(self, card: Json, governance: Governance) -> None:
        name = bundle.CARD_SIGNED
        with _check("card", name):
            signed = self._signed(name)
            kids = jws_verify(signed, may_sign(governance, "release"), name)
            if jws_payload(signed, name) != card:
                raise _bad("another card was signed.")
            missing = still_missing(governance, "release", kids)
            if COORDINATOR not in kids or (missing and not self._held):
                raise _bad(f"the signature of {' and '.join(missing)} is missing.")
        waits = f"; held, it waits for {' and '.join(missing)}" if missing else ""
        self._ok("card", f"every field follows from the run; signed by {', '.join(kids)}{waits}")
        self._ok("privacy", str(card["privacy"]["statement"]))

    def _log(self, card: Json, key: bytes) -> Checkpoint:
        with _check("log", bundle.CHECKPOINT):
            note = self._files[bundle.CHECKPOINT]
            head = parse_checkpoint(note, key, origin_of(COORDINATOR, key), bundle.CHECKPOINT)
        with _check("log", bundle.PROOF):
            entry = check_inclusion(self._files[bundle.PROOF], head, bundle.PROOF)
            if entry.kind is not Kind.RELEASE or dict(entry.facts) != log_facts(card):
                raise _bad("the entry of the log is not about this release.")
        self._ok("log", f"entry {entry.seq} of {head.size} in the coordinator's log")
        return head
