"""Check an evidence pack from its bytes alone, offline.

Nothing in the pack is believed. Keys come from the agreement and the rosters inside; the caller
compares the ids that are named with those that it knows, or gives them to be compared.

===========  ====================================================================================
check        what holds afterwards
===========  ====================================================================================
files        every file is one that packs have, and is as the manifest says
agreements   each version is in its one form, and every signature on it is good
rosters      a chain of epochs from the first, each signed by a quorum of the one before, as a
             version asks for that a quorum has signed
quorum       how many members have signed each version; what was ordered under needs a quorum
orders       each is signed by the operator's key (and a second person), of members of its roster
releases     ``protocols.evidence`` with every row of its table, for each
cards        signed by the coordinator
log          every line, or every proof, under the signed head; with the whole log of the
             coordinator, releases stand in it
heads        who signed and countersigned heads of the coordinator's log; whether two of one size
             contradict, those of releases too; with its whole log, whether each is in it
documents    each is signed by those who may say such a thing, under a version that a quorum signed
generated    what people read follows from what was signed
===========  ====================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from protocols import bundle
from protocols.agreement.base import parse_utc
from protocols.agreement.incident import KIND as INCIDENT
from protocols.agreement.incident import verify_incident
from protocols.agreement.membership import (
    NOTICE,
    SUCCESSION,
    TERMINATION,
    read_termination,
    verify_notice,
    verify_succession,
    verify_termination,
)
from protocols.agreement.order import COORDINATOR, read_order
from protocols.agreement.parse import ParsedAgreement, read_agreement
from protocols.agreement.revocation import KIND as REVOCATION
from protocols.agreement.revocation import verify_revocation
from protocols.agreement.roster import ParsedRoster, replay
from protocols.agreement.second import may_sign, still_missing
from protocols.agreement.terms import Governance
from protocols.audit.checkpoint import Checkpoint, origin_of, parse_checkpoint
from protocols.audit.cosign import read_cosigned
from protocols.audit.entries import decode
from protocols.audit.merkle import Growing, leaf_hash
from protocols.audit.verify import check_inclusion, verify_log
from protocols.canonical import Json, json_id, parse_json
from protocols.errors import Code, CoopError, InputError
from protocols.evidence import Finding, Pins, verify_release
from protocols.ids import AgreementId, MemberId, RosterId
from protocols.pack import form
from protocols.release import KIND as CARD
from protocols.signing import jws_payload, jws_verify


@dataclass(frozen=True, slots=True)
class Report:
    """All checks passed. Compare ``agreements`` and ``head`` with what you know yourself.

    ``fork``: a sentence, if the pack proves that the coordinator signed two histories.
    """

    coop: str
    side: str
    made: str
    agreements: tuple[AgreementId, ...]
    head: Checkpoint
    passed: tuple[Finding, ...]
    fork: str = ""

    def lines(self) -> tuple[str, ...]:
        """For people."""
        return tuple(f"{one.check}: {one.sentence}" for one in self.passed)


def verify_pack(
    archive: bytes, where: str, *, software: str, known: frozenset[str] = frozenset()
) -> Report:
    """Check everything in a pack; see the table above.

    Args:
        archive: the zip file, of unknown origin.
        where: its name, for errors.
        software: version of datacoop that checks; documents for people are derived again only
            if the same version made the pack.
        known: ids of agreement versions that the caller knows; if any are given, at least one
            must be in the pack.

    Raises:
        InputError: TAMPERED, naming the file and the check that failed first.
    """
    return _Checker(form.unpack(archive, where), software, known).run()


@contextmanager
def _check(name: str, file: str) -> Iterator[None]:
    try:
        yield
    except CoopError as error:
        raise InputError(
            error.problem,
            code=Code.TAMPERED,
            where=f"{file}, check {name}",
            fix="Do not rely on this pack. Ask whoever made it; keep it, it shows what they sent.",
        ) from error


def _bad(problem: str) -> InputError:
    return InputError(problem, code=Code.TAMPERED)


class _Checker:
    """One pass over one pack; each method is one row of the table."""

    def __init__(self, files: Mapping[str, bytes], software: str, known: frozenset[str]) -> None:
        self._files, self._software, self._known = files, software, known
        self._manifest = form.read_manifest(files[form.MANIFEST])
        self._coop: str = self._manifest["coop"]
        self._passed: list[Finding] = []
        self._agreements: dict[str, ParsedAgreement] = {}
        self._chain: tuple[ParsedRoster, ...] = ()
        self._keys: dict[str, bytes] = {}
        self._in_force: list[str] = []  # in order of versions
        self._roots: dict[int, bytes] = {}  # of the coordinator's log, by size
        self._fork = ""

    def run(self) -> Report:
        self._ok("files", f"{len(self._files)} files, each as the manifest says")
        self._read_agreements()
        self._rosters()
        self._quorum()
        self._orders()
        heads = self._releases()
        self._cards()
        head = self._log(heads)
        self._heads(head, heads)
        self._documents()
        self._generated()
        return Report(
            self._coop,
            self._manifest["side"],
            self._manifest["made"],
            tuple(AgreementId(one) for one in self._agreements),
            head,
            tuple(self._passed),
            self._fork,
        )

    def _ok(self, check: str, sentence: str) -> None:
        self._passed.append(Finding(check, sentence))

    def _under(self, folder: str) -> tuple[str, ...]:
        return tuple(sorted(name for name in self._files if name.startswith(f"{folder}/")))

    def _signed(self, name: str) -> Json:
        """A signed document in its one form; what it says is not looked at."""
        signed = parse_json(self._files[name], name)
        bundle.check_form(signed, self._files[name])
        return signed

    def _governances(self) -> tuple[Governance, ...]:
        """Clause 5 of every version, the newest first."""
        blocks = (one.terms.block("c05", Governance) for one in self._agreements.values())
        return tuple(one for one in blocks if one is not None)[::-1]

    def _any(self, read: Callable[[Governance], object]) -> None:
        """Clause 5 of some version that a quorum has signed accepts it; the error of the newest
        such version otherwise. What one member proposes lets nobody say anything."""
        first: CoopError | None = None
        for governance in map(self._governance, reversed(self._in_force)):
            try:
                read(governance)
            except CoopError as error:
                first = first or error
            else:
                return
        raise first or _bad("no quorum has signed an agreement of this pack.")

    # ------------------------------------------------------------------- who agreed to what

    def _read_agreements(self) -> None:
        versions: dict[int, set[str]] = {}
        for name in self._under("agreements"):
            with _check("agreements", name):
                parsed = read_agreement(jws_payload(self._signed(name), name), name)
                one = parsed.agreement
                if name != f"agreements/{one.version:04d}-{parsed.id[:16]}.jws":
                    raise _bad("the file has the name of another version.")
                if one.coop != self._coop:
                    raise _bad("it is of another cooperative than the pack.")
                before = versions.get(one.version - 1)
                if before is not None and one.prev not in before:
                    raise _bad(f"it does not replace version {one.version - 1} in this pack.")
                versions.setdefault(one.version, set()).add(parsed.id)
                self._agreements[parsed.id] = parsed
        with _check("agreements", form.MANIFEST):
            if not self._agreements:
                raise _bad("the pack holds no agreement.")
            if self._known and self._known.isdisjoint(self._agreements):
                raise _bad("none of its agreements is one that you know.")
        for parsed in self._agreements.values():
            self._ok("agreements", f"version {parsed.agreement.version} is {parsed.id}")

    def _rosters(self) -> None:
        names = self._under("rosters")
        with _check("rosters", "rosters"):
            if names != tuple(f"rosters/{at:04d}.jws" for at in range(1, len(names) + 1)):
                raise _bad("the lists of members have gaps; every epoch from 1 on is needed.")
            self._chain = self._replayed([self._signed(name) for name in names])
        for epoch in self._chain:
            self._keys |= epoch.keys
        newest = self._chain[-1]
        self._ok(
            "rosters",
            f"{len(self._chain)} epochs, each signed by a quorum; the last has "
            f"{len(newest.voters())} members and is {newest.id}",
        )

    def _replayed(self, signed: Sequence[Json]) -> tuple[ParsedRoster, ...]:
        """The epochs, as clause 5 of a version counts their signatures that by them is in force;
        of any version only while there is none."""
        first: CoopError | None = None
        proposed: tuple[ParsedRoster, ...] = ()
        for name, parsed in reversed([*self._versions()]):
            governance = parsed.terms.block("c05", Governance)
            if governance is None:
                continue
            try:
                chain = replay(signed, governance, self._coop)
                count, _, needed = self._votes(name, governance, chain)
            except CoopError as error:
                first = first or error
                continue
            if count >= needed:
                return chain
            proposed = proposed or chain
            first = first or _bad(
                f"no quorum has signed version {parsed.agreement.version}, whose rule the lists "
                f"of members follow: {count} signatures, {needed} are needed."
            )
        if proposed and not any(
            self._stands(name, one, proposed) for name, one in self._versions()
        ):
            return proposed
        raise first or _bad("no agreement says how many must sign a list of members.")

    def _versions(self) -> Iterator[tuple[str, ParsedAgreement]]:
        return zip(self._under("agreements"), self._agreements.values(), strict=True)

    def _votes(
        self, name: str, governance: Governance, chain: Sequence[ParsedRoster]
    ) -> tuple[int, int, int]:
        """Signatures under a version, members and signatures needed; InputError by a stranger."""
        keys = {who: key for epoch in chain for who, key in epoch.keys.items()}
        signers = frozenset(jws_verify(self._signed(name), keys, name))
        return _most(chain, signers, governance)

    def _stands(self, name: str, parsed: ParsedAgreement, chain: Sequence[ParsedRoster]) -> bool:
        governance = parsed.terms.block("c05", Governance)
        if governance is None:
            return False
        count, _, needed = self._votes(name, governance, chain)
        return count >= needed

    def _quorum(self) -> None:
        for name, parsed in self._versions():
            with _check("quorum", name):
                governance = parsed.terms.block("c05", Governance)
                if governance is None:
                    raise _bad("the agreement has no governance clause.")
                count, members, needed = self._votes(name, governance, self._chain)
            if count >= needed:
                self._in_force.append(parsed.id)
            self._ok(
                "quorum",
                f"version {parsed.agreement.version}: {count} of {members} members have signed, "
                f"{needed} are needed"
                + ("" if count >= needed else "; it is a proposal and nothing was done under it"),
            )

    def _governance(self, agreement: object) -> Governance:
        """Clause 5 of a version in this pack that a quorum has signed."""
        parsed = self._agreements.get(str(agreement))
        governance = parsed.terms.block("c05", Governance) if parsed else None
        if parsed is None or governance is None:
            raise _bad(f"it is under agreement {str(agreement)[:16]}, which is not in the pack.")
        if parsed.id not in self._in_force:
            raise _bad("it is under an agreement that no quorum has signed.")
        return governance

    # ------------------------------------------------------------------- what was done

    def _orders(self) -> None:
        epochs = {one.id: one for one in self._chain}
        for name in self._under("orders"):
            with _check("orders", name):
                signed = self._signed(name)
                order = read_order(jws_payload(signed, name), name).order
                governance = self._governance(order.agreement)
                kids = jws_verify(signed, may_sign(governance, "launch"), name)
                if missing := still_missing(governance, "launch", kids):
                    raise _bad(f"it lacks the signature of {' and '.join(missing)}.")
                roster = epochs.get(RosterId(order.roster))
                if name != f"orders/{order.run}.jws" or order.coop != self._coop:
                    raise _bad("it is of another run or cooperative.")
                if roster is None or not set(order.cohort) <= set(roster.voters()):
                    raise _bad("its cohort are not members of a list in this pack.")
        self._ok("orders", f"{len(self._under('orders'))} orders, signed by the operator's key")

    def _releases(self) -> tuple[bytes, ...]:
        """Every release, checked from its files; the heads of the log that they carry."""
        grouped: dict[str, dict[str, bytes]] = {}
        for name in self._under("releases"):
            _, model, inside = name.split("/", 2)
            grouped.setdefault(model, {})[inside] = self._files[name]
        heads = []
        for model, files in grouped.items():
            with _check("releases", f"releases/{model}"):
                if bundle.CARD not in files:
                    raise _bad("the card of the release is missing.")
                agreement = parse_json(files[bundle.CARD], bundle.CARD).get("agreement")
                governance = self._governance(agreement)
                pins = Pins(
                    AgreementId(str(agreement)),
                    RosterId(self._chain[-1].id),
                    bytes.fromhex(governance.coordinator_key),
                    earlier=frozenset(RosterId(one.id) for one in self._chain),
                )
                found = verify_release(files, pins)
                if found.model != model:
                    raise _bad(f"the files are of model {found.model[:16]}.")
            heads.append(files[bundle.CHECKPOINT])
            self._ok(
                "releases",
                f"model {model}: {len(found.passed)} checks passed, from the agreement to the "
                "last parameter",
            )
        return tuple(heads)

    def _cards(self) -> None:
        for name in self._under("cards"):
            with _check("cards", name):
                signed = self._signed(name)
                card = jws_payload(signed, name)
                if card.get("kind") != CARD or name != f"cards/{card.get('model')}.jws":
                    raise _bad("this is not the card of this release.")
                governance = self._governance(card.get("agreement"))
                kids = jws_verify(signed, may_sign(governance, "release"), name)
                if COORDINATOR not in kids:
                    raise _bad("the coordinator has not signed it.")
                self._ok("cards", f"model {card['model']}: signed by {', '.join(kids)}")

    # ------------------------------------------------------------------- the log

    def _log_key(self) -> tuple[str, bytes]:
        """Whose log this is, among those that the agreement and the rosters name."""
        known = {origin_of("node", key): key for key in self._keys.values()}
        for governance in self._governances():
            key = bytes.fromhex(governance.coordinator_key)
            known[origin_of(COORDINATOR, key)] = key
        first = self._files[form.CHECKPOINT].split(b"\n", 1)[0].decode("utf-8", "replace")
        if first not in known or not first.startswith(f"datacoop/{self._manifest['side']}/"):
            raise _bad("the head is of a log that neither the agreement nor a roster names.")
        return first, known[first]

    def _log(self, release_heads: Sequence[bytes]) -> Checkpoint:
        with _check("log", form.CHECKPOINT):
            origin, key = self._log_key()
            note = self._files[form.CHECKPOINT]
            head = parse_checkpoint(note, key, origin, form.CHECKPOINT)
        proofs = self._under("log/entries")
        for name in proofs:
            with _check("log", name):
                entry = check_inclusion(self._files[name], head, name)
                if name != f"log/entries/{entry.seq:08d}.json":
                    raise _bad(f"it is entry {entry.seq}.")
        if form.LOG not in self._files:
            self._ok(
                "log",
                f"{len(proofs)} entries under the head of {head.size}; what else was written is "
                "not in this pack",
            )
            return head
        with _check("log", form.LOG):
            lines = self._files[form.LOG].splitlines(keepends=True)
            own = origin.startswith(f"datacoop/{COORDINATOR}/")
            notes = [note, *(release_heads if own else ())]
            report = verify_log(lines, notes, key, origin)
            named = _named(lines)
        if own:
            self._roots = _roots(lines, {_size(self._files[one]) for one in self._under("heads")})
        documents = [*self._under("orders"), *self._under("documents")]
        stand = sum(json_id(jws_payload(self._signed(one), one)) in named for one in documents)
        self._ok(
            "log",
            f"{report.size} entries under {len(report.checkpoints)} signed heads; "
            f"{stand} of {len(documents)} orders and statements of this pack stand in it",
        )
        return head

    def _heads(self, own: Checkpoint, releases: Sequence[bytes]) -> None:
        """Heads of the coordinator's log: none contradicts another of the same size, nor the log
        if all of it is here. What the coordinator itself shows is as long as any of them."""
        key = next(iter(self._governances())).coordinator_key
        public = bytes.fromhex(key)
        origin = origin_of(COORDINATOR, public)
        members = {MemberId(one): raw for one, raw in self._keys.items()}
        seen = dict(self._roots)
        for note in releases:
            if note.startswith(f"{origin}\n".encode()):
                head = parse_checkpoint(note, public, origin, bundle.CHECKPOINT)
                self._compare(seen, head, "the head of a release")
        if own.origin == origin:
            self._compare(seen, own, form.CHECKPOINT)
        witnesses: set[str] = set()
        names = self._under("heads")
        for name in names:
            with _check("heads", name):
                found = read_cosigned(self._files[name], public, origin, members, name)
            self._compare(seen, found.head, name)
            if own.origin == origin and found.head.size > own.size:
                self._fork = self._fork or (
                    f"the coordinator signed {found.head.size} entries and shows {own.size}: its "
                    f"log is forked or was cut, and this pack proves it ({name})."
                )
            witnesses |= found.times.keys()
        self._ok(
            "heads", self._fork or f"{len(names)} heads, countersigned by {len(witnesses)} members"
        )

    def _compare(self, seen: dict[int, bytes], head: Checkpoint, name: str) -> None:
        if seen.setdefault(head.size, head.root) != head.root:
            self._fork = self._fork or (
                f"two different logs of {head.size} entries were signed by the "
                f"coordinator: its log is forked, and this pack proves it ({name})."
            )

    # ------------------------------------------------------------------- statements, for people

    def _documents(self) -> None:
        for name in self._under("documents"):
            with _check("documents", name):
                signed = self._signed(name)
                document = jws_payload(signed, name)
                if name != f"documents/{json_id(document)}.jws":
                    raise _bad("the file has the name of another document.")
                self._statement(document, signed, name)
        self._ok("documents", f"{len(self._under('documents'))} signed statements")

    def _statement(self, document: Json, signed: Json, name: str) -> None:
        kind, coop = document.get("kind"), self._coop
        if kind == NOTICE:
            verify_notice(signed, self._keys, coop)
        elif kind == SUCCESSION:
            verify_succession(signed, self._keys, coop)
        elif kind == TERMINATION:
            self._terminated(document, signed)
        elif kind == REVOCATION:
            self._any(lambda one: verify_revocation(signed, one, coop=coop, where=name))
        elif kind == INCIDENT:
            self._any(
                lambda one: verify_incident(
                    signed, coop=coop, operator_key=bytes.fromhex(one.operator_key), where=name
                )
            )
        else:
            raise _bad(f"a document of kind {str(kind)[:60]!r} has no place here.")

    def _terminated(self, document: Json, signed: Json) -> None:
        """A quorum of the members of some epoch has ended a version of this pack."""
        ended = read_termination(document).agreement
        governance = self._governance(ended)
        last: CoopError | None = None
        for epoch in reversed(self._chain):
            try:
                verify_termination(signed, epoch, governance, self._coop, ended)
            except CoopError as error:
                last = last or error
            else:
                return
        raise last or _bad("there are no members who could have signed it.")

    def _generated(self) -> None:
        made = self._made()
        expected: dict[str, bytes] = {}
        if self._manifest["software"] == self._software:
            for parsed in self._agreements.values():
                expected |= form.generated(parsed, made)
        for name in self._under("generated"):
            with _check("generated", name):
                if expected and self._files[name] != expected.get(name):
                    raise _bad("it is not what follows from the agreement.")
        self._ok(
            "generated",
            f"{len(expected)} documents for people follow from what was signed"
            if expected
            else f"not derived again: version {self._manifest['software'][:20]} made them, this "
            f"is {self._software}",
        )

    def _made(self) -> datetime:
        with _check("files", form.MANIFEST):
            try:
                return parse_utc(self._manifest["made"])
            except ValueError as error:
                raise _bad(f"its date cannot be read: {error}.") from error


def _most(
    chain: Sequence[ParsedRoster], signers: frozenset[str], governance: Governance
) -> tuple[int, int, int]:
    """Signatures, members and signatures needed, of the epoch in which most is there."""
    counted = []
    for epoch in chain:
        voters = epoch.voters()
        needed = max(1, governance.quorum_agreement.needed(len(voters)))
        counted.append((len(voters & signers), len(voters), needed))
    return max(counted, key=lambda one: (one[0] - one[2], one[1]))


def _size(note: bytes) -> int:
    """The size that a note names, NOT verified; -1 if it names none."""
    _, _, rest = note.partition(b"\n")
    size = rest.partition(b"\n")[0]
    return int(size) if size.isdigit() and len(size) < 20 else -1


def _roots(lines: Sequence[bytes], sizes: Set[int]) -> dict[int, bytes]:
    """Roots of the log, whose lines are verified already, at these sizes; one pass."""
    tree, found = Growing(), {}
    for line in lines:
        tree.append(leaf_hash(line.removesuffix(b"\n")))
        if tree.size in sizes:
            found[tree.size] = tree.root()
    return found


def _named(lines: Sequence[bytes]) -> frozenset[str]:
    """Every hash that an entry of the log names; the lines are verified already."""
    found: set[str] = set()
    for number, line in enumerate(lines, start=1):
        entry = decode(line.removesuffix(b"\n"), f"line {number}")
        found |= {value for value in entry.facts.values() if isinstance(value, str)}
    return frozenset(found)
