"""What a node keeps of its enrolment, and which certificates it takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from node import keys, membership
from node.membership import Membership, check_certificate
from protocols.errors import Code, CoopError, LocalError, RemoteError
from protocols.joining import Address, cooperative

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


class Authority:
    """A certificate authority of our own, so that a node's checks meet every kind of wrong."""

    def __init__(self, *, ca: bool = True) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name("authority")
        made = self._start(self.name, self.key.public_key(), NOW)
        made = made.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        self.der = made.sign(self.key, hashes.SHA256()).public_bytes(Encoding.DER)

    def issue(
        self,
        member: str,
        public: ec.EllipticCurvePublicKey,
        *,
        start: datetime = NOW,
        use: ObjectIdentifier = CLIENT,
    ) -> bytes:
        made = self._start(_name(member), public, start)
        made = made.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        return made.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def _start(
        self, subject: x509.Name, public: ec.EllipticCurvePublicKey, start: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=90))
        )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> keys.NodeKeys:
    return keys.create(tmp_path_factory.mktemp("node") / "home")


def test_the_right_certificate_is_taken(own: keys.NodeKeys) -> None:
    authority, public = Authority(), keys.tls_public(own)
    check_certificate(authority.issue(own.member, public), authority.der, own.member, public, NOW)


@pytest.mark.parametrize(
    "says",
    [
        "another authority",
        "names another member",
        "another key",
        "not for a client",
        "ends on",
        "ends on 2026-05-31",
        "cannot be read",
        "has 0 bytes",
        "may not sign",
        "or the authority's own, cannot be read",
    ],
)
def test_every_wrong_certificate_says_why(own: keys.NodeKeys, says: str) -> None:
    authority, public = Authority(), keys.tls_public(own)
    other = ec.generate_private_key(ec.SECP256R1()).public_key()
    early, late = NOW - timedelta(days=91), NOW + timedelta(days=1)
    false_authority = Authority(ca=False)
    cases = {
        "another authority": (Authority().issue(own.member, public), authority.der),
        "names another member": (authority.issue("b" * 64, public), authority.der),
        "another key": (authority.issue(own.member, other), authority.der),
        "not for a client": (authority.issue(own.member, public, use=SERVER), authority.der),
        "ends on": (authority.issue(own.member, public, start=early), authority.der),
        "ends on 2026-05-31": (authority.issue(own.member, public, start=late), authority.der),
        "cannot be read": (b"-----BEGIN CERTIFICATE-----\nAAAA", authority.der),
        "has 0 bytes": (b"", authority.der),
        "may not sign": (false_authority.issue(own.member, public), false_authority.der),
        "or the authority's own, cannot be read": (authority.issue(own.member, public), b"der"),
    }
    pem, der = cases[says]
    with pytest.raises(RemoteError) as caught:
        check_certificate(pem, der, own.member, public, NOW)
    assert says in str(caught.value) and caught.value.code is Code.TAMPERED


@pytest.fixture
def known(own: keys.NodeKeys) -> Membership:
    face = cooperative("Bakers", "cautious", Authority().der, b"o" * 32, b"c" * 32)
    return Membership(
        face, own.member, Address("h", 1), Address("::1", 2), "ab" * 32, NOW - timedelta(1)
    )


def test_a_membership_reads_back(known: Membership, tmp_path: Path) -> None:
    (tmp_path / keys.KEYS).mkdir()
    membership.store(tmp_path, known, b"pem")
    assert membership.load(tmp_path) == known
    assert membership.is_enrolled(tmp_path)
    with pytest.raises(LocalError, match="certificate of this node is damaged"):
        membership.own_certificate(tmp_path)


def test_the_note_is_written_last(
    known: Membership, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / keys.KEYS).mkdir()
    written: list[str] = []
    monkeypatch.setattr("node.files.write", lambda path, *_: written.append(path.name))
    membership.store(tmp_path, known, b"pem")
    assert written == [keys.CA, keys.TLS_CERT, membership.COOP_FILE]


def test_not_enrolled_and_damaged_notes_say_what_to_do(known: Membership, tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="coop-node join") as caught:
        membership.load(tmp_path)
    assert caught.value.kind.exit_code == 4
    (tmp_path / keys.KEYS).mkdir()
    membership.store(tmp_path, known, b"pem")
    note = tmp_path / membership.COOP_FILE
    text = note.read_text()
    for old, new, code in (
        ('"member"', '"membr"', Code.INTERNAL),
        ('"v": 1', '"v": 9', Code.INTERNAL),
        (known.member, known.member[:-1], Code.INPUT),
        ("Bakers", "Butchers", Code.TAMPERED),
        ("{", "", Code.INPUT),
    ):
        note.write_text(text.replace(old, new))
        with pytest.raises(CoopError) as damaged:
            membership.load(tmp_path)
        assert damaged.value.code is code
    note.write_text(text)
    assert membership.load(tmp_path) == known
