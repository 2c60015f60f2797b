"""The rules of the repository that neither ruff, mypy nor import-linter can see."""

from __future__ import annotations

import ast
import functools
import itertools
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from coordinator.settings import CoordinatorSettings
from node.keys import NodeKeys
from node.settings import NodeSettings
from node.vault_key import VaultKey
from protocols.joining import Address, Invitation
from protocols.signing import SigningKey

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("protocols", "node", "coordinator")
HEAVY = (
    "torch",
    "flwr",
    "pandas",
    "duckdb",
    "pyarrow",
    "lightgbm",
    "sqlalchemy",
    "alembic",
    "grpc",
    "pydantic",
    "scipy",
    "dp_accounting",
)
LOCKS = ("all.txt", "coordinator.txt", "node.txt")


@functools.cache
def sources(*packages: str) -> tuple[tuple[Path, ast.Module], ...]:
    """Every written module of these packages; generated ones are not ours to style."""
    return tuple(
        (file.relative_to(ROOT), ast.parse(file.read_text(encoding="utf-8")))
        for package in packages
        for file in sorted((ROOT / package).rglob("*.py"))
        if "_pb2" not in file.name
    )


def called(node: ast.Call) -> str:
    """The dotted name of what is called, as written."""
    return ast.unparse(node.func)


def in_child(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else ""


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


# ------------------------------------------------------------------------- light and heavy


@pytest.mark.parametrize("room", ["node", "coordinator"])
def test_no_help_page_loads_anything_heavy(room: str) -> None:
    found = in_child(f"""
import contextlib, io, sys
import typer.main
from {room}.cli.app import app
from {room}.cli.shell import run

def pages(group, words):
    yield [*words, "--help"]
    for name, command in getattr(group, "commands", {{}}).items():
        yield from pages(command, [*words, name])

with contextlib.redirect_stdout(io.StringIO()) as out:
    for words in pages(typer.main.get_command(app), []):
        assert run(app, words, "coop") == 0, words
assert out.getvalue().count("Usage:") > 10
print(sorted(set({HEAVY!r}) & set(sys.modules)))
""")
    assert found == "[]"


def test_the_coordinator_runs_without_torch_and_pandas() -> None:
    found = in_child("""
import importlib, pkgutil, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "pandas", "duckdb", "pyarrow", "lightgbm"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import coordinator
loaded = 0
for one in pkgutil.walk_packages(coordinator.__path__, "coordinator."):
    if one.name.endswith(("__main__", "migrations.env")):  # they act when they are imported
        continue
    importlib.import_module(one.name)
    loaded += 1
print(loaded)
""")
    assert int(found) > 40


@pytest.mark.parametrize(
    ("room", "command"), [("node", "start"), ("coordinator", "serve")], ids=["node", "coordinator"]
)
def test_flower_sends_nothing_home(room: str, command: str, tmp_path: Path) -> None:
    """The long-lived processes switch Flower's telemetry and update check off before anything."""
    found = in_child(f"""
import os, sys
for name in ("FLWR_TELEMETRY_ENABLED", "FLWR_DISABLE_UPDATE_CHECK"):
    os.environ.pop(name, None)
seen = []

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "flwr":
            seen.append(os.environ.get("FLWR_TELEMETRY_ENABLED"))
            seen.append(os.environ.get("FLWR_DISABLE_UPDATE_CHECK"))

sys.meta_path.insert(0, Watch())
from {room}.cli.app import app
from {room}.cli.shell import run
assert run(app, ["--home", {str(tmp_path)!r}, "{command}"], "coop") == 4
assert "flwr" in sys.modules
print(*seen)
""")
    assert found == "0 1"


# ---------------------------------------------------------------------------------- purity


IMPURE_NAMES = {"open", "print", "input", "eval", "exec", "compile", "__import__", "breakpoint"}
IMPURE_ENDS = (
    ".now",
    ".utcnow",
    ".today",
    ".generate",
    ".generate_key",
    ".generate_private_key",
    ".random_serial_number",
)
IMPURE_TEXT = re.compile(r"\b(np|numpy)\.random\b|\bos\.environ\b")


def impure(tree: ast.Module) -> list[str]:
    """Calls that read a clock, a disk or an entropy source, and state that outlives a call."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = called(node)
            if name in IMPURE_NAMES or name.endswith(IMPURE_ENDS):
                found.append(f"line {node.lineno}: {name}()")
        elif isinstance(node, ast.Attribute) and IMPURE_TEXT.search(ast.unparse(node)):
            found.append(f"line {node.lineno}: {ast.unparse(node)}")
        elif isinstance(node, ast.Global):
            found.append(f"line {node.lineno}: global {', '.join(node.names)}")
    return found


def test_protocols_takes_time_and_entropy_as_arguments() -> None:
    found = {str(file): impure(tree) for file, tree in sources("protocols")}
    assert len(found) > 40
    assert {file: lines for file, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "text",
    [
        "open('x')",
        "datetime.now(UTC)",
        "AESGCM.generate_key(128)",
        "np.random.default_rng()",
        "def f():\n    global x\n    x = 1",
    ],
)
def test_the_purity_check_can_fail(text: str) -> None:
    assert impure(ast.parse(text))


MAKERS = {  # a stage is a type, and one module makes it
    "Permit": {"protocols/agreement/decide.py"},
    "RawRows": {"node/data/convert.py"},
    "ConsentedRows": {"node/data/consent.py"},
    "CheckedRows": {"node/data/quality.py"},
    "TrainingTable": {"node/data/features.py"},
    "BoundedUpdate": {"node/training/clip.py"},
}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_stage_is_made_in_its_own_place_only(kind: str) -> None:
    makers = {
        file.as_posix()
        for file, tree in sources(*PACKAGES)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and called(node).split(".")[-1] == kind
    }
    assert makers, f"nobody makes a {kind}; was it renamed?"
    assert makers <= MAKERS[kind]


GUARDED = {  # what is done to rows, models and results -> how it is called
    "reads rows": ("snapshot.read", "self._weekly"),
    "makes a table": ("features.training_table", "customers.training_table"),
    "trains": ("fit.train", "churn_fit.step", "evaluate.warm_baseline"),
    "scores": ("evaluate.run_metrics", "churn_evaluate.run_metrics"),
    "masks": ("member.mask",),
    "releases": ("make_card",),
    "uses": ("read_parameters",),
}
OWN_EYES = {  # the member's own look at the own rows, before any run and for nobody else
    ("node/data/line_quality.py", "owner_report"),
    ("node/data/vault.py", "weekly_for_owner"),
}
ASKS = re.compile(r"(^|\.)permit\.require$|(^|\.)_require$")


def own_calls(function: ast.AST) -> list[ast.Call]:
    """The calls in a function, also those in functions inside it."""
    return [node for node in ast.walk(function) if isinstance(node, ast.Call)]


def unguarded(file: Path, tree: ast.Module) -> set[tuple[str, str]]:
    """Functions of a module that do something guarded, and what, without asking for the permit.

    A private one may leave it to its callers, if all of them in the module ask.
    """
    functions = {
        node.name: node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    def asks(name: str, seen: frozenset[str] = frozenset()) -> bool:
        if any(ASKS.search(called(one)) for one in own_calls(functions[name])):
            return True
        callers = {
            other
            for other, node in functions.items()
            if other != name and any(called(c).split(".")[-1] == name for c in own_calls(node))
        }
        private = name.startswith("_") and name not in seen and bool(callers)
        return private and all(asks(one, seen | {name}) for one in callers)

    return {
        (name, what)
        for name, node in functions.items()
        for what, ways in GUARDED.items()
        if any(called(one) in ways for one in own_calls(node))
        and (file.as_posix(), name) not in OWN_EYES
        and not asks(name)
    }


def test_rows_models_and_results_are_touched_under_a_permit_only() -> None:
    found = {
        (str(file), *one)
        for file, tree in sources("node", "coordinator")
        for one in unguarded(file, tree)
    }
    assert found == set()


@pytest.mark.parametrize("what", GUARDED)
def test_everything_guarded_is_done_somewhere(what: str) -> None:
    """A way that was renamed would be guarded by nobody."""
    calls = {called(one) for _, tree in sources("node", "coordinator") for one in own_calls(tree)}
    assert calls & set(GUARDED[what]) == set(GUARDED[what])


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("def f(permit): fit.train(1)", False),
        ("def f(permit, now):\n permit.require(G, now)\n fit.train(1)", True),
        ("def f(x):\n x.ticket.permit.require(G)\n member.mask(1)", True),
        ("def f(permit): _g()\ndef _g(): make_card(1)", False),
        ("def f(permit):\n permit.require(G)\n _g()\ndef _g(): make_card(1)", True),
        ("def f(p):\n p.permit.require(G)\n _g()\ndef _g(): make_card(1)\ndef h(): _g()", False),
        ("def g(): read_parameters(1)\ndef f(permit):\n permit.require(G)\n g()", False),
        ("def f(runs):\n runs.require(1)\n snapshot.read(1)", False),
    ],
)
def test_the_permit_check_can_fail(text: str, good: bool) -> None:
    assert (unguarded(Path("node/x.py"), ast.parse(text)) == set()) is good


# --------------------------------------------------------------------------------- secrets


SECRET = re.compile(
    r"(^|_)(secret|seed|token|passphrase|share|shares|entropy|channels|sealed|tls_key_pem)$"
)
RAW = re.compile(r"\b(bytes|str)\b|PrivateKey\b")


def is_dataclass(node: ast.AST) -> bool:
    return isinstance(node, ast.ClassDef) and any(
        ast.unparse(one).startswith("dataclass") for one in node.decorator_list
    )


def test_a_field_that_holds_a_secret_is_not_printed() -> None:
    shown, hidden = [], 0
    for file, tree in sources(*PACKAGES):
        for cls in filter(is_dataclass, ast.walk(tree)):
            assert isinstance(cls, ast.ClassDef)
            for one in cls.body:
                if not isinstance(one, ast.AnnAssign):
                    continue
                name, kind = ast.unparse(one.target), ast.unparse(one.annotation)
                if not (SECRET.search(name) and RAW.search(kind)) and "PrivateKey" not in kind:
                    continue
                if one.value is not None and "repr=False" in ast.unparse(one.value):
                    hidden += 1
                else:
                    shown.append(f"{file}: {cls.name}.{name}")
    assert shown == []
    assert hidden >= 15


def test_secrets_do_not_print() -> None:
    seed, secret, token = b"\x5a" * 32, b"\xc3" * 32, "k3ep-this-t0ken"
    key = SigningKey(seed)
    keys = NodeKeys(
        key,
        secret,
        b"-----BEGIN PRIVATE KEY-----",
        b"csr",
        secret,
        VaultKey(secret),
        seed,
        (seed,),
    )
    invitation = Invitation(Address("office", 8801), "ab" * 32, token)
    text = repr((key, keys, invitation))
    for raw in (seed, secret):
        assert raw.hex() not in text
        assert repr(raw)[2:-1] not in text
    assert "PRIVATE KEY" not in text
    assert token not in text


# -------------------------------------------------------------------------- one truth each


def test_the_version_is_the_newest_of_the_change_log() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\d+\.\d+\.\d+)\b", text, re.MULTILINE)
    assert newest is not None
    assert newest[1] == pyproject()["project"]["version"]


def test_the_version_stands_in_one_place() -> None:
    version = pyproject()["project"]["version"]
    found = [
        str(file)
        for file, tree in sources(*PACKAGES)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.search(rf"(?<![\d.]){re.escape(version)}(?![\d.])", node.value)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("room", "settings"), [("node", NodeSettings), ("coordinator", CoordinatorSettings)]
)
def test_every_setting_does_something(
    room: str, settings: type[NodeSettings] | type[CoordinatorSettings]
) -> None:
    """A key in config.toml that nothing reads would be a promise that is not kept."""
    read = {
        node.attr
        for file, tree in sources(room)
        if file.name != "settings.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("settings")
    }
    assert sorted(set(settings.model_fields) - read) == []


def test_no_unfinished_business() -> None:
    words = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|raise NotImplementedError")
    found = [
        f"{file}:{number}"
        for package in (*PACKAGES, "examples", "deploy")
        for file in sorted((ROOT / package).rglob("*.py"))
        if "_pb2" not in file.name
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1)
        if words.search(line)
    ]
    assert found == []


# ----------------------------------------------------------------------------------- locks


def pins(lock: str) -> dict[str, dict[str, int]]:
    """Package -> pinned versions (one for each Python, where a marker says so) and hashes."""
    text = (ROOT / "deploy" / "lock" / lock).read_text(encoding="utf-8")
    found: dict[str, dict[str, int]] = {}
    for block in re.split(r"\n(?=[A-Za-z0-9])", text):
        head = re.match(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;]+)", block)
        assert head is not None, f"{lock}: {block[:60]!r} is not a pinned requirement"
        name = canonicalize_name(head[1])
        hashes = len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", block))
        found.setdefault(name, {})[head[2]] = hashes
    return found


@pytest.mark.parametrize("lock", [*LOCKS, "build.txt"])
def test_a_lock_holds_hashed_public_versions_and_no_index(lock: str) -> None:
    text = (ROOT / "deploy" / "lock" / lock).read_text(encoding="utf-8")
    assert not re.search(r"(^|\s)(-i|--index-url|--extra-index-url|--find-links|-e)\b", text)
    assert "://" not in text
    for name, versions in pins(lock).items():
        for version, hashes in versions.items():
            assert hashes > 0, f"{name}=={version} has no hash"
            assert Version(version).local is None, f"{name}=={version} is a local version"


def test_the_locks_agree_and_hold_what_the_project_asks_for() -> None:
    project = pyproject()["project"]
    everything, coordinator, node = (pins(lock) for lock in LOCKS)
    extras = project["optional-dependencies"]
    wanted = {
        "coordinator": (coordinator, project["dependencies"]),
        "node": (node, project["dependencies"] + extras["node"]),
        "all": (everything, [*project["dependencies"], *itertools.chain(*extras.values())]),
    }
    for lock, (pinned, requirements) in wanted.items():
        for line in requirements:
            requirement = Requirement(line)
            name = canonicalize_name(requirement.name)
            if name == "torch":
                continue
            assert name in pinned, f"{lock}: {name} is missing"
            assert all(requirement.specifier.contains(one) for one in pinned[name]), line
    for smaller in (coordinator, node):
        for name, versions in smaller.items():
            assert versions.keys() <= everything[name].keys(), name
    build = pins("build.txt")
    assert build.keys() == {"setuptools"}
    assert build["setuptools"].keys() <= everything["setuptools"].keys()
    assert "torch" not in everything
    assert not {"pandas", "duckdb", "pyarrow", "lightgbm"} & set(coordinator)


def test_torch_has_one_version_and_a_step_of_its_own() -> None:
    extras = pyproject()["project"]["optional-dependencies"]
    asked = next(one for one in extras["node"] if one.startswith("torch"))
    script = (ROOT / "deploy" / "dev.py").read_text(encoding="utf-8")
    docker = (ROOT / "deploy" / "docker" / "Dockerfile.node").read_text(encoding="utf-8")
    assert f'TORCH = "{asked}"' in script
    assert f"ARG TORCH={asked}" in docker
