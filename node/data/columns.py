"""Which column of an export file is what: by name, in any order, in any case.

A column is *kept* (it becomes a canonical column), the *customer* (becomes a keyed hash),
*personal* (dropped at the door) or *ignored* (unknown). Two columns that could both be the same
thing are a question to the member, never a guess.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from protocols.errors import InputError


class Role(StrEnum):
    """What a column can be."""

    DATE = "date"
    TIME = "time"
    ORDER = "order"
    SKU = "sku"
    PRODUCT = "product"
    CATEGORY = "category"
    QUANTITY = "quantity"
    UNIT_PRICE = "unit-price"
    DISCOUNT = "discount"
    TOTAL = "total"
    CURRENCY = "currency"
    CHANNEL = "channel"
    LOCATION = "location"
    KIND = "kind"
    CUSTOMER = "customer"
    # of the tables of customers and of stock
    FIRST_SEEN = "first-seen"
    COUNTRY = "country"
    REGION = "region"
    SOURCE = "source"
    ON_HAND = "on-hand"
    INCOMING = "incoming"
    AS_OF = "as-of"


class Fate(StrEnum):
    """What happens to a column."""

    KEPT = "kept"
    CUSTOMER = "customer"
    USED = "used"  # read to work something out or to leave rows out, not stored
    PERSONAL = "personal"
    BLOCKED = "blocked"  # health, religion and the like (GDPR art. 9): never taken in
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the file: its place (from 1), its header, what becomes of it.

    ``confidence`` is 1.0 for a name the member gave or the canonical name itself, 0.9 for a known
    other name, 0.0 for a column that is not used.
    """

    place: int
    header: str
    fate: Fate
    role: Role | None
    confidence: float


# Names under which tills and shops export a column, compared after ``plain``; | between them.
NAMES: Final[Mapping[Role, str]] = {
    Role.DATE: (
        "date|business date|sale date|sales date|order date|transaction date|receipt date|day|"
        "date time|datetime|timestamp|created at|sold at|time stamp|datum|verkaufsdatum|"
        "date de vente|fecha"
    ),
    Role.TIME: "time|time of day|sale time|order time|transaction time|uhrzeit|zeit|heure|hora",
    Role.ORDER: (
        "order|order ref|order id|order no|order number|receipt|receipt no|receipt number|"
        "receipt id|transaction|transaction id|transaction no|transaction number|ticket|ticket no|"
        "ticket number|ticket id|invoice|invoice no|invoice number|basket|basket id|bill no|"
        "check id|bon|bonnummer|belegnummer|beleg|numero de ticket|factura"
    ),
    Role.SKU: (
        "sku|item code|item id|item no|item number|product id|product code|product no|"
        "article no|article number|barcode|ean|gtin|upc|plu|artikelnummer|reference|codigo"
    ),
    Role.PRODUCT: (
        "product|product name|item|item name|description|item description|article|"
        "product description|artikel|bezeichnung|produit|article name|producto|articulo"
    ),
    Role.CATEGORY: (
        "category|category code|category name|product category|item category|sales category|"
        "product group|department|warengruppe|kategorie|categorie|rayon|categoria"
    ),
    Role.QUANTITY: (
        "quantity|qty|units|units sold|quantity sold|pieces|count|menge|anzahl|stueck|stuck|"
        "quantite|qte|cantidad"
    ),
    Role.UNIT_PRICE: (
        "unit price|price|price each|item price|price per unit|single price|einzelpreis|preis|"
        "prix unitaire|prix|precio|precio unitario"
    ),
    Role.DISCOUNT: (
        "discount|discounts|discount amount|line discount|reduction|rabatt|nachlass|remise|"
        "descuento"
    ),
    Role.TOTAL: (
        "total|line total|net|net sales|net amount|amount|line amount|total amount|net total|"
        "summe|betrag|gesamt|montant|importe"
    ),
    Role.CURRENCY: "currency|currency code|waehrung|wahrung|devise|moneda",
    Role.CHANNEL: "channel|sales channel|source|kanal|canal",
    Role.LOCATION: "location|store|shop|branch|store id|outlet|site|filiale|magasin|tienda",
    Role.KIND: (
        "kind|is return|return|returned|refund|is refund|transaction type|event type|line type|"
        "sale or return|type of sale"
    ),
    Role.CUSTOMER: (
        "customer|customer id|customer no|customer number|customer key|loyalty card|"
        "loyalty card id|loyalty card no|loyalty card number|loyalty id|loyalty no|"
        "loyalty number|card|card id|card no|member no|member number|membership no|"
        "membership number|club card|client id|kundennummer|kundenkarte|numero client|cliente"
    ),
    Role.FIRST_SEEN: "first seen|customer since|member since|kunde seit|client depuis",
    Role.COUNTRY: "country|country code|land|pays|pais",
    Role.REGION: "region|province|state|bundesland",
    Role.ON_HAND: (
        "on hand|quantity on hand|qty on hand|stock on hand|in stock|stock level|stock|bestand|"
        "lagerbestand|en stock"
    ),
    Role.INCOMING: "incoming|on order|quantity on order|im zulauf",
    Role.AS_OF: "as of|stock date|count date|stand",
}

# The roles that each canonical table has a column for.
ROLES: Final[Mapping[str, frozenset[Role]]] = {
    "sales_line": frozenset(
        set(Role)
        - {Role.FIRST_SEEN, Role.COUNTRY, Role.REGION, Role.SOURCE}
        - {Role.ON_HAND, Role.INCOMING, Role.AS_OF}
    ),
    "customer": frozenset({Role.CUSTOMER, Role.FIRST_SEEN, Role.COUNTRY, Role.REGION, Role.SOURCE}),
    "stock": frozenset({Role.SKU, Role.LOCATION, Role.ON_HAND, Role.INCOMING, Role.AS_OF}),
}

# A header with one of these words speaks about a person, unless it has a known name above.
_PERSONAL_WORDS: Final = frozenset(
    [
        "email",
        "mail",
        "phone",
        "telephone",
        "tel",
        "mobile",
        "fax",
        "address",
        "address1",
        "address2",
        "street",
        "zip",
        "postcode",
        "postal",
        "city",
        "town",
        "surname",
        "firstname",
        "lastname",
        "fullname",
        "forename",
        "username",
        "login",
        "cardholder",
        "pan",
        "last4",
        "iban",
        "bic",
        "employee",
        "staff",
        "cashier",
        "server",
        "clerk",
        "operator",
        "salesperson",
        "waiter",
        "waitress",
        "associate",
        "seller",
        "birth",
        "birthday",
        "birthdate",
        "dob",
        "age",
        "gender",
        "sex",
        "ip",
        "passport",
        "ssn",
        "vorname",
        "nachname",
        "strasse",
        "plz",
        "telefon",
        "kassierer",
        "bediener",
        "mitarbeiter",
        "nom",
        "prenom",
        "adresse",
        "caissier",
        "vendeur",
        "nombre",
        "apellido",
        "direccion",
        "telefono",
        "correo",
        "buyer",
        "contact",
    ]
)
_PERSONAL_NAMES: Final = frozenset(
    {"name", "names", "note", "notes", "comment", "comments", "user", "card number", "card brand"}
)
_OWNERS_OF_NAMES: Final = frozenset(
    [
        "customer",
        "client",
        "first",
        "last",
        "middle",
        "billing",
        "shipping",
        "ship",
        "bill",
        "full",
        "card",
        "given",
        "family",
        "member",
        "guest",
        "recipient",
        "delivery",
        "staff",
    ]
)
_NOT_WORD = re.compile(r"[^0-9a-z]+")
_BRACKETS = re.compile(r"\([^)]*\)|\[[^\]]*\]")


def plain(header: str) -> str:
    """A header without byte order mark, accents, case, brackets and punctuation."""
    text = unicodedata.normalize("NFKD", header.lstrip("\ufeff")).casefold()
    text = "".join(char for char in text if not unicodedata.combining(char))
    text = _BRACKETS.sub(" ", text).replace("#", " no ").replace("№", " no ")
    return _NOT_WORD.sub(" ", text).strip()


# Roles whose columns speak of a person: one becomes a keyed hash, the others are coarse.
_OF_PEOPLE: Final = (Role.CUSTOMER, Role.COUNTRY, Role.REGION)
_ALIASES: Final = {name: role for role, names in NAMES.items() for name in names.split("|")}


def is_personal(header: str) -> bool:
    """Whether a header speaks about a person: a name, an address, a payment card, a colleague."""
    text = plain(header)
    tokens = set(text.split())
    if text in _PERSONAL_NAMES or tokens & _PERSONAL_WORDS:
        return True
    return "name" in tokens and bool(tokens & _OWNERS_OF_NAMES)


def required_roles_missing(columns: Sequence[Column]) -> tuple[str, ...]:
    """What a sales file still lacks, in words; empty if it has enough."""
    roles = {column.role for column in columns if column.role is not None}
    missing = []
    if Role.DATE not in roles:
        missing.append("the day of the sale (--column date=...)")
    if Role.QUANTITY not in roles:
        missing.append("the quantity (--column quantity=...)")
    if not roles & {Role.UNIT_PRICE, Role.TOTAL}:
        missing.append("the unit price or the line total (--column total=...)")
    if not roles & {Role.CATEGORY, Role.SKU, Role.PRODUCT}:
        missing.append("the category, the SKU or the product (--column category=...)")
    return tuple(missing)


def recognise(header: Sequence[str], chosen: Mapping[str, str], file_name: str) -> list[Column]:
    """What becomes of each column of a header.

    Args:
        header: the cells of the header line.
        chosen: role name -> header text, as the member said with ``--column``.
        file_name: for the error messages.

    Raises:
        InputError: a column stands twice, a chosen column is not there, or two columns could be
            the same thing.
    """
    _refuse_twins(header, file_name)
    said = _chosen_places(header, chosen, file_name)
    taken = set(said.values())
    out: list[Column] = []
    for place, name in enumerate(header, start=1):
        text = plain(name)
        if place in said:
            role: Role | None = said[place]
            confidence = 1.0
        else:
            role = _ALIASES.get(text)
            role = None if role in taken else role
            confidence = 1.0 if role is not None and text == plain(role) else 0.9
        out.append(_column(place, name, role, confidence))
    _refuse_rivals(out, file_name)
    return out


def _column(place: int, name: str, role: Role | None, confidence: float) -> Column:
    if role is Role.CUSTOMER:
        return Column(place, name, Fate.CUSTOMER, role, confidence)
    if role is not None:
        return Column(place, name, Fate.KEPT, role, confidence)
    return Column(place, name, Fate.PERSONAL if is_personal(name) else Fate.IGNORED, None, 0.0)


def _refuse_twins(header: Sequence[str], file_name: str) -> None:
    first: dict[str, int] = {}
    for place, name in enumerate(header, start=1):
        text = " ".join(name.lstrip("\ufeff").casefold().split())
        if not text:
            continue
        if text in first:
            raise InputError(
                f"the column {name.strip()!r} stands twice, as column {first[text]} and "
                f"column {place}; each name is expected once.",
                where=f"{file_name}:1:{place}",
                fix="Rename or delete one of the two columns and add the file again.",
            )
        first[text] = place


def _chosen_places(
    header: Sequence[str], chosen: Mapping[str, str], file_name: str
) -> dict[int, Role]:
    out: dict[int, Role] = {}
    names = {" ".join(n.lstrip("\ufeff").casefold().split()): p for p, n in enumerate(header, 1)}
    for role_name, wanted in chosen.items():
        try:
            role = Role(role_name.replace("_", "-").strip().lower())
        except ValueError as error:
            raise InputError(
                f"{role_name!r} is not something a column can be; expected one of "
                f"{', '.join(Role)}.",
                where="--column",
            ) from error
        place = names.get(" ".join(wanted.casefold().split()))
        if place is None:
            raise InputError(
                f"the file {file_name} has no column {wanted!r}; it has "
                f"{', '.join(repr(name) for name in header[:40])}.",
                where=f"--column {role_name}={wanted}",
                fix="Write the name as it stands in the first line of the file.",
            )
        if place in out:
            raise InputError(
                f"the column {wanted!r} was chosen both as {out[place]} and as {role}.",
                where=f"--column {role_name}={wanted}",
                fix="Choose each column once.",
            )
        if role not in _OF_PEOPLE and _about_people(header[place - 1], role):
            raise InputError(
                f"{wanted!r} looks like a column about a person; it cannot be the {role}.",
                where=f"--column {role_name}={wanted}",
                fix="Personal columns are dropped; only a customer's number or e-mail address may "
                "be named, as customer, and it is kept as a keyed hash.",
            )
        out[place] = role
    return out


def _about_people(header: str, role: Role) -> bool:
    """Whether a column may hold people's data; a bare "Name" may be an order's or a product's."""
    text = plain(header)
    return is_personal(header) and text not in ("name", "names") and _ALIASES.get(text) is not role


def _refuse_rivals(columns: Sequence[Column], file_name: str) -> None:
    by_role: dict[Role, Column] = {}
    for column in columns:
        if column.role is None:
            continue
        other = by_role.setdefault(column.role, column)
        if other is not column:
            raise InputError(
                f"both {other.header!r} (column {other.place}) and {column.header!r} "
                f"(column {column.place}) could be the {column.role}.",
                where=f"{file_name}:1:{column.place}",
                fix=f"Say which one: --column {column.role}={column.header!r}",
            )
