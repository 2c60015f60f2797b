"""Coverage-guided fuzzing of one target: ``python tests/fuzz/fuzz.py TARGET [libFuzzer options]``.

For example ``-max_total_time=600``. Stops with the input that fails; put it into
``tests/fuzz/found/TARGET/`` so that the tests keep it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from random import Random

import atheris

HERE = Path(__file__).resolve().parent
for _room in ("fuzz", "support", "simulator", "protocols"):
    sys.path.insert(0, str(HERE.parent / _room))
sys.path.insert(0, str(HERE.parent.parent))

with atheris.instrument_imports(include=["protocols", "node", "rfc8785", "yaml"]):
    from fuzz_targets import TARGETS, survives
from json_mutator import mutate  # noqa: E402 - after the path


def main() -> None:
    """Fuzz until the time is over or something fails."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        raise SystemExit(f"usage: fuzz.py TARGET [options]; targets: {', '.join(TARGETS)}")
    name = sys.argv.pop(1)
    target = TARGETS[name]

    def change(data: bytes, max_size: int, seed: int) -> bytes:
        random = Random(seed)
        made = mutate(data, random) if random.random() < 0.8 else None
        out = made if made is not None else atheris.Mutate(data, max_size)
        return bytes(out[:max_size])

    with tempfile.TemporaryDirectory() as corpus:
        kept = sorted((HERE / "found" / name).glob("*"))
        for at, seed in enumerate([*target.seeds(), *(one.read_bytes() for one in kept)]):
            (Path(corpus) / f"seed{at}").write_bytes(seed)
        words = [sys.argv[0], *sys.argv[1:], "-max_len=65536", "-timeout=20", corpus]
        extra = {"custom_mutator": change} if target.json else {}
        atheris.Setup(words, lambda data: survives(target, data), **extra)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
