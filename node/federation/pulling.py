"""Releases on this node: fetched, verified, decided by the use gate, kept, listed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from node.federation import releases, using
from node.federation.channel import link_channel
from node.federation.link import Calls
from node.federation.opening import open_release
from node.federation.post import exchange
from node.federation.witness import silent, witness_of
from node.files import SCORES
from node.house import Member
from node.policy.evidence import Me, current_roster, signed_version
from node.store.documents import AcceptedRosters
from node.store.orders import Orders
from node.store.releases import Releases, ReleaseState, StoredRelease
from protocols import bundle, sealed
from protocols.agreement.facts import Denial
from protocols.agreement.order import read_order
from protocols.canonical import parse_json
from protocols.course import chart
from protocols.errors import Code, InputError
from protocols.evidence import Pins
from protocols.ids import AgreementId, ModelId, RosterId
from protocols.retrace import begin, follow
from protocols.signing import jws_payload


def pull_release(member: Member, prefix: str) -> tuple[ModelId, tuple[str, ...]]:
    """Fetch, open, verify, decide and keep a release; its id and the checks that passed.

    Raises:
        InputError: no such offer, or it does not open or verify; nothing is kept.
        Refused: it is not for this member, or the use gate says no.
        RemoteError: the coordinator does not answer.
    """
    exchange(member)
    using.drop_old(member)
    offered = one_release(member, prefix)
    card = jws_payload(parse_json(offered.card, "release"), "release")
    pins = _pins(member, str(card.get("agreement")), offered.run)
    with link_channel(member.home.folder) as channel:
        calls = Calls(channel)
        raw = calls.fetch("release", "", offered.model, sealed.MAX_SEALED_BYTES)
        opened = open_release(
            raw,
            ModelId(offered.model),
            member.membership.member,
            member.home.keys.encryption_key,
            member.membership.public.coordinator_key,
        )
        witness_of(member, silent).check_release(calls, opened.archive)
    findings = releases.receive(opened, pins, member.home.models, member.home.log)
    _decide(member, offered)
    with member.database.write() as db:
        used = StoredRelease(
            offered.model, offered.run, ReleaseState.USED, offered.card, offered.received_at
        )
        Releases(db).put(used)
    return findings.model, findings.lines()


def check_kept(member: Member, prefix: str) -> tuple[str, ...]:
    """Verify a release that is kept here, from its files alone."""
    stored = one_release(member, prefix)
    card = jws_payload(parse_json(stored.card, "release"), "release")
    pins = _pins(member, str(card.get("agreement")), stored.run)
    return releases.verify_release_dir(member.home.models / stored.model, pins)


def check_folder(member: Member, folder: Path) -> tuple[str, ...]:
    """Verify the release in any folder, from its files alone and what this node knows itself."""
    card = parse_json(releases.load_release(folder).get(bundle.CARD, b"{}"), bundle.CARD)
    pins = _pins(member, str(card.get("agreement")), str(card.get("run")))
    return releases.verify_release_dir(folder, pins)


def kept_models(member: Member) -> list[dict[str, Any]]:
    """Every release with its state, its card's means and this member's own figures."""
    with member.database.read() as db:
        found = Releases(db).list()
    out = []
    for one in found:
        card = jws_payload(parse_json(one.card, "release"), "release")
        stands, facts = using.standing(member, one.model, card)
        scores = member.home.run_folder(one.run) / SCORES
        out.append(
            {
                "model": one.model,
                "run": one.run,
                "state": one.state.value,
                "stands": stands if one.state is ReleaseState.USED else one.state.value,
                "expires": facts.expires.isoformat() if facts is not None else None,
                "purposes": sorted(facts.purposes) if facts is not None else [],
                "licence": facts.licence if facts is not None else None,
                "revoked": facts.revoked if facts is not None else "",
                "uses_today": facts.uses_today if facts is not None else None,
                "workload": card.get("workload", {}).get("id"),
                "privacy": card.get("privacy"),
                "metrics": card.get("metrics"),
                "own_scores": json.loads(scores.read_text()) if scores.exists() else {},
            }
        )
    return out


def one_release(member: Member, prefix: str) -> StoredRelease:
    """The release whose id begins so, the newest for an empty text; InputError otherwise."""
    with member.database.read() as db:
        found = [one for one in Releases(db).list() if one.model.startswith(prefix)]
    if not found:
        raise InputError(
            "no release has been offered to this node yet.",
            code=Code.NOT_FOUND,
            fix="It comes when a run has finished and beats the members' own forecasts.",
        )
    if prefix and len(found) > 1:
        raise InputError(f"{len(found)} releases begin with {prefix!r}.", where="model")
    return found[-1]


def _pins(member: Member, agreement: str, run: str) -> Pins:
    """What this node knows for itself: what it signed, accepted, and derived in the run.

    A node that did not follow the run pins no model: the checks derive it from the sums, and the
    finding says so.
    """
    me = Me(member.membership.member, member.home.keys.identity.public)
    with member.database.read() as db:
        signed = signed_version(db, agreement, me)
        accepted = [RosterId(one.roster) for one in AcceptedRosters(db).chain()]
    if signed is None:
        raise InputError(
            f"this release is under agreement {agreement[:16]}, which this node has not signed.",
            code=Code.REFUSED,
            where="c05",
            fix="Read and sign it first: coop-node agreement show. A version from before you"
            " joined cannot be signed any more; its results are not for you.",
        )
    if not accepted:
        raise InputError(
            "this node has not accepted a list of members yet.",
            code=Code.REFUSED,
            where="c01",
            fix="Let the node connect once, then pull again: coop-node start.",
        )
    return Pins(
        agreement=AgreementId(signed.id),
        roster=accepted[-1],
        coordinator_key=member.membership.public.coordinator_key,
        model=_derived(member, run),
        earlier=frozenset(accepted),
    )


def _derived(member: Member, run: str) -> ModelId | None:
    """The model that this node derived in the run, if it kept all training rounds."""
    me = Me(member.membership.member, member.home.keys.identity.public)
    with member.database.read() as db:
        stored = Orders(db).get(run)
        if stored is None:
            return None
        order = read_order(jws_payload(parse_json(stored.jws, "order"), "order"), "order")
        signed = signed_version(db, order.order.agreement, me)
        roster = current_roster(db, signed) if signed is not None else None
    if signed is None or roster is None or roster.id != order.order.roster:
        return None
    trace = begin(chart(order, signed.terms, roster))
    folder = member.home.run_folder(run) / "rounds"
    key = member.membership.public.coordinator_key
    while (file := folder / f"{trace.number + 1:04d}.bin").exists():
        trace = follow(trace, file.read_bytes(), key, str(file))
    return trace.model if trace.number >= trace.course.training_rounds else None


def _decide(member: Member, offered: StoredRelease) -> None:
    """Ask whether it may be used at all; pulling is no use and is not counted as one.

    What may not be used is not kept either: clause 28 counts what is kept as pulled.
    """
    answer = using.ask(member, offered.model)
    if isinstance(answer, Denial):
        member.home.journal("removal", {"model": offered.model})
        shutil.rmtree(member.home.models / offered.model, ignore_errors=True)
        with member.database.write() as db:
            refused = StoredRelease(
                offered.model, offered.run, ReleaseState.REFUSED, offered.card, offered.received_at
            )
            Releases(db).put(refused)
        raise answer.refused()
