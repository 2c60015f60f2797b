"""A layout as a TOML text: read whole, every key known, every mistake with its line.

The built-in dialects and the mapping files of members are the same kind of text. It holds names
and rules, never a path, a secret or a row, so that it can be passed on to another shop.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from node.data.columns import ROLES, Role, is_personal, plain
from node.data.connectors.checked import Checked, folded
from node.data.connectors.layout import (
    Formats,
    Layout,
    Orders,
    Returns,
    Rule,
    Signature,
    Version,
    Words,
)
from node.data.values import ORDERS, Unreadable, currency
from protocols.agreement.source import Source
from protocols.agreement.source_toml import read_toml
from protocols.errors import InputError

FORMAT: Final = "datacoop-mapping/1"
MAX_BYTES: Final = 65_536
NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{1,59}")
TABLES: Final = ("sales_line", "customer", "stock")
QUIRKS: Final = ("square-moments", "woo-products", "woo-line-items", "payments", "stock-by-place")
# Roles whose columns speak of a person: one becomes a keyed hash, the others are coarse.
_OF_PEOPLE: Final = (Role.CUSTOMER, Role.COUNTRY, Role.REGION)
_SETTINGS: Final = (
    "format",
    "name",
    "title",
    "table",
    "needs",
    "derived",
    "notes",
    "columns",
    "constants",
    "formats",
    "rule",
    "returns",
    "orders",
    "signature",
    "version",
    "quirk",
    "also",
    "category_from_product",
    "replaces",
)
# What a table cannot do without: one role of each group.
NEEDED: Final[Mapping[str, tuple[tuple[Role, ...], ...]]] = {
    "sales_line": ((Role.DATE,), (Role.QUANTITY,), (Role.UNIT_PRICE, Role.TOTAL)),
    "customer": ((Role.CUSTOMER,),),
    "stock": ((Role.SKU,), (Role.ON_HAND,)),
}


def parse_layout(data: bytes, where: str) -> Layout:
    """The layout that a TOML text describes.

    Args:
        data: the file's bytes.
        where: its name, for messages.

    Raises:
        InputError: too long, not TOML, an unknown key, a value that cannot be; names
            file:line:column.
    """
    if len(data) > MAX_BYTES:
        raise InputError(
            f"the file has {len(data)} bytes; a mapping has at most {MAX_BYTES}.",
            where=where,
            fix="Is this the right file? A mapping is made with: coop-node mapping new FILE.csv",
        )
    return _Reader(read_toml(data, where)).layout(hashlib.sha256(data).hexdigest())


class _Reader:
    """Makes the parts of a layout; whatever is wrong is an InputError with its place."""

    def __init__(self, source: Source) -> None:
        self._at = Checked(source)

    def layout(self, digest: str) -> Layout:
        top = self._at.keys((), self._at.top, _SETTINGS)
        if top.get("format") != FORMAT:
            raise self._at.wrong(
                ("format",),
                f"this is not a mapping file of a known version; expected format = {FORMAT!r}.",
                "Make one with: coop-node mapping new FILE.csv",
            )
        name = self._at.optional(("name",), top)
        if not NAME.fullmatch(name):
            raise self._at.wrong(
                ("name",),
                f"{name!r} is not a name; expected 2 to 60 lower-case letters, digits and hyphens.",
            )
        table = self._at.one_of(("table",), top, TABLES)
        if not table:
            raise self._at.wrong(("table",), f"the table is missing; expected one of {TABLES}.")
        quirk = self._at.one_of(("quirk",), top, QUIRKS)
        columns = self._columns(top.get("columns", {}), table)
        constants = self._constants(top.get("constants", {}), table)
        self._enough(table, columns, constants, quirk)
        rules = self._rules(top.get("rule", []))
        returns = self._returns(top.get("returns"))
        orders = self._orders(top.get("orders"))
        return Layout(
            name=name,
            table=table,
            words=Words(
                self._at.optional(("title",), top) or name,
                self._at.optional(("needs",), top),
                self._at.several(("derived",), top),
                self._at.several(("notes",), top),
            ),
            signature=self._signature(top, columns, rules, returns, orders),
            columns=columns,
            constants=constants,
            formats=self._formats(top.get("formats", {})),
            rules=rules,
            returns=returns,
            orders=orders,
            quirk=quirk,
            also=self._at.several(("also",), top),
            by_product=self._by_product(top, table, columns),
            digest=digest,
            replaces=self._replaces(top, table, columns),
        )

    def _role(self, path: tuple[str | int, ...], name: str, table: str) -> Role:
        role = next((one for one in ROLES[table] if one == name), None)
        if role is None:
            allowed = ", ".join(sorted(ROLES[table]))
            raise self._at.wrong(
                path, f"{name!r} is nothing that a {table} has; expected one of {allowed}."
            )
        return role

    def _columns(self, held: Any, table: str) -> dict[Role, tuple[str, ...]]:
        out: dict[Role, tuple[str, ...]] = {}
        seen: dict[str, str] = {}
        if not isinstance(held, dict):
            raise self._at.wrong(("columns",), "columns is not a table of settings.")
        for name, value in held.items():
            path = ("columns", name)
            role = self._role(path, name, table)
            out[role] = self._at.texts(path, value)
            for column in out[role]:
                if seen.setdefault(column, name) != name:
                    raise self._at.wrong(
                        path, f"the column {column!r} is both the {seen[column]} and the {name}."
                    )
                if role not in _OF_PEOPLE and _about_people(column):
                    raise self._at.wrong(
                        path,
                        f"{column!r} looks like a column about a person; it cannot be the {name}.",
                        "Personal columns are dropped; only a customer's number or e-mail address "
                        "may be named, as customer, and it is kept as a keyed hash.",
                    )
        return out

    def _constants(self, held: Any, table: str) -> dict[Role, str]:
        if not isinstance(held, dict):
            raise self._at.wrong(("constants",), "constants is not a table of settings.")
        return {
            self._role(("constants", name), name, table): self._at.text(("constants", name), value)
            for name, value in held.items()
        }

    def _by_product(self, top: Mapping[str, Any], table: str, columns: Mapping[Role, Any]) -> bool:
        found = top.get("category_from_product", False)
        path = ("category_from_product",)
        if not isinstance(found, bool):
            raise self._at.wrong(path, f"{found!r} is neither true nor false.")
        if found and (table != "sales_line" or Role.CATEGORY in columns):
            raise self._at.wrong(path, "there is a category already, or none is needed.")
        return found

    def _replaces(self, top: Mapping[str, Any], table: str, columns: Mapping[Role, Any]) -> bool:
        found = bool(self._at.one_of(("replaces",), top, ("order",)))
        if found and (table != "sales_line" or Role.ORDER not in columns):
            raise self._at.wrong(
                ("replaces",),
                "only an export of sales that names the order on every row can replace orders.",
                "Name the column of the order under [columns], or take this line out.",
            )
        return found

    def _enough(
        self, table: str, columns: Mapping[Role, Any], constants: Mapping[Role, str], quirk: str
    ) -> None:
        if quirk:
            return  # the quirk makes what is missing; its own test sees to that
        for group in NEEDED[table]:
            if not any(role in columns or role in constants for role in group):
                raise self._at.wrong(
                    ("columns",),
                    f"no column is named for the {' or the '.join(group)}; a {table} needs one.",
                    f"Add a line such as {group[0]} = 'Name of the column' under [columns].",
                )

    def _signature(
        self,
        top: Mapping[str, Any],
        columns: Mapping[Role, Any],
        rules: Sequence[Rule],
        returns: Returns | None,
        orders: Orders | None,
    ) -> Signature:
        held = self._at.keys(
            ("signature",), top.get("signature", {}), ["required", "absent", "personal"]
        )
        versions = []
        for at, one in enumerate(self._at.items(("version",), top.get("version", []))):
            path = ("version", at)
            self._at.keys(path, one, ["name", "header", "shapes"])
            shapes = one.get("shapes", {})
            if not isinstance(shapes, dict):
                raise self._at.wrong((*path, "shapes"), "shapes is not a table of settings.")
            for name, shape in shapes.items():
                self._pattern((*path, "shapes", name), shape)
            versions.append(
                Version(
                    self._at.optional((*path, "name"), one),
                    self._at.texts((*path, "header"), one.get("header", [])),
                    {name: str(shape) for name, shape in shapes.items()},
                )
            )
        required = self._at.several(("signature", "required"), held)
        return Signature(
            required or _all_of(columns, rules, returns, orders),
            self._at.several(("signature", "absent"), held),
            tuple(versions),
            self._at.several(("signature", "personal"), held),
        )

    def _pattern(self, path: tuple[str | int, ...], shape: Any) -> None:
        """Patterns of a shared file could run for ever, so only built-in ones may have them."""
        if self._at.where != "built in":
            raise self._at.wrong(path, "shapes are for the built-in formats only.", "Take it out.")
        re.compile(self._at.text(path, shape))

    def _formats(self, held: Any) -> Formats:
        self._at.keys(("formats",), held, ["date_order", "decimal", "timezone", "currency", "unit"])
        zone = self._at.optional(("formats", "timezone"), held)
        if zone:
            try:
                ZoneInfo(zone)
            except (ZoneInfoNotFoundError, ValueError, OSError) as error:
                raise self._at.wrong(
                    ("formats", "timezone"),
                    f"{zone!r} is not a time zone; expected a name such as Europe/Paris.",
                ) from error
        money = self._at.optional(("formats", "currency"), held)
        try:
            currency(money)
        except Unreadable as error:
            raise self._at.wrong(("formats", "currency"), f"{error}.") from error
        return Formats(
            self._at.one_of(("formats", "date_order"), held, ORDERS),
            self._at.one_of(("formats", "decimal"), held, (".", ",")),
            zone,
            money.upper(),
            self._at.one_of(("formats", "unit"), held, ("major", "minor")) or "major",
        )

    def _rules(self, held: Any) -> tuple[Rule, ...]:
        out = []
        for at, one in enumerate(self._at.items(("rule",), held)):
            path = ("rule", at)
            self._at.keys(path, one, ["column", "keep", "leave_out", "filled", "zero", "other"])
            column = self._at.optional((*path, "column"), one)
            if not column:
                raise self._at.wrong(path, "a rule needs the name of a column.")
            reasons = one.get("leave_out", {})
            if not isinstance(reasons, dict):
                raise self._at.wrong(
                    (*path, "leave_out"), "expected leave_out = { value = 'why' }."
                )
            rule = Rule(
                column,
                self._at.values((*path, "keep"), one.get("keep", [])),
                {
                    folded(value): self._at.text((*path, "leave_out", value), why)
                    for value, why in reasons.items()
                },
                self._at.optional((*path, "filled"), one),
                self._at.optional((*path, "zero"), one),
                self._at.optional((*path, "other"), one) or "keep",
            )
            if not (rule.keep or rule.leave_out or rule.filled or rule.zero):
                raise self._at.wrong(
                    path, "the rule says neither what to keep nor what to leave out."
                )
            out.append(rule)
        return tuple(out)

    def _returns(self, held: Any) -> Returns | None:
        if held is None:
            return None
        self._at.keys(("returns",), held, ["column", "values"])
        column = self._at.optional(("returns", "column"), held)
        values = self._at.several(("returns", "values"), held)
        if not column or not values:
            raise self._at.wrong(("returns",), "returns needs a column and its values.")
        return Returns(column, frozenset(map(folded, values)))

    def _orders(self, held: Any) -> Orders | None:
        if held is None:
            return None
        self._at.keys(("orders",), held, ["by", "fill", "discount", "subtotal", "total", "refund"])
        by = self._at.optional(("orders", "by"), held)
        if not by:
            raise self._at.wrong(("orders",), "orders needs the column that names the order (by).")
        return Orders(
            by,
            self._at.several(("orders", "fill"), held),
            *(
                self._at.optional(("orders", n), held)
                for n in ["discount", "subtotal", "total", "refund"]
            ),
        )


def _all_of(
    columns: Mapping[Role, Any],
    rules: Sequence[Rule],
    returns: Returns | None,
    orders: Orders | None,
) -> tuple[str, ...]:
    """Every column that is named, so that no rule is passed over because of a misspelt name."""
    names = ["|".join(names) for names in columns.values()] + [rule.column for rule in rules]
    if returns is not None:
        names.append(returns.column)
    if orders is not None:
        names += [orders.by, *orders.fill, orders.discount, orders.subtotal, orders.total]
        names.append(orders.refund)
    return tuple(dict.fromkeys(filter(None, names)))


def _about_people(column: str) -> bool:
    """Whether a column may hold people's data; a bare "Name" may be an order's or a product's."""
    return is_personal(column) and plain(column) not in ("name", "names")
