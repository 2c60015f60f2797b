"""Making a cooperative: keys apart, files private, half-made attempts finished or replaced."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from coordinator.members import pki
from coordinator.members.certificates import issue
from coordinator.members.pki import Places, places
from protocols.errors import Code, InputError, LocalError
from protocols.ids import MemberId
from protocols.joining import SERVER_NAME

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MEMBER = MemberId("aa" * 32)


def make(where: Places, name: str = "Bakers") -> pki.Office:
    return pki.create_cooperative(
        where,
        name=name,
        profile="cautious",
        hosts=("office.example.org", "127.0.0.1"),
        join_port=8801,
        link_port=8802,
        now=NOW,
    )


def request(key: ec.EllipticCurvePrivateKey, name: str = MEMBER) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject)
    return made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)


@pytest.fixture
def where(tmp_path: Path) -> Places:
    return places(tmp_path / "home")


def test_it_reads_back_as_it_was_made(where: Places) -> None:
    office = make(where)
    assert pki.load_office(where) == office
    assert str(office.join) == "office.example.org:8801"
    assert str(office.link) == "office.example.org:8802"
    assert pki.load_operator_key(where).public == office.public.operator_key
    assert pki.load_coordinator_key(where).public == office.public.coordinator_key


def test_every_key_is_another_one_in_its_own_place(where: Places) -> None:
    make(where)
    authority = pki.load_authority(where)
    server = x509.load_pem_x509_certificate((where.keys_dir / "server.cert.pem").read_bytes())
    assert authority.certificate.public_key() != server.public_key()
    assert pki.load_operator_key(where) != pki.load_coordinator_key(where)
    assert [file.name for file in where.ca_dir.iterdir()] == ["ca.key.pem"]
    assert [file.name for file in where.operator_dir.iterdir()] == ["operator.key"]
    assert "operator.key" not in {file.name for file in where.keys_dir.iterdir()}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
def test_secrets_are_for_their_owner_alone(where: Places) -> None:
    make(where)
    secret = {"ca.key.pem", "operator.key", "coordinator.key", "server.key.pem"}
    seen = set()
    for file in where.home.rglob("*"):
        if file.name in secret:
            seen.add(file.name)
            assert file.stat().st_mode & 0o777 == 0o600
        if file.is_dir():
            assert file.stat().st_mode & 0o077 == 0
    assert seen == secret


def test_certificates_say_what_they_are_for(where: Places) -> None:
    office = make(where)
    authority = pki.load_authority(where).certificate
    server = x509.load_pem_x509_certificate((where.keys_dir / "server.cert.pem").read_bytes())
    joining = x509.load_pem_x509_certificate((where.keys_dir / "join.cert.pem").read_bytes())
    server.verify_directly_issued_by(authority)
    joining.verify_directly_issued_by(joining)
    assert joining.public_key() == server.public_key() != authority.public_key()
    for one in (server, joining):
        names = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [SERVER_NAME, "office.example.org"]
        assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
        assert not one.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert authority.public_bytes(Encoding.DER) == office.public.ca_der


def test_it_never_overwrites(where: Places) -> None:
    make(where)
    before = {file: file.read_bytes() for file in where.home.rglob("*") if file.is_file()}
    with pytest.raises(LocalError, match="lives here already") as caught:
        make(where, "Butchers")
    assert caught.value.code is Code.USAGE
    assert {file: file.read_bytes() for file in before} == before


@pytest.mark.parametrize("folder", ["ca_dir", "operator_dir", "keys_dir"])
def test_stray_keys_are_not_touched(where: Places, folder: str) -> None:
    stray: Path = getattr(where, folder)
    stray.mkdir(parents=True)
    (stray / "x").write_text("precious")
    with pytest.raises(LocalError, match="never overwritten"):
        make(where)
    assert (stray / "x").read_text() == "precious"
    assert not where.coop_file.exists()


@pytest.mark.parametrize("crash_at", range(1, 16))
def test_a_crash_anywhere_is_mended_by_the_next_call(
    where: Places, monkeypatch: pytest.MonkeyPatch, crash_at: int
) -> None:
    calls = 0
    real_replace, real_rename = Path.replace, Path.rename

    def counted(real: object, path: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == crash_at:
            raise KeyboardInterrupt
        return real(path, target)  # type: ignore[operator, no-any-return]

    monkeypatch.setattr(Path, "replace", lambda p, t: counted(real_replace, p, t))
    monkeypatch.setattr(Path, "rename", lambda p, t: counted(real_rename, p, t))
    crashed = False
    try:
        make(where)
    except KeyboardInterrupt:
        crashed = True
    monkeypatch.undo()
    assert crashed == (crash_at <= 12)  # 8 files are written, 3 folders and 1 file are moved
    if crashed:
        assert not where.coop_file.exists()
        make(where)
    office = pki.load_office(where)
    assert pki.load_operator_key(where).public == office.public.operator_key
    assert pki.load_authority(where).certificate.public_bytes(Encoding.DER) == office.public.ca_der
    assert not [one for one in where.home.iterdir() if "making" in one.name]


def test_the_authority_may_lie_on_another_disk(tmp_path: Path) -> None:
    where = places(tmp_path / "home", tmp_path / "usb" / "ca", tmp_path / "stick" / "operator")
    make(where)
    assert not (where.home / "ca").exists()
    pki.load_authority(where)
    where.ca_dir.rename(tmp_path / "away")
    with pytest.raises(LocalError, match="Mount the disk") as caught:
        pki.load_authority(where)
    assert caught.value.kind.exit_code == 75
    assert where.ca_certificate.is_file()


def test_no_cooperative_and_a_damaged_one_have_their_sentences(where: Places) -> None:
    with pytest.raises(LocalError, match="coop-coordinator init"):
        pki.load_office(where)
    make(where)
    text = where.coop_file.read_text()
    where.coop_file.write_text(text.replace("cautious", "reckless"))
    with pytest.raises(InputError) as caught:
        pki.load_office(where)
    assert caught.value.code is Code.TAMPERED
    where.coop_file.write_text(text.replace('"link"', '"lnk"'))
    with pytest.raises(LocalError, match="damaged"):
        pki.load_office(where)
    where.coop_file.write_text(text.replace('"v": 1', '"v": 2'))
    with pytest.raises(InputError, match="newer release"):
        pki.load_office(where)


def test_the_configuration_moves_the_addresses(where: Places) -> None:
    office = make(where)
    assert office.reached_at("", None, None) == office
    moved = office.reached_at("new.example.org", 9001, None)
    assert (str(moved.join), str(moved.link)) == ("new.example.org:9001", "new.example.org:8802")
    with pytest.raises(InputError):
        office.reached_at("not a host", None, None)


def test_a_member_certificate_is_for_90_days_and_a_client(where: Places) -> None:
    make(where)
    key = ec.generate_private_key(ec.SECP256R1())
    issued = issue(pki.load_authority(where), request(key), MEMBER, NOW)
    certificate = x509.load_pem_x509_certificate(issued.pem)
    certificate.verify_directly_issued_by(pki.load_authority(where).certificate)
    assert certificate.public_key() == key.public_key()
    assert certificate.not_valid_after_utc == issued.not_after == NOW + timedelta(days=90)
    assert f"{certificate.serial_number:x}" == issued.serial
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(uses) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_bad_certificate_requests_are_refused(where: Places) -> None:
    make(where)
    authority = pki.load_authority(where)
    key = ec.generate_private_key(ec.SECP256R1())
    good = x509.load_pem_x509_csr(request(key)).public_bytes(Encoding.DER)
    forged = good[:-1] + bytes([good[-1] ^ 1])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, MEMBER)])
    weak = x509.CertificateSigningRequestBuilder().subject_name(subject)
    cases = {
        "1 to 8192": b"",
        "1 to 8192 ": b"x" * 8193,
        "not a certificate request": b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n",
        "P-256": request(ec.generate_private_key(ec.SECP384R1())),
        "P-256 ": weak.sign(rsa.generate_private_key(65537, 2048), hashes.SHA256()).public_bytes(
            Encoding.PEM
        ),
        "nobody else": request(key, "bb" * 32),
        "does not verify": _pem(forged),
    }
    for says, pem in cases.items():
        with pytest.raises(InputError) as caught:
            issue(authority, pem, MEMBER, NOW)
        assert says.strip() in str(caught.value)


def _pem(der: bytes) -> bytes:
    import base64

    text = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE REQUEST-----\n" + text + b"-----END CERTIFICATE REQUEST-----\n"
