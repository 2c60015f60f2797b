"""Results between a real office and real nodes: sealed, for its recipients, counted, taken back."""

from __future__ import annotations

import dataclasses
import io
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from coordinator.release.publishing import SEALED, ReleaseDesk
from coordinator.release.sealing import recipient_keys, seal_release
from coordinator.store.mail import Mail
from coordinator.store.releases import Releases as OfficeReleases
from coordinator.store.releases import ReleaseState as OfficeState
from coordinator.wiring import utc_now
from node.events import Events
from node.evidence import evidence
from node.federation.channel import link_channel
from node.federation.link import Calls
from node.federation.post import exchange
from node.federation.pulling import check_kept, kept_models, pull_release
from node.federation.using import ask, drop, drop_old, use_model, use_permit
from node.house import Member
from node.policy.people import OS_USER
from node.policy.results import accepted, since_then
from node.sdk import Cooperative
from node.store.documents import AcceptedRoster, AcceptedRosters
from node.store.outbox import Cursors
from node.store.releases import Releases, ReleaseState, Revocations, Uses
from node.wiring import Daemon
from protocols import bundle
from protocols.agreement.facts import Denial
from protocols.agreement.revocation import make_revocation, verify_revocation
from protocols.agreement.roster import Member as RosterMember
from protocols.agreement.roster import ParsedRoster, make_roster, read_roster
from protocols.agreement.second import approver_kid
from protocols.audit.entries import Kind
from protocols.canonical import json_bytes, parse_json
from protocols.errors import Code, InputError, LocalError, Refused, RemoteError
from protocols.ids import MemberId
from protocols.pack.check import verify_pack
from protocols.pack.form import unpack
from protocols.permit import Permit
from protocols.signing import SigningKey, jws_payload, jws_sign
from protocols.useterms import read_use
from protocols.workloads import demand
from released_coop import Released, released_coop
from small_coop import party, signed_by_all

MOST_PULLS, MOST_USES, USE_DAYS = 4, 3, 30
PURPOSE = demand.PURPOSE


@pytest.fixture(scope="module")
def coop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Released]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: None)  # no power is cut here
        figures: dict[str, Any] = {
            "max_pulls_per_day": MOST_PULLS,
            "max_uses_per_day": MOST_USES,
            "use_days": USE_DAYS,
            "models_days": 365,
            "min_rounds_percent": 60,
            "recipients": "contributors",
            "past_models": "retire",
        }
        with released_coop(tmp_path_factory.mktemp("coop") / "c", **figures) as made:
            yield made


@pytest.fixture(autouse=True)
def fresh(coop: Released) -> Iterator[None]:
    """Each test begins a day of its own, and without the models of the one before."""
    yield
    with coop.house.database.write() as db:
        for table in ("pulls", "mail"):
            db.exec_driver_sql(f"DELETE FROM {table}")
    for folder in coop.folders:
        with closing(sqlite3.connect(folder / "node.db")) as db:
            for table in ("releases", "result_uses"):
                db.execute(f"DELETE FROM {table}")
            db.commit()


RUNS = iter(f"{number:02x}" for number in range(1, 256))


def pulled(coop: Released, number: int, **changes: Any) -> str:
    model = coop.make(next(RUNS), **changes).model
    with coop.member(number) as member:
        assert pull_release(member, model)[0] == model
    return model


def refused(member: Member, *clauses: str, purpose: str = "") -> Refused:
    with pytest.raises(Refused) as caught:
        use_model(member, demand.ID, purpose)
    assert set(clauses) <= set(caught.value.clauses), caught.value
    return caught.value


# ---------------------------------------------------------------------- who gets it


def test_who_was_in_too_few_sums_may_fetch_and_cannot_open(coop: Released) -> None:
    everybody, most = range(6), range(5)
    made = coop.make(next(RUNS), present=[everybody, most, most, most])  # one of four is 25 %
    use = made.card["use"]
    assert use["recipients"] == {
        "rule": "contributors",
        "members": [coop.id(number) for number in most],
    }
    assert use["contributors"] == [coop.id(number) for number in everybody]
    with coop.member(5) as rider:
        with pytest.raises(Refused, match=r"c18 benefit.*sealed for 5 recipients") as caught:
            pull_release(rider, made.model)
        assert caught.value.clauses == ("c18",)
        assert not (rider.home.models / made.model).exists()
        with link_channel(rider.home.folder) as channel:
            raw = Calls(channel).fetch("release", "", made.model)
        plain = bundle.pack(dict(made.files))
        assert made.files[bundle.MODEL][-4000:] not in raw and plain[:200] not in raw
    with coop.member(4) as entitled:
        model, lines = pull_release(entitled, made.model)
        assert any(f"{PURPOSE} until" in line and "for 5 members" in line for line in lines)
        assert any("not derived in the run by this checker" in line for line in lines)
        assert check_kept(entitled, model) == lines


def test_the_office_serves_nothing_but_the_sealed_file(
    coop: Released, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = coop.make(next(RUNS)), coop.make(next(RUNS))
    sealed = (coop.house.releases / first.model / SEALED).read_bytes()
    with coop.member(0) as member:
        lies = {
            "an older file under another name": (second.model, sealed, "asked for was"),
            "the plain bundle": (second.model, second.archive(), "not a sealed release"),
            "half of it": (first.model, sealed[: len(sealed) // 2], "sealed release"),
        }
        for asked, raw, said in lies.values():
            monkeypatch.setattr(ReleaseDesk, "fetched", lambda *_, raw=raw: raw)
            with pytest.raises(InputError, match=said) as caught:
                pull_release(member, asked)
            assert caught.value.code is Code.TAMPERED
            assert not (member.home.models / asked).exists()
        monkeypatch.undo()
        pull_release(member, second.model)


def test_pulls_of_a_day_are_counted_for_each_member(coop: Released) -> None:
    made = coop.make(next(RUNS))
    with coop.member(1) as member, link_channel(member.home.folder) as channel:
        calls = Calls(channel)
        for _ in range(MOST_PULLS):
            calls.fetch("release", "", made.model)
        with pytest.raises(RemoteError, match=rf"{MOST_PULLS} times") as caught:
            calls.fetch("release", "", made.model)
        assert (caught.value.code, caught.value.where) == (Code.REFUSED, "c21")
        assert "tomorrow" in caught.value.fix
        with pytest.raises(RemoteError, match="no release"):
            calls.fetch("release", "", "ab" * 32)  # nothing is counted for what is not there
    with coop.member(2) as other:
        pull_release(other, made.model)


# ------------------------------------------------------------------- for what, until when


def test_another_purpose_is_refused(coop: Released) -> None:
    pulled(coop, 0)
    with coop.member(0) as member:
        error = refused(member, "c20", purpose="credit-scoring")
        assert "credit-scoring" in error.problem and PURPOSE in error.problem
        found = use_model(member, demand.ID, PURPOSE)
        assert found is not None and found.permit.purpose == PURPOSE


def test_a_result_that_has_expired_is_refused(coop: Released) -> None:
    old = utc_now() - timedelta(days=USE_DAYS + 5)
    made = coop.make(next(RUNS), created=old)
    ends = f"{old + timedelta(days=USE_DAYS):%Y-%m-%d}"
    with coop.member(0) as member:
        with pytest.raises(Refused, match=ends) as caught:
            pull_release(member, made.model)
        assert "c20" in caught.value.clauses
        assert kept_models(member)[0]["stands"] == "refused"


def test_uses_of_a_day_are_counted(coop: Released) -> None:
    model = pulled(coop, 0)
    with coop.member(0) as member:
        for _ in range(MOST_USES):
            assert use_model(member, demand.ID) is not None
        error = refused(member, "c21")
        assert f"used {MOST_USES} times today" in error.problem
        assert f"{MOST_USES} times a day" in error.problem
        with member.database.read() as db:  # a refused use is none
            assert Uses(db).on(model, utc_now()) == MOST_USES
        assert kept_models(member)[0]["uses_today"] == MOST_USES
    assert pulled(coop, 0) != model  # the next model has its own count
    with coop.member(0) as member:
        assert use_model(member, demand.ID) is not None


def test_a_model_of_somebody_who_left_is_retired(coop: Released) -> None:
    model = pulled(coop, 3)
    with coop.member(3) as member:
        assert isinstance(ask(member, model), Permit)
        (first,) = _accepted(member)
        stay = [one for one in first.roster.members if one.id != coop.id(0)]
        gone = make_roster(first.roster.coop, stay, first, issued=utc_now())
        signed = json_bytes(signed_by_all(gone, [_identity(coop, one) for one in range(1, 6)]))
        name = read_roster(gone, "roster").id
        with member.database.write() as db:
            AcceptedRosters(db).add(AcceptedRoster(2, name, signed, utc_now()))
        try:
            error = refused(member, "c29")
            assert "1 members that helped to make this result have left" in error.problem
        finally:
            with member.database.write() as db:
                db.exec_driver_sql("DELETE FROM accepted_rosters WHERE epoch = 2")


def test_who_renewed_a_key_is_entitled_as_before_and_has_not_left(coop: Released) -> None:
    made = coop.make(next(RUNS))
    stated = read_use(made.card, "card")
    with coop.member(0) as member:
        (first,) = _accepted(member)
    old, *others = first.roster.members
    new = party(SigningKey(b"\x42" * 32)).model_copy(
        update={"replaces": old.id, "legal_id": old.legal_id, "name": old.name}
    )
    later = utc_now().replace(microsecond=0)

    def second(*members: RosterMember) -> ParsedRoster:
        document = make_roster(first.roster.coop, members, first, issued=later)
        return read_roster(document, "roster")

    renewed, gone = second(*others, new), second(*others)
    assert since_then(stated, (first,)) == stated
    known = since_then(stated, (first, renewed))
    assert known.left == frozenset() and known.recipients == stated.recipients | {new.id}
    known = since_then(stated, (first, gone))
    assert (known.left, known.left_at) == (frozenset({old.id}), later)
    stranger = dataclasses.replace(stated, contributors=stated.contributors | {"ab" * 32})
    assert since_then(stranger, (first,)).left == {"ab" * 32}

    keys = recipient_keys(made.card, (first, renewed))
    assert new.id in keys and old.id not in keys and len(keys) == 6
    assert keys[MemberId(new.id)] == bytes.fromhex(new.encryption_key)
    assert old.id in recipient_keys(made.card, (first, gone))
    with pytest.raises(LocalError, match="stands in no roster"):
        recipient_keys(made.card, (gone,))


def test_a_file_that_was_sealed_to_an_older_key_is_sealed_again(coop: Released) -> None:
    made = coop.make(next(RUNS))
    place = coop.house.releases / made.model / SEALED
    keys = recipient_keys(made.card, _office_chain(coop))
    stale = {one: key for one, key in keys.items() if one != coop.id(0)}
    place.write_bytes(seal_release(made.card, made.archive(), stale, coop.house.key))
    with coop.member(1) as member:
        pull_release(member, made.model)
    with coop.member(0) as member:
        pull_release(member, made.model)


def test_what_is_kept_too_long_is_deleted(coop: Released) -> None:
    model = pulled(coop, 0)
    with coop.member(0) as member:
        assert drop_old(member) == ()
        with member.database.write() as db:
            stored = Releases(db).get(model)
            assert stored is not None
            db.exec_driver_sql(
                "UPDATE releases SET received_at = ?",
                ((utc_now() - timedelta(days=366)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),),
            )
        assert drop_old(member) == (model,)
        assert not (member.home.models / model).exists()
        assert use_model(member, demand.ID) is None
        with pytest.raises(InputError, match="not kept here"):
            drop(member, model)


# ---------------------------------------------------------------------- taken back


def test_a_revocation_reaches_a_node_at_its_next_contact(coop: Released) -> None:
    older = pulled(coop, 0)
    newer = pulled(coop, 0)
    with coop.member(0) as member:
        found = use_model(member, demand.ID)
        assert found is not None and found.model == newer
    _revoke(coop, newer, "Two shops had sent test data.")
    with coop.member(0) as member:  # away: it cannot know yet
        assert isinstance(use_permit(member, newer), Permit)
        exchange(member)
        answer = use_permit(member, newer)
        assert isinstance(answer, Denial) and answer.clauses == ("c20",)
        assert "Two shops had sent test data." in str(answer)
        found = use_model(member, demand.ID)  # the one before is used again
        assert found is not None and found.model == older
        stands = {one["model"]: one["stands"] for one in kept_models(member)}
        assert stands == {older: "in use", newer: "revoked"}
        entries = member.home.log.entries(Kind.REVOCATION)
        assert entries[-1].facts["model"] == newer
    _revoke(coop, older, "It too.")
    with coop.member(0) as member:
        exchange(member)
        assert "It too" in refused(member, "c20").problem or "test data" in str(answer)
        with pytest.raises(Refused) as caught:
            Cooperative.local(coop.folders[0]).forecast(purpose=PURPOSE)
        assert "c20" in caught.value.clauses and "--own" in caught.value.fix


def test_the_running_node_hears_of_a_revocation(coop: Released) -> None:
    """Away: with its first contact, before it says that it is connected. Connected: at once."""
    first, second = pulled(coop, 5), pulled(coop, 5)
    _revoke(coop, first, "While it was away.")
    with coop.member(5) as member:
        out = io.StringIO()
        daemon = Daemon(member, Events(out, False, utc_now))
        thread = threading.Thread(target=daemon.run)
        thread.start()
        try:
            _until(lambda: '"connected"' in out.getvalue())
            assert member.results.revoked(first) == "While it was away."
            assert member.results.revoked(second) == ""
            _revoke(coop, second, "While it was there.")
            _until(lambda: member.results.revoked(second) != "")
        finally:
            daemon.stop()
            thread.join()
        error = refused(member, "c20")
        assert "While it was there." in error.problem


def test_a_revoked_model_cannot_be_pulled(coop: Released) -> None:
    made = coop.make(next(RUNS))
    with coop.member(1) as member:
        exchange(member)
        _revoke(coop, made.model, "A mistake.")
        with pytest.raises(RemoteError, match="there is no release"):
            pull_release(member, made.model)
    assert not (coop.house.releases / made.model / SEALED).exists()


def test_a_revocation_that_waits_outlives_an_amendment(coop: Released) -> None:
    """The second person is asked for; before it signs, the operator's key is renewed."""
    model = coop.make(next(RUNS)).model
    second, renewed = SigningKey(b"\x31" * 32), SigningKey(b"\x32" * 32)
    two = {"two_person": ("revoke",), "approver_keys": (second.public.hex(),)}
    before = coop.governance().model_copy(update=two)
    after = before.model_copy(update={"operator_key": renewed.public.hex()})
    approver = approver_kid(second.public.hex())
    with coop.desk() as desk:
        keys = {"operator": coop.house.operator_key()}
        assert desk.revoke(model, "Test data.", keys, before) == ("an approver",)
        assert desk.revoke(model, "x", {approver: second}, after) == ("the operator",)
        assert desk.revoke(model, "x", {"operator": renewed}, after) == ()
        listed = parse_json(desk.revocations(0), "list")["revocations"]
    name = coop.house.office.public.coop
    found = verify_revocation(listed[-1]["signed"], after, coop=name, where="x")
    assert (found.revocation.model, found.revocation.reason) == (model, "Test data.")


def test_a_node_that_missed_the_letter_gets_the_list(coop: Released) -> None:
    """It joined later, was restored from a backup, or its letters wait behind an order."""
    model = pulled(coop, 4)
    _revoke(coop, model, "A mistake.")
    with coop.member(4) as member:
        with coop.house.database.read() as db:
            last = Mail(db).cursor(coop.id(4)).last
        with member.database.write() as db:
            Cursors(db).put("mail", last)  # the letter counts as read and was not kept
        assert member.results.revoked(model) == ""
        exchange(member)
        assert member.results.revoked(model) == "A mistake."
        with member.database.write() as db:
            db.exec_driver_sql("DELETE FROM revocations")  # a backup from before it
            Cursors(db).put("revocations", 10**6)  # and an office that counts anew
        exchange(member)
        exchange(member)
        assert member.results.revoked(model) == "A mistake."


def test_one_that_does_not_verify_holds_up_no_other(
    coop: Released, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = pulled(coop, 0)
    _revoke(coop, model, "A mistake.")
    genuine = ReleaseDesk.revocations

    def with_a_forged_one(self: ReleaseDesk, after: int) -> bytes:
        document = parse_json(genuine(self, 0), "x")
        signed = document["revocations"][0]["signed"]
        bad = {**signed, "signatures": [{**signed["signatures"][0], "signature": "AAAA"}]}
        listed = [{"seq": 1, "signed": bad}]
        listed += [{**one, "seq": one["seq"] + 1} for one in document["revocations"]]
        return json_bytes(
            {
                "newest": document["newest"] + 1,
                "revocations": [one for one in listed if one["seq"] > after],
            }
        )

    with coop.member(0) as member:
        with member.database.write() as db:
            for table in ("revocations", "cursors"):
                db.exec_driver_sql(f"DELETE FROM {table}")
        with coop.house.database.write() as db:
            db.exec_driver_sql("DELETE FROM mail")
        monkeypatch.setattr(ReleaseDesk, "revocations", with_a_forged_one)
        exchange(member)
        assert member.results.revoked(model) == "A mistake."
        with member.database.read() as db:
            assert Cursors(db).get("revocations") == 0  # the bad one is asked for again
        for document in (b"{}", b'{"newest":1,"revocations":[1]}', b'{"newest":"1"}', b"x"):
            monkeypatch.setattr(ReleaseDesk, "revocations", lambda *_, raw=document: raw)
            with pytest.raises((RemoteError, InputError)):
                exchange(member)


def test_a_revocation_of_somebody_else_takes_nothing_back(coop: Released) -> None:
    model = pulled(coop, 2)
    with coop.member(2) as member:
        card = jws_payload(parse_json(_stored(member, model).card, "card"), "card")
        fields = {"model": model, "run": card["run"], "reason": "x", "issued": utc_now()}
        ours = make_revocation(coop=card["coop"], **fields).document
        foreign = make_revocation(coop="ab" * 32, **fields).document
        operator, server = coop.house.operator_key(), coop.house.key
        forged = {
            "the server's key": jws_sign(ours, "operator", server),
            "the server's name": jws_sign(ours, "coordinator", server),
            "a member": jws_sign(ours, coop.id(2), _identity(coop, 2)),
            "another cooperative": jws_sign(foreign, "operator", operator),
            "another document": jws_sign({**ours, "note": "x"}, "operator", operator),
            "no signature": jws_sign(ours, "operator", operator) | {"signatures": []},
        }
        for name, signed in forged.items():
            with pytest.raises((InputError, Refused)):
                member.results.take_back(json_bytes(signed))
            assert member.results.revoked(model) == "", name
        genuine = json_bytes(jws_sign(ours, "operator", operator))
        assert member.results.take_back(genuine) == model
        assert member.results.take_back(genuine) == ""
        with member.database.read() as db:
            kept = Revocations(db).get(model)
        assert kept is not None and kept.jws == genuine


def test_a_withdrawn_release_is_offered_no_more_and_may_still_be_used(coop: Released) -> None:
    model = pulled(coop, 0)
    with coop.desk() as desk:
        desk.withdraw(model)
        with pytest.raises(LocalError, match="is withdrawn; it cannot become withdrawn"):
            desk.withdraw(model)
    with coop.member(1) as other, pytest.raises(RemoteError, match="there is no release"):
        pull_release(other, model)
    with coop.member(0) as member:
        assert use_model(member, demand.ID) is not None
    with coop.house.database.read() as db:
        assert [one.state for one in OfficeReleases(db).list(OfficeState.WITHDRAWN)]


def test_only_a_card_that_the_coordinator_signed_is_an_offer(coop: Released) -> None:
    """What lies in a mailbox is not believed: it would stand in lists, and the evidence of this
    node would fail its own check."""
    made = coop.make(next(RUNS))
    with coop.member(3) as member:
        exchange(member)
        card = jws_payload(parse_json(_offered(member)[made.model].card, "card"), "card")
    other, server = {**card, "model": "ab" * 32}, coop.house.key
    elsewhere = {**other, "model": "cd" * 32, "agreement": "ef" * 32}
    letters: tuple[dict[str, Any], ...] = (
        jws_sign(other, "coordinator", coop.house.operator_key()),
        jws_sign(other, "operator", coop.house.operator_key()),
        jws_sign(other, "coordinator", server) | {"x": 1},
        jws_sign(elsewhere, "coordinator", server),
        jws_sign({**elsewhere, "agreement": None}, "coordinator", server),
    )
    now = coop.house.clock()
    with coop.house.database.write() as db:
        for number, signed in enumerate(letters):
            body = json_bytes(signed)
            Mail(db).post(coop.id(3), kind="release", document=f"h{number}", body=body, now=now)
    with coop.member(3) as member:
        exchange(member)
        # one under a version that this member has not signed is shown, and cannot be pulled
        assert set(_offered(member)) == {made.model, elsewhere["model"]}
        kept_models(member)
        files = unpack(evidence(member), "pack")
        verify_pack(evidence(member), "pack", software="0")
    assert [one for one in files if one.startswith("cards/")] == [f"cards/{made.model}.jws"]


# ------------------------------------------------------------------------------ sdk


def test_the_sdk_gives_a_forecast_with_its_provenance(coop: Released) -> None:
    model = pulled(coop, 0)
    mine = Cooperative.local(coop.folders[0])
    (listed,) = mine.models()
    assert (listed.model, listed.stands, listed.uses_today) == (model, "in use", 0)
    found = mine.forecast(purpose=PURPOSE)
    assert found.method == "blend" and found.provenance is not None
    frame = found.to_pandas()
    assert set(frame["category_code"]) == {"bread", "milk"} and len(frame) == 4
    assert list(frame.columns)[:3] == ["category_code", "week_start", "horizon"]
    assert (frame["p10"] <= frame["p90"]).all()
    about = found.provenance
    assert (about.model, about.purpose, about.purposes) == (model, PURPOSE, (PURPOSE,))
    assert (about.licence, about.contributors, about.recipients) == ("members-only", 6, 6)
    assert 0 <= about.log_entry < about.log_size
    assert utc_now() < about.expires <= utc_now() + timedelta(days=USE_DAYS)
    assert mine.models()[0].uses_today == 1
    assert about.agreement == str(coop.house.agreement().id)  # type: ignore[union-attr]


def test_the_sdk_refuses_what_the_gate_refuses(coop: Released) -> None:
    pulled(coop, 0)
    mine = Cooperative.local(coop.folders[0])
    with pytest.raises(Refused) as caught:
        mine.forecast(purpose="advertising")
    assert "c20" in caught.value.clauses
    with pytest.raises(Refused) as caught:
        mine.forecast(purpose="")
    assert caught.value.clauses == ("c07",)
    with pytest.raises(Refused, match="0 figures") as caught:
        mine.benchmark("weekly units", category="bread")
    assert caught.value.clauses == ("c15",)
    own = mine.forecast(purpose=PURPOSE, own_only=True)
    assert own.method == "own" and own.provenance is None
    with pytest.raises(InputError, match="no shared model about customers"):
        mine.customers_at_risk(purpose=PURPOSE)


def test_the_sdk_asks_who_acts(coop: Released, tmp_path: Path) -> None:
    with coop.member(5) as member:
        desk = member.home.people(member.database)
        desk.add("Olga", "owner", "a long passphrase", OS_USER)
        desk.add("Vera", "viewer", "another passphrase", OS_USER)
    folder = coop.folders[5]
    with pytest.raises(InputError, match="say who you are"):
        Cooperative.local(folder)
    with pytest.raises((InputError, Refused)):
        Cooperative.local(folder, acts_as="Olga", passphrase="wrong")
    with pytest.raises(Refused, match="viewer may not"):
        Cooperative.local(folder, acts_as="Vera", passphrase="another passphrase")
    assert Cooperative.local(folder, acts_as="Olga", passphrase="a long passphrase")
    with pytest.raises(LocalError):
        Cooperative.local(tmp_path / "nobody")


# --------------------------------------------------------------------------- helpers


def _until(seen: Callable[[], bool]) -> None:
    """Wait for another thread; the patience is for a busy machine."""
    deadline = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < deadline, "not seen"
        time.sleep(0.02)


def _revoke(coop: Released, model: str, reason: str) -> None:
    keys = {"operator": coop.house.operator_key()}
    with coop.desk() as desk:
        assert desk.revoke(model, reason, keys, coop.governance()) == ()


def _accepted(member: Member) -> tuple[ParsedRoster, ...]:
    with member.database.read() as db:
        return accepted(db)


def _office_chain(coop: Released) -> tuple[ParsedRoster, ...]:
    chain = coop.house.agreements.roster_chain()
    return tuple(read_roster(jws_payload(one, "roster"), "roster") for one in chain)


def _identity(coop: Released, number: int) -> SigningKey:
    with coop.member(number) as member:
        return member.home.keys.identity


def _offered(member: Member) -> dict[str, Any]:
    with member.database.read() as db:
        return {one.model: one for one in Releases(db).list()}


def _stored(member: Member, model: str) -> Any:
    with member.database.read() as db:
        found = Releases(db).get(model)
    assert found is not None and found.state is ReleaseState.USED
    return found
