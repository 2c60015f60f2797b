"""Agreements from a template: one set of values fills the text and the machine blocks alike.

A template is ``{"kind": "datacoop/agreement-template", "v": 1, "figures": {...}, "agreement":
{...}}``. In the agreement a string that is exactly ``$name`` becomes the value itself, and
``${name}`` inside a text becomes the value in words, so text and software cannot disagree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from protocols.agreement.base import utc_text
from protocols.agreement.parse import ParsedAgreement, read_agreement
from protocols.agreement.phrases import duties
from protocols.canonical import Json
from protocols.errors import InputError

KIND = "datacoop/agreement-template"
WHERE = "agreement template"
_WHOLE = re.compile(r"\$([a-z_]+)")
_INSIDE = re.compile(r"\$\{([a-z_]+)\}")


def make_agreement(
    template: Json,
    *,
    name: str,
    coop: str,
    operator_key: str,
    coordinator_key: str,
    workloads: Sequence[Mapping[str, Any]],
    starts: datetime,
    ends: datetime,
    figures: Mapping[str, Any] | None = None,
    version: int = 1,
    prev: str | None = None,
) -> ParsedAgreement:
    """Fill a template.

    Args:
        template: parsed JSON, for example ``templates/grocers.json`` of this package.
        name: of the cooperative, as people say it.
        coop: 64 hex digits. The keys are Ed25519 public keys in 64 hex digits.
        workloads: entries of clause 13: id, version, digest, purpose, columns, max_rounds,
            config (settings that orders must match), free (settings that orders choose),
            privacy (``none``, or the unit that noise hides). Each unit gets a budget of the
            figures ``epsilon``, ``delta`` and ``budget_days``.
        starts, ends: the term, aware instants.
        figures: replace defaults of the template, for example ``{"min_cohort": 8}``. Lists and
            sentences that follow from figures are made by ``phrases``: legal bases and notices
            from what the workloads promise, duties, costs.
        version, prev: for an amendment, the next number and the id that it replaces.

    Raises:
        InputError: not a template, an unknown figure or placeholder, or the result is not a
            valid agreement.
    """
    if template.get("kind") != KIND or template.get("v") != 1:
        raise InputError(f"this is not an agreement template ({KIND}, v 1).", where=WHERE)
    defaults = template.get("figures")
    body = template.get("agreement")
    if not isinstance(defaults, Mapping) or not isinstance(body, Mapping):
        raise InputError("a template has 'figures' and 'agreement'.", where=WHERE)
    unknown = sorted(set(figures or {}) - set(defaults))
    if unknown:
        raise InputError(
            f"the template has no figure {', '.join(unknown)}; it has {', '.join(defaults)}.",
            where=WHERE,
        )
    recipes = [dict(one) | {"columns": sorted(one["columns"])} for one in workloads]
    agreed = {**defaults, **(figures or {})}
    values: dict[str, Any] = {
        **agreed,
        "name": name,
        "coop": coop,
        "version": version,
        "prev": prev,
        "operator_key": operator_key,
        "coordinator_key": coordinator_key,
        "starts": utc_text(starts),
        "ends": utc_text(ends),
        "workloads": recipes,
        "workload_names": sorted({str(one["id"]) for one in recipes}),
        "purposes": sorted({str(one["purpose"]) for one in recipes}),
        "columns": sorted({str(column) for one in recipes for column in one["columns"]}),
        "review_by": utc_text(ends),
        **_privacy(recipes, agreed),
        **duties(recipes, agreed),
    }
    document: dict[str, Any] = _filled(body, values)
    return read_agreement(document, WHERE)


def _privacy(recipes: Sequence[Mapping[str, Any]], figures: Mapping[str, Any]) -> dict[str, Any]:
    """Budgets of the units that noise hides, and what the texts say about noise and customers."""
    claims = {str(one["id"]): str(one.get("privacy", "none")) for one in recipes}
    noised = sorted(name for name, claim in claims.items() if claim != "none")
    plain = sorted(name for name, claim in claims.items() if claim == "none")
    units = sorted(set(claims.values()) - {"none"})
    budgets = [
        {
            "unit": unit,
            "epsilon": figures.get("epsilon"),
            "delta": figures.get("delta"),
            "period_days": figures.get("budget_days"),
        }
        for unit in units
    ]
    words = []
    if plain:
        words.append(
            f"In runs of {_words(plain)} we add no artificial noise, so there is no mathematical "
            "guarantee about what the common model itself shows; the card of each model says so."
        )
    words += [
        f"In runs of {_words(noised)} every computer adds noise to its part of each sum, so much "
        f"that nobody can tell from the results whether any one {one['unit']} was in the data. "
        f"What the results show about one {one['unit']} is measured and called epsilon. All such "
        f"runs together spend at most {one['epsilon']} of it in any {one['period_days']} days, at "
        f"a delta of {one['delta']}. Your own computer keeps the account and refuses what would "
        "spend more; the card of each model says what it spent."
        for one in budgets
    ]
    keyed = any("customer" in str(column) for one in recipes for column in one["columns"])
    reads = (
        "It knows customers only by a number that it made itself and that nobody else can make; "
        "it reads no name, no staff and no payment data"
        if keyed
        else "It reads no customer, no staff and no payment data"
    )
    return {"budgets": budgets, "privacy_words": " ".join(words), "personal_words": reads}


def amend(
    parsed: ParsedAgreement, clause: str, changes: Mapping[str, Any], plain_text: str | None = None
) -> ParsedAgreement:
    """The next version with some figures of one machine block changed; nobody has signed it.

    Raises:
        InputError: no such clause or figure, or the result is not a valid agreement.
    """
    clauses: list[dict[str, Any]] = [dict(one) for one in parsed.document["clauses"]]
    found = next((one for one in clauses if one["id"] == clause and "machine" in one), None)
    if found is None:
        raise InputError(f"there is no clause {clause!r} with a machine block.", where=clause)
    unknown = sorted(set(changes) - set(found["machine"]))
    if unknown:
        raise InputError(f"clause {clause} has no figure {', '.join(unknown)}.", where=clause)
    found["machine"] = {**found["machine"], **changes}
    if plain_text is not None:
        found["plain_text"] = plain_text
    document = {
        **parsed.document,
        "clauses": clauses,
        "version": parsed.agreement.version + 1,
        "prev": parsed.id,
    }
    return read_agreement(document, f"amended {clause}")


def _filled(value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled(one, values) for key, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, values) for one in value]
    if not isinstance(value, str):
        return value
    whole = _WHOLE.fullmatch(value)
    if whole:
        return _value(whole.group(1), values)
    return _INSIDE.sub(lambda match: _words(_value(match.group(1), values)), value)


def _value(name: str, values: Mapping[str, Any]) -> Any:
    if name not in values:
        raise InputError(f"the placeholder {name!r} has no value.", where=WHERE)
    return values[name]


def _words(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT00:00:00Z", value):
        return value[:10]
    return str(value)
