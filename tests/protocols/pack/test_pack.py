"""An evidence pack: deterministic, checked from its bytes alone, refused when anything is moved."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.release.models import make_release
from memory_place import Memory
from protocols import bundle
from protocols.agreement.incident import make_incident
from protocols.agreement.membership import make_notice, make_termination
from protocols.agreement.revocation import make_revocation
from protocols.audit.checkpoint import Checkpoint, origin_of, parse_checkpoint, sign_checkpoint
from protocols.audit.cosign import cosign, merge
from protocols.audit.entries import Kind
from protocols.audit.verify import proof_bytes
from protocols.canonical import json_bytes, parse_json
from protocols.errors import Code, CoopError, InputError
from protocols.pack import form
from protocols.pack.check import verify_pack
from protocols.pack.form import Contents, make_pack, unpack
from protocols.signing import jws_merge, jws_sign
from small_coop import (
    COOP,
    COORDINATOR,
    IDS,
    MEMBERS,
    NOW,
    OPERATOR,
    finished,
    office_log,
    signed_by_all,
)

SOFTWARE = "1.2.3"
LATER = NOW + timedelta(hours=1)
ORIGIN = origin_of("coordinator", COORDINATOR.public)


@cache
def contents() -> Contents:
    """Everything that an office has after one run with one release."""
    found, run = finished()
    place = Memory()
    log = office_log(place)
    log.append(Kind.ORDER, {"order": found.order.id, "run": found.order.order.run})
    release = make_release(found.source(run.records), COORDINATOR, log, NOW)
    log.append(Kind.STOP)
    note = log.checkpoint()
    head = parse_checkpoint(note, COORDINATOR.public, ORIGIN, "head")
    members = dict(zip(IDS, MEMBERS, strict=True))
    leaving = make_notice(coop=COOP, member=IDS[0], state="suspended", at=NOW)
    taken_back = make_revocation(
        coop=COOP, model=release.model, run=found.order.order.run, reason="a test", issued=LATER
    )
    stolen = make_incident(
        coop=COOP, incident="1f" * 16, state="opened", freeze=True, what="a laptop", at=LATER
    )
    ended = make_termination(coop=COOP, agreement=found.agreement.id, at=LATER, reason="done")
    return Contents(
        coop=COOP,
        side="coordinator",
        made=LATER,
        software=SOFTWARE,
        agreements=[signed_by_all(found.agreement.document)],
        rosters=found.rosters,
        orders=[jws_sign(found.order.document, "operator", OPERATOR)],
        releases={release.model: dict(release.files)},
        log=place.log,
        checkpoint=note,
        heads=[merge(note, [cosign(head, members[one], 1_800_000_000) for one in IDS[:3]], "head")],
        documents=[
            jws_sign(leaving, IDS[0], members[IDS[0]]),
            jws_sign(taken_back.document, "operator", OPERATOR),
            jws_sign(stolen.document, "operator", OPERATOR),
            signed_by_all(ended),
        ],
        guide=b"# how\n",
    )


@cache
def part() -> Contents:
    """The same, for one release: single entries with proofs instead of the log."""
    whole = contents()
    place = Memory()
    place.log, place.files = whole.log or b"", {"checkpoint": whole.checkpoint}
    log = office_log(place)
    note, proof = log.prove(0)
    return replace(
        whole,
        log=None,
        checkpoint=note,
        proofs={0: proof_bytes(proof)},
        scope={"release": next(iter(whole.releases))},
    )


def verify(archive: bytes, **more: Any) -> tuple[str, ...]:
    return verify_pack(archive, "pack", **{"software": SOFTWARE, **more}).lines()


@cache
def part_of_a_log() -> bytes:
    return make_pack(part())


def test_a_pack_says_what_it_proves_and_checks() -> None:
    lines = verify(make_pack(contents()))
    text = "\n".join(lines)
    for said in (
        "agreements: version 1 is ",
        "rosters: 2 epochs",
        "6 of 6 members have signed",
        "orders: 1 orders",
        "checks passed, from the agreement to the last parameter",
        "under 2 signed heads",
        "1 heads, countersigned by 3 members",
        "documents: 4 signed statements",
        "generated: 2 documents",
    ):
        assert said in text, said
    manifest = form.read_manifest(unpack(make_pack(contents()), "pack")[form.MANIFEST])
    assert all(one["what"] for one in manifest["files"])


def test_a_pack_for_a_part_shows_single_entries() -> None:
    lines = "\n".join(verify(make_pack(part())))
    assert "1 entries under the head" in lines
    assert "what else was written is not in this pack" in lines


def test_the_same_contents_are_the_same_bytes() -> None:
    assert make_pack(contents()) == make_pack(contents())


def test_another_version_of_the_software_says_that_it_did_not_derive_the_pages() -> None:
    assert "not derived again" in "\n".join(verify(make_pack(contents()), software="9"))


def test_an_agreement_that_the_caller_knows_must_be_there() -> None:
    (name,) = verify_pack(make_pack(contents()), "pack", software=SOFTWARE).agreements
    verify(make_pack(contents()), known=frozenset({name}))
    with pytest.raises(InputError, match="none of its agreements"):
        verify(make_pack(contents()), known=frozenset({"ab" * 32}))


# -------------------------------------------------------------------------- tampering


def rebuilt(change: Callable[[dict[str, bytes]], object]) -> bytes:
    """A pack whose files were changed and whose manifest was made to fit again."""
    files = dict(unpack(make_pack(contents()), "pack"))
    change(files)
    manifest = {**parse_json(files[form.MANIFEST], ""), "files": form._listed(files)}
    files[form.MANIFEST] = json_bytes(manifest)
    return form._zip(files)


def edit(name: str, change: Callable[[Any], object]) -> Callable[[dict[str, bytes]], None]:
    """Change the JSON document in the (only) file that begins so."""

    def inner(files: dict[str, bytes]) -> None:
        (full,) = [one for one in files if one.startswith(name)]
        document = json.loads(files[full])
        change(document)
        files[full] = json_bytes(document)

    return inner


def move(old: str, new: str) -> Callable[[dict[str, bytes]], None]:
    def inner(files: dict[str, bytes]) -> None:
        (full,) = [one for one in files if one.startswith(old)]
        files[new] = files.pop(full)

    return inner


def cut(name: str, change: Callable[[bytes], bytes]) -> Callable[[dict[str, bytes]], None]:
    def inner(files: dict[str, bytes]) -> None:
        (full,) = [one for one in files if one.startswith(name)]
        files[full] = change(files[full])

    return inner


def forked(files: dict[str, bytes]) -> None:
    size = contents().log.count(b"\n")  # type: ignore[union-attr]
    files["heads/0002.note"] = sign_checkpoint(Checkpoint(ORIGIN, size, b"\x09" * 32), COORDINATOR)


def foreign_order(files: dict[str, bytes]) -> None:
    (name,) = [one for one in files if one.startswith("orders/")]
    document = form.jws_payload(json.loads(files[name]), "")
    files[name] = json_bytes(jws_sign(document, "operator", COORDINATOR))


TAMPERED: Mapping[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "signature dropped below the quorum": (
        edit("agreements/", lambda d: d["signatures"].__delitem__(slice(1, None))),
        "no quorum",
    ),
    "signature damaged": (
        edit("agreements/", lambda d: d["signatures"][0].update(signature="A" * 86)),
        "does not verify",
    ),
    "something beside the signatures": (edit("agreements/", lambda d: d.update(x=1)), "form"),
    "agreement gone": (
        lambda files: [files.pop(one) for one in list(files) if one.startswith("agreements/")],
        "holds no agreement",
    ),
    "agreement under another name": (
        move("agreements/", "agreements/0002-" + "0" * 16 + ".jws"),
        "another version",
    ),
    "first epoch gone": (lambda files: files.pop("rosters/0001.jws"), "gaps"),
    "last epoch gone": (lambda files: files.pop("rosters/0002.jws"), ""),
    "order by another key": (foreign_order, "does not verify"),
    "order under another name": (move("orders/", f"orders/{'0' * 32}.jws"), "another run"),
    "model changed": (
        lambda files: files.update(
            {one: files[one][:-1] + b"?" for one in files if one.endswith("model.safetensors")}
        ),
        "not those that follow",
    ),
    "release under another name": (
        lambda files: [
            files.update({one.replace(one.split("/")[1], "0" * 64): files.pop(one)})
            for one in list(files)
            if one.startswith("releases/")
        ],
        "the files are of model",
    ),
    "card of a release gone": (
        lambda files: [files.pop(one) for one in list(files) if one.endswith("/card.json")],
        "card of the release is missing",
    ),
    "line of the log changed": (
        cut("log/log.jsonl", lambda raw: raw.replace(b'"kind":"stop"', b'"kind":"run"')),
        "",
    ),
    "end of the log cut": (
        cut("log/log.jsonl", lambda raw: raw[: raw[:-1].rindex(b"\n") + 1]),
        "missing at the end",
    ),
    "head by another key": (
        lambda files: files.update(
            {
                form.CHECKPOINT: sign_checkpoint(
                    Checkpoint(origin_of("coordinator", OPERATOR.public), 1, b"\x01" * 32), OPERATOR
                )
            }
        ),
        "neither the agreement nor a roster names",
    ),
    "page made friendlier": (
        cut("generated/agreement-", lambda raw: raw + b"Nothing can go wrong.\n"),
        "not what follows",
    ),
    "statement by somebody else": (
        lambda files: files.update(_by_another()),
        "",
    ),
    "document of an unknown kind": (
        lambda files: files.update(_document({"kind": "x"}, "operator")),
        "no place",
    ),
}


def _document(document: dict[str, Any], kid: str) -> dict[str, bytes]:
    from protocols.canonical import json_id

    return {
        f"documents/{json_id(document)}.jws": json_bytes(jws_sign(document, kid, OPERATOR)),
    }


def _by_another() -> dict[str, bytes]:
    notice = make_notice(coop=COOP, member=IDS[1], state="suspended", at=NOW)
    return _document(notice, IDS[1])


@pytest.mark.parametrize("name", TAMPERED)
def test_a_pack_that_was_changed_is_refused(name: str) -> None:
    change, said = TAMPERED[name]
    with pytest.raises(InputError) as caught:
        verify(rebuilt(change))
    assert caught.value.code is Code.TAMPERED
    assert said in str(caught.value)


def test_a_fork_is_a_finding_that_the_pack_proves() -> None:
    assert not verify_pack(make_pack(contents()), "pack", software=SOFTWARE).fork
    report = verify_pack(rebuilt(forked), "pack", software=SOFTWARE)
    assert "forked" in report.fork
    assert f"heads: {report.fork}" in report.lines()


def test_versions_follow_each_other_and_two_proposals_may_stand_side_by_side() -> None:
    from protocols.agreement.parse import read_agreement
    from protocols.agreement.template import amend

    first = contents().agreements[0]
    parsed = read_agreement(form.jws_payload(first, ""), "")
    two = [amend(parsed, "c14", {"max_runs": one}) for one in (3, 4)]
    proposals = [jws_sign(one.document, IDS[0], MEMBERS[0]) for one in two]
    text = "\n".join(verify(make_pack(replace(contents(), agreements=[first, *proposals]))))
    assert text.count("it is a proposal and nothing was done under it") == 2
    other = {**two[0].document, "prev": "ab" * 32}
    with pytest.raises(InputError, match="does not replace version 1"):
        verify(
            make_pack(replace(contents(), agreements=[first, jws_sign(other, IDS[0], MEMBERS[0])]))
        )


def test_the_unchanged_pack_passes_after_rebuilding() -> None:
    verify(rebuilt(lambda files: None))


@pytest.mark.parametrize("which", ["manifest", "readme", "guide"])
def test_a_file_without_its_hash_is_refused(which: str) -> None:
    files = dict(unpack(make_pack(contents()), "pack"))
    name = {"manifest": form.MANIFEST, "readme": form.README, "guide": form.GUIDE}[which]
    files[name] += b" "
    with pytest.raises(InputError) as caught:
        unpack(form._zip(files), "pack")
    assert caught.value.code is Code.TAMPERED


def hostile_zips() -> dict[str, bytes]:
    good = make_pack(contents())
    out = {"nothing": b"", "text": b"hello", "cut": good[:-30], "tail": good + b"more"}
    for name, entries in {
        "path": ["../../etc/passwd"],
        "absolute": ["/etc/passwd"],
        "unknown": ["evil.exe"],
        "twice": [form.README, form.README],
        "inside a release": [f"releases/{'a' * 64}/../../x"],
    }.items():
        raw = io.BytesIO()
        with zipfile.ZipFile(raw, "w") as archive:
            for one in entries:
                archive.writestr(one, b"x")
        out[name] = raw.getvalue()
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(form.README, b"\0" * 50_000_000)
    out["bomb"] = raw.getvalue()
    return out


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_zips_are_refused() -> None:
    for name, raw in hostile_zips().items():
        with pytest.raises(InputError):
            unpack(raw, name)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9), st.integers(0, 255))
def test_a_changed_byte_is_refused(at: int, value: int) -> None:
    raw = bytearray(part_of_a_log())
    at %= len(raw)
    if raw[at] == value:
        return
    raw[at] = value
    with pytest.raises(CoopError):
        unpack(bytes(raw), "pack")


def test_what_has_no_place_in_a_pack_is_not_packed() -> None:
    with pytest.raises(InputError, match="no place"):
        make_pack(replace(contents(), releases={"ab" * 32: {"customers.csv": b"x"}}))


def test_a_pack_too_large_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "MAX_PACK_BYTES", 10_000)
    with pytest.raises(InputError) as caught:
        make_pack(contents())
    assert "one run" in caught.value.fix


def test_a_release_needs_a_quorum_signed_agreement_and_a_merge_keeps_it() -> None:
    signed = contents().agreements[0]
    parts = [{**signed, "signatures": [one]} for one in signed["signatures"]]
    verify(make_pack(replace(contents(), agreements=[jws_merge(*parts)])))
    assert bundle.CARD in next(iter(contents().releases.values()))


# -------------------------------------------------------------------------- what a pack claims


def older_fork(files: dict[str, bytes]) -> None:
    """A countersigned head of an earlier size that the log in the pack does not have."""
    other = Checkpoint(ORIGIN, 1, b"\x09" * 32)
    lines = [cosign(other, MEMBERS[1], 1_800_000_000)]
    files["heads/0002.note"] = merge(sign_checkpoint(other, COORDINATOR), lines, "head")


def longer_head(files: dict[str, bytes]) -> None:
    """A countersigned head of more entries than the log in the pack has."""
    files["heads/0002.note"] = sign_checkpoint(Checkpoint(ORIGIN, 99, b"\x09" * 32), COORDINATOR)


def other_release_head(files: dict[str, bytes]) -> None:
    """A head of the size at which a release was logged, with another root."""
    (name,) = [one for one in files if one.endswith("/log/checkpoint") and "releases" in one]
    head = parse_checkpoint(files[name], COORDINATOR.public, ORIGIN, name)
    files["heads/0002.note"] = sign_checkpoint(replace(head, root=b"\x09" * 32), COORDINATOR)


@pytest.mark.parametrize("change", [older_fork, longer_head, other_release_head])
def test_every_head_is_compared_with_the_log_and_the_releases(
    change: Callable[[dict[str, bytes]], None],
) -> None:
    report = verify_pack(rebuilt(change), "pack", software=SOFTWARE)
    assert "forked" in report.fork and "heads/0002.note" in report.fork


def evil_proposal() -> Any:
    """One member's proposal in which one member is a quorum and the operator is its own key."""
    from protocols.agreement.parse import read_agreement
    from protocols.agreement.template import amend

    parsed = read_agreement(form.jws_payload(contents().agreements[0], ""), "")
    mine = {"operator_key": MEMBERS[0].public.hex(), "quorum_roster": {"members": 1}}
    return jws_sign(amend(parsed, "c05", mine).document, IDS[0], MEMBERS[0])


def test_a_proposal_gives_nobody_the_right_to_state_anything() -> None:
    forged = make_incident(
        coop=COOP, incident="2f" * 16, state="opened", freeze=True, what="forged", at=LATER
    )
    with pytest.raises(InputError, match="documents/"):
        verify(
            make_pack(
                replace(
                    contents(),
                    agreements=[contents().agreements[0], evil_proposal()],
                    documents=[jws_sign(forged.document, "operator", MEMBERS[0])],
                )
            )
        )


def test_a_proposal_does_not_say_who_signs_the_list_of_members() -> None:
    newest = form.jws_payload(contents().rosters[-1], "")
    from protocols.agreement.roster import read_roster

    before = read_roster(newest, "")
    fewer = {
        **newest,
        "epoch": before.roster.epoch + 1,
        "prev": before.id,
        "members": [
            {**one, "replaces": None} for one in newest["members"] if one["id"] in set(IDS[:2])
        ],
    }
    alone = jws_sign(fewer, IDS[0], MEMBERS[0])
    with pytest.raises(InputError, match="are needed"):
        verify(
            make_pack(
                replace(
                    contents(),
                    agreements=[contents().agreements[0], evil_proposal()],
                    rosters=[*contents().rosters, alone],
                )
            )
        )
