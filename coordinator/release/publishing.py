"""What becomes of a release: held, signed by a second person, published, withdrawn, revoked.

Files first, then one transaction that changes the state and posts the letters; each step may be
repeated after a crash. A release is served sealed and in no other form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from coordinator import files as disk
from coordinator.release.models import Release, load_release, missing_signatures
from coordinator.release.sealing import recipient_keys, seal_release
from coordinator.store.database import Database
from coordinator.store.mail import Mail
from coordinator.store.members import Members, Status
from coordinator.store.releases import (
    Pulls,
    Releases,
    ReleaseState,
    Revocations,
    StoredRelease,
)
from protocols import bundle
from protocols.agreement.clauses_use import pull_refused
from protocols.agreement.parse import read_agreement
from protocols.agreement.revocation import (
    ParsedRevocation,
    make_revocation,
    verify_revocation,
)
from protocols.agreement.roster import ParsedRoster, read_roster
from protocols.agreement.second import may_sign, still_missing
from protocols.agreement.terms import Block, Governance, Terms
from protocols.audit.entries import Fact, Kind
from protocols.audit.writer import LogWriter
from protocols.canonical import Json, json_bytes, parse_json
from protocols.errors import Code, InputError, LocalError, Refused
from protocols.evidence import Pins, verify_release
from protocols.ids import AgreementId, MemberId, RosterId
from protocols.sealed import read_sealed
from protocols.signing import SigningKey, jws_merge, jws_payload, jws_sign, jws_verify, signed_by

SEALED = "sealed.bin"  # beside the files of the bundle
MAX_REVOCATIONS = 200  # in one answer; who has fewer asks again
Rosters = Callable[[], Sequence[Json]]


@dataclass(frozen=True, slots=True)
class ReleaseDesk:
    """Everything that happens to a release after it was made.

    Args:
        database: the coordinator's store.
        folder: where bundles lie, one folder a model.
        key: the coordinator's key.
        log: the coordinator's audit log.
        rosters: every completed epoch, signed, oldest first.
        clock: aware UTC time.
    """

    database: Database
    folder: Path
    key: SigningKey
    log: LogWriter
    rosters: Rosters
    clock: Callable[[], datetime]

    # ------------------------------------------------------------------ out

    def prepare(self, release: Release) -> Callable[[Connection], None]:
        """Seal a stored release if it is complete; what then has to happen in the transaction
        that ends its run: keep its state, and tell the members unless it is held."""
        if not release.missing:
            self._seal(release.model)
        state = ReleaseState.HELD if release.missing else ReleaseState.PUBLISHED

        def offer(db: Connection) -> None:
            now = self.clock()
            Releases(db).add(release.model, str(release.card["run"]), state, now)
            if state is ReleaseState.PUBLISHED:
                self._announce(db, release.model, release.files, now)

        return offer

    def approve(
        self, model: str, keys: Mapping[str, SigningKey], *, by: str | None = None
    ) -> tuple[str, ...]:
        """Add signatures to a held release; publish it once it has all.

        Args:
            model: model id.
            keys: key id -> key, of clause 5: ``operator``, ``approver:...``.
            by: short id of the person who signs; None where nobody is registered.

        Returns:
            Whose signature is still missing, in words; empty if it is published now.

        Raises:
            InputError: no such release, or a key that clause 5 does not name.
            LocalError: it is not held.
            Refused: one person would sign twice.
        """
        stored = self.require(model)
        if stored.state is not ReleaseState.HELD:
            raise LocalError(
                f"the release is {stored.state.value}; only a held one waits for signatures.",
                code=Code.USAGE,
                where=model[:16],
            )
        place = self.folder / model / bundle.CARD_SIGNED
        files = load_release(self.folder / model)
        before = parse_json(files[bundle.CARD_SIGNED], "release")
        allowed = may_sign(_block(_terms(files), "c05", Governance), "release")
        signed = _signed(jws_payload(before, "release"), before, keys, allowed)
        self._one_key_each("release", model, keys, by)
        for kid in signed_by(signed, "release")[len(before["signatures"]) :]:
            self.log.append(Kind.APPROVAL, {"model": model, "by": kid, **_person(by)})
        disk.write(place, json_bytes(signed))
        files = load_release(self.folder / model)
        missing = missing_signatures(files)
        if missing:
            return missing
        self._seal(model)
        with self.database.write() as db:
            now = self.clock()
            Releases(db).move(model, ReleaseState.PUBLISHED, now)
            self._announce(db, model, files, now)
        return ()

    def withdraw(self, model: str) -> None:
        """Offer it no longer. Members that have it may go on using it until it expires."""
        facts = {"model": model, "run": self.require(model).run}
        with self.database.write() as db:
            Releases(db).move(model, ReleaseState.WITHDRAWN, self.clock())
            if not any(dict(one.facts) == facts for one in self.log.entries(Kind.WITHDRAWAL)):
                self.log.append(Kind.WITHDRAWAL, facts)  # once, also after a crash
        (self.folder / model / SEALED).unlink(missing_ok=True)

    def fetched(self, member: MemberId, model: str) -> bytes:
        """The sealed file, for one member; counted before it is handed out.

        Raises:
            KeyError: there is nothing to fetch under this id.
            Refused: clause 21, too often today.
        """
        file = self.folder / model / SEALED
        with self.database.read() as db:
            stored = Releases(db).get(model)
        if stored is None or stored.state is not ReleaseState.PUBLISHED or not file.exists():
            raise KeyError(model)
        files = load_release(self.folder / model)
        terms = _terms(files)
        with self.database.write() as db:
            now = self.clock()
            refused = pull_refused(terms, Pulls(db).on(member, now))
            if refused is not None:
                raise Refused(
                    f"{refused}.",
                    clauses=(refused.clause,),
                    fix="Try again tomorrow (UTC); a release that you have needs no second pull.",
                )
            Pulls(db).add(member, now)
        self._seal_again_for(member, model, files)
        return disk.read(file, bundle.MAX_BUNDLE_BYTES)

    # ------------------------------------------------------------------ back

    def revoke(
        self,
        model: str,
        reason: str,
        keys: Mapping[str, SigningKey],
        governance: Governance,
        *,
        by: str | None = None,
    ) -> tuple[str, ...]:
        """Take a model back: sign, log, tell every member.

        The second person may sign later: the reason and the date stay those of the first.

        Args:
            model: model id.
            reason: one line, for the members.
            keys: key id -> key, of clause 5.
            governance: clause 5 of the agreement in force.
            by: short id of the person who signs; None where nobody is registered.

        Returns:
            Whose signature is still missing, in words; empty if it is revoked now.

        Raises:
            InputError: no such release, no reason, or a key that clause 5 does not name.
            LocalError: it was revoked before.
            Refused: one person would sign twice.
        """
        stored = self.require(model)
        with self.database.read() as db:
            begun = Revocations(db).get(model)
        if begun is not None and begun.seq is not None:
            raise LocalError("this model was revoked before.", code=Code.USAGE, where=model[:16])
        before: Json | None = parse_json(begun.jws, "revocation") if begun is not None else None
        document = (
            self._revocation(stored, reason).document
            if before is None
            else jws_payload(before, "revocation")
        )
        allowed = may_sign(governance, "revoke")
        if before is not None:  # an amendment since may name other keys
            before = _still_good(before, allowed)
        signed = _signed(document, before, keys, allowed)
        self._one_key_each("revoke", model, keys, by)
        if by is not None:
            for kid in keys:
                about = {"model": model, "act": "revoke", "by": kid, **_person(by)}
                self.log.append(Kind.APPROVAL, about)
        missing = still_missing(governance, "revoke", signed_by(signed, "revocation"))
        if missing:
            with self.database.write() as db:
                Revocations(db).put(model, json_bytes(signed), self.clock(), complete=False)
            return missing
        coop = str(jws_payload(signed, "revocation")["coop"])
        parsed = verify_revocation(signed, governance, coop=coop, where="revocation")
        self._log_once(parsed)
        with self.database.write() as db:
            now = self.clock()
            Revocations(db).put(model, json_bytes(signed), now, complete=True)
            Releases(db).move(model, ReleaseState.REVOKED, now)
            for one in Members(db).list(Status.ACTIVE):
                Mail(db).post(
                    one.id, kind="revocation", document=model, body=json_bytes(signed), now=now
                )
        (self.folder / model / SEALED).unlink(missing_ok=True)
        return ()

    def revocations(self, after: int) -> bytes:
        """Complete revocations after a number, for members that joined or came back later."""
        with self.database.read() as db:
            found = Revocations(db).after(after, MAX_REVOCATIONS)
            newest = Revocations(db).newest()
        listed = [{"seq": one.seq, "signed": parse_json(one.jws, "revocation")} for one in found]
        return json_bytes({"newest": newest, "revocations": listed})

    def require(self, model: str) -> StoredRelease:
        """The state of a release; InputError if there is none."""
        with self.database.read() as db:
            stored = Releases(db).get(model)
        if stored is None:
            raise InputError("there is no such release.", code=Code.NOT_FOUND, where=model[:16])
        return stored

    # ------------------------------------------------------------------ inside

    def _seal(self, model: str) -> None:
        """Verify as a member would, then write the sealed file beside the bundle."""
        files = load_release(self.folder / model)
        agreement = read_agreement(_payload(files, bundle.AGREEMENT), "agreement")
        last = bundle.numbered(files, "rosters")[-1]
        roster = read_roster(_payload(files, last), "roster")
        verify_release(files, Pins(AgreementId(agreement.id), RosterId(roster.id), self.key.public))
        card = parse_json(files[bundle.CARD], bundle.CARD)
        recipients = recipient_keys(card, self._chain(files))
        sealed = seal_release(card, bundle.pack(files), recipients, self.key)
        disk.write(self.folder / model / SEALED, sealed)

    def _chain(self, files: Mapping[str, bytes]) -> tuple[ParsedRoster, ...]:
        """All epochs that are known now; those of the release itself if the office has fewer."""
        own = [_payload(files, name) for name in bundle.numbered(files, "rosters")]
        all_of_them = [jws_payload(signed, "roster") for signed in self.rosters()]
        newest = max(own, all_of_them, key=len)
        return tuple(read_roster(one, "roster") for one in newest)

    def _seal_again_for(self, member: MemberId, model: str, files: Mapping[str, bytes]) -> None:
        """A recipient that renewed its keys after the release was sealed gets it under the new."""
        card = parse_json(files[bundle.CARD], bundle.CARD)
        key = recipient_keys(card, self._chain(files)).get(member)
        if key is None:
            return  # it may fetch what it cannot open
        raw = disk.read(self.folder / model / SEALED, bundle.MAX_BUNDLE_BYTES)
        known = read_sealed(raw, self.key.public, SEALED).recipients
        if (member, key) not in {(one.member, one.key) for one in known}:
            self._seal(model)

    def _announce(
        self, db: Connection, model: str, files: Mapping[str, bytes], now: datetime
    ) -> None:
        """The signed card to every member of the run's roster."""
        roster = read_roster(_payload(files, bundle.numbered(files, "rosters")[-1]), "roster")
        for one in sorted(roster.voters()):
            body = files[bundle.CARD_SIGNED]
            Mail(db).post(one, kind="release", document=model, body=body, now=now)

    def _revocation(self, stored: StoredRelease, reason: str) -> ParsedRevocation:
        file = self.folder / stored.model / bundle.CARD
        card = parse_json(disk.read(file), bundle.CARD)
        return make_revocation(
            coop=str(card["coop"]),
            model=stored.model,
            run=stored.run,
            reason=reason,
            issued=self.clock(),
        )

    def _one_key_each(
        self, act: str, model: str, keys: Mapping[str, SigningKey], by: str | None
    ) -> None:
        """The second person is another one: who signed with one key signs with no other."""
        if by is None:
            return  # nobody is registered: whose hand holds which key cannot be told apart
        used = set(keys)
        for one in self.log.entries(Kind.APPROVAL):
            told = dict(one.facts)
            if (told.get("model"), told.get("person"), told.get("act", "release")) == (
                model,
                by,
                act,
            ):
                used.add(str(told.get("by")))
        if len(used) > 1:
            raise Refused(
                f"{by} would sign with {len(used)} keys ({', '.join(sorted(used))}); a second "
                "person is another person.",
                clauses=("c05",),
                where=model[:16],
                fix="Let the other one sign with their own key: --as NAME.",
            )

    def _log_once(self, parsed: ParsedRevocation) -> None:
        facts = {
            "model": parsed.revocation.model,
            "run": parsed.revocation.run,
            "revocation": parsed.id,
        }
        if any(dict(one.facts) == facts for one in self.log.entries(Kind.REVOCATION)):
            return  # logged before a crash
        self.log.append(Kind.REVOCATION, facts)


def _person(by: str | None) -> dict[str, Fact]:
    return {} if by is None else {"person": by}


def _signed(
    document: Json,
    before: Json | None,
    keys: Mapping[str, SigningKey],
    allowed: Mapping[str, bytes],
) -> dict[str, Any]:
    """The document with the signatures that it had and those of these keys, all verified."""
    for kid, key in keys.items():
        if allowed.get(kid) != key.public:
            raise InputError(
                f"clause 5 does not name the key {key.public.hex()[:16]} as {kid.split(':')[0]} "
                "for this.",
                code=Code.REFUSED,
                where="c05",
                fix="Use the key that the agreement in force names: agreement show.",
            )
    known = signed_by(before, "document") if before is not None else ()
    parts = [before] if before is not None else []
    parts += [jws_sign(document, kid, key) for kid, key in keys.items() if kid not in known]
    if not parts:
        raise InputError("nobody signs.", code=Code.USAGE, fix="Name a key file.")
    signed = jws_merge(parts[0], *parts[1:])
    jws_verify(signed, allowed, "document")
    return signed


def _still_good(signed: Json, allowed: Mapping[str, bytes]) -> Json | None:
    """The document with those of its signatures that these keys made; None if there is none."""
    kept = []
    for one in signed["signatures"]:
        alone = {"payload": signed["payload"], "signatures": [one]}
        try:
            jws_verify(alone, allowed, "document")
        except InputError:
            continue
        kept.append(one)
    return {"payload": signed["payload"], "signatures": kept} if kept else None


def _payload(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    return jws_payload(parse_json(files[name], name), name)


def _terms(files: Mapping[str, bytes]) -> Terms:
    return read_agreement(_payload(files, bundle.AGREEMENT), "agreement").terms


def _block(terms: Terms, clause: str, kind: type[Block]) -> Block:
    found = terms.block(clause, kind)
    if found is None:
        raise InputError(f"the agreement has no clause {clause}.", where=bundle.AGREEMENT)
    return found
