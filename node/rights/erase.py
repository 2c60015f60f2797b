"""Erasure (GDPR art. 17): everything that is here of a person, and proof that nothing is left.

In this order: what is here is counted and the runs are looked up (kept beside the evidence, so
that a repeated command knows them); rows leave the vault, which remembers not to take them in
again; records in the books of runs become bare hashes; files that can be made again go; the
ledger of consent and that of requests get a tombstone and a mark in the place of the key, and
pages that were freed are overwritten. Then every byte below the folder is read, the vault is
opened anew and asked; a database with old free pages is rewritten first. Only if nothing is left
the evidence is signed and the request closed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from node import files
from node.data.vault import Vault
from node.house import Home
from node.keys import restored_at
from node.policy.journal import Folder
from node.policy.ledgers import FILE as DATABASE
from node.rights import evidence
from node.rights.case import Case, Finished, open_case
from node.rights.held import Held, held
from node.rights.scan import Scan, scan
from node.rights.trained import models_of, runs_of
from node.store.consent_sql import stored
from node.store.consents import Consents
from node.store.requests import CustomerRequest, CustomerRequests, Erasure, Erasures, RequestKind
from protocols.audit.consent import leaf
from protocols.audit.entries import decode
from protocols.canonical import parse_json
from protocols.errors import Code, InputError, LocalError

OpenVault = Callable[[], Vault]
_NEVER: Final = "9999"  # after every instant in the ledger of consent
BY_ITSELF: Final = ("sales_line", "customer", "quarantine")
CANNOT: Final = (
    "The till, the web shop and the accounts: delete the person there too, or the next export "
    "names them again (this node will drop the lines).",
    "Backups made before: make a new one now and delete the older ones. If an older one has to be "
    "restored, give this evidence: coop-node requests erase-again FOLDER.",
    "Lists and answers that were printed, sent or written elsewhere: destroy them.",
    "A run that is under way: from its next round on it reads without the person.",
    "Models of other members: they have sums that were made before, and no row.",
)


@dataclass(frozen=True, slots=True)
class Erased:
    """What was done: rows by table before, what was removed, what was read to prove it."""

    before: Mapping[str, int]
    models: Sequence[Mapping[str, Any]]
    runs: Sequence[str]
    scanned: Scan
    told: int
    closed: int  # other requests of this person that were open
    finished: Finished
    cannot: tuple[str, ...]


def erase(case: Case, open_vault: OpenVault, prefix: str, customer: str = "") -> Erased:
    """Carry out one request to be erased; may be repeated after a crash.

    Args:
        case: of the node.
        open_vault: opens the member's rows anew.
        prefix: first digits of an open request.
        customer: the number as the till prints it; needed only where an earlier try was
            interrupted after the key had been replaced.

    Raises:
        InputError: no such open request, or another customer than the request's.
        Refused: nobody wrote down how the person was recognised.
        LocalError: files still name the person (they are listed), or the database is busy.
    """
    one = case.take(prefix, RequestKind.ERASE)
    key = _key(case, one, customer)
    mark = case.mark(key)
    begun = _begun(case, open_vault(), one, key)
    parts = _remove(case, open_vault(), [key], f"request-{one.id}")
    closed = _close_others(case, one, key)
    now = case.home.clock()
    with case.database.write() as db:
        CustomerRequests(db).forget(key, mark, keep=one.id)
        Erasures(db).add([Erasure(mark, one.id, now)])
    case.database.empty_log()
    scanned = prove_absent(case, open_vault(), [key])
    told = case.tell_office(one, "erased", begun["runs"])
    cannot = (*CANNOT[:1], _backups(case), *CANNOT[2:])
    facts = {
        "before": begun["before"],
        "after": dict.fromkeys(begun["before"], 0),
        "removed": parts,
        "searched": {
            "files": scanned.files,
            "bytes": scanned.bytes_read,
            "found": len(scanned.hits),
            "not_opened": len(scanned.closed),
        },
        "models": begun["models"],
        "runs_told": told,
        "requests_closed": closed,
        "cannot_reach": list(cannot),
    }
    how = f"erased: {sum(begun['before'].values())} rows; evidence signed"
    finished = case.finish(one, how, facts, subject=mark)
    _draft(case, one).unlink(missing_ok=True)
    return Erased(
        begun["before"], begun["models"], begun["runs"], scanned, told, closed, finished, cannot
    )


def _close_others(case: Case, one: CustomerRequest, key: str) -> int:
    """Close what else the person asked for: there is nothing left to do it with; how many."""
    others = [
        waiting.request.id
        for waiting in case.subjects.list(only_open=True)
        if waiting.request.customer_key == key and waiting.request.id != one.id
    ]
    for other in others:
        case.subjects.close(other, f"the person was erased (request {one.id})")
    return len(others)


def prove_absent(case: Case, vault: Vault, keys: Sequence[str]) -> Scan:
    """Read everything below the folder and ask the vault; LocalError if a key is anywhere."""
    left = [name for key in keys for name in _left(held(case, vault, key))]
    scanned = scan(case.home.folder, keys)
    if any(hit.path.startswith(DATABASE) for hit in scanned.hits):
        case.database.wipe()  # free pages of before they were overwritten at once
        scanned = scan(case.home.folder, keys)
    where = [*left, *(hit.path for hit in scanned.hits)]
    if where:
        shown = ", ".join(where[:5]) + (f" and {len(where) - 5} more" if len(where) > 5 else "")
        raise LocalError(
            f"the person's code is still in {len(where)} places: {shown}.",
            code=Code.TAMPERED,
            where=str(case.home.folder),
            fix="Files that you put there yourself (lists, exports) you delete by hand; then "
            "repeat the command with --customer. If a table is named, report it.",
        )
    return scanned


def _left(here: Held) -> list[str]:
    return [f"table {name}" for name in BY_ITSELF if here.counts()[name]]


def _key(case: Case, one: CustomerRequest, customer: str) -> str:
    """The person's key: from the request, or from the number if it has a mark already."""
    with case.database.read() as db:
        replaced = one.customer_key in {done.mark for done in Erasures(db).list()}
    if not customer:
        if replaced:
            raise InputError(
                "this erasure was interrupted after the person's code had been replaced.",
                where=one.id,
                fix="Name the customer once more, so that absence can be shown: --customer NUMBER",
            )
        return one.customer_key
    key = case.subjects.key(customer)
    if one.customer_key not in (key, case.mark(key)):
        raise InputError("this request is of another customer.", where="--customer")
    return key


def _draft(case: Case, one: CustomerRequest) -> Path:
    return case.home.folder / evidence.FOLDER / f"{one.id}-erase.begun"


def _begun(case: Case, vault: Vault, one: CustomerRequest, key: str) -> dict[str, Any]:
    """What was here before the first try: counts, runs, models. Names nobody."""
    path = _draft(case, one)
    if path.is_file():
        return parse_json(files.read(path), str(path))
    runs = runs_of(case, key)
    found = {
        "before": held(case, vault, key).counts(),
        "runs": [run.run for run in runs],
        "models": [model.document() for model in models_of(case, runs)],
    }
    files.make_folder(path.parent)
    files.write(path, json.dumps(found, sort_keys=True).encode())
    return found


def _remove(case: Case, vault: Vault, keys: Sequence[str], reason: str) -> dict[str, int]:
    """Take people out of vault, books, caches and the ledger of consent; figures."""
    removal = vault.erase(keys, case.home.clock(), reason)
    scopes = sorted(case.consents.purposes | set(_spoken(case)))
    leaves = {leaf(scope, key) for scope in scopes for key in keys}
    books = case.home.run_books(case.database).redact(leaves)
    cached = _clear(case.home.cache)
    events = sum(case.consents.forget(key, case.entropy(32)) for key in keys)
    return {
        "lines": removal.lines,
        "customers": removal.customers,
        "quarantined": removal.quarantined,
        "vault_files": removal.files,
        "books": books,
        "cached_files": cached,
        "consent_events": events,
    }


def _spoken(case: Case) -> tuple[str, ...]:
    with case.database.read() as db:
        return Consents(db).scopes()


def _clear(folder: Path) -> int:
    """Delete what can be made again; how many files."""
    count = 0
    with files.disk(folder):
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.is_file() and not path.is_symlink():
                path.unlink()
                count += 1
    return count


def _backups(case: Case) -> str:
    """What to do about backups, with how many the journal knows of."""
    made: list[str] = []
    for number, line in enumerate(Folder(case.home.folder / "audit").lines(0), start=1):
        if b'"kind":"backup"' in line:
            made.append(decode(line.removesuffix(b"\n"), f"line {number}").at[:10])
    known = f" This node made {len(made)}, the last on {made[-1]}." if made else ""
    return CANNOT[1] + known


# ------------------------------------------------------------------- after an old copy came back


@dataclass(frozen=True, slots=True)
class Again:
    """People who were erased once more because an old copy had brought them back."""

    known: int
    found: int
    removed: Mapping[str, int]


def marks_in(folder: Path) -> tuple[Erasure, ...]:
    """Marks in the evidence files of a folder, each with a signature that holds.

    Raises:
        InputError: a file was changed.
    """
    found = []
    for path, raw in evidence.kept(folder):
        document = evidence.verify(raw, str(path)).document
        if (document["asks"], document["outcome"]) == (RequestKind.ERASE.value, "done"):
            at = datetime.fromisoformat(document["at"])
            found.append(Erasure(document["subject"], document["request"], at))
    return tuple(found)


def keep_out(home: Home) -> int:
    """After an import: erase again whom it brought back; how many people.

    The vault and the ledger of consent remember by themselves whom to drop. They do not after a
    restore, or where they are newer than the erasure, and then this looks.
    """
    if not (home.folder / DATABASE).is_file():
        return 0
    database = home.database()
    try:
        with database.read() as db:
            known = len(Erasures(db).list())
        restored = restored_at(home.folder) is not None
        if not known or not (restored or len(home.vault().manifest().erased) < known):
            return 0
        return erase_again(open_case(home, database), home.vault).found
    finally:
        database.close()


def erase_again(case: Case, open_vault: OpenVault, more: Iterable[Erasure] = ()) -> Again:
    """Erase everybody who was erased before and is here again from an old copy.

    Marks can be compared only with people who are here, so this is asked after every restore and
    every import. What a person said after the erasure is a new beginning and stays.
    """
    with case.database.write() as db:
        Erasures(db).add(more)
    with case.database.read() as db:
        known = {one.mark: stored(one.at) for one in Erasures(db).list()}
    if not known:
        return Again(0, 0, {})
    vault = open_vault()
    since = _people(case, vault)
    marks = {key: case.mark(key) for key in since}
    back = [key for key, mark in marks.items() if mark in known and since[key] <= known[mark]]
    if not back:
        return Again(len(known), 0, {})
    removed = _remove(case, vault, back, "erased-before")
    with case.database.write() as db:
        for key in back:
            CustomerRequests(db).forget(key, marks[key], keep="")
    case.database.empty_log()
    prove_absent(case, open_vault(), back)
    case.home.journal("rights", {"what": "erased-again", "count": len(back), **removed})
    return Again(len(known), len(back), removed)


def _people(case: Case, vault: Vault) -> dict[str, str]:
    """Keys of everybody who is here, with the first instant at which they said something, as the
    ledger stores it.

    Rows have none, so the text is empty and before every instant: what the till sends of an
    erased person is dropped, also later.
    """
    found: dict[str, str] = {}
    with case.database.read() as db:
        for code, _scope, _state, at, *_rest in Consents(db).rows():
            key = code.hex()
            if at < found.get(key, _NEVER):
                found[key] = at
        for one in CustomerRequests(db).list():
            found[one.customer_key] = min(
                stored(one.received_at), found.get(one.customer_key, _NEVER)
            )
    rows = vault.query(
        "SELECT customer_key FROM sales_line WHERE customer_key IS NOT NULL "
        "UNION SELECT customer_key FROM customer"
    )
    found |= {str(key): "" for (key,) in rows}
    for record in vault.imports():
        if record.quarantine:
            bad = vault.quarantined(record.sha256)[1]
            found |= {one.customer_key: "" for one in bad if one.customer_key}
    return found
