"""Members, documents, mail and runs, each through its repository."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from coordinator.store.database import Database
from coordinator.store.documents import Document, Documents, Signature, Signatures
from coordinator.store.mail import Cursor, Mail
from coordinator.store.members import (
    Certificate,
    Certificates,
    Invite,
    Invites,
    Member,
    Members,
    Status,
)
from coordinator.store.runs import (
    NEXT,
    Answer,
    Progress,
    PublishedSum,
    RunMember,
    RunMembers,
    Runs,
    State,
    Sums,
)
from coordinator.store.settings import Settings
from protocols.errors import Code, LocalError, RemoteError
from protocols.ids import MemberId, OrderId, RunId
from protocols.joining import Profile

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
ANNA, BERT = MemberId("aa" * 32), MemberId("bb" * 32)
RUN, ORDER = RunId("12" * 16), OrderId("0d" * 32)


@pytest.fixture
def tx(tmp_path: Path) -> Iterator[Connection]:
    database = Database.open(tmp_path / "c.db", create=True)
    with database.write() as connection:
        for name, member in (("Anna", ANNA), ("Bert", BERT)):
            key = bytes.fromhex(member)
            Members(connection).add(Member(member, Profile(name), key, Status.ACTIVE, NOW))
        yield connection


def test_members_come_back_as_they_were(tx: Connection) -> None:
    profile = Profile("Café Öre", "HRB 7", "bakery", "north")
    carl = Member(MemberId("cc" * 32), profile, b"c" * 32, Status.ACTIVE, NOW)
    Members(tx).add(carl)
    assert Members(tx).get(carl.id) == carl
    assert Members(tx).get(MemberId("dd" * 32)) is None
    assert [one.id for one in Members(tx).list()] == [ANNA, BERT, carl.id]
    assert Members(tx).named("Café Öre") == (carl,)
    assert Members(tx).named("cccccccc") == (carl,)
    assert Members(tx).named("cccc") == ()
    assert Members(tx).named("%%%%%%%%") == ()


def test_one_key_is_one_member(tx: Connection) -> None:
    double = Member(MemberId("ee" * 32), Profile("E"), bytes.fromhex(ANNA), Status.ACTIVE, NOW)
    with pytest.raises(IntegrityError):
        Members(tx).add(double)


def test_removing_keeps_the_row(tx: Connection) -> None:
    Members(tx).remove(ANNA, NOW)
    gone = Members(tx).get(ANNA)
    assert gone is not None and not gone.active and gone.removed_at == NOW
    assert [one.id for one in Members(tx).list(Status.ACTIVE)] == [BERT]


def test_certificates_are_revoked_but_for_the_kept(tx: Connection) -> None:
    for number in range(3):
        ends = NOW + timedelta(days=number)
        Certificates(tx).add(Certificate(f"{number}", ANNA, ends, b"pem"))
    Certificates(tx).add(Certificate("9", BERT, NOW, b"pem"))
    assert Certificates(tx).revoke(ANNA, NOW, keep=("1",)) == 2
    assert [(one.serial, one.revoked_at) for one in Certificates(tx).of(ANNA)] == [
        ("2", NOW),
        ("1", None),
        ("0", NOW),
    ]
    bert = Certificates(tx).get("9")
    assert bert is not None and bert.revoked_at is None


def test_an_invite_is_spent_once(tx: Connection) -> None:
    Certificates(tx).add(Certificate("5", ANNA, NOW, b"pem"))
    Invites(tx).add(Invite("11" * 32, "for Anna", NOW, NOW + timedelta(hours=1)))
    spend = {"request_hash": "22" * 32, "serial": "5", "now": NOW}
    assert Invites(tx).use("11" * 32, member=ANNA, **spend)  # type: ignore[arg-type]
    assert not Invites(tx).use("11" * 32, member=BERT, **spend)  # type: ignore[arg-type]
    kept = Invites(tx).get("11" * 32)
    assert kept is not None and (kept.used_by, kept.used_at) == (ANNA, NOW)
    assert Invites(tx).list() == (kept,)


def test_documents_are_never_changed(tx: Connection) -> None:
    document = Document("33" * 32, "agreement", b"{}", NOW)
    assert Documents(tx).add(document)
    assert not Documents(tx).add(Document("33" * 32, "agreement", b"{}", NOW + timedelta(1)))
    assert Documents(tx).get("33" * 32) == document
    with pytest.raises(LocalError) as caught:
        Documents(tx).add(Document("33" * 32, "agreement", b"{ }", NOW))
    assert caught.value.code is Code.TAMPERED
    assert Documents(tx).list("agreement") == (document,)
    assert Documents(tx).list("roster") == ()
    assert Documents(tx).starting("333") == (document,)
    assert Documents(tx).starting("%") == ()


def test_the_first_signature_of_a_party_stands(tx: Connection) -> None:
    Documents(tx).add(Document("33" * 32, "roster", b"{}", NOW))
    assert Signatures(tx).add(Signature("33" * 32, BERT, b"one", NOW))
    assert not Signatures(tx).add(Signature("33" * 32, BERT, b"two", NOW))
    assert Signatures(tx).add(Signature("33" * 32, ANNA, b"three", NOW))
    assert [one.jws for one in Signatures(tx).of("33" * 32)] == [b"three", b"one"]
    with pytest.raises(IntegrityError):
        Signatures(tx).add(Signature("44" * 32, ANNA, b"no document", NOW))


def test_mail_is_numbered_per_member_without_gaps(tx: Connection) -> None:
    mail = Mail(tx)
    assert mail.cursor(ANNA) == Cursor(0, 0)
    for number in range(1, 4):
        body = f"{number}".encode()
        assert mail.post(ANNA, kind="order", document="d", body=body, now=NOW) == number
    assert mail.post(BERT, kind="order", document="d", body=b"b", now=NOW) == 1
    assert [letter.seq for letter in mail.after(ANNA, 0)] == [1, 2, 3]
    assert [letter.body for letter in mail.after(ANNA, 1, limit=1)] == [b"2"]
    assert mail.after(BERT, 1) == ()


def test_acknowledged_mail_is_kept_for_a_node_that_comes_back(tx: Connection) -> None:
    mail = Mail(tx)
    for _ in range(3):
        mail.post(ANNA, kind="order", document="d", body=b"x", now=NOW)
    mail.acknowledge(ANNA, 2)
    mail.acknowledge(ANNA, 1)
    assert mail.cursor(ANNA) == Cursor(3, 2)
    assert len(mail.after(ANNA, 0)) == 3
    for never in (2**53, -1):
        with pytest.raises(RemoteError):
            mail.acknowledge(ANNA, never)
    assert mail.cursor(ANNA) == Cursor(3, 2)


def test_an_office_that_was_restored_goes_on_behind_the_letters_that_a_member_has(
    tx: Connection,
) -> None:
    mail = Mail(tx)
    mail.post(ANNA, kind="order", document="d", body=b"1", now=NOW)
    mail.acknowledge(ANNA, 7)
    assert mail.cursor(ANNA) == Cursor(7, 7)
    assert mail.post(ANNA, kind="order", document="d", body=b"8", now=NOW) == 8
    assert [letter.seq for letter in mail.after(ANNA, 7)] == [8]


@pytest.fixture
def runs(tx: Connection) -> Runs:
    Documents(tx).add(Document(ORDER, "order", b"{}", NOW))
    runs = Runs(tx)
    runs.add(RUN, ORDER, NOW)
    return runs


def _path_to(state: State) -> list[State]:
    """Shortest way from the first state, for a run that waits for approval."""
    paths: dict[State, list[State]] = {State.AWAITING: []}
    queue = [State.AWAITING]
    for here in queue:
        for there in NEXT[here]:
            if there not in paths:
                paths[there] = [*paths[here], there]
                queue.append(there)
    return paths[state]


@pytest.mark.parametrize("state", list(State))
def test_only_the_listed_steps_are_taken(tx: Connection, state: State) -> None:
    Documents(tx).add(Document(ORDER, "order", b"{}", NOW))
    runs = Runs(tx)
    runs.add(RUN, ORDER, NOW, state=State.AWAITING)
    for step in _path_to(state):
        runs.move(RUN, step, NOW)
    before = runs.require(RUN)
    assert before.state is state
    assert before.over == (not NEXT[state])
    assert (before.ended_at is not None) == before.over
    for target in set(State) - set(NEXT[state]):
        with pytest.raises(LocalError) as caught:
            runs.move(RUN, target, NOW, "nothing")
        assert state.value in str(caught.value)
        assert runs.require(RUN) == before


def test_progress_never_goes_back(runs: Runs) -> None:
    runs.advance(RUN, Progress(3, 1, "masked", "7 of 8"))
    for earlier in (Progress(2, 5), Progress(3, 0)):
        with pytest.raises(LocalError):
            runs.advance(RUN, earlier)
    assert runs.require(RUN).progress == Progress(3, 1, "masked", "7 of 8")
    runs.move(RUN, State.ABORTED, NOW, "by hand")
    with pytest.raises(LocalError):
        runs.advance(RUN, Progress(4, 0))
    assert runs.list(open_only=True) == ()
    assert [run.run for run in runs.list()] == [RUN]


def test_a_run_starts_once(runs: Runs) -> None:
    for minute, step in enumerate((State.GATHERING, State.RUNNING, State.GATHERING)):
        runs.move(RUN, step, NOW + timedelta(minutes=minute))
    runs.move(RUN, State.RUNNING, NOW + timedelta(hours=1))
    assert runs.require(RUN).started_at == NOW + timedelta(minutes=1)
    with pytest.raises(LocalError) as caught:
        runs.require(RunId("00" * 16))
    assert caught.value.code is Code.NOT_FOUND


def test_answers_are_replaced_and_keep_their_reasons(tx: Connection, runs: Runs) -> None:
    answers = RunMembers(tx)
    answers.put(RunMember(RUN, ANNA, Answer.PENDING, (), NOW))
    answers.put(RunMember(RUN, BERT, Answer.ADMITTED, (), NOW))
    refused = RunMember(RUN, ANNA, Answer.REFUSED, ("c14: 5 members, 6 needed",), NOW)
    answers.put(refused)
    assert answers.of(RUN)[0] == refused
    assert [one.answer for one in answers.of(RUN)] == [Answer.REFUSED, Answer.ADMITTED]


def test_a_round_has_one_sum_ever(tx: Connection, runs: Runs) -> None:
    one = PublishedSum(RUN, 1, 0, 7, "aa" * 32, "runs/x/1.sum", NOW)
    assert Sums(tx).add(one)
    assert not Sums(tx).add(one)
    with pytest.raises(LocalError, match="two sums"):
        Sums(tx).add(PublishedSum(RUN, 1, 1, 6, "bb" * 32, "runs/x/1b.sum", NOW))
    assert Sums(tx).of(RUN) == (one,)
    assert Sums(tx).get(RUN, 2) is None


def test_settings_hold_json(tx: Connection) -> None:
    assert Settings(tx).get("k") is None
    Settings(tx).put("k", {"a": [1, None]})
    Settings(tx).put("k", {"a": [2]})
    assert Settings(tx).get("k") == {"a": [2]}
