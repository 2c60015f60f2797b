"""What the office can say in writing: its record as processor, its report of a quarter.

Only documents, hashes and counts are read: the office never had anything about a customer. Files
are written into ``documents/`` of the home; the same facts give the same bytes but for the day.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from coordinator import files
from coordinator.log.append import Folder
from coordinator.members.corrections import Corrections
from coordinator.spending import by_run
from coordinator.store.members import Members, Status
from coordinator.store.people import People
from coordinator.store.releases import Releases
from coordinator.store.runs import RunMembers, Runs
from coordinator.wiring import House
from protocols.agreement.terms import Privacy
from protocols.audit.entries import Entry, decode
from protocols.documents import record
from protocols.documents.articles import Missing
from protocols.documents.document import Document, plain
from protocols.documents.office_report import OfficeLedgers, office_report
from protocols.documents.page import html
from protocols.documents.quarter import Quarter
from protocols.documents.record import Office
from protocols.documents.render import facts_csv, markdown, table_csv
from protocols.errors import Code, InputError
from protocols.privacy import budget

FOLDER: Final = "documents"
KINDS: Final = ("record", "transparency")
FORMATS: Final = ("md", "html", "json", "csv")
_CLAUSE: Final = re.compile(r"c(?:0[1-9]|[12][0-9]|30)\b")


def draw(house: House, kind: str, quarter: Quarter) -> tuple[Document, tuple[Missing, ...]]:
    """One document from what is here, and what the law misses in it.

    Raises:
        InputError: no such document.
    """
    stamp = (f"As of {house.clock():%Y-%m-%d}.",)
    if kind == "record":
        office = _office(house)
        made = record.processor_record(office)
        return replace(made, stamp=stamp), record.processor_missing(made, office)
    if kind != "transparency":
        raise InputError(
            f"there is no document {kind!r}.",
            code=Code.USAGE,
            fix=f"There are: {', '.join(KINDS)}.",
        )
    public = house.office.public
    report = office_report(
        public.name, quarter, _entries(house), _ledgers(house, quarter), house.key.public.hex()
    )
    return replace(report, stamp=stamp), ()


def write(
    house: House, name: str, document: Document, missing: Sequence[Missing], formats: Sequence[str]
) -> tuple[Path, ...]:
    """Write its files; where they are."""
    folder = house.home / FOLDER
    files.make_folder(folder)
    written = []
    for ending in formats:
        path = folder / f"{name}.{ending}"
        files.write(path, _rendered(document, missing, ending).encode())
        written.append(path)
    return tuple(written)


def _rendered(document: Document, missing: Sequence[Missing], ending: str) -> str:
    if ending == "md":
        return markdown(document)
    if ending == "html":
        return html(document)
    if ending == "csv":
        tables = {one.name: one for one in document.tables()}
        kept = tables.get("processing")
        return facts_csv(document) if kept is None else table_csv(kept)
    body: dict[str, Any] = {
        "schema": 1,
        "id": document.id,
        "stamp": list(document.stamp),
        "document": plain(document),
        "missing": [asdict(one) for one in missing],
    }
    return json.dumps(body, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _office(house: House) -> Office:
    parsed = house.agreement()
    with house.database.read() as db:
        members = Members(db).list(Status.ACTIVE)
        people = [one for one in People(db).list() if one.removed_at is None]
    listed = sorted((m.profile.name, m.profile.legal_id, m.profile.region) for m in members)
    settings = house.settings
    return Office(
        name=house.office.public.name,
        legal_id=settings.legal_id,
        country=settings.country,
        contact=settings.contact,
        dpo=settings.dpo,
        sub_processors=settings.sub_processors,
        members=tuple(listed),
        people=len(people),
        software=f"datacoop {version('datacoop')}",
        terms=parsed.terms if parsed is not None else None,
    )


def _entries(house: House) -> Iterator[Entry]:
    for number, line in enumerate(Folder(house.home / "audit").lines(0), start=1):
        yield decode(line.removesuffix(b"\n"), f"line {number}")


def _ledgers(house: House, quarter: Quarter) -> OfficeLedgers:
    with house.database.read() as db:
        members = Members(db).list()
        runs = [one for one in Runs(db).list() if quarter.holds(one.created_at)]
        answers = [answer for run in runs for answer in RunMembers(db).of(run.run)]
        made = [one for one in Releases(db).list() if quarter.holds(one.created_at)]
    told = Corrections(house.database, house.clock).list()
    corrected: Counter[str] = Counter()
    for letter in told:
        if quarter.holds(letter.at):
            corrected[letter.correction.what] += letter.correction.count
    clauses = Counter(
        clause
        for answer in answers
        for clause in {found for text in answer.reasons for found in _CLAUSE.findall(text)}
    )
    return OfficeLedgers(
        members=sum(_there(one.joined_at, one.removed_at, quarter) for one in members),
        joined=sum(quarter.holds(one.joined_at) for one in members),
        answers=_pairs(Counter(one.answer.value for one in answers)),
        refused_clauses=_pairs(clauses),
        spent=tuple(_spent(house, quarter)),
        corrected=_pairs(corrected),
        states=_pairs(Counter(one.state.value for one in made)),
    )


def _there(joined: Any, removed: Any, quarter: Quarter) -> bool:
    """Whether somebody was a member when the quarter ended, as far as it has come."""
    return bool(joined < quarter.ends and (removed is None or removed >= quarter.ends))


def _spent(house: House, quarter: Quarter) -> Iterator[tuple[str, str, float]]:
    """Epsilon of each run of the quarter at the delta of its unit's budget."""
    parsed = house.agreement()
    privacy = parsed.terms.block("c14", Privacy) if parsed is not None else None
    if privacy is None:
        return
    with house.database.read() as db:
        found = by_run(db)
    for run, line in found:
        limit = privacy.budget(line.unit)
        if limit is not None and quarter.holds(line.at):
            yield run, line.unit, budget.spent([line], limit.unit, limit.delta)


def _pairs(found: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted(found.items()))
