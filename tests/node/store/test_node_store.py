from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from node.store.budgets import RunBudget, RunLine, Use
from node.store.database import REVISIONS, Database
from node.store.documents import (
    AcceptedRoster,
    AcceptedRosters,
    Document,
    Documents,
    Signatures,
    Signed,
    SignedAgreements,
)
from node.store.migrations import config
from node.store.orders import (
    Approvals,
    Orders,
    OrderState,
    StoredApproval,
    StoredOrder,
)
from node.store.outbox import Cursors, Outbox
from node.store.releases import Releases, ReleaseState, StoredRelease
from node.store.rounds import SpentRounds, SurvivorSets
from node.store.schema import metadata
from node.store.settings import Settings
from protocols.errors import Code, LocalError, Refused

NOW = datetime(2026, 3, 10, 12, 0, 0, 123456, tzinfo=UTC)
RUN = b"\xab" * 16


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.open(tmp_path / "node.db", create=True)


def run_python(code: str, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *args], stdout=subprocess.PIPE, text=True, bufsize=1
    )


def test_the_migrations_give_the_schema(database: Database) -> None:
    with database.write() as connection:
        context = MigrationContext.configure(connection, opts={"render_as_batch": True})
        assert compare_metadata(context, metadata) == []
    script = ScriptDirectory.from_config(config())
    assert [one.revision for one in script.walk_revisions()] == list(reversed(REVISIONS))
    assert database.revision == REVISIONS[-1]


def test_opening_at_head_does_not_load_alembic(tmp_path: Path) -> None:
    Database.open(tmp_path / "node.db", create=True).close()
    code = (
        "import sys; from pathlib import Path; from node.store.database import Database\n"
        "Database.open(Path(sys.argv[1])); print('alembic' in sys.modules)"
    )
    with run_python(code, str(tmp_path / "node.db")) as process:
        assert process.communicate()[0].strip() == "False"


def test_the_connection_is_durable_and_checks_references(database: Database) -> None:
    with database.read() as connection:
        pragma = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragma == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_no_database_a_newer_one_a_foreign_one_and_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    with pytest.raises(LocalError, match="no database here") as missing:
        Database.open(path)
    assert missing.value.code is Code.NOT_FOUND
    Database.open(path, create=True).close()
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '0999'")
    raw.close()
    with pytest.raises(LocalError, match="newer release"):
        Database.open(path)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as raw:
        raw.execute("CREATE TABLE bookmarks (id INTEGER)")
    raw.close()
    with pytest.raises(LocalError, match="some other program"):
        Database.open(other)
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"this is not a database, whatever its name may say " * 100)
    with pytest.raises(LocalError, match="damaged") as found:
        Database.open(damaged)
    assert "restore" in found.value.fix


def test_a_strange_folder_name_and_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "a b?c=%d#é" / "node.db"
    Database.open(path, create=True).close()
    assert path.is_file()
    if sys.platform != "win32":
        assert path.stat().st_mode & 0o077 == 0


def test_an_upgrade_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "node.db"

    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr("alembic.op.create_index", broken)  # after the first table was made
        with pytest.raises(RuntimeError, match="power cut"):
            Database.open(path, create=True)
    with Database.open(path).read() as connection:
        assert Cursors(connection).get("mail") == 0


def test_a_round_is_spent_once(database: Database) -> None:
    spent = SpentRounds(database, lambda: NOW)
    assert spent.last(RUN) is None
    spent.mark_spent(RUN, 3)
    assert spent.is_spent(RUN, 3)
    with pytest.raises(Refused, match=r"round 3 of run abab.* spent before"):
        spent.mark_spent(RUN, 3)
    spent.mark_spent(RUN, 4)
    spent.mark_spent(b"\x01" * 16, 3)
    assert spent.last(RUN) == 4


MARK = (
    "import sys, time; from datetime import UTC, datetime; from pathlib import Path\n"
    "from node.store.database import Database\n"
    "from node.store.rounds import SpentRounds\n"
    "from protocols.errors import Refused\n"
    "spent = SpentRounds(Database.open(Path(sys.argv[1])), lambda: datetime.now(UTC))\n"
    "sys.stdin.readline() if len(sys.argv) > 2 else None\n"
    "try:\n"
    "    spent.mark_spent(b'\\xab' * 16, 7); print('marked', flush=True)\n"
    "except Refused:\n"
    "    print('refused', flush=True)\n"
    "time.sleep(60 if len(sys.argv) == 2 else 0)\n"
)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_mark_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    Database.open(path, create=True).close()
    with run_python(MARK, str(path)) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "marked"
        process.send_signal(signal.SIGKILL)
    with pytest.raises(Refused, match="spent before"):
        SpentRounds(Database.open(path), lambda: NOW).mark_spent(RUN, 7)


def test_of_several_processes_one_spends_the_round(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    Database.open(path, create=True).close()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MARK, str(path), "wait"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    said = sorted(process.communicate("go\n", timeout=60)[0].strip() for process in processes)
    assert said == ["marked", "refused", "refused"]


def test_two_processes_may_create_the_database_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from node.store.database import Database\n"
        "sys.stdin.readline(); print(Database.open(Path(sys.argv[1]), create=True).revision)"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "node.db")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    assert [p.communicate("go\n", timeout=60)[0].strip() for p in processes] == [REVISIONS[-1]] * 3


def test_writers_wait_for_each_other(database: Database) -> None:
    def add(many: int) -> None:
        for _ in range(many):
            with database.write() as connection:
                cursors = Cursors(connection)
                cursors.put("mail", cursors.get("mail") + 1)

    threads = [threading.Thread(target=add, args=(25,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert Cursors(connection).get("mail") == 100


def test_a_locked_database_says_so(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    first = Database.open(path, create=True)
    second = Database.open(path, busy_timeout_s=0.05)
    with (
        first.write(),
        pytest.raises(LocalError, match="another process is writing") as caught,
        second.write(),
    ):
        pass
    assert caught.value.kind.exit_code == 75


def test_a_failed_transaction_changes_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        Settings(connection).put("a", 1)
        raise ZeroDivisionError
    with database.read() as connection:
        assert Settings(connection).get("a") is None


def test_documents_are_never_changed(database: Database) -> None:
    one = Document("aa" * 32, "agreement", b"{}", NOW)
    with database.write() as connection:
        documents = Documents(connection)
        assert documents.add(one)
        assert not documents.add(one)
        assert documents.get(one.id) == one
        assert documents.list("agreement") == (one,)
        assert documents.starting("aaaa") == (one,)
        assert documents.starting("%") == ()
        with pytest.raises(LocalError, match="never changed"):
            documents.add(Document(one.id, "agreement", b"{ }", NOW))
        signatures = Signatures(connection)
        signatures.put(one.id, "bb" * 32, b"bad", NOW)
        signatures.put(one.id, "bb" * 32, b"good", NOW)
        assert signatures.of(one.id) == {"bb" * 32: b"good"}


def test_my_signatures_and_rosters(database: Database) -> None:
    with database.write() as connection:
        for name in ("aa" * 32, "bb" * 32):
            Documents(connection).add(Document(name, "agreement", name.encode(), NOW))
        mine = SignedAgreements(connection)
        assert mine.add(Signed("bb" * 32, 2, b"2", NOW))
        assert mine.add(Signed("aa" * 32, 1, b"1", NOW))
        assert not mine.add(Signed("aa" * 32, 1, b"other", NOW))
        assert [one.jws for one in mine.list()] == [b"1", b"2"]
        mine.withdraw("aa" * 32)
        assert mine.get("aa" * 32) is None
        rosters = AcceptedRosters(connection)
        assert rosters.newest() is None
        rosters.add(AcceptedRoster(1, "11" * 32, b"x", NOW))
        with pytest.raises(LocalError, match="epoch 2 is next"):
            rosters.add(AcceptedRoster(3, "33" * 32, b"x", NOW))
        rosters.add(AcceptedRoster(2, "22" * 32, b"x", NOW))
        newest = rosters.newest()
        assert newest is not None
        assert newest.epoch == 2


def test_orders_and_approvals(database: Database) -> None:
    one = StoredOrder(
        "ab" * 16, "cc" * 32, "demand", "dd" * 32, b"{}", OrderState.PENDING, ("c16: waits",), NOW
    )
    with database.write() as connection:
        orders = Orders(connection)
        orders.put(one, NOW)
        assert orders.get(one.run) == one
        orders.move(one.run, OrderState.ADMITTED, NOW)
        assert orders.list(OrderState.PENDING) == ()
        assert [x.state for x in orders.list(OrderState.ADMITTED)] == [OrderState.ADMITTED]
        assert orders.starting("abab")[0].reasons == ()
        with pytest.raises(LocalError, match="no order of run"):
            orders.move("00" * 16, OrderState.DONE, NOW)
        other = StoredOrder(
            one.run, "ee" * 32, "demand", "dd" * 32, b"", OrderState.PENDING, (), NOW
        )
        with pytest.raises(LocalError, match="another order"):
            orders.put(other, NOW)
        approvals = Approvals(connection)
        approvals.put(StoredApproval(one.digest, "always", "", NOW))
        found = approvals.get(one.digest)
        assert found is not None
        assert found.answer == "always"
        assert approvals.revoke(one.digest)
        assert not approvals.revoke(one.digest)
        assert approvals.list() == ()


def test_survivors_of_a_run_in_order(database: Database) -> None:
    full, fewer = frozenset({"a", "b", "c"}), frozenset({"a", "b"})
    with database.write() as connection:
        sets = SurvivorSets(connection)
        sets.add("ab" * 16, 2, fewer)
        sets.add("ab" * 16, 1, full)
        sets.add("ab" * 16, 1, full)
        assert sets.before("ab" * 16, 3) == (full, fewer)
        assert sets.before("ab" * 16, 1) == ()
        with pytest.raises(Refused, match="other survivors"):
            sets.add("ab" * 16, 1, fewer)


def test_the_budget_counts_what_was_not_returned(database: Database) -> None:
    with database.write() as connection:
        budget = RunBudget(connection)
        for i in range(3):
            reserved = NOW - timedelta(days=10 * i)
            budget.add(RunLine(f"{i}" * 32, "demand", frozenset({"a"}), Use.RESERVED, reserved))
        since = NOW - timedelta(days=15)
        assert budget.count(since, "") == 2
        assert budget.count(since, "0" * 32) == 1
        budget.settle("0" * 32, Use.RETURNED, NOW)
        assert budget.count(since, "") == 1
        budget.settle("1" * 32, Use.USED, NOW)
        budget.settle("1" * 32, Use.RETURNED, NOW)  # settled once
        assert budget.count(since, "") == 1
        assert [line.run for line in budget.list(since, "demand")] == ["1" * 32]
        assert budget.list(since, "churn") == ()


def test_the_outbox_posts_once_and_keeps_until_acknowledged(database: Database) -> None:
    with database.write() as connection:
        outbox = Outbox(connection)
        assert outbox.post("a", "signature", b"1", NOW)
        assert not outbox.post("a", "signature", b"2", NOW)
        outbox.post("b", "order", b"3", NOW)
        assert [letter.body for letter in outbox.open()] == [b"1", b"3"]
        assert outbox.acknowledge("a", NOW)
        assert not outbox.acknowledge("a", NOW)
        assert [letter.id for letter in outbox.open()] == ["b"]


def test_releases_and_settings(database: Database) -> None:
    one = StoredRelease("aa" * 32, "ab" * 16, ReleaseState.OFFERED, b"{}", NOW)
    with database.write() as connection:
        releases, settings = Releases(connection), Settings(connection)
        releases.put(one)
        releases.put(StoredRelease(one.model, one.run, ReleaseState.USED, b"{}", NOW))
        assert releases.list(ReleaseState.OFFERED) == ()
        found = releases.get(one.model)
        assert found is not None
        assert found.state is ReleaseState.USED
        settings.put("coop", {"id": "x"})
        assert settings.get("coop") == {"id": "x"}


def test_a_moment_without_a_zone_is_not_stored(database: Database) -> None:
    naive = datetime(2026, 1, 1)  # noqa: DTZ001
    with pytest.raises(Exception, match="time zone"), database.write() as connection:
        Outbox(connection).post("a", "x", b"", naive)
