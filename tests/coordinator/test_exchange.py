"""Shapes of an exported agreement, and the commands that write and read it."""

from __future__ import annotations

import builtins
import copy
import json
import socket
from pathlib import Path
from typing import Any

import pytest
import typer

from coordinator.cli import exchange
from coordinator.cli.shell import run
from coordinator.exchange import check_shapes
from protocols.agreement.odrl import from_odrl, odrl_bytes, to_odrl
from protocols.errors import InputError, LocalError
from small_coop import agreement, rosters

TERMS = agreement()
DOCUMENT = to_odrl(TERMS, rosters()[1])


def test_an_export_is_rdf_and_has_its_shape_without_a_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rdflib = pytest.importorskip("rdflib")

    def nowhere(*_: Any, **__: Any) -> Any:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "create_connection", nowhere)
    monkeypatch.setattr(socket.socket, "connect", nowhere)
    (line,) = check_shapes(odrl_bytes(DOCUMENT), "export")
    assert line.startswith("SHACL: ")
    graph = rdflib.Graph().parse(data=odrl_bytes(DOCUMENT), format="json-ld")
    kinds = {str(kind) for kind in graph.objects(None, rdflib.RDF.type)}
    assert {
        "http://www.w3.org/ns/odrl/2/Agreement",
        "https://w3id.org/dpv#SecureMultiPartyComputation",
        "urn:datacoop:terms#Clause",
    } <= kinds
    literals = [one for one in graph.objects() if getattr(one, "datatype", None) == rdflib.RDF.JSON]
    assert len(literals) == 28 + 1, "every machine block and the roster"


BREAKS = {
    "exactly one odrl:uid": lambda d: d.pop("odrl:uid"),
    "has an assigner": lambda d: d.pop("odrl:assigner"),
    "has an assignee": lambda d: d.pop("odrl:assignee"),
    "one action and one target": lambda d: d["odrl:permission"][0].pop("odrl:action"),
    "a prohibition has": lambda d: d["odrl:prohibition"][0].pop("odrl:target"),
    "left operand": lambda d: d["odrl:permission"][0]["odrl:constraint"][0].pop("odrl:leftOperand"),
    "right operand": lambda d: d["odrl:permission"][0]["odrl:constraint"][0].pop(
        "odrl:rightOperand"
    ),
    "one operator": lambda d: d["odrl:permission"][0]["odrl:constraint"][0].update(
        {"odrl:operator": {"@id": "odrl:roughly"}}
    ),
    "has a legal basis": lambda d: d.pop("dpv:hasProcess"),
    "machine block": lambda d: d["coop:clauses"]["@list"][6].pop("coop:block"),
    "names its measures": lambda d: d.pop("dpv:hasTechnicalOrganisationalMeasure"),
    "its cooperative": lambda d: d.update({"coop:cooperative": "somebody"}),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_shape_that_does_not_hold_is_named(name: str) -> None:
    pytest.importorskip("pyshacl")
    document = copy.deepcopy(DOCUMENT)
    BREAKS[name](document)
    with pytest.raises(InputError) as caught:
        check_shapes(odrl_bytes(document), "file")
    assert name in caught.value.problem


@pytest.mark.parametrize(
    "context", ["https://www.w3.org/ns/odrl.jsonld", {"@import": "x"}, [{}, "x"]]
)
def test_a_context_by_address_is_never_fetched(context: Any) -> None:
    pytest.importorskip("pyshacl")
    for place in (DOCUMENT, DOCUMENT["odrl:permission"][0]):
        document = copy.deepcopy(DOCUMENT)
        target = document if place is DOCUMENT else document["odrl:permission"][0]
        target["@context"] = context
        with pytest.raises(InputError, match="nothing is fetched"):
            check_shapes(json.dumps(document).encode(), "file")


def test_without_the_extra_the_check_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "pyshacl":
            raise ModuleNotFoundError("no", name=name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(LocalError) as caught:
        check_shapes(odrl_bytes(DOCUMENT), "file")
    assert "datacoop[exchange]" in caught.value.fix


def command(*words: str) -> int:
    app = typer.Typer()
    exchange.register(app)
    return run(app, list(words), "coop-coordinator")


def test_an_import_gives_back_the_draft(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, draft = tmp_path / "terms.jsonld", tmp_path / "draft.json"
    file.write_bytes(odrl_bytes(DOCUMENT))
    assert command("import", str(file), str(draft)) == 0
    assert TERMS.id in capsys.readouterr().out
    assert from_odrl(odrl_bytes(to_odrl(TERMS)), "").agreement.id == TERMS.id
    assert json.loads(draft.read_bytes())["version"] == 1
    assert command("import", str(file), str(draft)) == 5, "never over another file"
    file.write_bytes(odrl_bytes({**DOCUMENT, "odrl:conflict": {"@id": "odrl:perm"}}))
    assert command("import", str(file), str(tmp_path / "other.json")) == 5
    assert not (tmp_path / "other.json").exists()
