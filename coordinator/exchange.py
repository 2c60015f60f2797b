"""Check an exported agreement against its SHACL shapes; needs the extra ``exchange``.

The shapes are a second opinion for people who work with RDF tools. What makes an import safe is
``protocols.agreement.odrl.from_odrl``, which derives every statement again.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from protocols.errors import Code, InputError, LocalError

SHAPES = "shapes.ttl"
MAX_SHOWN = 5


def shapes() -> str:
    """The shapes, as packaged (Turtle)."""
    return resources.files("protocols.agreement").joinpath(SHAPES).read_text(encoding="utf-8")


def check_shapes(document: bytes, where: str) -> tuple[str, ...]:
    """Validate a JSON-LD document; lines for people. Reads nothing from the network.

    Args:
        document: as ``odrl_bytes`` writes it; its contexts stand inside.

    Raises:
        LocalError: the extra is not installed.
        InputError: not JSON-LD, or a shape does not hold (names shape, place and value).
    """
    try:
        import pyshacl
        import rdflib
    except ModuleNotFoundError as error:
        raise LocalError(
            "the SHACL check needs packages that are not installed.",
            code=Code.NOT_FOUND,
            where=error.name or "pyshacl",
            fix="Install them: pip install 'datacoop[exchange]'. Or leave out --shapes.",
        ) from error
    _no_remote_context(document, where)
    try:
        data = rdflib.Graph().parse(data=document, format="json-ld")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"this is not JSON-LD: {error}.", where=where) from error
    rules = rdflib.Graph().parse(data=shapes(), format="turtle")
    holds, report, _ = pyshacl.validate(data, shacl_graph=rules, do_owl_imports=False)
    if not holds:
        raise InputError(
            "it does not have the shape of an agreement: " + "; ".join(_findings(report)) + ".",
            where=where,
            fix="Export it again, or take the file from whoever exported it.",
        )
    checked = len(list(data.subjects(rdflib.RDF.type, None)))
    return (f"SHACL: {len(data)} statements about {checked} things have the shape that they need",)


def _no_remote_context(document: bytes, where: str) -> None:
    """A context by address would be fetched; only contexts that stand inside are read."""
    from protocols.canonical import parse_json

    waiting: list[Any] = [parse_json(document, where)]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if not _inlined(one.get("@context", {})):
                raise InputError(
                    "its context is an address; contexts must stand inside, so that nothing is "
                    "fetched.",
                    where=where,
                )
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _inlined(context: Any) -> bool:
    many = context if isinstance(context, list) else [context]
    return all(isinstance(one, dict) and "@import" not in one for one in many)


def _findings(report: Any) -> list[str]:
    """Messages of a validation report, each once; at most ``MAX_SHOWN``."""
    import rdflib

    shacl = rdflib.Namespace("http://www.w3.org/ns/shacl#")
    said = {
        f"{next(iter(report.objects(one, shacl.resultMessage)), 'a shape does not hold')} "
        f"({next(iter(report.objects(one, shacl.focusNode)), '')})"
        for one in report.subjects(rdflib.RDF.type, shacl.ValidationResult)
    }
    found = sorted(said)
    hidden = len(found) - MAX_SHOWN
    return [*found[:MAX_SHOWN], *([f"and {hidden} more"] if hidden > 0 else [])]
