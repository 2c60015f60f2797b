"""What each run read, kept so that it can be proven later: roots in the ledger and in the journal,
and for each customer who was read a record of hashes (``protocols.audit.consent.RowBook``).

``Reading`` of a run: the one before its first round, and one more whenever somebody spoke before
a later round. A book is a file named by its root, so that readings of the same rows share it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from node import files
from node.data.stages import Basis, Standing
from node.policy import book_files
from node.policy.book_files import MAX_BOOK_BYTES
from node.policy.journal import Folder, Journal
from node.store.consent_sql import stored
from node.store.consents import Consents
from node.store.database import Database
from node.store.run_snapshots import RunSnapshot, RunSnapshots
from protocols.audit.checkpoint import Checkpoint, origin_of, parse_checkpoint
from protocols.audit.consent import RowBook, leaf, tree_hash, weekly_root
from protocols.audit.customer_proof import prove_customer
from protocols.audit.entries import Entry, Kind, decode
from protocols.audit.verify import check_inclusion, proof_bytes
from protocols.canonical import parse_json
from protocols.errors import Code, InputError, LocalError

FOLDER: Final = "rows"
Append = Callable[[str, Mapping[str, object]], None]


class Read(Protocol):
    """What a run has read: ``ConsentedRows`` or ``ConsentedLines``."""

    @property
    def standing(self) -> Standing:
        """Who stood."""

    @property
    def snapshot_root(self) -> str:
        """Root of the rows, 64 hex digits."""


@dataclass(frozen=True, slots=True)
class ProvenReading:
    """One reading whose roots were worked out again and stand in the journal.

    Args:
        snapshot: as the ledger has it.
        entry: of the journal; ``proof``: the file that shows it under ``head``.
        leaves: of the tree of the scope, ascending.
        book: of the rows; None of a weekly series.
    """

    snapshot: RunSnapshot
    entry: Entry
    proof: bytes = field(repr=False)
    head: bytes = field(repr=False)
    leaves: tuple[bytes, ...] = field(repr=False)
    book: RowBook | None = field(repr=False)

    def about(self) -> dict[str, Any]:
        """What stands at the top of a proof about one customer."""
        one = self.snapshot
        return {
            "run": one.run,
            "reading": one.reading,
            "from_round": one.round,
            "scope": one.scope,
            "basis": one.basis,
            "at": stored(one.at),
            "position": one.position,
            "root": one.root,
            "journal": {"head": self.head.decode(), "proof": parse_json(self.proof, "proof")},
        }

    def customer(self, key: str) -> dict[str, Any]:
        """The proof about one customer (key of 64 hex digits), for ``check_customer``."""
        wanted = leaf(self.snapshot.scope, key)
        about = {**self.about(), "customer_key": key}
        return prove_customer(about, self.leaves, self.book, wanted)


@dataclass(frozen=True, slots=True)
class RunBooks:
    """Keeps and proves.

    Args:
        database: the node's.
        folder: of the node; books lie in ``runs/RUN/rows``.
        journal: appends one entry (kind, facts).
    """

    database: Database
    folder: Path
    journal: Append

    def keep(
        self, run: str, round: int, read: Read, *, customers: int, lines: int, vault: str = ""
    ) -> None:
        """Write down what was read; on the disk, in the ledger and in the journal on return.

        Args:
            run: 32 hex digits.
            round: the first round that uses it; 0 before the first.
            read: what was read.
            customers, lines: whose lines, and how many.
            vault: digest of the vault, of a weekly series.
        """
        standing, book = read.standing, getattr(read, "book", None)
        if isinstance(book, RowBook):
            folder = self.folder / "runs" / run / FOLDER
            files.make_folder(folder)
            path = folder / f"{read.snapshot_root}.bin"
            if not path.exists():
                files.write(path, book.encode())
        oldest = stored(standing.oldest) if standing.oldest is not None else ""
        with self.database.write() as connection:
            store = RunSnapshots(connection)
            kept = RunSnapshot(
                run,
                len(store.list(run)) + 1,
                round,
                standing.scope,
                standing.basis.value,
                standing.assessment,
                standing.position,
                oldest,
                standing.at,
                standing.count,
                standing.root,
                customers,
                lines,
                read.snapshot_root,
            )
            store.add(kept)
        self.journal(Kind.SNAPSHOT, facts_of(kept) | ({"vault": vault} if vault else {}))

    def prove(self, run: str, log: Journal) -> tuple[ProvenReading, ...]:
        """Work out every reading of a run again, and show it in the journal.

        Args:
            run: its id, or the first digits.
            log: the node's own.

        Raises:
            InputError: no run, or more than one, begins so.
            LocalError: something differs; says what.
        """
        run = self._find(run)
        with self.database.read() as connection:
            kept = RunSnapshots(connection).list(run)
        note, public = log.checkpoint(), log.public
        head = parse_checkpoint(note, public, origin_of("node", public), "head")
        entries = list(self._entries(run))
        if len(entries) != len(kept):
            raise _differs(f"the log has {len(entries)} readings of it and the ledger {len(kept)}")
        pairs = zip(kept, entries, strict=True)
        return tuple(self._proven(one, entry, log, head, note) for one, entry in pairs)

    def redact(self, leaves: Collection[bytes]) -> int:
        """Take erased persons out of every book, down to bare hashes; roots stay as they are.

        Args:
            leaves: of the persons, in every scope.

        Returns:
            In how many books something was taken out.
        """
        books = sorted((self.folder / "runs").glob(f"*/{FOLDER}/*.bin"))
        return sum(book_files.redact(path, leaves) > 0 for path in books)

    def runs_of(self, customer_key: str) -> tuple[RunSnapshot, ...]:
        """Every reading in which lines of a customer (64 hex digits) were read, by its book."""
        with self.database.read() as connection:
            every = RunSnapshots(connection).list()
        found = []
        for one in every:
            path = self._path(one)
            if path.exists() and book_files.has(path, leaf(one.scope, customer_key)):
                found.append(one)
        return tuple(found)

    # --- inside -----------------------------------------------------------------------------

    def _path(self, one: RunSnapshot) -> Path:
        return self.folder / "runs" / one.run / FOLDER / f"{one.root}.bin"

    def _find(self, prefix: str) -> str:
        with self.database.read() as connection:
            runs = {one.run for one in RunSnapshots(connection).list()}
        found = [run for run in runs if prefix and run.startswith(prefix)]
        if len(found) != 1:
            raise InputError(
                f"{len(found)} runs that have read rows here begin with {prefix[:32]!r}.",
                where="RUN",
                code=Code.NOT_FOUND,
                fix="coop-node orders shows the runs.",
            )
        return found[0]

    def _entries(self, run: str) -> Iterator[Entry]:
        for number, line in enumerate(Folder(self.folder / "audit").lines(0), start=1):
            if b'"kind":"snapshot"' in line and run.encode() in line:
                entry = decode(line.removesuffix(b"\n"), f"line {number}")
                if entry.facts.get("run") == run and "reading" in entry.facts:
                    yield entry

    def _proven(
        self, one: RunSnapshot, entry: Entry, log: Journal, head: Checkpoint, note: bytes
    ) -> ProvenReading:
        what = f"reading {one.reading} of run {one.run[:16]}"
        wanted = facts_of(one)
        if {name: entry.facts.get(name) for name in wanted} != wanted:
            raise _differs(f"the log and the ledger tell {what} differently")
        by_consent = one.basis == Basis.CONSENT
        with self.database.read() as connection:
            leaves = Consents(connection).standing_at(
                one.scope, one.position, granted=by_consent, oldest=one.oldest
            )
        if (len(leaves), tree_hash(leaves).hex()) != (one.standing, one.standing_root):
            raise _differs(f"who stood in {what} is not what the ledger of consent says now")
        book = None
        vault = entry.facts.get("vault")
        if isinstance(vault, str):
            roots = bytes.fromhex(vault), bytes.fromhex(one.standing_root)
            if weekly_root(*roots).hex() != one.root:
                raise _differs(f"the rows of {what} have another root")
        else:
            book = self._book(one, what)
            book.require_inside(frozenset(leaves), one.basis)
        proof = proof_bytes(log.prove(entry.seq)[1])
        shown = check_inclusion(proof, head, f"entry {entry.seq}")
        return ProvenReading(one, shown, proof, note, tuple(leaves), book)

    def _book(self, one: RunSnapshot, what: str) -> RowBook:
        path = self._path(one)
        if not path.exists():
            raise _differs(f"the book of {what} is gone")
        book = _load(path)
        if (book.root().hex(), len(book.leaves)) != (one.root, one.customers):
            raise _differs(f"the book of {what} has another root")
        return book


def facts_of(one: RunSnapshot) -> dict[str, object]:
    """A reading as facts of the journal; counts and hashes."""
    facts: dict[str, object] = {
        "run": one.run,
        "reading": one.reading,
        "round": one.round,
        "read_at": stored(one.at),
        "root": one.root,
        "customers": one.customers,
        "lines": one.lines,
        "scope": one.scope,
        "basis": one.basis,
        "position": one.position,
        "standing": one.standing,
        "standing_root": one.standing_root,
    }
    return facts | ({"assessment": one.assessment} if one.assessment else {})


def _load(path: Path) -> RowBook:
    return RowBook.decode(files.read(path, MAX_BOOK_BYTES), str(path))


def _differs(what: str) -> LocalError:
    return LocalError(
        f"this run cannot be proven: {what}.",
        code=Code.TAMPERED,
        fix="Keep this folder as it is and restore your newest backup into another one.",
    )
