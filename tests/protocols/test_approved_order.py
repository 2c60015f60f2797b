"""A run that clause 5 wants approved: its order carries two signatures, also in the release."""

from __future__ import annotations

from typing import Any

import pytest

from coordinator.release.models import Source, make_release
from protocols import bundle
from protocols.agreement.second import approver_kid
from protocols.canonical import json_bytes
from protocols.errors import InputError
from protocols.evidence import verify_release
from protocols.signing import SigningKey, jws_merge, jws_sign
from small_coop import COORDINATOR, NOW, OPERATOR, Coop, coop, finished, office_log

APPROVER = SigningKey(b"\x51" * 32)
KID = approver_kid(APPROVER.public.hex())


@pytest.fixture(scope="module")
def run() -> tuple[Coop, list[bytes]]:
    found = coop(approver_keys=[APPROVER.public.hex()], two_person=["launch"])
    made, played = finished(found=found)
    return made, list(played.records)


def source(found: Coop, records: list[bytes], *keys: tuple[str, SigningKey]) -> Source:
    one = found.source(records)
    parts = [jws_sign(found.order.document, kid, key) for kid, key in keys]
    return Source(one.agreement, one.rosters, jws_merge(parts[0], *parts[1:]), records)


BOTH = (("operator", OPERATOR), (KID, APPROVER))


def test_a_release_carries_and_shows_both_signatures(run: tuple[Coop, list[bytes]]) -> None:
    found, records = run
    made = make_release(source(found, records, *BOTH), COORDINATOR, office_log(), NOW)
    lines = verify_release(made.files, found.pins).lines()
    assert any(f"signed by operator, {KID}" in line for line in lines)


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ((BOTH[0],), "signature of an approver"),
        ((BOTH[1],), "signature of the operator"),
        ((BOTH[0], (KID, SigningKey(b"\x52" * 32))), "does not verify"),
        ((BOTH[0], ("approver:0000000000000000", APPROVER)), "not a party"),
    ],
)
def test_nothing_is_released_without_them(
    run: tuple[Coop, list[bytes]], keys: Any, problem: str
) -> None:
    found, records = run
    log = office_log()
    with pytest.raises(InputError, match=problem):
        make_release(source(found, records, *keys), COORDINATOR, log, NOW)
    made = make_release(source(found, records, *BOTH), COORDINATOR, log, NOW)
    forged = {**made.files, bundle.ORDER: json_bytes(source(found, records, *keys).order)}
    with pytest.raises(InputError, match=problem):
        verify_release(forged, found.pins)
