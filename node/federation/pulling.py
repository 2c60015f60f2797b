"""Releases on this node: fetched, verified, decided by the use gate, kept, listed."""

from __future__ import annotations

import json
from typing import Any

from node.federation import releases
from node.federation.channel import link_channel
from node.federation.link import Calls
from node.federation.post import exchange
from node.files import SCORES
from node.house import Member
from node.policy.evidence import Me, current_roster, signed_version
from node.store.documents import AcceptedRosters
from node.store.orders import Orders
from node.store.releases import Releases, ReleaseState, StoredRelease
from protocols import bundle
from protocols.agreement.facts import Denial
from protocols.agreement.order import read_order
from protocols.canonical import parse_json
from protocols.course import chart
from protocols.errors import Code, InputError, LocalError, RemoteError
from protocols.evidence import Pins
from protocols.ids import AgreementId, ModelId, RosterId, model_id
from protocols.permit import Permit
from protocols.release import figures_of
from protocols.retrace import begin, follow
from protocols.signing import jws_payload

OUTPUTS = ("metrics", "model")


def pull_release(member: Member, prefix: str) -> tuple[ModelId, tuple[str, ...]]:
    """Fetch, verify, decide and keep a release; its id and the checks that passed.

    Raises:
        InputError: no such offer, or it does not verify; nothing is kept.
        Refused: the use gate says no.
        RemoteError: the coordinator does not answer.
    """
    exchange(member)
    offered = _find(member, prefix)
    card = jws_payload(parse_json(offered.card, "release"), "release")
    pins = _pins(member, str(card.get("agreement")), ModelId(offered.model), offered.run)
    with link_channel(member.home.folder) as channel:
        raw = Calls(channel).fetch("release", "", offered.model, bundle.MAX_BUNDLE_BYTES)
    findings = releases.receive(raw, pins, member.home.models, member.home.log)
    if findings.model != offered.model:
        raise RemoteError("another release than the one that was asked for came.", peer="office")
    _decide(member, offered)
    with member.database.write() as db:
        used = StoredRelease(
            offered.model, offered.run, ReleaseState.USED, offered.card, offered.received_at
        )
        Releases(db).put(used)
    return findings.model, findings.lines()


def check_kept(member: Member, prefix: str) -> tuple[str, ...]:
    """Verify a release that is kept here, from its files alone."""
    stored = _find(member, prefix)
    card = jws_payload(parse_json(stored.card, "release"), "release")
    pins = _pins(member, str(card.get("agreement")), ModelId(stored.model), stored.run)
    return releases.verify_release_dir(member.home.models / stored.model, pins)


def kept_models(member: Member) -> list[dict[str, Any]]:
    """Every release with its state, its card's means and this member's own figures."""
    with member.database.read() as db:
        found = Releases(db).list()
    out = []
    for one in found:
        card = jws_payload(parse_json(one.card, "release"), "release")
        scores = member.home.run_folder(one.run) / SCORES
        out.append(
            {
                "model": one.model,
                "run": one.run,
                "state": one.state.value,
                "workload": card.get("workload", {}).get("id"),
                "privacy": card.get("privacy"),
                "metrics": card.get("metrics"),
                "own_scores": json.loads(scores.read_text()) if scores.exists() else {},
            }
        )
    return out


def _find(member: Member, prefix: str) -> StoredRelease:
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


def _pins(member: Member, agreement: str, model: ModelId, run: str) -> Pins:
    """What this node knows for itself: what it signed, accepted, and derived in the run."""
    me = Me(member.membership.member, member.home.keys.identity.public)
    with member.database.read() as db:
        signed = signed_version(db, agreement, me)
        roster = current_roster(db, signed) if signed is not None else None
        accepted = frozenset(RosterId(one.roster) for one in AcceptedRosters(db).chain())
    if signed is None or roster is None:
        raise InputError(
            "this release is under an agreement that this node has not signed.",
            code=Code.REFUSED,
            where="c05",
            fix="Read and sign it first: coop-node agreement show.",
        )
    derived = _derived(member, run)
    return Pins(
        agreement=AgreementId(signed.id),
        roster=RosterId(roster.id),
        coordinator_key=member.membership.public.coordinator_key,
        model=derived if derived is not None else model_id(model),
        earlier=accepted,
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


def use_permit(member: Member, model: ModelId) -> Permit:
    """Ask the use gate again about a release that is in use: agreements end, rules change.

    Raises:
        Refused: the agreement or the house rules do not allow it today.
    """
    answer = _ask(member, model)
    if isinstance(answer, Denial):
        raise answer.refused()
    return answer


def _ask(member: Member, model: str) -> Permit | Denial:
    """The use gate's answer for a verified release that lies here, for the purpose of its run."""
    files = releases.load_release(member.home.models / model)
    signed_card = parse_json(files[bundle.CARD_SIGNED], "release")
    signed_order = parse_json(files[bundle.ORDER], "order")
    order = read_order(jws_payload(signed_order, "order"), "order").order
    card = jws_payload(signed_card, "release")
    return member.gate.use(
        signed_card,
        signed_order,
        figures_of(order.workload, card["metrics"]),
        purpose=order.purpose,
        outputs=OUTPUTS,
    )


def _decide(member: Member, offered: StoredRelease) -> None:
    answer = _ask(member, offered.model)
    if isinstance(answer, Denial):
        with member.database.write() as db:
            refused = StoredRelease(
                offered.model, offered.run, ReleaseState.REFUSED, offered.card, offered.received_at
            )
            Releases(db).put(refused)
        raise answer.refused()


def used_model(member: Member, workload: str) -> tuple[ModelId, dict[str, Any]] | None:
    """The newest release in use of a workload (its id) and its order's document, or None."""
    with member.database.read() as db:
        found = Releases(db).list(ReleaseState.USED)
    for one in reversed(found):
        files = releases.load_release(member.home.models / one.model)
        if bundle.ORDER not in files:
            raise LocalError("the release in use is not complete.", where=one.model[:16])
        order = jws_payload(parse_json(files[bundle.ORDER], "order"), "order")
        if order["workload"]["id"] == workload:
            return ModelId(one.model), order
    return None
