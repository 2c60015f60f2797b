"""The generated stubs are what the .proto files say: regenerating them changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from grpc_tools import protoc

ROOT = Path(__file__).parents[2]
PROTOS = sorted((ROOT / "protocols" / "proto").glob("*.proto"))


def test_there_are_protos() -> None:
    assert "link.proto" in [proto.name for proto in PROTOS]


@pytest.mark.parametrize("proto", PROTOS, ids=lambda proto: proto.name)
def test_stubs_are_fresh(proto: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    name = proto.relative_to(ROOT).as_posix()
    services = "\nservice " in proto.read_text(encoding="utf-8")
    arguments = ["protoc", "-I.", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    if services:
        arguments.append(f"--grpc_python_out={tmp_path}")
    assert protoc.main([*arguments, name]) == 0
    made = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert len(made) == (3 if services else 2)
    for path in made:
        kept = ROOT / path.relative_to(tmp_path)
        assert path.read_text() == kept.read_text(), f"regenerate {kept.name} from {proto.name}"
