"""The JSON Schema of an agreement (2020-12), made from the models and ``words``.

Packaged as ``agreement.schema.json``; a test says that the file is what this makes. The schema
knows form only: a document that it refuses, the parser refuses too, and the parser and the
linter know more (numbers that have to fit each other, text that shows what it says).
"""

from __future__ import annotations

from typing import Any

from protocols.agreement.authoring import BLOCKS
from protocols.agreement.terms import MANDATORY, TYPE_OF, Agreement
from protocols.agreement.words import PARTS, figure

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ID = "urn:datacoop:agreement:1"
INSTANT = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"
Node = dict[str, Any]


def agreement_schema() -> Node:
    """The whole schema as a JSON object, its keys in a fixed order."""
    made = Agreement.model_json_schema(ref_template="#/$defs/{model}")
    parts: dict[str, Node] = made.pop("$defs")
    clause = parts["Clause"]
    for name, part in [*parts.items(), ("Agreement", made)]:
        _describe(name, part)
    made["properties"]["clauses"] = {
        "type": "array",
        "description": PARTS["Agreement"],
        "minItems": len(MANDATORY),
        "maxItems": len(MANDATORY),
        "items": False,
        "prefixItems": [_clause(name, clause) for name in MANDATORY],
    }
    del parts["Clause"]
    return {
        "$schema": DIALECT,
        "$id": ID,
        "title": "Agreement of a data cooperative",
        "description": PARTS["Agreement"],
        **{key: made[key] for key in ("type", "additionalProperties", "required", "properties")},
        "$defs": dict(sorted(parts.items())),
    }


def _describe(name: str, part: Node) -> None:
    """Words instead of what pydantic makes of class names and comments for programmers."""
    part.pop("title", None)
    part["description"] = PARTS.get(name, _first(part))
    for key, value in part.get("properties", {}).items():
        _plain(value)
        known = figure(name, key)
        if known is not None:
            value["description"] = known.says


def _first(part: Node) -> str:
    return str(part.get("description", "")).split("\n")[0].replace("``", "")


def _plain(value: Any) -> None:
    """Without titles and programmers' keys; instants by their one spelling."""
    if isinstance(value, list):
        for one in value:
            _plain(one)
    if isinstance(value, dict):
        for key in ("title", "discriminator", "default"):
            value.pop(key, None)
        if value.pop("format", None) == "date-time":
            value["pattern"] = INSTANT
        for one in value.values():
            _plain(one)


def _clause(name: str, clause: Node) -> Node:
    """One of the thirty: its id, and the type of its block or none."""
    properties = dict(clause["properties"])
    says = properties["machine"]["description"]
    enforced = ["node", "coordinator", "both"] if name in TYPE_OF else ["attested"]
    properties["id"] = {"const": name}
    properties["enforced_by"] = {
        "description": properties["enforced_by"]["description"],
        "enum": enforced,
    }
    required = ["id", "title", "plain_text", "enforced_by"]
    if name in TYPE_OF:
        model = BLOCKS[TYPE_OF[name]].__name__
        properties["machine"] = {"$ref": f"#/$defs/{model}", "description": says}
        required.append("machine")
    else:
        properties["machine"] = {"type": "null"}
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": properties,
    }
