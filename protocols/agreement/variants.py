"""Templates that say only what they change of another one.

``{"kind": "datacoop/agreement-template", "v": 1, "extends": "grocers", "about": "...",
"workloads": ["churn"], "figures": {...}, "texts": {"c02": {"title": "...", "plain_text":
"..."}}}``. Figures and texts replace those of the template that is extended; blocks stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from protocols.agreement.template import KIND
from protocols.canonical import Json
from protocols.errors import InputError

Load = Callable[[str], Json]
KEYS = frozenset({"kind", "v", "extends", "about", "workloads", "figures", "texts"})
TEXT_KEYS = frozenset({"title", "plain_text"})
MAX_STEPS = 4


def complete(name: str, load: Load, steps: int = MAX_STEPS) -> dict[str, Any]:
    """The whole template of a name, as ``make_agreement`` reads it.

    Args:
        name: what ``load`` knows.
        load: gives the document of a name, or raises InputError.

    Raises:
        InputError: unknown keys, figures or clauses; a chain that is too long.
    """
    own, where = load(name), f"template {name}"
    if own.get("kind") != KIND or own.get("v") != 1:
        raise InputError(f"this is not an agreement template ({KIND}, v 1).", where=where)
    if "extends" not in own:
        return dict(own)
    if not steps:
        raise InputError("the template extends too many others, or itself.", where=where)
    base = complete(str(own["extends"]), load, steps - 1)
    _known(set(own), KEYS, "keys", where)
    figures, texts = own.get("figures", {}), own.get("texts", {})
    _known(set(figures), frozenset(base["figures"]), "figures", where)
    agreement = dict(base["agreement"])
    _known(set(texts), frozenset(one["id"] for one in agreement["clauses"]), "clauses", where)
    for clause, text in texts.items():
        _known(set(text), TEXT_KEYS, f"keys of {clause}", where)
    agreement["clauses"] = [{**one, **texts.get(one["id"], {})} for one in agreement["clauses"]]
    return {
        **base,
        **{key: own[key] for key in ("about", "workloads") if key in own},
        "figures": {**base["figures"], **figures},
        "agreement": agreement,
    }


def _known(
    found: set[str], allowed: frozenset[str] | Mapping[str, Any], what: str, where: str
) -> None:
    unknown = sorted(found - set(allowed))
    if unknown:
        raise InputError(f"the {what} {', '.join(unknown)} are not known here.", where=where)
