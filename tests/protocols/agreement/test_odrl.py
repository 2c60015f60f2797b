"""Agreements as ODRL and back: nothing is lost, and a document edited on one side is refused."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from agreement_world import AGREEMENT, BOTH, COOP, ROSTER, signed_by_all
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.agreement import odrl_rules
from protocols.agreement.negotiation import NEXT, Event, Negotiation, after, names, negotiation
from protocols.agreement.odrl import Standing, from_odrl, odrl_bytes, to_odrl
from protocols.agreement.parse import ParsedAgreement, read_agreement
from protocols.agreement.roster import read_roster
from protocols.agreement.status import State, Status
from protocols.agreement.terms import TYPE_OF
from protocols.canonical import json_bytes, json_id
from protocols.errors import Code, CoopError, InputError, Refused
from protocols.signing import jws_payload, jws_verify

IN_FORCE = Standing(State.IN_FORCE, Negotiation.FINALIZED)
TEXTS = st.text(
    st.sampled_from("abcXYZ 019äöüßéñ€\"\\/<>&{}$'@:#%-_"), min_size=1, max_size=60
).filter(lambda text: text.strip() != "")
NAMES = st.from_regex(r"[a-z][a-z0-9_:.-]{0,20}", fullmatch=True)
MANY = st.lists(NAMES, min_size=1, max_size=4, unique=True)


@st.composite
def agreements(draw: st.DrawFn) -> ParsedAgreement:
    """Agreements that differ in texts, names, numbers and lists from the template's."""
    document = copy.deepcopy(dict(BOTH.document))
    clauses = {one["id"]: one for one in document["clauses"]}
    block = {key: one["machine"] for key, one in clauses.items() if "machine" in one}
    document["title"] = draw(TEXTS)
    for key in draw(st.lists(st.sampled_from(sorted(clauses)), max_size=6)):
        clauses[key]["plain_text"] = draw(TEXTS)
        clauses[key]["title"] = draw(TEXTS)
    block["c07"]["allowed"], block["c07"]["forbidden"] = draw(MANY), draw(MANY)
    block["c10"]["purposes"] += [
        {"purpose": name, "basis": "legitimate-interest", "scope": None, "reference": draw(TEXTS)}
        for name in draw(MANY)
        if name not in {one["purpose"] for one in block["c10"]["purposes"]}
    ]
    block["c15"]["never"] = draw(MANY)
    block["c20"]["uses"] = draw(MANY)
    block["c22"]["sub_processors"] = [
        {"name": name, "country": "FR", "service": draw(TEXTS)}
        for name in draw(st.lists(TEXTS, max_size=3, unique=True))
    ]
    block["c27"]["blocked_fields"] = draw(MANY)
    block["c14"]["max_runs"] = draw(st.sampled_from([1, 7.0, 100_000]))
    block["c14"]["budgets"][0]["epsilon"] = draw(st.floats(0.001, 100))
    block["c04"]["controller"] = draw(st.sampled_from(["joint", "each"]))
    block["c09"]["taxonomy"] = draw(
        st.sampled_from([None, {"id": "a:1", "sha256": "c9" * 32, "min_mapped_percent": 7}])
    )
    block["c09"].pop("taxonomy") if draw(st.booleans()) else None
    block["c16"].pop("hours_utc") if draw(st.booleans()) else None
    return read_agreement(document, "generated")


@settings(max_examples=60, deadline=None)
@given(agreements(), st.booleans())
def test_there_and_back_is_the_same_document(parsed: ParsedAgreement, parties: bool) -> None:
    raw = odrl_bytes(to_odrl(parsed, ROSTER if parties else None, IN_FORCE))
    back = from_odrl(raw, "file")
    assert back.agreement.id == parsed.id
    assert json_bytes(back.agreement.document) == json_bytes(parsed.document)
    assert back.standing == IN_FORCE
    assert (back.roster.id if back.roster else None) == (ROSTER.id if parties else None)


def test_signatures_stay_good() -> None:
    signed = signed_by_all(BOTH.document)
    back = from_odrl(odrl_bytes(to_odrl(BOTH)), "file").agreement
    assert json_id(jws_payload(signed, "agreement")) == back.id
    assert len(jws_verify(signed, ROSTER.keys, "agreement")) == 8


def test_the_same_agreement_is_the_same_file() -> None:
    assert odrl_bytes(to_odrl(AGREEMENT)) == odrl_bytes(
        to_odrl(read_agreement(AGREEMENT.document, ""))
    )


def test_every_type_of_block_is_derived_or_ours_alone() -> None:
    ours = {"data_roles", "datasets", "quality", "contribution", "membership"}
    assert set(odrl_rules.DERIVE) | ours == {kind for kind in TYPE_OF.values() if kind}
    assert not set(odrl_rules.DERIVE) & ours


def rules_of(document: dict[str, Any], clause: str) -> list[dict[str, Any]]:
    every = document["odrl:permission"] + document["odrl:prohibition"] + document["odrl:obligation"]
    return [one for one in every if one["coop:clause"] == clause]


def limits(document: dict[str, Any], clause: str) -> list[tuple[str, str, Any]]:
    every = document["odrl:permission"] + document["odrl:prohibition"] + document["odrl:obligation"]
    return [
        (one["odrl:leftOperand"]["@id"], one["odrl:operator"]["@id"], one["odrl:rightOperand"])
        for rule in every
        for one in rule.get("odrl:constraint", [])
        if one["coop:clause"] == clause
    ]


def test_what_odrl_and_dpv_have_words_for_is_said_in_them() -> None:
    document = to_odrl(BOTH)
    allowed = [
        {"@id": "urn:datacoop:purpose:train:churn"},
        {"@id": "urn:datacoop:purpose:train:demand"},
    ]
    assert ("odrl:purpose", "odrl:isAnyOf", allowed) in limits(document, "c07")
    assert {one["@type"] for one in rules_of(document, "c07")} == {
        "odrl:Permission",
        "odrl:Prohibition",
    }
    duties = {"odrl:delete", "odrl:archive"}  # updates and results; logs
    assert {one["odrl:action"]["@id"] for one in rules_of(document, "c28")} == duties
    assert (
        "odrl:elapsedTime",
        "odrl:lteq",
        {"@type": "xsd:duration", "@value": "P730D"},
    ) in limits(document, "c28")
    end = {"@type": "xsd:dateTime", "@value": "2027-03-01T00:00:00Z"}
    assert limits(document, "c30").count(("odrl:dateTime", "odrl:lt", end)) == 3
    assert ("odrl:count", "odrl:lteq", {"@type": "xsd:integer", "@value": "12"}) in limits(
        document, "c14"
    )
    (left, _, places), *_ = limits(document, "c22")
    assert left == "odrl:spatial" and {"@id": "urn:iso:std:iso:3166:DE"} in places
    measures = {one["@type"] for one in document["dpv:hasTechnicalOrganisationalMeasure"]}
    assert {"dpv:SecureMultiPartyComputation", "dpv:DifferentialPrivacy"} <= measures
    bases = {
        one["dpv:hasPurpose"]["@id"]: one.get("dpv:hasLegalBasis", {}).get("@type")
        for one in document["dpv:hasProcess"]
    }
    assert bases == {
        "urn:datacoop:purpose:train:churn": "dpv:Consent",
        "urn:datacoop:purpose:train:demand": None,
    }
    plain = to_odrl(AGREEMENT)
    measures = {one["@type"] for one in plain["dpv:hasTechnicalOrganisationalMeasure"]}
    assert "dpv:DifferentialPrivacy" not in measures, "nothing noised may run, nothing is claimed"


def test_no_context_has_to_be_fetched() -> None:
    context = to_odrl(BOTH)["@context"]
    assert isinstance(context, dict) and "@import" not in context


# ------------------------------------------------------------------ one side was edited


def edits(document: dict[str, Any]) -> dict[str, Any]:
    """Name of each edit -> the document with that one thing changed, on one side only."""
    out: dict[str, Any] = {}

    def edit(name: str, change: Any) -> None:
        other = copy.deepcopy(document)
        change(other)
        out[name] = other

    def block(other: dict[str, Any], number: int) -> Any:
        return other["coop:clauses"]["@list"][number - 1]["coop:block"]["@value"]

    edit(
        "purpose taken away",
        lambda d: d["odrl:prohibition"][0]["odrl:constraint"][0]["odrl:rightOperand"].pop(),
    )
    edit("prohibition taken away", lambda d: d["odrl:prohibition"].pop(0))
    edit(
        "permission added",
        lambda d: d["odrl:permission"].append(
            {
                "@type": "odrl:Permission",
                "odrl:action": {"@id": "odrl:sell"},
                "odrl:target": d["odrl:permission"][0]["odrl:target"],
                "coop:clause": "c07",
            }
        ),
    )
    edit(
        "deadline moved",
        lambda d: d["odrl:permission"][0]["odrl:constraint"][-1]["odrl:rightOperand"].update(
            {"@value": "2099-01-01T00:00:00Z"}
        ),
    )
    edit(
        "legal basis changed",
        lambda d: d["dpv:hasProcess"][0]["dpv:hasLegalBasis"].update(
            {"@type": "dpv:LegitimateInterest"}
        ),
    )
    edit(
        "measure claimed",
        lambda d: d["dpv:hasTechnicalOrganisationalMeasure"].append(
            {"@type": "dpv:Anonymisation", "coop:clause": "c14"}
        ),
    )
    edit("another assignee", lambda d: d["odrl:assignee"].append({"@id": "urn:x"}))
    edit("member renamed", lambda d: d["coop:member"][0].update({"coop:name": "Another"}))
    edit("context redirected", lambda d: d["@context"].update({"odrl": "urn:other:"}))
    edit("unknown statement", lambda d: d.update({"odrl:inheritFrom": {"@id": "urn:x"}}))
    edit("uid of another", lambda d: d.update({"odrl:uid": {"@id": "urn:x"}}))
    edit("clause number changed on our side", lambda d: block(d, 28).update({"models_days": 1}))
    edit(
        "text changed on our side",
        lambda d: d["coop:clauses"]["@list"][1].update({"coop:plainText": "something else"}),
    )
    edit("clause with something more", lambda d: d["coop:clauses"]["@list"][1].update({"x": 1}))
    edit(
        "state and name do not fit",
        lambda d: d.update({"coop:negotiationState": {"@id": "dspace:REQUESTED"}}),
    )
    edit("version changed", lambda d: d.update({"coop:version": 2}))
    edit("clauses gone", lambda d: d.pop("coop:clauses"))
    edit("literal replaced", lambda d: d["coop:clauses"]["@list"][0].update({"coop:block": 3}))
    edit("roster emptied", lambda d: d.update({"coop:roster": {"@type": "@json", "@value": {}}}))
    edit("state unknown", lambda d: d.update({"coop:state": "sold"}))
    edit("state of a wrong type", lambda d: d.update({"coop:negotiationState": ["x"]}))
    return out  # fmt: skip


EDITS = edits(to_odrl(BOTH, ROSTER, IN_FORCE))


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_on_one_side_is_refused(name: str) -> None:
    with pytest.raises((InputError, Refused)) as caught:
        from_odrl(json.dumps(EDITS[name]).encode(), "file")
    assert caught.value.problem


def test_the_refusal_names_the_statement_and_what_follows() -> None:
    with pytest.raises(InputError) as caught:
        from_odrl(json.dumps(EDITS["deadline moved"]).encode(), "file")
    assert caught.value.code is Code.TAMPERED
    assert "odrl:permission" in caught.value.problem


def test_order_and_single_lists_mean_nothing() -> None:
    document = to_odrl(BOTH, ROSTER)
    document["odrl:prohibition"].reverse()
    document["odrl:permission"][0]["odrl:constraint"].reverse()
    document["odrl:uid"] = [document["odrl:uid"]]
    assert from_odrl(json.dumps(document).encode(), "file").agreement.id == BOTH.id


def test_a_roster_of_another_cooperative_is_refused() -> None:
    other = read_roster({**ROSTER.document, "coop": "ee" * 32}, "roster")
    assert other.roster.coop != COOP
    with pytest.raises(InputError):
        to_odrl(BOTH, other)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_is_refused_or_changes_nothing(data: st.DataObject) -> None:
    raw = bytearray(odrl_bytes(to_odrl(AGREEMENT)))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] = data.draw(st.integers(0, 255))
    try:
        back = from_odrl(bytes(raw), "file")
    except CoopError:
        return
    assert back.agreement.id == AGREEMENT.id


# ------------------------------------------------------------- names of the Dataspace Protocol


@pytest.mark.parametrize(
    ("state", "signed", "verified", "expected"),
    [
        (State.DRAFT, 0, False, Negotiation.REQUESTED),
        (State.PROPOSED, 0, False, Negotiation.OFFERED),
        (State.SIGNING, 2, True, Negotiation.ACCEPTED),
        (State.SIGNING, 5, False, Negotiation.AGREED),
        (State.SIGNING, 5, True, Negotiation.VERIFIED),
        (State.IN_FORCE, 5, True, Negotiation.FINALIZED),
        (State.SUPERSEDED, 5, True, Negotiation.TERMINATED),
        (State.EXPIRED, 5, True, Negotiation.TERMINATED),
        (State.TERMINATED, 5, True, Negotiation.TERMINATED),
    ],
)
def test_each_state_of_ours_has_a_name(
    state: State, signed: int, verified: bool, expected: Negotiation
) -> None:
    found = negotiation(Status(state, signed, 5, ""), verified=verified)
    assert found is expected
    assert found in names(state)


def test_the_way_of_an_agreement_is_a_way_of_the_protocol() -> None:
    state = Negotiation.REQUESTED
    seen = [state]
    for event in (
        Event.PROPOSED,
        Event.SIGNED,
        Event.SIGNED,
        Event.QUORUM,
        Event.VERIFIED,
        Event.BEGAN,
    ):
        state = after(state, event)
        seen.append(state)
    assert list(dict.fromkeys(seen)) == list(Negotiation)[:-1]
    assert after(Negotiation.OFFERED, Event.QUORUM) is Negotiation.AGREED
    for one in set(Negotiation) - {Negotiation.TERMINATED}:
        assert after(one, Event.ENDED) is Negotiation.TERMINATED


def test_no_other_step_is_possible() -> None:
    allowed = {(one, event) for one in Negotiation for event in Event if _possible(one, event)}
    assert (Negotiation.TERMINATED, Event.ENDED) not in allowed
    assert (Negotiation.REQUESTED, Event.BEGAN) not in allowed
    assert (Negotiation.FINALIZED, Event.SIGNED) not in allowed
    assert len(allowed) == sum(map(len, NEXT.values())) + 2  # one more signature; a quorum of one


def _possible(state: Negotiation, event: Event) -> bool:
    try:
        after(state, event)
    except Refused:
        return False
    return True
