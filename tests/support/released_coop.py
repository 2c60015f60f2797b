"""An office that serves over TLS on loopback, real nodes that joined it, and releases on demand.

Nothing is trained: the rounds of a release carry true descriptors and certificates, signed with
the members' own keys, over made-up sums. What members do with a release is the product's.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import small_coop
from coordinator.drafts import new_draft
from coordinator.events import Events
from coordinator.members.pki import create_cooperative
from coordinator.release.models import Release, Source, make_release, store_release
from coordinator.release.publishing import ReleaseDesk
from coordinator.server import Server
from coordinator.store.database import Database
from coordinator.wiring import House, locate, open_house, utc_now
from live_coop import free_ports
from node import keys
from node.data import intake
from node.federation import channel
from node.federation.post import exchange
from node.house import Member, open_home, open_member
from protocols.agreement.parse import read_agreement
from protocols.agreement.roster import read_roster
from protocols.agreement.terms import Governance, Workloads
from protocols.course import chart
from protocols.ids import MemberId
from protocols.joining import Profile
from protocols.retrace import begin, follow, record_bytes
from protocols.signing import SigningKey, jws_payload, jws_sign
from protocols.workloads import demand

SHOPS = 6
APPROVER = SigningKey(b"\x77" * 32)
FIRST = date(2025, 6, 2)  # a Monday
WEEKS = 12
HEADER = "Date,Time,Receipt no,SKU,Product,Category,Quantity,Unit price,Discount,Total"


def till(shop: int) -> str:
    """Twelve weeks of bread and milk, as a till exports them."""
    lines = [HEADER]
    for day in range(7 * WEEKS):
        at = (FIRST + timedelta(days=day)).isoformat()
        for sku, category in (("b1", "bread"), ("m1", "milk")):
            units = 3 + (day * (shop + 2) + len(sku + category)) % 7
            lines.append(
                f"{at},10:00:00,r{shop}-{day},{sku},It,{category},{units},2.00,0,{units * 2:.2f}"
            )
    return "\n".join([*lines, ""])


@dataclass
class Released:
    """The cooperative; ``agreed`` are figures of its agreement."""

    root: Path
    agreed: Mapping[str, Any] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)

    # ------------------------------------------------------------------ founding

    def found(self) -> None:
        folder, _, where = locate(self.root / "office")
        join, link = free_ports(2)
        create_cooperative(
            where,
            name="Six shops",
            profile="B",
            hosts=("127.0.0.1",),
            join_port=join,
            link_port=link,
            now=utc_now(),
        )
        Database.open(where.database, create=True).close()
        (folder / "config.toml").write_text('bind = "127.0.0.1"\njoin_per_minute = 600\n')
        self.serve()
        for number in range(SHOPS):
            self.folders.append(self._join(number))
        self.folders.sort(key=lambda one: keys.load(one).member)
        draft = new_draft(
            self.house.office,
            template="grocers",
            lasts=timedelta(days=400),
            workloads=(demand.ID,),
            settings={"horizons": 2},
            max_rounds=40,
            figures={"min_rows": 10, "colluders": 1, "min_cohort": 5, **self.agreed},
            previous=None,
            now=utc_now() - timedelta(days=60),
        )
        self.house.agreements.propose(draft.document)
        for number in range(SHOPS):
            with self.member(number) as member:
                exchange(member)
                newest = member.agreements.newest_roster()
                assert newest is not None
                member.agreements.sign(member.agreements.proposed()[-1].id, newest.id)
                exchange(member)
        for number in range(SHOPS):
            self.contact(number)

    def _join(self, number: int) -> Path:
        folder = self.root / f"shop-{number}"
        keys.create(folder)
        export = folder / "till.csv"
        export.write_text(till(number))
        home = open_home(folder)
        plan = intake.preview(export, intake.Options(timezone="Europe/Berlin"))
        intake.add(home.vault(), plan, home.keys.customer_secret, home.clock())
        home.log.close()
        invited = self.house.enrolment.invite(f"Shop {number}", timedelta(hours=1), utc_now())
        about = Profile(f"Shop {number}", f"HRB {number}", "grocery", "town")
        channel.join(folder, invited.link, about, lambda offer: True, utc_now)
        return folder

    def serve(self) -> None:
        """``coop-coordinator serve`` in a thread, until ``stop``."""
        self.house: House = open_house(self.root / "office")
        self.out = io.StringIO()
        self._server = Server(self.house, Events(self.out, False, utc_now))
        self._thread = threading.Thread(target=self._server.run, name="office")
        self._thread.start()
        while "listening" not in self.out.getvalue():
            self._thread.join(0.05)

    def stop(self) -> None:
        self._server.stop()
        self._thread.join()
        self.house.close()

    # -------------------------------------------------------------------- members

    @contextmanager
    def member(self, number: int) -> Iterator[Member]:
        """An opened node; the shops are in the order of their ids."""
        found = open_member(self.folders[number])
        try:
            yield found
        finally:
            found.home.log.close()
            found.close()

    def contact(self, number: int) -> None:
        with self.member(number) as member:
            exchange(member)

    def id(self, number: int) -> MemberId:
        return keys.load(self.folders[number]).member

    # ------------------------------------------------------------------- releases

    @contextmanager
    def desk(self) -> Iterator[ReleaseDesk]:
        with self.house.log() as log:
            yield self.house.release_desk(log)

    def governance(self) -> Governance:
        parsed = self.house.agreement()
        block = parsed.terms.block("c05", Governance) if parsed is not None else None
        assert block is not None
        return block

    def make(
        self,
        run: str,
        *,
        created: datetime | None = None,
        present: Sequence[Sequence[int]] = ((0, 1, 2, 3, 4, 5),) * 3,
        wape: Mapping[str, float] = small_coop.GOOD,
    ) -> Release:
        """Make, store and offer a release as the run's end does.

        Args:
            run: two hex digits, repeated.
            created: when; now if None.
            present: numbers of the shops in each sum, the evaluation's last.
            wape: the metrics.
        """
        created = created or utc_now()
        source = self._source(run * 16, created, present, wape)
        with self.house.log() as log:
            made = make_release(source, self.house.key, log, created)
            store_release(made, self.house.releases)
            offer = self.house.release_desk(log).prepare(made)
        with self.house.database.write() as db:
            offer(db)
        return made

    def _source(
        self,
        run: str,
        created: datetime,
        present: Sequence[Sequence[int]],
        wape: Mapping[str, float],
    ) -> Source:
        chain = self.house.agreements.roster_chain()
        signed = self.house.agreements.agreement_under(chain)
        terms = read_agreement(jws_payload(signed, "agreement"), "agreement")
        roster = read_roster(jws_payload(chain[-1], "roster"), "roster")
        block = terms.terms.block("c13", Workloads)
        assert block is not None
        order = small_coop.order_under(
            terms,
            roster,
            coop=terms.agreement.coop,
            run=run,
            workload={
                "id": demand.ID,
                "version": demand.VERSION,
                "digest": block.workloads[0].digest,
            },
            cohort=sorted(roster.voters()),
            colluders=1,
            rounds=len(present) - 1,
            config={
                **demand.DEFAULTS,
                "horizons": 2,
                "categories": ["bread", "milk"],
                "train_until": (FIRST + timedelta(weeks=10, days=-1)).isoformat(),
            },
            issued=created - timedelta(hours=1),
            deadline=created + timedelta(hours=5),
        )
        course = chart(order, terms.terms, roster)
        played = small_coop.Run(course, begin(course))
        identities = [keys.load(one).identity for one in self.folders]
        for here in present:
            played.present = [identities[number] for number in here]
            record = played.record(played.descriptor(), wape, signer=self.house.key)
            raw = record_bytes(record)
            played.trace = follow(played.trace, raw, self.house.key.public, "record")
            played.records.append(raw)
        return Source(
            agreement=signed,
            rosters=chain,
            order=jws_sign(order.document, "operator", self.house.operator_key()),
            records=played.records,
        )


@contextmanager
def released_coop(root: Path, **agreed: Any) -> Iterator[Released]:
    """A founded cooperative that is gone at the end."""
    made = Released(root, agreed)
    try:
        made.found()
        yield made
    finally:
        made.stop()


Opened = Callable[[int], Member]
