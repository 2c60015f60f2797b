"""``house_rules.toml``: how this member tightens the agreement for its own node.

Every rule is one more condition. There is no rule that allows something, so the file cannot
loosen a clause; an unknown key is an error, because a misspelt rule would protect nobody.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protocols.agreement.house import NO_HOUSE_RULES, HouseRules
from protocols.agreement.terms import Hours
from protocols.errors import InputError

FILE_NAME = "house_rules.toml"
MAX_FILE_BYTES = 64 * 1024
EXAMPLE = """\
# House rules: they make the agreement stricter for this node. Remove the # of those you want.
# purposes = ["train:demand"]        # only these purposes
# columns_never = ["product"]        # never read these columns for a run
# hours_utc = [20, 6]                # runs start only from 20:00 to 6:00 UTC
# approval = "manual"                # ask me for every order
# min_cohort = 8                     # at least so many members in every sum
# min_colluders = 2                  # guard against so many who work together
# max_rounds = 40                    # longest run
# max_runs = 4                       # runs in the period of clause c14
# max_epsilon = 2.0                  # privacy spent with each run, over the period of its budget
# countries = ["FR", "DE"]           # where the coordinator may run
# max_uses_per_day = 20              # of one result on this node
# consent_max_age_days = 730         # a customer's yes counts for so long, then ask again
"""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_:.-]{0,127}")
_COUNTRY = re.compile(r"[A-Z]{2}")
_COUNTS = ("min_cohort", "min_colluders", "max_rounds", "max_runs", "max_uses_per_day")
_DAYS = "consent_max_age_days"
KEYS = (
    "purposes",
    "columns_never",
    "hours_utc",
    "approval",
    "max_epsilon",
    "countries",
    _DAYS,
    *_COUNTS,
)


def load(file: Path) -> HouseRules:
    """The rules of a file; no file means no rules.

    Raises:
        InputError: not TOML, an unknown key or a value of the wrong kind; names file and line.
    """
    try:
        with file.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return NO_HOUSE_RULES
    except OSError as error:
        raise InputError(f"it cannot be read: {error.strerror}.", where=str(file)) from error
    if len(raw) > MAX_FILE_BYTES:
        raise InputError(f"it is longer than {MAX_FILE_BYTES} bytes.", where=str(file))
    return parse(raw, str(file))


def parse(raw: bytes, where: str) -> HouseRules:
    """The rules of a text; InputError as in ``load``."""
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"byte {error.start} is not UTF-8.", where=where, fix="Save the file as UTF-8."
        ) from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(
            f"this is not TOML: {error}.",
            where=_toml_place(where, str(error)),
            fix='One rule a line, for example: approval = "manual".',
        ) from error
    return _Reader(values, text, where).rules()


def _toml_place(where: str, message: str) -> str:
    found = re.search(r"line (\d+), column (\d+)", message)
    return f"{where}:{found[1]}:{found[2]}" if found else where


class _Reader:
    """Checks each value and names its line."""

    def __init__(self, values: Mapping[str, Any], text: str, where: str) -> None:
        self._values, self._where = values, where
        self._lines = {
            found[1]: number
            for number, line in enumerate(text.splitlines(), start=1)
            if (found := re.match(r"\s*\[*\s*\"?([A-Za-z0-9_-]+)", line))
        }

    def rules(self) -> HouseRules:
        """All rules, or InputError at the first that cannot be used."""
        for key in self._values:
            if key not in KEYS:
                near = difflib.get_close_matches(key, KEYS, n=1)
                hint = f"Did you mean {near[0]!r}?" if near else f"Known are: {', '.join(KEYS)}."
                raise self._bad(key, "there is no house rule of this name", hint)
        return HouseRules(
            purposes=self._names("purposes"),
            columns_never=self._names("columns_never") or frozenset(),
            hours_utc=self._hours(),
            manual_approval=self._manual(),
            min_cohort=self._count("min_cohort") or 0,
            min_colluders=self._count("min_colluders") or 0,
            max_rounds=self._count("max_rounds"),
            max_runs=self._count("max_runs"),
            max_epsilon=self._epsilon(),
            countries=self._countries(),
            max_uses_per_day=self._count("max_uses_per_day"),
            consent_max_age_days=self._days(),
        )

    def _names(self, key: str) -> frozenset[str] | None:
        if key not in self._values:
            return None
        value = self._values[key]
        good = isinstance(value, list) and all(
            isinstance(one, str) and _NAME.fullmatch(one) for one in value
        )
        if not good or not value:
            raise self._bad(key, "a list of one or more names is expected", 'Like ["name"].')
        return frozenset(value)

    def _countries(self) -> frozenset[str] | None:
        if "countries" not in self._values:
            return None
        value = self._values["countries"]
        good = isinstance(value, list) and all(
            isinstance(one, str) and _COUNTRY.fullmatch(one) for one in value
        )
        if not good or not value:
            raise self._bad(
                "countries", "a list of countries is expected, two capitals each", 'Like ["FR"].'
            )
        return frozenset(value)

    def _count(self, key: str) -> int | None:
        if key not in self._values:
            return None
        value = self._values[key]
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 1_000_000:
            raise self._bad(key, "a whole number from 0 to 1000000 is expected", "")
        return value

    def _days(self) -> int | None:
        value = self._count(_DAYS)
        if value is not None and not 1 <= value <= 3650:
            raise self._bad(_DAYS, "a whole number of days from 1 to 3650 is expected", "")
        return value

    def _epsilon(self) -> float | None:
        if "max_epsilon" not in self._values:
            return None
        value = self._values["max_epsilon"]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not 0 <= value <= 100:  # also nan and inf, which TOML has
            raise self._bad("max_epsilon", "a number from 0 to 100 is expected", "Like 2.0.")
        return float(value)

    def _hours(self) -> Hours | None:
        if "hours_utc" not in self._values:
            return None
        value = self._values["hours_utc"]
        good = (
            isinstance(value, list)
            and len(value) == 2
            and all(type(one) is int for one in value)
            and 0 <= value[0] <= 23
            and 1 <= value[1] <= 24
            and value[0] != value[1]  # could mean always or never
        )
        if not good:
            raise self._bad(
                "hours_utc", "two hours in UTC that differ are expected", "Like [20, 6]."
            )
        return Hours(from_hour=value[0], to_hour=value[1])

    def _manual(self) -> bool:
        value = self._values.get("approval")
        if value not in (None, "manual"):
            raise self._bad(
                "approval",
                'only "manual" is possible, because house rules tighten and never loosen',
                "Use `coop-node approve --always` for one workload instead.",
            )
        return value == "manual"

    def _bad(self, key: str, problem: str, fix: str) -> InputError:
        where = f"{self._where}:{self._lines.get(key, 1)}"
        return InputError(f"{key}: {problem}.", where=where, fix=fix)
