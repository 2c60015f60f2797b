"""What the documents say is true: commands, options, paths, sample files, units, containers."""

from __future__ import annotations

import ast
import configparser
import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer.main

import coordinator.cli.app
import coordinator.cli.office
import coordinator.config
import coordinator.settings
import node.cli.app
import node.config
import node.settings
from node.policy import house_rules
from protocols.errors import TABLE
from protocols.workloads import churn, demand

ROOT = Path(__file__).resolve().parent.parent
TOPS = ("protocols", "node", "coordinator", "examples", "deploy", "tests")
DOCUMENTS = sorted(
    path
    for path in [*ROOT.glob("*.md"), *(one for top in TOPS for one in (ROOT / top).rglob("*.md"))]
)
TREES: dict[str, click.Command] = {
    "coop-node": typer.main.get_command(node.cli.app.app),
    "coop-coordinator": typer.main.get_command(coordinator.cli.app.app),
}
WORDS_IN_A_LINE = re.compile(r"(?:^|[\s(]|bin/)(?<!-u )(?<!-o )(coop-(?:node|coordinator) .*)$")


def names(paths: list[Path]) -> list[str]:
    return [path.relative_to(ROOT).as_posix() for path in paths]


# -------------------------------------------------------------------------------- commands


def blocks(text: str) -> Iterator[str]:
    """Lines of fenced blocks."""
    for block in re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from block.splitlines()


def inline(text: str) -> Iterator[str]:
    """Pieces in single back-quotes outside fenced blocks."""
    bare = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"`([^`\n]+)`", bare)


def command_lines(lines: Iterator[str]) -> Iterator[list[str]]:
    """Words of every command of ours in these lines."""
    for line in lines:
        for part in re.split(r"&&|\|\|| > ", line):
            found = WORDS_IN_A_LINE.search(part)
            if found is not None:
                yield shlex.split(found[1], comments=True)


def parse(words: list[str], *, whole: bool) -> None:
    """Follow the tree; raises click's usage error. ``whole``: nothing required may be missing."""
    program, rest = words[0], words[1:]
    command: click.Command = TREES[program]
    context = click.Context(command, info_name=program)
    while isinstance(command, click.Group):
        own = {name: one for one in command.params for name in one.opts}
        while rest and rest[0] in own:
            rest = rest[1 if getattr(own[rest[0]], "is_flag", False) else 2 :]
        if not rest or rest[0] == "--help":
            return
        found = command.get_command(context, rest[0])
        if found is None:
            raise click.UsageError(f"no command {rest[0]!r} in {context.command_path!r}")
        command, rest = found, rest[1:]
        context = click.Context(command, info_name=command.name, parent=context)
    if whole:
        command.make_context(command.name, list(rest))
        return
    known = {name for one in command.params for name in (*one.opts, *one.secondary_opts)}
    for word in rest:
        if word.startswith("-") and word.split("=")[0] not in known:
            raise click.UsageError(f"no option {word!r} in {context.command_path!r}")


@pytest.mark.parametrize("name", names(DOCUMENTS))
def test_every_command_in_a_document_is_real(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for words in command_lines(blocks(text)):
        parse(words, whole=True)
    for words in command_lines(inline(text)):
        parse(words, whole=False)


def test_the_guides_show_the_whole_way() -> None:
    """A member's, an operator's: every command that people need stands in README or runbook."""
    shown = set()
    for name in ("README.md", "deploy/RUNBOOK.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for words in [*command_lines(blocks(text)), *command_lines(inline(text))]:
            shown.add(" ".join(words))
    for path, _ in leaves():
        line = " ".join(path)
        assert any(one == line or one.startswith(f"{line} ") for one in shown) or any(
            re.search(rf"{path[0]} --home \S+ {' '.join(path[1:])}\b", one) for one in shown
        ), f"{line} is in no guide"


def leaves() -> list[tuple[tuple[str, ...], click.Command]]:
    found: list[tuple[tuple[str, ...], click.Command]] = []

    def walk(command: click.Command, path: tuple[str, ...]) -> None:
        if isinstance(command, click.Group):
            for name, one in command.commands.items():
                walk(one, (*path, name))
        else:
            found.append((path, command))

    for program, tree in TREES.items():
        walk(tree, (program,))
    return found


@pytest.mark.parametrize(("path", "command"), leaves(), ids=lambda one: str(one)[:60])
def test_every_help_page_says_what_and_shows_an_example(
    path: tuple[str, ...], command: click.Command
) -> None:
    assert command.help, path
    assert command.epilog is not None, path
    assert command.epilog.startswith("Example: "), path
    (words,) = command_lines(iter([command.epilog.removeprefix("Example: ")]))
    parse(words, whole=True)
    used = [one for one in words if not one.startswith("-")]
    assert [one for one in used if one in path][: len(path)] == list(path)


@pytest.mark.parametrize("program", TREES)
def test_the_first_help_page_has_an_example_that_works(program: str) -> None:
    epilog = TREES[program].epilog
    assert epilog is not None
    found = list(command_lines(iter([epilog.removeprefix("Example: ")])))
    assert found
    for words in found:
        parse(words, whole=True)


def test_a_wrong_command_is_noticed() -> None:
    for line in ("coop-node forecast --weeks 2", "coop-node frecast", "coop-coordinator run abort"):
        with pytest.raises(click.UsageError):
            parse(shlex.split(line), whole=True)


@pytest.mark.parametrize("name", names(DOCUMENTS))
def test_every_make_target_in_a_document_is_real(name: str) -> None:
    known = set(re.findall(r"^([a-z]+)[ a-z]*:", (ROOT / "Makefile").read_text(), re.MULTILINE))
    known |= set(re.search(r"\.PHONY: (.*)", (ROOT / "Makefile").read_text())[1].split())  # type: ignore[index]
    text = (ROOT / name).read_text(encoding="utf-8")
    for line in [*blocks(text), *inline(text)]:
        found = re.match(r"make ([a-z]+)", line)
        assert found is None or found[1] in known, line
        script = re.search(r"deploy[\\/]dev\.py ([a-z]+)", line)
        assert script is None or script[1] in known, line


# ----------------------------------------------------------------------------------- paths


@pytest.mark.parametrize("name", names(DOCUMENTS))
def test_every_path_in_a_document_exists(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    for piece in inline(text):
        path = piece.replace("\\", "/")
        if re.fullmatch(rf"({'|'.join(TOPS)})/[A-Za-z0-9_./-]*", path):
            assert (ROOT / path).exists(), f"{name}: {piece}"
        elif re.fullmatch(r"[A-Z]+\.md|pyproject\.toml|Makefile", path) and path != "SPEC.md":
            here = (ROOT / path, (ROOT / name).parent / path)
            assert any(one.exists() for one in here), f"{name}: {piece}"
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert ((ROOT / name).parent / target).exists(), f"{name}: {target}"


def test_headings_that_messages_point_to_exist() -> None:
    runbook = (ROOT / "deploy" / "RUNBOOK.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^## (.+)$", runbook, re.MULTILINE))
    named = set()
    for top in ("node", "coordinator", "protocols"):
        for file in sorted((ROOT / top).rglob("*.py")):
            for one in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(one, ast.Constant) and isinstance(one.value, str):
                    named |= set(re.findall(r"RUNBOOK\.md, '([^']+)'", one.value))
    assert named
    assert named <= headings


def test_the_exit_codes_are_those_of_the_table() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("## Exit codes", maxsplit=1)[1].split("\n## ", maxsplit=1)[0]
    said = {int(one) for one in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}
    assert said == {kind.exit_code for kind in TABLE.values()} | {0, 130}


# ----------------------------------------------------------------------------- sample files


def uncommented(text: str) -> str:
    """The sample with every offered key switched on."""
    return re.sub(r"^# (?=[a-z_]+ = )", "", text, flags=re.MULTILINE)


SAMPLES = [
    ("node.toml", node.config, node.settings.NodeSettings),
    ("coordinator.toml", coordinator.config, coordinator.settings.CoordinatorSettings),
]


@pytest.mark.parametrize(("name", "config", "settings"), SAMPLES, ids=["node", "coordinator"])
def test_a_sample_configuration_holds_the_defaults(
    name: str, config, settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in [*settings.model_fields, "home"]:
        monkeypatch.delenv(config.ENV_PREFIX + key.upper(), raising=False)
    text = (ROOT / "deploy" / "config" / name).read_text(encoding="utf-8")
    (tmp_path / "config.toml").write_text(text, encoding="utf-8")
    assert config.load(tmp_path).model_dump() == settings().model_dump()
    (tmp_path / "config.toml").write_text(uncommented(text), encoding="utf-8")
    config.load(tmp_path)
    assert set(tomllib.loads(uncommented(text))) == set(settings.model_fields)
    assert config.ENV_PREFIX in text


def test_the_coordinator_takes_addresses_from_its_configuration(tmp_path: Path) -> None:
    from coordinator.cli.shell import run
    from coordinator.wiring import open_house

    words = ["--home", str(tmp_path), "init", "--name", "Shops", "--host", "old.example.org"]
    assert run(coordinator.cli.app.app, words, "coop-coordinator") == 0
    (tmp_path / "config.toml").write_text(
        'host = "new.example.org"\njoin_port = 9001\nlink_port = 9002\n', encoding="utf-8"
    )
    office = open_house(tmp_path).office
    assert str(office.join) == "new.example.org:9001"
    assert str(office.link) == "new.example.org:9002"


def test_founding_without_a_host_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from coordinator.cli.shell import run

    words = ["--home", str(tmp_path), "init", "--name", "Shops"]
    assert run(coordinator.cli.app.app, words, "coop-coordinator") == 2
    assert "--host" in capsys.readouterr().err
    assert not (tmp_path / "coop.json").exists()


def test_the_sample_house_rules_are_rules() -> None:
    text = (ROOT / "deploy" / "config" / "house_rules.toml").read_text(encoding="utf-8")
    assert house_rules.parse(text.encode(), "sample") == house_rules.NO_HOUSE_RULES
    switched_on = uncommented(text)
    rules = house_rules.parse(switched_on.encode(), "sample")
    assert rules.min_cohort == 8
    assert set(tomllib.loads(switched_on)) == set(house_rules.KEYS)


def test_the_sample_run_settings_fit_the_workload() -> None:
    raw = json.loads((ROOT / "deploy" / "config" / "run_settings.json").read_text())
    parsed = demand.parse_config({**demand.DEFAULTS, **raw})
    assert parsed.holdout_weeks == raw["holdout_weeks"]
    raw = json.loads((ROOT / "deploy" / "config" / "churn_settings.json").read_text())
    assert set(raw) == set(churn.WORKLOAD.free), "what an order fills in itself, and no more"
    churn.parse_config({**churn.DEFAULTS, **raw})


# ---------------------------------------------------------------------------------- systemd


UNITS = [("coop-node", node.config), ("coop-coordinator", coordinator.config)]


@pytest.mark.parametrize(("program", "config"), UNITS, ids=["node", "coordinator"])
def test_a_unit_starts_a_command_that_exists_with_little_power(program: str, config) -> None:
    unit = configparser.RawConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    text = (ROOT / "deploy" / "systemd" / f"{program}.service").read_text(encoding="utf-8")
    unit.read_string(text)
    service = unit["Service"]
    binary, *rest = shlex.split(service["ExecStart"])
    assert Path(binary).name == program
    parse([program, *rest], whole=True)
    state = f"/var/lib/{service['StateDirectory']}"
    assert f"Environment={config.ENV_PREFIX}HOME={state}\n" in text
    assert "FLWR_TELEMETRY_ENABLED=0" in text
    codes = {int(one) for one in service["RestartPreventExitStatus"].split()}
    assert codes <= {kind.exit_code for kind in TABLE.values()}
    assert 75 not in codes
    assert service["User"] == service["Group"] == program
    for key, value in {
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "CapabilityBoundingSet": "",
        "LimitCORE": "0",
        "UMask": "0077",
        "StateDirectoryMode": "0700",
    }.items():
        assert service[key] == value, key


# ------------------------------------------------------------------------------- containers


DOCKERFILES = sorted((ROOT / "deploy" / "docker").glob("Dockerfile.*"))


def instructions(file: Path) -> list[tuple[str, str]]:
    """Instruction and its words, continuation lines joined, comments left out."""
    lines = [
        line
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith("#")
    ]
    text = "\n".join(lines).replace("\\\n", " ")
    return [(head, rest) for head, _, rest in (one.partition(" ") for one in text.splitlines())]


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_a_container_is_built_from_what_is_here_with_hashes_and_without_root(file: Path) -> None:
    steps = instructions(file)
    room = file.suffix.removeprefix(".")
    copied: dict[str, str] = {}
    for head, rest in steps:
        if head == "COPY" and "--from=" not in rest:
            *sources, target = rest.split()
            for source in sources:
                assert (ROOT / source).exists(), f"{file.name}: COPY {source}"
                copied[target] = source
    assert copied[f"/tmp/{room}.txt"] == f"deploy/lock/{room}.txt"
    runs = [rest for head, rest in steps if head == "RUN"]
    for run in runs:
        if re.search(r"\s-r\s", run):
            assert "--require-hashes" in run, run
        elif "pip install" in run:
            assert "--no-index" in run or '"$TORCH"' in run, run
    assert any(f"--require-hashes -r /tmp/{room}.txt" in run for run in runs)
    assert any("torch" in run.lower() for run in runs) == (room == "node")
    heads = [head for head, _ in steps]
    users = [rest for head, rest in steps if head == "USER"]
    assert users == ["coop"]
    assert heads.index("USER") < heads.index("ENTRYPOINT")
    assert {"HEALTHCHECK", "VOLUME", "CMD"} <= set(heads)
    entry = json.loads(dict(steps)["ENTRYPOINT"]) + json.loads(dict(steps)["CMD"])
    parse(entry, whole=True)
    config = {"node": node.config, "coordinator": coordinator.config}[room]
    assert any(f"{config.ENV_PREFIX}HOME=/data" in rest for head, rest in steps if head == "ENV")
    for words in container_words(file):
        parse(words, whole=True)


def container_words(file: Path) -> Iterator[list[str]]:
    """The commands that the comments at the top of a Dockerfile show."""
    for line in file.read_text(encoding="utf-8").splitlines():
        found = re.match(
            r"#   docker (?:run|exec) .*?(?:datacoop-|office coop-|node coop-)(.*)", line
        )
        if found is not None:
            yield ["coop-" + found[1].split()[0], *shlex.split(found[1])[1:]]


def test_the_container_offers_the_ports_of_init() -> None:
    steps = instructions(ROOT / "deploy" / "docker" / "Dockerfile.coordinator")
    ports = [str(coordinator.cli.office.JOIN_PORT), str(coordinator.cli.office.LINK_PORT)]
    assert dict(steps)["EXPOSE"].split() == ports
    assert ", ".join(ports) in dict(steps)["HEALTHCHECK"]


def test_the_containers_python_is_supported() -> None:
    for file in DOCKERFILES:
        for head, rest in instructions(file):
            if head == "FROM":
                assert re.match(r"python:3\.1[12]-slim", rest)
