"""Making a cooperative, and reading what was made.

Four secrets in separate folders: the authority's key (``ca/``, may lie on another disk), the
operator's key for orders (``operator/``, likewise), and ``keys/`` with the server's key and the
coordinator's key for descriptors and releases. Everything is first written into hidden folders,
the description (``coop.json``) last; then moved in place, the description last again. So a crash
leaves either nothing that was ever used, or something that the next call finishes.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from coordinator import files
from coordinator.members import certificates
from coordinator.members.certificates import Authority
from protocols.canonical import parse_json
from protocols.errors import Code, InputError, LocalError
from protocols.ids import MemberId
from protocols.joining import (
    Address,
    Cooperative,
    cooperative,
    cooperative_from_json,
    parse_address,
)
from protocols.signing import SigningKey

COOP_FILE = "coop.json"


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts of one coordinator lie."""

    home: Path
    ca_dir: Path
    operator_dir: Path

    @property
    def keys_dir(self) -> Path:
        """The serving process's own keys."""
        return self.home / "keys"

    @property
    def ca_certificate(self) -> Path:
        """The authority's certificate, beside the server's own: the key may be on another disk."""
        return self.keys_dir / "ca.pem"

    @property
    def coop_file(self) -> Path:
        """The description; a cooperative exists once this file does."""
        return self.home / COOP_FILE

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.home / "coordinator.db"


def places(home: Path, ca_dir: Path | None = None, operator_dir: Path | None = None) -> Places:
    """The usual places below ``home``, except what the configuration puts elsewhere."""
    return Places(home, ca_dir or home / "ca", operator_dir or home / "operator")


@dataclass(frozen=True, slots=True)
class Office:
    """A cooperative as its coordinator describes it (``coop.json``)."""

    public: Cooperative
    hosts: tuple[str, ...]
    join: Address
    link: Address
    fingerprint: str  # of the server's key, as invitations carry it
    created_at: datetime

    def reached_at(self, host: str, join_port: int | None, link_port: int | None) -> Office:
        """The same office under the addresses of the configuration, where it sets some."""
        name = host or self.join.host
        join = parse_address(str(Address(name, join_port or self.join.port)), "host")
        return replace(self, join=join, link=Address(name, link_port or self.link.port))

    def to_json(self) -> dict[str, Any]:
        """For coop.json."""
        return {
            "v": 1,
            **self.public.to_json(),
            "hosts": list(self.hosts),
            "join": str(self.join),
            "link": str(self.link),
            "fingerprint": self.fingerprint,
            "created_at": self.created_at.astimezone(UTC).isoformat(),
        }


def create_cooperative(
    where: Places,
    *,
    name: str,
    profile: str,
    hosts: tuple[str, ...],
    join_port: int,
    link_port: int,
    now: datetime,
    entropy: Callable[[int], bytes] = secrets.token_bytes,
) -> Office:
    """Make all keys and certificates of a new cooperative, or finish an interrupted attempt.

    Args:
        where: the folders; none of the key folders may exist.
        name: what members see.
        profile: name of the competition profile that the agreement will use.
        hosts: names or addresses under which nodes reach this machine; the first one goes into
            invitations.
        join_port, link_port: the two listeners.
        now: aware UTC time.
        entropy: for the Ed25519 seeds.

    Raises:
        InputError: an unusable name or host.
        LocalError: a cooperative exists here, stray key folders, disk full.
    """
    if where.coop_file.exists():
        raise LocalError(
            f"the cooperative {load_office(where).public.name!r} lives here already; nothing was "
            "changed.",
            code=Code.USAGE,
            where=str(where.home),
            fix="Use another --home for another cooperative.",
        )
    if not hosts:
        raise InputError("at least one host name is needed.", where="--host")
    addresses = [parse_address(str(Address(host, join_port)), "--host") for host in hosts]
    staging = _staging(where)
    description = where.home / f".{COOP_FILE}.making"
    if not description.exists():
        _refuse_strays(where)
        files.make_folder(where.home)
        for folder in staging.values():
            shutil.rmtree(folder, ignore_errors=True)
            files.make_folder(folder)
        public = _new_keys(
            staging, where, name=name, profile=profile, hosts=hosts, now=now, entropy=entropy
        )
        server_key = files.read(staging[where.keys_dir] / "server.key.pem")
        office = Office(
            public=public,
            hosts=hosts,
            join=addresses[0],
            link=Address(addresses[0].host, link_port),
            fingerprint=certificates.key_fingerprint(server_key, "server"),
            created_at=now,
        )
        text = json.dumps(office.to_json(), indent=1, sort_keys=True).encode()
        files.write(description, text, 0o644)
    with files.disk(where.home):
        for final, folder in staging.items():
            if folder.exists():
                folder.rename(final)
                files.sync_folder(final.parent)
        description.rename(where.coop_file)
        files.sync_folder(where.home)
    return load_office(where)


def _staging(where: Places) -> dict[Path, Path]:
    """Final folder -> hidden folder beside it (a rename must stay on one disk)."""
    finals = (where.ca_dir, where.operator_dir, where.keys_dir)
    return {final: final.with_name(f".{final.name}.making") for final in finals}


def _refuse_strays(where: Places) -> None:
    for folder in (where.ca_dir, where.operator_dir, where.keys_dir):
        if folder.exists():
            raise LocalError(
                f"there is a folder {folder.name!r} with keys, but no {COOP_FILE} beside it; it "
                "is not from an unfinished 'init', and keys are never overwritten.",
                code=Code.USAGE,
                where=str(folder),
                fix=f"Restore {COOP_FILE} from a backup, or move the folder away.",
            )


def _new_keys(
    staging: dict[Path, Path],
    where: Places,
    *,
    name: str,
    profile: str,
    hosts: tuple[str, ...],
    now: datetime,
    entropy: Callable[[int], bytes],
) -> Cooperative:
    ca, keys, operator = (
        staging[where.ca_dir],
        staging[where.keys_dir],
        staging[where.operator_dir],
    )
    ca_key, server_key = certificates.new_key_pem(), certificates.new_key_pem()
    ca_pem = certificates.new_authority(name, ca_key, now)
    authority = Authority(
        x509.load_pem_x509_certificate(ca_pem), certificates.load_key(ca_key, "ca")
    )
    operator_key, coordinator_key = SigningKey(entropy(32)), SigningKey(entropy(32))
    server_pem = certificates.server_certificate(authority, server_key, hosts, now)
    files.write(ca / "ca.key.pem", ca_key)
    files.write(keys / "ca.pem", ca_pem, 0o644)
    files.write(operator / "operator.key", operator_key.seed.hex().encode() + b"\n")
    files.write(keys / "coordinator.key", coordinator_key.seed.hex().encode() + b"\n")
    files.write(keys / "server.key.pem", server_key)
    files.write(keys / "server.cert.pem", server_pem, 0o644)
    files.write(
        keys / "join.cert.pem", certificates.join_certificate(server_key, hosts, now), 0o644
    )
    return cooperative(
        name,
        profile,
        authority.certificate.public_bytes(Encoding.DER),
        operator_key.public,
        coordinator_key.public,
    )


def load_office(where: Places) -> Office:
    """Read coop.json; LocalError if there is no cooperative here or the file is damaged."""
    file = where.coop_file
    if not file.is_file():
        raise LocalError(
            "no cooperative lives here.",
            code=Code.NOT_FOUND,
            where=str(where.home),
            fix="Run 'coop-coordinator init', or name the right folder with --home.",
        )
    value = parse_json(files.read(file), str(file))
    try:
        if value["v"] != 1:
            raise InputError(
                f"{COOP_FILE} has version {value['v']!r}; this software reads version 1.",
                where=str(file),
                fix="Install the newer release that wrote it.",
            )
        return Office(
            public=cooperative_from_json(value, str(file)),
            hosts=tuple(str(host) for host in value["hosts"]),
            join=parse_address(value["join"], str(file)),
            link=parse_address(value["link"], str(file)),
            fingerprint=str(value["fingerprint"]),
            created_at=datetime.fromisoformat(value["created_at"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LocalError(
            f"the description of the cooperative is damaged ({error}).",
            where=str(file),
            fix="Restore the file from a backup.",
        ) from error


def load_authority(where: Places) -> Authority:
    """The authority with its key; LocalError if the folder is not there (another disk?)."""
    key_file, file = where.ca_dir / "ca.key.pem", where.ca_certificate
    if not key_file.is_file():
        raise LocalError(
            "the authority's key is not there, so no certificate can be issued now.",
            code=Code.UNAVAILABLE,
            where=str(where.ca_dir),
            fix="Mount the disk that holds it, or set ca_dir in config.toml.",
        )
    key = certificates.load_key(files.read(key_file), str(key_file))
    try:
        certificate = x509.load_pem_x509_certificate(files.read(file))
    except ValueError as error:
        raise LocalError("this is not a certificate.", where=str(file)) from error
    return Authority(certificate, key)


def load_operator_key(where: Places) -> SigningKey:
    """The key that signs orders; only the operator's commands read it, never the server."""
    return _seed(where.operator_dir / "operator.key")


def load_coordinator_key(where: Places) -> SigningKey:
    """The key that signs round descriptors, releases and log checkpoints."""
    return _seed(where.keys_dir / "coordinator.key")


def _seed(file: Path) -> SigningKey:
    try:
        return SigningKey(bytes.fromhex(files.read(file, 200).decode("ascii").strip()))
    except (ValueError, InputError) as error:
        raise LocalError(
            "this is not a key file.", where=str(file), fix="Restore it from a backup."
        ) from error


def issue_certificate(
    where: Places, csr_pem: bytes, member: MemberId, now: datetime
) -> certificates.Issued:
    """One client certificate from the authority on disk (see ``certificates.issue``)."""
    return certificates.issue(load_authority(where), csr_pem, member, now)
