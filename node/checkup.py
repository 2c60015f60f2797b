"""``doctor``: what could go wrong on this node, each finding with its fix."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from node import membership
from node.federation.channel import link_channel
from node.federation.link import Calls
from node.house import Home, open_home, open_member
from node.policy.agreements import newest_signed
from node.policy.journal import verify_log
from node.policy.ledgers import FILE
from node.policy.privacy import PrivacyAccount, accounted
from node.policy.subjects import SubjectDesk, reminders
from node.store.outbox import Cursors
from protocols.agreement.status import Urgency, warnings
from protocols.agreement.terms import Quality, SharedCategories
from protocols.errors import CoopError

LOW_DISK_BYTES = 1_000_000_000
SOON = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    found: str
    fix: str = ""


def examine(given: Path | None) -> list[Finding]:
    """All findings; never raises for something that it looks at."""
    try:
        home = open_home(given)
    except CoopError as error:
        return [Finding("home", False, str(error.problem), error.fix)]
    free = shutil.disk_usage(home.folder).free
    out = [
        Finding("home", True, str(home.folder)),
        Finding("disk", free > LOW_DISK_BYTES, f"{free / 1e9:.1f} GB free", "Free some space."),
        _rows(home),
        _journal(home),
        requests(home),
        _torch(),
    ]
    if not membership.is_enrolled(home.folder):
        out.append(
            Finding(
                "membership",
                False,
                "this node has not joined a cooperative",
                "Ask for an invitation, then: coop-node join 'LINK'. Forecasts work without.",
            )
        )
        return out
    return [
        *out,
        _certificate(home),
        *_membership(given),
        ledgers(given),
        privacy_account(given),
        _connection(given),
    ]


def _membership(given: Path | None) -> list[Finding]:
    """Suspended, leaving, ended; what runs out of the agreement and the roster."""
    try:
        member = open_member(given)
        desk, known, now = member.agreements, member.life.presence(), member.home.clock()
        current, roster = desk.current(), desk.accepted_roster()
        over = current is not None and member.life.ended(current)
    except CoopError as error:
        return [Finding("membership", False, error.problem, error.fix)]
    out = []
    if known.suspended_since is not None:
        since = f"suspended since {known.suspended_since:%Y-%m-%d %H:%M} UTC"
        out.append(Finding("membership", False, since, "To take part: coop-node resume."))
    if known.leaving_at is not None:
        out.append(Finding("membership", True, f"leaves on {known.leaving_at:%Y-%m-%d}"))
    if over:
        out.append(Finding("agreement", False, "the members have ended it", "Ask the operator."))
    me = member.membership.member
    mine = (
        roster.roster.model_copy(
            update={"members": tuple(one for one in roster.roster.members if one.id == me)}
        )
        if roster is not None
        else None
    )
    wanted = current.terms.block("c09", Quality) if current is not None else None
    if wanted is not None and wanted.taxonomy is not None:
        out.append(categories(member.home, wanted.taxonomy))
    for due in warnings(current.terms if current else None, mine, now):
        out.append(Finding("runs out", due.urgency is Urgency.SOON, str(due), due.fix))
    return out


def _rows(home: Home) -> Finding:
    from node.data import quality

    try:
        vault = home.vault()
        vault.verify()
        report = quality.check(vault, home.clock().date())
    except CoopError as error:
        return Finding("rows", False, error.problem, error.fix)
    found = f"{report.lines} lines, health {report.score} of 100"
    return Finding("rows", report.lines > 0, found, "Add sales: coop-node data add FILE.csv")


def categories(home: Home, agreed: SharedCategories) -> Finding:
    """Whether the list and the share of lines are those that clause 9 asks for."""
    from node.policy.mapped import mapped

    try:
        used, percent = mapped(home.folder, home.vault())
    except CoopError as error:
        return Finding("categories", False, error.problem, error.fix)
    if used != agreed.sha256:
        return Finding(
            "categories",
            False,
            f"this node does not use the agreed list {agreed.id} ({agreed.sha256[:16]})",
            "coop-node categories use FILE; the operator has the file.",
        )
    found = (
        f"{percent or 0:.1f} % of the lines are mapped, agreed are {agreed.min_mapped_percent} %"
    )
    enough = percent is not None and percent >= agreed.min_mapped_percent
    return Finding("categories", enough, found, "coop-node categories accept, then map the rest.")


def requests(home: Home) -> Finding:
    """What customers asked for and wait for; late answers stop every run."""
    if not (home.folder / FILE).is_file():
        return Finding("requests", True, "no customer has asked for anything")
    try:
        database = home.database()
        with database.read() as db:
            mine = newest_signed(db)
        desk = SubjectDesk(
            database,
            home.keys.customer_secret,
            mine.terms if mine is not None else None,
            home.journal,
            home.clock,
        )
        waiting = desk.list(only_open=True)
        database.close()
    except CoopError as error:
        return Finding("requests", False, error.problem, error.fix)
    urgent = reminders(waiting)
    found = " ".join(urgent) if urgent else f"{len(waiting)} wait, none is due within a week"
    return Finding("requests", not urgent, found, "coop-node requests list; then carry them out.")


def _journal(home: Home) -> Finding:
    home.log.close()
    try:
        lines = verify_log(home.folder / "audit", home.keys.journal.public)
    except CoopError as error:
        if not (home.folder / "audit" / "log.jsonl").exists():
            return Finding("audit log", True, "nothing written yet")
        return Finding("audit log", False, error.problem, error.fix)
    return Finding("audit log", True, lines[0] if lines else "empty")


def _torch() -> Finding:
    try:
        import torch
    except ImportError as error:
        return Finding(
            "torch", False, f"cannot be loaded: {error}", "Install the node again (README.md)."
        )
    return Finding("torch", True, f"{torch.__version__}, {torch.get_num_threads()} threads")


def _certificate(home: Home) -> Finding:
    ends = membership.own_certificate(home.folder).not_valid_after_utc
    left = ends - home.clock()
    return Finding(
        "certificate",
        left > SOON,
        f"good for {left.days} days",
        "Keep coop-node start running: it renews. If it ended: coop-node join LINK --again.",
    )


def ledgers(given: Path | None) -> Finding:
    """Whether the database is whole and knows everything that the journal knows."""
    try:
        runs, rounds = open_member(given).require_whole()
    except CoopError as error:
        return Finding("ledgers", False, error.problem, error.fix)
    return Finding("ledgers", True, f"{runs} runs and {rounds} spent rounds, as in the journal")


def privacy_account(given: Path | None) -> Finding:
    """Whether what was spent of the customers' privacy can be read; else runs are refused."""
    name = "privacy account"
    try:
        with open_member(given).database.read() as db:
            lines = accounted(PrivacyAccount(db, None).lines())
    except CoopError as error:
        return Finding(name, False, error.problem, error.fix)
    return Finding(name, True, f"{len(lines)} runs with noise; coop-node budget says what is left")


def _connection(given: Path | None) -> Finding:
    try:
        member = open_member(given)
    except CoopError as error:
        return Finding("connection", False, error.problem, error.fix)
    with member.database.read() as db:
        after = Cursors(db).get("mail")
    try:
        with link_channel(member.home.folder) as channel:
            waiting = sum(1 for _ in Calls(channel).mail(after))
    except CoopError as error:
        return Finding("connection", False, error.problem, error.fix)
    return Finding("connection", True, f"{member.membership.link} answers, {waiting} new letters")
