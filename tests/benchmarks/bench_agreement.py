"""Time of decisions, reading, checking and signatures on this machine, beside the goals.

Example: python tests/benchmarks/bench_agreement.py
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
for _folder in (ROOT, ROOT / "tests" / "support", ROOT / "tests" / "protocols" / "agreement"):
    sys.path.insert(0, str(_folder))

from agreement_world import (  # noqa: E402 - after the path
    AGREEMENT,
    IDS,
    NOW,
    ROSTER,
    facts,
    request,
    roster,
)

from protocols.agreement.check import check  # noqa: E402
from protocols.agreement.decide import decide  # noqa: E402
from protocols.agreement.facts import LedgerFacts  # noqa: E402
from protocols.agreement.odrl import from_odrl, odrl_bytes, to_odrl  # noqa: E402
from protocols.agreement.parse import parse_agreement  # noqa: E402
from protocols.agreement.render import page  # noqa: E402
from protocols.canonical import json_bytes  # noqa: E402
from protocols.permit import Gate, Permit  # noqa: E402
from protocols.signing import (  # noqa: E402
    SigningKey,
    identity_of,
    jws_merge,
    jws_payload,
    jws_sign,
    jws_verify,
)

LEDGER = 10_000
PARTIES = 200
DECIDE_GOAL_MS, SIGN_GOAL_MS = 1.0, 2000.0


def median_ms(work: Callable[[], object], times: int) -> float:
    """The median of some runs, milliseconds; the first one, which fills caches, does not count."""
    work()
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return 1000 * statistics.median(found)


def line(what: str, found_ms: float, goal_ms: float | None = None) -> None:
    """One row of the table."""
    goal = "" if goal_ms is None else f"   goal {goal_ms:7.1f} ms   {_word(found_ms < goal_ms)}"
    print(f"{what:<62} {found_ms:9.3f} ms{goal}")


def _word(met: bool) -> str:
    return "met" if met else "MISSED"


def decisions() -> None:
    """Every gate over an agreement with all clauses, and a ledger of many earlier runs.

    The cohorts of the ledger alternate between all members and all but one, as they do when one
    member is often away: each pair is compared.
    """
    some = frozenset(IDS[1:])
    earlier = tuple(frozenset(IDS) if at % 2 else some for at in range(LEDGER))
    clauses = len(AGREEMENT.agreement.clauses)
    for gate in Gate:
        asked = request(gate)
        plain = facts(gate)
        full = replace(plain, ledger=LedgerFacts(0, earlier))
        answer = decide(AGREEMENT.terms, asked, plain)
        if not isinstance(answer, Permit):
            raise SystemExit(f"the honest {gate} is denied: {answer.reasons}")
        name = f"decide  {gate.value:<8} {clauses} clauses, ledger of {LEDGER:,} runs"
        found = median_ms(lambda a=asked, f=full: decide(AGREEMENT.terms, a, f), 300)
        line(name, found, DECIDE_GOAL_MS)


def reading() -> None:
    """One agreement: from bytes, through the checker, to people and to other tools."""
    raw = json_bytes(AGREEMENT.document)
    line(f"parse   {len(raw):,} bytes", median_ms(lambda: parse_agreement(raw, "bench"), 50))
    agreement, terms = AGREEMENT.agreement, AGREEMENT.terms
    line("check   all rules of the checker", median_ms(lambda: check(agreement, terms, NOW), 50))
    line("page    for people", median_ms(lambda: page(AGREEMENT), 50))
    exported = odrl_bytes(to_odrl(AGREEMENT, ROSTER))
    line("ODRL    export", median_ms(lambda: odrl_bytes(to_odrl(AGREEMENT, ROSTER)), 20))
    line(
        "ODRL    import, every statement derived again",
        median_ms(lambda: from_odrl(exported, "x"), 20),
    )


def signatures() -> None:
    """All parties sign one agreement; somebody merges and checks them all."""
    keys = [SigningKey(number.to_bytes(32, "big")) for number in range(1, PARTIES + 1)]
    known = {identity_of(key.public): key.public for key in keys}
    document = AGREEMENT.document
    start = time.perf_counter()
    parts = [jws_sign(document, identity_of(key.public), key) for key in keys]
    signed = time.perf_counter()
    merged = jws_merge(*parts)
    jws_verify(merged, known, "bench")
    jws_payload(merged, "bench")
    done = time.perf_counter()
    line(f"sign    by {PARTIES} parties", 1000 * (signed - start))
    line(f"check   {PARTIES} signatures", 1000 * (done - signed))
    line(f"both    {PARTIES} parties", 1000 * (done - start), SIGN_GOAL_MS)
    line(f"roster  of {len(keys)} members made", median_ms(lambda: roster(keys), 5))


if __name__ == "__main__":
    decisions()
    reading()
    signatures()
