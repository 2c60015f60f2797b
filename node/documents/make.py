"""Makes documents into the folder ``documents/`` of the home, and says which are out of date.

A document is made again from what is here now and compared: the same facts give the same id, so
nothing has to be believed about dates. Files first, then the row in the database, then the
journal; what is lost in between is made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from node import files
from node.documents import facts, quarterly
from node.house import Home
from node.store.database import Database
from node.store.made import Made, MadeDocuments
from protocols.audit.entries import Kind
from protocols.canonical import json_id
from protocols.documents import dpia, essence, notice, record, transparency
from protocols.documents.activities import LASTING
from protocols.documents.articles import Missing
from protocols.documents.document import Document, plain
from protocols.documents.given import House
from protocols.documents.notice_words import NOTICE
from protocols.documents.page import html
from protocols.documents.quarter import Quarter, chosen_quarter, parse_quarter, quarter_of
from protocols.documents.readability import Grade
from protocols.documents.render import facts_csv, markdown, table_csv, text_of
from protocols.errors import Code, InputError

if TYPE_CHECKING:
    from protocols.agreement.terms import Terms

FOLDER: Final = "documents"
KINDS: Final = ("notice", "essence", "record", "dpia", "transparency")
FORMATS: Final = ("md", "html", "pdf")
_ALWAYS: Final[Mapping[str, tuple[str, ...]]] = {
    "notice": ("txt",),  # the text whose SHA-256 names it
    "record": ("json", "csv"),
    "transparency": ("json", "csv"),
    "dpia": ("json",),
    "essence": (),
}
NEEDS_AGREEMENT: Final = frozenset({"notice", "essence"})


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which document: its kind, its language, and its quarter for a report."""

    kind: str
    locale: str
    quarter: Quarter

    @property
    def name(self) -> str:
        """Of its files, without the ending."""
        if self.kind in NEEDS_AGREEMENT:
            return f"{self.kind}.{self.locale}"
        return f"{self.kind}.{self.quarter}" if self.kind == "transparency" else self.kind


@dataclass(frozen=True, slots=True)
class Drawn:
    """A document made from what is here, not written yet."""

    wanted: Wanted
    document: Document
    missing: tuple[Missing, ...]
    made_from: Mapping[str, str]

    @property
    def text(self) -> str:
        """SHA-256 of its plain text; it names a notice."""
        return hashlib.sha256(text_of(self.document).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class State:
    """One document that was made, held against what is here now.

    Args:
        made: as it was made last.
        changed: parts that are different now; empty while it is still right.
        altered: files that are gone or were changed.
        older_shown: of a notice: customers are shown an older one of the same name.
    """

    made: Made
    changed: tuple[str, ...]
    altered: tuple[str, ...]
    older_shown: bool = False

    @property
    def good(self) -> bool:
        """Nothing has to be done about it."""
        return not (self.changed or self.altered or self.older_shown)


def wanted(kinds: Sequence[str], locale: str, quarter: str, now: datetime) -> tuple[Wanted, ...]:
    """What was asked for; ``all`` are all kinds.

    Raises:
        InputError: no such kind, language or quarter.
    """
    chosen = KINDS if "all" in kinds else tuple(dict.fromkeys(kinds))
    for kind in chosen:
        if kind not in KINDS:
            raise InputError(
                f"there is no document {kind!r}.",
                code=Code.USAGE,
                fix=f"There are: {', '.join(KINDS)}, all.",
            )
    if locale not in NOTICE:
        raise InputError(
            f"there are no words in {locale!r}.",
            where="--locale",
            fix=f"Languages: {', '.join(NOTICE)}.",
        )
    when = chosen_quarter(quarter, now)
    return tuple(Wanted(kind, locale, when) for kind in chosen)


@dataclass(frozen=True, slots=True)
class Desk:
    """Makes, lists and checks the documents of one node."""

    home: Home
    database: Database

    def house(self) -> House:
        """What the node knows now."""
        return facts.gather(self.home, self.database)

    def draw(self, one: Wanted, house: House) -> Drawn:
        """One document from what is here.

        Raises:
            InputError: it needs an agreement and none is signed.
        """
        now = self.home.clock()
        document, missing = self._document(one, house, now)
        stamp = [NOTICE[document.locale]["as_of"].format(day=f"{now:%Y-%m-%d}")]
        if one.kind == "notice" and (grade := notice.reading_grade(document)) is not None:
            stamp.append(NOTICE[document.locale]["grade"].format(grade=grade))
        document = replace(document, stamp=tuple(stamp))
        return Drawn(one, document, missing, self._made_from(one, house))

    def _made_from(self, one: Wanted, house: House) -> dict[str, str]:
        found = parts(house)
        if one.kind != "transparency":
            return found
        log = transparency.reported(one.quarter, quarterly.entries(self.home))
        last = {"the log": json_id({"entries": len(log), "last": log[-1].seq if log else -1})}
        return last | {key: found[key] for key in ("agreement", "shop.toml", "consent", "requests")}

    def _document(
        self, one: Wanted, house: House, now: datetime
    ) -> tuple[Document, tuple[Missing, ...]]:
        if one.kind == "notice":
            made = notice.notice(house, one.locale)
            return made, notice.missing(made, house)
        if one.kind == "essence":
            made = essence.essence(house, one.locale)
            return made, essence.missing(made, house)
        if one.kind == "record":
            made = record.record(house)
            return made, record.missing(made, house)
        if one.kind == "dpia":
            made = dpia.dpia(house)
            return made, dpia.missing(made)
        return self._report(one.quarter, house.shop.name, house.terms, now), ()

    def _report(self, quarter: Quarter, shop: str, terms: Terms | None, now: datetime) -> Document:
        return transparency.transparency(
            shop,
            quarter,
            quarterly.entries(self.home),
            quarterly.ledgers(self.database, terms, quarter, now),
            self.home.log.public.hex(),
        )

    def write(self, drawn: Drawn, formats: Sequence[str]) -> tuple[Made, bool]:
        """Write its files; what was kept, and whether it is new.

        Nothing is written if the same document lies there already in these formats.
        """
        with self.database.read() as db:
            before = MadeDocuments(db).newest().get(drawn.wanted.name)
        folder = self.home.folder / FOLDER
        endings = (*dict.fromkeys(formats), *_ALWAYS[drawn.wanted.kind])
        names = {f"{drawn.wanted.name}.{one}" for one in endings}
        if before is not None and before.document == drawn.document.id:
            if names <= set(before.files) and not _altered(folder, before):
                return before, False
            names |= {one for one in before.files if (folder / one).exists()}
        files.make_folder(folder)
        now = self.home.clock()
        written = {}
        for name in sorted(names):
            body = rendered(drawn, name.rpartition(".")[2], now)
            files.write(folder / name, body)
            written[name] = hashlib.sha256(body).hexdigest()
        made = Made(
            name=drawn.wanted.name,
            kind=drawn.wanted.kind,
            locale=drawn.document.locale,
            document=drawn.document.id,
            text=drawn.text,
            body=text_of(drawn.document),
            files=written,
            made_from=drawn.made_from,
            missing=len(drawn.missing),
            at=now,
        )
        with self.database.write() as db:
            MadeDocuments(db).add(made)
        self.home.journal(
            Kind.DOCUMENT,
            {
                "document": made.name,
                "id": made.document,
                "text": made.text,
                "missing": made.missing,
            },
        )
        return made, True

    def list(self) -> tuple[Made, ...]:
        """The newest of each name, by name."""
        with self.database.read() as db:
            found = MadeDocuments(db).newest()
        return tuple(found[name] for name in sorted(found))

    def states(self, house: House) -> Iterator[tuple[State, tuple[Missing, ...]]]:
        """Every document that was made, held against what is here now, with what it lacks now."""
        with self.database.read() as db:
            notices = MadeDocuments(db).list("notice")
        for made in self.list():
            one = _wanted_of(made)
            older = {n.text for n in notices if n.name == made.name} - {made.text}
            shown = bool(older & set(house.notices_in_use))
            try:
                drawn = self.draw(one, house)
            except InputError:  # the agreement that it was made from is gone
                gone = State(made, ("agreement",), _altered(self.home.folder / FOLDER, made))
                yield gone, ()
                continue
            changed: tuple[str, ...] = ()
            if drawn.document.id != made.document:
                now = drawn.made_from
                changed = tuple(
                    sorted(key for key in now if now[key] != made.made_from.get(key))
                ) or ("a ledger, or this software",)
            altered = _altered(self.home.folder / FOLDER, made)
            yield State(made, changed, altered, shown), drawn.missing


def grade(document: Document) -> Grade | None:
    """How hard a document for customers is to read; None for one that is for others."""
    return None if document.shows_sources else notice.reading_grade(document)


def _wanted_of(made: Made) -> Wanted:
    last = made.name.rpartition(".")[2]
    quarter = parse_quarter(last) if made.kind == "transparency" else quarter_of(made.at)
    return Wanted(made.kind, made.locale, quarter)


def _altered(folder: Path, made: Made) -> tuple[str, ...]:
    """Files that are gone or do not have the bytes that were written."""
    out = []
    for name, known in sorted(made.files.items()):
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != known:
            out.append(name)
    return tuple(out)


def rendered(drawn: Drawn, ending: str, now: datetime) -> bytes:
    """One file of a document."""
    document = drawn.document
    if ending == "pdf":
        from node.documents.pdf import pdf

        return pdf(document, now)
    makers: Mapping[str, Callable[[], str]] = {
        "md": lambda: markdown(document),
        "html": lambda: html(document),
        "txt": lambda: text_of(document),
        "json": lambda: _json(drawn),
        "csv": lambda: _csv(drawn),
    }
    return makers[ending]().encode()


def _json(drawn: Drawn) -> str:
    body: dict[str, Any] = {
        "schema": 1,
        "id": drawn.document.id,
        "stamp": list(drawn.document.stamp),
        "document": plain(drawn.document),
        "missing": [asdict(one) for one in drawn.missing],
    }
    return json.dumps(body, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _csv(drawn: Drawn) -> str:
    """The record as the rows that authorities know; anything else as a row a statement."""
    if drawn.wanted.kind == "record":
        return table_csv(drawn.document.tables()[0])
    return facts_csv(drawn.document)


def parts(house: House) -> dict[str, str]:
    """Part -> digest, so that it can be said later what has changed."""
    terms = house.terms
    found: Mapping[str, object] = {
        "agreement": terms.id if terms is not None else "",
        "shop.toml": asdict(house.shop),
        "rows": [str(one) for one in house.tables],
        "consent": [str(one) for one in house.scopes],
        "people": [list(one) for one in house.people],
        "requests": house.open_requests,
        "notices": list(house.notices_in_use),
        "this computer": [
            [one.path, one.protection] for one in house.places if one.path in LASTING
        ],
        "software": house.software,
    }
    return {name: json_id({"of": value}) for name, value in found.items()}
