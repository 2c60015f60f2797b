"""Make a release from a finished run: follow the run, ask the gate, sign, log, store.

The run is followed through ``protocols.retrace`` from the records themselves, as everybody else
will do, and the finished bundle passes ``protocols.evidence`` before it is shown to anybody.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from coordinator.release.gate import release_permit
from protocols import bundle
from protocols.agreement.base import parse_utc
from protocols.agreement.order import COORDINATOR, read_order
from protocols.agreement.parse import read_agreement
from protocols.agreement.roster import read_roster
from protocols.agreement.second import may_sign, still_missing
from protocols.agreement.terms import Governance
from protocols.audit.entries import Entry, Kind
from protocols.audit.verify import proof_bytes
from protocols.audit.writer import LogWriter
from protocols.canonical import Json, json_bytes, parse_json
from protocols.course import chart
from protocols.errors import Code, InputError, LocalError
from protocols.evidence import Findings, Pins, verify_release
from protocols.ids import ModelId
from protocols.permit import Gate, Permit
from protocols.release import Documents, log_facts, make_card
from protocols.retrace import Trace, begin, follow
from protocols.signing import SigningKey, jws_payload, jws_sign, jws_verify


@dataclass(frozen=True, slots=True)
class Source:
    """What a release is made from.

    Args:
        agreement: signed (JWS), with the quorum's signatures.
        rosters: every signed epoch from 1 to the order's.
        order: signed by the operator.
        records: ``retrace.record_bytes`` of every round, the evaluation last.
    """

    agreement: Json = field(repr=False)
    rosters: Sequence[Json] = field(repr=False)
    order: Json = field(repr=False)
    records: Sequence[bytes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Release:
    """A release that verifies: its id, its card, its files.

    ``missing``: whose signature clause 5 asks for beside the coordinator's, in words. As long as
    one is missing the release is held: stored, but neither sealed nor announced.
    """

    model: ModelId
    card: Json
    files: Mapping[str, bytes] = field(repr=False)
    missing: tuple[str, ...] = ()

    def archive(self) -> bytes:
        """The zip for transport; the same bytes each time."""
        return bundle.pack(self.files)


def make_release(source: Source, key: SigningKey, log: LogWriter, now: datetime) -> Release:
    """Follow the run, decide, sign, log, and check the result as a member would.

    May be repeated after a crash at any point: a release that is in the log already is made
    again with the card that the log names, and gets no second entry.

    Args:
        source: signed documents and round records.
        key: the coordinator key.
        log: the coordinator's audit log.
        now: the present instant.

    Raises:
        Refused: the agreement does not let this model out; names the clause and figures.
        InputError, RemoteError: a document or record does not verify.
        LocalError: the finished bundle does not verify; nothing was released.
    """
    documents = read_documents(source)
    trace = _followed(source, documents, key.public)
    metrics = trace.metrics()
    logged = _logged(log, trace)
    created = now if logged is None else parse_utc(logged.facts["created"])
    permit = release_permit(documents, trace.survivors, metrics, created, log)
    card = _card(trace, metrics, permit, created)
    if logged is None or dict(logged.facts) != log_facts(card):
        logged = log.append(Kind.RELEASE, log_facts(card))
    checkpoint, proof = log.prove(logged.seq)
    files = {
        bundle.AGREEMENT: json_bytes(source.agreement),
        bundle.ORDER: json_bytes(source.order),
        bundle.MODEL: trace.model_file(),
        bundle.CARD: json_bytes(card),
        bundle.CARD_SIGNED: json_bytes(jws_sign(card, COORDINATOR, key)),
        bundle.CHECKPOINT: checkpoint,
        bundle.PROOF: proof_bytes(proof),
        **{bundle.roster_file(i + 1): json_bytes(one) for i, one in enumerate(source.rosters)},
        **{bundle.round_file(i + 1): one for i, one in enumerate(source.records)},
    }
    _check(files, documents, key.public)
    return Release(trace.model, card, files, missing_signatures(files))


def read_documents(source: Source) -> Documents:
    """The run's documents with verified signatures over agreement and order.

    Raises:
        InputError: malformed, or a signature does not verify.
    """
    agreement = read_agreement(jws_payload(source.agreement, "agreement"), "agreement")
    order = read_order(jws_payload(source.order, "order"), "order")
    epochs = [read_roster(jws_payload(one, "roster"), "roster") for one in source.rosters]
    governance = agreement.terms.block("c05", Governance)
    if not epochs or governance is None:
        raise InputError("a release needs a roster and an agreement with a governance clause.")
    keys: dict[str, bytes] = {}
    for epoch in epochs:
        keys |= epoch.keys
    kids = jws_verify(source.order, may_sign(governance, "launch"), "order")
    if missing := still_missing(governance, "launch", kids):
        raise InputError(f"the order lacks the signature of {' and '.join(missing)}.")
    signers = frozenset(jws_verify(source.agreement, keys, "agreement"))
    return Documents(agreement, epochs[-1], order, signers)


def missing_signatures(files: Mapping[str, bytes]) -> tuple[str, ...]:
    """Whose signature the card still needs, in words; empty if the release is complete."""
    agreement = jws_payload(parse_json(files[bundle.AGREEMENT], "agreement"), "agreement")
    governance = read_agreement(agreement, "agreement").terms.block("c05", Governance)
    if governance is None:
        raise InputError("the agreement has no governance clause.", where=bundle.AGREEMENT)
    signed = parse_json(files[bundle.CARD_SIGNED], bundle.CARD_SIGNED)
    kids = jws_verify(signed, may_sign(governance, "release"), bundle.CARD_SIGNED)
    return still_missing(governance, "release", kids)


def store_release(release: Release, releases: Path) -> Path:
    """Write a release to ``releases/<model id>/``, whole or not at all; the folder.

    Raises:
        LocalError: the disk is full or may not be written.
    """
    folder, part = releases / release.model, releases / f".{release.model}.part"
    if folder.exists():
        return folder
    try:
        shutil.rmtree(part, ignore_errors=True)
        for name, content in release.files.items():
            path = part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
        part.replace(folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise LocalError(
            f"the release cannot be written: {error.strerror or error}.",
            where=str(folder),
            fix="Check the free space and the rights of this folder, then release again.",
        ) from error
    return folder


def load_release(folder: Path) -> dict[str, bytes]:
    """The release files in a folder; anything else that lies there is left alone.

    Raises:
        InputError: no folder, or more bytes than a release has.
    """
    if not folder.is_dir():
        raise InputError("there is no release here.", where=str(folder), code=Code.NOT_FOUND)
    files: dict[str, bytes] = {}
    room = bundle.MAX_BUNDLE_BYTES
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if bundle.is_release_file(name) and path.is_file() and not path.is_symlink():
            room -= path.stat().st_size
            if room < 0:
                raise InputError("the release is too large.", where=str(folder), code=Code.LIMIT)
            files[name] = path.read_bytes()
    return files


def archive_of(folder: Path) -> bytes:
    """The zip for transport of a stored release."""
    return bundle.pack(load_release(folder))


def verify_release_dir(folder: Path, pins: Pins) -> tuple[str, ...]:
    """Check a release from its files alone; lines for display, or InputError.

    A release that is held is checked too; the finding about its card says for whom it waits.
    """
    return verify_release(load_release(folder), pins, held=True).lines()


def _logged(log: LogWriter, trace: Trace) -> Entry | None:
    """The entry of this very release, if a crash came between the log and the disk."""
    order = trace.course.order
    about = {"model": trace.model, "order": order.id, "run": order.order.run}
    found = [
        entry
        for entry in log.entries(Kind.RELEASE)
        if about.items() <= entry.facts.items() and "created" in entry.facts
    ]
    return found[-1] if found else None


def _followed(source: Source, documents: Documents, key: bytes) -> Trace:
    course = chart(documents.order, documents.agreement.terms, documents.roster)
    if len(source.records) != course.last_round:
        raise InputError(
            f"the run has {len(source.records)} of {course.last_round} rounds; "
            "it cannot be released."
        )
    trace = begin(course)
    for number, raw in enumerate(source.records, start=1):
        trace = follow(trace, raw, key, bundle.round_file(number))
    return trace


def _card(
    trace: Trace, metrics: Mapping[str, float], permit: Permit, now: datetime
) -> dict[str, object]:
    permit.require(Gate.RELEASE, now)
    return make_card(
        trace.course,
        model=trace.model,
        model_file=trace.model_file(),
        survivors=trace.survivors,
        metrics=metrics,
        created=now,
    )


def _check(files: Mapping[str, bytes], documents: Documents, key: bytes) -> Findings:
    pins = Pins(documents.agreement.id, documents.roster.id, key)
    try:
        return verify_release(files, pins, held=True)
    except InputError as error:
        raise LocalError(
            f"the finished release does not verify: {error.problem}",
            where=error.where,
            fix="Nothing was released. Check the log with `verify`, then release again.",
        ) from error
