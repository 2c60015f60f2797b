"""What members corrected: a count and runs, kept once, shown with what the agreement suggests."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coordinator.cli.app import app
from coordinator.cli.shell import run
from coordinator.desk import Desk
from coordinator.members.corrections import Corrections
from coordinator.store.documents import Document, Documents
from coordinator.store.runs import Answer, RunMember, RunMembers, Runs
from protocols.agreement.corrections import make_correction, past_model, read_correction
from protocols.agreement.terms import Membership, Privacy, Terms
from protocols.canonical import json_bytes
from protocols.errors import InputError, RemoteError
from protocols.ids import MemberId, OrderId, RunId
from protocols.signing import identity_of
from small_office import MEMBERS, SmallOffice, signed_office

ME = MemberId(identity_of(MEMBERS[0].public))
OTHER = MemberId(identity_of(MEMBERS[1].public))
RUN = RunId("1f" * 16)
NAME = "correction-00112233aabbccdd"


@pytest.fixture
def office(tmp_path: Path) -> SmallOffice:
    """An office with one run in which one member was asked."""
    made = signed_office(tmp_path / "office")
    order = OrderId("5e" * 32)
    with made.house.database.write() as db:
        Documents(db).add(Document(order, "order", b"{}", made.now))
        Runs(db).add(RUN, order, made.now)
        RunMembers(db).put(RunMember(RUN, ME, Answer.ADMITTED, (), made.now))
    return made


def desk(office: SmallOffice) -> Desk:
    return Desk(office.house, office.house.log(), lambda *_, **__: None)


def test_a_correction_is_kept_once_and_logged_as_figures(office: SmallOffice) -> None:
    body = make_correction("erased", 1, [RUN])
    assert not desk(office).take(ME, "correction", NAME, body)
    assert desk(office).take(ME, "correction", NAME, body)
    (kept,) = Corrections(office.house.database, office.clock).list()
    assert (kept.member, kept.correction) == (ME, read_correction(body))
    assert office.entries("rights") == [{"member": ME, "what": "erased", "count": 1, "runs": [RUN]}]


def test_a_correction_about_no_run_is_kept(office: SmallOffice) -> None:
    assert not desk(office).take(ME, "correction", NAME, make_correction("erased", 2, []))
    assert office.entries("rights")[0]["runs"] == []


@pytest.mark.parametrize(
    ("member", "name", "runs"),
    [(OTHER, NAME, [RUN]), (ME, NAME, ["2e" * 16]), (ME, "correction-4711", [RUN])],
)
def test_not_asked_unknown_run_or_a_telling_name(
    office: SmallOffice, member: MemberId, name: str, runs: list[str]
) -> None:
    with pytest.raises((RemoteError, InputError)):
        desk(office).take(member, "correction", name, make_correction("erased", 1, runs))
    assert Corrections(office.house.database, office.clock).list() == ()


def test_one_name_one_letter(office: SmallOffice) -> None:
    desk(office).take(ME, "correction", NAME, make_correction("erased", 1, [RUN]))
    with pytest.raises(RemoteError, match="another correction"):
        desk(office).take(ME, "correction", NAME, make_correction("erased", 2, [RUN]))


@pytest.mark.parametrize(
    "change",
    [
        {"who": "4711"},
        {"what": "angry"},
        {"count": 0},
        {"count": True},
        {"count": 1.5},
        {"runs": [RUN, RUN]},
        {"runs": ["../x"]},
        {"runs": RUN},
    ],
)
def test_nothing_beside_the_three_fields(change: dict[str, Any]) -> None:
    letter = {"what": "erased", "count": 1, "runs": [RUN]} | change
    with pytest.raises(InputError):
        read_correction(json_bytes(letter))


def test_the_operator_sees_figures_and_what_is_proposed(
    office: SmallOffice, capsys: pytest.CaptureFixture[str]
) -> None:
    desk(office).take(ME, "correction", NAME, make_correction("erased", 3, [RUN]))
    agreement = office.house.agreement()
    assert agreement is not None
    folder = office.house.releases / ("7c" * 32)
    folder.mkdir(parents=True)
    card = {"run": RUN, "agreement": agreement.id, "privacy": {"claim": "none"}}
    (folder / "card.json").write_text(json.dumps(card))
    words = ["--home", str(office.folder), "corrections", "list"]
    assert run(app, words, "coop-coordinator") == 0
    shown = capsys.readouterr().out
    assert "3 erased" in shown
    assert "No clause prescribes this. Proposed: retrain" in shown
    assert run(app, [*words, "--json"], "coop-coordinator") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["releases"][0]["people"] == {"erased": 3}


def noise(epsilon: float) -> dict[str, Any]:
    return {"claim": "customer", "epsilon": {"coordinator": epsilon / 2, "colluders": epsilon}}


def test_what_is_proposed_rests_on_what_was_agreed(office: SmallOffice) -> None:
    agreement = office.house.agreement()
    assert agreement is not None
    terms = agreement.terms
    privacy = terms.block("c14", Privacy)
    assert privacy is not None
    budget = privacy.budgets[0]
    assert past_model(terms, noise(budget.epsilon)).decision == "keep"
    over = past_model(terms, noise(budget.epsilon * 1.01))
    assert (over.decision, over.clause) == ("retrain", "c29")
    assert past_model(None, noise(0.1)).decision == "retrain"  # nobody agreed to that much
    leaving = terms.block("c29", Membership)
    assert leaving is not None
    changed = leaving.model_copy(update={"past_models": "retire"})
    retiring = replace(terms, blocks={**terms.blocks, "c29": changed})
    assert isinstance(retiring, Terms)
    assert past_model(retiring, {"claim": "none"}).decision == "retire"
