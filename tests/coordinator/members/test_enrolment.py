"""Invite, enrol, renew, remove: one transaction each, every refusal with its sentence."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from coordinator.members import pki
from coordinator.members.enrolment import Enrolment, Request, open_enrolment
from coordinator.settings import CoordinatorSettings
from coordinator.store.members import Invites, Members, Status
from protocols.errors import Code, InputError, LocalError, Refused, RemoteError
from protocols.joining import Profile, parse_link, prove, token_hash
from protocols.signing import SigningKey, identity_of
from small_coop import sealed_to

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def desk(tmp_path: Path) -> Enrolment:
    pki.create_cooperative(
        pki.places(tmp_path),
        name="Bakers",
        profile="cautious",
        hosts=("localhost",),
        join_port=8801,
        link_port=8802,
        now=NOW,
    )
    return open_enrolment(tmp_path, CoordinatorSettings(), create=True)


class Node:
    """What a node holds, and the request it makes of it."""

    def __init__(self) -> None:
        self.identity = SigningKey(os.urandom(32))
        self.tls = ec.generate_private_key(ec.SECP256R1())
        self.member = identity_of(self.identity.public)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.member)])
        made = x509.CertificateSigningRequestBuilder().subject_name(subject)
        self.csr = made.sign(self.tls, hashes.SHA256()).public_bytes(Encoding.PEM)
        self.profile = Profile("Corner shop", f"HRB {self.member[:8]}", "grocery", "north")

    def request(self, desk: Enrolment, token: str) -> Request:
        coop = desk.office.public.coop
        key = sealed_to(self.identity)
        proof = prove(self.identity, coop, token, self.csr, self.profile, key)
        return Request(token, self.csr, self.identity.public, proof, self.profile, key)


def serial_of(pem: bytes) -> str:
    return f"{x509.load_pem_x509_certificate(pem).serial_number:x}"


def test_an_invitation_is_a_link_and_only_its_hash_is_kept(desk: Enrolment) -> None:
    invitation = desk.invite("for Anna", DAY, NOW)
    assert parse_link(invitation.link) == invitation
    assert invitation.link.startswith(f"localhost:8801#{desk.office.fingerprint}:")
    (kept,) = desk.invites()
    assert kept.token_hash == token_hash(invitation.token)
    assert (kept.name, kept.expires_at) == ("for Anna", NOW + DAY)
    stored = b"".join(file.read_bytes() for file in desk.where.home.glob("coordinator.db*"))
    assert kept.token_hash.encode() in stored
    assert invitation.token.encode() not in stored
    other = desk.invite("for Bert", DAY, NOW, address="10.0.0.1:99")
    assert other.link.startswith("10.0.0.1:99#") and other.token != invitation.token


@pytest.mark.parametrize("ttl", [timedelta(0), -DAY, 31 * DAY])
def test_an_invitation_has_an_end(desk: Enrolment, ttl: timedelta) -> None:
    with pytest.raises(InputError, match="30 days"):
        desk.invite("x", ttl, NOW)
    assert desk.invites() == ()


def test_enrolling_makes_a_member_with_a_certificate(desk: Enrolment) -> None:
    node = Node()
    token = desk.invite("Anna", DAY, NOW).token
    enrolled = desk.enrol(node.request(desk, token), NOW)
    assert (enrolled.member, enrolled.repeated) == (node.member, False)
    (member,) = desk.members(Status.ACTIVE)
    assert (member.id, member.profile) == (node.member, node.profile)
    assert member.public_key == node.identity.public
    assert desk.check(node.member, serial_of(enrolled.cert_pem), NOW) == member
    assert desk.find("Corner shop") == desk.find(node.member[:8]) == member


def test_the_same_request_again_gets_the_same_certificate(desk: Enrolment) -> None:
    node = Node()
    request = node.request(desk, desk.invite("Anna", DAY, NOW).token)
    first = desk.enrol(request, NOW)
    again = desk.enrol(request, NOW + 2 * DAY)  # even after the invitation's end
    assert again == replace(first, repeated=True)
    assert len(desk.members()) == 1


def test_a_used_token_is_refused_to_everybody_else(desk: Enrolment) -> None:
    node, other = Node(), Node()
    token = desk.invite("Anna", DAY, NOW).token
    desk.enrol(node.request(desk, token), NOW)
    changed = Node()
    changed.identity, changed.member = node.identity, node.member
    changed.csr, changed.profile = node.csr, Profile("Another name")
    for stranger in (other, changed):
        with pytest.raises(Refused, match="used already") as caught:
            desk.enrol(stranger.request(desk, token), NOW)
        assert caught.value.kind.exit_code == 3 and "new invitation" in caught.value.fix
    assert [one.id for one in desk.members()] == [node.member]


def test_an_expired_token_is_refused_with_its_date(desk: Enrolment) -> None:
    token = desk.invite("Anna", DAY, NOW).token
    with pytest.raises(Refused, match="expired on 2026-03-02 at 12:00 UTC"):
        desk.enrol(Node().request(desk, token), NOW + DAY + timedelta(seconds=1))
    assert desk.members() == ()
    desk.enrol(Node().request(desk, token), NOW + DAY)


def test_an_unknown_token_is_refused(desk: Enrolment) -> None:
    with pytest.raises(RemoteError, match="never gave out") as caught:
        desk.enrol(Node().request(desk, "a" * 39), NOW)
    assert caught.value.code is Code.UNAUTHENTICATED


def test_a_stolen_request_cannot_be_changed(desk: Enrolment) -> None:
    node, thief = Node(), Node()
    request = node.request(desk, desk.invite("Anna", DAY, NOW).token)
    for forged in (
        replace(request, csr_pem=thief.csr),
        replace(request, profile=Profile("Thief")),
        replace(request, identity_key=thief.identity.public),
        replace(request, proof=bytes(64)),
        replace(request, encryption_key=thief.request(desk, request.token).encryption_key),
    ):
        with pytest.raises(RemoteError) as caught:
            desk.enrol(forged, NOW)
        assert caught.value.code is Code.TAMPERED
    foreign = thief.request(desk, request.token)
    with pytest.raises(InputError, match="nobody else"):  # proof of the thief, name of the node
        coop, key = desk.office.public.coop, foreign.encryption_key
        mixed = prove(thief.identity, coop, request.token, node.csr, thief.profile, key)
        desk.enrol(replace(foreign, csr_pem=node.csr, proof=mixed), NOW)
    assert desk.members() == ()
    desk.enrol(request, NOW)  # and the token is not spent by any of it


def test_a_failure_after_the_token_leaves_it_unspent(
    desk: Enrolment, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node()
    request = node.request(desk, desk.invite("Anna", DAY, NOW).token)
    monkeypatch.setattr(Invites, "use", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        desk.enrol(request, NOW)
    monkeypatch.undo()
    assert desk.members() == ()
    assert desk.enrol(request, NOW).repeated is False


def test_one_token_and_many_at_once_makes_one_member(desk: Enrolment) -> None:
    token = desk.invite("Anna", DAY, NOW).token
    requests = [Node().request(desk, token) for _ in range(6)]
    won: list[str] = []

    def knock(request: Request) -> None:
        try:
            won.append(desk.enrol(request, NOW).member)
        except Refused:
            return

    threads = [threading.Thread(target=knock, args=(one,)) for one in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.id for one in desk.members()] == won and len(won) == 1


def test_renewing_keeps_the_one_in_use(desk: Enrolment) -> None:
    node = Node()
    token = desk.invite("Anna", DAY, NOW).token
    first = serial_of(desk.enrol(node.request(desk, token), NOW).cert_pem)
    later = NOW + 60 * DAY
    second = serial_of(desk.renew(node.member, node.csr, later))
    assert desk.check(node.member, first, later) == desk.check(node.member, second, later)
    with pytest.raises(RemoteError, match="ended on 2026-05-30"):
        desk.check(node.member, first, NOW + 91 * DAY)
    desk.check(node.member, second, NOW + 91 * DAY)


def test_renewing_without_end_does_not_pile_up(desk: Enrolment) -> None:
    node = Node()
    desk.enrol(node.request(desk, desk.invite("Anna", DAY, NOW).token), NOW)
    serials = [
        serial_of(desk.renew(node.member, node.csr, NOW + timedelta(hours=number)))
        for number in range(12)
    ]
    live = 0
    for serial in serials:
        try:
            desk.check(node.member, serial, NOW)
            live += 1
        except RemoteError as error:
            assert "revoked" in str(error)
    assert live == 8
    desk.check(node.member, serials[-1], NOW)


def test_a_removed_member_is_out_for_good(desk: Enrolment) -> None:
    node = Node()
    serial = serial_of(
        desk.enrol(node.request(desk, desk.invite("Anna", DAY, NOW).token), NOW).cert_pem
    )
    removed = desk.remove(node.member, NOW)
    assert not removed.active
    assert desk.remove(node.member, NOW + DAY) == removed
    with pytest.raises(RemoteError, match="was removed"):
        desk.check(node.member, serial, NOW)
    with pytest.raises(RemoteError, match="was removed"):
        desk.renew(node.member, node.csr, NOW)
    again = node.request(desk, desk.invite("Anna", DAY, NOW).token)
    with pytest.raises(Refused, match="removed on 2026-03-01"):
        desk.enrol(again, NOW)
    with pytest.raises(LocalError, match="no member"):
        desk.remove(Node().member, NOW)


def test_coming_back_with_a_new_invitation_revokes_the_old_certificate(desk: Enrolment) -> None:
    node = Node()
    first = serial_of(
        desk.enrol(node.request(desk, desk.invite("Anna", DAY, NOW).token), NOW).cert_pem
    )
    second = desk.enrol(node.request(desk, desk.invite("Anna", DAY, NOW).token), NOW)
    desk.check(node.member, serial_of(second.cert_pem), NOW)
    with pytest.raises(RemoteError, match="revoked"):
        desk.check(node.member, first, NOW)
    assert len(desk.members()) == 1


def test_a_certificate_is_good_for_its_own_member_alone(desk: Enrolment) -> None:
    anna, bert = Node(), Node()
    serials = {}
    for node in (anna, bert):
        token = desk.invite("x", DAY, NOW).token
        serials[node.member] = serial_of(desk.enrol(node.request(desk, token), NOW).cert_pem)
    with pytest.raises(RemoteError, match="did not issue"):
        desk.check(anna.member, serials[bert.member], NOW)
    with pytest.raises(RemoteError, match="did not issue"):
        desk.check(anna.member, "abc", NOW)
    with pytest.raises(InputError, match="2 members answer") as caught:
        desk.find("Corner shop")
    assert anna.member[:8] in str(caught.value)
    with pytest.raises(InputError, match="0 members"):
        desk.find("Nobody")


def test_without_the_authority_nothing_is_spent(desk: Enrolment, tmp_path: Path) -> None:
    node = Node()
    request = node.request(desk, desk.invite("Anna", DAY, NOW).token)
    desk.where.ca_dir.rename(tmp_path / "away")
    with pytest.raises(LocalError, match="Mount the disk"):
        desk.enrol(request, NOW)
    (tmp_path / "away").rename(desk.where.ca_dir)
    assert desk.enrol(request, NOW).member == node.member
    with desk.database.read() as tx:
        assert Members(tx).get(node.member) is not None
