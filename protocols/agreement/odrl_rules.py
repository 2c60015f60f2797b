"""What ODRL 2.2 and W3C DPV 2 have words for, derived from the machine blocks.

Each function reads one block, as it stands in the signed document, and adds rules and statements.
What the two vocabularies have no word for stays in our own (``urn:datacoop:terms#``); every rule
names the clause that it comes from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Node = dict[str, Any]
Block = Mapping[str, Any]

DATA, RESULTS, UPDATES, LOGS = "data", "results", "updates", "logs"  # the assets of a cooperative
DAY = "P1D"
_BASIS = {"consent": "dpv:Consent", "legitimate-interest": "dpv:LegitimateInterest"}
_TELLING = ("information", "breach", "contact")  # duties of clause 4 that ODRL calls inform


@dataclass(slots=True)
class Rules:
    """Rules and statements of one agreement while they are gathered.

    ``train`` and ``use`` are the constraints of the two permissions: data for a run, results.
    """

    coop: str
    train: list[Node] = field(default_factory=list)
    use: list[Node] = field(default_factory=list)
    release: list[Node] = field(default_factory=list)
    prohibitions: list[Node] = field(default_factory=list)
    duties: list[Node] = field(default_factory=list)
    purposes: dict[str, bool] = field(default_factory=dict)  # name -> reads personal data
    processes: list[Node] = field(default_factory=list)
    measures: list[Node] = field(default_factory=list)
    processors: list[Node] = field(default_factory=list)
    notices: list[Node] = field(default_factory=list)

    def asset(self, name: str) -> Node:
        """One of the cooperative's assets."""
        return {"@id": f"urn:datacoop:coop:{self.coop}:{name}"}

    def purpose(self, name: str, *, personal: bool = False) -> Node:
        """A purpose, remembered so that it is described once."""
        self.purposes[name] = self.purposes.get(name, False) or personal
        return {"@id": purpose_iri(name)}

    def forbid(self, clause: str, action: str, target: Node, *constraints: Node) -> None:
        """Add a prohibition."""
        self.prohibitions.append(rule("odrl:Prohibition", clause, action, target, constraints))

    def oblige(self, clause: str, action: str, target: Node, *constraints: Node) -> None:
        """Add a duty."""
        self.duties.append(rule("odrl:Duty", clause, action, target, constraints))

    def measure(self, clause: str, term: str) -> None:
        """Add a technical or organisational measure."""
        self.measures.append({"@type": term, "coop:clause": clause})


def purpose_iri(name: str) -> str:
    """The name of a purpose as an IRI; every character of a name may stand in one."""
    return f"urn:datacoop:purpose:{name}"


def rule(kind: str, clause: str, action: str, target: Node, constraints: Sequence[Node]) -> Node:
    """One ODRL rule."""
    out: Node = {
        "@type": kind,
        "odrl:action": {"@id": action},
        "odrl:target": dict(target),
        "coop:clause": clause,
    }
    if constraints:
        out["odrl:constraint"] = list(constraints)
    return out


def constraint(clause: str, left: str, operator: str, right: Any, **more: Any) -> Node:
    """One ODRL constraint; ``per`` is the period that a count is over."""
    out: Node = {
        "@type": "odrl:Constraint",
        "odrl:leftOperand": {"@id": left},
        "odrl:operator": {"@id": f"odrl:{operator}"},
        "odrl:rightOperand": right,
        "coop:clause": clause,
    }
    if "per" in more:
        out["coop:per"] = _typed(more["per"], "duration")
    return out


def _typed(value: Any, kind: str) -> Node:
    return {"@type": f"xsd:{kind}", "@value": str(value)}


def _number(value: Any) -> Node:
    return _typed(value, "double") if isinstance(value, float) else _typed(value, "integer")


def _days(value: int) -> Node:
    return _typed(f"P{value}D", "duration")


def _hours(value: int) -> Node:
    return _typed(f"PT{value}H", "duration")


def _parties(block: Block, rules: Rules) -> None:
    least = _number(block["min_members"])
    rules.train.append(constraint("c01", "coop:cohortMembers", "gteq", least))


def _governance(block: Block, rules: Rules) -> None:
    rules.measure("c05", "dpv:DigitalSignatures")


def _roles(block: Block, rules: Rules) -> None:
    for one in block["duties"]:
        action = "odrl:inform" if one["duty"] in _TELLING else f"coop:{one['duty']}"
        rules.oblige(
            "c04", action, rules.asset(DATA), constraint("c04", "coop:dutyOf", "eq", one["by"])
        )


def _purposes(block: Block, rules: Rules) -> None:
    allowed = [rules.purpose(name) for name in block["allowed"]]
    forbidden = [rules.purpose(name) for name in block["forbidden"]]
    rules.train.append(constraint("c07", "odrl:purpose", "isAnyOf", allowed))
    for target in (DATA, RESULTS):
        limit = constraint("c07", "odrl:purpose", "isAnyOf", forbidden)
        rules.forbid("c07", "odrl:use", rules.asset(target), limit)


def _legal_basis(block: Block, rules: Rules) -> None:
    for one in block["purposes"]:
        personal = one["basis"] != "none"
        process: Node = {
            "@type": "dpv:Process",
            "dpv:hasPurpose": rules.purpose(one["purpose"], personal=personal),
            "coop:clause": "c10",
        }
        if personal:
            basis: Node = {"@type": _BASIS[one["basis"]]}
            for key in ("scope", "reference"):
                if one.get(key) is not None:
                    basis[f"coop:{key}"] = one[key]
            process["dpv:hasLegalBasis"] = basis
        rules.processes.append(process)


def _notice(block: Block, rules: Rules) -> None:
    for one in block["texts"]:
        name = hashlib.sha256(one["text"].encode()).hexdigest()
        rules.notices.append(
            {
                "@id": f"urn:datacoop:notice:{name}",
                "@type": "dpv:PrivacyNotice",
                "coop:locale": one["locale"],
                "coop:clause": "c11",
            }
        )
    for name in block["purposes"]:
        limit = constraint("c11", "odrl:purpose", "eq", rules.purpose(name))
        rules.oblige("c11", "odrl:inform", rules.asset(DATA), limit)


def _rights(block: Block, rules: Rules) -> None:
    limit = constraint("c12", "odrl:elapsedTime", "lteq", _days(block["answer_days"]))
    rules.oblige("c12", "coop:answerRequest", rules.asset(DATA), limit)


def _workloads(block: Block, rules: Rules) -> None:
    digests = [{"@id": f"urn:sha256:{one['digest']}"} for one in block["workloads"]]
    rules.train.append(constraint("c13", "coop:workload", "isAnyOf", digests))
    for one in block["workloads"]:
        rules.purpose(one["purpose"], personal=one["privacy"] != "none")
    if any(one["privacy"] != "none" for one in block["workloads"]):
        rules.measure("c13", "dpv:DifferentialPrivacy")


def _privacy(block: Block, rules: Rules) -> None:
    rules.measure("c14", "dpv:SecureMultiPartyComputation")
    period = f"P{block['period_days']}D"
    least = _number(block["min_cohort"])
    rules.train += [
        constraint("c14", "odrl:count", "lteq", _number(block["max_runs"]), per=period),
        constraint("c14", "coop:cohortMembers", "gteq", least),
    ]
    for one in block["budgets"]:
        per = f"P{one['period_days']}D"
        most = _number(one["epsilon"])
        rules.train.append(constraint("c14", "coop:epsilon", "lteq", most, per=per))


def _outputs(block: Block, rules: Rules) -> None:
    kinds = [{"@id": f"coop:output-{name}"} for name in block["release"]]
    least = _number(block["min_contributors"])
    rules.release += [
        constraint("c15", "coop:output", "isAnyOf", kinds),
        constraint("c15", "coop:contributors", "gteq", least),
    ]
    never = [{"@id": f"coop:output-{name}"} for name in block["never"]]
    limit = constraint("c15", "coop:output", "isAnyOf", never)
    rules.forbid("c15", "odrl:distribute", rules.asset(RESULTS), limit)


def _approval(block: Block, rules: Rules) -> None:
    if block["mode"] == "manual":
        rules.oblige("c16", "odrl:reviewPolicy", rules.asset(DATA))


def _benefit(block: Block, rules: Rules) -> None:
    who = {"@id": f"coop:{block['recipients']}"}
    for one in (rules.release, rules.use):
        one.append(constraint("c18", "odrl:recipient", "eq", who))


def _costs(block: Block, rules: Rules) -> None:
    if block["method"] != "none":
        unit = _typed(f"{block['run_cost_cents'] / 100:.2f}", "decimal")
        owed = constraint("c19", "odrl:payAmount", "lteq", unit)
        owed["odrl:unit"] = {"@id": f"urn:iso:std:iso:4217:{block['currency']}"}
        rules.oblige("c19", "odrl:compensate", rules.asset(RESULTS), owed)


def _ip(block: Block, rules: Rules) -> None:
    uses = [rules.purpose(name) for name in block["uses"]]
    rules.use += [
        constraint("c20", "odrl:purpose", "isAnyOf", uses),
        constraint("c20", "odrl:elapsedTime", "lteq", _days(block["use_days"])),
    ]


def _confidentiality(block: Block, rules: Rules) -> None:
    most = _number(block["max_uses_per_day"])
    rules.use.append(constraint("c21", "odrl:count", "lteq", most, per=DAY))
    pulls = _number(block["max_pulls_per_day"])
    rules.release.append(constraint("c21", "odrl:count", "lteq", pulls, per=DAY))
    for action in ("coop:reidentify", "coop:invert"):
        rules.forbid("c21", action, rules.asset(RESULTS))


def _sharing(block: Block, rules: Rules) -> None:
    places = [{"@id": f"urn:iso:std:iso:3166:{code}"} for code in block["countries"]]
    for one in (rules.train, rules.use, rules.release):
        one.append(constraint("c22", "odrl:spatial", "isAnyOf", places))
    rules.forbid("c22", "odrl:grantUse", rules.asset(RESULTS))
    for one in block["sub_processors"]:
        rules.processors.append(
            {
                "@type": "dpv:DataSubProcessor",
                "coop:name": one["name"],
                "coop:service": one["service"],
                "odrl:spatial": {"@id": f"urn:iso:std:iso:3166:{one['country']}"},
                "coop:clause": "c22",
            }
        )


def _security(block: Block, rules: Rules) -> None:
    rules.measure("c23", "dpv:EncryptionInTransfer")


def _audit(block: Block, rules: Rules) -> None:
    rules.measure("c24", "dpv:ActivityMonitoring")


def _incidents(block: Block, rules: Rules) -> None:
    limit = constraint("c25", "odrl:elapsedTime", "lteq", _hours(block["notify_hours"]))
    rules.oblige("c25", "odrl:inform", rules.asset(DATA), limit)


def _oversight(block: Block, rules: Rules) -> None:
    rules.measure("c26", "dpv:HumanInvolvementForOversight")


def _competition(block: Block, rules: Rules) -> None:
    fields = [{"@id": f"coop:field-{name}"} for name in block["blocked_fields"]]
    limit = constraint("c27", "coop:field", "isAnyOf", fields)
    rules.forbid("c27", "odrl:distribute", rules.asset(RESULTS), limit)


def _retention(block: Block, rules: Rules) -> None:
    kept = (
        (UPDATES, _hours(block["updates_hours"])),
        (RESULTS, _days(block["models_days"])),
    )
    for name, limit in kept:
        most = constraint("c28", "odrl:elapsedTime", "lteq", limit)
        rules.oblige("c28", "odrl:delete", rules.asset(name), most)
    least = constraint("c28", "odrl:elapsedTime", "gteq", _days(block["logs_days"]))
    rules.oblige("c28", "odrl:archive", rules.asset(LOGS), least)


def _term(block: Block, rules: Rules) -> None:
    begin, end = _typed(block["starts"], "dateTime"), _typed(block["ends"], "dateTime")
    for one in (rules.train, rules.release, rules.use):
        one += [
            constraint("c30", "odrl:dateTime", "gteq", begin),
            constraint("c30", "odrl:dateTime", "lt", end),
        ]
    limit = constraint("c30", "odrl:dateTime", "lteq", _typed(block["review_by"], "dateTime"))
    rules.oblige("c30", "odrl:reviewPolicy", rules.asset(DATA), limit)


DERIVE: Mapping[str, Callable[[Block, Rules], None]] = {
    "parties": _parties,
    "roles": _roles,
    "governance": _governance,
    "purposes": _purposes,
    "legal_basis": _legal_basis,
    "notice": _notice,
    "rights": _rights,
    "workloads": _workloads,
    "privacy": _privacy,
    "outputs": _outputs,
    "approval": _approval,
    "benefit": _benefit,
    "costs": _costs,
    "ip": _ip,
    "confidentiality": _confidentiality,
    "sharing": _sharing,
    "security": _security,
    "audit": _audit,
    "incidents": _incidents,
    "oversight": _oversight,
    "competition": _competition,
    "retention": _retention,
    "term": _term,
}
"""Block type -> what ODRL and DPV can say of it; the other types are ours alone."""


def derive(coop: str, blocks: Mapping[str, Block]) -> Rules:
    """Everything that ODRL and DPV can say; ``blocks`` is type -> machine block, validated."""
    rules = Rules(coop)
    for kind, read in DERIVE.items():
        read(blocks[kind], rules)  # every type stands in every agreement
    return rules
