"""Access, export, rectify, restrict, object, lift, refuse; and the command line over all."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import zipfile
from base64 import urlsafe_b64decode
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from rights_world import ANN, BOB, CHURN, DEMAND, EVE, RUN, Node, lines

from node import checkup
from node.cli.app import app
from node.cli.asking import Kind
from node.cli.erasing import Ground
from node.cli.shell import run
from node.data.change import ImportNote
from node.data.consent import consented_rows
from node.data.schema import CUSTOMER
from node.data.stages import WEEKLY_COLUMNS, RawRows
from node.policy.subjects import reminders
from node.rights import evidence, hand_over, objection, rectify
from node.rights.access import Score
from node.rights.case import GROUNDS, Case, refuse
from node.rights.erase import erase
from node.rights.held import held
from node.settings import NodeSettings
from node.store.requests import RequestKind
from node.store.run_snapshots import RunSnapshots
from protocols.audit.customer_proof import check_customer
from protocols.documents.given import Shop
from protocols.errors import InputError, Refused
from protocols.ids import AgreementId, RunId
from protocols.permit import Gate, Permit
from protocols.signing import SigningKey

NOTE = "photo id at the till"
SHOP = Shop(name="Corner Shop", email="hello@example.org", authority="The Authority, Town")
NEXT = "2e" * 16


def asked(node: Node, kind: RequestKind, customer: str, note: str = NOTE) -> str:
    made = node.case.subjects.open(kind, customer)
    if note:
        node.case.subjects.identify(made.request.id, note)
    return made.request.id


def answered(node: Node, customer: str, out: Path) -> hand_over.Handed:
    request = asked(node, RequestKind.ACCESS, customer)
    score = Score("", 0.73, ("last here 5 weeks ago",), "2026-02-10", "ab" * 32)
    return hand_over.access(
        node.case, node.home.vault(), request, out, shop=SHOP, scores=lambda key: score
    )


def rows(raw: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"))))


# --- access and export -------------------------------------------------------------------------


def test_an_answer_has_everything_of_the_person_and_nothing_of_others(
    node: Node, tmp_path: Path
) -> None:
    done = answered(node, ANN, tmp_path / "answer")
    assert len(rows((tmp_path / "answer" / "sales_line.csv").read_bytes())) == 7
    (aside,) = rows((tmp_path / "answer" / "quarantine.csv").read_bytes())
    assert "two" in aside["cells"] + aside["problem"]
    (said,) = rows((tmp_path / "answer" / "consent.csv").read_bytes())
    assert (said["purpose"], said["answer"]) == (CHURN, "granted")
    page = (tmp_path / "answer" / "answer.html").read_text()
    for told in (
        "Corner Shop",
        "The Authority, Town",
        RUN,
        "73%",
        "last here 5 weeks ago",
        "1096 days",
    ):
        assert told in page
    everything = b"".join(one.read_bytes() for one in (tmp_path / "answer").iterdir())
    for other in (BOB, EVE):
        assert other.encode() not in everything and node.key(other).encode() not in everything
        assert other[-3:].encode() + b"1" not in everything  # a receipt of theirs
    assert done.gaps == ()
    proof = json.loads((tmp_path / "answer" / f"proof-{RUN[:16]}-1.json").read_bytes())
    assert check_customer(proof, "proof").read
    assert evidence.verify(done.finished.file.read_bytes(), "e").document["facts"]["runs"] == 1


def test_what_only_the_owner_knows_is_named_as_missing(node: Node, tmp_path: Path) -> None:
    request = asked(node, RequestKind.ACCESS, ANN)
    out, nothing = tmp_path / "answer", Score("You stand on no list.")
    done = hand_over.access(
        node.case, node.home.vault(), request, out, shop=Shop(), scores=lambda key: nothing
    )
    assert any("authority" in gap for gap in done.gaps)
    assert "Missing" in (out / "answer.md").read_text()


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_others_on_this_machine_cannot_read_an_answer(node: Node, tmp_path: Path) -> None:
    answered(node, ANN, tmp_path / "answer")
    request = asked(node, RequestKind.EXPORT, ANN)
    hand_over.export(node.case, node.home.vault(), request, tmp_path / "a.zip")
    assert (tmp_path / "answer").stat().st_mode & 0o077 == 0
    made = [*(tmp_path / "answer").iterdir(), tmp_path / "a.zip"]
    assert all(one.stat().st_mode & 0o077 == 0 for one in made)


def test_an_export_reads_the_same_as_json_and_csv(node: Node, tmp_path: Path) -> None:
    request = asked(node, RequestKind.EXPORT, BOB)
    hand_over.export(node.case, node.home.vault(), request, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as pack:
        tables = json.loads(pack.read("data.json"))["tables"]
        for name, listed in tables.items():
            assert rows(pack.read(f"{name}.csv")) == listed
    assert len(tables["sales_line"]) == 10
    first = tables["sales_line"][0]
    assert (first["ts_utc"], first["net"], first["qty"]) == ("2026-02-01T10:01:00Z", "2", "1")
    assert [one["for"] for one in tables["requests"]] == ["export"]


def test_cells_are_text_to_a_spreadsheet(node: Node, tmp_path: Path) -> None:
    node.add("2026-02-20,09:00:00,=1+1,s1,=HYPERLINK(1),Bakery,1,2.00,0,2.00," + ANN)
    request = asked(node, RequestKind.EXPORT, ANN)
    hand_over.export(node.case, node.home.vault(), request, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as pack:
        assert rows(pack.read("sales_line.csv"))[-1]["product"] == "'=HYPERLINK(1)"


def test_nothing_is_handed_to_who_was_not_recognised(node: Node, tmp_path: Path) -> None:
    for kind, act in ((RequestKind.ACCESS, "access"), (RequestKind.EXPORT, "export")):
        request = asked(node, kind, ANN, note="")
        with pytest.raises(Refused, match="how this person was recognised"):
            if act == "access":
                hand_over.access(
                    node.case,
                    node.home.vault(),
                    request,
                    tmp_path / "a",
                    shop=SHOP,
                    scores=lambda key: Score(""),
                )
            else:
                hand_over.export(node.case, node.home.vault(), request, tmp_path / "a")
        assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("note", ["", "  ", "\u200b", "\u3164 \u2800", "-- .", "\u00a0\t"])
def test_a_note_that_says_nothing_is_no_note(node: Node, tmp_path: Path, note: str) -> None:
    found = node.case.subjects.open(RequestKind.ACCESS, ANN).request.id
    for act in (
        lambda: node.case.subjects.identify(found, note),
        lambda: node.case.subjects.extend(found, note),
        lambda: refuse(node.case, found, "excessive", note),
        lambda: objection.lift(node.case, found, note),
    ):
        with pytest.raises(InputError, match="with letters or digits"):
            act()
    for few in ("", found[:1], found[:3]):  # could be somebody else's
        with pytest.raises(InputError, match="4 digits"):
            node.case.subjects.find(few)
    assert node.case.subjects.find(found[:4]).id == found


def test_an_answer_overwrites_nothing(node: Node, tmp_path: Path) -> None:
    (tmp_path / "answer").mkdir()
    with pytest.raises(InputError, match="exists already"):
        answered(node, ANN, tmp_path / "answer")


# --- evidence ----------------------------------------------------------------------------------


def test_a_stranger_checks_the_evidence_with_openssl(node: Node, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl")
    done = answered(node, ANN, tmp_path / "answer")
    signed = json.loads(done.finished.file.read_bytes())
    (one,) = signed["signatures"]
    payload = urlsafe_b64decode(signed["payload"] + "==")
    key = bytes.fromhex(json.loads(payload)["key"])
    (tmp_path / "message").write_text(f"{one['protected']}.{signed['payload']}")
    (tmp_path / "signature").write_bytes(urlsafe_b64decode(one["signature"] + "=="))
    (tmp_path / "key").write_bytes(bytes.fromhex("302a300506032b6570032100") + key)
    (tmp_path / "statement").write_bytes(payload)
    words = "pkeyutl -verify -rawin -in message -sigfile signature -pubin -keyform DER -inkey key"
    checked = subprocess.run(
        ["openssl", *words.split()],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    assert b"Verified Successfully" in checked.stdout
    summed = subprocess.run(
        ["openssl", "dgst", "-sha256", "statement"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    assert done.finished.evidence.encode() in summed.stdout


def test_changed_or_foreign_evidence_is_refused(node: Node, tmp_path: Path) -> None:
    raw = answered(node, ANN, tmp_path / "answer").finished.file.read_bytes()
    with pytest.raises(InputError, match="another key"):
        evidence.verify(raw, "e", key=SigningKey(b"\x09" * 32).public)
    signed = json.loads(raw)
    signed["signatures"][0]["signature"] = "A" * 86
    for wrong in (json.dumps(signed).encode(), raw[:-9], b"{}", b"[]"):
        with pytest.raises(InputError):
            evidence.verify(wrong, "e")


# --- restrict, object, lift --------------------------------------------------------------------


@pytest.mark.parametrize("kind", [RequestKind.OBJECT, RequestKind.RESTRICT])
def test_a_no_is_for_every_purpose_and_the_next_run(node: Node, kind: RequestKind) -> None:
    request = asked(node, kind, ANN, note="")  # a no is taken from anybody
    done = objection.say_no(node.case, request, kind)
    assert set(done.states) == {CHURN, DEMAND}
    assert node.run(NEXT) == {node.key(BOB)}
    assert weekly_units(node) == 10 + 8  # of bob and eve
    desk = node.home.consents(node.database)
    now = node.clock()
    assert not desk.standing(CHURN, now).lets_in(node.key(ANN))
    assert not desk.standing(DEMAND, now).lets_in(node.key(ANN))


def weekly_units(node: Node) -> float:
    """What a demand run reads."""
    now = node.clock()
    permit = Permit(
        gate=Gate.ADMIT,
        agreement=AgreementId("a" * 64),
        run=RunId("3d" * 16),
        purpose=DEMAND,
        workload_digest="c" * 64,
        columns=WEEKLY_COLUMNS,
        not_after=now + timedelta(hours=1),
    )
    standing = node.home.consents(node.database).standing(DEMAND, now)
    read = consented_rows(node.home.vault(), permit, now, standing, week_start="monday")
    return float(read.weekly["units"].sum())


def test_a_no_ends_only_by_a_request_with_a_reason(node: Node) -> None:
    objection.say_no(
        node.case, asked(node, RequestKind.RESTRICT, ANN, note=""), RequestKind.RESTRICT
    )
    with pytest.raises(Refused, match="recognised"):
        objection.lift(node.case, asked(node, RequestKind.LIFT, ANN, note=""), "asked at the till")
    request = asked(node, RequestKind.LIFT, ANN)
    with pytest.raises(InputError, match="a text of"):
        objection.lift(node.case, request, " ")
    done = objection.lift(node.case, request, "asked at the till")
    # the yes of before is back; where nothing was said before, the person stays out
    assert {scope: state.value for scope, state in done.states.items()} == {
        CHURN: "granted",
        DEMAND: "withdrawn",
    }
    assert node.run(NEXT) == {node.key(ANN), node.key(BOB)}
    again = asked(node, RequestKind.LIFT, ANN)
    with pytest.raises(InputError, match="no objection"):
        objection.lift(node.case, again, "once more")


def test_an_objection_counts_when_it_is_entered(
    node: Node, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(node, "requests", "open", "--kind", "object", "--customer", ANN) == 0
    assert "counts already" in capsys.readouterr().out
    assert node.run(NEXT) == {node.key(BOB)}
    (waiting,) = node.case.subjects.list(only_open=True)
    node.case.subjects.close(waiting.request.id, "by hand")
    assert not node.case.consents.standing(DEMAND, node.now).lets_in(node.key(ANN))
    assert command(node, "requests", "open", "--kind", "restrict", "--customer", BOB) == 0
    assert "counts already" not in capsys.readouterr().out
    assert node.run("3d" * 16) == {node.key(BOB)}


def test_the_end_of_a_restriction_makes_no_old_yes_young(node: Node) -> None:
    objection.say_no(node.case, asked(node, RequestKind.RESTRICT, ANN), RequestKind.RESTRICT)
    node.home = replace(node.home, settings=NodeSettings(consent_max_age_days=60))
    done = objection.lift(node.case, asked(node, RequestKind.LIFT, ANN), "asked at the till")
    assert done.states[CHURN] == "withdrawn"  # the yes was of January 2


def test_an_objection_cannot_be_refused(node: Node) -> None:
    request = asked(node, RequestKind.OBJECT, ANN, note="")
    with pytest.raises(Refused, match=r"art\. 21"):
        refuse(node.case, request, "unfounded", "no")
    assert refuse(node.case, request, "withdrawn", "asked again").outcome == "refused"


# --- rectify -----------------------------------------------------------------------------------


def test_the_next_run_reads_what_was_put_right_and_the_export_does_not_undo_it(
    node: Node,
) -> None:
    request = asked(node, RequestKind.RECTIFY, ANN)
    first, second, *_ = rectify.lines_of(node.case, node.home.vault(), request)
    wanted = rectify.Wanted({first.id: {"net": "9.50", "product": "Rolls"}}, [second.id])
    case = node.case
    joined = Case(case.home, case.database, case.terms, case.agreement, enrolled=True)
    done = rectify.rectify(joined, node.home.vault(), request, wanted)
    assert (done.lines, done.told) == (2, 1)
    sql = "SELECT product, net FROM sales_line WHERE customer_key = ? ORDER BY ts_utc"
    for _ in range(2):
        found = node.home.vault().query(sql, [node.key(ANN)])
        assert len(found) == 6
        assert (found[0][0], float(found[0][1])) == ("Rolls", 9.5)
        assert node.run(NEXT) >= {node.key(ANN)}
        assert node.add(*lines(ANN, range(1, 8)), name="again.csv") == 0
    assert node.home.vault().summary().lines == 25  # the purchase stays, without the person
    said = json.dumps(evidence.verify(done.finished.file.read_bytes(), "e").document)
    assert "Rolls" not in said and '"columns": ["net", "product"]' in said


@pytest.mark.parametrize(
    "values",
    [{"net": "much"}, {"colour": "red"}, {"customer_key": "ab" * 32}, {"is_return": "perhaps"}],
)
def test_what_does_not_fit_changes_nothing(node: Node, values: dict[str, str]) -> None:
    request = asked(node, RequestKind.RECTIFY, ANN)
    first, *_ = rectify.lines_of(node.case, node.home.vault(), request)
    before = node.home.vault().data_digest()
    with pytest.raises(InputError):
        rectify.rectify(node.case, node.home.vault(), request, rectify.Wanted({first.id: values}))
    with pytest.raises(InputError, match="0 purchases"):
        rectify.rectify(
            node.case, node.home.vault(), request, rectify.Wanted({"ffffff": {"net": "1"}})
        )
    assert node.home.vault().data_digest() == before


# --- the command line --------------------------------------------------------------------------


def command(node: Node, *words: str) -> int:
    return run(app, ["--home", str(node.folder), *words], "coop-node")


def test_one_command_enters_carries_out_and_proves(
    node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["requests", "erase", "--customer", ANN, "--yes", "--json"]
    assert command(node, *words) == 3  # nobody was recognised; the request is entered all the same
    assert "recognised" in capsys.readouterr().out
    assert command(node, "requests", "list", "--json") == 0
    (waiting,) = json.loads(capsys.readouterr().out)["requests"]
    assert (waiting["kind"], waiting["recognised_at"]) == ("erase", None)
    assert command(node, *words, "--identified", f"it is {ANN}") == 5
    capsys.readouterr()
    assert command(node, *words, "--identified", NOTE) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["request"] == waiting["id"] and done["before"]["sales_line"] == 7
    assert command(node, "verify", done["evidence_file"]) == 0
    shown = capsys.readouterr().out
    assert "in this node's log" in shown and done["evidence"] in shown
    stranger = ["--home", str(tmp_path / "nobody"), "verify", done["evidence_file"]]
    assert run(app, stranger, "coop-node") == 0
    assert "compare the key" in capsys.readouterr().out


def test_the_other_commands(node: Node, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    who = ["--customer", ANN, "--identified", NOTE]
    assert command(node, "requests", "access", *who, "--out", str(tmp_path / "a")) == 0
    assert "answer.html" in capsys.readouterr().out
    assert command(node, "requests", "export", *who, "--out", str(tmp_path / "a.zip")) == 0
    assert command(node, "requests", "rectify", *who, "--json") == 0
    listed = json.loads(capsys.readouterr().out.partition("{\n")[2].join(["{\n", ""]))
    line = listed["lines"][0]["line"]
    words = ["--line", line, "--set", "product=Rolls", "--yes"]
    assert command(node, "requests", "rectify", listed["request"], *words) == 0
    assert command(node, "requests", "object", "--customer", ANN) == 0
    assert command(node, "requests", "lift", *who, "--reason", "asked") == 0
    assert command(node, "requests", "open", "--kind", "access", "--customer", BOB, "--json") == 0
    capsys.readouterr()
    assert command(node, "requests", "list") == 0
    shown = capsys.readouterr().out
    assert "29 days left" in shown and "not yet" in shown
    (bob,) = node.case.subjects.list(only_open=True)
    refused = ["--ground", "excessive", "--reason", "every week"]
    assert command(node, "requests", "refuse", bob.request.id, *refused) == 0
    assert "complain" in capsys.readouterr().out
    assert command(node, "requests", "erase-again") == 0
    kinds = [entry.facts["what"] for entry in node.entries("rights")]
    assert kinds == ["access", "export", "rectify", "object", "lift", "access"]


def test_the_words_of_the_command_line_are_those_of_the_ledger() -> None:
    assert {one.value for one in Kind} == {one.value for one in RequestKind}
    assert {one.value for one in Ground} == set(GROUNDS)


def test_a_damaged_book_does_not_keep_the_person_waiting(node: Node, tmp_path: Path) -> None:
    with node.database.write() as db:  # a reading that the journal does not know
        (one,) = RunSnapshots(db).list()
        RunSnapshots(db).add(replace(one, reading=2))
    done = answered(node, ANN, tmp_path / "answer")
    assert any("the proof about run" in gap for gap in done.gaps)
    assert (tmp_path / "answer" / "answer.html").exists()


def test_the_record_of_a_customer_is_answered_corrected_and_erased(
    node: Node, tmp_path: Path
) -> None:
    add_record(node, ANN, "DE")
    request = asked(node, RequestKind.RECTIFY, ANN)
    wanted = rectify.Wanted(record={"country": "AT", "region": ""})
    done = rectify.rectify(node.case, node.home.vault(), request, wanted)
    assert (done.lines, done.records) == (0, 1)
    add_record(node, ANN, "DE")  # the same export again
    answered(node, ANN, tmp_path / "answer")
    (record,) = rows((tmp_path / "answer" / "customer.csv").read_bytes())
    assert (record["country"], record["region"]) == ("AT", "")
    gone = erase(node.case, node.home.vault, asked(node, RequestKind.ERASE, ANN))
    assert gone.before["customer"] == 1
    add_record(node, ANN, "DE")
    assert held(node.case, node.home.vault(), node.key(ANN)).counts()["customer"] == 0


def add_record(node: Node, customer: str, country: str) -> None:
    """As an import of customers does."""
    table = pa.table(
        {
            "customer_key": [node.key(customer)],
            "first_seen": [date(2025, 5, 1)],
            "country": [country],
            "region": ["Somewhere"],
            "source": ["list"],
        },
        CUSTOMER,
    )
    with node.home.vault().begin() as change:
        change.write(RawRows(table, name="customer"))
        change.commit(ImportNote("customers.csv", "ab" * 32, 1, 0, node.clock()))


def test_days_left_in_words(node: Node) -> None:
    made = node.case.subjects.open(RequestKind.ACCESS, ANN, node.now - timedelta(days=28))
    assert made.stands == "open, 1 day left" and made.pressing
    node.now += timedelta(days=2)
    (late,) = node.case.subjects.list()
    assert late.stands == "OVERDUE, late since today: no run until it is answered"
    node.now += timedelta(days=3)
    (late,) = node.case.subjects.list()
    assert "3 days late" in late.stands
    (said,) = reminders(node.case.subjects.list())
    assert said.startswith(f"Request {made.request.id} (access)") and "3 days late" in said
    finding = checkup.requests(node.home)
    assert not finding.ok and "3 days late" in finding.found
    node.case.subjects.close(made.request.id, "told by letter")
    assert reminders(node.case.subjects.list()) == () and checkup.requests(node.home).ok
