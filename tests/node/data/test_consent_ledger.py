"""What customers said: the newest answer counts, a no counts at once, nothing is changed."""

from __future__ import annotations

import csv
import hashlib
import io
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from node.data.consent import consented_lines
from node.data.intake import add, preview
from node.data.stages import CUSTOMER_LINE_COLUMNS, Basis
from node.data.values import customer_key
from node.data.vault import Vault
from node.policy.consents import ConsentDesk
from node.store.consent_sql import stored
from node.store.consents import Consents, Event, Newest, State
from node.store.database import Database
from protocols.audit.consent import leaf
from protocols.errors import InputError, Refused
from protocols.ids import AgreementId, RunId
from protocols.permit import Gate, Permit

SECRET = bytes(range(32))
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
CHURN, OTHER = "train:churn", "train:other"
HEADER = "customer,scope,state,at,source"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal() -> list[tuple[str, Mapping[str, object]]]:
    return []


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.open(tmp_path / "node.db", create=True)


@pytest.fixture
def desk(
    database: Database, clock: Clock, journal: list[tuple[str, Mapping[str, object]]]
) -> ConsentDesk:
    def append(kind: str, facts: Mapping[str, object]) -> None:
        journal.append((kind, facts))

    return ConsentDesk(database, SECRET, frozenset({CHURN, OTHER}), append, clock)


def key(name: str) -> str:
    found = customer_key(SECRET, name)
    assert found is not None
    return found


def answers(folder: Path, *lines: str, header: str = HEADER, name: str = "answers.csv") -> Path:
    path = folder / name
    path.write_text("\n".join([header, *lines, ""]), encoding="utf-8")
    return path


def take_in(desk: ConsentDesk, folder: Path, *lines: str) -> int:
    return desk.record(desk.preview(answers(folder, *lines)))


def stands(desk: ConsentDesk, name: str, scope: str = CHURN) -> bool:
    return desk.standing(scope, desk.clock()).lets_in(key(name))


# --- which answer counts -----------------------------------------------------------------------


def test_off_until_a_yes_and_only_for_that_purpose(desk: ConsentDesk, tmp_path: Path) -> None:
    assert not stands(desk, "ann")
    assert take_in(desk, tmp_path, f"ann,{CHURN},granted,2026-03-01,till") == 1
    assert stands(desk, "ann") and not stands(desk, "bob")
    assert not stands(desk, "ann", OTHER)
    assert stands(desk, " ANN ")  # as the till prints it, in any case


@pytest.mark.parametrize("state", [one for one in State if one is not State.GRANTED])
def test_a_no_counts_at_once_and_a_later_yes_again(
    desk: ConsentDesk, clock: Clock, tmp_path: Path, state: State
) -> None:
    take_in(desk, tmp_path, f"ann,{CHURN},granted,2026-03-01,till")
    before = desk.standing(CHURN, NOW)
    assert desk.forbid("Ann", CHURN, state)
    assert not stands(desk, "ann")
    assert before.lets_in(key("ann"))  # a snapshot that was taken before is what it was
    assert desk.standing(CHURN, NOW).position == before.position + 1
    clock.now += timedelta(days=2)
    take_in(desk, tmp_path, f"ann,{CHURN},granted,2026-03-11T08:00,till")
    assert stands(desk, "ann")


def test_the_instant_counts_not_the_order_of_files(desk: ConsentDesk, tmp_path: Path) -> None:
    take_in(desk, tmp_path, f"ann,{CHURN},withdrawn,2026-03-05T10:00:00Z,till")
    take_in(desk, tmp_path, f"ann,{CHURN},granted,2026-03-05T10:30:00+01:00,till")
    assert not stands(desk, "ann")


def test_of_two_answers_of_one_day_the_careful_one_counts(
    desk: ConsentDesk, clock: Clock, tmp_path: Path
) -> None:
    take_in(
        desk,
        tmp_path,
        f"ann,{CHURN},withdrawn,2026-03-10,till",
        f"ann,{CHURN},granted,2026-03-10,till",
        f"bob,{CHURN},granted,2026-03-10T09:00,till",
        f"bob,{CHURN},objected,2026-03-10T09:00,till",
        f"cem,{CHURN},withdrawn,2026-03-10,till",
        f"cem,{CHURN},granted,2026-03-10T11:59,till",
    )
    assert not any(stands(desk, name) for name in ("ann", "bob", "cem"))
    clock.now += timedelta(days=1)
    take_in(desk, tmp_path, f"cem,{CHURN},granted,2026-03-11,till")
    assert stands(desk, "cem")


def test_a_withdrawal_counts_though_a_clock_was_set_back(
    desk: ConsentDesk, clock: Clock, tmp_path: Path
) -> None:
    take_in(desk, tmp_path, f"ann,{CHURN},granted,2026-03-10T11:59,till")
    clock.now = NOW - timedelta(days=30)
    desk.forbid("ann", CHURN, State.WITHDRAWN)
    assert not stands(desk, "ann")


def test_of_an_hour_that_the_clock_shows_twice_the_no_is_the_later(
    desk: ConsentDesk, clock: Clock, tmp_path: Path
) -> None:
    """02:45 in summer time, then 02:15 in winter time, half an hour later."""
    clock.now = datetime(2026, 11, 1, tzinfo=UTC)
    said = (
        f"ann,{CHURN},granted,2026-10-25T02:45:00,till",
        f"ann,{CHURN},withdrawn,2026-10-25T02:15:00,till",
    )
    desk.record(desk.preview(answers(tmp_path, *said), timezone="Europe/Berlin"))
    assert not stands(desk, "ann")


def test_a_number_that_was_copied_from_a_page_is_the_number(
    desk: ConsentDesk, tmp_path: Path
) -> None:
    take_in(desk, tmp_path, f"4711,{CHURN},granted,2026-03-01,till")
    for unseen in ("\u200b", "\ufeff", "\u00ad", "\u202c", "\u2066"):
        assert key(f"47{unseen}11{unseen}") == key("4711")
        assert customer_key(SECRET, unseen) is None
    assert desk.forbid("4711\u200b", CHURN, State.WITHDRAWN) and not stands(desk, "4711")
    for half in ("\udcff", "47\ud80011"):
        with pytest.raises(InputError, match="no text"):
            desk.forbid(half, CHURN, State.WITHDRAWN)


def test_the_same_file_again_changes_nothing(desk: ConsentDesk, tmp_path: Path) -> None:
    lines = [f"c{k},{CHURN},granted,2026-03-01,till" for k in range(30)]
    assert take_in(desk, tmp_path, *lines) == 30
    position = desk.standing(CHURN, NOW).position
    assert take_in(desk, tmp_path, *lines) == 0
    assert take_in(desk, tmp_path, *lines, f"new,{CHURN},granted,2026-03-01,till") == 1
    assert desk.standing(CHURN, NOW).position > position
    assert len(list(desk.export())) == 1 + 31


def test_a_yes_cannot_be_typed_in(desk: ConsentDesk) -> None:
    with pytest.raises(InputError, match="imported from a file"):
        desk.forbid("ann", CHURN, State.GRANTED)
    with pytest.raises(InputError, match="customer is empty"):
        desk.forbid("  ", CHURN, State.WITHDRAWN)
    with pytest.raises(InputError, match="not a purpose") as caught:
        desk.forbid("ann", "train:chrun", State.WITHDRAWN)
    assert CHURN in caught.value.fix
    assert desk.forbid("nobody", CHURN, State.WITHDRAWN) is False


# --- legal basis -------------------------------------------------------------------------------


def test_a_legitimate_interest_needs_an_assessment_and_honours_objections(
    desk: ConsentDesk, tmp_path: Path
) -> None:
    for reference in ("", "see my notes", "-"):
        with pytest.raises(InputError, match="assessment"):
            desk.set_basis(CHURN, Basis.LEGITIMATE_INTEREST, reference)
    with pytest.raises(InputError):
        desk.set_basis(CHURN, Basis.CONSENT, "LIA-1")
    with pytest.raises(InputError):
        desk.set_basis("train:unknown", Basis.LEGITIMATE_INTEREST, "LIA-1")
    assert not stands(desk, "ann")
    desk.set_basis(CHURN, Basis.LEGITIMATE_INTEREST, "LIA-1")
    assert stands(desk, "ann") and not stands(desk, "ann", OTHER)
    desk.forbid("ann", CHURN, State.OBJECTED)
    desk.forbid("bob", CHURN, State.RESTRICTED)
    desk.forbid("cem", CHURN, State.WITHDRAWN)
    take_in(desk, tmp_path, f"dee,{CHURN},granted,2026-03-01,till")
    assert [stands(desk, name) for name in ("ann", "bob", "cem", "dee", "eve")] == [
        False,
        False,
        False,
        True,
        True,
    ]
    assert desk.standing(CHURN, NOW).assessment == "LIA-1"
    desk.set_basis(CHURN, Basis.CONSENT, "")
    assert [stands(desk, name) for name in ("ann", "dee", "eve")] == [False, True, False]


# --- what a run reads --------------------------------------------------------------------------

_NAMES = ("ann", "bob", "cem", "dee")
_EVENTS = st.lists(
    st.tuples(
        st.sampled_from(_NAMES),
        st.sampled_from([CHURN, OTHER]),
        st.sampled_from(State),
        st.integers(0, 5),
    ),
    max_size=20,
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    folder = tmp_path_factory.mktemp("shop")
    path = folder / "sales.csv"
    rows = [f"2026-01-{1 + k % 28:02d},A,1,2,{(*_NAMES, '')[k % 5]}" for k in range(50)]
    path.write_text("\n".join(["date,category,qty,total,customer", *rows, ""]), encoding="utf-8")
    vault = Vault(folder / "vault", bytes(32))
    add(vault, preview(path), SECRET, NOW)
    return vault


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(events=_EVENTS, interest=st.booleans())
def test_a_run_reads_nobody_outside_the_ledger(
    shop: Vault,
    tmp_path_factory: pytest.TempPathFactory,
    events: list[tuple[str, str, State, int]],
    interest: bool,
) -> None:
    database = Database.open(tmp_path_factory.mktemp("l") / "node.db", create=True)
    desk = ConsentDesk(database, SECRET, frozenset({CHURN, OTHER}), lambda *_: None, lambda: NOW)
    with database.write() as connection:
        made = [
            Event(key(name), scope, state, NOW - timedelta(days=day), "", "till")
            for name, scope, state, day in events
        ]
        Consents(connection).add(made, NOW)
    if interest:
        desk.set_basis(CHURN, Basis.LEGITIMATE_INTEREST, "LIA-1")
    permit = Permit(
        Gate.ADMIT,
        AgreementId("a" * 64),
        RunId("b" * 32),
        CHURN,
        "c" * 64,
        CUSTOMER_LINE_COLUMNS,
        NOW,
    )
    found = consented_lines(shop, permit, NOW, desk.standing(CHURN, NOW))
    read = set(found.lines["customer_key"].astype(str))
    for name in _NAMES:
        said = [(day, state) for who, scope, state, day in events if (who, scope) == (name, CHURN)]
        newest = {state for day, state in said if day == min(d for d, _ in said)}
        allowed = newest == {State.GRANTED} or (interest and not newest)
        assert (key(name) in read) is allowed
    database.close()


# --- the file ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (f",{CHURN},granted,2026-03-01,till", "customer is empty"),
        ("c1,marketing,granted,2026-03-01,till", "not a purpose here"),
        (f"c1,{CHURN},yes,2026-03-01,till", "expected one of: granted"),
        (f"c1,{CHURN},granted,01/03/2026,till", "expected one such as 2026-03-01"),
        (f"c1,{CHURN},granted,2026-02-30,till", "is not a moment"),
        (f"c1,{CHURN},granted,,till", "is not a moment"),
        (f"c1,{CHURN},granted,1889-01-01,till", "before 1990"),
        (f"c1,{CHURN},granted,2026-03-10T12:00:01Z,till", "in the future"),
        (f"c1,{CHURN},withdrawn,2026-03-12,till", "in the future"),
        (f"c1,{CHURN},granted,2026-03-01,ann@example.org", "short name"),
        (f"c1,{CHURN},granted,2026-03-01,", "short name"),
        (f"c1,{CHURN},granted,2026-03-01", "expected 5 columns"),
        (f'c1,{CHURN},granted,2026-03-01,"till" x', "not proper CSV"),
    ],
)
def test_a_bad_line_refuses_the_file_with_its_number(
    desk: ConsentDesk, tmp_path: Path, line: str, problem: str
) -> None:
    good = f"zz-secret-zz,{CHURN},granted,2026-03-01,till"
    with pytest.raises(InputError) as caught:
        desk.preview(answers(tmp_path, good, line, good))
    assert problem in caught.value.problem and caught.value.where == "answers.csv:3:1"
    assert "1 of 3 lines" in caught.value.problem and "zz-secret-zz" not in str(caught.value)
    assert desk.standing(CHURN, NOW).position == 0


def test_many_bad_lines_are_counted_and_a_few_are_shown(desk: ConsentDesk, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        desk.preview(answers(tmp_path, *(f"c{k},{CHURN},maybe,2026,till" for k in range(50))))
    assert "50 of 50" in caught.value.problem and caught.value.problem.count("answers.csv:") == 5


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("customer,scope,state,at", "no column source"),
        ("name;scope;state;at;source", "no column customer"),
        ("customer,scope,state,at,source,state", "'state' stands twice"),
    ],
)
def test_a_header_without_the_columns(
    desk: ConsentDesk, tmp_path: Path, header: str, problem: str
) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        desk.preview(answers(tmp_path, "x", header=header))
    assert caught.value.where == "answers.csv:1:1"


def test_other_ways_to_write_the_file(desk: ConsentDesk, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        b"\xef\xbb\xbfSource;Customer; At ;State;Scope;shoe size\r\n"
        b"till;ann;2026-03-01 09:00;Granted;train:churn;42\r\n"
    )
    found = desk.preview(path, timezone="Europe/Berlin")
    moment = stored(datetime(2026, 3, 1, 8, tzinfo=UTC))
    assert found.rows == ((bytes.fromhex(key("ann")), CHURN, "granted", moment, "", "till"),)
    assert "rows" not in repr(found)
    with pytest.raises(InputError, match="time zone"):
        desk.preview(path, timezone="Mars/Phobos")
    with pytest.raises(InputError, match="no lines"):
        desk.preview(answers(tmp_path))


def test_the_text_that_was_shown_is_kept_with_a_yes(desk: ConsentDesk, tmp_path: Path) -> None:
    seen, own = hashlib.sha256(b"may we").hexdigest(), "f" * 64
    path = answers(
        tmp_path,
        f"ann,{CHURN},granted,2026-03-01,till,",
        f"bob,{CHURN},granted,2026-03-01,till,{own}",
        f"cem,{CHURN},withdrawn,2026-03-01,till,",
        header=f"{HEADER},wording",
    )
    found = desk.preview(path, wording=seen)
    assert [row[4] for row in found.rows] == [seen, own, ""]
    bad = answers(
        tmp_path,
        f"ann,{CHURN},granted,2026-03-01,till,read it",
        header=f"{HEADER},wording",
        name="bad.csv",
    )
    with pytest.raises(InputError, match="SHA-256 of the text"):
        desk.preview(bad)
    desk.record(desk.preview(path))
    (churn, other) = desk.status()
    assert (churn.without_wording, other.without_wording) == (1, 0)
    assert churn.counts == {State.GRANTED: 2, State.WITHDRAWN: 1} and not other.counts


def test_what_is_exported_can_be_imported_elsewhere(
    desk: ConsentDesk, clock: Clock, tmp_path: Path
) -> None:
    take_in(
        desk,
        tmp_path,
        f"ann,{CHURN},granted,2026-03-01,till",
        f"bob,{OTHER},objected,2026-03-10,phone: Tue.",
        f"cem,{CHURN},granted,2026-03-02T10:00:00.123456Z,till",
    )
    desk.forbid("cem", CHURN, State.WITHDRAWN)
    text = "\n".join([*desk.export(), ""])
    assert "ann" not in text and text.count("\n") == 5
    assert [row["state"] for row in csv.DictReader(io.StringIO(text))][-1] == "withdrawn"
    path = tmp_path / "export.csv"
    path.write_text(text, encoding="utf-8")
    assert desk.record(desk.preview(path)) == 0
    other = Database.open(tmp_path / "other.db", create=True)
    twin = ConsentDesk(other, SECRET, desk.scopes, lambda *_: None, clock)
    assert twin.record(twin.preview(path)) == 4
    assert twin.standing(CHURN, NOW) == desk.standing(CHURN, NOW)
    assert twin.verify() == desk.verify() == 4
    path.write_text(text.replace(key("ann"), "ann"), encoding="utf-8")
    with pytest.raises(InputError, match="64 hex digits"):
        desk.preview(path)


# --- the ledger --------------------------------------------------------------------------------


def test_a_ledger_longer_than_one_batch(desk: ConsentDesk, database: Database) -> None:
    made = [
        Event(hashlib.sha256(b"%d" % k).hexdigest(), CHURN, State.GRANTED, NOW, "", "till")
        for k in range(12_000)
    ]
    with database.write() as connection:
        assert Consents(connection).add(made, NOW) == 12_000
        assert Consents(connection).add(made[:10] + made[-10:], NOW) == 0
    assert len(desk.standing(CHURN, NOW).named) == 12_000


def test_nothing_is_changed_in_place(desk: ConsentDesk, database: Database, tmp_path: Path) -> None:
    take_in(desk, tmp_path, f"ann,{CHURN},granted,2026-03-01,till")
    desk.set_basis(CHURN, Basis.LEGITIMATE_INTEREST, "LIA-1")
    changes = [
        "UPDATE consent_events SET state = 'granted'",
        "DELETE FROM consent_events",
        "UPDATE consent_imports SET added = 0",
        "DELETE FROM consent_imports",
        "UPDATE legal_bases SET basis = 'consent'",
        "DELETE FROM legal_bases",
    ]
    for change in changes:
        with (
            pytest.raises(IntegrityError, match="only added to"),
            database.write() as connection,
        ):
            connection.exec_driver_sql(change)
    assert stands(desk, "ann")


def test_an_older_standing_can_be_found_again(
    desk: ConsentDesk, database: Database, tmp_path: Path
) -> None:
    take_in(desk, tmp_path, f"ann,{CHURN},granted,2026-03-01,till")
    position = desk.standing(CHURN, NOW).position
    desk.forbid("ann", CHURN, State.WITHDRAWN)
    with database.read() as connection:
        ledger = Consents(connection)
        assert ledger.standing_at(CHURN, position, granted=True) == [leaf(CHURN, key("ann"))]
        assert not ledger.standing_at(CHURN, position + 1, granted=True)
        assert ledger.newest_at(CHURN, key("ann"), position) == Newest(
            State.GRANTED, datetime(2026, 3, 1, tzinfo=UTC)
        )


def test_the_journal_counts_and_names_nobody(
    desk: ConsentDesk, journal: list[tuple[str, Mapping[str, object]]], tmp_path: Path
) -> None:
    path = answers(tmp_path, f"ann,{CHURN},granted,2026-03-01,till")
    desk.record(desk.preview(path))
    desk.forbid("ann", CHURN, State.OBJECTED)
    desk.set_basis(CHURN, Basis.LEGITIMATE_INTEREST, "LIA-1")
    file = hashlib.sha256(path.read_bytes()).hexdigest()
    assert journal == [
        ("consent", {"file": file, "events": 1, "position": 1}),
        ("consent", {"scope": CHURN, "state": "objected", "events": 1, "position": 2}),
        ("consent", {"scope": CHURN, "basis": "legitimate-interest", "assessment": "LIA-1"}),
    ]


def test_after_a_restore_nobody_is_read_until_the_answers_are_there_again(
    desk: ConsentDesk, database: Database, clock: Clock, tmp_path: Path
) -> None:
    path = answers(tmp_path, f"ann,{CHURN},granted,2026-03-01,till")
    desk.record(desk.preview(path))
    clock.now += timedelta(hours=1)
    back = ConsentDesk(database, SECRET, desk.scopes, desk.journal, clock, restored_at=clock.now)
    assert not back.is_whole()
    with pytest.raises(Refused, match="came back from a backup") as caught:
        back.standing(CHURN, clock.now)
    assert "consent import" in caught.value.fix
    clock.now += timedelta(minutes=1)
    assert back.record(back.preview(path)) == 0
    assert back.is_whole() and stands(back, "ann")


CHILD = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from node.policy.consents import ConsentDesk
from node.store.consents import Consents
from node.store.database import Database

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

folder, place = Path(sys.argv[1]), sys.argv[2]
if place == "inside":
    Consents.note_import = die
desk = ConsentDesk(
    Database.open(folder / "node.db"), bytes(range(32)), frozenset({"train:churn"}),
    die, lambda: datetime(2026, 3, 10, 12, tzinfo=UTC),
)
desk.record(desk.preview(folder / "answers.csv"))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize(("place", "expected"), [("inside", 0), ("after", 25_000)])
def test_killed_in_an_import(
    desk: ConsentDesk, database: Database, tmp_path: Path, place: str, expected: int
) -> None:
    path = answers(tmp_path, *(f"c{k},{CHURN},granted,2026-03-01,till" for k in range(25_000)))
    done = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path), place], check=False)
    assert done.returncode == -9
    again = Database.open(database.path)
    with again.read() as connection:
        assert Consents(connection).position() == expected
    assert desk.record(desk.preview(path)) == 25_000 - expected
