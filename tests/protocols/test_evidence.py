"""A real release, tampered with in every file and field: each time the named check fails."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols import bundle
from protocols.agreement.base import utc_text
from protocols.agreement.order import read_order
from protocols.agreement.roster import make_roster, read_roster
from protocols.agreement.terms import Term
from protocols.audit.entries import Kind
from protocols.audit.verify import proof_bytes
from protocols.audit.writer import LogWriter
from protocols.canonical import json_bytes
from protocols.errors import Code, InputError, Refused
from protocols.evidence import Pins, verify_release
from protocols.ids import AgreementId, ModelId, RosterId
from protocols.release import Documents, decision, log_facts, make_card
from protocols.retrace import read_record, record_bytes
from protocols.signing import SigningKey, jws_payload, jws_sign
from protocols.useterms import read_use
from small_coop import (
    COOP,
    COORDINATOR,
    GOOD,
    IDS,
    MEMBERS,
    NOW,
    OPERATOR,
    Coop,
    Run,
    coop,
    finished,
    office_log,
    order_under,
    party,
    released,
    signed_by_all,
)

Files = dict[str, bytes]


def fails(files: Mapping[str, bytes], pins: Pins, check: str, file: str = "") -> InputError:
    with pytest.raises(InputError) as caught:
        verify_release(files, pins)
    error = caught.value
    assert error.code is Code.TAMPERED and error.fix
    assert error.where.endswith(f", check {check}"), str(error)
    assert error.where.startswith(file), str(error)
    return error


def bundle_of(
    found: Coop,
    run: Run,
    *,
    edit: Callable[[dict[str, Any]], object] = lambda card: None,
    created: Any = NOW,
    metrics: Mapping[str, float] | None = None,
) -> Files:
    """What a coordinator that asks no gate would hand out: all signed, all logged."""
    trace = run.trace
    card = make_card(
        trace.course,
        model=trace.model,
        model_file=trace.model_file(),
        survivors=trace.survivors,
        metrics=trace.metrics() if metrics is None else metrics,
        created=created,
    )
    edit(card)
    source = found.source(run.records)
    log = office_log()
    entry = log.append(Kind.RELEASE, log_facts(card))
    checkpoint, proof = log.prove(entry.seq)
    return {
        bundle.AGREEMENT: json_bytes(source.agreement),
        bundle.ORDER: json_bytes(source.order),
        bundle.MODEL: trace.model_file(),
        bundle.CARD: json_bytes(card),
        bundle.CARD_SIGNED: json_bytes(jws_sign(card, "coordinator", COORDINATOR)),
        bundle.CHECKPOINT: checkpoint,
        bundle.PROOF: proof_bytes(proof),
        **{bundle.roster_file(i + 1): json_bytes(one) for i, one in enumerate(source.rosters)},
        **{bundle.round_file(i + 1): one for i, one in enumerate(source.records)},
    }


def test_a_real_release_passes_every_check() -> None:
    pins, files = released()
    findings = verify_release(files, pins)
    names = [one.check for one in findings.passed]
    assert names == [
        "files", "agreement", "order", "roster", "quorum", "course", "rounds",
        "survivors", "metrics", "gate", "model", "use", "card", "privacy", "log",
    ]  # fmt: skip
    assert findings.card["metrics"]["wape_blend"] == pytest.approx(GOOD["blend"], abs=1e-5)
    assert findings.card["cohort"] == {"members": 6, "survivors_min": 6, "survivors_max": 6}
    assert findings.card["privacy"]["claim"] == "none"
    assert all(line.startswith(name) for line, name in zip(findings.lines(), names, strict=True))
    verify_release(files, dataclasses.replace(pins, model=findings.model, coordinator_key=None))


CHECKS_OF = {
    bundle.AGREEMENT: {"agreement", "quorum"},
    bundle.ORDER: {"order", "roster", "course"},
    bundle.MODEL: {"model"},
    bundle.CARD: {"card", "gate"},
    bundle.CARD_SIGNED: {"card"},
    bundle.CHECKPOINT: {"log"},
    bundle.PROOF: {"log"},
    "rosters/0001.jws": {"roster"},
    "rosters/0002.jws": {"roster"},
    "rounds/0001.bin": {"rounds"},
    "rounds/0002.bin": {"rounds"},
    "rounds/0003.bin": {"rounds", "metrics"},
}


@pytest.mark.parametrize("name", CHECKS_OF)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_one_flipped_bit_anywhere(name: str, data: st.DataObject) -> None:
    pins, real = released()
    files = dict(real)
    raw = bytearray(files[name])
    at = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[at // 8] ^= 1 << at % 8
    files[name] = bytes(raw)
    with pytest.raises(InputError) as caught:
        verify_release(files, pins)
    assert caught.value.code is Code.TAMPERED
    check = caught.value.where.rpartition("check ")[2]
    # a sum that was changed shows in the descriptor of the round after it, or in the figures
    late = {"gate", "model", "card"} if name.startswith("rounds/") else set()
    assert check in CHECKS_OF[name] | late, str(caught.value)


@pytest.mark.parametrize("name", CHECKS_OF)
@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b"[" * 100_000, None])
def test_empty_foreign_and_missing_files(name: str, content: bytes | None) -> None:
    pins, real = released()
    files = dict(real)
    if content is None:
        del files[name]
        # without the last roster or round the set is still whole; the run then is not
        last = {"rosters/0002.jws": "roster", "rounds/0003.bin": "rounds"}
        fails(files, pins, last.get(name, "files"))
    else:
        files[name] = content
        first = {bundle.CARD: "card", bundle.ORDER: "order", "rounds/0003.bin": "rounds"}
        fails(files, pins, first.get(name) or min(CHECKS_OF[name]), name)


def test_files_that_do_not_belong() -> None:
    pins, real = released()
    for name in ("notes.txt", "../card.json", "rounds/1.bin", "rounds/0000.bin", "CARD.json"):
        fails({**real, name: b"x"}, pins, "files")
    gap = dict(real)
    gap["rounds/0005.bin"] = gap["rounds/0003.bin"]
    fails(gap, pins, "files", "rounds/0004.bin")
    more = dict(real)
    more["rounds/0004.bin"] = more["rounds/0003.bin"]
    fails(more, pins, "rounds", "rounds/0004.bin")
    swapped = dict(real)
    swapped["rounds/0001.bin"], swapped["rounds/0002.bin"] = (
        real["rounds/0002.bin"],
        real["rounds/0001.bin"],
    )
    fails(swapped, pins, "rounds", "rounds/0001.bin")


def test_what_the_checker_knows_wins() -> None:
    pins, files = released()
    other = "ee" * 32
    fails(files, dataclasses.replace(pins, agreement=AgreementId(other)), "agreement")
    fails(files, dataclasses.replace(pins, coordinator_key=OPERATOR.public), "agreement")
    fails(files, dataclasses.replace(pins, roster=RosterId(other)), "roster")
    fails(files, dataclasses.replace(pins, model=ModelId(other)), "model")
    # a member that has accepted later epochs still verifies an older release
    later = dataclasses.replace(
        pins, roster=RosterId(other), earlier=frozenset({pins.roster, RosterId("dd" * 32)})
    )
    verify_release(files, later)


def test_the_same_signatures_in_another_form_are_refused() -> None:
    pins, real = released()
    signed = json.loads(real[bundle.CARD_SIGNED])
    forms = {
        "spaces": json.dumps(signed).encode(),
        "another key": json_bytes({**signed, "comment": "x"}),
        "padding": json_bytes({**signed, "payload": signed["payload"] + "="}),
    }
    header = {**signed["signatures"][0], "header": {"kid": "operator"}}
    forms["loose header"] = json_bytes({**signed, "signatures": [header]})
    for content in forms.values():
        fails({**real, bundle.CARD_SIGNED: content}, pins, "card", bundle.CARD_SIGNED)


# ------------------------------------------------------ documents, properly signed, but wrong


def test_an_agreement_of_too_few_or_with_a_stranger() -> None:
    found, run = finished()
    files = bundle_of(found, run)
    verify_release(files, found.pins)
    few = signed_by_all(found.agreement.document, MEMBERS[:3])
    error = fails({**files, bundle.AGREEMENT: json_bytes(few)}, found.pins, "quorum")
    assert "3 of 6" in error.problem
    stranger = signed_by_all(found.agreement.document, (*MEMBERS, OPERATOR))
    fails({**files, bundle.AGREEMENT: json_bytes(stranger)}, found.pins, "quorum")
    changed = coop(min_cohort=6)
    again = json_bytes(signed_by_all(changed.agreement.document))
    fails({**files, bundle.AGREEMENT: again}, found.pins, "agreement")


def test_an_order_of_somebody_else() -> None:
    found, run = finished()
    files = bundle_of(found, run)
    by_coordinator = jws_sign(found.order.document, "operator", COORDINATOR)
    fails({**files, bundle.ORDER: json_bytes(by_coordinator)}, found.pins, "order")
    other_kid = jws_sign(found.order.document, "coordinator", OPERATOR)
    fails({**files, bundle.ORDER: json_bytes(other_kid)}, found.pins, "order")


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"agreement": "aa" * 32}, "course"),
        ({"roster": "aa" * 32}, "course"),
        ({"coop": "aa" * 32}, "roster"),
        ({"cohort": (*IDS[:5], "0a" * 32)}, "roster"),
        ({"cohort": ("0a" * 32, *IDS[:5])}, "roster"),
        ({"rounds": 3}, "rounds"),
        ({"run": "cd" * 16}, "rounds"),
        ({"colluders": 3}, "rounds"),
        ({"workload": {"id": "churn", "version": "1", "digest": "d1" * 32}}, "course"),
        ({"workload": {"id": "demand", "version": "2", "digest": "d1" * 32}}, "course"),
        ({"config": {"surprise": 1}}, "course"),
    ],
)
def test_an_order_that_does_not_fit(changes: dict[str, Any], check: str) -> None:
    """The operator signs another order over the same rounds."""
    found, run = finished()
    files = bundle_of(found, run)
    wrong = order_under(found.agreement, found.roster, **changes)
    files[bundle.ORDER] = json_bytes(jws_sign(wrong.document, "operator", OPERATOR))
    fails(files, found.pins, check)


@pytest.mark.parametrize(
    ("changes", "clause"),
    [
        ({"workload": {"id": "demand", "version": "1", "digest": "d2" * 32}}, "digest"),
        ({"purpose": "price_setting"}, "purpose"),
        ({"columns": ("business_date", "price")}, "column"),
    ],
)
def test_a_run_that_the_agreement_does_not_allow(changes: dict[str, Any], clause: str) -> None:
    """Operator, coordinator and quorum ran it all the same; an auditor says no."""
    found, run = finished(found=coop(changes))
    error = fails(bundle_of(found, run), found.pins, "gate")
    assert clause in error.problem


def test_an_invented_member_needs_a_quorum() -> None:
    found, run = finished()
    files = bundle_of(found, run)
    sybils = tuple(SigningKey(bytes([n]) * 32) for n in range(50, 60))
    third = make_roster(COOP, [party(key) for key in (*MEMBERS, *sybils)], found.roster, issued=NOW)
    parsed = read_roster(third, "roster")
    files["rosters/0003.jws"] = json_bytes(signed_by_all(third, (*MEMBERS[:3], *sybils)))
    wrong = order_under(found.agreement, found.roster, roster=parsed.id, roster_epoch=3)
    files[bundle.ORDER] = json_bytes(jws_sign(wrong.document, "operator", OPERATOR))
    error = fails(files, found.pins, "roster")
    assert "3 members of epoch 2" in error.problem


# ------------------------------------------------------------------- rounds, one part wrong


def tampered(number: int, change: Callable[[Run], bytes]) -> tuple[Coop, Files]:
    """A run whose record ``number`` the coordinator made differently."""
    found, run = finished()
    files = bundle_of(found, run)
    before = found.run()
    for _ in range(number - 1):
        before.play()
    files[bundle.round_file(number)] = change(before)
    return found, files


def with_descriptor(**changes: Any) -> Callable[[Run], bytes]:
    def change(run: Run) -> bytes:
        wrong = dataclasses.replace(run.descriptor(), **changes)
        return record_bytes(run.record(wrong))

    return change


@pytest.mark.parametrize(
    ("number", "change", "word"),
    [
        (1, with_descriptor(model_hash=b"\x01" * 32), "model_hash"),
        (2, with_descriptor(model_hash=b"\x01" * 32), "model_hash"),
        (2, with_descriptor(prev_transcript=b"\x01" * 32), "prev_transcript"),
        (1, with_descriptor(colluders=1, quorum=4), "quorum"),
        (1, with_descriptor(scale=2**12), "scale"),
        (1, with_descriptor(order_hash=b"\x01" * 32), "order_hash"),
        (1, with_descriptor(roster_hash=b"\x01" * 32), "roster_hash"),
        (1, with_descriptor(agreement=b"\x01" * 32), "agreement"),
        (1, with_descriptor(task_hash=b"\x01" * 32), "task_hash"),
        (1, with_descriptor(run=b"\x01" * 16), "run"),
        (1, with_descriptor(stage_timeouts_s=(31,) * 6), "stage_timeouts_s"),
        (1, with_descriptor(max_dropout=30), "max_dropout"),
        (1, with_descriptor(sigma_local=4.0), "sigma_local"),
    ],
)
def test_a_descriptor_that_does_not_follow(
    number: int, change: Callable[[Run], bytes], word: str
) -> None:
    found, files = tampered(number, change)
    error = fails(files, found.pins, "rounds", bundle.round_file(number))
    assert word in error.problem


def certificates() -> dict[str, Callable[[Run], bytes]]:
    def of(**how: Any) -> Callable[[Run], bytes]:
        return lambda run: record_bytes(run.record(run.descriptor(), **how))

    strangers = [SigningKey(bytes([n]) * 32) for n in range(60, 65)]

    def repeated(run: Run) -> bytes:
        record = run.record(run.descriptor())
        first = record.published.certificate[0]
        twice = dataclasses.replace(record.published, certificate=(first,) * 5)
        return record_bytes(dataclasses.replace(record, published=twice))

    def other_sum(run: Run) -> bytes:
        record = run.record(run.descriptor())
        total = record.published.total.copy()
        total[17] += 1
        return record_bytes(
            dataclasses.replace(
                record, published=dataclasses.replace(record.published, total=total)
            )
        )

    def smaller(run: Run) -> bytes:
        run.present = MEMBERS[:4]
        return record_bytes(run.record(run.descriptor(), quorum=MEMBERS[:4]))

    def other_round(run: Run) -> bytes:
        raw = record_bytes(run.record(run.descriptor()))
        run.play()
        later = read_record(record_bytes(run.record(run.descriptor())), "later")
        mixed = dataclasses.replace(
            read_record(raw, "first").published, certificate=later.published.certificate
        )
        return record_bytes(dataclasses.replace(read_record(raw, "first"), published=mixed))

    return {
        "descriptor signed by another key": of(signer=OPERATOR),
        "one signature too few": of(quorum=MEMBERS[:3]),
        "signatures of strangers": of(quorum=sorted(strangers, key=lambda k: k.public)),
        "one signature five times": repeated,
        "too few survivors": smaller,
        "signatures of another round": other_round,
        "a sum that C members confirm": of(auditors=MEMBERS[:2]),
        "a sum that strangers confirm": of(auditors=sorted(strangers, key=lambda k: k.public)),
        "a sum that one member confirms thrice": of(auditors=MEMBERS[:1] * 3),
        "a sum that nobody confirmed": other_sum,
        "a sum that nobody can have made": of(
            total=np.full(finished()[1].descriptor_dim, 2**40, dtype=np.int64)
        ),
        "a sum of another length": of(total=np.zeros(5, dtype=np.int64)),
    }


@pytest.mark.parametrize("name", certificates())
def test_a_certificate_that_does_not_hold(name: str) -> None:
    found, files = tampered(1, certificates()[name])
    fails(files, found.pins, "rounds", "rounds/0001.bin")


@pytest.mark.parametrize("number", [1, 2])
def test_a_training_sum_changed_by_one_shows_in_the_next_round(number: int) -> None:
    def one_more(run: Run) -> bytes:
        descriptor = run.descriptor()
        total = run.total(descriptor, GOOD)
        total[17] += 1
        return record_bytes(run.record(descriptor, total=total))

    found, files = tampered(number, one_more)
    error = fails(files, found.pins, "rounds", bundle.round_file(number + 1))
    assert "model_hash" in error.problem


def test_an_evaluation_sum_changed_shows_in_the_card() -> None:
    better = {**GOOD, "blend": 0.50}
    found, files = tampered(3, lambda run: record_bytes(run.record(run.descriptor(), better)))
    error = fails(files, found.pins, "card", bundle.CARD)
    assert "metrics" in error.problem


def test_survivor_sets_that_change_too_often() -> None:
    found = coop({"rounds": 6})
    run = found.run()
    for turn in range(7):
        run.present = MEMBERS[:5] if turn % 2 else MEMBERS
        run.play()
    error = fails(bundle_of(found, run), found.pins, "survivors")
    assert "2 may be" in error.problem
    calm = coop({"rounds": 6})
    run = calm.run()
    for turn in range(7):
        run.present = MEMBERS[:5] if turn == 3 else MEMBERS
        run.play()
    card = verify_release(bundle_of(calm, run), calm.pins).card
    assert card["cohort"]["survivors_min"] == 5


# ------------------------------------------------------------------ gate, model, card, log


def test_a_blend_that_does_not_beat_the_baseline_is_no_release() -> None:
    for blend in (0.60, 0.70):
        found, run = finished({**GOOD, "blend": blend})
        error = fails(bundle_of(found, run), found.pins, "gate", bundle.CARD)
        assert "c15" in error.problem and f"{blend:.4f}" in error.problem
        documents = Documents(found.agreement, found.roster, found.order, frozenset(IDS))
        with pytest.raises(Refused) as caught:
            raise decision(documents, run.trace.survivors, run.trace.metrics(), NOW).refused()  # type: ignore[union-attr]
        assert caught.value.clauses == ("c15",)


def test_a_release_at_the_wrong_time() -> None:
    found, run = finished()
    for created in (NOW - timedelta(days=5), NOW + timedelta(days=400)):
        fails(bundle_of(found, run, created=created), found.pins, "gate")
    for text in ("yesterday", "2026-13-01T00:00:00Z", 5, None):
        files = bundle_of(found, run, edit=lambda card, t=text: card.update(created=t))
        fails(files, found.pins, "card", bundle.CARD)


def test_a_model_file_that_says_more_or_less() -> None:
    found, run = finished()
    files = bundle_of(found, run)
    raw = files[bundle.MODEL]
    params = run.trace.state.params
    layout = [(block, (params.size,)) for block in ("all",)]
    other_names = bundle.model_file(params, layout, {})
    for wrong in (raw + b"\0", raw[:-4], raw.replace(b"demand 1", b"demand 2"), other_names):
        fails({**files, bundle.MODEL: wrong}, found.pins, "model", bundle.MODEL)


CARD_FIELDS: dict[str, Any] = {
    "kind": "datacoop/figure",
    "v": 2,
    "coop": "aa" * 32,
    "run": "cd" * 16,
    "model": "aa" * 32,
    "file": {"name": "model.safetensors", "sha256": "aa" * 32, "bytes": 1},
    "agreement": "aa" * 32,
    "roster": "aa" * 32,
    "roster_epoch": 1,
    "order": "aa" * 32,
    "workload": {"id": "demand", "version": "1", "digest": "aa" * 32},
    "purpose": "price_setting",
    "cohort": {"members": 600, "survivors_min": 600, "survivors_max": 600},
    "rounds": 200,
    "metrics": {},
    "privacy": {"claim": "epsilon 1", "mechanism": "x", "statement": "x"},
    "use": {"licence": "public", "recipients": "all"},
    "extra": 1,
}


@pytest.mark.parametrize("name", CARD_FIELDS)
def test_every_field_of_the_card_is_derived_again(name: str) -> None:
    """Signed and logged by the coordinator, and still wrong."""
    found, run = finished()
    files = bundle_of(found, run, edit=lambda card: card.update({name: CARD_FIELDS[name]}))
    error = fails(files, found.pins, "card", bundle.CARD)
    assert repr(name) in error.problem
    if name == "extra":
        return
    files = bundle_of(found, run, edit=lambda card: card.pop(name) if name not in LOGGED else None)
    if name not in LOGGED:
        fails(files, found.pins, "card", bundle.CARD)


LOGGED = ("agreement", "model", "order", "run")  # the log entry needs them


def test_a_metric_changed_in_the_last_digit() -> None:
    found, run = finished()

    def nicer(card: dict[str, Any]) -> None:
        card["metrics"]["wape_blend"] -= 1e-6

    fails(bundle_of(found, run, edit=nicer), found.pins, "card", bundle.CARD)


def test_a_card_signed_by_another_key_or_over_another_card() -> None:
    found, run = finished()
    files = bundle_of(found, run)
    card = json.loads(files[bundle.CARD])
    wrong = {
        "the operator's key": jws_sign(card, "coordinator", OPERATOR),
        "the operator": jws_sign(card, "operator", OPERATOR),
        "a member": jws_sign(card, IDS[0], MEMBERS[0]),
        "another card": jws_sign({**card, "rounds": 3}, "coordinator", COORDINATOR),
    }
    for signed in wrong.values():
        changed = {**files, bundle.CARD_SIGNED: json_bytes(signed)}
        fails(changed, found.pins, "card", bundle.CARD_SIGNED)
    spaced = json.dumps(card).encode()
    fails({**files, bundle.CARD: spaced}, found.pins, "card", bundle.CARD)


def test_a_release_that_does_not_stand_in_the_log() -> None:
    found, run = finished()
    files = bundle_of(found, run)
    card = json.loads(files[bundle.CARD])
    log = office_log()
    other = log.append(Kind.RELEASE, {**log_facts(card), "card": "aa" * 32})
    pulled = log.append(Kind.PULL, log_facts(card))
    for seq in (other.seq, pulled.seq):
        checkpoint, proof = log.prove(seq)
        wrong = {**files, bundle.CHECKPOINT: checkpoint, bundle.PROOF: proof_bytes(proof)}
        fails(wrong, found.pins, "log", bundle.PROOF)
    checkpoint, _ = log.prove(0)
    fails({**files, bundle.CHECKPOINT: checkpoint}, found.pins, "log", bundle.PROOF)
    from small_coop import Memory

    for role, key in (("coordinator", OPERATOR), ("node", COORDINATOR)):
        foreign = LogWriter(Memory(), role, key, lambda: NOW)
        entry = foreign.append(Kind.RELEASE, log_facts(card))
        checkpoint, proof = foreign.prove(entry.seq)
        wrong = {**files, bundle.CHECKPOINT: checkpoint, bundle.PROOF: proof_bytes(proof)}
        fails(wrong, found.pins, "log", bundle.CHECKPOINT)


# --------------------------------------------------------------------------- the zip


def test_the_zip_is_deterministic_and_comes_back() -> None:
    _, files = released()
    archive = bundle.pack(files)
    assert archive == bundle.pack(dict(reversed(list(files.items()))))
    assert bundle.unpack(archive, "release") == files


def test_a_model_file_is_safetensors() -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    _, files = released()
    _, run = finished()
    tensors = safetensors.load(files[bundle.MODEL])
    flat = np.concatenate([tensors[name].ravel() for name, _ in layout_of(run)])
    assert np.array_equal(flat, run.trace.state.params)
    read, metadata = bundle.model_parameters(files[bundle.MODEL], "model")
    assert np.array_equal(read, flat) and metadata["model"] == run.trace.model


def layout_of(run: Run) -> Sequence[tuple[str, tuple[int, ...]]]:
    return [(block.name, block.shape) for block in run.course.recipe.layout()]


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_hostile_model_files_never_crash(data: st.DataObject) -> None:
    _, files = released()
    raw = bytearray(files[bundle.MODEL][: data.draw(st.integers(0, 2000))])
    for _ in range(data.draw(st.integers(0, 3))):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with pytest.raises(InputError) as caught:
        bundle.model_parameters(bytes(raw), "model.safetensors")
    assert caught.value.where == "model.safetensors"


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=300))
def test_hostile_records_never_crash(noise: bytes) -> None:
    _, files = released()
    real = files["rounds/0003.bin"]
    for raw in (noise, real[: len(noise)], noise + real[len(noise) :] + b"\0"):
        found = verify_with(raw)
        assert found.code is Code.TAMPERED


def verify_with(raw: bytes) -> InputError:
    pins, files = released()
    with pytest.raises(InputError) as caught:
        verify_release({**files, "rounds/0001.bin": raw}, pins)
    return caught.value


def test_two_releases_of_one_order_share_their_model() -> None:
    """Everybody who follows the same sums gets the same bytes."""
    first, second = finished()[1], finished()[1]
    assert first.trace.model_file() == second.trace.model_file()
    document = jws_payload(json.loads(released()[1][bundle.ORDER]), "order")
    assert read_order(document, "order").id == first.course.order.id


# -------------------------------------------------------------------------------- use terms

USE_EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a later date": lambda use: use.update(expires="2036-01-01T00:00:00Z"),
    "an earlier date": lambda use: use.update(expires="2026-03-02T12:00:00Z"),
    "another licence": lambda use: use.update(licence="anything"),
    "one more purpose": lambda use: use["purposes"].append("credit-scoring"),
    "no purpose": lambda use: use.update(purposes=[]),
    "a friend": lambda use: use["recipients"]["members"].append("fe" * 32),
    "somebody left out": lambda use: use["recipients"]["members"].pop(),
    "another rule": lambda use: use["recipients"].update(rule="friends"),
    "a contributor hidden": lambda use: use["contributors"].pop(0),
    "to be handed on": lambda use: use.update(no_onward=False),
    "as a decision": lambda use: use.pop("decision_support"),
    "somebody else's": lambda use: use.update(foreground="cooperative"),
}


@pytest.mark.parametrize("name", USE_EDITS)
def test_use_terms_that_do_not_follow_from_agreement_and_run(name: str) -> None:
    found, run = finished()
    files = bundle_of(found, run, edit=lambda card: USE_EDITS[name](card["use"]))
    error = fails(files, found.pins, "card", bundle.CARD)
    assert "'use'" in error.problem


@pytest.mark.parametrize(
    ("figures", "days"),
    [
        ({"use_days": 20, "models_days": 90}, 20),
        ({"use_days": 90, "models_days": 20}, 20),
        ({"use_days": 3000, "models_days": 3000}, None),
    ],
)
def test_a_result_expires_with_the_first_of_three_clauses(
    figures: dict[str, int], days: int | None
) -> None:
    found, run = finished(found=coop(**figures))
    use = verify_release(bundle_of(found, run), found.pins).card["use"]
    term = found.agreement.terms.block("c30", Term)
    assert term is not None
    ends = NOW + timedelta(days=days) if days is not None else term.ends
    assert use["expires"] == utc_text(ends)


@pytest.mark.parametrize(
    ("rule", "percent", "expected"),
    [("contributors", 0, 6), ("contributors", 50, 6), ("contributors", 67, 5), ("members", 100, 6)],
)
def test_who_gets_a_result_follows_from_the_sums(rule: str, percent: int, expected: int) -> None:
    """The sixth member is in two of three sums: 66.7 %."""
    found = coop(recipients=rule, min_rounds_percent=percent)
    run = found.run()
    for present in (MEMBERS, MEMBERS[:5], MEMBERS):
        run.present = present
        run.play()
    use = verify_release(bundle_of(found, run), found.pins).card["use"]
    assert use["recipients"] == {"rule": rule, "members": list(IDS[:expected])}
    assert use["contributors"] == list(IDS)


def test_who_only_evaluated_is_no_contributor_and_gets_nothing() -> None:
    found = coop(recipients="contributors", min_rounds_percent=0)
    run = found.run()
    for present in (MEMBERS[:5], MEMBERS[:5], MEMBERS):
        run.present = present
        run.play()
    card = verify_release(bundle_of(found, run), found.pins).card
    assert card["use"]["contributors"] == list(IDS[:5])
    assert card["use"]["recipients"]["members"] == list(IDS[:5])
    assert card["cohort"]["survivors_max"] == 6


@pytest.mark.parametrize(
    "edit",
    [
        lambda card: card.pop("use"),
        lambda card: card["use"].pop("licence"),
        lambda card: card["use"].update(more=1),
        lambda card: card["use"].update(licence=7),
        lambda card: card["use"].update(purposes="all"),
        lambda card: card["use"].update(expires="tomorrow"),
        lambda card: card["use"].update(recipients=[]),
        lambda card: card["use"]["recipients"].update(members=["me"]),
        lambda card: card["use"].update(contributors=[7]),
        lambda card: card["use"].update(contributors=["ab" * 32] * 1001),
        lambda card: card.update(created="2026-03-01"),
    ],
)
def test_use_terms_that_cannot_be_read_are_no_terms(
    edit: Callable[[dict[str, Any]], object],
) -> None:
    _, files = released()
    card = json.loads(files[bundle.CARD])
    assert read_use(card, "card").licence == "members-only"
    edit(card)
    with pytest.raises(InputError):
        read_use(card, "card")


def test_a_round_checks_as_much_of_a_large_sum_as_clause_24_says() -> None:
    """The descriptor carries it; what a member demands of a descriptor is the same figure."""
    found = coop(spot_check_percent=37)
    run = found.run()
    assert run.descriptor().spot_percent == 37
    assert run.course.demands().spot_percent == 37
