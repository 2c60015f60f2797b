"""A node's folder that has joined the small cooperative and signed its agreement; no network."""

from __future__ import annotations

from pathlib import Path

import small_coop
from node import keys, membership
from node.house import open_home
from node.membership import Membership
from node.store.documents import Document, Documents, Signed, SignedAgreements
from protocols.agreement.parse import ParsedAgreement
from protocols.canonical import json_bytes
from protocols.joining import Address, cooperative


def join(home: Path, parsed: ParsedAgreement) -> None:
    """Write what joining and signing leave behind; the signature itself is not looked at."""
    own = keys.load(home)
    public = cooperative(
        "Six shops",
        "B",
        b"no certificate",
        small_coop.OPERATOR.public,
        small_coop.COORDINATOR.public,
    )
    known = Membership(
        public, own.member, Address("h", 1), Address("h", 2), "ab" * 32, small_coop.NOW
    )
    membership.rewrite(home, known)
    sign(home, parsed)


def sign(home: Path, parsed: ParsedAgreement) -> None:
    """Keep a version as signed by this member."""
    database = open_home(home).database()
    with database.write() as db:
        body = json_bytes(parsed.document)
        Documents(db).add(Document(parsed.id, "agreement", body, small_coop.NOW))
        version = parsed.agreement.version
        SignedAgreements(db).add(Signed(parsed.id, version, b"{}", small_coop.NOW))
    database.close()
