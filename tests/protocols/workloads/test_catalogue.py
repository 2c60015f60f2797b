"""The digest of a workload names its code, all of it, on every operating system."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import node
import protocols
from protocols.errors import Code, InputError
from protocols.workloads import catalogue
from protocols.workloads.recipe import Workload

ROOTS = {"node": Path(node.__file__).parent, "protocols": Path(protocols.__file__).parent}


def installed(path: str) -> bytes:
    top, _, rest = path.partition("/")
    return (ROOTS[top] / rest).read_bytes()


SHARED = "protocols/privacy/"  # also used by the machines; a recipe lists what it calls
ROWS = ("node/data/customers.py", "node/data/features.py")  # what makes numbers of rows


def deciding() -> dict[str, str]:
    """Every file that may decide what some run computes: repo-relative path -> text."""
    files = {path: ROOTS["node"] / path.removeprefix("node/") for path in ROWS}
    for folder in ("node/training", "protocols/workloads"):
        top, _, rest = folder.partition("/")
        files |= {f"{folder}/{file.name}": file for file in (ROOTS[top] / rest).glob("*.py")}
    del files["protocols/workloads/catalogue.py"]  # a list of names
    return {path: file.read_text() for path, file in files.items() if file.exists()}


def imported(text: str) -> set[str]:
    """Modules that a source imports, as paths."""
    found: set[str] = set()
    for node_ in ast.walk(ast.parse(text)):
        if isinstance(node_, ast.ImportFrom) and node_.module:
            at = node_.module.replace(".", "/")
            found |= {f"{at}.py", *(f"{at}/{one.name}.py" for one in node_.names)}
    return found


def test_every_source_that_decides_is_listed_by_a_workload() -> None:
    listed = {path for one in catalogue.CATALOGUE.values() for path in one.sources}
    assert {path for path in listed if not path.startswith(SHARED)} == set(deciding())


@pytest.mark.parametrize("name", catalogue.CATALOGUE)
def test_whatever_a_source_imports_is_listed_with_it(name: tuple[str, str]) -> None:
    sources, texts = catalogue.CATALOGUE[name].sources, deciding()
    texts |= {
        f"{SHARED}{file.name}": file.read_text()
        for file in (ROOTS["protocols"] / "privacy").glob("*.py")
    }
    assert list(sources) == sorted(sources)
    for path in sources:
        assert imported(texts[path]) & set(texts) <= set(sources), path


each = pytest.mark.parametrize("workload", catalogue.CATALOGUE.values(), ids=lambda one: one.id)


@each
def test_digest_is_the_same_with_windows_line_ends(workload: Workload) -> None:
    here = workload.digest(installed)
    assert len(here) == 64 and here in catalogue.digests(installed)
    assert here == workload.digest(lambda path: installed(path).replace(b"\n", b"\r\n"))


@each
def test_any_change_in_any_source_shows(workload: Workload) -> None:
    right, seen = workload.digest(installed), set()
    for changed in workload.sources:

        def other(path: str, changed: str = changed) -> bytes:
            return installed(path) + (b"# \n" if path == changed else b"")

        seen.add(workload.digest(other))
    assert right not in seen and len(seen) == len(workload.sources)


@each
def test_moving_text_between_files_shows(workload: Workload) -> None:
    a = dict.fromkeys(workload.sources, b"")
    first, second = workload.sources[:2]
    assert workload.digest((a | {first: b"x"}).__getitem__) != workload.digest(
        (a | {second: b"x"}).__getitem__
    )


def test_two_workloads_have_two_digests() -> None:
    assert len(catalogue.digests(installed)) == len(catalogue.CATALOGUE)


def test_find() -> None:
    assert catalogue.find("demand", "1") is catalogue.DEMAND
    with pytest.raises(InputError, match="not installed") as caught:
        catalogue.find("demand", "2")
    assert caught.value.code is Code.NOT_FOUND
    assert "demand 1" in caught.value.fix
