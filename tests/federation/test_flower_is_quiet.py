"""Flower neither calls home nor looks for updates, in every process of ours that imports it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import node

ROOT = Path(node.__file__).resolve().parent.parent
SWITCHES = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
COMMANDS = ("node/cli", "coordinator/cli")


def test_the_switches_are_set_where_tests_import_flower() -> None:
    from flwr.supercore import telemetry

    assert {name: os.environ.get(name) for name in SWITCHES} == SWITCHES
    assert telemetry.FLWR_TELEMETRY_ENABLED == "0"


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def _sources() -> Mapping[str, ast.Module]:
    files = [
        one for room in ("node", "coordinator", "protocols") for one in ROOT.glob(f"{room}/**/*.py")
    ]
    return {_name(one): ast.parse(one.read_text()) for one in files}


def _named(statement: ast.stmt) -> Iterator[str]:
    """Modules that an import statement may load."""
    if isinstance(statement, ast.Import):
        yield from (one.name for one in statement.names)
    elif isinstance(statement, ast.ImportFrom) and statement.module:
        yield statement.module
        yield from (f"{statement.module}.{one.name}" for one in statement.names)


def _at_import(body: list[ast.stmt]) -> Iterator[str]:
    """What importing a module imports: not in functions, not for type checkers only."""
    for one in body:
        yield from _named(one)
        if isinstance(one, ast.If) and "TYPE_CHECKING" in ast.dump(one.test):
            continue
        if isinstance(one, ast.If | ast.Try | ast.With):
            yield from _at_import([*one.body, *getattr(one, "orelse", [])])


def _is_flower(module: str) -> bool:
    return module == "flwr" or module.startswith("flwr.")


@cache
def _bringing() -> frozenset[str]:
    """Every module of ours that loads Flower when it is imported, directly or through others."""
    imports = {name: set(_at_import(tree.body)) for name, tree in _sources().items()}
    found = {name for name, named in imports.items() if any(map(_is_flower, named))}
    while more := {name for name, named in imports.items() if named & found} - found:
        found |= more
    return frozenset(found)


def _brings_flower(module: str) -> bool:
    return _is_flower(module) or module in _bringing()


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    return (one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef))


def _sets(statement: ast.stmt, name: str) -> bool:
    return ast.unparse(statement) == f"os.environ['{name}'] = '{SWITCHES[name]}'"


def test_flower_is_imported_in_the_expected_places() -> None:
    direct = {
        name
        for name, tree in _sources().items()
        for one in ast.walk(tree)
        if isinstance(one, ast.stmt) and any(found.split(".")[0] == "flwr" for found in _named(one))
    }
    assert direct == {
        "coordinator.server",
        "coordinator.wire.grid",
        "coordinator.wire.server_app",
        "node.federation.client_app",
    }


def test_every_command_sets_the_switches_before_flower_comes() -> None:
    """No command brings Flower when it is imported; those that bring it when run set them first."""
    bringing = []
    for name, tree in _sources().items():
        if not name.replace(".", "/").startswith(COMMANDS):
            continue
        assert not _brings_flower(name), name
        for function in _functions(tree):
            set_before: set[str] = set()
            for statement in function.body:
                set_before |= {one for one in SWITCHES if _sets(statement, one)}
                if any(_brings_flower(one) for one in _named(statement)):
                    bringing.append(f"{name}.{function.name}")
                    assert set_before == set(SWITCHES), bringing[-1]
    assert {"node.cli.house.start", "coordinator.cli.office.serve"} <= set(bringing)


SCRIPT = """
import json, os, sys, threading
os.environ["FLWR_TELEMETRY_ENABLED"] = "0"
os.environ["FLWR_DISABLE_UPDATE_CHECK"] = "1"
seen = []
def watch(event, args):
    if event.startswith(("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto")):
        seen.append(event)
sys.addaudithook(watch)
import node.federation.client_app as client
import coordinator.wire.server_app as server
from coordinator.wire.grid import record, STAGE
from sim_grid import MemoryGrid, client_context, run_client_app
from flwr.app import Context, RecordDict

class Town:
    app = client.client_app(bytes.upper)
    def connected(self):
        return [7]
    def deliver(self, message):
        return run_client_app(self.app, client_context(7, 1), message)
    def wait_for(self, members, timeout_s):
        return members
    def connections(self):
        return {}

answers = []
def conduct(exchange):
    answers.extend(exchange.stage(1, {"0e" * 32: b"x"}, 1.0))
town = Town()
class Grid(MemoryGrid):
    pass
server.server_app(conduct, town)(
    Grid(town, 1),
    Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={}),
)
from flwr.supercore import telemetry
print(json.dumps({
    "sockets": seen,
    "answers": [one.envelope.decode() for one in answers],
    "threads": threading.active_count(),
    "telemetry": telemetry.FLWR_TELEMETRY_ENABLED,
}))
"""


def test_no_socket_is_opened_by_importing_flower_and_exchanging_a_message() -> None:
    paths = [str(ROOT), *(str(Path(__file__).parents[1] / one) for one in ("simulator", "support"))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    for name in SWITCHES:
        environment.pop(name)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == {
        "sockets": [],
        "answers": ["X"],
        "threads": 1,
        "telemetry": "0",
    }
