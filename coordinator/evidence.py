"""Gather what the office can show into an evidence pack; it goes out by a command alone.

Only documents, hashes and figures are read: the office never had anything about a customer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from coordinator.members.agreements import AGREEMENT
from coordinator.members.life import ended
from coordinator.release.models import load_release
from coordinator.store.cosignatures import Cosignatures
from coordinator.store.documents import Document, Documents, Signatures
from coordinator.store.releases import Releases, ReleaseState, Revocations
from coordinator.wiring import ORDER, House
from protocols import bundle
from protocols.agreement.membership import NOTICE, SUCCESSION, TERMINATION
from protocols.agreement.roster import read_roster
from protocols.audit.verify import proof_bytes
from protocols.canonical import Json, parse_json
from protocols.errors import Code, InputError, LocalError
from protocols.pack.form import Contents, make_pack
from protocols.signing import jws_merge, jws_only, jws_payload

if TYPE_CHECKING:
    from sqlalchemy import Connection

INCIDENT, REVOCATION = "incident", "revocation"
MAX_REVOCATIONS = 10_000
SHOWN = (ReleaseState.PUBLISHED, ReleaseState.WITHDRAWN, ReleaseState.REVOKED)
_SIGNED_KINDS = (NOTICE, SUCCESSION, INCIDENT)  # documents that are kept with their signatures


def guide() -> bytes:
    """The page with the commands for strangers."""
    return files("protocols.agreement").joinpath("VERIFY.md").read_bytes()


def evidence(house: House, *, run: str = "", release: str = "") -> bytes:
    """The pack, as bytes: of everything, of one run or of one release (by first digits).

    Raises:
        InputError: none or several begin so.
    """
    whole = _whole(house)
    if release:
        return make_pack(_part(house, whole, _one(whole.releases, release, "release")))
    if run:
        runs = {jws_payload(one, ORDER)["run"]: one for one in whole.orders}
        name = _one(runs, run, "run")
        models = {model for model, found in whole.releases.items() if _run_of(found) == name}
        kept = {model: found for model, found in whole.releases.items() if model in models}
        return make_pack(
            replace(
                whole,
                scope={"run": name},
                orders=[runs[name]],
                releases=kept,
                log=None,
                proofs=_proofs(house, whole, {name, *models}),
            )
        )
    return make_pack(whole)


def _part(house: House, whole: Contents, model: str) -> Contents:
    """One release: its order, its files, and the entries that name it."""
    run = _run_of(whole.releases[model])
    return replace(
        whole,
        scope={"release": model},
        orders=[one for one in whole.orders if jws_payload(one, ORDER)["run"] == run],
        releases={model: whole.releases[model]},
        log=None,
        proofs=_proofs(house, whole, {run, model}),
    )


def _run_of(found: Mapping[str, bytes]) -> str:
    return str(parse_json(found[bundle.CARD], bundle.CARD)["run"])


def _one(known: Mapping[str, object], prefix: str, what: str) -> str:
    found = [one for one in known if one.startswith(prefix)]
    if len(found) != 1:
        raise InputError(
            f"{len(found)} of the office's {what}s begin with {prefix!r}.",
            where=f"--{what}",
            code=Code.NOT_FOUND,
        )
    return found[0]


def _whole(house: House) -> Contents:
    coop, chain = house.office.public.coop, house.agreements.roster_chain()
    if not chain:
        raise LocalError(
            "no list of members has been signed yet, so there is nothing to show.",
            code=Code.NOT_FOUND,
            fix="Propose an agreement and wait for the signatures: agreement status.",
        )
    keys: dict[str, bytes] = {}
    for one in chain:
        keys |= read_roster(jws_payload(one, "roster"), "roster").keys
    with house.database.read() as db:
        agreements = [_signed(db, one, keys) for one in Documents(db).list(AGREEMENT)]
        orders = [parse_json(one.body, ORDER) for one in Documents(db).list(ORDER)]
        shown = [one.model for one in Releases(db).list(*SHOWN)]
        documents = _statements(db, keys)
        notes = {one.note: None for one in Cosignatures(db).newest_of_each()}
    with house.log() as log:
        checkpoint = log.checkpoint()
        raw = (house.home / "audit" / "log.jsonl").read_bytes()
    return Contents(
        coop=coop,
        side="coordinator",
        made=house.clock(),
        software=version("datacoop"),
        agreements=[one for one in agreements if one is not None],
        rosters=chain,
        orders=orders,
        releases={model: load_release(house.releases / model) for model in shown},
        log=raw,
        checkpoint=checkpoint,
        heads=list(notes),
        documents=documents,
        guide=guide(),
    )


def _signed(db: Connection, document: Document, keys: Mapping[str, bytes]) -> Json | None:
    """A document with the signatures of members in the rosters; None if none of them signed."""
    parts = [parse_json(one.jws, document.kind) for one in Signatures(db).of(document.id)]
    return jws_only(jws_merge(*parts), keys) if parts else None


def _statements(db: Connection, keys: Mapping[str, bytes]) -> list[Json]:
    """Notices, successions, incidents, revocations; ends that enough members have signed."""
    said = [
        (kind, parse_json(one.body, kind))
        for kind in _SIGNED_KINDS
        for one in Documents(db).list(kind)
    ]
    found: list[Any] = [one for kind, one in said if _of_a_member(kind, one, keys)]
    revoked = Revocations(db).after(0, MAX_REVOCATIONS)
    found += [parse_json(one.jws, REVOCATION) for one in revoked]
    for one in Documents(db).list(TERMINATION):
        about = parse_json(one.body, TERMINATION).get("agreement")
        if ended(db, str(about)) == one.id:
            found.append(_signed(db, one, keys))
    return [one for one in found if one is not None]


def _of_a_member(kind: str, signed: Json, keys: Mapping[str, bytes]) -> bool:
    """Whether those who read the pack can know who says it: of somebody who is enrolled and
    stands in no list of members they cannot, and would have to refuse the whole pack."""
    document = jws_payload(signed, kind)
    who = {NOTICE: "member", SUCCESSION: "old"}.get(kind)
    return who is None or document.get(who) in keys


def _proofs(house: House, whole: Contents, names: set[str]) -> dict[int, bytes]:
    """Entries that name any of these, each with its proof under the pack's head."""
    lines = (whole.log or b"").splitlines(keepends=True)
    wanted = [at for at, line in enumerate(lines) if any(name.encode() in line for name in names)]
    with house.log() as log:
        return {at: proof_bytes(log.prove(at)[1]) for at in wanted}
