"""What an office does every day without being told: delete what its time has come for (clause 28)
and renew the server's certificate (clause 23).

Deleted are what members sent in rounds (stage logs, masked vectors among them) and parameters and
rounds of old releases. Kept are card, signatures and proof of every release, so that its history
can still be checked. What was deleted stands in the log.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from coordinator import files
from coordinator.members import certificates, pki
from coordinator.store.releases import NEXT as STEPS
from coordinator.store.releases import Releases, ReleaseState
from coordinator.store.runs import Runs
from coordinator.wiring import House
from protocols import bundle
from protocols.agreement.base import parse_utc
from protocols.agreement.terms import Retention
from protocols.audit.entries import Fact, Kind
from protocols.audit.writer import Facts
from protocols.errors import InputError, LocalError
from protocols.plain import printable

HOUR_S = 3600.0
RENEW_BEFORE = timedelta(days=60)
_STAGES = "runs/*/stages/*"
_KEPT = {bundle.CARD, bundle.CARD_SIGNED, bundle.AGREEMENT, bundle.ORDER, "log", "rosters"}
_TOO_OLD = "answers of its round have become older than clause 28 lets them stay"

Journal = Callable[[Kind, Facts], object]


@dataclass(frozen=True, slots=True)
class Due:
    """One thing whose time has come: a folder or file below home, how old, how old it may be."""

    kind: str  # "updates" or "release"
    path: Path
    age: timedelta
    limit: timedelta


def oldest_update(home: Path) -> datetime | None:
    """When the oldest answer of a round that still lies here came in; None if none does."""
    return min((at for _, at in _updates(home)), default=None)


def oldest_release(releases: Path) -> datetime | None:
    """When the oldest release was made whose model is still here; None if there is none."""
    return min((at for _, at in _published(releases)), default=None)


def due(house: House, now: datetime) -> tuple[Due, ...]:
    """Everything that clause 28 of the agreement in force does not let stay, oldest first.

    Nothing is due before there is an agreement.
    """
    parsed = house.agreement()
    block = None if parsed is None else parsed.terms.block("c28", Retention)
    if block is None:
        return ()
    updates, models = timedelta(hours=block.updates_hours), timedelta(days=block.models_days)
    found = [
        *[Due("updates", path, now - at, updates) for path, at in _updates(house.home)],
        *[Due("release", path, now - at, models) for path, at in _published(house.releases)],
    ]
    return tuple(sorted((one for one in found if one.age > one.limit), key=lambda one: -one.age))


def purge(house: House, now: datetime, journal: Journal) -> tuple[Due, ...]:
    """Delete what is due, write down what it was; what was deleted.

    A run that still needs answers that have become too old is ended with them.
    """
    found = due(house, now)
    _end_runs_of(house, [one.path for one in found if one.kind == "updates"], journal)
    for one in found:
        if one.kind == "release":
            _withdraw(house, one.path.name, now)
            _forget_model(one.path)
        else:
            one.path.unlink(missing_ok=True)
    for kind in ("updates", "release"):
        listed = [one for one in found if one.kind == kind]
        if listed:
            journal(Kind.PURGE, _facts(kind, listed))
    return found


def _end_runs_of(house: House, paths: list[Path], journal: Journal) -> None:
    """Before their answers go: nobody may finish a round from what is left."""
    named = {path.parent.parent.name for path in paths}
    with house.database.read() as db:
        late = [one for one in Runs(db).list(open_only=True) if one.run in named]
    for run in late:
        house.abort(run, _TOO_OLD, journal)


def renew_certificate(house: House, now: datetime, journal: Journal) -> bool:
    """Renew the server's certificates with the same key if they end soon; True if it was done.

    Nodes go on: they know the authority and the key, which both stay. Also one that lasts longer
    than this version makes them is renewed, because clause 23 bounds the lifetime.

    Raises:
        LocalError: it is time, and the authority's key is not here.
    """
    file = house.where.keys_dir / "server.cert.pem"
    found = x509.load_pem_x509_certificate(files.read(file))
    left = found.not_valid_after_utc - now
    if RENEW_BEFORE < left <= certificates.SERVER_FOR + timedelta(days=1):
        return False
    authority = pki.load_authority(house.where)
    key = files.read(house.where.keys_dir / "server.key.pem")
    hosts = house.office.hosts
    made = certificates.server_certificate(authority, key, hosts, now)
    joining = certificates.join_certificate(key, hosts, now)
    files.write(file, made, 0o644)
    files.write(house.where.keys_dir / "join.cert.pem", joining, 0o644)
    journal(Kind.RENEWAL, {"what": "server"})
    return True


def daily(house: House, now: datetime, journal: Journal, emit: Callable[..., None]) -> None:
    """All of it; what cannot be done is said and does not hold up the rest."""
    try:
        gone = purge(house, now, journal)
        if gone:
            emit("purged", updates=_count(gone, "updates"), releases=_count(gone, "release"))
    except (LocalError, InputError) as error:
        emit("purge-failed", problem=error.problem)
    except OSError as error:
        emit("purge-failed", problem=f"{error.filename}: {error.strerror}")
    try:
        if renew_certificate(house, now, journal):
            emit("certificate-renewed", note="in use from the next start on")
    except (LocalError, InputError) as error:
        emit("certificate-not-renewed", problem=error.problem, fix=error.fix)


def certificate_days(house: House) -> int:
    """Whole days that the server's certificate lasts from its first to its last, rounded up."""
    found = x509.load_pem_x509_certificate(files.read(house.where.keys_dir / "server.cert.pem"))
    lasts = found.not_valid_after_utc - found.not_valid_before_utc
    return -(-lasts // timedelta(days=1))


def _updates(home: Path) -> Iterator[tuple[Path, datetime]]:
    for path in sorted(home.glob(_STAGES)):
        try:
            written_s = path.stat().st_mtime
        except FileNotFoundError:  # its round was published meanwhile
            continue
        yield path, datetime.fromtimestamp(written_s, UTC)


def _published(releases: Path) -> Iterator[tuple[Path, datetime]]:
    for folder in sorted(releases.glob("[0-9a-f]*")):
        if (folder / bundle.MODEL).is_file():
            yield folder, _made_at(folder)


def _made_at(folder: Path) -> datetime:
    try:
        return parse_utc(json.loads((folder / bundle.CARD).read_bytes())["created"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LocalError(
            f"the card of a release cannot be read ({printable(str(error), 80)}).",
            where=str(folder),
            fix="Restore the folder from a backup.",
        ) from error


def _withdraw(house: House, model: str, now: datetime) -> None:
    with house.database.write() as db:
        found = Releases(db).get(model)
        if found is not None and ReleaseState.WITHDRAWN in STEPS[found.state]:
            Releases(db).move(model, ReleaseState.WITHDRAWN, now)


def _forget_model(folder: Path) -> None:
    """Parameters and rounds go, the model first: without it the release is not offered."""
    (folder / bundle.MODEL).unlink(missing_ok=True)
    for path in sorted(folder.iterdir()):
        if path.name in _KEPT:
            continue
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _facts(kind: str, listed: list[Due]) -> dict[str, Fact]:
    oldest = max(one.age for one in listed)
    facts: dict[str, Fact] = {
        "what": kind,
        "count": len(listed),
        "limit_hours": int(listed[0].limit.total_seconds() // HOUR_S),
        "oldest_hours": int(oldest.total_seconds() // HOUR_S),
    }
    if kind == "release":
        facts["models"] = tuple(one.path.name for one in listed[:100])
    return facts


def _count(listed: tuple[Due, ...], kind: str) -> int:
    return sum(one.kind == kind for one in listed)
