"""A whole office on disk, with six members that have signed: what commands and gates work on.

Keys, database, log and documents are the product's own; only the link is missing. Its clock is
set by hand.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from coordinator.drafts import new_draft
from coordinator.members.agreements import Agreements
from coordinator.members.pki import create_cooperative, places
from coordinator.plans import Asked
from coordinator.store.database import Database
from coordinator.store.mail import Letter, Mail
from coordinator.store.members import Member, Members, Status
from coordinator.wiring import House, open_house
from protocols.agreement.order import stage_timeouts
from protocols.canonical import json_bytes, parse_json
from protocols.joining import Profile
from protocols.signing import SigningKey, identity_of, jws_sign
from small_coop import IDS, MEMBERS, NOW

NAME = "Six shops"
DEMAND: Mapping[str, Any] = {"categories": ["bread"], "train_until": "2025-12-01"}
SETTINGS: Mapping[str, Any] = {"expected_customers": 2000, "train_until": "2025-12-01"}


def asked(workload: str = "churn", **changes: Any) -> Asked:
    values: dict[str, Any] = {
        "workload": workload,
        "rounds": 0,
        "settings": SETTINGS,
        "lasts": timedelta(hours=24),
        "stage_timeouts_s": stage_timeouts(60, 600),
        "rejoin_wait_s": 5.0,
    }
    return Asked(**(values | changes))


def quick(**changes: Any) -> Asked:
    """A run without noise: its plan needs no accounting."""
    return asked("demand", **{"settings": DEMAND, **changes})


_SCRATCH = tempfile.TemporaryDirectory(prefix="datacoop-")


@cache
def _empty_database() -> Path:
    """Made once per process: the migrations take longer than most tests."""
    file = Path(_SCRATCH.name) / "coordinator.db"
    Database.open(file, create=True).close()
    return file


@dataclass
class SmallOffice:
    """The office of six members; ``now`` is what its clock says."""

    folder: Path
    keys: tuple[SigningKey, ...] = MEMBERS
    now: datetime = NOW
    house: House = field(init=False)

    def __post_init__(self) -> None:
        where = places(self.folder)
        if where.coop_file.exists():
            self.open()
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        create_cooperative(
            where,
            name=NAME,
            profile="B",
            hosts=("127.0.0.1",),
            join_port=8801,
            link_port=8802,
            now=NOW - timedelta(days=2),
        )
        shutil.copy(_empty_database(), where.database)
        (self.folder / "config.toml").write_text('country = "DE"\n', encoding="utf-8")
        self.open()
        with self.house.database.write() as db:
            for key in self.keys:
                Members(db).add(_member(key))

    def open(self) -> House:
        """Open it anew, as another process does."""
        made = open_house(self.folder)
        papers = Agreements(made.database, made.office.public.coop, self.clock)
        self.house = replace(made, clock=self.clock, agreements=papers)
        return self.house

    def clock(self) -> datetime:
        return self.now

    def agree(self, signers: Iterable[SigningKey] | None = None, **figures: Any) -> None:
        """Propose an agreement with these figures; everybody signs it, or only some."""
        parsed = self.house.agreement()
        draft = new_draft(
            self.house.office,
            template="grocers",
            lasts=timedelta(days=300),
            workloads=("demand", "churn"),
            settings={},
            max_rounds=200,
            figures={"operator_legal_id": NAME, **figures},
            previous=parsed,
            now=self.now,
        )
        self.house.agreements.propose(draft.document)
        for key in self.keys:
            for document in self.proposed(key, "roster"):
                self.sign(key, document)
        for key in self.keys if signers is None else signers:
            self.sign(key, draft.document)

    def sign(self, key: SigningKey, document: Mapping[str, Any]) -> None:
        member = identity_of(key.public)
        self.house.agreements.take_signature(member, json_bytes(jws_sign(document, member, key)))

    def proposed(self, key: SigningKey, kind: str) -> list[dict[str, Any]]:
        return [parse_json(one.body, kind) for one in self.letters(key) if one.kind == kind]

    def letters(self, key: SigningKey = MEMBERS[0], kind: str = "") -> tuple[Letter, ...]:
        """A member's mailbox, all of it or letters of one kind."""
        with self.house.database.read() as db:
            found = Mail(db).after(identity_of(key.public), 0, limit=1000)
        return tuple(one for one in found if kind in ("", one.kind))

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """Facts of the log's entries of one kind."""
        lines = (self.folder / "audit" / "log.jsonl").read_text(encoding="utf-8").splitlines()
        found = [json.loads(line) for line in lines]
        return [one["facts"] for one in found if one["kind"] == kind]


@cache
def _signed(figures: str) -> Path:
    folder = Path(tempfile.mkdtemp(dir=_SCRATCH.name)) / "office"
    made = SmallOffice(folder)
    made.agree(**json.loads(figures))
    made.house.close()
    return folder


def signed_office(folder: Path, **figures: Any) -> SmallOffice:
    """An office whose members have all signed an agreement with these figures.

    Made once per process for the same figures, keys included, then copied.
    """
    shutil.copytree(_signed(json.dumps(figures, sort_keys=True)), folder)
    return SmallOffice(folder)


def _member(key: SigningKey) -> Member:
    member = identity_of(key.public)
    return Member(
        member,
        Profile(f"Shop {member[:4]}", f"HRB {member[:4]}", "grocery", "town"),
        key.public,
        Status.ACTIVE,
        NOW - timedelta(days=1),
        encryption_key=bytes.fromhex(member),
    )


__all__ = ["IDS", "MEMBERS", "NOW", "SETTINGS", "SmallOffice", "asked", "quick", "signed_office"]
