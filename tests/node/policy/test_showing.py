"""Evidence and histories of a node: complete, proven, and without a customer in them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from agreement_world import COOP, COORDINATOR_KEY, KEYS, ME, NOW, OPERATOR_KEY
from privacy_world import Shop, run_name

from node import evidence, history, keys
from node.cli import proof
from node.cli.shell import run
from node.data.values import customer_key
from node.house import Home
from node.policy.agreements import Agreements
from node.policy.consents import ConsentDesk
from node.policy.journal import Journal
from node.policy.subjects import SubjectDesk
from node.settings import NodeSettings
from node.store.consents import State
from node.store.documents import Signatures, SignedAgreements
from node.store.incidents import Incidents, StoredIncident
from node.store.requests import RequestKind
from protocols.agreement.incident import make_incident
from protocols.audit.checkpoint import Checkpoint, origin_of, parse_checkpoint, sign_checkpoint
from protocols.audit.cosign import cosign, merge
from protocols.audit.entries import Kind
from protocols.audit.verify import check_inclusion
from protocols.canonical import json_bytes
from protocols.errors import Code, InputError, Refused
from protocols.pack.check import verify_pack
from protocols.pack.form import unpack
from protocols.signing import identity_of, jws_sign, signed_by

ALICE, BOB, NAME = "4711-0815", "4711-9999", "Alice Example"
RUN, OTHER = run_name(0xAB << 120), run_name(0xCD << 120)
SCOPE = "train:churn"
VERSION = "1.0"


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A node whose evidence is only read."""
    return shown(tmp_path_factory.mktemp("node"))


@pytest.fixture
def own(tmp_path: Path) -> Any:
    """A node of one test, which changes it."""
    return shown(tmp_path)


def shown(tmp_path: Path) -> Any:
    """A node with two customers, a run under consent, one without, and a stolen laptop."""
    made = keys.create(tmp_path)
    own = replace(made, identity=ME)
    ticks = iter(range(10**6))
    clock = lambda: NOW + timedelta(seconds=next(ticks))  # noqa: E731
    home = Home(tmp_path, NodeSettings(), own, Journal(tmp_path / "audit", ME, clock), clock)
    shop = Shop(tmp_path / "node.db")
    shop.journal = home.journal  # type: ignore[method-assign]
    shop.sign()
    desk = ConsentDesk(
        shop.database,
        secret=own.customer_secret,
        scopes=frozenset({SCOPE}),
        journal=home.journal,
        clock=clock,
        restored_at=None,
    )
    sheet = tmp_path / "said.csv"
    sheet.write_text(
        "customer,scope,state,at,source\n"
        f"{ALICE},{SCOPE},granted,2026-01-02,till\n{BOB},{SCOPE},granted,2026-01-03,till\n"
    )
    desk.record(desk.preview(sheet, wording="ab" * 32))
    assert shop.admits(RUN)
    _snapshot(home, shop, RUN)
    home.journal("spent", {"run": RUN, "round": 1})
    desk.forbid(ALICE, SCOPE, State.WITHDRAWN)
    assert shop.admits(OTHER)
    _snapshot(home, shop, OTHER)
    home.journal("snapshot", {"run": "ef" * 16, "root": "cd" * 32, "basis": "no-customers"})
    subjects = SubjectDesk(shop.database, own.customer_secret, None, home.journal, clock)
    subjects.open(RequestKind.ACCESS, ALICE)
    stolen = make_incident(
        coop=COOP, incident="1f" * 16, state="opened", freeze=True, what="a laptop", at=NOW
    )
    signed = jws_sign(stolen.document, "operator", OPERATOR_KEY)
    with shop.database.write() as db:
        Incidents(db).add(
            StoredIncident("1f" * 16, "opened", True, "a laptop", NOW, json_bytes(signed), NOW)
        )
    (tmp_path / "customers.csv").write_text(f"{ALICE},{NAME}\n")
    return SimpleNamespace(
        home=home,
        database=shop.database,
        agreements=Agreements(shop.database, COOP, ME, home.journal, clock),
        membership=SimpleNamespace(
            public=SimpleNamespace(coop=COOP, coordinator_key=COORDINATOR_KEY.public),
            member=identity_of(ME.public),
        ),
    )


def _snapshot(home: Home, shop: Shop, run_id: str) -> None:
    from node.store.consents import Consents

    with shop.database.read() as db:
        position = Consents(db).position()
    facts = {"run": run_id, "root": "cd" * 32, "basis": "consent", "scope": SCOPE}
    home.journal("snapshot", facts | {"position": position})


def _heads(member: Any, *roots: bytes) -> None:
    folder = member.home.folder / "audit" / "coordinator"
    folder.mkdir(parents=True)
    origin = origin_of("coordinator", COORDINATOR_KEY.public)
    for number, root in enumerate(roots):
        head = Checkpoint(origin, 7, root)
        note = merge(sign_checkpoint(head, COORDINATOR_KEY), [cosign(head, KEYS[1], 1)], "head")
        (folder / f"{number}.note").write_bytes(note)


# ------------------------------------------------------------------------------ evidence


def test_a_pack_of_the_node_checks_and_holds_what_was_agreed_and_done(own: Any) -> None:
    _heads(own, b"\x01" * 32)
    report = verify_pack(evidence.evidence(own), "pack", software=VERSION)
    text = "\n".join(report.lines())
    for said in (
        "8 of 8 members",
        "orders: 2 orders",
        "1 heads, countersigned by 1",
        "1 signed stat",
    ):
        assert said in text, text
    assert report.head.origin == origin_of("node", ME.public)


def test_no_customer_is_in_it(member: Any) -> None:
    """Neither number nor name nor key, in no file, at no place, in no common encoding."""
    secret = member.home.keys.customer_secret
    planted = [ALICE, BOB, NAME, "Alice"]
    planted += [key for one in (ALICE, BOB) if (key := customer_key(secret, one))]
    forms = [form for one in planted for form in (one.encode(), one.encode().hex().encode())] + [
        secret,
        secret.hex().encode(),
    ]
    forms += [bytes.fromhex(one) for one in planted if len(one) == 64]
    for archive in (evidence.evidence(member), evidence.evidence(member, run=RUN)):
        files = unpack(archive, "pack")
        for name, content in files.items():
            for form in forms:
                assert form not in content, f"{form!r} in {name}"
                assert form not in name.encode()
    raw = (member.home.folder / "customers.csv").read_bytes()
    assert ALICE.encode() in raw, "the search would find it"


def test_a_pack_for_a_run_shows_its_entries_alone(member: Any) -> None:
    archive = evidence.evidence(member, run=RUN[:8])
    files = unpack(archive, "pack")
    assert [one for one in files if one.startswith("orders/")] == [f"orders/{RUN}.jws"]
    assert "log/log.jsonl" not in files
    entries = [content for name, content in files.items() if name.startswith("log/entries/")]
    assert len(entries) >= 3
    assert all(RUN.encode() in one and OTHER.encode() not in one for one in entries)
    verify_pack(archive, "pack", software=VERSION)
    with pytest.raises(InputError):
        evidence.evidence(member, run="0000")


def test_an_order_that_was_refused_is_not_passed_on(own: Any) -> None:
    """It may be signed by anybody; that it was refused stands in the log."""
    from agreement_world import STRANGER, churn_order

    from node.store.orders import Orders, OrderState, StoredOrder

    forged = jws_sign(churn_order(run="99" * 16).document, "operator", STRANGER)
    stored = StoredOrder(
        "99" * 16, "aa" * 32, "churn", "d2" * 32, json_bytes(forged), OrderState.REFUSED, (), NOW
    )
    with own.database.write() as db:
        Orders(db).put(stored, NOW)
    own.home.journal("refusal", {"run": "99" * 16, "clauses": ("c05",)})
    for archive in (evidence.evidence(own), evidence.evidence(own, run="9999")):
        verify_pack(archive, "pack", software=VERSION)
        assert not [one for one in unpack(archive, "pack") if "99" * 16 in one]
    entries = [one for one in unpack(archive, "pack") if one.startswith("log/entries/")]
    assert len(entries) == 1


def test_a_fork_that_the_node_holds_is_in_its_pack(own: Any) -> None:
    _heads(own, b"\x01" * 32, b"\x02" * 32)
    assert "forked" in verify_pack(evidence.evidence(own), "pack", software=VERSION).fork


def test_a_node_without_a_roster_has_nothing_to_show(member: Any, tmp_path: Path) -> None:
    from node.store.database import Database

    empty = Database.open(tmp_path / "other.db", create=True)
    with pytest.raises(Refused):
        evidence.evidence(SimpleNamespace(**{**vars(member), "database": empty}))  # type: ignore[arg-type]


# ------------------------------------------------------------------------------ histories


def proven(found: history.History) -> list[tuple[Kind, Any]]:
    """Every entry, its proof checked again as a stranger does."""
    head = parse_checkpoint(found.head, ME.public, origin_of("node", ME.public), "head")
    for one in found.entries:
        assert check_inclusion(one.proof, head, "proof") == one.entry
    return [(one.entry.kind, one.entry.facts.get("run")) for one in found.entries]


def test_what_touched_a_customer(member: Any) -> None:
    found = history.of_customer(member.home, member.database, ALICE)
    entries = proven(found)
    assert (Kind.SNAPSHOT, RUN) in entries
    assert (Kind.DECISION, RUN) in entries and (Kind.SPENT, RUN) in entries
    assert not [one for one in entries if one[1] == OTHER], "she had said no before"
    assert not [one for one in entries if one[1] == "ef" * 16], "that run read no customer"
    assert [one for one in entries if one[0] is Kind.REQUEST]
    text = "\n".join(found.lines())
    for said in ("granted for train:churn on 2026-01-02", "withdrawn for", "asked for access"):
        assert said in text
    assert "It cannot know" in text
    assert ALICE not in text and NAME not in text


def test_another_customer_has_another_history(member: Any) -> None:
    entries = proven(history.of_customer(member.home, member.database, BOB))
    assert {run_id for kind, run_id in entries if kind is Kind.SNAPSHOT} == {RUN, OTHER}
    nobody = history.of_customer(member.home, member.database, "0000")
    assert not nobody.entries
    assert "  nothing" in nobody.lines()
    with pytest.raises(InputError):
        history.of_customer(member.home, member.database, "  ")


def test_what_happened_in_a_run_and_what_is_known_of_a_member(member: Any) -> None:
    found = history.of_run(member, RUN[:6])
    assert {run_id for _, run_id in proven(found)} <= {RUN, None}
    assert "purpose train:churn" in "\n".join(found.lines())
    other = identity_of(KEYS[3].public)
    text = "\n".join(history.of_member(member, other[:10]).lines())
    assert KEYS[3].public.hex() in text and f"in the cohort of run {RUN}" in text
    for wrong in (lambda: history.of_run(member, "00"), lambda: history.of_member(member, "zz")):
        with pytest.raises(InputError) as caught:
            wrong()
        assert caught.value.code is Code.NOT_FOUND


def test_a_journal_that_was_changed_proves_nothing(own: Any) -> None:
    own.home.log.close()
    log = own.home.folder / "audit" / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(RUN.encode(), OTHER.encode()))
    with pytest.raises(InputError) as caught:
        history.of_customer(own.home, own.database, ALICE)
    assert caught.value.code is Code.TAMPERED


# ------------------------------------------------------------------------------ commands


def command(*words: str) -> int:
    import typer

    from node.cli.app import options

    app = typer.Typer()
    proof.register(app)
    app.callback()(options)
    return run(app, list(words), "coop-node")


def test_the_commands_write_and_check_a_pack(
    member: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(proof, "acting_member", lambda context, action: member)
    monkeypatch.setattr("node.house.open_member", lambda home, *rest: member)
    out = tmp_path / "evidence.zip"
    assert command("evidence", "--out", str(out)) == 0
    assert command("evidence", "--out", str(out)) == 5, "never over another file"
    capsys.readouterr()
    assert command("verify", str(out), "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert "yours: this node has signed an agreement in it" in said["checks"]
    raw = bytearray(out.read_bytes())
    raw[len(raw) // 2] ^= 1
    out.write_bytes(bytes(raw))
    assert command("verify", str(out)) == 5
    assert command("verify", "--run", RUN[:6], "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["entries"] and shown["cannot_know"]
    assert command("verify", "--run", "a", "--member", "b") == 2


def test_a_log_folder_is_checked_with_the_key_that_is_known(
    member: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Journal(tmp_path / "theirs", KEYS[2], lambda: datetime(2026, 3, 1, tzinfo=UTC))
    other.append(Kind.START)
    other.close()
    monkeypatch.setattr("node.house.open_member", lambda home, *rest: member)
    assert command("verify", str(tmp_path / "theirs")) == 0, "a member of the roster"
    stranger = Journal(tmp_path / "stranger", OPERATOR_KEY, lambda: NOW)
    stranger.append(Kind.START)
    stranger.close()
    assert command("verify", str(tmp_path / "stranger")) == 1
    key = OPERATOR_KEY.public.hex()
    assert command("verify", str(tmp_path / "stranger"), "--key", key) == 0
    assert command("verify", str(tmp_path / "stranger"), "--key", "xyz") == 5
    log = tmp_path / "stranger" / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b"start", b"stop"))
    assert command("verify", str(tmp_path / "stranger"), "--key", key) == 5
    assert command("verify", str(tmp_path)) == 1


def test_a_forged_line_under_the_evidence_of_a_fork_spoils_no_pack(own: Any) -> None:
    # who shows two histories would hang it there, so that nobody can use what this node kept
    _heads(own, b"\x01" * 32, b"\x02" * 32)
    path = own.home.folder / "audit" / "coordinator" / "1.note"
    head = Checkpoint(origin_of("coordinator", COORDINATOR_KEY.public), 7, b"\x03" * 32)
    path.write_bytes(merge(path.read_bytes(), [cosign(head, KEYS[2], 1)], "head"))  # of another
    (path.parent / "2.note").write_bytes(b"nothing that anybody signed\n")
    report = verify_pack(evidence.evidence(own), "pack", software=VERSION)
    assert "forked" in report.fork


def test_a_signature_that_never_verified_is_not_passed_on(own: Any) -> None:
    # it came before the list that names its party, was kept, and counts for nothing here
    party = identity_of(KEYS[1].public)
    with own.database.write() as db:
        (mine,) = SignedAgreements(db).list()
        good = json.loads(Signatures(db).of(mine.agreement)[party])
        (one,) = good["signatures"]
        bad = {**good, "signatures": [{**one, "signature": "A" * len(one["signature"])}]}
        Signatures(db).put(mine.agreement, party, json_bytes(bad), NOW)
    archive = evidence.evidence(own)
    (name,) = [one for one in unpack(archive, "pack") if one.startswith("agreements/")]
    assert party not in signed_by(json.loads(unpack(archive, "pack")[name]), name)
    verify_pack(archive, "pack", software=VERSION)
