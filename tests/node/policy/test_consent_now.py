"""The newest answers beside the events; erasure; opt-outs; a yes that has grown old; records."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from alembic import command
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError

from node.data.stages import Basis
from node.data.values import customer_key
from node.policy import book_files
from node.policy.consent_file import key_of
from node.policy.consent_records import Controller
from node.policy.consents import ConsentDesk
from node.policy.facts import basis_of
from node.store.consent_sql import stored
from node.store.consents import Consents, Event, State
from node.store.database import Database
from node.store.migrations import config
from node.store.notices import Notice, Notices
from protocols.agreement.terms import LegalBasis, PurposeBasis
from protocols.audit.consent import BOOK_MAGIC, REDACTED, RowBook, leaf, tree_hash
from protocols.errors import InputError, LocalError

SECRET = bytes(range(32))
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
CHURN, DEMAND = "train:churn", "train:demand"
MARK = bytes([9]) * 32


def key(name: str) -> str:
    found = customer_key(SECRET, name)
    assert found is not None
    return found


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.open(tmp_path / "node.db", create=True)


def door(database: Database, now: datetime = NOW, days: int | None = None) -> ConsentDesk:
    return ConsentDesk(
        database,
        SECRET,
        frozenset({CHURN}),
        lambda *_: None,
        lambda: now,
        others=frozenset({CHURN, DEMAND}),
        max_age_days=days,
    )


def say(database: Database, name: str, state: State, at: datetime = NOW, scope: str = CHURN) -> int:
    with database.write() as connection:
        return Consents(connection).add([Event(key(name), scope, state, at, "", "till")], NOW)


def take_in(desk: ConsentDesk, folder: Path, *lines: str) -> int:
    path = folder / "answers.csv"
    path.write_text("\n".join(["customer,scope,state,at,source", *lines, ""]), encoding="utf-8")
    return desk.record(desk.preview(path))


# --- the newest answers ------------------------------------------------------------------------

_EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["ann", "bob", "cem"]),
        st.sampled_from([CHURN, DEMAND]),
        st.sampled_from(State),
        st.integers(0, 3),
    ),
    max_size=12,
)


@settings(max_examples=15, deadline=None)
@given(batches=st.lists(_EVENTS, max_size=3))
def test_the_newest_answers_follow_from_the_events(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[str, str, State, int]]]
) -> None:
    database = Database.open(tmp_path_factory.mktemp("l") / "node.db", create=True)
    for batch in batches:
        made = [
            Event(key(who), scope, state, NOW - timedelta(days=day), "", "till")
            for who, scope, state, day in batch
        ]
        with database.write() as connection:
            Consents(connection).add(made, NOW)
    door(database).verify()
    with database.read() as connection:
        ledger = Consents(connection)
        for scope in (CHURN, DEMAND):
            for granted in (True, False):
                now = ledger.standing(scope, granted=granted)
                assert now == ledger.standing_at(scope, ledger.position(), granted=granted)
                assert now == sorted(now)
    standing = door(database).standing(CHURN, NOW)
    assert standing.root == tree_hash(sorted(standing.named)).hex()
    database.close()


def test_verify_finds_what_was_changed_behind_the_ledger(database: Database) -> None:
    for name in ("ann", "bob"):
        say(database, name, State.GRANTED)
    desk = door(database)
    assert desk.verify() == 2
    for change, back in (
        ("UPDATE consent_now SET state = 'withdrawn'", "UPDATE consent_now SET state = 'granted'"),
        ("UPDATE consent_now SET seq = seq + 1", "UPDATE consent_now SET seq = seq - 1"),
    ):
        with database.write() as connection:
            connection.exec_driver_sql(change)
        with pytest.raises(LocalError, match="newest answers are not those"):
            desk.verify()
        with database.write() as connection:
            connection.exec_driver_sql(back)
    with database.write() as connection:  # an event that came in by another way
        connection.exec_driver_sql(
            "INSERT INTO consent_events (customer_key, scope, state, at, wording, source, "
            "recorded_at, leaf) VALUES (?, ?, 'withdrawn', ?, '', 'x', ?, ?)",
            (bytes.fromhex(key("ann")), CHURN, stored(NOW), stored(NOW), bytes(32)),
        )
    for read in (desk.verify, lambda: desk.standing(CHURN, NOW), desk.status):
        with pytest.raises(LocalError, match="does not agree with the ledger"):
            read()
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE consent_head SET position = 3")
    with pytest.raises(LocalError, match="1 of 3 events have another leaf"):
        desk.verify()


def test_answers_from_before_the_leaves_have_them_now(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        made = config()
        made.attributes["connection"] = connection
        command.upgrade(made, "0006")
        for number, (name, state) in enumerate(
            [("ann", "granted"), ("bob", "granted"), ("ann", "withdrawn")]
        ):
            connection.exec_driver_sql(
                "INSERT INTO consent_events (customer_key, scope, state, at, wording, source, "
                "recorded_at) VALUES (?, ?, ?, ?, '', 'till', ?)",
                (
                    bytes.fromhex(key(name)),
                    CHURN,
                    state,
                    stored(NOW + timedelta(hours=number)),
                    stored(NOW),
                ),
            )
    engine.dispose()
    database = Database.open(path)
    desk = door(database)
    assert desk.verify() == 3
    assert desk.standing(CHURN, NOW).named == {leaf(CHURN, key("bob"))}
    assert say(database, "bob", State.WITHDRAWN, NOW + timedelta(hours=5)) == 1
    assert not desk.standing(CHURN, NOW).named and desk.verify() == 4


# --- erasure -----------------------------------------------------------------------------------


def test_forgetting_ends_every_yes_and_keeps_the_no(database: Database, tmp_path: Path) -> None:
    say(database, "ann", State.GRANTED)
    say(database, "ann", State.OBJECTED, scope=DEMAND)
    say(database, "bob", State.GRANTED)
    desk = door(database, NOW + timedelta(days=1))
    before = desk.standing(CHURN, NOW)
    assert desk.forget(key("ann"), MARK) == 3
    assert desk.verify() == 4
    with database.read() as connection:
        ledger = Consents(connection)
        assert not list(ledger.events(key("ann"))) and len(list(ledger.events(MARK.hex()))) == 3
        # what stood can be found again by its leaf
        old = ledger.standing_at(CHURN, before.position, granted=True)
        assert tree_hash(old).hex() == before.root
    assert desk.standing(CHURN, NOW).named == {leaf(CHURN, key("bob"))}
    assert not desk.standing(DEMAND, NOW).lets_in(key("ann"))
    # the same export of the till does not bring the person back, a new answer does
    assert take_in(desk, tmp_path, f"ann,{CHURN},granted,2026-03-10,till") == 0
    held = [path.read_bytes() for path in tmp_path.glob("node.db*")]
    assert not any(bytes.fromhex(key("ann")) in one for one in held)
    assert any(bytes.fromhex(key("bob")) in one for one in held)  # the search finds a key
    later = door(database, NOW + timedelta(days=3))
    assert take_in(later, tmp_path, f"ann,{CHURN},granted,2026-03-12,till") == 1
    assert later.standing(CHURN, NOW).lets_in(key("ann")) and later.verify() == 5
    with pytest.raises(InputError, match="32 bytes"):
        desk.forget(key("bob"), b"short")


def test_a_no_of_the_day_of_the_erasure_brings_nobody_back(
    database: Database, tmp_path: Path
) -> None:
    """A no of a day counts until its end, which is after an erasure at noon."""
    held = f"ann,{CHURN},withdrawn,2026-03-10,till"
    desk = door(database)
    assert take_in(desk, tmp_path, held) == 1
    desk.forget(key("ann"), MARK)
    assert take_in(desk, tmp_path, held) == 0  # it was here before
    assert take_in(desk, tmp_path, f"ann,{DEMAND},objected,2026-03-10,till") == 0  # it was not
    desk.forbid("ann", CHURN, State.OBJECTED)  # a shop system says it once more
    files = [path.read_bytes() for path in tmp_path.glob("node.db*")]
    assert not any(bytes.fromhex(key("ann")) in one for one in files)
    assert desk.verify() == 2
    # a yes of before that no stays out as well; a later one, and a no after it, count
    later = door(database, NOW + timedelta(days=3))
    assert take_in(later, tmp_path, f"ann,{CHURN},granted,2026-03-10T15:00:00Z,till") == 0
    said = (f"ann,{CHURN},granted,2026-03-12,till", f"ann,{CHURN},withdrawn,2026-03-13,till")
    assert take_in(later, tmp_path, *said) == 2
    assert later.standing(CHURN, NOW).count == 0
    assert take_in(later, tmp_path, f"ann,{CHURN},granted,2026-03-12T23:00:00Z,till") == 1
    assert later.standing(CHURN, NOW).count == 0 and later.verify() == 5


def test_nothing_but_forgetting_changes_a_row(database: Database) -> None:
    say(database, "ann", State.GRANTED)
    say(database, "bob", State.GRANTED)
    say(database, "cem", State.GRANTED)
    ann, cem = (bytes.fromhex(key(name)) for name in ("ann", "cem"))
    marker = ("INSERT INTO consent_forgetting VALUES (?, ?)", (ann, MARK))
    swap = "UPDATE consent_events SET customer_key = ? WHERE customer_key = ?"
    refused: list[tuple[tuple[str, tuple[object, ...]], ...]] = [
        ((swap, (MARK, ann)),),  # without the marker
        (marker, (swap, (MARK, cem))),  # of somebody else
        (marker, (swap, (bytes(32), ann))),  # to another tombstone
        (marker, ("UPDATE consent_events SET customer_key = ?, state = 'withdrawn'", (MARK,))),
        (marker, ("DELETE FROM consent_events", ())),
        (("UPDATE consent_forgotten SET at = ''", ()),),
        (("DELETE FROM consent_forgotten", ()),),
    ]
    columns = ("scope", "state", "at", "wording", "source", "recorded_at", "leaf", "seq")
    for column in columns:
        change = f"UPDATE consent_events SET customer_key = ?, {column} = ? WHERE customer_key = ?"
        value: object = 99 if column == "seq" else bytes(32) if column == "leaf" else "objected"
        refused.append((marker, (change, (MARK, value, ann))))
    door(database).forget(key("bob"), bytes([8]) * 32)
    for steps in refused:
        with (
            pytest.raises(IntegrityError, match="only added to"),
            database.write() as connection,
        ):
            for sql, values in steps:
                connection.exec_driver_sql(sql, values)
    with database.read() as connection:
        held = connection.exec_driver_sql("SELECT count(*) FROM consent_forgetting").scalar_one()
        assert held == 0
    assert door(database).verify() == 5


# --- opt-outs and age --------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["gpc", "GPC", "opt-out", "opted-out", "do-not-sell"])
def test_an_opt_out_is_an_objection_to_everything(
    database: Database, tmp_path: Path, word: str
) -> None:
    desk = door(database)
    lines = (f"ann,{CHURN},granted,2026-03-01,till", f"ann,*,{word},2026-03-02,browser")
    assert take_in(desk, tmp_path, *lines) == 3
    assert desk.counts(CHURN) == desk.counts(DEMAND) == {State.OBJECTED: 1}
    with pytest.raises(InputError, match="names its one purpose"):
        take_in(desk, tmp_path, "bob,*,granted,2026-03-01,till")


def test_an_old_yes_does_not_stand_until_it_is_given_again(database: Database) -> None:
    for name, days in (("old", 400), ("again", 400), ("new", 10)):
        say(database, name, State.GRANTED, NOW - timedelta(days=days))
    say(database, "again", State.GRANTED, NOW - timedelta(days=20))
    say(database, "no", State.OBJECTED, NOW - timedelta(days=400), DEMAND)
    assert door(database).standing(CHURN, NOW).count == 3
    strict = door(database, days=365)
    standing = strict.standing(CHURN, NOW)
    assert standing.named == {leaf(CHURN, key(name)) for name in ("again", "new")}
    assert standing.oldest == datetime(2025, 3, 10, tzinfo=UTC)
    assert not strict.standing(DEMAND, NOW).lets_in(key("no"))  # a no does not grow old
    assert strict.holds(standing, NOW + timedelta(hours=3))
    assert not strict.holds(standing, NOW + timedelta(days=1))
    assert not door(database).holds(standing, NOW)
    with database.read() as connection:
        again = Consents(connection).standing_at(
            CHURN, standing.position, granted=True, oldest=stored(standing.oldest)
        )
    assert tree_hash(again).hex() == standing.root


def test_a_purpose_without_customers_honours_a_no_and_asks_for_no_yes(database: Database) -> None:
    desk = door(database)
    standing = desk.standing(DEMAND, NOW)
    assert standing.basis is Basis.NONE and standing.lets_in(key("anybody"))
    desk.forbid("ann", DEMAND, State.RESTRICTED)
    assert not desk.holds(standing, NOW)
    assert not desk.standing(DEMAND, NOW).lets_in(key("ann"))
    desk.set_basis(DEMAND, Basis.LEGITIMATE_INTEREST, "LIA-3")
    assert desk.standing(DEMAND, NOW).assessment == "LIA-3"
    status = {one.scope: one for one in desk.status()}
    assert [one.assessment for one in status[DEMAND].history] == ["LIA-3"]
    assert status[CHURN].basis.basis == "consent" and not status[CHURN].history


def test_sums_under_a_clause_that_asks_for_a_yes_need_a_decision(database: Database) -> None:
    """Else they would be over everybody who did not say no, and the clause asks for those who
    said yes."""
    purpose = PurposeBasis(purpose=DEMAND, basis="consent", scope=DEMAND, reference=None)
    block = LegalBasis(type="legal_basis", purposes=(purpose,))
    terms = cast(Any, SimpleNamespace(block=lambda *_: block))
    order = cast(Any, SimpleNamespace(purpose=DEMAND, columns=("sales_line.qty",)))
    about = cast(Any, SimpleNamespace(purpose=DEMAND, columns=("sales_line.customer_key",)))
    with database.read() as connection:
        assert basis_of(connection, terms, order) == ""
        assert basis_of(connection, terms, about) == "consent"
    door(database).set_basis(DEMAND, Basis.CONSENT, "")
    say(database, "ann", State.GRANTED, scope=DEMAND)
    with database.read() as connection:
        assert basis_of(connection, terms, order) == "consent"
    standing = door(database).standing(DEMAND, NOW)
    assert standing.lets_in(key("ann")) and not standing.lets_in(key("bob"))


@settings(max_examples=40, deadline=None)
@given(text=st.text(max_size=12))
def test_the_quick_key_is_the_key(text: str) -> None:
    found, wanted = key_of(SECRET, text), customer_key(SECRET, text)
    assert (found.hex() if found is not None else None) == wanted


# --- records -----------------------------------------------------------------------------------


def test_records_say_who_what_when_and_on_which_text(database: Database, tmp_path: Path) -> None:
    text = "a" * 64
    with database.write() as connection:
        Notices(connection).add(Notice(text, "de", "Dürfen wir?", True, NOW))
    path = tmp_path / "a.csv"
    path.write_text(
        "customer,scope,state,at,source,wording\n"
        f"ann,{CHURN},granted,2026-03-01,till,{text}\n"
        f"ann,{CHURN},withdrawn,2026-03-02,web,\n"
        f"bob,{CHURN},granted,2024-03-01,till,\n"
        f"ann,{DEMAND},gpc,2026-03-02,browser,\n",
        encoding="utf-8",
    )
    desk = door(database, days=365)
    desk.record(desk.preview(path))
    records = desk.records(Controller("Bakery", "m" * 64, "Coop"))
    document = json.loads("\n".join(records.export(NOW)))
    assert [one["party_name"] for one in document["pii_controllers"]] == ["Bakery", "Coop"]
    by = {
        (one["pii_principal_id"], one["purposes"][0]["purpose"]): one for one in document["records"]
    }
    assert len(by) == len(document["records"]) == 3
    ann = by[key("ann"), CHURN]
    assert ann["state"] == "withdrawn"
    assert [one["event_type"] for one in ann["events"]] == ["consent-given", "consent-withdrawn"]
    assert ann["privacy_notice"] == {"notice_hash": text, "language": "de", "known_here": True}
    assert ann["purposes"][0]["lawful_basis"] == "consent"
    assert by[key("bob"), CHURN]["state"] == "expired"
    assert by[key("ann"), DEMAND]["purposes"][0]["lawful_basis"] == "no-customers"
    receipt = records.receipt(key("ann"), NOW)
    assert len(receipt["records"]) == 2 and key("bob") not in json.dumps(receipt)
    assert receipt["receipt_id"] == records.receipt(key("ann"), NOW)["receipt_id"]
    assert not records.receipt(key("eve"), NOW)["records"]


# --- the book of rows --------------------------------------------------------------------------


def test_a_book_is_whole_or_refused(tmp_path: Path) -> None:
    rows = {bytes([k]) * 32: (k, bytes([k + 100]) * 32) for k in range(1, 6)}
    book = RowBook(
        tuple(rows),
        tuple(lines for lines, _ in rows.values()),
        tuple(digest for _, digest in rows.values()),
    )
    assert RowBook.decode(book.encode(), "book") == book
    path = tmp_path / "book.bin"
    path.write_bytes(book.encode())
    for k in range(1, 12):  # also where no record stands, before, between and behind
        assert book_files.has(path, bytes([k]) * 32) is (bytes([k]) * 32 in book.leaves)
    assert book_files.redact(path, {bytes([k]) * 32 for k in (0, 2, 5, 9)}) == 2
    less = RowBook.decode(path.read_bytes(), "book")
    assert less.root() == book.root() and less.leaves == book.leaves
    assert less.lines == (1, REDACTED, 3, 4, REDACTED)
    assert less.digests == tuple(
        book.inner(k) if k in (1, 4) else book.digests[k] for k in range(5)
    )
    assert book_files.redact(path, set(book.leaves[1:2])) == 0  # what is gone stays as it is
    assert RowBook.decode(path.read_bytes(), "book") == less
    path.write_bytes(BOOK_MAGIC)
    assert not book_files.has(path, bytes(32)) and not book_files.redact(path, {bytes(32)})
    for broken in (b"", b"something else", book.encode()[:-1]):
        path.write_bytes(broken)
        with pytest.raises(InputError, match="not a book"):
            book_files.has(path, bytes(32))
    book.require_inside(set(rows), "consent")
    with pytest.raises(InputError, match="1 customers"):
        book.require_inside(set(rows) - {bytes([3]) * 32}, "consent")
    book.require_inside({bytes([77]) * 32}, "legitimate-interest")
    with pytest.raises(InputError, match="1 customers"):
        book.require_inside({bytes([3]) * 32}, "legitimate-interest")
    with pytest.raises(InputError, match="not in order"):
        RowBook(book.leaves[::-1], book.lines, book.digests)
    with pytest.raises(InputError, match="one record"):
        RowBook(book.leaves, book.lines[1:], book.digests)
