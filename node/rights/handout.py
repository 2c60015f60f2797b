"""What the person is handed: a folder for reading (art. 15), a zip file to take along (art. 20).

Both are the owner's to hand over and to delete afterwards; this program does not keep them. Cells
that a spreadsheet would run as a formula are made text in every CSV file.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from node import files
from node.rights.access import About
from node.rights.held import Held
from protocols.documents.document import Document, Table, plain
from protocols.documents.page import html
from protocols.documents.render import markdown, table_csv
from protocols.errors import InputError

SCHEMA: Final = "datacoop/handout/v1"
WARNING: Final = (
    "It is about a person: hand it over in person or encrypted, and delete it here afterwards."
)


def require_free(path: Path) -> None:
    """InputError if something is there already: an answer never overwrites."""
    if path.exists() or path.is_symlink():
        raise InputError("this exists already.", where=str(path), fix="Choose another name.")


def write_folder(
    path: Path, document: Document, about: About, proofs: Mapping[str, bytes]
) -> tuple[str, ...]:
    """The answer to an access request as a folder that only its owner can open (0700).

    Args:
        path: must not exist.
        document, about: what it says, and what it was made from.
        proofs: name -> what shows that a run read the person's rows.

    Returns:
        The names of the files: a page, the same as text, all of it as JSON, a CSV file a table,
        the proofs.
    """
    require_free(path)
    made: dict[str, bytes] = {
        "answer.html": html(document).encode(),
        "answer.md": markdown(document).encode(),
        "answer.json": _json({"document": plain(document), **_everything(about)}),
    }
    made |= {f"{one.name}.csv": _csv(one) for one in about.held.tables}
    made |= proofs
    files.make_folder(path)
    for name, content in made.items():
        files.write(path / name, content)
    return tuple(made)


def write_zip(path: Path, held: Held, now: datetime) -> tuple[str, ...]:
    """Data that the person gave or caused, for another shop: JSON and CSV in one file (0600).

    Returns:
        The names inside.
    """
    require_free(path)
    made: dict[str, bytes] = {"data.json": _json(_tables(held))}
    made |= {f"{one.name}.csv": _csv(one) for one in held.tables}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        for name, content in made.items():
            info = zipfile.ZipInfo(name, now.timetuple()[:6])
            info.compress_type = zipfile.ZIP_DEFLATED
            out.writestr(info, content)
    files.write(path, packed.getvalue())
    return tuple(made)


def _everything(about: About) -> dict[str, Any]:
    return {
        **_tables(about.held),
        "runs": [
            {"run": r.run, "purpose": r.scope, "basis": r.basis, "at": r.at, "entry": r.entry}
            for r in about.runs
        ],
        "models": [
            {"model": m.model, "run": m.run, "state": m.state, "epsilon": m.epsilon}
            for m in about.models
        ],
        "assessment": about.score.document(),
    }


def _tables(held: Held) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "customer_key": held.key,
        "tables": {
            one.name: [dict(zip(one.headers, row, strict=True)) for row in one.rows]
            for one in held.tables
        },
    }


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, indent=1, ensure_ascii=False).encode() + b"\n"


def _csv(table: Table) -> bytes:
    """UTF-8 with a byte order mark, so that a double click shows umlauts as they are."""
    return b"\xef\xbb\xbf" + table_csv(table).encode()
