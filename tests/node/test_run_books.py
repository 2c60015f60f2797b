"""What runs read is proven later: real vault, ledger, way and journal; nobody else ever in it."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node import keys
from node import round as way
from node.data.intake import add, preview
from node.data.stages import Basis
from node.data.values import customer_key
from node.data.vault import Vault
from node.federation.participant import Participant
from node.house import Home, open_home
from node.policy.consents import ConsentDesk
from node.policy.run_books import FOLDER
from node.store.consents import Consents, Event, State
from node.store.database import Database
from node.store.run_snapshots import RunSnapshots
from node.wiring import Daemon
from protocols.audit.consent import _above, leaf, leaves, path
from protocols.audit.customer_proof import check_customer, neighbours
from protocols.course import Course
from protocols.errors import CoopError, InputError, LocalError, Refused
from protocols.ids import AgreementId, RunId
from protocols.permit import Gate, Permit
from protocols.workloads import churn, demand

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
NUMBERS = tuple(f"card-{k}" for k in range(12))
CHURN = {**churn.WORKLOAD.defaults, "train_until": "2025-11-01", "expected_customers": 100}
PERMIT = Permit(
    gate=Gate.ADMIT,
    agreement=AgreementId("a" * 64),
    run=RunId("b" * 32),
    purpose=churn.PURPOSE,
    workload_digest="c" * 64,
    columns=churn.COLUMNS,
    not_after=NOW + timedelta(hours=1),
)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


class Shop:
    """A house whose clock a test sets, with a year of sales."""

    def __init__(self, folder: Path, vault: Vault) -> None:
        keys.create(folder)
        found = open_home(folder)
        self.clock = Clock()
        self.home = Home(folder, found.settings, found.keys, found.log, self.clock)
        self.database = Database.open(folder / "node.db", create=True)
        self.vault = vault
        self.desk = ConsentDesk(
            self.database,
            SECRET,
            frozenset({churn.PURPOSE}),
            self.home.journal,
            self.clock,
            others=frozenset({churn.PURPOSE, demand.PURPOSE}),
        )

    @property
    def house(self) -> way.House:
        books = self.home.run_books(self.database)
        return way.House(self.vault, self.desk, books, self.home.cache)

    def say(self, state: State, *numbers: str, scope: str = churn.PURPOSE) -> None:
        self.clock.now += timedelta(seconds=1)
        made = [Event(key(one), scope, state, self.clock.now, "", "till") for one in numbers]
        with self.database.write() as connection:
            Consents(connection).add(made, self.clock.now)

    def prepare(self) -> way.PreparedChurn:
        found = way.prepare(PERMIT, course(churn.WORKLOAD, CHURN), self.clock.now, self.house)
        assert isinstance(found, way.PreparedChurn)
        return found

    def again(self, prepared: way.Prepared, number: int, permit: Permit = PERMIT) -> way.Prepared:
        self.clock.now += timedelta(seconds=1)
        return way.again(permit, prepared, number, self.clock.now)

    def prove(self) -> Any:
        return self.home.run_books(self.database).prove(PERMIT.run[:4], self.home.log)


SECRET = bytes(range(32))


def key(number: str) -> str:
    found = customer_key(SECRET, number)
    assert found is not None
    return found


def keyed(*numbers: str) -> set[str]:
    return set(map(key, numbers))


def course(workload: Any, config: dict[str, Any]) -> Course:
    nothing = cast(Any, None)  # these ways ask a course for its recipe and its run alone
    order = cast(Any, SimpleNamespace(order=SimpleNamespace(run=PERMIT.run)))
    return Course(order, nothing, nothing, workload.configure(config, "config"))


@pytest.fixture(scope="module")
def sales(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    folder, draw = tmp_path_factory.mktemp("sales"), random.Random(3)
    rows = [
        f"{date(2024, 12, 30) + timedelta(days=draw.randrange(370))},A,1,2.00,{number}"
        for number in (*NUMBERS, "")
        for _ in range(40)
    ]
    path = folder / "sales.csv"
    path.write_text("\n".join(["date,category,qty,total,customer", *rows, ""]), encoding="utf-8")
    made = Vault(folder / "vault", bytes(32))
    add(made, preview(path), SECRET, NOW)
    return made


@pytest.fixture
def shop(tmp_path: Path, sales: Vault) -> Iterator[Shop]:
    made = Shop(tmp_path / "home", sales)
    yield made
    made.database.close()


# --- between rounds ----------------------------------------------------------------------------


def test_a_no_between_two_rounds_counts_in_the_next(shop: Shop) -> None:
    shop.say(State.GRANTED, *NUMBERS[:8])
    first = shop.prepare()
    assert set(first.table.keys) == keyed(*NUMBERS[:8])
    assert shop.again(first, 1) is first  # nobody has spoken: nothing is read
    shop.say(State.WITHDRAWN, NUMBERS[0])
    shop.say(State.GRANTED, NUMBERS[9])  # a yes waits for the next run
    second = shop.again(first, 2)
    assert isinstance(second, way.PreparedChurn) and second.source is not None
    left = keyed(*NUMBERS[1:8])
    for table in (second.table, second.held_out):
        assert set(table.keys) == left and table.customer.max() < len(left)
    full, less = first.table, second.table
    kept = [full.keys[k] in left for k in full.customer]
    assert (full.inputs[kept] == less.inputs).all() and (full.left[kept] == less.left).all()
    assert [full.keys[k] for k in full.customer[kept]] == [less.keys[k] for k in less.customer]
    assert set(second.source.read.lines["customer_key"].astype(str)) == left
    assert shop.again(second, 3) is second
    shop.say(State.GRANTED, NUMBERS[0])  # whoever left a run is not in it again
    third = shop.again(second, 4)
    assert isinstance(third, way.PreparedChurn) and set(third.table.keys) == left
    assert [one.snapshot.round for one in shop.prove()] == [0, 2, 4]


def test_a_stop_of_the_permit_or_the_ledger_stops_the_round(shop: Shop) -> None:
    shop.say(State.GRANTED, *NUMBERS)
    first = shop.prepare()
    shop.say(State.WITHDRAWN, NUMBERS[0])
    shop.clock.now = NOW + timedelta(hours=2)
    with pytest.raises(Refused):
        shop.again(first, 1)
    shop.clock.now = NOW + timedelta(minutes=1)
    with shop.database.write() as connection:
        connection.exec_driver_sql("UPDATE consent_head SET position = 1")
    with pytest.raises(LocalError, match="does not agree with the ledger"):
        shop.again(first, 1)


def test_another_basis_counts_before_the_next_round(shop: Shop) -> None:
    shop.desk.set_basis(churn.PURPOSE, Basis.LEGITIMATE_INTEREST, "LIA-1")
    shop.say(State.GRANTED, NUMBERS[2])
    first = shop.prepare()
    assert set(first.table.keys) == keyed(*NUMBERS)
    shop.desk.set_basis(churn.PURPOSE, Basis.CONSENT, "")
    second = shop.again(first, 1)
    assert isinstance(second, way.PreparedChurn)
    assert set(second.table.keys) == keyed(NUMBERS[2])
    assert [one.snapshot.basis for one in shop.prove()] == ["legitimate-interest", "consent"]


def test_who_said_no_is_not_in_weekly_sums_either(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    permit = Permit(
        Gate.ADMIT,
        PERMIT.agreement,
        PERMIT.run,
        demand.PURPOSE,
        PERMIT.workload_digest,
        demand.COLUMNS,
        PERMIT.not_after,
    )
    warmed: list[int] = []
    monkeypatch.setattr("node.training.evaluate.warm_baseline", lambda *_: warmed.append(1))
    settings_ = {**demand.DEFAULTS, "categories": ["A"], "train_until": "2025-11-01"}
    found = way.prepare(permit, course(demand.WORKLOAD, settings_), shop.clock.now, shop.house)
    assert isinstance(found, way.PreparedDemand)
    assert found.checked.weekly["lines"].sum() == 40 * 13
    shop.say(State.OBJECTED, NUMBERS[0], scope=demand.PURPOSE)
    shop.say(State.RESTRICTED, NUMBERS[1], scope=demand.PURPOSE)
    shop.say(State.WITHDRAWN, NUMBERS[2], scope=churn.PURPOSE)  # another purpose
    later = shop.again(found, 1, permit)
    assert isinstance(later, way.PreparedDemand)
    assert later.checked.weekly["lines"].sum() == 40 * 11 and len(warmed) == 1
    before, after = shop.prove()
    assert (before.snapshot.standing, after.snapshot.standing) == (0, 2)
    assert before.snapshot.basis == "no-customers" and after.snapshot.root != before.snapshot.root
    shown = stranger(after.customer(key(NUMBERS[0])))
    assert shown["named"] and shown["read"] is None


def test_sums_of_those_who_said_yes_take_in_nobody_by_another_basis(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    permit = replace(PERMIT, purpose=demand.PURPOSE, columns=demand.COLUMNS)
    monkeypatch.setattr("node.training.evaluate.warm_baseline", lambda *_: None)
    shop.desk.set_basis(demand.PURPOSE, Basis.CONSENT, "")
    shop.say(State.GRANTED, *NUMBERS[:9], scope=demand.PURPOSE)
    settings_ = {**demand.DEFAULTS, "categories": ["A"], "train_until": "2025-11-01"}
    found = way.prepare(permit, course(demand.WORKLOAD, settings_), shop.clock.now, shop.house)
    assert isinstance(found, way.PreparedDemand)
    assert found.checked.weekly["lines"].sum() == 40 * 10  # and those without a number
    shop.desk.set_basis(demand.PURPOSE, Basis.LEGITIMATE_INTEREST, "LIA-1")
    with pytest.raises(Refused, match="basis of consent"):
        shop.again(found, 1, permit)
    assert len(shop.prove()) == 1
    shop.desk.set_basis(demand.PURPOSE, Basis.CONSENT, "")
    shop.say(State.WITHDRAWN, NUMBERS[0], scope=demand.PURPOSE)
    later = shop.again(found, 2, permit)
    assert isinstance(later, way.PreparedDemand)
    assert later.checked.weekly["lines"].sum() == 40 * 9


_SAID = st.lists(
    st.tuples(st.sampled_from(NUMBERS), st.sampled_from(State), st.integers(0, 3)), max_size=14
)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(said=_SAID, interest=st.booleans())
def test_nobody_who_does_not_stand_is_ever_in_a_run(
    sales: Vault,
    tmp_path_factory: pytest.TempPathFactory,
    said: list[tuple[str, State, int]],
    interest: bool,
) -> None:
    """Whatever is said before the run and between its rounds, by whomever, in any order."""
    shop = Shop(tmp_path_factory.mktemp("p") / "home", sales)
    if interest:
        shop.desk.set_basis(churn.PURPOSE, Basis.LEGITIMATE_INTEREST, "LIA-1")
    stands = set(NUMBERS) if interest else set()
    prepared: way.Prepared | None = None
    inside = set(stands)
    for number in range(4):
        for who, state, when in said:
            if when == number:
                shop.say(state, who)
                stands = stands | {who} if state is State.GRANTED else stands - {who}
        prepared = shop.prepare() if prepared is None else shop.again(prepared, number)
        inside = stands if number == 0 else inside & stands
        assert isinstance(prepared, way.PreparedChurn)
        assert set(prepared.table.keys) == set(prepared.held_out.keys) == keyed(*inside)
    for reading in shop.prove():
        assert set(reading.book.leaves) <= set(leaves(churn.PURPOSE, map(bytes.fromhex, ALL)))
        for one in NUMBERS[:3]:
            shown = stranger(reading.customer(key(one)))
            assert shown["read"] == (leaf(churn.PURPOSE, key(one)) in reading.book.leaves)
    shop.database.close()


ALL = sorted(keyed(*NUMBERS))


# --- proofs ------------------------------------------------------------------------------------


def stranger(document: dict[str, Any]) -> dict[str, Any]:
    """Check a proof as the specification says, with hashlib alone and none of our code."""

    def sha(*parts: bytes) -> bytes:
        return hashlib.sha256(b"".join(parts)).digest()

    def fields(*parts: bytes) -> bytes:
        return b"".join(len(one).to_bytes(8, "little") + one for one in parts)

    def root(value: bytes, index: int, size: int, path: list[str]) -> bytes:
        last = size - 1
        for step in path:
            if index & 1 or index == last:
                value = sha(b"\1", bytes.fromhex(step), value)
                while not index & 1 and index:
                    index, last = index >> 1, last >> 1
            else:
                value = sha(b"\1", value, bytes.fromhex(step))
            index, last = index >> 1, last >> 1
        assert last == 0
        return value

    def side(tree: dict[str, Any], *, rows: bool) -> bool:
        found = [(one["index"], bytes.fromhex(one["leaf"])) for one in tree["found"]]
        for one, (index, held) in zip(tree["found"], found, strict=True):
            inner = fields(
                b"datacoop/consented-customer/v1", held, bytes.fromhex(one.get("inner", ""))
            )
            start = sha(b"\0", inner) if rows else held
            assert root(start, index, tree["count"], one["path"]).hex() == tree["root"]
        if not tree["count"]:
            assert not found and tree["root"] == sha().hex()
            return False
        if found[0][1] == wanted:
            return True
        gap = [index for index, held in found if held < wanted] or [-1]
        end = [index for index, held in found if held > wanted] or [tree["count"]]
        assert len(gap) == len(end) == 1 and end[0] == gap[0] + 1
        return False

    wanted = bytes.fromhex(document["leaf"])
    scope, who = document["scope"].encode(), bytes.fromhex(document["customer_key"])
    assert sha(b"\0", fields(b"datacoop/consent-leaf/v1", scope, who)) == wanted
    named = side(document["standing"], rows=False)
    read = None if document["rows"] is None else side(document["rows"], rows=True)
    proof, head = document["journal"]["proof"], document["journal"]["head"].split("\n")
    line = proof["entry"].encode()
    top = root(sha(b"\0", line), proof["index"], int(head[1]), proof["path"])
    assert top == base64.b64decode(head[2])
    facts = json.loads(line)["facts"]
    named_root = document["standing"]["root"]
    assert facts["standing_root"] == named_root
    assert facts["standing"] == document["standing"]["count"]
    rows = document["rows"]
    assert facts["root"] == (rows or document)["root"]
    assert rows is None or facts["customers"] == rows["count"]
    if rows is None:
        weekly = b"datacoop/weekly-rows/v1", *map(bytes.fromhex, (facts["vault"], named_root))
        assert sha(fields(*weekly)).hex() == facts["root"]
    assert not read or named is (document["basis"] == "consent")
    ours = check_customer(document, "proof")
    assert (ours.named, ours.read) == (named, read)
    return {"named": named, "read": read}


def test_in_the_run_or_not_for_a_stranger(shop: Shop) -> None:
    shop.say(State.GRANTED, *NUMBERS[:5])
    shop.say(State.GRANTED, "never-bought")
    shop.prepare()
    (reading,) = shop.prove()
    assert reading.snapshot.customers == 5 and reading.snapshot.standing == 6
    assert stranger(reading.customer(key(NUMBERS[2]))) == {"named": True, "read": True}
    assert stranger(reading.customer(key("never-bought"))) == {"named": True, "read": False}
    for other in (*NUMBERS[5:], "nobody", "somebody"):
        assert stranger(reading.customer(key(other))) == {"named": False, "read": False}
    text = json.dumps(reading.customer(key(NUMBERS[2])))
    assert not [one for one in ALL if one in text and one != key(NUMBERS[2])]


def test_a_proof_that_was_touched_does_not_verify(shop: Shop) -> None:
    shop.say(State.GRANTED, *NUMBERS[:7])
    shop.prepare()
    (reading,) = shop.prove()
    good = json.dumps(reading.customer(key(NUMBERS[1])))
    check_customer(json.loads(good), "proof")

    def leaves_of(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        if isinstance(value, dict | list):
            items = value.items() if isinstance(value, dict) else enumerate(value)
            for name, one in items:
                yield from leaves_of(one, (*at, name))
        else:
            yield at

    for place in leaves_of(json.loads(good)):
        if place == ("journal", "head"):  # its signature is another check
            continue
        bad: Any = json.loads(good)
        inner = bad
        for name in place[:-1]:
            inner = inner[name]
        was = inner[place[-1]]
        inner[place[-1]] = (
            was + 1 if isinstance(was, int) else ("0" if was[0] != "0" else "1") + (was[1:])
        )
        with pytest.raises(CoopError):
            check_customer(bad, "proof")
        nonsense: tuple[Any, ...] = (None, 1e999, -1, "", [], {}, "x", [[]], 2**70)
        for other in nonsense:
            if other is None and place == ("customer_key",):
                continue  # a proof may be about a leaf alone
            inner[place[-1]] = other
            with pytest.raises(CoopError):
                check_customer(bad, "proof")
    for missing in ("leaf", "standing", "rows", "journal", "basis", "schema"):
        bad = json.loads(good)
        del bad[missing]
        with pytest.raises(InputError, match="not a proof"):
            check_customer(bad, "proof")
    none = json.loads(good)
    none["rows"]["found"] = []
    with pytest.raises(InputError):
        check_customer(none, "proof")


def test_a_tree_cut_short_is_no_proof_that_somebody_is_not_in_it(shop: Shop) -> None:
    """Nodes above the leaves, given out as the leaves of a smaller tree, leave a gap."""
    shop.desk.set_basis(churn.PURPOSE, Basis.LEGITIMATE_INTEREST, "LIA-1")
    shop.say(State.OBJECTED, *NUMBERS[2:])
    shop.prepare()
    (reading,) = shop.prove()
    held = list(reading.leaves)
    forged = 0
    while len(held) > 1:
        held = _above(held)
        for who in NUMBERS[2:]:
            wanted = leaf(churn.PURPOSE, key(who))
            if held != sorted(held) or wanted in held:
                continue
            bad = reading.customer(key(who))
            bad["standing"]["count"] = len(held)
            bad["standing"]["found"] = [
                {"index": k, "leaf": held[k].hex(), "path": [one.hex() for one in path(held, k)]}
                for k in neighbours(held, wanted)
            ]
            forged += 1
            with pytest.raises(InputError, match="not a proof"):
                check_customer(bad, "proof")
    assert forged  # of the top alone if nothing else is in order
    good = reading.customer(key(NUMBERS[2]))
    assert check_customer(good, "proof").named


def test_lines_that_were_read_are_not_passed_off_as_a_weekly_series(shop: Shop) -> None:
    shop.say(State.GRANTED, *NUMBERS[:4])
    shop.prepare()
    (reading,) = shop.prove()
    document = reading.customer(key(NUMBERS[1]))
    assert check_customer(document, "proof").read
    document["rows"] = None
    with pytest.raises(InputError, match="not a proof"):
        check_customer(document, "proof")


def test_a_ledger_a_book_or_a_row_that_was_changed_is_found(shop: Shop) -> None:
    shop.say(State.GRANTED, *NUMBERS[:4])
    shop.prepare()
    (path,) = (shop.home.folder / "runs" / PERMIT.run / FOLDER).glob("*.bin")
    assert path.stat().st_mode & 0o077 == 0
    whole = path.read_bytes()
    assert not [one for one in ALL if bytes.fromhex(one) in whole]
    for changed in (whole[:-1], whole[:-72], whole[:-1] + b"\0", b""):
        path.write_bytes(changed)
        with pytest.raises(CoopError):
            shop.prove()
    path.unlink()
    with pytest.raises(LocalError, match="the book of reading 1"):
        shop.prove()
    path.write_bytes(whole)
    with shop.database.write() as connection:
        connection.exec_driver_sql("DROP TRIGGER consent_events_no_update")
        connection.exec_driver_sql("UPDATE consent_events SET state = 'withdrawn' WHERE seq = 1")
    with pytest.raises(LocalError, match="not what the ledger of consent says"):
        shop.prove()
    with shop.database.write() as connection:
        connection.exec_driver_sql("UPDATE consent_events SET state = 'granted' WHERE seq = 1")
    assert len(shop.prove()) == 1
    with shop.database.write() as connection:
        connection.exec_driver_sql("DROP TRIGGER run_snapshots_no_update")
        connection.exec_driver_sql("UPDATE run_snapshots SET lines = lines + 1")
    with pytest.raises(LocalError, match="tell reading 1"):
        shop.prove()


def test_every_reading_stands_in_the_log_and_no_other(shop: Shop) -> None:
    with pytest.raises(InputError, match="0 runs"):
        shop.prove()
    shop.say(State.GRANTED, *NUMBERS[:4])
    shop.prepare()
    with shop.database.read() as connection:
        (kept,) = RunSnapshots(connection).list()
    more = Shop.__new__(Shop)
    more.home, more.database = shop.home, shop.database
    with shop.database.write() as connection:
        values = {name: getattr(kept, name) for name in kept.__dataclass_fields__}
        RunSnapshots(connection).add(type(kept)(**{**values, "reading": 2}))
    with pytest.raises(LocalError, match="1 readings of it and the ledger 2"):
        shop.prove()


# --- erasure -----------------------------------------------------------------------------------


def test_after_an_erasure_it_still_verifies(shop: Shop) -> None:
    shop.say(State.GRANTED, *NUMBERS[:6])
    shop.prepare()
    before = shop.prove()[0]
    gone, books = key(NUMBERS[3]), shop.home.run_books(shop.database)
    assert [one.run for one in books.runs_of(gone)] == [PERMIT.run]
    mine = leaf(churn.PURPOSE, gone)
    place = before.book.leaves.index(mine)
    assert books.redact({mine}) == 1 and books.redact({mine}) == 0
    tombstone = bytes([7]) * 32
    # the yes, and the withdrawal that an erasure is, in both purposes
    assert shop.desk.forget(gone, tombstone) == 3
    (after,) = shop.prove()
    assert after.snapshot == before.snapshot and after.leaves == before.leaves
    assert after.book.digests[place] == before.book.inner(place) != before.book.digests[place]
    assert after.book.known_lines() == before.book.known_lines() - before.book.lines[place]
    assert stranger(after.customer(gone)) == {"named": True, "read": True}
    assert not shop.desk.standing(churn.PURPOSE, shop.clock.now).lets_in(gone)
    files = [path for path in shop.home.folder.rglob("*") if path.is_file()]
    for form in (bytes.fromhex(gone), gone.encode(), before.book.digests[place]):
        assert not [path.name for path in files if form in path.read_bytes()]
    other = bytes.fromhex(key(NUMBERS[4]))
    assert [path.name for path in files if other in path.read_bytes()]  # the search finds keys
    assert shop.desk.verify() == 8


# --- where it is asked -------------------------------------------------------------------------


def test_a_participant_asks_before_every_round(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both kinds of round, each attempt of them: the table has nobody who said no before."""
    shop.say(State.GRANTED, *NUMBERS[:4])
    seen: list[set[str]] = []

    def used(permit: Permit, prepared: way.PreparedChurn, *_: object) -> Any:
        seen.append(set(prepared.table.keys))
        return SimpleNamespace(values=None, vector=None, errors={})

    monkeypatch.setattr(way, "update", used)
    monkeypatch.setattr(way, "report", used)
    monkeypatch.setattr(way, "keep_report", lambda *_: None)
    monkeypatch.setattr(Participant, "_sent", lambda *_: None)
    one = cast(Any, Participant.__new__(Participant))
    tasks = SimpleNamespace(task=lambda number: "train" if number < 3 else "evaluate")
    one.ticket = SimpleNamespace(course=tasks, permit=PERMIT)
    one._tools = SimpleNamespace(entropy=None, clock=shop.clock, member="m")
    one._trace, one._folder = SimpleNamespace(state=None), shop.home.folder
    one._prepared = shop.prepare()
    for number, gone in ((1, None), (1, 0), (2, 1), (3, 2)):
        if gone is not None:
            shop.say(State.WITHDRAWN, NUMBERS[gone])
        one._masked(None, number)
    assert seen == [keyed(*NUMBERS[k:4]) for k in range(4)]


def test_the_daemon_opens_the_door_that_the_settings_name(shop: Shop) -> None:
    said: list[tuple[str, dict[str, object]]] = []
    daemon = cast(Any, Daemon.__new__(Daemon))
    daemon._events = SimpleNamespace(emit=lambda event, **facts: said.append((event, facts)))
    daemon._member = SimpleNamespace(home=shop.home, database=shop.database)
    assert daemon._open_door() is None and not said  # off, unless the owner says so
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings_ = shop.home.settings.model_copy(update={"endpoint_port": port})
    daemon._member.home = replace(shop.home, settings=settings_)
    door = daemon._open_door()
    try:
        assert said == [("door", {"address": f"http://127.0.0.1:{port}"})]
        with urlopen(f"http://127.0.0.1:{port}/v1/health", timeout=10) as answer:
            assert json.loads(answer.read())["open"]
    finally:
        door.stop()
    with pytest.raises(URLError):
        urlopen(f"http://127.0.0.1:{port}/v1/health", timeout=10)
