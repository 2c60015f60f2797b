"""An agreement as an ODRL 2.2 ``Agreement`` in JSON-LD, and back.

The document has two parts. The first says in ODRL and in W3C DPV 2 what these have words for, so
that other tools can read it (``odrl_rules``). The second, in our own vocabulary, holds every
clause, its text and its machine block, so that the signed document comes back byte for byte and
its id and signatures stay good. The first part follows from the second: reading derives it again
and refuses a document whose parts disagree, because somebody edited one side only.

Contexts stand inside; nothing is fetched from the network.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from protocols.agreement.negotiation import NAMESPACE, Negotiation, names
from protocols.agreement.odrl_rules import Node, Rules, derive, purpose_iri, rule
from protocols.agreement.parse import ParsedAgreement, read_agreement
from protocols.agreement.roster import ParsedRoster, read_roster
from protocols.agreement.status import State
from protocols.canonical import Json, json_bytes, parse_json
from protocols.errors import Code, InputError

VOCABULARY = "urn:datacoop:terms#"
PROFILE = "urn:datacoop:terms"
CONTEXT: Mapping[str, Any] = {
    "@version": 1.1,
    "odrl": "http://www.w3.org/ns/odrl/2/",
    "dpv": "https://w3id.org/dpv#",
    "dspace": NAMESPACE,
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "coop": VOCABULARY,
}
_HEAD = {
    "kind": "coop:kind",
    "v": "coop:v",
    "coop": "coop:cooperative",
    "version": "coop:version",
    "prev": "coop:prev",
    "title": "coop:title",
}
_CLAUSE = {
    "id": "coop:number",
    "title": "coop:title",
    "plain_text": "coop:plainText",
    "enforced_by": "coop:enforcedBy",
}
_CONTROLLER = {"joint": "dpv:JointDataControllers", "each": "dpv:DataController"}
FIX = (
    "Change the clause in the agreement itself and export it again; or take the file from "
    "whoever exported it."
)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the version stood when it was exported: our state, and the protocol's name for it."""

    state: State
    negotiation: Negotiation


@dataclass(frozen=True, slots=True)
class Imported:
    """What an ODRL document holds."""

    agreement: ParsedAgreement
    roster: ParsedRoster | None
    standing: Standing | None


def to_odrl(
    parsed: ParsedAgreement,
    roster: ParsedRoster | None = None,
    standing: Standing | None = None,
) -> dict[str, Any]:
    """The agreement as a JSON-LD document.

    Args:
        parsed: the version, as signed.
        roster: the epoch whose members stand in it as parties; without it only the
            cooperative's collections do.
        standing: where the version stands, if that is to be said.

    Raises:
        InputError: the roster is of another cooperative, or state and name do not fit.
    """
    coop = parsed.agreement.coop
    document = parse_json(json_bytes(parsed.document), "agreement")  # 4.0 and 4 are one number
    if roster is not None and roster.roster.coop != coop:
        raise InputError("the roster is of another cooperative than the agreement.", where="roster")
    if standing is not None and standing.negotiation not in names(standing.state):
        raise InputError(
            f"an agreement that is {standing.state} is not {standing.negotiation} in the words of "
            "the Dataspace Protocol.",
            where="coop:negotiationState",
        )
    name = f"urn:datacoop:agreement:{parsed.id}"
    blocks = {
        one["machine"]["type"]: one["machine"] for one in document["clauses"] if one.get("machine")
    }
    rules = derive(coop, blocks)
    out: dict[str, Any] = {
        "@context": dict(CONTEXT),
        "@id": name,
        "@type": "odrl:Agreement",
        "odrl:uid": {"@id": name},
        "odrl:profile": {"@id": PROFILE},
        "odrl:conflict": {"@id": "odrl:prohibit"},
        **_parties(coop, blocks, roster),
        **_rules(rules),
        **_statements(rules),
        **{ours: document[key] for key, ours in _HEAD.items() if document[key] is not None},
        "coop:clauses": {"@list": [_clause(name, one) for one in document["clauses"]]},
    }
    if roster is not None:
        out["coop:roster"] = _literal(roster.document)
    if standing is not None:
        out["coop:state"] = standing.state.value
        out["coop:negotiationState"] = {"@id": f"dspace:{standing.negotiation}"}
    return out


def odrl_bytes(document: Json) -> bytes:
    """The file: canonical JSON (RFC 8785), so that one export is one file."""
    return json_bytes(document) + b"\n"


def from_odrl(text: bytes, where: str) -> Imported:
    """An agreement from an ODRL document of unknown origin, in the form that ``to_odrl`` writes.

    Raises:
        InputError: not JSON, not such a document, clauses that are no agreement, or an ODRL or
            DPV statement that does not follow from the clauses (names it).
    """
    document = parse_json(text, where)
    inside = _own_part(document, where)
    parsed = read_agreement(inside, where)
    roster = None
    if "coop:roster" in document:
        roster = read_roster(_value(document["coop:roster"], f"{where} coop:roster"), where)
    standing = _standing(document, where)
    _compare(document, to_odrl(parsed, roster, standing), where)
    return Imported(parsed, roster, standing)


# ------------------------------------------------------------------------- writing


def _parties(coop: str, blocks: Json, roster: ParsedRoster | None) -> Node:
    """Members give the data and use the results; the operator uses it for them."""
    roles = blocks["roles"]
    members: Node = {
        "@id": f"urn:datacoop:coop:{coop}:members",
        "@type": ["odrl:PartyCollection", _CONTROLLER[roles["controller"]]],
    }
    operator: Node = {
        "@id": f"urn:datacoop:operator:{blocks['governance']['operator_key']}",
        "@type": ["odrl:Party", "dpv:DataProcessor"],
        "coop:legalId": roles["operator_legal_id"],
    }
    out: Node = {"odrl:assigner": members, "odrl:assignee": [{"@id": members["@id"]}, operator]}
    if roster is not None:
        out["coop:member"] = [
            {
                "@id": f"urn:datacoop:member:{one.id}",
                "@type": ["odrl:Party", "dpv:DataController"],
                "odrl:partOf": {"@id": members["@id"]},
                "coop:name": one.name,
                "coop:legalId": one.legal_id,
            }
            for one in roster.roster.members
        ]
    return out


def _rules(rules: Rules) -> Node:
    data, results = rules.asset("data"), rules.asset("results")
    return {
        "odrl:permission": [
            rule("odrl:Permission", "c07", "odrl:aggregate", data, rules.train),
            rule("odrl:Permission", "c15", "odrl:distribute", results, rules.release),
            rule("odrl:Permission", "c20", "odrl:use", results, rules.use),
        ],
        "odrl:prohibition": rules.prohibitions,
        "odrl:obligation": rules.duties,
    }


def _statements(rules: Rules) -> Node:
    purposes = [
        {
            "@id": purpose_iri(name),
            "@type": ["dpv:Purpose", "coop:PersonalPurpose"] if personal else "dpv:Purpose",
            "coop:name": name,
        }
        for name, personal in sorted(rules.purposes.items())
    ]
    found = {
        "dpv:hasPurpose": purposes,
        "dpv:hasProcess": rules.processes,
        "dpv:hasTechnicalOrganisationalMeasure": rules.measures,
        "dpv:hasDataProcessor": rules.processors,
        "dpv:hasNotice": rules.notices,
    }
    return {key: value for key, value in found.items() if value}


def _clause(agreement: str, clause: Json) -> Node:
    out: Node = {
        "@id": f"{agreement}:{clause['id']}",
        "@type": "coop:Clause",
        **{ours: clause[key] for key, ours in _CLAUSE.items()},
    }
    if "machine" in clause:
        out["coop:block"] = _literal(clause["machine"])
        if clause["machine"] is not None:
            out["coop:blockType"] = clause["machine"]["type"]
    return out


def _literal(value: object) -> Node:
    """A JSON literal (JSON-LD 1.1): kept as it is by whoever reads the graph."""
    return {"@type": "@json", "@value": value}


# ------------------------------------------------------------------------- reading


def _own_part(document: Json, where: str) -> dict[str, Any]:
    """The agreement's document as our vocabulary tells it; its schema is checked afterwards."""
    try:
        clauses = document["coop:clauses"]["@list"]
        found = [dict(one) for one in clauses]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            "this is not an agreement that datacoop exported: its clauses (coop:clauses) are "
            "missing.",
            where=where,
            fix="Only such files can be read back; other ODRL documents lack what software obeys.",
        ) from error
    out = {key: document.get(ours) for key, ours in _HEAD.items()}
    out["clauses"] = [_own_clause(one, f"{where} clause {at + 1}") for at, one in enumerate(found)]
    return out


def _own_clause(node: Node, where: str) -> dict[str, Any]:
    out: dict[str, Any] = {key: node.get(ours) for key, ours in _CLAUSE.items()}
    if "coop:block" in node:
        out["machine"] = _value(node["coop:block"], where)
    return out


def _value(node: Any, where: str) -> Any:
    if not isinstance(node, Mapping) or node.get("@type") != "@json" or "@value" not in node:
        raise InputError("a JSON literal is expected here.", where=where, fix=FIX)
    return node["@value"]


def _standing(document: Json, where: str) -> Standing | None:
    state: Any = document.get("coop:state")
    name: Any = document.get("coop:negotiationState")
    if state is None and name is None:
        return None
    try:
        return Standing(State(state), Negotiation(name["@id"].removeprefix("dspace:")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError("its state is not one that exists.", where=where) from error


def _compare(found: Json, derived: Json, where: str) -> None:
    """Every statement follows from the clauses; InputError naming the first that does not."""
    for key in sorted(found.keys() | derived.keys()):
        there, ours = _items(found.get(key)), _items(derived.get(key))
        if key == "coop:clauses" or there == ours:
            if there != ours:
                raise _contradiction(key, "a clause carries more than clauses have", where)
            continue
        extra = next((one for one in there if one not in ours), None)
        missing = next((one for one in ours if one not in there), None)
        said = f"it says {_short(extra)}" if extra is not None else "it lacks a statement"
        follows = f"; from the clauses follows {_short(missing)}" if missing is not None else ""
        raise _contradiction(key, f"{said}{follows}", where)


def _items(value: object) -> list[bytes]:
    """The statements under one key: their order, and a list around one, mean nothing in RDF."""
    many = value if isinstance(value, list) else [] if value is None else [value]
    return sorted(json_bytes({"": _unordered(one)}) for one in many)


def _unordered(value: object) -> object:
    if isinstance(value, Mapping):
        if "@list" in value or value.get("@type") == "@json":
            return value
        return {key: _unordered(one) for key, one in value.items()}
    if isinstance(value, list):
        inner = [_unordered(one) for one in value]
        return inner[0] if len(inner) == 1 else sorted(inner, key=lambda one: json_bytes({"": one}))
    return value


def _contradiction(key: str, problem: str, where: str) -> InputError:
    return InputError(
        f"the part {key} does not follow from the agreement's own clauses: {problem}.",
        code=Code.TAMPERED,
        where=where,
        fix=FIX,
    )


def _short(raw: bytes) -> str:
    text = raw[4:-1].decode()  # without the object around it
    return text if len(text) <= 300 else f"{text[:297]}..."
