"""Every reader of foreign bytes, for some seconds: seeds, inputs that failed once, mutations.

``make soak`` runs the same targets for an hour with coverage to guide them.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from fuzz_targets import TARGETS, survives
from json_mutator import mutate

from protocols.errors import CoopError

FOUND = Path(__file__).parent / "found"


@pytest.mark.parametrize("name", TARGETS)
def test_good_bytes_are_read(name: str) -> None:
    """Seeds go all the way through: a target that refuses everything tests nothing."""
    target = TARGETS[name]
    seeds = target.seeds()
    assert seeds
    passed = 0
    for seed in seeds:
        try:
            target.run(seed)
        except CoopError:
            continue
        passed += 1
    assert passed or name in {"proof"}, "the seed's proof is under another head"


@pytest.mark.parametrize("path", sorted(FOUND.glob("*/*")), ids=lambda path: path.name)
def test_what_failed_once_does_not_fail_again(path: Path) -> None:
    survives(TARGETS[path.parent.name], path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_end_in_our_errors_alone(name: str) -> None:
    target, random = TARGETS[name], Random(f"datacoop {name}")
    seeds = list(target.seeds())
    for _ in range(target.tries):
        data = random.choice(seeds)
        made = mutate(data, random) if target.json and random.random() < 0.7 else None
        survives(target, made if made is not None else damaged(data, random))


def damaged(data: bytes, random: Random) -> bytes:
    """Bytes cut, doubled, exchanged or flipped."""
    out = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8))):
        if not out:
            return bytes([random.randrange(256)])
        at = random.randrange(len(out))
        step = random.randrange(5)
        if step == 0:
            out[at] ^= 1 << random.randrange(8)
        elif step == 1:
            del out[at : at + random.choice((1, 4, 32))]
        elif step == 2:
            out[at:at] = out[at : at + random.choice((1, 4, 32))]
        elif step == 3:
            out[at] = random.choice(b'\x00\xff"{}[],:\n0-')
        else:
            del out[at:]
    return bytes(out)


def test_an_error_of_another_kind_would_be_noticed() -> None:
    from fuzz_targets import Target

    def crash(data: bytes) -> None:
        raise KeyError(data)

    with pytest.raises(KeyError):
        survives(Target(crash, lambda: [b""]), b"")
