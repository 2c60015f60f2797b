"""The office's desk: members sign, suspend, leave, renew keys, lose them, end the agreement."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

import small_coop
from coordinator.members import pki
from coordinator.members.agreements import CURRENT, LATE, ROSTER, Agreements
from coordinator.members.enrolment import Enrolment, Request, open_enrolment
from coordinator.members.life import Life, away, ended
from coordinator.members.matrix import matrix, presence_of
from coordinator.settings import CoordinatorSettings
from coordinator.store.documents import Documents
from coordinator.store.mail import Letter, Mail
from coordinator.store.members import Certificates, Members, Status
from coordinator.store.settings import Settings
from protocols.agreement.base import utc_text
from protocols.agreement.membership import (
    make_notice,
    make_succession,
    make_termination,
    signers_of_termination,
)
from protocols.agreement.parse import ParsedAgreement, read_agreement
from protocols.agreement.roster import Departure, departures, read_roster, replay
from protocols.agreement.status import State
from protocols.agreement.terms import Governance
from protocols.canonical import Json, json_bytes, parse_json
from protocols.errors import Code, CoopError, InputError, Refused, RemoteError
from protocols.ids import MemberId
from protocols.joining import Profile, prove
from protocols.signing import SigningKey, identity_of, jws_merge, jws_payload, jws_sign, signed_by
from small_coop import MEMBERS, NOW

DAY = timedelta(days=1)
NEW = SigningKey(b"\x66" * 32)


def request_for(key: SigningKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity_of(key.public))])
    made = x509.CertificateSigningRequestBuilder().subject_name(name)
    tls = ec.generate_private_key(ec.SECP256R1())
    return made.sign(tls, hashes.SHA256()).public_bytes(Encoding.PEM)


class Office:
    """An office with six enrolled members and a clock that tests move."""

    def __init__(self, home: Path) -> None:
        self.now = NOW
        self.enrolment: Enrolment = open_enrolment(home, CoordinatorSettings(), create=True)
        self.database, self.coop = self.enrolment.database, self.enrolment.office.public.coop
        self.agreements = Agreements(self.database, self.coop, lambda: self.now)
        self.life = Life(self.database, self.enrolment.where, self.coop, lambda: self.now)

    def join(self, key: SigningKey, name: str = "", replaces: MemberId | None = None) -> MemberId:
        name = name or f"Shop {identity_of(key.public)[:4]}"
        token = self.enrolment.invite(name, DAY, self.now, replaces=replaces).token
        csr, profile, seal = request_for(key), Profile(name), small_coop.sealed_to(key)
        proof = prove(key, self.coop, token, csr, profile, seal)
        asked = Request(token, csr, key.public, proof, profile, seal)
        return self.enrolment.enrol(asked, self.now).member

    def agreement(self, **changes: Any) -> ParsedAgreement:
        first = small_coop.agreement(amendment_notice_days=14)
        document = {**first.document, "coop": self.coop, **changes}
        return read_agreement(document, "agreement")

    def sign(self, name: str, *keys: SigningKey) -> None:
        for key in keys:
            self.agreements.take_signature(identity_of(key.public), self.signature(name, key))

    def document(self, name: str) -> Json:
        with self.database.read() as db:
            found = Documents(db).get(name)
        assert found is not None
        return parse_json(found.body, "document")

    def signature(self, name: str, key: SigningKey) -> bytes:
        return json_bytes(jws_sign(self.document(name), identity_of(key.public), key))

    def propose(self, document: Json | None = None) -> dict[str, str]:
        done = [one.partition(" ") for one in self.agreements.propose(document)]
        return {kind: name for kind, _, name in done}

    def letters(self, key: SigningKey) -> tuple[Letter, ...]:
        with self.database.read() as db:
            return Mail(db).after(identity_of(key.public), 0)

    def member(self, key: SigningKey) -> Any:
        with self.database.read() as db:
            return Members(db).get(identity_of(key.public))

    def certificate(self, key: SigningKey) -> str:
        with self.database.read() as db:
            return Certificates(db).of(identity_of(key.public))[0].serial


@pytest.fixture(scope="module")
def joined_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made once and copied: keys and certificates take a while."""
    home = tmp_path_factory.mktemp("joined")
    pki.create_cooperative(
        pki.places(home),
        name="Bakers",
        profile="B",
        hosts=("localhost",),
        join_port=8801,
        link_port=8802,
        now=NOW,
    )
    made = Office(home)
    for key in MEMBERS:
        made.join(key)
    made.database.close()
    return home


@pytest.fixture(scope="module")
def agreed_home(joined_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("agreed") / "home"
    shutil.copytree(joined_home, home)
    made = Office(home)
    proposed = made.propose(made.agreement().document)
    for kind in ("roster", "agreement"):
        made.sign(proposed[kind], *MEMBERS)
    made.database.close()
    return home


@pytest.fixture
def office(joined_home: Path, tmp_path: Path) -> Office:
    """Six members have joined; nothing is proposed."""
    return Office(Path(shutil.copytree(joined_home, tmp_path / "home")))


@pytest.fixture
def agreed(agreed_home: Path, tmp_path: Path) -> Office:
    """Everybody has signed everything."""
    return Office(Path(shutil.copytree(agreed_home, tmp_path / "home")))


def test_a_signature_is_of_one_member_over_one_proposed_document(office: Office) -> None:
    name = office.propose(office.agreement().document)["agreement"]
    mine = identity_of(MEMBERS[0].public)
    document = office.document(name)
    good = jws_sign(document, mine, MEMBERS[0])
    second = jws_sign(document, identity_of(MEMBERS[1].public), MEMBERS[1])
    cases: list[tuple[Json, str]] = [
        (jws_sign(document, mine, NEW), "does not verify"),
        (second, "signs for itself alone"),
        (jws_merge(good, second), "signs for itself alone"),
        ({**good, "signatures": good["signatures"] * 2}, "signs for itself alone"),
        (jws_sign({**document, "title": "Other"}, mine, MEMBERS[0]), "never proposed"),
        ({**good, "payload": good["payload"] + "="}, "does not verify"),
    ]
    for signed, problem in cases:
        with pytest.raises(CoopError, match=problem):
            office.agreements.take_signature(mine, json_bytes(signed))
    stranger = identity_of(NEW.public)
    with pytest.raises(RemoteError, match="signs for itself alone"):
        office.agreements.take_signature(stranger, json_bytes(jws_sign(document, stranger, NEW)))
    assert office.agreements.take_signature(mine, json_bytes(good)) is False
    assert office.agreements.take_signature(mine, json_bytes(good)) is True
    assert office.agreements.standings()[0].signed == (mine,)


def test_a_payload_has_one_way_to_be_written(office: Office) -> None:
    """A second spelling of the same bytes would keep all signatures from being merged."""
    name = office.propose(office.agreement().document)["agreement"]
    key = MEMBERS[0]
    mine = identity_of(key.public)
    good = jws_sign(office.document(name), mine, key)
    protected = good["signatures"][0]["protected"]
    odd = good["payload"] + "="
    raw = Ed25519PrivateKey.from_private_bytes(key.seed).sign(f"{protected}.{odd}".encode())
    signature = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    forged = {"payload": odd, "signatures": [{"protected": protected, "signature": signature}]}
    with pytest.raises(InputError, match=r"base64url|does not verify"):
        office.agreements.take_signature(mine, json_bytes(forged))


def test_a_late_signature_reaches_the_others_without_the_document(office: Office) -> None:
    proposed = office.propose(office.agreement().document)
    office.sign(proposed["roster"], *MEMBERS)
    office.sign(proposed["agreement"], *MEMBERS[:4])
    before = len(office.letters(MEMBERS[0]))
    office.sign(proposed["agreement"], MEMBERS[5])
    (late,) = office.letters(MEMBERS[0])[before:]
    assert late.kind == LATE and len(late.body) < 1000
    content = parse_json(late.body, "letter")
    assert content["document"] == proposed["agreement"] and len(content["signatures"]) == 1
    signed = {"payload": "x", "signatures": content["signatures"]}
    assert signed_by(signed, "letter") == (identity_of(MEMBERS[5].public),)
    assert all(one.kind != LATE for one in office.letters(MEMBERS[5]))


def test_who_stands_in_no_list_signs_none(agreed: Office) -> None:
    """Its signature would be a stranger's to everybody who checks the list: one newcomer could
    make the chain of lists, and each release and pack with it, worthless."""
    with agreed.database.read() as db:
        current = Settings(db).get(CURRENT[ROSTER])
    assert current is not None
    me = agreed.join(NEW)
    with pytest.raises(RemoteError, match="stands in neither"):
        agreed.agreements.take_signature(me, agreed.signature(current, NEW))
    governance = agreed.agreement().terms.block("c05", Governance)
    assert governance is not None
    replay(agreed.agreements.roster_chain(), governance, agreed.coop)
    proposed = agreed.propose()["roster"]
    agreed.sign(proposed, NEW, *MEMBERS[:4])  # a list that names it, it may sign
    assert replay(agreed.agreements.roster_chain(), governance, agreed.coop)[-1].id == proposed


def test_the_same_roster_is_proposed_once(office: Office) -> None:
    first = office.propose(office.agreement().document)
    office.now += timedelta(hours=1)
    assert office.propose() == {}
    office.sign(first["roster"], *MEMBERS)
    assert office.propose() == {}


def test_a_list_whose_place_was_taken_does_not_come_into_force(agreed: Office) -> None:
    agreed.join(NEW)
    second = agreed.propose()["roster"]
    other = SigningKey(b"\x67" * 32)
    agreed.join(other)
    third = agreed.propose()["roster"]  # the same epoch, with one more
    agreed.sign(third, *MEMBERS)
    agreed.sign(second, *MEMBERS)
    assert read_roster(jws_payload(agreed.agreements.in_force()[1], "roster"), "r").id == third


def test_an_amendment_keeps_the_notice_that_was_promised(agreed: Office) -> None:
    first = agreed.agreement()
    later = agreed.agreement(version=2, prev=first.id, title="Version two")
    agreed.now += 20 * DAY
    with pytest.raises(Refused, match="14 days of notice, so it may start on 2026-04-04") as caught:
        agreed.propose(later.document)
    assert caught.value.clauses == ("c05",)


def test_an_amendment_carries_the_number_that_follows(agreed: Office) -> None:
    first = agreed.agreement()
    odd = agreed.agreement(version=7, prev=first.id, title="Version seven")
    with pytest.raises(InputError, match="calls itself version 7, version 2 is next"):
        agreed.propose(odd.document)


def test_the_rule_for_lists_of_members_does_not_become_stricter(agreed: Office) -> None:
    now = agreed.agreement()
    document = json.loads(json_bytes(now.document)) | {"version": 2, "prev": now.id}
    clauses = {one["id"]: one["machine"] for one in document["clauses"] if "machine" in one}
    clauses["c30"]["starts"] = utc_text(agreed.now + 15 * DAY)
    clauses["c05"]["quorum_roster"] = {"numerator": 1, "denominator": 1}
    with pytest.raises(InputError, match="list 1 would need 6 signatures; it went out with 4"):
        agreed.propose(document)
    clauses["c05"]["quorum_roster"] = {"numerator": 1, "denominator": 2}
    agreed.propose(document)


# ------------------------------------------------------------------- suspending and leaving


def notice(office: Office, key: SigningKey, state: Any, by: SigningKey | None = None) -> bytes:
    member = identity_of(key.public)
    until = office.now + 10 * DAY if state == "leaving" else None
    document = make_notice(coop=office.coop, member=member, state=state, at=office.now, until=until)
    signer = by or key
    return json_bytes(jws_sign(document, identity_of(signer.public), signer))


def test_a_suspended_member_is_away_until_it_resumes(agreed: Office) -> None:
    one, mine = MEMBERS[0], identity_of(MEMBERS[0].public)
    body = notice(agreed, one, "suspended")
    assert agreed.life.take_notice(mine, body) is not None
    assert agreed.life.take_notice(mine, body) is None  # known before
    with agreed.database.read() as db:
        assert away(db, small_coop.IDS, agreed.now) == {mine}
        assert away(db, small_coop.IDS[1:], agreed.now) == frozenset()
    assert presence_of(agreed.member(one), agreed.now) == "suspended"
    agreed.now += DAY
    agreed.life.take_notice(mine, notice(agreed, one, "resumed"))
    assert agreed.member(one).suspended_since is None


def test_nobody_suspends_another(agreed: Office) -> None:
    mine = identity_of(MEMBERS[0].public)
    for body in (
        notice(agreed, MEMBERS[1], "suspended"),
        notice(agreed, MEMBERS[1], "suspended", by=MEMBERS[0]),
        notice(agreed, MEMBERS[0], "suspended", by=MEMBERS[1]),
    ):
        with pytest.raises(InputError):
            agreed.life.take_notice(mine, body)
    with agreed.database.read() as db:
        assert away(db, small_coop.IDS, agreed.now) == frozenset()


def test_a_leaver_goes_with_the_roster_that_the_others_sign(agreed: Office) -> None:
    one, mine = MEMBERS[0], identity_of(MEMBERS[0].public)
    agreed.life.take_notice(mine, notice(agreed, one, "leaving"))
    assert agreed.propose() == {}  # its notice is not over
    with agreed.database.read() as db:
        assert away(db, small_coop.IDS, agreed.now) == frozenset()
    agreed.now += 11 * DAY
    with agreed.database.read() as db:
        assert away(db, small_coop.IDS, agreed.now) == {mine}
    without = agreed.propose()["roster"]
    assert agreed.member(one).active  # nobody is removed without a quorum
    agreed.sign(without, one, *MEMBERS[1:5])  # it may sign its own leaving
    assert not agreed.member(one).active
    chain = [read_roster(jws_payload(r, "r"), "r") for r in agreed.agreements.roster_chain()]
    assert departures(chain) == {mine: Departure(mine, 2, agreed.now)}


# --------------------------------------------------------------------------- new and lost keys


def succession(office: Office, old: SigningKey, new: SigningKey, **changes: Any) -> bytes:
    csr = request_for(new)
    fields: dict[str, Any] = {
        "coop": office.coop,
        "old": identity_of(old.public),
        "public_key": new.public,
        "encryption_key": small_coop.sealed_to(new),
        "csr_sha256": hashlib.sha256(csr).hexdigest(),
        "at": office.now,
    }
    document = make_succession(**(fields | changes))
    both = jws_merge(
        jws_sign(document, identity_of(old.public), old),
        jws_sign(document, identity_of(new.public), new),
    )
    return json_bytes({"signed": both, "csr": csr.decode()})


def test_a_renewed_key_takes_over_when_it_is_listed_and_connects(agreed: Office) -> None:
    old, mine = MEMBERS[0], identity_of(MEMBERS[0].public)
    agreed.now += DAY
    body = succession(agreed, old, NEW)
    change = agreed.life.take_succession(mine, body)
    assert change is not None and agreed.life.take_succession(mine, body) is None
    new = MemberId(change.member)
    answer = next(one for one in agreed.letters(old) if one.kind == "succession")
    assert parse_json(answer.body, "letter")["member"] == new
    roster = agreed.propose()["roster"]
    parsed = read_roster(agreed.document(roster), "r")
    assert parsed.members[new].replaces == mine and mine not in parsed.keys
    serial = agreed.certificate(NEW)
    assert agreed.enrolment.check(new, serial, agreed.now).id == new
    assert agreed.member(old).active  # not listed yet: the old identity stays
    agreed.sign(roster, *MEMBERS[1:])
    with agreed.database.write() as db:
        Mail(db).post(mine, kind="order", document="ab" * 32, body=b"{}", now=agreed.now)
    assert agreed.enrolment.check(new, serial, agreed.now).id == new
    assert not agreed.member(old).active
    assert "order" in {one.kind for one in agreed.letters(NEW)}  # its mail came along
    with pytest.raises(RemoteError, match="removed"):
        agreed.enrolment.check(mine, agreed.certificate(old), agreed.now)


def test_a_renewal_needs_both_keys_and_the_right_request(agreed: Office) -> None:
    mine = identity_of(MEMBERS[0].public)
    with pytest.raises(InputError, match="not a party"):
        agreed.life.take_succession(mine, succession(agreed, MEMBERS[1], NEW))
    with pytest.raises(RemoteError, match="for another certificate"):
        agreed.life.take_succession(mine, succession(agreed, MEMBERS[0], NEW, csr_sha256="ab" * 32))
    known = succession(agreed, MEMBERS[0], MEMBERS[1])
    with pytest.raises(RemoteError, match="known here already"):
        agreed.life.take_succession(mine, known)
    assert agreed.propose() == {}


def test_a_second_renewal_takes_the_place_of_the_first(agreed: Office) -> None:
    mine, other = identity_of(MEMBERS[0].public), SigningKey(b"\x67" * 32)
    agreed.life.take_succession(mine, succession(agreed, MEMBERS[0], NEW))
    agreed.life.take_succession(mine, succession(agreed, MEMBERS[0], other))
    assert not agreed.member(NEW).active
    listed = read_roster(agreed.document(agreed.propose()["roster"]), "r").keys
    assert identity_of(other.public) in listed and identity_of(NEW.public) not in listed


def test_a_lost_laptop_comes_back_as_the_same_business(agreed: Office) -> None:
    lost = agreed.member(MEMBERS[0])
    agreed.now += DAY
    serial = agreed.certificate(MEMBERS[0])
    new = agreed.join(NEW, lost.profile.name, replaces=lost.id)
    with pytest.raises(RemoteError, match="revoked"):  # whoever has the laptop is out at once
        agreed.enrolment.check(lost.id, serial, agreed.now)
    roster = agreed.propose()["roster"]
    parsed = read_roster(agreed.document(roster), "r")
    assert parsed.members[new].replaces == lost.id
    assert parsed.members[new].legal_id == lost.profile.name
    agreed.sign(roster, *MEMBERS[1:])
    agreed.enrolment.check(new, agreed.certificate(NEW), agreed.now)
    assert not agreed.member(MEMBERS[0]).active


def test_an_invitation_for_a_lost_laptop_is_for_that_business(agreed: Office) -> None:
    lost = agreed.member(MEMBERS[0])
    token = agreed.enrolment.invite("x", DAY, agreed.now, replaces=lost.id).token

    def ask(key: SigningKey, profile: Profile) -> None:
        csr, seal = request_for(key), small_coop.sealed_to(key)
        proof = prove(key, agreed.coop, token, csr, profile, seal)
        agreed.enrolment.enrol(Request(token, csr, key.public, proof, profile, seal), agreed.now)

    with pytest.raises(InputError, match="not for 'HRB other'"):
        ask(NEW, Profile("Other", "HRB other"))
    with pytest.raises(InputError, match="still has the keys"):
        ask(MEMBERS[0], lost.profile)


def test_a_business_joins_once(agreed: Office) -> None:
    name = agreed.member(MEMBERS[0]).profile.name
    with pytest.raises(Refused, match="is a member already") as caught:
        agreed.join(NEW, name)
    assert "--replaces" in caught.value.fix


# ------------------------------------------------------------------------------ termination


def ending(office: Office, key: SigningKey, agreement: str, reason: str = "We part.") -> bytes:
    document = make_termination(coop=office.coop, agreement=agreement, at=NOW, reason=reason)
    return json_bytes(jws_sign(document, identity_of(key.public), key))


def test_a_quorum_ends_the_agreement(agreed: Office) -> None:
    agreement = agreed.agreement().id
    needed = 4  # two thirds of six
    for number, key in enumerate(MEMBERS[:needed], 1):
        member = identity_of(key.public)
        taken = agreed.life.take_termination(member, ending(agreed, key, agreement))
        assert taken is not None and taken.complete == (number == needed)
        assert agreed.life.take_termination(member, ending(agreed, key, agreement)) is None
        with agreed.database.read() as db:
            assert (ended(db, agreement) is not None) == (number == needed)
    letters = [one for one in agreed.letters(MEMBERS[5]) if one.kind == "termination"]
    assert [len(parse_json(one.body, "x")["signatures"]) for one in letters] == [1, needed]
    found = matrix(agreed.database, agreed.agreements, agreed.now)
    assert {one.state for one in found.sheets if one.kind == "agreement"} == {State.TERMINATED}


def test_the_end_goes_out_with_signatures_of_present_members_alone(agreed: Office) -> None:
    agreement = agreed.agreement().id
    gone = identity_of(MEMBERS[0].public)
    agreed.life.take_termination(gone, ending(agreed, MEMBERS[0], agreement))
    agreed.life.take_notice(gone, notice(agreed, MEMBERS[0], "leaving"))
    agreed.now += 11 * DAY
    agreed.sign(agreed.propose()["roster"], *MEMBERS[:5])
    for key in MEMBERS[1:5]:
        agreed.life.take_termination(identity_of(key.public), ending(agreed, key, agreement))
    letter = [one for one in agreed.letters(MEMBERS[5]) if one.kind == "termination"][-1]
    last = read_roster(jws_payload(agreed.agreements.roster_chain()[-1], "r"), "r")
    # nodes refuse the whole letter for one signature of somebody who is no member any more
    _, signers = signers_of_termination(parse_json(letter.body, "x"), last, agreed.coop, agreement)
    assert len(signers) == 4


def test_no_other_agreement_ends_and_nobody_ends_it_for_others(agreed: Office) -> None:
    agreement, mine = agreed.agreement().id, identity_of(MEMBERS[0].public)
    with pytest.raises(RemoteError, match="not the one in force"):
        agreed.life.take_termination(mine, ending(agreed, MEMBERS[0], "ee" * 32))
    with pytest.raises(RemoteError, match="signs for itself alone"):
        agreed.life.take_termination(mine, ending(agreed, MEMBERS[1], agreement))
    stranger = jws_sign(
        jws_payload(parse_json(ending(agreed, NEW, agreement), "x"), "x"), mine, NEW
    )
    with pytest.raises(InputError) as caught:
        agreed.life.take_termination(mine, json_bytes(stranger))
    assert caught.value.code is Code.TAMPERED


# ------------------------------------------------------------------------------- the matrix


def test_the_matrix_says_who_signed_when_and_what_runs_out(agreed: Office) -> None:
    found = matrix(agreed.database, agreed.agreements, agreed.now)
    (terms,) = [one for one in found.sheets if one.kind == "agreement"]
    assert terms.state is State.IN_FORCE and {c.signed_at for c in terms.cells} == {NOW}
    assert not found.warnings
    late = NOW + timedelta(days=295)
    urgent = [str(one) for one in matrix(agreed.database, agreed.agreements, late).warnings]
    assert any("agreement (version 1) runs out" in one and "in 5 days" in one for one in urgent)
    over = matrix(agreed.database, agreed.agreements, NOW + timedelta(days=800))
    assert any("ran out" in str(one) for one in over.warnings)
    assert {one.status for one in agreed.enrolment.members()} == {Status.ACTIVE}


def test_the_matrix_knows_until_when_a_renewed_key_was_good(agreed: Office) -> None:
    """The list that replaced it counts the signatures of the list before, which has the old key."""
    agreed.now += DAY
    agreed.life.take_succession(identity_of(MEMBERS[0].public), succession(agreed, MEMBERS[0], NEW))
    roster = agreed.propose()["roster"]
    agreed.sign(roster, *MEMBERS[1:])
    found = matrix(agreed.database, agreed.agreements, agreed.now)
    (sheet,) = [one for one in found.sheets if one.kind == "roster" and one.id == roster]
    assert identity_of(MEMBERS[0].public) in {cell.member for cell in sheet.cells}
    assert all(cell.key_until is not None for one in found.sheets for cell in one.cells)
