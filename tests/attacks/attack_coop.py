"""A whole cooperative under attack: seven real members, one real office that lies when told to.

n = 7, C = 2: the quorum is 5, four shares open a secret, at least five members are in every sum.
It is founded once for a module; every scenario is one run of it, from a signed order to its end.
"""

from __future__ import annotations

import logging
import os
import secrets as real_secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attack_office import Lie, Malice, Office, Said, Script, TakeOver, opened
from attack_shop import CATEGORY, FIRST, GENERIC, HOLDOUT_WEEKS, TRAIN_WEEKS, Shop

from coordinator.drafts import new_draft
from coordinator.launching import launch, planned
from coordinator.members.pki import create_cooperative
from coordinator.plans import Asked, RunPlan
from coordinator.rounds.ending import end_run
from coordinator.store.database import Database
from coordinator.store.runs import Runs, State
from coordinator.wiring import locate, utc_now
from live_coop import free_ports
from node import wiring as node_wiring
from protocols.agreement.order import stage_timeouts
from protocols.agreement.terms import Workloads
from protocols.course import Course
from protocols.ids import MemberId, RunId
from protocols.secagg.messages import Stage
from protocols.workloads import demand

ADVERTISE, SHARE, MASK, AGREE, UNMASK, AUDIT, _PUBLISH = Stage
SHOPS = 7
OVER = {"released", "refused", "failed", "aborted"}
SETTINGS = {"horizons": 2, "local_steps": 1, "batch": 32, "lr": 0.02}
FIGURES = {
    "min_rows": 10,
    "max_runs": 10_000,
    "colluders": 2,
    "min_cohort": 5,
    "operator_legal_id": "Seven bakers",  # the office names no other
    "max_age_days": 3660,  # the rows are of one summer, whenever this runs
}


class Spy:
    """``secrets`` for the nodes: every draw is remembered, for the search in files and logs."""

    def __init__(self) -> None:
        self.drawn: set[bytes] = set()
        self._lock = threading.Lock()

    def token_bytes(self, count: int) -> bytes:
        drawn = real_secrets.token_bytes(count)
        if count >= 16:
            with self._lock:
                self.drawn.add(drawn)
        return drawn


@dataclass
class Scenario:
    """One run, and everything that went over the link in it."""

    coop: Coop
    run: str
    course: Course
    since: int
    said_since: int

    @property
    def said(self) -> list[Said]:
        """All exchanges of this run so far."""
        return self.coop.malice.said[self.said_since :]

    def answers(self, stage: Stage, names: Iterable[str] | None = None) -> list[Said]:
        """Replies (not refusals) of these members in a stage."""
        wanted = {self.coop.id(name) for name in names or self.coop.names}
        return [
            one
            for one in self.said
            if one.stage is stage and one.member in wanted and one.reply is not None
        ]

    def refusals(self, name: str) -> list[str]:
        """Reasons that a member wrote down during this run."""
        return self.coop.shops[name].refusals(self.run)

    def ended(self) -> str:
        """Wait for the end of the run; its state."""
        over = self.coop.office.lines.wait(
            lambda one: one["event"] == "run" and one["run"] == self.run and one["state"] in OVER,
            self.since,
        )
        return str(over["state"])

    def detail(self) -> str:
        """Why the run ended as it did."""
        with self.coop.office.house.database.read() as db:
            return Runs(db).require(RunId(self.run)).progress.detail

    def rounds(self) -> list[set[str]]:
        """Names of the survivors of each published round."""
        return [
            {self.coop.name_of(member) for member in one["members"]}
            for one in self.coop.office.lines.events[self.since :]
            if one["event"] == "round" and one["run"] == self.run
        ]

    def abort(self) -> None:
        """What ``coop-coordinator run abort`` does."""
        house = self.coop.office.house
        with house.database.write() as db:
            end_run(db, RunId(self.run), State.ABORTED, "-", self.course.cohort, utc_now())


@dataclass
class Coop:
    """The cooperative."""

    root: Path
    malice: Malice = field(default_factory=Malice)
    spy: Spy = field(default_factory=Spy)
    shops: dict[str, Shop] = field(default_factory=dict)
    logged: list[str] = field(default_factory=list)  # by any library, with tracebacks
    crashed: list[str] = field(default_factory=list)  # threads that ended on an error

    def __post_init__(self) -> None:
        self.office = Office(self.root / "office", self.malice)

    # ------------------------------------------------------------------ founding

    def found(self) -> None:
        """Init, serve, enrol, agree: every step is that of the commands."""
        self._init()
        self.office.start()
        for number in range(SHOPS):
            shop = Shop(f"Shop {number}", self.root / f"shop-{number}", number)
            shop.found()
            shop.join(self.invitation(shop.name))
            self.shops[shop.name] = shop
        ordered = sorted(self.shops.values(), key=lambda shop: shop.id)
        self.shops = {f"m{at}": shop for at, shop in enumerate(ordered, start=1)}
        self._agree()
        by_id = {shop.id: shop for shop in self.shops.values()}
        self.malice.reasons = lambda member: by_id[member].refusals()
        for shop in self.shops.values():
            shop.start()

    def invitation(self, name: str) -> str:
        """``member invite``: a link that is good once."""
        made = self.office.house.enrolment.invite(name, timedelta(hours=1), utc_now())
        return made.link

    def _init(self) -> None:
        folder, _, where = locate(self.office.folder)
        join_port, link_port = free_ports(2)
        create_cooperative(
            where,
            name="Seven bakers",
            profile="B",
            hosts=("127.0.0.1",),
            join_port=join_port,
            link_port=link_port,
            now=utc_now(),
        )
        Database.open(where.database, create=True).close()
        (folder / "config.toml").write_text(
            'bind = "127.0.0.1"\njoin_per_minute = 600\ncountry = "DE"\n', encoding="utf-8"
        )

    def _agree(self) -> None:
        house = self.office.house
        draft = new_draft(
            house.office,
            template="grocers",
            lasts=timedelta(days=30),
            workloads=(demand.ID,),
            settings=SETTINGS,
            max_rounds=40,
            figures=FIGURES,
            previous=None,
            now=utc_now(),
        )
        house.agreements.propose(draft.document)
        for shop in self.shops.values():
            shop.sign()
        block = draft.terms.block("c13", Workloads)
        assert block is not None
        for shop in self.shops.values():
            shop.approve(block.workloads[0].digest)

    def close(self) -> None:
        for shop in self.shops.values():
            shop.stop()
        self.office.stop()

    # ---------------------------------------------------------------------- names

    @property
    def names(self) -> tuple[str, ...]:
        """m1 to m7, in the order of their ids."""
        return tuple(self.shops)

    def id(self, name: str) -> MemberId:
        return self.shops[name].id

    def raw(self, *names: str) -> tuple[bytes, ...]:
        return tuple(self.shops[name].raw for name in names)

    def course_ids(self) -> tuple[bytes, ...]:
        """Everybody, as a descriptor lists them."""
        return tuple(sorted(self.roster()))

    def roster(self) -> dict[bytes, bytes]:
        """Raw member id -> Ed25519 public key."""
        return {shop.raw: shop.key.public for shop in self.shops.values()}

    def name_of(self, member: str | bytes) -> str:
        hexed = member.hex() if isinstance(member, bytes) else member
        return next(name for name, shop in self.shops.items() if shop.id == hexed)

    # ----------------------------------------------------------------------- runs

    def plan(self, rounds: int = 1, active: Iterable[str] | None = None) -> RunPlan:
        """``run plan``: an order over these members, or over everybody."""
        return planned(
            self.office.house,
            Asked(
                workload=demand.ID,
                rounds=rounds,
                settings={
                    "categories": [CATEGORY],
                    "train_until": (FIRST + timedelta(weeks=TRAIN_WEEKS, days=-1)).isoformat(),
                    "holdout_weeks": HOLDOUT_WEEKS,
                },
                lasts=timedelta(hours=1),
                stage_timeouts_s=stage_timeouts(20, 20, 20),
                rejoin_wait_s=5.0,
            ),
            None if active is None else [self.id(name) for name in active],
        )

    def launch(self, rounds: int = 1, plan: RunPlan | None = None) -> Scenario:
        """``run launch``: a signed order in every mailbox; the server does the rest."""
        plan = plan or self.plan(rounds)
        scenario = Scenario(
            self,
            plan.order.order.run,
            plan.course,
            len(self.office.lines.events),
            len(self.malice.said),
        )
        # the operator colludes: what the launch gate says holds nobody up
        launch(self.office.house, replace(plan, denial=None))
        return scenario

    def play(self, *evil: Lie | TakeOver, rounds: int = 1, until: str = "end") -> Scenario:
        """One run with these lies, to its end."""
        self.malice.forget()
        self.malice.lies = [one for one in evil if isinstance(one, Lie)]
        self.malice.takeovers = [one for one in evil if isinstance(one, TakeOver)]
        scenario = self.launch(rounds)
        scenario.ended()
        for one in self.malice.takeovers:
            for error in one.raised:
                raise error
        return scenario

    def lie(
        self,
        stage: Stage,
        edit: Callable[[Any, bytes], Any],
        names: Iterable[str] | None = None,
        **place: Any,
    ) -> Lie:
        """A changed request, properly sealed, for these members (everybody if left out)."""
        return Lie(stage, self.ids(names), self.malice.asking(edit), **place)

    def ids(self, names: Iterable[str] | None = None) -> frozenset[MemberId]:
        return frozenset(self.id(name) for name in (self.names if names is None else names))

    def takes_over(self, stage: Stage, script: Script, round: int = 1) -> TakeOver:
        return TakeOver(stage, script, round)


class Log(logging.Handler):
    """Keeps every record as it would be written, with its traceback."""

    def __init__(self, into: list[str]) -> None:
        super().__init__(logging.DEBUG)
        self._into = into

    def emit(self, record: logging.LogRecord) -> None:
        self._into.append(self.format(record) + "\n")


@contextmanager
def cooperative(root: Path) -> Iterator[Coop]:
    """A founded cooperative that is gone at the end, whatever happened."""
    coop = Coop(root)
    root.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, opened(coop.malice):
        patch.setattr(node_wiring, "secrets", SimpleNamespace(token_bytes=coop.spy.token_bytes))
        patch.setattr(node_wiring, "MAIL_S", 0.5)
        patch.setattr(os, "fsync", lambda handle: None)  # no power is cut here
        patch.setattr(threading, "excepthook", lambda args: coop.crashed.append(repr(args)))
        log = Log(coop.logged)
        logging.getLogger().addHandler(log)
        try:
            coop.found()
            yield coop
        finally:
            coop.close()
            logging.getLogger().removeHandler(log)
        assert coop.crashed == []


__all__ = ["GENERIC", "Coop", "Scenario", "cooperative"]
