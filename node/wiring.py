"""``coop-node start``: keeps the node connected, its letters moving and its runs going.

Three threads: the stream (this one), the mailroom (letters, decisions, baselines), and the
session's worker (one round stage at a time). A connection that breaks is tried again for ever.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from datetime import date, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING

import grpc

from node import round as way
from node.events import Events
from node.federation import channel as wire
from node.federation.client_app import client_app, drive
from node.federation.link import Calls, Session, pauses
from node.federation.mailroom import Mailroom
from node.federation.participant import Ticket, Tools, survivor_allowance
from node.federation.rooms import Rooms
from node.federation.using import drop_old
from node.federation.witness import CONTACT_AFTER, head_of, witness_of
from node.house import Member
from node.policy import renewal
from node.policy.evidence import Me
from node.policy.gate import History
from node.policy.going import refuse_if_stopped
from node.policy.health import data_age_days, health
from node.policy.mapped import mapped
from node.policy.survivors import admit_survivors
from node.store.rounds import SpentRounds, SurvivorSets
from protocols.agreement.order import ParsedOrder
from protocols.errors import Code, CoopError, RemoteError
from protocols.ids import RunId
from protocols.privacy.noise import discrete_gaussian
from protocols.secagg.params import LogHead
from protocols.workloads import catalogue

if TYPE_CHECKING:
    from node.endpoint.server import LocalDoor

MAIL_S = 1.0


class _Ledgers:
    """``node.federation.participant.Ledgers`` over the node's store."""

    def __init__(
        self,
        member: Member,
        allowed: Callable[[str], int | None],
        going: Callable[[str], None],
    ) -> None:
        self._going = going
        self._database = member.database
        self._spent = SpentRounds(member.database, member.home.clock)
        self._allowed = allowed

    def mark_sent(self, run: bytes) -> None:
        self._going(run.hex())
        self._spent.mark_sent(run)

    def mark_spent(self, run: bytes, round: int) -> None:
        self._going(run.hex())
        self._spent.mark_spent(run, round)

    def admit_survivors(self, run: str, round: int, members: frozenset[str], floor: int) -> None:
        admit_survivors(
            self._database,
            run,
            round,
            members,
            n_min=floor,
            allowed=self._allowed(run),
        )

    def keep_survivors(self, run: str, round: int, members: frozenset[str]) -> None:
        with self._database.write() as db:
            SurvivorSets(db).published(run, round, members)


class Daemon:
    """The running node."""

    def __init__(self, member: Member, events: Events) -> None:
        self._member = member
        self._events = events
        self._stop = threading.Event()
        self._mail = threading.Event()
        self._calls: Calls | None = None
        self._channel: grpc.Channel | None = None
        self._tickets: dict[str, Ticket] = {}
        self._contact_due = 0.0
        self.renewing = False
        home = member.home
        self._mailroom = Mailroom(
            member.database,
            member.agreements,
            member.results,
            home.journal,
            events.emit,
            home.clock,
            member.keepers,
        )
        self._witness = witness_of(member, events.emit)
        tools = Tools(
            identity=home.keys.identity,
            member=member.membership.member,
            entropy=secrets.token_bytes,
            noise=lambda sigma, count: discrete_gaussian(sigma, count, secrets.token_bytes),
            monotonic=time.monotonic,
            clock=home.clock,
            ledgers=_Ledgers(member, self._allowance, self._going),
            fetch_round=self._fetch_round,
            prepare=self._prepare,
            check_log=self._check_log,
            journal=home.journal,
            emit=events.emit,
        )
        self._rooms = Rooms(member, self._mailroom, tools, self._history)
        number = int(member.membership.member[:16], 16) >> 1
        self._session = Session(
            f"datacoop {version('datacoop')}",
            lambda: int(home.clock().timestamp() * 1000),
            drive(client_app(self._rooms.handle), number),
            self._mail.set,
        )

    def stop(self, *_: object) -> None:
        """End ``run`` soon; may be called from a signal handler."""
        self._stop.set()
        self._mail.set()

    def _end_for_new_keys(self) -> None:
        """The members accepted this member's new key: the process opens the node again with it."""
        if renewal.ready(self._member.home.folder, self._member.database):
            self.renewing = True
            self.stop()

    def run(self) -> None:
        """Serve until ``stop``. Whatever was admitted before a restart is made ready first."""
        home = self._member.home
        home.journal("start", {"software": f"datacoop-{version('datacoop')}"})
        self._rooms.reconsider()
        door = self._open_door()  # a port in use ends the command before anything runs
        post = threading.Thread(target=self._keep_post, name="mailroom")
        post.start()
        waits = pauses(home.settings.reconnect_min_s, home.settings.reconnect_max_s)
        try:
            while not self._stop.is_set():
                try:
                    self._connected_once()
                    waits = pauses(home.settings.reconnect_min_s, home.settings.reconnect_max_s)
                except RemoteError as error:
                    pause_s = next(waits)
                    self._events.emit("waiting", problem=str(error), pause_s=pause_s)
                    self._stop.wait(pause_s)
        finally:
            self.stop()
            if door is not None:
                door.stop()
            post.join()
            self._session.close()
            home.journal("stop", {})
            home.log.close()
            self._events.emit("stopped")

    def _open_door(self) -> LocalDoor | None:
        """The local HTTP door for shop systems, if the settings have a port for it."""
        port = self._member.home.settings.endpoint_port
        if port is None:
            return None
        from node.endpoint.server import LocalDoor

        door = LocalDoor(self._member.home, self._member.database, port)
        door.start()
        self._events.emit("door", address=door.address)
        return door

    def _connected_once(self) -> None:
        channel = wire.link_channel(self._member.home.folder)
        try:
            if self._renew(channel):
                return  # connect again: this channel keeps the old certificate
            self._calls, self._channel = Calls(channel), channel
            self._exchange_letters(self._calls)
            self._events.emit("connected", address=str(self._member.membership.link))
            self._mail.set()
            self._session.run(channel, self._stop)
        finally:
            self._calls = self._channel = None
            channel.close()

    def _renew(self, channel: grpc.Channel) -> bool:
        """Get a new certificate if the one in use ends soon; whether that was so."""
        if not self._renewal_due():
            return False
        home = self._member.home
        ends = wire.renew(home.folder, channel, home.clock)
        home.journal("renewal", {"not_after": ends.isoformat()})
        self._events.emit("renewed", not_after=ends.isoformat())
        return True

    def _renewal_due(self) -> bool:
        home = self._member.home
        before = timedelta(days=home.settings.renew_before_days)
        return wire.needs_renewal(home.folder, home.clock(), before)

    def _reconnect_to_renew(self) -> None:
        """A connection keeps the certificate that it began with: end it when that gets old."""
        channel = self._channel
        if channel is not None and self._renewal_due():
            channel.close()

    def _keep_post(self) -> None:
        """The mailroom's loop: on notice, and every second for letters that commands queued."""
        while not self._stop.is_set():
            self._mail.wait(MAIL_S)
            noticed = self._mail.is_set()
            self._mail.clear()
            try:
                self._rooms.reconsider()
                self._rooms.close_finished()
                self._end_for_new_keys()
                self._reconnect_to_renew()
                calls = self._calls
                if calls is not None:
                    if noticed or time.monotonic() > self._contact_due:
                        self._exchange_letters(calls)
                    else:
                        self._mailroom.deliver(calls)
            except CoopError as error:  # a full disk, say: the thread must outlive it
                if error.code is not Code.UNAVAILABLE and not self._stop.is_set():
                    self._events.emit("out", run="-", round=0, problem=str(error))

    def _exchange_letters(self, calls: Calls) -> None:
        drop_old(self._member)  # before an order that clause 28 would refuse for it
        self._witness.contact(calls)  # before anything that it brings is admitted
        self._contact_due = time.monotonic() + CONTACT_AFTER.total_seconds()
        self._mailroom.deliver(calls)
        while self._mailroom.collect(calls, self._rooms.receive):
            self._mailroom.deliver(calls)

    def _fetch_round(self, run: RunId, number: int) -> bytes:
        calls = self._calls
        if calls is None:
            raise RemoteError("not connected.", peer="coordinator", code=Code.UNAVAILABLE)
        return calls.fetch("round", run, f"{number:04d}")

    def _check_log(self, head: LogHead, evidence: bytes) -> None:
        """The log's head in a descriptor is in the history that this node keeps; RemoteError."""
        calls = self._calls
        if calls is None:
            raise RemoteError("not connected.", peer="coordinator", code=Code.UNAVAILABLE)
        named = head_of(head.size, head.root, self._member.witnessed)
        self._witness.check_head(calls, named, {"descriptor.bin": evidence})

    def _prepare(self, ticket: Ticket) -> way.Prepared:
        self._tickets[ticket.run] = ticket
        home = self._member.home
        return way.prepare(
            ticket.permit,
            ticket.course,
            home.clock(),
            way.House(
                home.vault(),
                home.consents(self._member.database),
                home.run_books(self._member.database),
                home.cache,
            ),
        )

    def _going(self, run: str) -> None:
        """Training takes its time: what stopped the run meanwhile holds back what came of it."""
        home = self._member.home
        me = Me(self._member.membership.member, home.keys.identity.public)
        agreement = self._tickets[run].permit.agreement
        refuse_if_stopped(self._member.database, me, agreement, home.clock())

    def _allowance(self, run: str) -> int | None:
        return survivor_allowance(self._tickets[run].course)

    def _history(self, order: ParsedOrder) -> History:
        """What the vault holds up to the order's last training day; counts, no rows."""
        home, one = self._member.home, order.order
        vault, database, now = home.vault(), self._member.database, home.clock()
        try:
            workload = catalogue.find(one.workload.id, str(one.workload.version))
            until: date | None = workload.configure(one.config, "order config").known_until
        except CoopError:
            until = None
        return History(
            vault.weeks_of_history(until),
            vault.summary().lines,
            health(vault, database, home.consents(database), one, now),
            data_age_days(vault, now),
            *mapped(home.folder, vault),
        )
