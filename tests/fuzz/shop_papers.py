"""What is fuzzed of consent and rights: answers, the local door, sealed files, proofs, evidence."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

from fuzz_form import KEY, NOW, Target, kept_file

from protocols import canonical
from protocols.audit import consent, entries
from protocols.audit.customer_proof import check_customer, prove_customer
from protocols.audit.merkle import leaf_hash
from protocols.errors import CoopError
from protocols.signing import identity_of, jws_sign

SCOPE = "train:churn"
LEAVES = sorted(consent.leaves(SCOPE, (bytes([k]) * 32 for k in range(9))))


# ------------------------------------------------------------------------- what customers said


def _consents(data: bytes) -> None:
    from node.policy import consent_file

    scopes = frozenset({SCOPE, "train:demand"})
    reading = consent_file.Reading(b"s" * 32, scopes, ZoneInfo("Europe/Berlin"), NOW)
    for row in consent_file.read(kept_file(data, "answers.csv"), reading).rows:
        assert len(row[0]) == 32 and row[1] in scopes


def _consents_seeds() -> Sequence[bytes]:
    return [
        b"customer,scope,state,at,source\r\n4711,train:churn,granted,2026-01-02T09:00,till\r\n"
        b'"47 11",train:demand,objected,2026-01-03,letter\r\n',
        "customer\tscope\tstate\tat\tsource\n4711\t*\twithdrawn\t2026-01-02T09:00+01:00\tx\n".encode(
            "utf-16"
        ),
    ]


@cache
def _door() -> tuple[Any, str]:
    """The app behind its guard, as the socket calls it, and a good token."""
    from node import keys
    from node.endpoint.app import Door, application
    from node.endpoint.guard import Failures, Guard
    from node.endpoint.tokens import TokenDesk
    from node.house import open_home
    from node.store.database import Database

    folder = kept_file(b"", "x").parent / "home"
    keys.create(folder)
    home = open_home(folder)
    database = Database.open(folder / "node.db", create=True)
    tokens = TokenDesk(database, home.journal, home.clock)
    door = Door(home.consents(database), tokens, Failures(lambda: 0.0, lambda count: None))
    return Guard(application(door), lambda: frozenset({"127.0.0.1:8787"})), tokens.new("shop")[1]


def _posted(data: bytes) -> None:
    """A body at both places, in both kinds; no answer is a failure of this machine."""
    for path, kind in (
        ("/v1/consents", "application/json"),
        ("/v1/withdraw", "application/json"),
        ("/v1/withdraw", "application/x-www-form-urlencoded"),
    ):
        status, body = asyncio.run(_ask(path, kind, data))
        assert status in {200, 400, 403, 413, 422}, (path, kind, status, body)
        assert ("error" in json.loads(body)) is (status != 200)


async def _ask(path: str, kind: str, data: bytes) -> tuple[int, bytes]:
    app, token = _door()
    headers = {
        "host": "127.0.0.1:8787",
        "authorization": f"Bearer {token}",
        "content-type": kind,
        "content-length": str(len(data)),
    }
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    told: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": data, "more_body": False}

    async def send(message: Any) -> None:
        told.append(message)

    await app(scope, receive, send)
    return told[0]["status"], b"".join(one.get("body", b"") for one in told[1:])


def _posted_seeds() -> Sequence[bytes]:
    one = {"customer": "4711", "scope": SCOPE, "state": "granted", "at": "2026-01-02T09:00:00Z"}
    return [
        json.dumps({"events": [one, {**one, "state": "withdrawn", "source": "web"}]}).encode(),
        json.dumps({"customer": "4711", "scope": "*", "as": "objected"}).encode(),
    ]


# ------------------------------------------------------------------------- the vault


def _sealed_manifest(data: bytes) -> None:
    """Bytes where the sealed list of contents should be."""
    from node.data import manifest

    manifest.load(kept_file(data, "manifest.sealed"), bytes(32))


def _manifest_text(data: bytes) -> None:
    """The same sealed with the right key: what an older or a broken version may have written."""
    from node.data import manifest, sealing

    _sealed_manifest(sealing.seal(bytes(32), manifest._PURPOSE, data))


def _manifest_seeds() -> Sequence[bytes]:
    from node.data import manifest, sealing
    from node.data.vault import Vault
    from vault_rows import KEY as VAULT_KEY
    from vault_rows import customers, lines, take

    root = kept_file(b"", "x").parent / "small"
    take(Vault(root, VAULT_KEY), lines(0, 6), customers(("ab" * 32, None, "DE")))
    (path,) = root.glob("manifest*")
    raw = path.read_bytes()
    return [raw, sealing.unseal(VAULT_KEY, manifest._PURPOSE, raw, "seed")]


# ------------------------------------------------------------------------- proofs and evidence


def _book(data: bytes) -> None:
    from node.policy import book_files

    book = consent.RowBook.decode(data, "fuzz")
    assert book.encode() == data
    for gone in (LEAVES[:1], book.leaves[::2]):
        path = kept_file(data, "book.bin")
        book_files.redact(path, set(gone))
        less = consent.RowBook.decode(path.read_bytes(), "again")
        assert less.root() == book.root()


def _row_book() -> consent.RowBook:
    held = LEAVES[1:8:2]
    return consent.RowBook(tuple(held), (3, 1, 4, 1), tuple(bytes([k]) * 32 for k in range(4)))


def _customer_proof(data: bytes) -> None:
    check_customer(canonical.parse_json(data, "fuzz"), "fuzz")


def _customer_proof_seeds() -> Sequence[bytes]:
    """In the run, not in the run, and not in the purpose at all."""
    book, out = _row_book(), []
    for wanted in (LEAVES[3], LEAVES[2], b"\x01" * 32):
        about = {
            "run": "1f" * 16,
            "reading": 1,
            "from_round": 0,
            "scope": SCOPE,
            "basis": consent.CONSENT,
            "at": "2026-03-01T12:00:00Z",
            "position": 9,
        }
        made = prove_customer(about, LEAVES, book, wanted)
        said = {
            "reading": 1,
            "round": 0,
            "read_at": about["at"],
            "run": about["run"],
            "scope": SCOPE,
            "basis": consent.CONSENT,
            "position": 9,
            "standing": made["standing"]["count"],
            "customers": made["rows"]["count"],
            "standing_root": made["standing"]["root"],
            "root": made["rows"]["root"],
        }
        line = entries.encode(
            entries.Entry(0, entries.instant(NOW), entries.Kind.SNAPSHOT, said)
        ).decode()
        root = b64encode(leaf_hash(line.encode())).decode()
        proof = {"entry": line, "index": 0, "size": 1, "path": []}
        journal = {"head": f"node\n1\n{root}\n", "proof": proof}
        out.append(canonical.json_bytes({**made, "root": said["root"], "journal": journal}))
    return out


def _evidence(data: bytes) -> None:
    """As it came; and as what a member signs who means harm."""
    from node.rights import evidence

    with suppress(CoopError):
        evidence.verify(data, "fuzz")
    signed = jws_sign(canonical.parse_json(data, "fuzz"), identity_of(KEY.public), KEY)
    checked = evidence.verify(canonical.json_bytes(signed), "fuzz", key=KEY.public)
    assert all(line.isprintable() for line in checked.lines())


def _evidence_seeds() -> Sequence[bytes]:
    from node.rights.evidence import Statement, sign

    made = Statement(
        request="1f3a5b7c",
        asks="erase",
        outcome="done",
        subject="ab" * 32,
        at=NOW,
        received_at=NOW - timedelta(days=2),
        due=NOW + timedelta(days=28),
        identity_checked_at=None,
        agreement=None,
        facts={"before": {"sales_line": 3}, "runs": ["1f" * 16]},
    )
    return [canonical.json_bytes(made.document(KEY)), sign(made, KEY).raw]


def _shop(data: bytes) -> None:
    from node.documents import shop

    found = shop.load(kept_file(data, "shop.toml").parent)
    shop.save(kept_file(b"", "shop.toml").parent, found)
    assert shop.load(kept_file(b"", "x").parent) == found


def _shop_seeds() -> Sequence[bytes]:
    return [
        b'name = "Bakery"\nowner = "A \\"B\\" C"\ncountry = "DE"\nemail = "a@example.test"\n'
        b"[dpia]\n"
    ]


PAPERS: Mapping[str, Target] = {
    "consents": Target(_consents, _consents_seeds),
    "posted": Target(_posted, _posted_seeds, json=True),
    "vault manifest": Target(_sealed_manifest, lambda: _manifest_seeds()[:1]),
    "manifest text": Target(_manifest_text, lambda: _manifest_seeds()[1:], json=True),
    "row book": Target(_book, lambda: [_row_book().encode()]),
    "customer proof": Target(_customer_proof, _customer_proof_seeds, json=True),
    "evidence": Target(_evidence, _evidence_seeds, json=True),
    "shop": Target(_shop, _shop_seeds),
}
