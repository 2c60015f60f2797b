"""Set-up and the commands behind the Makefile, the same on Linux, macOS and Windows.

    python3 deploy/dev.py demo        (Windows: py -3.11 deploy\\dev.py demo)

Uses nothing but the standard library: it makes ``.venv``, installs the hash-pinned lock, then
torch in a step of its own, then this project, and runs the command in it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
LOCK = ROOT / "deploy" / "lock" / "all.txt"
STAMP = VENV / "datacoop-installed"
TORCH = "torch==2.13.0"
SOURCES = ("protocols", "node", "coordinator", "examples", "deploy", "tests")


def say(text: str) -> None:
    """One line for people, on stderr."""
    print(f"== {text}", file=sys.stderr, flush=True)


def run(*words: str | Path, **extra_env: str) -> None:
    """Run a command from the repository's root; stop with its exit code if it fails."""
    env = {**os.environ, **extra_env}
    env.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    env.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
    done = subprocess.run([str(word) for word in words], cwd=ROOT, env=env, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def wanted() -> str:
    """What an up-to-date ``.venv`` was made from."""
    parts = [LOCK.read_bytes(), (ROOT / "pyproject.toml").read_bytes(), TORCH.encode()]
    parts.append(".".join(map(str, sys.version_info[:2])).encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def setup() -> None:
    """Make ``.venv`` ready; does nothing when it is."""
    if sys.version_info[:2] not in {(3, 11), (3, 12)}:
        raise SystemExit("datacoop needs Python 3.11 or 3.12; name it, e.g. make PYTHON=python3.11")
    if STAMP.exists() and STAMP.read_text().strip() == wanted() and PYTHON.exists():
        return
    say("first use: installing into .venv (once, about a minute)")
    if VENV.exists():
        shutil.rmtree(VENV)
    venv.create(VENV, with_pip=True)
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    say("1/3 the hash-pinned packages")
    run(*pip, "--require-hashes", "-r", LOCK)
    say("2/3 torch (a step of its own: its wheel differs by platform)")
    index = os.environ.get("TORCH_INDEX_URL")
    run(*pip, *(["--index-url", index] if index else []), TORCH)
    say("3/3 datacoop")
    run(*pip, "--no-deps", "--no-build-isolation", "--editable", ".")
    STAMP.write_text(wanted() + "\n")


def compiled() -> None:
    """Compile our own packages once: hundreds of short processes start sooner for it."""
    run(PYTHON, "-m", "compileall", "-q", "protocols", "node", "coordinator", "examples")


def demo(rest: list[str]) -> None:
    """Real stores become a cooperative on this machine."""
    compiled()
    run(PYTHON, "-m", "examples.complete_journey.demo", *rest)


def test(rest: list[str]) -> None:
    """Every check: format, lint, types, import contracts, tests."""
    compiled()
    run(PYTHON, "-m", "ruff", "format", "--check", "--quiet", ".")
    run(PYTHON, "-m", "ruff", "check", "--quiet", ".")
    run(PYTHON, "-m", "mypy")
    run(BIN / "lint-imports", "--no-cache")
    run(PYTHON, "-m", "pytest", "-n", "2", "--dist", "loadfile", "-m", "not soak", *rest)


def soak(rest: list[str]) -> None:
    """The long checks; fuzzing takes FUZZ_MINUTES of them (60)."""
    run(PYTHON, "-m", "pytest", "-m", "soak", *rest)


def bench(rest: list[str]) -> None:
    """Every benchmark prints its table; or those that are named, with the options that follow."""
    scripts = {
        script.stem.removeprefix("bench_"): script
        for script in sorted((ROOT / "tests" / "benchmarks").glob("bench_*.py"))
    }
    options = next((at for at, word in enumerate(rest) if word.startswith("-")), len(rest))
    names, given = rest[:options] or [*scripts], rest[options:]
    if unknown := [name for name in names if name not in scripts]:
        raise SystemExit(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(scripts)}")
    for name in names:
        say(f"{scripts[name].name}")
        run(PYTHON, scripts[name], *given)


def fmt(rest: list[str]) -> None:
    """Format and fix what can be fixed."""
    run(PYTHON, "-m", "ruff", "format", *(rest or ["."]))
    run(PYTHON, "-m", "ruff", "check", "--fix", *(rest or ["."]))


def clean(_: list[str]) -> None:
    """Remove everything that this script or a demo made."""
    for name in (".venv", "demo-out", "build", "dist", ".pytest_cache", ".mypy_cache"):
        shutil.rmtree(ROOT / name, ignore_errors=True)
    shutil.rmtree(ROOT / ".ruff_cache", ignore_errors=True)
    for top in SOURCES:
        for cache in (ROOT / top).rglob("__pycache__"):
            shutil.rmtree(cache, ignore_errors=True)


COMMANDS = {
    "setup": lambda _: None,
    "demo": demo,
    "test": test,
    "soak": soak,
    "bench": bench,
    "bench-privacy": lambda rest: bench(["privacy", *rest]),
    "bench-secagg": lambda rest: bench(["secagg", *rest]),
    "bench-data": lambda rest: bench(["data", *rest]),
    "fmt": fmt,
}


def main() -> None:
    """Parse the command, make ``.venv`` ready, run it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("command", choices=[*COMMANDS, "clean"])
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    args = parser.parse_args()
    if args.command == "clean":
        clean(args.rest)
        return
    setup()
    COMMANDS[args.command](args.rest)


if __name__ == "__main__":
    main()
