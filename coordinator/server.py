"""``coop-coordinator serve``: two listeners, the mailboxes, and one run at a time."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from importlib.metadata import version

from coordinator import incidents, upkeep
from coordinator.desk import Desk
from coordinator.events import Events
from coordinator.log.append import AuditLog
from coordinator.release.models import Source, make_release, store_release
from coordinator.rounds.ending import end_run
from coordinator.rounds.exchange import Exchange
from coordinator.rounds.run import Made, Office, Run
from coordinator.store.mail import Mail
from coordinator.store.members import Member, Members, Status
from coordinator.store.runs import Run as StoredRun
from coordinator.store.runs import Runs, State
from coordinator.wire.grid import LinkGrid
from coordinator.wire.join import serve_join
from coordinator.wire.limits import RateLimiter
from coordinator.wire.server_app import server_app
from coordinator.wire.services import Link, serve_link
from coordinator.wire.sessions import Sessions
from coordinator.wire.tls import link_credentials, peer_member
from coordinator.wiring import House
from protocols import course, retrace
from protocols.agreement.parse import read_agreement
from protocols.agreement.roster import read_roster
from protocols.audit.entries import Kind
from protocols.errors import CoopError
from protocols.ids import MemberId
from protocols.secagg.params import MAX_MEMBERS
from protocols.signing import jws_payload

_log = logging.getLogger(__name__)
GONE_AFTER_S = 3.0
TICK_S = 0.25
DAILY = timedelta(days=1)
NEWCOMERS = timedelta(seconds=10)


class Server:
    """The serving process of one house."""

    def __init__(self, house: House, events: Events) -> None:
        self._house = house
        self._events = events
        self._stop = threading.Event()
        self._sessions = Sessions(time.monotonic)
        self._log: AuditLog = house.log()
        self._told: dict[MemberId, int] = {}
        self._here: frozenset[MemberId] = frozenset()
        self._left: frozenset[MemberId] = frozenset()
        self._worker: threading.Thread | None = None
        self._chores_at: dict[str, datetime] = {}

    def stop(self, *_: object) -> None:
        """End ``run`` soon; may be called from a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Serve until ``stop``."""
        house, settings = self._house, self._house.settings
        upkeep.daily(house, house.clock(), self._log.append, self._events.emit)  # before TLS starts
        self._chores_at["daily"] = house.clock()
        software = f"datacoop {version('datacoop')}"
        desk = Desk(house, self._log, self._events.emit)
        link = Link(
            desk,
            self._sessions,
            lambda context: peer_member(context, house.enrolment, house.clock),
            software,
            lambda: int(house.clock().timestamp() * 1000),
        )
        link_server, link_port = serve_link(
            link,
            f"{settings.bind}:{house.office.link.port}",
            link_credentials(house.where),
            MAX_MEMBERS,
        )
        join = serve_join(
            house.enrolment,
            f"{settings.bind}:{house.office.join.port}",
            link_port=link_port,
            limiter=RateLimiter(
                per_minute=settings.join_per_minute,
                per_minute_total=settings.join_per_minute_total,
                clock=time.monotonic,
            ),
            software=software,
            now=house.clock,
        )
        self._log.append(Kind.START, {"software": software.replace(" ", "-")})
        self._events.emit("listening", join_port=join.port, link_port=link_port)
        try:
            while not self._stop.wait(TICK_S):
                self._tick()
        finally:
            self._sessions.stop()
            if self._worker is not None:
                self._worker.join()
            join.stop()
            link_server.stop(2.0).wait()
            self._log.append(Kind.STOP)
            self._log.close()
            self._events.emit("stopped")

    def _tick(self) -> None:
        self._chores()
        self._notice_members()
        self._notice_mail()
        if self._worker is not None and self._worker.is_alive():
            return
        with self._house.database.read() as db:
            listed = Runs(db).list(open_only=True)
        waiting = [one for one in listed if one.state is not State.AWAITING]
        if waiting:
            self._worker = threading.Thread(
                target=self._work, args=(waiting[0],), name="run", daemon=False
            )
            self._worker.start()

    def _chores(self) -> None:
        """What comes round by itself; a clock that was set back repeats a chore, no more."""
        house = self._house
        if self._is_due("daily", DAILY):
            upkeep.daily(house, house.clock(), self._log.append, self._events.emit)
        if self._is_due("newcomers", NEWCOMERS):
            incidents.deliver(house)

    def _is_due(self, chore: str, every: timedelta) -> bool:
        now, last = self._house.clock(), self._chores_at.get(chore)
        if last is not None and timedelta(0) <= now - last < every:
            return False
        self._chores_at[chore] = now
        return True

    def _notice_members(self) -> None:
        here = self._sessions.connected()
        for member in here - self._here:
            self._events.emit("connected", name=self._house.enrolment.name_of(member))
        for member in self._here - here:
            self._events.emit("gone", name=self._house.enrolment.name_of(member))
        self._here = here

    def _propose_without(self, active: Sequence[Member]) -> None:
        """Whose notice is over stands in the roster no longer, once the members have signed."""
        now = self._house.clock()
        left = frozenset(m.id for m in active if m.leaving_at is not None and m.leaving_at <= now)
        if left - self._left:
            try:
                if self._house.propose_roster(self._log):
                    self._events.emit("departed", count=len(left))
            except CoopError as error:  # the operator sees it again at 'agreement propose'
                _log.warning("no roster without those who left could be proposed: %s", error)
        self._left = left

    def _notice_mail(self) -> None:
        with self._house.database.read() as db:
            active = Members(db).list(Status.ACTIVE)
            last = {one.id: Mail(db).cursor(one.id).last for one in active}
        self._propose_without(active)
        for member in self._sessions.connected():
            if member not in last:
                self._sessions.end(member, "this member was removed")
            elif last[member] > self._told.get(member, 0):
                self._told[member] = last[member]
                self._sessions.notice(member, last[member])

    def _work(self, stored: StoredRun) -> None:
        """The outermost shell of the run's thread: whatever happens, the run gets an end."""
        try:
            self._conduct(stored)
        except CoopError as error:
            self._fail(stored, str(error))
        except Exception:  # noqa: BLE001 - nothing is above this thread; it must not end silently
            _log.exception("run %s failed on an error of our own", stored.run)
            self._fail(stored, "an error of the coordinator's own; its log has the details")

    def _conduct(self, stored: StoredRun) -> None:
        """One run in its own thread, as a Flower ServerApp over the link."""
        from flwr.app import Context, RecordDict

        house = self._house
        signed_order, order = house.order_of(stored)
        chain = house.agreements.roster_chain(order.order.roster)
        # The version of the order, also when a later one has come into force since (SPEC.md, 8).
        signed_agreement = house.agreements.agreement_under(chain, order.order.agreement)
        agreement = read_agreement(jws_payload(signed_agreement, "agreement"), "agreement")
        roster = read_roster(jws_payload(chain[-1], "roster"), "roster")
        route = course.chart(order, agreement.terms, roster)
        source = Source(signed_agreement, chain, signed_order, ())

        def conduct(exchange: Exchange) -> None:
            Run(route, self._office(stored, source), exchange).conduct()

        number = int(stored.run[:15], 16)
        grid = LinkGrid(self._sessions, route.cohort, number, GONE_AFTER_S)
        context = Context(
            run_id=number, node_id=1, node_config={}, state=RecordDict(), run_config={}
        )
        server_app(conduct, self._sessions)(grid, context)

    def _office(self, stored: StoredRun, source: Source) -> Office:
        house = self._house
        return Office(
            database=house.database,
            folder=house.run_folder(stored.run),
            key=house.key,
            journal=self._log.append,
            log_head=self._log.head,
            emit=self._events.emit,
            clock=house.clock,
            stop=self._stop,
            release=self._releaser(stored, source),
            name_of=house.enrolment.name_of,
        )

    def _releaser(self, stored: StoredRun, source: Source) -> Callable[[retrace.Trace], Made]:
        house = self._house

        def release(trace: retrace.Trace) -> Made:
            rounds = house.run_folder(stored.run) / "rounds"
            records = tuple(
                (rounds / f"{number:04d}.bin").read_bytes()
                for number in range(1, trace.course.last_round + 1)
            )
            whole = Source(source.agreement, source.rosters, source.order, records)
            made = make_release(whole, house.key, self._log, house.clock())
            folder = store_release(made, house.releases)
            offer = house.release_desk(self._log).prepare(made)
            if made.missing:
                missing = " and ".join(made.missing)
                self._events.emit("held", run=stored.run, model=made.model, missing=missing)
            return Made(made.model, offer, lambda: shutil.rmtree(folder))

        return release

    def _fail(self, stored: StoredRun, problem: str) -> None:
        _, order = self._house.order_of(stored)
        cohort = tuple(MemberId(one) for one in order.order.cohort)
        with self._house.database.write() as db:
            if Runs(db).require(stored.run).over:
                return
            end_run(db, stored.run, State.FAILED, problem, cohort, self._house.clock())
        self._events.emit("run", run=stored.run, state="failed", detail=problem)
