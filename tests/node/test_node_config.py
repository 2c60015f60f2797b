"""Configuration of node and coordinator: light to import, strict to read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import coordinator.config
import node.config
from protocols.errors import InputError

ROOMS = {"node": node.config, "coordinator": coordinator.config}


@pytest.fixture(params=sorted(ROOMS))
def room(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    name: str = request.param
    monkeypatch.delenv(ROOMS[name].ENV_PREFIX + "HOME", raising=False)
    return name


def test_without_a_file_there_are_defaults(room: str, tmp_path: Path) -> None:
    assert ROOMS[room].load(tmp_path).log_level == "info"


def test_the_environment_wins_over_the_file(
    room: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text('log_level = "debug"\n')
    assert ROOMS[room].load(tmp_path).log_level == "debug"
    monkeypatch.setenv(ROOMS[room].ENV_PREFIX + "LOG_LEVEL", "error")
    assert ROOMS[room].load(tmp_path).log_level == "error"


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ('\n\nlog_levle = "info"\n', ":3", "Did you mean 'log_level'?"),
        ("[qqqqqqqq]\nx = 1\n", ":1", "There are: "),
        ('# a\nlog_level = "loud"\n', ":2", "'loud'"),
        ("log_level = \n", "", "not TOML"),
        ('log_level = "info"\nlog_level = "info"\n', "", "not TOML"),
    ],
)
def test_what_is_wrong_names_its_line(
    room: str, tmp_path: Path, text: str, line: str, says: str
) -> None:
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(InputError) as caught:
        ROOMS[room].load(tmp_path)
    assert caught.value.where == f"{tmp_path / 'config.toml'}{line}"
    assert says in str(caught.value)


def test_bytes_that_are_no_text_are_refused(room: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"log_level = '\xff'")
    with pytest.raises(InputError, match="byte 13 is not UTF-8"):
        ROOMS[room].load(tmp_path)
    with (tmp_path / "config.toml").open("wb") as stream:
        stream.truncate(1 << 33)
    with pytest.raises(InputError, match="longer than"):
        ROOMS[room].load(tmp_path)


def test_variables_are_checked_like_keys(
    room: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = ROOMS[room].ENV_PREFIX + "LOG_LEVL"
    monkeypatch.setenv(name, "info")
    with pytest.raises(InputError, match="log_level") as caught:
        ROOMS[room].load(tmp_path)
    assert caught.value.where == name
    monkeypatch.delenv(name)
    good = ROOMS[room].ENV_PREFIX + "LOG_LEVEL"
    monkeypatch.setenv(good, "loud")
    with pytest.raises(InputError) as caught:
        ROOMS[room].load(tmp_path)
    assert caught.value.where == good


def test_home_is_the_option_then_the_variable_then_the_usual_place(
    room: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ROOMS[room].resolve_home().name == f"coop-{room}"
    monkeypatch.setenv(ROOMS[room].ENV_PREFIX + "HOME", str(tmp_path / "a"))
    assert ROOMS[room].resolve_home() == tmp_path / "a"
    assert ROOMS[room].resolve_home(tmp_path / "b") == tmp_path / "b"
    assert ROOMS[room].load(tmp_path).log_level == "info"  # HOME is no setting, and no error


def test_importing_loads_nothing_heavy(room: str) -> None:
    code = (
        f"import sys, {room}.config; print({{'pydantic', 'sqlalchemy', 'grpc'}} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"
