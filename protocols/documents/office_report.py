"""What the office did in one quarter, each figure with the entries of its log behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from protocols.audit.entries import Entry, Kind
from protocols.documents.document import Document, Section, Statement, Table
from protocols.documents.quarter import Figure, Quarter, by_fact, counted, figures, of_kind
from protocols.documents.transparency import TRANSPARENCY, reported

_LOG = "log"
_NOTHING = "Nothing in this quarter."


@dataclass(frozen=True, slots=True)
class OfficeLedgers:
    """What comes from the office's database; all of it within the quarter.

    Args:
        members: active at its end, as far as it has come.
        joined: in it. ``answers`` are (admitted, refused, silent or pending) of all runs of it.
        spent: (run, unit, epsilon).
        corrected: (what, people) that members reported, never who; ``corrected_runs`` how many
            runs they were in.
        states: (state, how many) of releases made in it.
    """

    members: int
    joined: int
    answers: tuple[tuple[str, int], ...] = ()
    refused_clauses: tuple[tuple[str, int], ...] = ()
    spent: tuple[tuple[str, str, float], ...] = ()
    corrected: tuple[tuple[str, int], ...] = ()
    states: tuple[tuple[str, int], ...] = ()


def office_report(
    name: str, quarter: Quarter, log: Iterable[Entry], ledgers: OfficeLedgers, public: str
) -> Document:
    """The report of the office; arguments as ``transparency.transparency``."""
    entries = reported(quarter, log)
    sections = (
        Section("What this is", tuple(_about(quarter, entries, public))),
        Section("Members", (_members(entries, ledgers),)),
        Section("Runs", tuple(_runs(entries, ledgers))),
        Section("Results", (_results(entries, ledgers),)),
        Section("Customers of members", (_corrections(entries, ledgers),)),
        Section("What went wrong", (_wrong(entries),)),
        Section("Keeping and deleting", (_kept(entries),)),
    )
    title = f"Transparency report of the office {quarter}"
    return Document(TRANSPARENCY, title, "en", sections, name)


def _about(quarter: Quarter, entries: Sequence[Entry], public: str) -> Iterator[Statement]:
    span = f"entries {entries[0].seq} to {entries[-1].seq}" if entries else "no entry"
    yield Statement(
        f"What the office did from {quarter.begins:%Y-%m-%d} up to {quarter.ends:%Y-%m-%d} (UTC): "
        f"{span} of its log. Each figure names the entries that it was counted from.",
        (_LOG,),
    )
    yield Statement(
        "The office has sums, signatures and figures; it never had a row or a customer. To check: "
        f"coop-coordinator verify holds the log against its signed head (key {public}).",
        ("software",),
    )


def _of_ledger(name: str, value: object, ledger: str) -> Figure:
    return Figure(name, str(value), (), f"ledger: {ledger}")


def _members(entries: Sequence[Entry], ledgers: OfficeLedgers) -> Table:
    found = [
        _of_ledger("Members", ledgers.members, "members"),
        _of_ledger("Members that joined", ledgers.joined, "members"),
        counted("Members removed", of_kind(entries, Kind.REMOVAL)),
        *by_fact(of_kind(entries, Kind.MEMBERSHIP), "state", "members: {}".format),
        counted("Keys renewed", of_kind(entries, Kind.RENEWAL)),
        counted("Agreements proposed or in force", of_kind(entries, Kind.AGREEMENT)),
        counted("Lists of members", of_kind(entries, Kind.ROSTER)),
    ]
    return figures("members", "Members", found, _NOTHING, _LOG)


def _runs(entries: Sequence[Entry], ledgers: OfficeLedgers) -> Iterator[Table]:
    runs = of_kind(entries, Kind.RUN)
    found = [
        counted("Runs ordered", of_kind(entries, Kind.ORDER)),
        *by_fact(runs, "state", "runs: {}".format),
        *(_of_ledger(f"answers of members: {name}", count, "runs")
          for name, count in ledgers.answers),
        counted("Sums published", of_kind(entries, Kind.SUM)),
        *(_of_ledger(f"epsilon of run {run[:16]}, for each {unit}", f"{epsilon:.4f}", "privacy")
          for run, unit, epsilon in ledgers.spent),
    ]  # fmt: skip
    yield figures("runs", "Runs", found, _NOTHING, _LOG)
    reasons = [
        _of_ledger(f"members refused under {clause}", count, "runs")
        for clause, count in ledgers.refused_clauses
    ]
    shown = [
        *reasons,
        *by_fact(of_kind(entries, Kind.REFUSAL), "clauses", "refused under {}".format),
    ]
    yield figures("refusals", "Refusals, by clause", shown, _NOTHING, _LOG)


def _results(entries: Sequence[Entry], ledgers: OfficeLedgers) -> Table:
    gate = of_kind(entries, Kind.REFUSAL, gate="release")
    found = [
        counted("Results made", of_kind(entries, Kind.RELEASE)),
        counted("Results refused at the release gate (suppressed)", gate),
        *(_of_ledger(f"releases: {state}", count, "releases") for state, count in ledgers.states),
        counted("Results withdrawn", of_kind(entries, Kind.WITHDRAWAL)),
        counted("Results called back", of_kind(entries, Kind.REVOCATION)),
        counted("Signatures of second persons", of_kind(entries, Kind.APPROVAL)),
    ]
    return figures("results", "Results", found, _NOTHING, _LOG)


def _corrections(entries: Sequence[Entry], ledgers: OfficeLedgers) -> Table:
    found = [
        *(_of_ledger(f"people {what} at members", count, "corrections")
          for what, count in ledgers.corrected),
        counted("Letters about corrections", of_kind(entries, Kind.RIGHTS)),
    ]  # fmt: skip
    caption = "People erased, corrected or restricted at members after runs: counts, never who"
    return figures("corrections", caption, found, _NOTHING, _LOG)


def _wrong(entries: Sequence[Entry]) -> Table:
    told = [one for one in of_kind(entries, Kind.INCIDENT) if "incident" in one.facts]
    other = [one for one in of_kind(entries, Kind.INCIDENT) if "incident" not in one.facts]
    named = {one.facts["incident"] for one in told}
    found = [
        Figure("Incidents", str(len(named)), tuple(one.seq for one in told)),
        *by_fact(told, "state", "steps: {}".format),
        counted("Irregularities noted by the server", other),
    ]
    return figures("incidents", "Incidents", found, _NOTHING, _LOG)


def _kept(entries: Sequence[Entry]) -> Table:
    found = [
        counted("Purges of what may not be kept longer", of_kind(entries, Kind.PURGE)),
        counted("Starts of the server", of_kind(entries, Kind.START)),
        counted("Changes of people and roles", of_kind(entries, Kind.PERSON)),
    ]
    return figures("upkeep", "Upkeep", found, _NOTHING, _LOG)
