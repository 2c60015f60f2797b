"""``doctor``: what could go wrong here, each finding with its fix."""

from __future__ import annotations

import shutil
import socket
import stat
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography import x509

from coordinator import files, upkeep
from coordinator.store.incidents import Incidents
from coordinator.wiring import House, open_house
from protocols.agreement.status import Urgency
from protocols.errors import CoopError

LOW_DISK_BYTES = 1_000_000_000
SOON = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    found: str
    fix: str = ""


def examine(home: Path | None) -> list[Finding]:
    """All findings; never raises for something that it looks at."""
    try:
        house = open_house(home)
    except CoopError as error:
        return [Finding("home", False, error.problem, error.fix)]
    free = shutil.disk_usage(house.home).free
    return [
        Finding("cooperative", True, f"{house.office.public.name} in {house.home}"),
        Finding("database", True, f"version {house.database.revision}"),
        Finding("disk", free > LOW_DISK_BYTES, f"{free / 1e9:.1f} GB free", "Free some space."),
        *_certificates(house),
        *_keys(house),
        *_ports(house),
        _log(house),
        *_terms(house),
        *_duties(house),
    ]


def _duties(house: House) -> list[Finding]:
    """What would keep runs from being launched: the office's name, incidents, old data."""
    now, country = house.clock(), house.settings.country
    with house.database.read() as db:
        listed = Incidents(db).list(open_only=True)
    late = sum(one.overdue(now) for one in listed)
    try:
        old = len(upkeep.due(house, now))
    except CoopError as error:
        return [Finding("deletion", False, error.problem, error.fix)]
    return [
        Finding(
            "country",
            bool(country),
            country or "not set, and clause 22 asks for it",
            'Set it in config.toml, for example country = "DE".',
        ),
        Finding(
            "incidents",
            not listed,
            f"{len(listed)} open, {late} of them late to be told",
            "coop-coordinator incident list",
        ),
        Finding(
            "deletion",
            not old,
            f"{old} things are older than clause 28 allows",
            "Keep 'serve' running, which deletes them every day, or run: coop-coordinator purge.",
        ),
    ]


def _terms(house: House) -> list[Finding]:
    """What runs out: the agreement, its review, the keys in the roster."""
    from coordinator.members.matrix import matrix

    try:
        found = matrix(house.database, house.agreements, house.clock())
    except CoopError as error:
        return [Finding("agreement", False, error.problem, error.fix)]
    return [
        Finding("runs out", one.urgency is Urgency.SOON, str(one), one.fix)
        for one in found.warnings
    ]


def _certificates(house: House) -> list[Finding]:
    out = []
    for name in ("server.cert.pem", "join.cert.pem", "ca.pem"):
        certificate = x509.load_pem_x509_certificate(files.read(house.where.keys_dir / name))
        left = certificate.not_valid_after_utc - house.clock()
        out.append(
            Finding(
                f"certificate {name}",
                left > SOON,
                f"good for {left.days} days",
                "See RUNBOOK.md, 'Certificates that run out'.",
            )
        )
    return out


def _keys(house: House) -> list[Finding]:
    out = []
    for folder in (house.where.ca_dir, house.where.operator_dir, house.where.keys_dir):
        loose = [
            path.name for path in folder.glob("*.key*") if stat.S_IMODE(path.stat().st_mode) & 0o077
        ]
        found = f"readable by others: {', '.join(loose)}" if loose else "readable by you alone"
        out.append(Finding(f"keys in {folder}", not loose, found, "chmod 600 these files."))
    return out


def _ports(house: House) -> list[Finding]:
    out = []
    for name, address in (("join", house.office.join), ("link", house.office.link)):
        try:
            with socket.create_connection(("127.0.0.1", address.port), timeout=2):
                out.append(Finding(f"{name} listener", True, f"answers on port {address.port}"))
        except OSError:
            out.append(
                Finding(
                    f"{name} listener",
                    False,
                    f"nobody listens on port {address.port}",
                    "Start it: coop-coordinator serve.",
                )
            )
    return out


def _log(house: House) -> Finding:
    from coordinator.log.append import verify_log

    try:
        lines = verify_log(house.home / "audit", house.key.public)
    except CoopError as error:
        return Finding("audit log", False, error.problem, error.fix)
    return Finding("audit log", True, lines[0] if lines else "empty")
