"""What each figure of a machine block does, and which way is stricter. One table for all uses:
comments in files that operators edit, descriptions in the JSON Schema, and comparisons.

"Tighter" is for the one who reads the page: others may do less, or have to do more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Stricter = Literal["higher", "lower", "fewer", "more", "scale", ""]


@dataclass(frozen=True, slots=True)
class Figure:
    """One key of a block.

    ``stricter``: a higher or lower figure is; a list with fewer or more entries is; a later word
    of ``scale`` is; or there is no direction. ``said`` replaces tighter and looser where they
    would mislead.
    """

    says: str
    stricter: Stricter = ""
    scale: tuple[Any, ...] = ()
    said: tuple[str, str] = ("tighter", "looser")

    def change(self, old: Any, new: Any) -> str:
        """``tighter``, ``looser`` or nothing, for a single value that changed."""
        if self.stricter in ("higher", "lower") and _comparable(old, new):
            up = new > old
            return self.said[0] if up == (self.stricter == "higher") else self.said[1]
        if self.stricter == "scale" and old in self.scale and new in self.scale:
            up = self.scale.index(new) > self.scale.index(old)
            return self.said[0] if up else self.said[1]
        return ""

    def entry(self, added: bool) -> str:
        """``tighter``, ``looser`` or nothing, for an entry of a list that came or went."""
        if self.stricter not in ("fewer", "more"):
            return ""
        return self.said[0] if added == (self.stricter == "more") else self.said[1]


def _comparable(old: Any, new: Any) -> bool:
    if isinstance(old, bool) or isinstance(new, bool):
        return False
    numbers = isinstance(old, int | float) and isinstance(new, int | float)
    return numbers or (isinstance(old, str) and isinstance(new, str))  # instants sort as text


def _up(says: str) -> Figure:
    return Figure(says, "higher")


def _down(says: str) -> Figure:
    return Figure(says, "lower")


def _fewer(says: str) -> Figure:
    return Figure(says, "fewer")


def _more(says: str) -> Figure:
    return Figure(says, "more")


def _scale(says: str, *words: Any) -> Figure:
    return Figure(says, "scale", words)


_PRIVACY_SCALE = ("none", "customer")
FIGURES: Mapping[str, Mapping[str, Figure]] = {
    "Parties": {"min_members": _up("with fewer members nothing runs")},
    "Members": {"members": _up("so many signatures are needed")},
    "Fraction": {
        "numerator": _up("so many ..."),
        "denominator": _down("... in so many members have to sign (rounded up)"),
    },
    "Governance": {
        "quorum_agreement": Figure("signatures that put a version of the agreement in force"),
        "quorum_roster": Figure("signatures of the list before that change the list of members"),
        "quorum_terminate": Figure("signatures that end the agreement"),
        "operator_key": Figure("public key that signs orders (Ed25519, hexadecimal)"),
        "coordinator_key": Figure("public key that signs results; not the operator's"),
        "approver_keys": Figure("public keys of second persons; may be empty"),
        "two_person": _more("acts that need a second person: launch, release, revoke, remove"),
        "notice_days": _up("days from the proposal of a new version to its start"),
    },
    "Roles": {
        "controller": Figure("who decides about customers' data: members jointly, or each alone"),
        "operator_legal_id": Figure("legal number of the business that operates the coordinator"),
        "contact": Figure("where customers of all members may turn to"),
        "duties": Figure("who fulfils each duty towards customers; each duty once"),
    },
    "DutyOf": {
        "duty": Figure("information, requests, breach, security or contact"),
        "by": Figure("member, cooperative or operator"),
    },
    "DataRoles": {
        "sign_agreement": _fewer("roles that may sign an agreement in a member's house"),
        "approve_orders": _fewer("roles that may approve an order there"),
        "export_results": _fewer("roles that may take results out of the computer there"),
    },
    "Purposes": {
        "allowed": _fewer("what data and results may be used for, and for nothing else"),
        "forbidden": _more("what they are never used for"),
    },
    "Datasets": {"tables": Figure("tables that may be read for a run")},
    "Table": {
        "table": Figure("name of a table"),
        "columns": _fewer("columns of it that may be read"),
    },
    "Quality": {
        "min_health": _up("health of the data, 0 to 100, below which a member takes no part"),
        "max_age_days": _down("days since the newest sale after which a member takes no part"),
        "taxonomy": Figure("list of categories that all map theirs to, or null for each its own"),
    },
    "SharedCategories": {
        "id": Figure("name and version of the list, such as retail:1"),
        "sha256": Figure("fingerprint of the list (SHA-256); another list does not take part"),
        "min_mapped_percent": _up("sales lines with such a category that a member needs"),
    },
    "LegalBasis": {"purposes": Figure("why customers' data may be read, for each purpose")},
    "PurposeBasis": {
        "purpose": Figure("a purpose of clause 7"),
        "basis": Figure("consent, legitimate-interest, or none where no person is told apart"),
        "scope": Figure("what customers said yes to, if the basis is consent; else null"),
        "reference": Figure("the written assessment, if it is legitimate interest; else null"),
    },
    "Notice": {
        "purposes": _more("purposes whose runs need the notice in use at the member"),
        "texts": Figure("what customers are told; its fingerprint (SHA-256) names it"),
    },
    "NoticeText": {"locale": Figure("language, such as en or de-AT"), "text": Figure("the words")},
    "Rights": {
        "answer_days": _down("days to answer a customer's request, at most 31"),
        "extend_days": _down("days more for a difficult one, at most 62"),
    },
    "Workloads": {"workloads": Figure("programs that may run, and nothing else")},
    "WorkloadTerms": {
        "id": Figure("name of the program"),
        "version": Figure("its version"),
        "digest": Figure("fingerprint of its code (SHA-256), as installed at every member"),
        "purpose": Figure("what it is for; a purpose of clause 7"),
        "columns": _fewer("columns that it reads"),
        "max_rounds": _down("steps that one run may have"),
        "config": Figure("settings that every order must have exactly so"),
        "free": _fewer("settings that the operator chooses for each run"),
        "privacy": _scale("whose presence noise hides: customer, or none", *_PRIVACY_SCALE),
    },
    "Privacy": {
        "colluders": _up("members that may work together with the operator and still see nothing"),
        "min_cohort": _up("fewest members in a sum"),
        "survivor_changes": _down("times that the members in the sum may change in a run"),
        "max_runs": _down("runs in the period"),
        "period_days": _up("days of the period in which runs are counted"),
        "budgets": Figure("what may be spent of people's privacy; may be empty"),
    },
    "Budget": {
        "unit": Figure("whose privacy: customer"),
        "epsilon": _down("most that all runs of the period may show about one of them"),
        "delta": _down("chance that the promise does not hold"),
        "period_days": _up("days after which what was spent comes back"),
    },
    "Outputs": {
        "release": _fewer("kinds of result that may leave a run: metrics, model"),
        "never": _more("kinds that never do"),
        "must_beat": Figure("what a result has to be better than"),
        "min_gain_percent": _up("by how many percent, on average"),
        "min_contributors": _up("fewest members whose results are in a release"),
    },
    "Approval": {
        "mode": _scale(
            "whether a person approves each order: manual or automatic", "automatic", "manual"
        ),
        "hours_utc": Figure("hours in which a run may start (UTC), or null for any"),
    },
    "Hours": {
        "from_hour": Figure("first hour, 0 to 23"),
        "to_hour": Figure("hour at which it ends, 1 to 24"),
    },
    "Contribution": {
        "min_weeks": _up("weeks of history that a member needs to take part"),
        "min_rows": _up("sales lines that a member needs to take part"),
        "w_max": _down("how many times as much as the smallest a member may count in a sum"),
    },
    "Benefit": {
        "recipients": Figure("who gets a result: contributors, or all members"),
        "min_rounds_percent": _up("share of a run's sums that makes somebody a contributor"),
    },
    "Costs": {
        "method": Figure("how runs are paid: equal shares, or none"),
        "currency": Figure("three letters, such as EUR"),
        "run_cost_cents": _down("price of one run in hundredths"),
        "period_cap_cents": _down("most that runs of the period may cost together"),
        "period_days": _up("days of that period"),
    },
    "Ip": {
        "licence": Figure("name of the licence that results carry"),
        "uses": _fewer("purposes that results may be used for"),
        "use_days": _down("days that a result may be used after it was made"),
        "foreground": _scale(
            "whom results belong to: cooperative or members", "cooperative", "members"
        ),
    },
    "Confidentiality": {
        "max_uses_per_day": _down("times a day that one computer may use a result"),
        "max_pulls_per_day": _down("times a day that one member may fetch results"),
        "no_reidentification": Figure("nobody tries to recognise a person or a member; true"),
        "no_inversion": Figure("nobody tries to get data back out of a model; true"),
    },
    "Sharing": {
        "onward": Figure("nothing is passed on to anybody else; false"),
        "countries": _fewer("countries in which the coordinator and its helpers may be"),
        "coordinator_country": Figure("country in which the coordinator runs"),
        "sub_processors": _fewer("who works for the coordinator; may be empty"),
        "notice_days": _up("days before a new one starts to work"),
    },
    "SubProcessor": {
        "name": Figure("its business name"),
        "country": Figure("its country, two letters"),
        "service": Figure("what it does"),
    },
    "Security": {
        "max_certificate_days": _down("days after which a certificate has to be renewed"),
        "min_software": _up("oldest version of this software that takes part"),
        "measures": _more("other measures, in words"),
    },
    "Audit": {
        "max_checkpoint_age_hours": _down("hours since the coordinator's log was last checked"),
        "witnesses": _up("members that have countersigned the log before a run starts"),
        "spot_check_percent": _up("share of a large sum that each auditor computes again"),
        "keep_days": _up("days that logs can be looked at, at least"),
    },
    "Incidents": {
        "notify_hours": _down("hours in which members are told, at most 72"),
        "freeze": _scale("whether runs stop while an incident is open", False, True),
    },
    "Oversight": {
        "slices": _more("groups in which a model must be equally good; empty in this version"),
        "reasons_required": _scale("whether lists of customers give reasons", False, True),
        "human_decision": Figure("a person decides about each customer; true"),
    },
    "Competition": {
        "profile": _scale(
            "A not competitors, B same trade elsewhere, C competitors", "A", "B", "C"
        ),
        "min_contributors": _up("fewest members in any sum or figure"),
        "max_weight_percent": _down("largest share of one member in a sum of a training"),
        "max_share_percent": _down("largest share of one member in a figure"),
        "min_age_days": _up("age of the newest data in a figure"),
        "blocked_fields": _more("what no figure shows"),
    },
    "Retention": {
        "updates_hours": _down("hours that hidden updates are kept at the coordinator"),
        "models_days": _down("days that released models are kept"),
        "logs_days": Figure("days that logs are kept at least"),
    },
    "Membership": {
        "leave_notice_days": Figure(
            "days from giving notice to having left",
            "lower",
            (),
            ("you are freer", "you are bound longer"),
        ),
        "past_models": _scale(
            "models that a leaver helped to train: keep, retrain or retire",
            "keep",
            "retrain",
            "retire",
        ),
        "retrain_days": _down("days that they are used after somebody left, if retrain"),
        "suspend_at_once": Figure("a member may pause at any moment; true"),
    },
    "Term": {
        "starts": Figure("first instant, UTC"),
        "ends": _down("last instant; nothing runs after it"),
        "review_by": _down("no new run after this instant without a new version"),
        "law": Figure("whose law applies"),
        "insolvency": Figure("what happens to the server's data if the operator cannot pay"),
    },
}
"""By the name of the model and of its field; ``type`` names the block and is in no table."""

PARTS: Mapping[str, str] = {
    "Agreement": "One version of the agreement. Clauses c01 to c30 in order, each exactly once.",
    "Clause": "What people read and, but for c02 and c03, what software obeys.",
}
TOP: Mapping[str, Figure] = {
    "kind": Figure("says what this document is"),
    "v": Figure("version of this form"),
    "coop": Figure("id of the cooperative (64 hexadecimal digits)"),
    "version": Figure("1, then one more for each amendment"),
    "prev": Figure("id of the version that this one replaces; null for version 1"),
    "title": Figure("title for people"),
    "clauses": Figure("the thirty clauses"),
}
CLAUSE: Mapping[str, Figure] = {
    "id": Figure("c01 to c30"),
    "title": Figure("title for people"),
    "plain_text": Figure("what people read; the machine block is what software obeys"),
    "enforced_by": Figure("node, coordinator, both; attested for a promise without software"),
    "machine": Figure("the figures that software obeys"),
}


def figure(model: str, field: str) -> Figure | None:
    """The entry of a field; nothing for the fields that only name things."""
    table = {"Agreement": TOP, "Clause": CLAUSE}.get(model) or FIGURES.get(model, {})
    return table.get(field)
