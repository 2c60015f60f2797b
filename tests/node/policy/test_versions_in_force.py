"""Which version counts here while others are being signed: one that is proposed changes nothing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from agreement_world import (
    AGREEMENT,
    COOP,
    KEYS,
    ME,
    NOW,
    OPERATOR_KEY,
    ROSTER,
    STRANGER,
    person,
    signed_by_all,
    signed_order,
)
from test_gate import HISTORY, OTHER_RUN, House, no

from node.cli.life import roster_lines
from node.policy import incidents
from node.policy.evidence import Me
from node.policy.going import refuse_if_stopped
from node.policy.life import Life, terminated
from node.store.database import Database
from protocols.agreement.base import utc_text
from protocols.agreement.incident import make_incident
from protocols.agreement.membership import make_termination
from protocols.agreement.order import OPERATOR
from protocols.agreement.parse import ParsedAgreement, read_agreement
from protocols.agreement.roster import make_roster, read_roster
from protocols.agreement.template import amend
from protocols.canonical import json_bytes
from protocols.errors import Refused
from protocols.permit import Permit
from protocols.signing import SigningKey, identity_of, jws_sign

MYSELF = Me(identity_of(ME.public), ME.public)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(Database.open(tmp_path / "node.db", create=True)).in_force()


def proposed(house: House, version: ParsedAgreement) -> ParsedAgreement:
    """Received and signed here; the others have not."""
    house.agreements.receive("agreement", json_bytes(version.document))
    house.agreements.sign(version.id, short_notice=True)
    return version


def by_all(house: House, version: ParsedAgreement) -> None:
    house.agreements.receive("agreement-signed", json_bytes(signed_by_all(version.document)))


def again(one: ParsedAgreement, **changes: Any) -> ParsedAgreement:
    return read_agreement({**one.document, **changes}, "changed")


def test_a_third_version_on_its_way_does_not_bring_the_first_back(house: House) -> None:
    second = proposed(house, amend(AGREEMENT, "c14", {"min_cohort": 6}))
    by_all(house, second)
    no(house.gate.admit(signed_order(), HISTORY), "c05", "replaced by a later")
    proposed(house, amend(second, "c14", {"min_cohort": 7}))
    no(house.gate.admit(signed_order(run=OTHER_RUN), HISTORY), "c05", "replaced by a later")
    under = signed_order(run="ef" * 16, agreement=second.id, min_cohort=6)
    assert isinstance(house.gate.admit(under, HISTORY), Permit)


@pytest.mark.parametrize("number", [2, 9])
def test_a_version_carries_the_number_that_follows(house: House, number: int) -> None:
    second = proposed(house, amend(AGREEMENT, "c14", {"min_cohort": 6}))
    by_all(house, second)
    odd = again(amend(second, "c14", {"min_cohort": 7}), version=number)
    house.agreements.receive("agreement", json_bytes(odd.document))
    with pytest.raises(Refused, match=rf"calls itself version {number}.*version 3"):
        house.agreements.sign(odd.id, short_notice=True)


def test_a_version_that_starts_later_replaces_nothing_before(house: House) -> None:
    start = NOW + timedelta(days=30)
    later = proposed(house, amend(AGREEMENT, "c30", {"starts": utc_text(start)}))
    by_all(house, later)
    assert isinstance(house.gate.admit(signed_order(), HISTORY), Permit)
    house.now = start
    no(house.gate.admit(signed_order(run=OTHER_RUN), HISTORY), "c05", "replaced by a later")


def test_who_joined_since_does_not_bring_an_old_version_back(house: House) -> None:
    """The second version came into force with six of eight; two newcomers have signed neither."""
    second = proposed(house, amend(AGREEMENT, "c14", {"min_cohort": 6}))
    signed = signed_by_all(second.document, KEYS[:6])
    house.agreements.receive("agreement-signed", json_bytes(signed))
    no(house.gate.admit(signed_order(), HISTORY), "c05", "replaced by a later")
    newcomers = [STRANGER, SigningKey(b"\x77" * 32)]
    people = [*ROSTER.roster.members, *map(person, newcomers)]
    epoch = read_roster(make_roster(COOP, people, ROSTER, issued=NOW), "roster")
    house.agreements.receive("roster-signed", json_bytes(signed_by_all(epoch.document)))
    wider = sorted([one.id for one in epoch.roster.members])
    old = signed_order(roster=epoch.id, roster_epoch=2, cohort=wider, run=OTHER_RUN)
    no(house.gate.admit(old, HISTORY), "c05", "replaced by a later")


def test_a_version_that_is_only_proposed_accepts_no_member(house: House) -> None:
    """One signature is enough for a roster under the new version, six under the one in force."""
    proposed(house, amend(AGREEMENT, "c05", {"quorum_roster": {"members": 1}}))
    people = [*ROSTER.roster.members, person(STRANGER)]
    epoch = read_roster(make_roster(COOP, people, ROSTER, issued=NOW), "roster")
    house.agreements.receive("roster-signed", json_bytes(signed_by_all(epoch.document, KEYS[3:4])))
    accepted = house.agreements.accepted_roster()
    assert accepted is not None
    assert accepted.id == ROSTER.id
    assert isinstance(house.gate.admit(signed_order(), HISTORY), Permit)


def test_the_end_of_the_version_in_force_counts_while_another_is_proposed(house: House) -> None:
    proposed(house, amend(AGREEMENT, "c14", {"min_cohort": 6}))
    life = Life(house.database, COOP, ME, house.journal, lambda: house.now)
    end = make_termination(coop=COOP, agreement=AGREEMENT.id, at=NOW, reason="We part.")
    life.receive_end(json_bytes(signed_by_all(end)))
    with house.database.read() as db:
        assert terminated(db, AGREEMENT)
    no(house.gate.admit(signed_order(), HISTORY), "c05", "have ended agreement version 1")


def test_the_operator_of_the_version_in_force_freezes_while_another_is_proposed(
    house: House,
) -> None:
    successor = SigningKey(b"\x5a" * 32)
    version = proposed(house, amend(AGREEMENT, "c05", {"operator_key": successor.public.hex()}))
    step = make_incident(
        coop=COOP, incident="ab" * 16, state="opened", freeze=True, what="A theft.", at=NOW
    )
    letter = json_bytes(jws_sign(step.document, OPERATOR, OPERATOR_KEY))
    incidents.receive(house.database, COOP, MYSELF, letter, house.journal, NOW)
    no(house.gate.admit(signed_order(), HISTORY), "c25", "incident abababab is open")
    by_all(house, version)  # from now on the other key counts, and the old one thaws nothing
    closed = make_incident(
        coop=COOP, incident="ab" * 16, state="closed", freeze=True, what="A theft.", at=NOW
    )
    with pytest.raises(Exception, match="does not verify"):
        incidents.receive(
            house.database,
            COOP,
            MYSELF,
            json_bytes(jws_sign(closed.document, OPERATOR, OPERATOR_KEY)),
            house.journal,
            NOW,
        )


def test_what_is_ended_is_the_version_in_force(house: House) -> None:
    second = proposed(house, amend(AGREEMENT, "c14", {"min_cohort": 6}))
    current, counts = house.agreements.current(), house.agreements.in_force()
    assert current is not None and counts is not None
    assert (current.id, counts.id) == (second.id, AGREEMENT.id)
    by_all(house, second)
    counts = house.agreements.in_force()
    assert counts is not None and counts.id == second.id


def test_every_field_of_an_entry_that_changes_is_named(house: House) -> None:
    """A legal id says which business may come back under a new key."""
    first, *others = ROSTER.roster.members
    fields = {"legal_id": "HRB 4711", "name": "Else", "trade": "fish", "region": "Elsewhere"}
    for name, value in fields.items():
        people = [first.model_copy(update={name: value}), *others]
        epoch = read_roster(make_roster(COOP, people, ROSTER, issued=NOW), "roster")
        (line,) = [one for one in roster_lines(house.agreements, epoch) if "changed" in one]
        assert line.endswith(f": {name.replace('_', ' ')}")


# ------------------------------------------------------------------------- a run that goes on


def still(house: House) -> None:
    refuse_if_stopped(house.database, MYSELF, AGREEMENT.id, NOW)


def test_a_run_that_goes_on_stops_with_its_agreement(house: House) -> None:
    still(house)
    end = make_termination(coop=COOP, agreement=AGREEMENT.id, at=NOW, reason="We part.")
    life = Life(house.database, COOP, ME, house.journal, lambda: house.now)
    life.receive_end(json_bytes(signed_by_all(end, KEYS[1:3])))
    still(house)  # two do not end it
    life.receive_end(json_bytes(signed_by_all(end)))
    with pytest.raises(Refused, match="have ended agreement version 1") as caught:
        still(house)
    assert caught.value.clauses == ("c05",)


def test_a_run_that_goes_on_stops_when_its_version_is_obeyed_no_more(house: House) -> None:
    house.agreements.withdraw(AGREEMENT.id)
    with pytest.raises(Refused, match="does not obey the agreement"):
        still(house)


def test_a_run_that_goes_on_stops_with_an_incident(house: House) -> None:
    step = make_incident(
        coop=COOP, incident="cd" * 16, state="opened", freeze=True, what="A theft.", at=NOW
    )
    letter = json_bytes(jws_sign(step.document, OPERATOR, OPERATOR_KEY))
    incidents.receive(house.database, COOP, MYSELF, letter, house.journal, NOW)
    with pytest.raises(Refused, match="runs are frozen") as caught:
        still(house)
    assert caught.value.clauses == ("c25",)


def test_a_run_under_way_ends_under_the_version_it_began_with(house: House) -> None:
    """A restarted node asks again; a new order under the old version is another matter."""
    assert isinstance(house.gate.admit(signed_order(), HISTORY), Permit)
    second = proposed(house, amend(AGREEMENT, "c14", {"min_cohort": 6}))
    by_all(house, second)
    assert isinstance(house.gate.admit(signed_order(), HISTORY), Permit)
    no(house.gate.admit(signed_order(run=OTHER_RUN), HISTORY), "c05", "replaced by a later")
