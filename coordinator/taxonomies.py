"""The list of categories that the members share, as the office has it (clause 9).

The installed one, or one that the consortium brought (``taxonomy.json`` in the office's folder).
The agreement names a list by its fingerprint; plans take their vocabulary from that list.
"""

from __future__ import annotations

import functools
import stat
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from coordinator import files
from protocols.agreement.terms import Quality, SharedCategories, Terms, Workloads
from protocols.errors import InputError, Refused
from protocols.taxonomy.brought import MAX_BYTES
from protocols.taxonomy.form import Taxonomy, file_text, parse, shown

FILE: Final = "taxonomy.json"
INSTALLED: Final = "retail.json"
SETTING: Final = "categories"  # of an order's config
MAX_LIST_BYTES: Final = 4 * 1024 * 1024
USUAL_PERCENT: Final = 80


@functools.lru_cache(maxsize=4)
def _parsed(text: bytes, where: str) -> Taxonomy:
    return parse(text, where)


def installed() -> Taxonomy:
    """The list that comes with the software."""
    return _parsed(
        resources.files("protocols.taxonomy").joinpath(INSTALLED).read_bytes(), INSTALLED
    )


def in_use(home: Path) -> Taxonomy:
    """The list that this office has; InputError if the brought one is damaged."""
    brought = home / FILE
    if not brought.is_file():
        return installed()
    return _parsed(files.read(brought, MAX_LIST_BYTES), str(brought))


def use(home: Path, taxonomy: Taxonomy) -> None:
    """Have another list; the installed one needs no file."""
    if taxonomy.sha256 == installed().sha256:
        (home / FILE).unlink(missing_ok=True)
        files.sync_folder(home)
    else:
        files.write(home / FILE, file_text(taxonomy).encode())


def given(file: Path, most: int = MAX_BYTES) -> bytes:
    """The bytes of a file that a person names; InputError unless it is a plain one, not larger."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise InputError("this is not a file.", where=str(file))
        with file.open("rb") as stream:
            text = stream.read(most + 1)
    except OSError as error:
        raise InputError(f"it cannot be read: {error.strerror}.", where=str(file)) from error
    if len(text) > most:
        raise InputError(f"the file has more than {most} bytes.", where=str(file))
    return text


def figure(taxonomy: Taxonomy, percent: int) -> dict[str, Any]:
    """The value of ``taxonomy`` in clause 9."""
    return {"id": taxonomy.id, "sha256": taxonomy.sha256, "min_mapped_percent": percent}


def agreed(terms: Terms) -> SharedCategories | None:
    """What clause 9 says, if it names a list."""
    block = terms.block("c09", Quality)
    return block.taxonomy if block is not None else None


def here(home: Path, wanted: SharedCategories) -> Taxonomy | None:
    """The list of that fingerprint, if this office has it."""
    found = (one for one in (in_use(home), installed()) if one.sha256 == wanted.sha256)
    return next(found, None)


def vocabulary(
    home: Path, terms: Terms, workload: str, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The settings of a plan, with the agreed list's categories where none are named.

    A workload that has no such setting, and an agreement without a list, change nothing.

    Args:
        workload: its id; empty for the only one that is agreed.

    Raises:
        Refused: this office does not have the agreed list.
        InputError: a category that is none of the list.
    """
    wanted, recipes = agreed(terms), terms.block("c13", Workloads)
    listed = recipes.workloads if recipes is not None else ()
    free = [one.free for one in listed if one.id == workload or (not workload and len(listed) == 1)]
    if wanted is None or not free or SETTING not in free[0]:
        return dict(settings)
    found = here(home, wanted)
    if found is None:
        raise Refused(
            f"the agreement names the list {wanted.id} ({wanted.sha256[:16]}), which is not here.",
            clauses=("c09",),
            fix="'coop-coordinator taxonomy use FILE' takes the file of that list.",
        )
    if SETTING not in settings:
        return {**settings, SETTING: list(found.leaves)}
    named = settings[SETTING]
    others = [one for one in named if one not in found.leaf_set] if isinstance(named, list) else []
    if others:
        raise InputError(
            f"{shown(str(others[0]))} is no category of the agreed list {found.id}.",
            where="--settings: categories",
            fix="Leave categories out, and the whole list is taken.",
        )
    return dict(settings)
