"""Enrolment over real sockets and real TLS, in one process, on ports of the system's choice."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from coordinator.members import pki
from coordinator.members.enrolment import Enrolment, open_enrolment
from coordinator.settings import CoordinatorSettings
from coordinator.wire.join import JoinListener, serve_join
from coordinator.wire.limits import RateLimiter
from coordinator.wire.services import Letter, Link, serve_link
from coordinator.wire.sessions import Sessions
from coordinator.wire.tls import link_credentials, peer_member
from node import keys, membership
from node.federation import channel
from node.federation.link import Calls
from protocols.errors import Code, CoopError, InputError, LocalError, RemoteError
from protocols.ids import MemberId
from protocols.joining import Profile
from protocols.proto import link_pb2 as pb
from protocols.proto.link_pb2_grpc import JoinStub

START = datetime.now(UTC)
PROFILE = Profile("Corner shop", "HRB 1", "grocery", "north")
DAY = timedelta(days=1)


@dataclass
class Clock:
    """A clock that the test moves; TLS itself uses the real one."""

    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass
class Mailbox:
    """The part of the coordinator behind the link, as far as these tests need it."""

    desk: Enrolment
    clock: Clock

    def letters(self, member: MemberId, after: int) -> list[Letter]:
        return [Letter(after + 1, "greeting", "x", member.encode())]

    def take(self, member: MemberId, kind: str, name: str, body: bytes) -> bool:
        return False

    def published(self, member: MemberId, kind: str, run: str, name: str) -> bytes:
        return b""

    def renew(self, member: MemberId, csr_pem: bytes) -> bytes:
        return self.desk.renew(member, csr_pem, self.clock())


@dataclass
class House:
    """A running office."""

    desk: Enrolment
    join: JoinListener
    link: grpc.Server
    clock: Clock = field(default_factory=Clock)

    def invite(self, ttl: timedelta = DAY) -> str:
        address = f"127.0.0.1:{self.join.port}"
        return self.desk.invite("x", ttl, self.clock(), address=address).link

    def stop(self) -> None:
        self.join.stop(0)
        self.link.stop(0).wait()


def open_house(home: Path, name: str = "Bakers", per_minute: int = 1000) -> House:
    clock = Clock()
    pki.create_cooperative(
        pki.places(home),
        name=name,
        profile="cautious",
        hosts=("127.0.0.1",),
        join_port=8801,
        link_port=8802,
        now=START,
    )
    desk = open_enrolment(home, CoordinatorSettings(), create=True)
    servicer = Link(
        Mailbox(desk, clock),
        Sessions(time.monotonic),
        lambda context: peer_member(context, desk, clock),
        "coordinator 0.1",
        lambda: int(clock().timestamp() * 1000),
    )
    link, link_port = serve_link(servicer, "127.0.0.1:0", link_credentials(desk.where), 4)
    join = serve_join(
        desk,
        "127.0.0.1:0",
        link_port=link_port,
        limiter=RateLimiter(per_minute, per_minute, time.monotonic),
        software="coordinator 0.1",
        now=clock,
    )
    return House(desk, join, link, clock)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    opened = open_house(tmp_path / "office")
    yield opened
    opened.stop()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    keys.create(tmp_path / "node")
    return tmp_path / "node"


def join(
    house: House, home: Path, link: str = "", profile: Profile = PROFILE, **more: object
) -> channel.Joined:
    yes = more.pop("confirm", lambda offer: True)
    link = link or house.invite()
    return channel.join(home, link, profile, yes, Clock(), **more)  # type: ignore[arg-type]


def hello(home: Path) -> bytes:
    with channel.link_channel(home) as opened:
        return next(Calls(opened).mail(0)).body


def test_a_node_joins_and_speaks_on_the_link(house: House, home: Path) -> None:
    shown: list[channel.Offer] = []

    def confirm(offer: channel.Offer) -> bool:
        shown.append(offer)
        assert house.desk.members() == ()  # nothing about us was sent before the yes
        return True

    joined = join(house, home, confirm=confirm)
    assert shown[0].cooperative == house.desk.office.public
    assert shown[0].fingerprint == house.desk.office.fingerprint
    assert membership.load(home) == joined.membership
    (member,) = house.desk.members()
    assert member.id == joined.membership.member == keys.load(home).member
    assert member.profile == PROFILE
    assert hello(home) == member.id.encode()
    assert timedelta(days=89) < joined.cert_not_after - START < timedelta(days=91)
    channel.diagnose(home, Clock()())


def test_saying_no_sends_nothing_and_spends_nothing(house: House, home: Path) -> None:
    link = house.invite()
    with pytest.raises(InputError, match="said no"):
        join(house, home, link, confirm=lambda offer: False)
    assert house.desk.members() == () and not membership.is_enrolled(home)
    join(house, home, link)


class Listener:
    """A TLS server that writes down every byte of plaintext that reaches it."""

    def __init__(self, where: pki.Places) -> None:
        self.heard = b""
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(
            where.keys_dir / "join.cert.pem", where.keys_dir / "server.key.pem"
        )
        self._context.set_alpn_protocols(["h2"])
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.done = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        raw, _ = self._socket.accept()
        try:
            with self._context.wrap_socket(raw, server_side=True) as tls:
                while part := tls.recv(4096):
                    self.heard += part
        except OSError:
            self.heard += b""
        finally:
            self.done.set()
            self._socket.close()


def test_to_another_key_not_one_byte_is_said(house: House, home: Path, tmp_path: Path) -> None:
    thief = pki.places(tmp_path / "thief")
    pki.create_cooperative(
        thief,
        name="Bakers",
        profile="cautious",
        hosts=("127.0.0.1",),
        join_port=1,
        link_port=2,
        now=START,
    )
    server = Listener(thief)
    link = house.invite().replace(f":{house.join.port}#", f":{server.port}#")
    with pytest.raises(RemoteError, match="another server answers") as caught:
        join(house, home, link)
    assert caught.value.kind.exit_code == 5
    assert server.done.wait(10)
    assert server.heard == b""
    assert not membership.is_enrolled(home)


def test_a_lost_reply_is_made_good_by_repeating(
    house: House, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = house.invite()

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(membership, "store", crash)
    with pytest.raises(KeyboardInterrupt):
        join(house, home, link)
    monkeypatch.undo()
    assert not membership.is_enrolled(home) and len(house.desk.members()) == 1
    join(house, home, link)
    assert hello(home) == keys.load(home).member.encode()


def test_used_and_expired_invitations_have_their_sentences(
    house: House, home: Path, tmp_path: Path
) -> None:
    link, late = house.invite(), house.invite(timedelta(seconds=1))
    keys.create(tmp_path / "other")
    join(house, home, link)
    with pytest.raises(CoopError, match="used already") as caught:
        join(house, tmp_path / "other", link)
    assert caught.value.kind.exit_code == 3
    house.clock.ahead = timedelta(minutes=2)
    with pytest.raises(CoopError, match="expired on") as caught:
        join(house, tmp_path / "other", late)
    assert caught.value.kind.exit_code == 3
    forged = link[:-5] + "aaaaa"
    with pytest.raises(CoopError, match="never gave out") as caught:
        join(house, tmp_path / "other", forged)
    assert caught.value.code is Code.UNAUTHENTICATED
    assert not membership.is_enrolled(tmp_path / "other")


@pytest.mark.parametrize(("ahead_s", "word"), [(600, "behind"), (-600, "ahead of")])
def test_clocks_that_differ_are_told(house: House, home: Path, ahead_s: int, word: str) -> None:
    house.clock.ahead = timedelta(seconds=ahead_s)
    with pytest.raises(LocalError, match=f"10 minutes {word} the clock of the office"):
        join(house, home)
    assert house.desk.members() == ()
    house.clock.ahead = timedelta(seconds=ahead_s // 3)
    join(house, home)


def test_a_clock_in_another_year_is_told_before_tls_fails(house: House, home: Path) -> None:
    with pytest.raises(LocalError, match="clock says"):
        channel.join(home, house.invite(), PROFILE, lambda _: True, Clock(-900 * DAY))


def test_a_second_cooperative_needs_a_second_node(house: House, home: Path, tmp_path: Path) -> None:
    join(house, home)
    with pytest.raises(LocalError, match="already") as caught:
        join(house, home)
    assert caught.value.kind.exit_code == 2
    other = open_house(tmp_path / "other", "Butchers")
    try:
        for again in (False, True):
            with pytest.raises(LocalError, match="another cooperative"):
                join(other, home, again=again)
        assert other.desk.members() == ()
    finally:
        other.stop()


def test_a_certificate_of_another_cooperative_opens_nothing(
    house: House, home: Path, tmp_path: Path
) -> None:
    joined = join(house, home)
    other = open_house(tmp_path / "other", "Butchers")
    try:
        keys.create(tmp_path / "stranger")
        foreign = join(other, tmp_path / "stranger").membership.link
        note = home / membership.COOP_FILE
        text = note.read_text()
        note.write_text(text.replace(str(joined.membership.link), str(foreign)))
        with pytest.raises(RemoteError) as caught:
            hello(home)
        assert caught.value.kind.exit_code == 75
        with pytest.raises(RemoteError, match="not of the cooperative 'Bakers'") as caught:
            channel.diagnose(home, Clock()())
        assert caught.value.kind.exit_code == 5
        note.write_text(text)
        # and the other way round: their client certificate at our office
        for name in (keys.TLS_CERT, keys.TLS_KEY):
            theirs = tmp_path / "stranger" / keys.KEYS / name
            (home / keys.KEYS / name).write_bytes(theirs.read_bytes())
        with pytest.raises(RemoteError):
            hello(home)
    finally:
        other.stop()


def test_without_a_client_certificate_the_link_is_shut(house: House, home: Path) -> None:
    known = join(house, home).membership
    credentials = grpc.ssl_channel_credentials(root_certificates=membership.authority_pem(known))
    options = (("grpc.ssl_target_name_override", "datacoop-coordinator"),)
    with grpc.secure_channel(str(known.link), credentials, options) as opened:
        with pytest.raises(RemoteError) as caught:
            next(Calls(opened).mail(0))
        assert caught.value.code is Code.UNAVAILABLE


def test_a_removed_member_is_shut_out_at_once(house: House, home: Path) -> None:
    member = join(house, home).membership.member
    with channel.link_channel(home) as opened:
        next(Calls(opened).mail(0))
        house.desk.remove(member, house.clock())
        with pytest.raises(RemoteError, match="was removed") as caught:
            next(Calls(opened).mail(0))  # on the same connection
        assert caught.value.code is Code.UNAUTHENTICATED


def test_a_certificate_is_renewed_before_it_ends(house: House, home: Path) -> None:
    joined = join(house, home)
    before = (home / keys.KEYS / keys.TLS_CERT).read_bytes()
    assert not channel.needs_renewal(home, START + 59 * DAY)
    assert channel.needs_renewal(home, START + 61 * DAY)
    house.clock.ahead = timedelta(minutes=3)
    with channel.link_channel(home) as opened:
        ends = channel.renew(home, opened, house.clock)
        next(Calls(opened).mail(0))  # the old one still works
    assert ends > joined.cert_not_after
    assert (home / keys.KEYS / keys.TLS_CERT).read_bytes() != before
    hello(home)


def test_an_ended_certificate_is_told_and_a_new_invitation_helps(house: House, home: Path) -> None:
    join(house, home)
    with pytest.raises(LocalError, match="ended on"):
        channel.diagnose(home, START + 91 * DAY)
    join(house, home, again=True)
    assert len(house.desk.members()) == 1
    hello(home)


def test_a_certificate_that_does_not_fit_is_not_kept(
    house: House, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    keys.create(other)
    wrong = join(house, other, profile=Profile("Bakery", "HRB 2", "bakery", "north"))
    pem = (other / keys.KEYS / keys.TLS_CERT).read_bytes()
    real = Enrolment.enrol

    def lie(self: Enrolment, *arguments: object) -> object:
        from dataclasses import replace

        return replace(real(self, *arguments), cert_pem=pem)  # type: ignore[arg-type]

    monkeypatch.setattr(Enrolment, "enrol", lie)
    with pytest.raises(RemoteError, match="names another member") as caught:
        join(house, home)
    assert caught.value.code is Code.TAMPERED and wrong.membership.member
    assert not membership.is_enrolled(home)
    assert not (home / keys.KEYS / keys.TLS_CERT).exists()


def test_an_office_that_changes_its_face_is_not_joined(
    house: House, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_house(tmp_path / "other", "Butchers")
    other.stop()
    changed: list[object] = []

    def confirm(offer: channel.Offer) -> bool:
        face = other.desk.office.public
        real = type(house.desk.office)
        monkeypatch.setattr(real, "public", property(lambda _: face), raising=False)
        changed.append(offer)
        return True

    real_enrol = Enrolment.enrol
    enrolled = house.desk.office.public

    def enrol(self: Enrolment, *arguments: object) -> object:
        with monkeypatch.context() as before:
            before.setattr(type(self.office), "public", property(lambda _: enrolled))
            return real_enrol(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Enrolment, "enrol", enrol)
    with pytest.raises(RemoteError, match="described itself differently") as caught:
        join(house, home, confirm=confirm)
    assert caught.value.code is Code.TAMPERED and changed
    assert not membership.is_enrolled(home)


def test_a_coordinator_that_is_down_has_its_sentence(house: House, home: Path) -> None:
    link = house.invite()
    join(house, home)
    house.stop()
    other = home.parent / "other"
    keys.create(other)
    with pytest.raises(RemoteError, match="nobody answers") as caught:
        join(house, other, link)
    assert caught.value.kind.exit_code == 75 and "coop-coordinator serve" in caught.value.fix
    with pytest.raises(RemoteError, match="nobody answers"):
        channel.diagnose(home, Clock()())


def test_what_is_no_tls_server_has_its_sentence(house: House, home: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as plain:

        def answer() -> None:
            raw, _ = plain.accept()
            with raw:
                raw.recv(4096)
                raw.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        link = house.invite().replace(f":{house.join.port}#", f":{plain.getsockname()[1]}#")
        with pytest.raises(RemoteError, match="no TLS"):
            join(house, home, link)


def test_too_many_knocks_are_turned_away(tmp_path: Path, home: Path) -> None:
    house = open_house(tmp_path / "busy", per_minute=3)
    try:
        join(house, home)  # describe and enrol: two calls
        keys.create(tmp_path / "other")
        with pytest.raises(CoopError, match="too many requests") as caught:
            join(house, tmp_path / "other")
        assert caught.value.kind.exit_code == 75
        assert len(house.desk.members()) == 1
    finally:
        house.stop()


def _stub(house: House, opened: list[grpc.Channel]) -> JoinStub:
    pem = (house.desk.where.keys_dir / "join.cert.pem").read_bytes()
    options = (("grpc.ssl_target_name_override", "datacoop-coordinator"),)
    credentials = grpc.ssl_channel_credentials(root_certificates=pem)
    opened.append(grpc.secure_channel(f"127.0.0.1:{house.join.port}", credentials, options))
    return JoinStub(opened[0])  # type: ignore[no-untyped-call]


def test_strangers_get_little(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[grpc.Channel] = []
    stub = _stub(house, opened)
    with opened[0]:
        with pytest.raises(grpc.RpcError) as caught:  # no deadline
            stub.Describe(pb.DescribeRequest())
        assert "deadline" in str(caught.value.details())
        with pytest.raises(grpc.RpcError) as caught:  # too large
            stub.Enrol(pb.EnrolRequest(csr_pem=b"x" * 100_000), timeout=10)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        for bad in (
            pb.EnrolRequest(),
            pb.EnrolRequest(token="a" * 40),
            pb.EnrolRequest(token="a" * 40, identity_key=b"x" * 32, profile=pb.Profile(name="n")),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                stub.Enrol(bad, timeout=10)
            assert caught.value.code() in {
                grpc.StatusCode.INVALID_ARGUMENT,
                grpc.StatusCode.DATA_LOSS,
            }
        monkeypatch.setattr(Enrolment, "enrol", lambda *_: {"a": 1}["secret path"])
        with pytest.raises(grpc.RpcError) as caught:  # a bug of ours does not show its inside
            stub.Enrol(pb.EnrolRequest(profile=pb.Profile(name="n")), timeout=10)
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert "secret" not in str(caught.value)
    assert house.desk.members() == ()


def test_a_port_in_use_is_told_with_the_setting(house: House) -> None:
    with pytest.raises(LocalError, match=f"port {house.join.port} is in use") as caught:
        serve_join(
            house.desk,
            f"127.0.0.1:{house.join.port}",
            link_port=1,
            limiter=RateLimiter(1, 1, time.monotonic),
            software="x",
            now=house.clock,
        )
    assert caught.value.where == "join_port" and caught.value.kind.exit_code == 75
    servicer = Link(
        Mailbox(house.desk, house.clock), Sessions(time.monotonic), lambda _: MemberId(""), "x", int
    )
    with pytest.raises(LocalError, match="is in use") as caught:
        where = f"127.0.0.1:{house.join.port}"
        serve_link(servicer, where, link_credentials(house.desk.where), 1)
    assert caught.value.where == "link_port"
    with pytest.raises(LocalError, match="not an address of this machine"):
        serve_join(
            house.desk,
            "192.0.2.1:4711",
            link_port=1,
            limiter=RateLimiter(1, 1, time.monotonic),
            software="x",
            now=house.clock,
        )
