"""How long a large audit log takes to verify and to prove something from, and how much memory.

    python -m tests.benchmarks.bench_audit [--entries 1000000]

Makes the coordinator's log of that many entries on disk, then, each in a process of its own so
that the memory is its own: hashes the file once (the yardstick), verifies every line against the
signed checkpoint, makes the index of subtree hashes, proves one release (a thousand times over the
log, medians), proves growth, makes a note with 1000 countersignatures and reads it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from coordinator.log.append import ROLE, AuditLog, Folder, verify_log
from protocols.audit.checkpoint import Checkpoint, origin_of, parse_checkpoint
from protocols.audit.cosign import cosign, merge, read_cosigned
from protocols.audit.entries import Kind
from protocols.audit.log import LogState
from protocols.audit.verify import check_inclusion, proof_bytes
from protocols.audit.writer import CHECKPOINT, RESUME
from protocols.signing import SigningKey, identity_of

KEY = SigningKey(b"\x05" * 32)
START = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
STEPS = ("sha256", "verify", "index", "inclusion", "growth", "cosigners")
PROOFS, COSIGNERS = 1000, 1000


def write_log(folder: Path, entries: int) -> int:
    """A log as a busy cooperative writes it: sums, with releases between; its bytes."""
    state = LogState(origin_of(ROLE, KEY.public))
    folder.mkdir(parents=True)
    with (folder / "log.jsonl").open("wb") as out:
        for number in range(entries):
            at = START + timedelta(seconds=number // 7, microseconds=number % 999_983)
            name = hashlib.sha256(number.to_bytes(8, "big")).hexdigest()
            if number % 101 == 100:
                facts: dict[str, object] = {"model": name, "card": name[::-1]}
                kind = Kind.RELEASE
            else:
                facts = {"run": name[:32], "round": number % 100, "survivors": 8}
                facts["transcript"], kind = name, Kind.SUM
            _, line, state = state.append(kind, facts, at)  # type: ignore[arg-type]
            out.write(line)
    _, note, record = state.sign(KEY)
    (folder / CHECKPOINT).write_bytes(note)
    (folder / RESUME).write_bytes(record)
    return state.length


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def sha256(folder: Path) -> float:
    def work() -> None:
        with (folder / "log.jsonl").open("rb") as log:
            hashlib.file_digest(log, "sha256")

    return timed(work)


def verify(folder: Path) -> float:
    return timed(lambda: verify_log(folder, KEY.public))


def index(folder: Path) -> float:
    """The first proof after the index was lost: one pass over the log."""
    (folder / ".hashes").unlink(missing_ok=True)
    log = AuditLog(folder, KEY, lambda: START)
    return timed(lambda: log.prove(0))


def inclusion(folder: Path) -> float:
    """Make and check one proof: the median over entries anywhere in the log."""
    log = AuditLog(folder, KEY, lambda: START)
    size, draw, took = log.head().size, random.Random(7), []
    for _ in range(PROOFS):
        wanted = draw.randrange(size)

        def work(wanted: int = wanted) -> None:
            note, proof = log.prove(wanted)
            head = parse_checkpoint(note, KEY.public, log.origin, "checkpoint")
            assert check_inclusion(proof_bytes(proof), head, "proof").seq == wanted

        took.append(timed(work))
    return statistics.median(took)


def growth(folder: Path) -> float:
    log = AuditLog(folder, KEY, lambda: START)
    size, draw = log.head().size, random.Random(8)
    return statistics.median(timed(lambda: log.growth(draw.randrange(size))) for _ in range(PROOFS))


def cosigners(folder: Path) -> float:
    """Read one note with the countersignatures of every member of a full cooperative."""
    note = (folder / CHECKPOINT).read_bytes()
    head: Checkpoint = parse_checkpoint(note, KEY.public, origin_of(ROLE, KEY.public), "checkpoint")
    keys = [SigningKey(number.to_bytes(32, "big")) for number in range(1, COSIGNERS + 1)]
    whole = merge(note, [cosign(head, one, 1_772_357_400) for one in keys], "note")
    members = {identity_of(one.public): one.public for one in keys}

    def work() -> None:
        found = read_cosigned(whole, KEY.public, head.origin, members, "note")
        assert len(found.times) == COSIGNERS

    return timed(work)


def measure(step: str, folder: Path) -> tuple[float, float]:
    """Seconds and peak MB of one step in a process of its own."""
    words = [sys.executable, "-m", "tests.benchmarks.bench_audit", "--step", step, str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    took, peak_mb = json.loads(done.stdout)
    return float(took), float(peak_mb)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        took = globals()[given.step[0]](Path(given.step[1]))
        print(json.dumps([took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "audit"
        size = write_log(folder, given.entries)
        found = {step: measure(step, folder) for step in STEPS}
        index_mb = Folder(folder).index_size() / 1e6
    plain = found["sha256"][0]
    print(f"{given.entries:,} entries, {size / 1e6:.0f} MB; index {index_mb:.0f} MB")
    print(f"{'':44}{'time':>12}{'x sha256':>10}{'peak MB':>9}")
    names = {
        "sha256": "one SHA-256 pass over the file",
        "verify": "verify the whole log",
        "index": "first proof, index made from the log",
        "inclusion": "inclusion proof, made and checked (median)",
        "growth": "consistency proof, made (median)",
        "cosigners": f"note with {COSIGNERS} countersignatures, read",
    }
    for step in STEPS:
        took, peak_mb = found[step]
        shown = f"{took:.2f} s" if took >= 0.1 else f"{took * 1e3:.2f} ms"
        print(f"{names[step]:44}{shown:>12}{took / plain:>10.2f}{peak_mb:>9.0f}")


if __name__ == "__main__":
    main()
