"""The data audit that a shop starts with: what, why, where, how long, who, and the next step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from protocols.documents.activities import NOT_DECIDED, activities, keep_words
from protocols.documents.document import Document, Items, Section, Statement, Table
from protocols.documents.given import DPIA_QUESTIONS, QUESTIONS, House, purposes
from protocols.documents.notice_words import in_words

INVENTORY: Final = "inventory"
_WHAT: Final = ("table", "rows", "columns", "first day", "last day")
_WHY: Final = ("activity", "purpose", "legal basis", "people", "data")
_SAID: Final = ("purpose", "basis here", "yes", "withdrawn", "objected", "restricted")
_NO_ROWS: Final = "Nothing is here yet. Take in your sales: coop-node data add FILE."


def inventory(house: House) -> Document:
    """The audit; it works before joining a cooperative and on an empty node."""
    sections = (
        Section("Next steps", (Items(next_steps(house)),)),
        Section("What", tuple(_what(house))),
        Section("Why", tuple(_why(house))),
        Section("Where", tuple(_where(house))),
        Section("How long", tuple(_how_long(house))),
        Section("Who", tuple(_who(house))),
    )
    return Document(INVENTORY, "Data inventory", "en", sections, house.shop.name)


def next_steps(house: House) -> tuple[Statement, ...]:
    """What is missing and how to do it, most important first; never empty."""
    shop = house.shop
    open_keys = [
        one.key
        for one in QUESTIONS
        if one.needed and not getattr(shop, one.key) and not (one.key == "email" and shop.phone)
    ]
    found = []
    if not any(one.rows for one in house.tables):
        found.append(Statement("Take in your sales: coop-node data add FILE.", ("vault",)))
    if open_keys:
        found.append(
            Statement(
                f"Answer what only you know ({', '.join(open_keys)}): coop-node inventory setup.",
                ("shop.toml",),
            )
        )
    if any(one.rows and one.keep_days is None for one in house.tables):
        found.append(Statement("Decide how long rows stay: coop-node data retention.", ("vault",)))
    late = [one.name for one in house.tables if one.late]
    if late:
        found.append(
            Statement(
                f"Rows are older than you keep them ({', '.join(late)}): coop-node vault purge "
                "--by-retention.",
                ("vault", "retention"),
            )
        )
    readable = [one.path for one in house.places if "not encrypted" in one.protection and one.what]
    vault = [path for path in readable if path.startswith("vault")]
    if vault:
        found.append(Statement("The rows are not encrypted on this disk: see Where.", ("vault",)))
    if house.open_requests:
        found.append(
            Statement(
                f"{house.open_requests} requests of customers wait: coop-node requests list.",
                ("ledger: requests",),
            )
        )
    if house.coop is None:
        found.append(
            Statement(
                "Learn with others, if you like: coop-node join LINK. Nothing leaves this computer "
                "before.",
                ("agreement",),
            )
        )
    else:
        found += _with_others(house)
    return tuple(found) or (
        Statement("Nothing is open. Look again after the next import or agreement."),
    )


def _with_others(house: House) -> Iterator[Statement]:
    shop = house.shop
    if any(one.about_people for one in purposes(house.terms)) and not house.notices_in_use:
        yield Statement(
            "No notice to customers is in use: coop-node documents make notice, then "
            "coop-node notice adopt.",
            ("ledger: notices",),
        )
    unanswered = [one.key for one in DPIA_QUESTIONS if not shop.answers.get(one.key)]
    if unanswered:
        yield Statement(
            f"{len(unanswered)} questions of the assessment (DPIA) are open: "
            "coop-node inventory setup --dpia.",
            ("shop.toml",),
        )


def _what(house: House) -> Iterator[Table]:
    rows = tuple(
        (
            one.name,
            str(one.rows),
            in_words(one.columns),
            "-" if one.first is None else one.first.isoformat(),
            "-" if one.last is None else one.last.isoformat(),
        )
        for one in house.tables
    )
    yield Table("tables", "Tables", _WHAT, rows, ("vault",), _NO_ROWS)
    files = tuple(
        (
            one.file,
            one.table,
            f"{one.when:%Y-%m-%d}",
            str(one.rows),
            str(one.duplicates),
            str(one.quarantined),
        )
        for one in house.imports
    )
    headers = ("file", "table", "taken in", "rows", "known before", "set aside")
    yield Table("imports", "Files taken in", headers, files, ("vault",), _NO_ROWS)


def _why(house: House) -> Iterator[Table]:
    found = activities(house)
    rows = tuple((one.name, one.purpose, one.basis, one.people, one.data) for one in found)
    yield Table("purposes", "Purposes", _WHY, rows, ("agreement", "vault"))
    said = tuple(
        (
            one.scope,
            one.basis + (f" ({one.assessment})" if one.assessment else ""),
            str(one.granted),
            str(one.withdrawn),
            str(one.objected),
            str(one.restricted),
        )
        for one in house.scopes
    )
    empty = "Nobody was asked yet: coop-node consent import FILE.csv."
    yield Table("consent", "What customers said", _SAID, said, ("ledger: consent",), empty)


def _where(house: House) -> Iterator[Table]:
    rows = tuple(
        (
            one.path,
            one.what,
            one.protection,
            "yes" if one.in_backup else "no",
            _size(one.size_bytes),
        )
        for one in house.places
    )
    headers = ("path", "what", "protection", "in the backup", "size")
    yield Table("places", "Places on this computer", headers, rows, ("this computer",))


def _size(count: int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count = round(count / 1000)
    return f"{count} GB"


def _how_long(house: House) -> Iterator[Table]:
    rows = [(one.name, keep_words(house, one.name), "retention") for one in house.tables]
    rows += [
        (one.name, one.kept, "; ".join(one.sources))
        for one in activities(house)
        if one.kept != NOT_DECIDED and not one.sources[0].startswith("vault")
    ]
    headers = ("what", "kept", "from")
    yield Table("keeping", "Kept for how long", headers, tuple(rows), (), _NO_ROWS)


def _who(house: House) -> Iterator[Table]:
    people = house.people or (("whoever may use this computer's account", "owner"),)
    headers = ("who", "role")
    yield Table("people", "People and roles here", headers, people, ("ledger: people",))
    shop = house.shop
    rows = [
        (one.name, one.recipients) for one in activities(house) if "nobody" not in one.recipients
    ]
    rows.append(("This computer", shop.helpers or "not answered: coop-node inventory setup"))
    rows.append(("Backups", shop.backups or "not answered: coop-node inventory setup"))
    yield Table("recipients", "Who else receives or sees it", ("what", "who"), tuple(rows))
