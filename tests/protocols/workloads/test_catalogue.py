"""The digest of a workload names its code, all of it, on every operating system."""

from __future__ import annotations

from pathlib import Path

import pytest

import node
import protocols
from protocols.errors import Code, InputError
from protocols.workloads import catalogue

ROOTS = {"node": Path(node.__file__).parent, "protocols": Path(protocols.__file__).parent}


def installed(path: str) -> bytes:
    top, _, rest = path.partition("/")
    return (ROOTS[top] / rest).read_bytes()


def test_every_source_that_decides_is_listed() -> None:
    found = {"node/data/features.py"}
    for folder in ("node/training", "protocols/workloads"):
        top, _, rest = folder.partition("/")
        found |= {f"{folder}/{file.name}" for file in (ROOTS[top] / rest).glob("*.py")}
    assert set(catalogue.DEMAND.sources) == found
    assert list(catalogue.DEMAND.sources) == sorted(found)


def test_digest_is_the_same_with_windows_line_ends() -> None:
    here = catalogue.digest(installed)
    assert len(here) == 64
    assert here == catalogue.digest(lambda path: installed(path).replace(b"\n", b"\r\n"))


@pytest.mark.parametrize("changed", catalogue.DEMAND.sources)
def test_any_change_in_any_source_shows(changed: str) -> None:
    def other(path: str) -> bytes:
        return installed(path) + (b"# \n" if path == changed else b"")

    assert catalogue.digest(other) != catalogue.digest(installed)


def test_moving_text_between_files_shows() -> None:
    a = dict.fromkeys(catalogue.DEMAND.sources, b"")
    first, second = catalogue.DEMAND.sources[:2]
    assert catalogue.digest((a | {first: b"x"}).__getitem__) != catalogue.digest(
        (a | {second: b"x"}).__getitem__
    )


def test_find() -> None:
    assert catalogue.find("demand", "1") is catalogue.DEMAND
    with pytest.raises(InputError, match="not installed") as caught:
        catalogue.find("demand", "2")
    assert caught.value.code is Code.NOT_FOUND
    assert "demand 1" in caught.value.fix
