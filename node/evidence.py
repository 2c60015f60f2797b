"""Gather what this node can show into an evidence pack; it goes out by a command alone.

Documents, hashes and figures. Rows, customers' keys, the consent ledger and customers' requests
are not read for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from node.federation.releases import load_release
from node.house import Member
from node.policy.agreements import AGREEMENT
from node.policy.evidence import Me, signed_version
from node.policy.results import card_signers
from node.store.documents import AcceptedRosters, Documents, Signatures, SignedAgreements
from node.store.incidents import Incidents
from node.store.life import Notices, Terminations
from node.store.orders import Orders, OrderState
from node.store.releases import Releases, Revocations
from protocols import bundle
from protocols.agreement.membership import verify_termination
from protocols.agreement.parse import parse_agreement
from protocols.agreement.roster import ParsedRoster, read_roster
from protocols.agreement.terms import Governance
from protocols.audit.checkpoint import bare_note, origin_of
from protocols.audit.cosign import read_cosigned
from protocols.audit.verify import proof_bytes
from protocols.canonical import Json, parse_json
from protocols.errors import Code, InputError, Refused
from protocols.ids import MemberId
from protocols.pack.form import Contents, make_pack
from protocols.signing import jws_merge, jws_only, jws_payload, jws_verify

if TYPE_CHECKING:
    from sqlalchemy import Connection

ORDER, CARD = "order", "card"


def guide() -> bytes:
    """The page with the commands for strangers."""
    return files("protocols.agreement").joinpath("VERIFY.md").read_bytes()


def evidence(member: Member, *, run: str = "", release: str = "") -> bytes:
    """The pack, as bytes: of everything, of one run or of one release (by first digits).

    Raises:
        InputError: none or several begin so.
    """
    whole = _whole(member)
    if not run and not release:
        return make_pack(whole)
    runs = {jws_payload(one, ORDER)["run"]: one for one in whole.orders}
    with member.database.read() as db:
        every = {one.run: one.state for one in Orders(db).list()}
    models = {name: _run_of(found) for name, found in whole.releases.items()}
    models |= {c["model"]: c["run"] for c in (jws_payload(one, CARD) for one in whole.cards)}
    if release:
        model = _one(models, release, "release")
        name, scope, kept = str(models[model]), {"release": model}, {model}
    else:
        name = _one(every, run, "run")
        scope, kept = {"run": name}, {model for model, of in models.items() if of == name}
    return make_pack(
        replace(
            whole,
            scope=scope,
            orders=[runs[name]] if name in runs else [],
            releases={one: found for one, found in whole.releases.items() if one in kept},
            cards=[one for one in whole.cards if jws_payload(one, CARD)["model"] in kept],
            log=None,
            proofs=_proofs(member, whole, {name, *kept}),
        )
    )


def _run_of(found: Mapping[str, bytes]) -> str:
    return str(parse_json(found[bundle.CARD], bundle.CARD)["run"])


def _one(known: Mapping[str, object], prefix: str, what: str) -> str:
    found = [one for one in known if one.startswith(prefix)]
    if len(found) != 1:
        raise InputError(
            f"{len(found)} of this node's {what}s begin with {prefix!r}.",
            where=f"--{what}",
            code=Code.NOT_FOUND,
        )
    return found[0]


def _whole(member: Member) -> Contents:
    with member.database.read() as db:
        chain = [parse_json(one.jws, "roster") for one in AcceptedRosters(db).chain()]
        if not chain:
            raise Refused(
                "this node has not accepted a list of members yet, so there is nothing to show.",
                clauses=("c01",),
                fix="Let the node connect once: coop-node start.",
            )
        rosters = [read_roster(jws_payload(one, "roster"), "roster") for one in chain]
        keys: dict[str, bytes] = {}
        for epoch in rosters:
            keys |= epoch.keys
        agreements = _agreements(db, keys)
        mine = {one.agreement for one in SignedAgreements(db).list()}
        # an order that the gate refused may be anything; the log says that it was refused
        taken = [one for one in Orders(db).list() if one.state is not OrderState.REFUSED]
        orders = [parse_json(one.jws, ORDER) for one in taken]
        offered = [parse_json(one.card, CARD) for one in Releases(db).list()]
        cards = [one for one in offered if _card_holds(db, one, member)]
        documents = _statements(db, rosters)
    orders = [one for one in orders if jws_payload(one, ORDER)["agreement"] in mine]
    releases = _releases(member, {str(jws_payload(one, CARD)["model"]) for one in offered})
    checkpoint = member.home.log.checkpoint()
    raw = (member.home.folder / "audit" / "log.jsonl").read_bytes()
    return Contents(
        coop=member.membership.public.coop,
        side="node",
        made=member.home.clock(),
        software=version("datacoop"),
        agreements=agreements,
        rosters=chain,
        orders=orders,
        cards=[one for one in cards if jws_payload(one, CARD)["model"] not in releases],
        releases=releases,
        log=raw,
        checkpoint=checkpoint,
        heads=_heads(member, keys),
        documents=documents,
        guide=guide(),
    )


def _card_holds(db: Connection, signed: Json, member: Member) -> bool:
    """Whether a card that came as a letter is one that readers of the pack can verify."""
    agreement = str(jws_payload(signed, CARD).get("agreement"))
    me = Me(member.membership.member, member.home.keys.identity.public)
    terms = signed_version(db, agreement, me)
    try:
        return terms is not None and bool(card_signers(signed, terms))
    except InputError:
        return False


def _agreements(db: Connection, keys: Mapping[str, bytes]) -> list[Json]:
    """Every version that this member signed, with the signatures of members that it knows."""
    out: list[Json] = []
    for mine in SignedAgreements(db).list():
        parts = [parse_json(mine.jws, AGREEMENT)]
        parts += [parse_json(raw, AGREEMENT) for raw in Signatures(db).of(mine.agreement).values()]
        same = [one for one in parts if one["payload"] == parts[0]["payload"]]
        good = [one for one in same if _verifies(one, keys)]
        if good and Documents(db).get(mine.agreement) is not None:
            out.append(jws_merge(*good))
    return out


def _verifies(signed: Json, keys: Mapping[str, bytes]) -> bool:
    """Signatures are kept when they come, also of members whose list comes later; not all of them
    were ever verified."""
    try:
        return bool(jws_verify(signed, keys, AGREEMENT))
    except InputError:
        return False


def _statements(db: Connection, rosters: list[ParsedRoster]) -> list[Any]:
    """What members and operator stated, with their signatures."""
    found: list[Any] = [parse_json(one.jws, "notice") for one in Notices(db).list()]
    found += [parse_json(one.jws, "incident") for one in Incidents(db).list()]
    for one in Releases(db).list():
        revoked = Revocations(db).get(one.model)
        if revoked is not None:
            found.append(parse_json(revoked.jws, "revocation"))
    for mine in SignedAgreements(db).list():
        for end in Terminations(db).of(mine.agreement):
            found.append(_ended(parse_json(end.jws, "end"), mine.agreement, rosters, db))
    return [one for one in found if one is not None]


def _ended(signed: Json, agreement: str, rosters: Sequence[ParsedRoster], db: Connection) -> Any:
    """The end of an agreement with the signatures of a quorum, or nothing if it is not complete."""
    known = Documents(db).get(agreement)
    if known is None:
        return None
    parsed = parse_agreement(known.body, AGREEMENT)
    governance = parsed.terms.block("c05", Governance)
    for epoch in reversed(rosters):
        theirs = jws_only(signed, epoch.keys)
        if theirs is None or governance is None:
            continue
        try:
            verify_termination(theirs, epoch, governance, parsed.agreement.coop, agreement)
        except (InputError, Refused):
            continue
        return theirs
    return None


def _releases(member: Member, models: set[str]) -> dict[str, dict[str, bytes]]:
    """Files of every release that was pulled and is still kept."""
    out = {}
    for model in sorted(models):
        folder = member.home.models / model
        if (folder / bundle.CARD).is_file():
            out[model] = load_release(folder)
    return out


def _heads(member: Member, keys: Mapping[str, bytes]) -> list[bytes]:
    """Heads of the coordinator's log that this node keeps, oldest first; both sides of a fork.

    What was shown as evidence may carry lines under a member's name that the member never signed:
    of such a note the coordinator's own line goes into the pack. One that even lacks this proves
    nothing, and stays in its folder.
    """
    folder = member.home.folder / "audit"
    public, members = member.membership.public.coordinator_key, dict[MemberId, bytes]()
    members |= {MemberId(one): key for one, key in keys.items()}
    origin = origin_of("coordinator", public)
    notes: dict[bytes, None] = {}
    for path in sorted(folder.glob("**/*.note")):
        if any(part.startswith("retired-") for part in path.parts):
            continue
        note = path.read_bytes()
        try:
            own = bare_note(note, public, origin, path.name)
        except InputError:
            continue
        try:
            read_cosigned(note, public, origin, members, path.name)
        except InputError:
            note = own
        notes[note] = None
    return list(notes)


def _proofs(member: Member, whole: Contents, names: set[str]) -> dict[int, bytes]:
    """Entries that name any of these, each with its proof under the pack's head."""
    lines = (whole.log or b"").splitlines(keepends=True)
    wanted = [at for at, line in enumerate(lines) if any(name.encode() in line for name in names)]
    return {at: proof_bytes(member.home.log.prove(at)[1]) for at in wanted}
