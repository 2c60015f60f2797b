"""Erasure in a real vault and a real database: nothing is left, and an old copy changes nothing."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from rights_world import ANN, BOB, CHURN, EVE, RUN, Node, lines

from node.backup import backup, restore
from node.cli.app import app
from node.cli.shell import run
from node.insights.churn_list import SHOWN_DIGITS
from node.rights import evidence
from node.rights.case import Case
from node.rights.erase import erase, erase_again, keep_out, marks_in, prove_absent
from node.rights.held import held
from node.rights.scan import SHORT_DIGITS, scan
from node.store.consents import Consents, State
from node.store.requests import CustomerRequests, Erasures, RequestKind
from protocols.audit.consent import leaf
from protocols.errors import InputError, LocalError, Refused

NOTE = "photo id at the till"


def asked(node: Node, customer: str, note: str = NOTE) -> str:
    made = node.case.subjects.open(RequestKind.ERASE, customer)
    if note:
        node.case.subjects.identify(made.request.id, note)
    return made.request.id


def erased(node: Node, customer: str):  # type: ignore[no-untyped-def]
    return erase(node.case, node.home.vault, asked(node, customer))


def names(node: Node, customer: str) -> bool:
    """Whether the person's code is anywhere below the home, or in the opened vault."""
    key = node.key(customer)
    raw = node.bytes_of()
    found = held(node.case, node.home.vault(), key).counts()
    del found["requests"]
    return key.encode() in raw or bytes.fromhex(key) in raw or any(found.values())


def test_nothing_is_left_of_the_person_and_everything_of_the_others(node: Node) -> None:
    assert names(node, ANN)
    bob = held(node.case, node.home.vault(), node.key(BOB))
    done = erased(node, ANN)
    assert not names(node, ANN)
    assert done.before == {
        "sales_line": 7,
        "customer": 0,
        "quarantine": 1,
        "consent": 1,
        "requests": 1,
    }
    assert held(node.case, node.home.vault(), node.key(BOB)) == bob
    assert done.scanned.hits == () and done.scanned.files > 5


def test_what_else_the_person_asked_for_is_closed_and_that_of_others_is_not(node: Node) -> None:
    node.case.subjects.open(RequestKind.RECTIFY, ANN)
    other = node.case.subjects.open(RequestKind.ACCESS, BOB).request.id
    done = erased(node, ANN)
    assert done.closed == 1
    assert [one.request.id for one in node.case.subjects.list(only_open=True)] == [other]


def test_the_evidence_names_nobody_and_stands_in_the_journal(node: Node) -> None:
    key = node.key(ANN)
    done = erased(node, ANN)
    raw = done.finished.file.read_bytes()
    found = evidence.verify(raw, "evidence", key=node.home.keys.identity.public)
    facts = found.document["facts"]
    assert facts["before"]["sales_line"] == 7 and set(facts["after"].values()) == {0}
    assert facts["searched"]["found"] == 0 and facts["searched"]["bytes"] > 1000
    said = json.dumps(found.document)
    assert ANN not in said and key not in said and NOTE not in said
    assert found.document["subject"] == node.case.mark(key)
    (entry,) = node.entries("rights")
    assert entry.facts["evidence"] == found.name == done.finished.evidence
    (closed,) = node.case.subjects.list()
    assert closed.request.evidence == found.name and closed.request.outcome == "done"


def test_the_next_run_reads_nothing_and_past_runs_can_still_be_proven(node: Node) -> None:
    erased(node, ANN)
    assert node.run("2e" * 16) == {node.key(BOB)}
    books = node.home.run_books(node.database)
    (proven,) = books.prove(RUN, node.home.log)
    assert proven.book is not None
    mine = proven.book.leaves.index(leaf(CHURN, node.key(ANN)))
    assert proven.book.lines[mine] == 2**64 - 1  # a bare hash is left of what was read


def test_the_same_export_again_brings_nobody_back(node: Node) -> None:
    erased(node, ANN)
    assert node.add(*lines(ANN, range(1, 8)), *lines(BOB, range(1, 12))) == 1  # bob's new one
    assert node.said(f"{ANN},{CHURN},granted,2026-01-02,till") == 0
    assert not names(node, ANN)


def test_runs_and_models_are_looked_up_before_and_the_office_gets_a_count(node: Node) -> None:
    case = node.case
    joined = Case(case.home, case.database, case.terms, case.agreement, enrolled=True)
    done = erase(joined, node.home.vault, asked(node, ANN))
    assert done.runs == [RUN] and done.told == 1
    with node.database.read() as db:
        (letter,) = db.exec_driver_sql("SELECT id, kind, body FROM outbox").all()
    assert letter.kind == "correction"
    assert re.fullmatch(r"correction-[0-9a-f]{16}", letter.id)  # as the office takes it
    assert json.loads(letter.body) == {"what": "erased", "count": 1, "runs": [RUN]}
    for secret in (node.key(ANN), node.case.mark(node.key(ANN)), done.finished.request):
        assert secret not in letter.id


def test_who_was_not_recognised_is_not_erased(node: Node) -> None:
    with pytest.raises(Refused, match="how this person was recognised"):
        erase(node.case, node.home.vault, asked(node, ANN, note=""))
    assert names(node, ANN)


def test_a_list_that_the_owner_left_lying_about_is_found(node: Node) -> None:
    request = asked(node, ANN)
    (node.folder / "exports").mkdir()
    (node.folder / "exports" / "ledger.csv").write_text(f"x,{node.key(ANN).upper()}\n")
    with pytest.raises(LocalError, match=r"1 places: exports/ledger\.csv"):
        erase(node.case, node.home.vault, request)
    assert node.entries("rights") == []
    with pytest.raises(InputError, match="interrupted"):
        erase(node.case, node.home.vault, request)
    with pytest.raises(InputError, match="another customer"):
        erase(node.case, node.home.vault, request, BOB)
    (node.folder / "exports" / "ledger.csv").unlink()
    done = erase(node.case, node.home.vault, request, ANN)
    assert done.before["sales_line"] == 7  # as it was before the first try
    assert not (node.folder / "rights" / f"{request}-erase.begun").exists()


def test_a_crash_between_any_two_steps_is_answered_by_the_same_command(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = asked(node, ANN)
    for step in (
        "node.policy.run_books.RunBooks.redact",
        "node.store.database.Database.empty_log",
        "node.rights.erase.prove_absent",
    ):
        with monkeypatch.context() as patch:
            patch.setattr(step, _stop)
            with pytest.raises(KeyboardInterrupt):
                erase(node.case, node.home.vault, request, ANN)
    with monkeypatch.context() as patch:
        patch.setattr("node.rights.evidence.keep", _stop)
        with pytest.raises(KeyboardInterrupt):
            erase(node.case, node.home.vault, request, ANN)
    done = erase(node.case, node.home.vault, request, ANN)
    assert done.before["sales_line"] == 7 and not names(node, ANN)
    assert len(node.entries("rights")) == 1


def _stop(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_what_lies_in_free_pages_of_the_database_goes_too(node: Node) -> None:
    key = node.key(ANN)
    with closing(sqlite3.connect(node.folder / "node.db", isolation_level=None)) as raw:
        raw.execute("PRAGMA secure_delete = OFF")
        raw.executemany("INSERT INTO settings VALUES (?, ?)", [(f"x{n}", key) for n in range(200)])
        raw.execute("DELETE FROM settings WHERE key LIKE 'x%'")
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert key.encode() in (node.folder / "node.db").read_bytes()
    erased(node, ANN)
    assert not names(node, ANN)


def test_texts_that_people_wrote_go_and_times_stay(node: Node) -> None:
    desk = node.case.subjects
    first = desk.open(RequestKind.ACCESS, ANN).request.id
    desk.identify(first, "Ann Example, passport")
    desk.close(first, "sent to Ann Example by letter")
    request = asked(node, ANN)
    erase(node.case, node.home.vault, request)
    with node.database.read() as db:
        found = {one.id: one for one in CustomerRequests(db).list()}
    assert (found[first].identity_check, found[first].how) == ("", "")
    assert found[first].closed_at is not None
    assert found[request].identity_check == NOTE
    assert {one.customer_key for one in found.values()} == {node.case.mark(node.key(ANN))}
    assert b"Ann Example" not in node.bytes_of()


def test_a_person_may_come_back_and_be_erased_again(node: Node) -> None:
    erased(node, ANN)
    node.now = node.now.replace(month=4)
    node.said(f"{ANN},{CHURN},granted,2026-04-02,till")
    assert erase_again(node.case, node.home.vault).found == 0  # a new beginning stays
    with node.database.read() as db:
        newest = Consents(db).newest(CHURN, leaf(CHURN, node.key(ANN)))
    assert newest is not None and newest.state is State.GRANTED
    assert names(node, ANN)
    erased(node, ANN)
    assert not names(node, ANN)
    with node.database.read() as db:
        assert len(Erasures(db).list()) == 1


# --- old copies --------------------------------------------------------------------------------


def test_a_backup_from_before_is_restored_without_the_person(node: Node, tmp_path: Path) -> None:
    saved = tmp_path / "before.backup"
    backup(node.folder, saved, "six words that nobody knows", node.now, log2_n=14)
    erased(node, ANN)
    erased(node, EVE)
    restore(saved, tmp_path / "new", "six words that nobody knows", node.now)
    new = Node(tmp_path / "new", node.now)
    assert names(new, ANN)  # the old database knows what ann said
    marks = marks_in(node.folder / "rights")
    done = erase_again(new.case, new.home.vault, marks)
    assert (done.known, done.found) == (2, 1)
    assert not names(new, ANN)
    # the till still has the rows; the new vault has not forgotten anybody yet
    new.add(*lines(ANN, range(1, 8)), *lines(BOB, range(1, 11)), *lines(EVE, range(1, 9)))
    assert names(new, EVE)
    assert erase_again(new.case, new.home.vault).found == 1
    assert not names(new, EVE) and names(new, BOB)


def test_restore_and_the_next_import_on_the_command_line(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "six words that nobody knows"
    backup(node.folder, tmp_path / "b", words, node.now, log2_n=14)
    erased(node, ANN)
    (tmp_path / "words").write_text(words)
    back = ["restore", str(tmp_path / "b"), "--passphrase-file", str(tmp_path / "words")]
    new = ["--home", str(tmp_path / "new")]
    shown = [*back, "--evidence", str(node.folder / "rights")]
    assert run(app, [*new, *shown], "coop-node") == 0
    assert "1 of these customers were in the backup" in capsys.readouterr().out
    restored = Node(tmp_path / "new", node.now)
    assert not names(restored, ANN)
    restored.add(*lines(ANN, range(1, 8)), *lines(BOB, range(1, 11)))
    assert keep_out(restored.home) == 0  # the new vault was told whom to drop
    assert not names(restored, ANN) and names(restored, BOB)
    assert run(app, ["--home", str(tmp_path / "other"), *back], "coop-node") == 0
    assert "requests erase-again FOLDER" in capsys.readouterr().out


def test_an_import_into_a_vault_that_forgot_is_cleaned(node: Node, tmp_path: Path) -> None:
    erased(node, ANN)
    shutil.rmtree(node.folder / "vault")  # the owner began it anew
    node.add(*lines(ANN, range(1, 8)), *lines(BOB, range(1, 11)))
    assert names(node, ANN)
    assert keep_out(node.home) == 1
    assert not names(node, ANN) and names(node, BOB)


def test_a_copy_of_the_whole_folder_is_cleaned_with_the_evidence(
    node: Node, tmp_path: Path
) -> None:
    old = tmp_path / "copy"
    shutil.copytree(node.folder, old)
    erased(node, ANN)
    copy = Node(old, node.now)
    assert erase_again(copy.case, copy.home.vault, marks_in(node.folder / "rights")).found == 1
    assert not names(copy, ANN)
    assert copy.entries("rights")[-1].facts["what"] == "erased-again"


def test_evidence_that_was_changed_erases_nobody(node: Node) -> None:
    done = erased(node, ANN)
    raw = json.loads(done.finished.file.read_bytes())
    raw["payload"] = raw["payload"][:-8] + "AAAAAAAA"
    done.finished.file.write_text(json.dumps(raw))
    with pytest.raises(InputError):
        marks_in(node.folder / "rights")


def test_a_later_backup_carries_marks_and_evidence(node: Node, tmp_path: Path) -> None:
    done = erased(node, ANN)
    backup(node.folder, tmp_path / "b", "six words that nobody knows", node.now, log2_n=14)
    restore(tmp_path / "b", tmp_path / "new", "six words that nobody knows", node.now)
    kept = tmp_path / "new" / "rights" / done.finished.file.name
    assert kept.read_bytes() == done.finished.file.read_bytes()


# --- the search --------------------------------------------------------------------------------

KEY = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "content", [KEY.encode(), KEY.upper().encode(), bytes.fromhex(KEY)], ids=["hex", "HEX", "raw"]
)
def test_a_key_is_found_in_every_form_and_across_chunks(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.rights.scan.CHUNK_BYTES", 50)
    for before in (0, 17, 49, 63, 151):
        (tmp_path / f"f{before}").write_bytes(b"-" * before + content + b"-")
    (tmp_path / "clean").write_bytes(content[: SHORT_DIGITS - 1] + b"-" * 200)
    found = scan(tmp_path, [KEY])
    assert {hit.path for hit in found.hits} == {"f0", "f17", "f49", "f63", "f151"}
    assert found.files == 6


def test_a_list_with_short_codes_is_found_too(node: Node) -> None:
    assert SHORT_DIGITS == SHOWN_DIGITS
    (node.folder / "to-call.csv").write_text(f"{node.key(ANN)[:SHOWN_DIGITS]},0.91\n")
    assert [hit.path for hit in scan(node.folder, [node.key(ANN)]).hits][-1] == "to-call.csv"


def test_zip_files_are_opened_and_what_is_closed_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("x.csv", f"customer\n{KEY}\n")
    (tmp_path / "b.zip").write_bytes(b"PK\x03\x04 and nothing else")
    (tmp_path / "c.backup").write_bytes(b"datacoop-backup\nsealed")
    (tmp_path / "d").symlink_to("/etc")
    found = scan(tmp_path, [KEY])
    assert [hit.path for hit in found.hits] == ["a.zip"]
    assert [path for path, _ in found.closed] == ["b.zip", "c.backup", "d"]


def test_a_file_that_cannot_be_read_is_no_proof(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def denied(self: Path, *args: object, **kinds: object) -> object:
        if self.name == "node.db":
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *args, **kinds)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(LocalError, match="absence cannot be shown"):
        prove_absent(node.case, node.home.vault(), [KEY])
