"""The use gate: which pulled model may be used here, now, for what; each use is counted.

Everything that shows a result goes through ``use_model``: commands, the SDK, later the console.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from node.federation import releases
from node.house import Member
from node.policy.evidence import Me, signed_version
from node.store.releases import Releases, ReleaseState, StoredRelease
from protocols import bundle
from protocols.agreement.facts import Denial, ReleaseFacts
from protocols.agreement.order import read_order
from protocols.agreement.terms import Retention
from protocols.canonical import Json, parse_json
from protocols.errors import Code, CoopError, InputError, LocalError
from protocols.ids import ModelId
from protocols.permit import Permit
from protocols.release import figures_of
from protocols.signing import jws_payload

OUTPUTS = ("metrics", "model")


@dataclass(frozen=True, slots=True)
class Usable:
    """A model that the gate lets this member use now.

    Args:
        model: its id.
        order: document of the order that it came from.
        card: document of its card.
        permit: for ``releases.parameters``; of the asked purpose.
        log_entry, log_size: where the release stands in the coordinator's log.
    """

    model: ModelId
    order: dict[str, Any]
    card: dict[str, Any]
    permit: Permit
    log_entry: int
    log_size: int
    parameters: bundle.Vector = field(repr=False)


def use_model(member: Member, workload: str, purpose: str = "") -> Usable | None:
    """The newest model of a workload that may be used now; None if none was ever pulled.

    A model that was revoked, has expired or is not for this purpose gives way to an older one.

    Args:
        member: who uses it.
        workload: id of a recipe.
        purpose: what for; that of the model's run if empty.

    Raises:
        Refused: no pulled model may be used; with the clauses that speak against the newest.
        LocalError: the files of a model are not complete.
    """
    drop_old(member)
    with member.database.read() as db:
        found = reversed(Releases(db).list(ReleaseState.USED))
    mine = [one for one in found if _workload(member, one) == workload]
    mine.sort(key=lambda one: bool(member.results.revoked(one.model)))  # asked last: sure to be no
    first: Denial | None = None
    for one in mine:
        answer = use_permit(member, one.model, purpose)
        if isinstance(answer, Permit):
            return _usable(member, ModelId(one.model), answer)
        first = first or answer
    if first is not None:
        raise first.refused()
    return None


def use_permit(member: Member, model: str, purpose: str = "") -> Permit | Denial:
    """The gate's answer about one use, which is counted before it is asked and given back if the
    answer is no."""
    before = member.results.count_use(model)
    try:
        answer = ask(member, model, purpose, uses_today=before)
    except CoopError:
        member.results.return_use(model)
        raise
    if isinstance(answer, Denial):
        member.results.return_use(model)
    return answer


def ask(
    member: Member, model: str, purpose: str = "", uses_today: int | None = None
) -> Permit | Denial:
    """The use gate's answer for a verified release that lies here; nothing is counted.

    Args:
        purpose: that of the release's run if empty.
        uses_today: without the one that is asked about; those on record if None.
    """
    files = _files(member, model)
    signed_card = parse_json(files[bundle.CARD_SIGNED], "release")
    signed_order = parse_json(files[bundle.ORDER], "order")
    order = read_order(jws_payload(signed_order, "order"), "order").order
    card = jws_payload(signed_card, "release")
    facts = member.results.facts(model, card)
    if facts is not None and uses_today is not None:
        facts = replace(facts, uses_today=uses_today)
    return member.gate.use(
        signed_card,
        signed_order,
        figures_of(order.workload, card["metrics"]),
        purpose=purpose or order.purpose,
        outputs=OUTPUTS,
        release=facts,
    )


def standing(member: Member, model: str, card: Json) -> tuple[str, ReleaseFacts | None]:
    """One word for people on where a kept release stands, without asking the gate; its terms."""
    facts = member.results.facts(model, card)
    if facts is None:
        return "no terms", None
    if facts.revoked:
        return "revoked", facts
    if member.home.clock() >= facts.expires:
        return "expired", facts
    return ("in use" if member.membership.member in facts.recipients else "not yours"), facts


def drop(member: Member, model: str) -> None:
    """Delete a pulled release from this node; it counts as offered from then on."""
    with member.database.read() as db:
        known = Releases(db).get(model)
    if known is None or known.state is ReleaseState.OFFERED:
        raise InputError("this release is not kept here.", code=Code.NOT_FOUND, where=model[:16])
    member.home.journal("removal", {"model": model})
    shutil.rmtree(member.home.models / model, ignore_errors=True)
    with member.database.write() as db:
        Releases(db).put(replace(known, state=ReleaseState.OFFERED))


def drop_old(member: Member) -> tuple[str, ...]:
    """Delete results that are kept longer than clause 28 of their agreement allows; their ids."""
    me, now = Me(member.membership.member, member.home.keys.identity.public), member.home.clock()
    with member.database.read() as db:
        kept = Releases(db).list(ReleaseState.USED, ReleaseState.PULLED)
        terms = {one.model: signed_version(db, _agreement(one), me) for one in kept}
    gone = []
    for one in kept:
        agreement = terms[one.model]
        block = agreement.terms.block("c28", Retention) if agreement is not None else None
        if block is not None and now - one.received_at > timedelta(days=block.models_days):
            drop(member, one.model)
            gone.append(one.model)
    return tuple(gone)


def _usable(member: Member, model: ModelId, permit: Permit) -> Usable:
    files = _files(member, model)
    proof = parse_json(files[bundle.PROOF], bundle.PROOF)
    return Usable(
        model=model,
        order=jws_payload(parse_json(files[bundle.ORDER], "order"), "order"),
        card=parse_json(files[bundle.CARD], bundle.CARD),
        permit=permit,
        log_entry=int(proof["index"]),
        log_size=int(proof["size"]),
        parameters=releases.parameters(member.home.models, model, permit, member.home.clock()),
    )


def _workload(member: Member, one: StoredRelease) -> str:
    order = jws_payload(parse_json(_files(member, one.model)[bundle.ORDER], "order"), "order")
    return str(order["workload"]["id"])


def _files(member: Member, model: str) -> Mapping[str, bytes]:
    files = releases.load_release(member.home.models / model)
    missing = [name for name in bundle.FIXED if name not in files]
    if missing:
        raise LocalError(
            f"the release in use lacks {missing[0]}.",
            where=model[:16],
            fix="Remove it and pull it again: coop-node models remove, coop-node models pull.",
        )
    return files


def _agreement(one: StoredRelease) -> str:
    card = jws_payload(parse_json(one.card, "release"), "release")
    return str(card.get("agreement"))
