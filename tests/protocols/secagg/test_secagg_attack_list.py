"""Every attack of the design's list has a test by direct calls, named after its number."""

from __future__ import annotations

import ast
from pathlib import Path

ATTACKS = {
    1: "threshold 1",
    2: "quorum too small",
    3: "smallest cohort of 2",
    4: "no colluders",
    5: "modulus can wrap",
    6: "noise below the policy",
    7: "degree below the policy",
    8: "wrong model",
    9: "another descriptor for each member",
    10: "wrong task",
    11: "another roster epoch",
    12: "an invented member",
    13: "key substitution",
    14: "duplicated, reflected, own and low-order keys",
    15: "inconsistent U1",
    16: "U1 and U2 consistent for the victim only",
    17: "isolated victim",
    18: "tampered shares",
    19: "withheld ciphertexts",
    20: "shares of another round or pair",
    21: "U2 too small",
    22: "the victim alone survives",
    23: "U3 without the receiver",
    24: "split view of U3",
    25: "split view with equivocating colluders",
    26: "forged certificate",
    27: "too few signatures",
    28: "signatures of another round or of strangers",
    29: "a second masked vector under the same keys",
    30: "a second unmasking, both shares",
    31: "a replayed descriptor",
    32: "a second A3 for a spent round",
    33: "a cohort that differs by one member",
    34: "a late vector stays masked",
    35: "stages out of order",
    36: "malformed messages",
    37: "a wrong share is found and blamed",
    38: "entropy of the seeds",
    39: "malformed bitmaps",
    40: "abuse of time limits",
    41: "members that were removed",
    42: "nothing secret is printed",
    43: "a certificate for a part, then a new attempt",
    44: "a model that does not follow",
    45: "two sums of one round",
    46: "survivors that differ by one too often",
    47: "two log roots",
    48: "a sum that is not the sum, certificates that are none",
}
FOLDER = Path(__file__).parents[1]


def numbered() -> dict[int, list[str]]:
    """Attack number -> tests whose name begins with it."""
    found: dict[int, list[str]] = {}
    for file in sorted(FOLDER.rglob("test_*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                continue
            if node.name[5:7].isdigit():
                number = int(node.name[5:7])
                found.setdefault(number, []).append(f"{file.stem}.{node.name}")
    return found


def test_every_attack_has_a_test() -> None:
    found = numbered()
    for number, attack in ATTACKS.items():
        print(f"{number:2} {attack}: {', '.join(found.get(number, ['NO TEST']))}")
    missing = [number for number in ATTACKS if number not in found]
    assert not missing, f"attacks without a test: {missing}"
    assert set(found) <= set(ATTACKS), "a test is named after an attack that is not on the list"
    assert list(ATTACKS) == list(range(1, 49))
