"""VERIFY.md: every command in it runs, on a real pack, and shows what it says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from test_pack import contents

from protocols.pack.form import make_pack, unpack
from small_coop import COORDINATOR, IDS, MEMBERS

PAGE = Path(__file__).resolve().parents[3] / "protocols" / "agreement" / "VERIFY.md"
BLOCKS = re.findall(
    r"^```sh\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
)
VERIFIED = "Signature Verified Successfully"


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    for name, content in unpack(make_pack(contents()), "pack").items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path


def run(block: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """One block of the page, as it stands there, with the python that runs the tests first."""
    bin_folder = str(Path(sys.executable).parent)
    (agreement,) = (folder / "agreements").glob("*.jws")
    env = {
        "PATH": os.pathsep.join([bin_folder, os.environ["PATH"]]),
        "AGREEMENT": str(agreement),
        "ROSTER": str(folder / "rosters" / "0002.jws"),
        "MEMBER": "",
        "LOGKEY": COORDINATOR.public.hex(),
        **variables,
    }
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )


def done(block: str, folder: Path, **variables: str) -> str:
    found = run(block, folder, **variables)
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_the_page_needs_tools_that_are_here() -> None:
    for tool in ("bash", "openssl", "sha256sum", "base64", "python3"):
        assert shutil.which(tool), f"{tool} is needed to check VERIFY.md"
    assert len(BLOCKS) == 7


def test_all_commands_of_the_page_run_and_say_what_they_promise(pack: Path) -> None:
    files, name, one, ids, library, head, root = BLOCKS
    assert "all files are as the manifest says" in done(files, pack)
    (agreement,) = (path.stem for path in (pack / "agreements").glob("*.jws"))
    assert done(name, pack).split()[0].startswith(agreement.partition("-")[2])
    found = done(one, pack, MEMBER=IDS[2])
    assert VERIFIED in found and MEMBERS[2].public.hex() in found
    assert done(ids, pack).split() == [IDS[2], IDS[2]]
    assert "6 of 6 members have signed" in done(library, pack)
    found = done(head, pack)
    assert VERIFIED in found and "has 4 entries" in found
    computed, said = done(root, pack).split()
    assert computed == said


def test_the_line_with_jq_gives_the_same_bytes(pack: Path) -> None:
    (line,) = re.findall(r"`(jq [^`]*)`", PAGE.read_text(encoding="utf-8"))
    if shutil.which("jq") is None:  # the page gives the Python line as the one to use
        read = "import json, sys; print(json.load(open(sys.argv[1]))['payload'], end='')"
        line = line.replace("jq -j .payload", f'python3 -c "{read}"')
    found = run(f"{line} > jq.json || true; {BLOCKS[1]}", pack)
    assert found.returncode == 0, found.stderr
    assert (pack / "jq.json").read_bytes() == (pack / "agreement.json").read_bytes()


def test_a_forged_signature_fails_with_the_same_commands(pack: Path) -> None:
    (path,) = (pack / "agreements").glob("*.jws")
    raw = path.read_text()
    at = raw.index('"signature":"') + len('"signature":"') + 5
    path.write_text(raw[:at] + ("A" if raw[at] != "A" else "B") + raw[at + 1 :])
    assert run(BLOCKS[0], pack).returncode != 0, "the manifest"
    assert run(BLOCKS[4], pack).returncode != 0, "the library"
    found = run(BLOCKS[2], pack, MEMBER="")
    assert found.returncode != 0 or VERIFIED not in found.stdout


def test_another_key_or_a_changed_log_is_seen(pack: Path) -> None:
    assert run(BLOCKS[5], pack, LOGKEY="ab" * 32).returncode != 0
    log = pack / "log" / "log.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"kind":"stop"', b'"kind":"runs"'))
    computed, said = done(BLOCKS[6], pack).split()
    assert computed != said
