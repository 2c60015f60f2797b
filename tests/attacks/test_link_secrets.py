"""Attacks 37, 38 and 42: wrong shares, poor keys, and secrets in files, logs and tracebacks.

The searches go over everything that was attacked in this process before, and over a run of
their own with refusals, a failed round and a restart in it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from attack_coop import ADVERTISE, AGREE, GENERIC, MASK, UNMASK, Coop, Scenario
from attack_search import Search, files_under
from attack_shop import Handle

from protocols import codec
from protocols.audit.entries import Kind
from protocols.secagg import masks as m
from protocols.secagg.messages import Advertisement, MaskedInput, OpenShare, Stage, UnmaskReply

ALL = {f"m{number}" for number in range(1, 8)}
LIAR = "m2"  # among the first four whose shares are put together, so that it shows


def meddler(coop: Coop, name: str, stage: Stage) -> None:
    """This colluder returns wrong shares of everybody's secrets."""
    shop = coop.shops[name]

    def meddle(envelope: bytes, handle: Handle) -> bytes:
        raw = handle(envelope)
        found = codec.peek_envelope(raw)
        if found.stage is not stage:
            return raw
        reply = codec.decode_reply(found.stage, found.body, shop.id)
        assert isinstance(reply, UnmaskReply)
        wrong = tuple(OpenShare(one.owner, bytes(len(one.share))) for one in reply.own_shares)
        return codec.seal(
            key=shop.key,
            sender=found.sender,
            run=found.run,
            round=found.round,
            attempt=found.attempt,
            stage=found.stage,
            agreement=found.agreement,
            body=codec.encode_message(replace(reply, own_shares=wrong)),
        )

    shop.meddle = meddle


@pytest.fixture(scope="module")
def attacked(coop: Coop) -> Scenario:
    """Refusals in every stage, wrong shares, and a member that starts again in the middle."""

    def gone(request: object, me: bytes) -> object:
        return replace(request, descriptor=replace(request.descriptor, model_hash=bytes(32)))  # type: ignore[attr-defined, type-var]

    def nobody(request: object, me: bytes) -> object:
        return replace(request, survivors=b"\0")  # type: ignore[type-var]

    def again(number: int, attempt: int, stage: Stage) -> None:
        if (number, stage) == (2, MASK) and not restarted:
            restarted.append(stage)
            coop.shops["m3"].restart()

    restarted: list[Stage] = []
    meddler(coop, LIAR, UNMASK)
    coop.malice.forget()
    coop.malice.lies = [coop.lie(ADVERTISE, gone), coop.lie(AGREE, nobody, ["m1"], round=1)]
    coop.malice.watch = again
    try:
        scenario = coop.launch(rounds=2)
        scenario.ended()
    finally:
        coop.shops[LIAR].meddle = None
        coop.malice.forget()
    return scenario


def test_37_wrong_shares_are_found_and_their_sender_is_named(
    coop: Coop, attacked: Scenario
) -> None:
    """Commitments tell the true shares from the false; the sums are right all the same."""
    assert attacked.ended() in ("released", "refused")
    assert attacked.rounds()[0] == ALL
    log = (coop.office.folder / "audit" / "log.jsonl").read_text(encoding="utf-8")
    blamed = [line for line in log.splitlines() if '"kind":"incident"' in line
              and attacked.run in line and coop.id(LIAR) in line]  # fmt: skip
    assert blamed and all("share" in line for line in blamed)


def advertised(coop: Coop) -> Iterator[Advertisement]:
    for one in coop.malice.said:
        reply = one.answer()
        if isinstance(reply, Advertisement):
            yield reply
        elif isinstance(reply, UnmaskReply) and reply.next_ad is not None:
            yield reply.next_ad


def balanced(values: list[bytes]) -> None:
    """Every bit is set in about half of the values: within six standard deviations."""
    bits = np.unpackbits(np.frombuffer(b"".join(values), dtype=np.uint8)).reshape(len(values), -1)
    off = np.abs(bits.mean(axis=0) - 0.5) * 2 * np.sqrt(len(values))
    assert off.max() < 6, off.argmax()


def test_38_keys_of_real_nodes_are_never_the_same_and_every_bit_counts(
    coop: Coop, attacked: Scenario
) -> None:
    ads = {one.encode(): one for one in advertised(coop)}.values()
    assert len(ads) >= 21
    for name in ("c_public", "s_public", "nonce", "commitment"):
        values = [getattr(one, name) for one in ads]
        assert len(set(values)) == len(values)
        if name in ("nonce", "commitment"):  # points are below 2^255 - 19
            balanced(values)
    drawn = sorted(one for one in coop.spy.drawn if len(one) == 32)
    balanced(drawn)


def test_38_ten_thousand_pairwise_seeds(coop: Coop, attacked: Scenario) -> None:
    """What two members hide from each other's view: 128 bits, all of them alive."""
    drawn = [one for one in sorted(coop.spy.drawn) if len(one) == 32]
    points = [m.mask_secret(one) for one in drawn[:143]]
    while len(points) < 143:  # a short session: go on from what nodes drew
        points.append(m.mask_secret(points[-1]))
    public = [m.public_of(one) for one in points]
    seeds = [
        m.mask_key(m.exchange(points[i], public[j]), bytes(32), bytes([i]) * 32, bytes([j]) * 32)
        for i, j in combinations(range(143), 2)
    ]
    assert len(seeds) > 10_000 and len(set(seeds)) == len(seeds)
    balanced(seeds)


def test_38_masked_vectors_of_one_member_have_nothing_in_common(
    coop: Coop, attacked: Scenario
) -> None:
    sent: dict[str, list[bytes]] = {}
    for one in attacked.said:
        reply = one.answer()
        if isinstance(reply, MaskedInput):
            sent.setdefault(one.member, []).append(reply.vector)
    for vectors in sent.values():
        for one, other in combinations(vectors, 2):
            length = min(len(one), len(other)) - 1
            mixed = np.frombuffer(one[:length], dtype=np.uint8) ^ np.frombuffer(
                other[:length], dtype=np.uint8
            )
            bits = np.unpackbits(mixed)
            assert abs(float(bits.mean()) - 0.5) * 2 * np.sqrt(bits.size) < 6


# ------------------------------------------------------------------------ what is kept


def test_42_the_search_finds_what_it_is_there_for() -> None:
    secret = bytes(range(100, 132))
    search = Search([secret])
    for form in (secret, secret.hex().encode(), base64.b64encode(secret),
                 base64.urlsafe_b64encode(b"x" + secret + b"yz")):  # fmt: skip
        for before in (b"", b"key=", b'{"k": "'):
            assert search.found_in(before + form + b"\n") == {secret}
    assert search.found_in(secret[:-1] + b"\0" * 40) == set()


def test_42_no_secret_is_in_a_members_files(coop: Coop, attacked: Scenario) -> None:
    """Keys of rounds, seeds and masks are drawn, used and dropped: no file holds one."""
    secrets = coop.spy.drawn | {shop.key.seed for shop in coop.shops.values()}
    search = Search(secrets)
    assert len(search.secrets) > 50
    for shop in coop.shops.values():
        for file in files_under(shop.folder, "keys"):
            assert search.found_in(file.read_bytes()) == set(), file.name


def test_42_no_secret_is_in_the_offices_files(coop: Coop, attacked: Scenario) -> None:
    """It keeps ciphertexts, masked vectors and opened shares, from which no key can be read."""
    public = {one.nonce for one in advertised(coop)}
    search = Search(coop.spy.drawn - public)
    for file in files_under(coop.office.folder, "keys", "ca", "operator"):
        assert search.found_in(file.read_bytes()) == set(), file.name


def test_42_no_secret_share_or_vector_is_in_a_log(coop: Coop, attacked: Scenario) -> None:
    """Journals, audit logs, what the processes said, and what libraries logged with tracebacks."""
    said = [*coop.office.lines.text, *coop.logged]
    for shop in coop.shops.values():
        said += shop.lines.text
    texts = ["".join(said).encode()]
    homes = [coop.office.folder, *(shop.folder for shop in coop.shops.values())]
    texts += [(home / "audit" / "log.jsonl").read_bytes() for home in homes]
    parts: set[bytes] = set(coop.spy.drawn)
    for one in coop.malice.said:
        reply = one.answer()
        if isinstance(reply, UnmaskReply):
            opened = (*reply.own_shares, *reply.seed_shares)
            parts |= {share.share[:32] for share in opened}
        elif isinstance(reply, MaskedInput):
            parts.add(reply.vector[:32])
    search = Search(part for part in parts if part.strip(b"\0"))
    for text in texts:
        assert search.found_in(text) == set()


def test_42_the_office_heard_one_sentence_from_whoever_refused(
    coop: Coop, attacked: Scenario
) -> None:
    """Reasons stay where they were written."""
    reasons = {
        str(one["note"])
        for shop in coop.shops.values()
        for one in shop.journal(Kind.REFUSAL)
        if "note" in one
    }
    assert reasons
    of_the_office = {"", "no answer in time", "not connected", "the coordinator is stopping"}
    assert {one.problem for one in coop.malice.said} - of_the_office == {GENERIC}
    office = "".join(coop.office.lines.text)
    assert not [one for one in reasons if one in office]
