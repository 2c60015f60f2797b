"""An evidence pack as files: which there are, what each proves, and the one zip that holds them.

Like a release's bundle: deterministic, nothing compressed, so that packing what was unpacked gives
the same bytes and nothing can hide in the archive. Nothing of a customer has a place in it.
"""

from __future__ import annotations

import hashlib
import io
import re
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from protocols import bundle
from protocols.agreement.base import utc_text
from protocols.agreement.check import check
from protocols.agreement.parse import ParsedAgreement, read_agreement
from protocols.agreement.render import page
from protocols.canonical import Json, json_bytes, json_id, parse_json
from protocols.errors import Code, InputError
from protocols.signing import jws_payload

KIND: Final = "datacoop/evidence"
VERSION: Final = 1
MANIFEST, README, GUIDE = "manifest.json", "README.txt", "VERIFY.md"
LOG, CHECKPOINT = "log/log.jsonl", "log/checkpoint"
MAX_PACK_BYTES: Final = 512 * 1024 * 1024
MAX_FILES: Final = 20_000
Side = Literal["node", "coordinator"]

_WHAT: Final[Sequence[tuple[str, str]]] = (
    (r"README\.txt", "what this pack is and how to check it"),
    (r"VERIFY\.md", "the commands with which anybody can check a signature"),
    (
        r"agreements/[0-9]{4}-[0-9a-f]{16}\.jws",
        "a version of the agreement with its signatures: who agreed to what",
    ),
    (r"rosters/[0-9]{4}\.jws", "a list of members with its signatures: who the members were"),
    (r"orders/[0-9a-f]{32}\.jws", "an order of a run, signed by the operator: what was asked"),
    (r"cards/[0-9a-f]{64}\.jws", "the card of a release, signed by the coordinator"),
    (r"releases/[0-9a-f]{64}/.+", "a file of a release: from it the model is derived again"),
    (r"log/log\.jsonl", "the audit log, one entry in a line: what was done, in order"),
    (r"log/checkpoint", "the signed head of that log: nothing was changed, removed or added"),
    (r"log/entries/[0-9]{8}\.json", "one entry of the log with its proof under the signed head"),
    (r"heads/[0-9]{4}\.note", "a head of the coordinator's log, with members' countersignatures"),
    (r"documents/[0-9a-f]{64}\.jws", "a signed statement: leaving, ending, taking back, incident"),
    (
        r"generated/agreement-[0-9]{4}-[0-9a-f]{16}\.txt",
        "the agreement in plain words, derived from what software obeys",
    ),
    (r"generated/findings-[0-9]{4}-[0-9a-f]{16}\.txt", "what the checker says about the agreement"),
)
_KINDS: Final = tuple((re.compile(pattern), what) for pattern, what in _WHAT)
_RELEASE_FILE = re.compile(r"releases/[0-9a-f]{64}/(.+)")
_EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Contents:
    """What goes into a pack.

    Args:
        coop: the cooperative, 64 hex digits.
        side: whose log this is.
        made: when the pack was made.
        software: version of datacoop that made it.
        scope: ``{}`` for everything, ``{"run": ..}`` or ``{"release": ..}`` for a part.
        agreements, rosters, orders: signed (JWS); rosters from epoch 1 without gaps.
        cards: signed cards of releases whose files are not here.
        releases: model id -> files of the release.
        log: the whole log's lines, or None in a pack for a part.
        checkpoint: the signed head of the log.
        proofs: entry number -> inclusion proof under that head, in a pack for a part.
        heads: notes of the coordinator's log that were kept, oldest first.
        documents: signed statements (membership, succession, termination, revocation, incident).
        guide: the text of VERIFY.md.
    """

    coop: str
    side: Side
    made: datetime
    software: str
    scope: Mapping[str, str] = field(default_factory=dict)
    agreements: Sequence[Json] = ()
    rosters: Sequence[Json] = ()
    orders: Sequence[Json] = ()
    cards: Sequence[Json] = ()
    releases: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)
    log: bytes | None = field(default=None, repr=False)
    checkpoint: bytes = b""
    proofs: Mapping[int, bytes] = field(default_factory=dict)
    heads: Sequence[bytes] = ()
    documents: Sequence[Json] = ()
    guide: bytes = b""


def make_pack(contents: Contents) -> bytes:
    """The zip file; the same contents give the same bytes.

    Raises:
        InputError: a document is malformed, or the pack would be too large.
    """
    files = _files(contents)
    files[README] = _readme(contents, files).encode()
    manifest = {
        "kind": KIND,
        "v": VERSION,
        "coop": contents.coop,
        "side": contents.side,
        "scope": dict(contents.scope),
        "made": utc_text(contents.made),
        "software": contents.software,
        "files": _listed(files),
    }
    files[MANIFEST] = json_bytes(manifest)
    if sum(map(len, files.values())) > MAX_PACK_BYTES or len(files) > MAX_FILES:
        raise InputError(
            f"the evidence has more than {MAX_PACK_BYTES} bytes or {MAX_FILES} files.",
            code=Code.LIMIT,
            where="evidence",
            fix="Make a pack for one run or one release.",
        )
    return _zip(files)


def unpack(archive: bytes, where: str) -> dict[str, bytes]:
    """The files of a pack from bytes of unknown origin; each is as the manifest says.

    Raises:
        InputError: not a pack, too large, packed in any other way than ``make_pack`` does, or a
            file that the manifest does not describe. Nothing of it was written anywhere.
    """
    if len(archive) > MAX_PACK_BYTES:
        raise InputError(
            f"the pack has {len(archive)} bytes, at most {MAX_PACK_BYTES} are read.",
            code=Code.LIMIT,
            where=where,
        )
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            files = _read_all(opened, where)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, struct.error) as error:
        raise _bad(f"this is not the zip file of an evidence pack: {error}.", where) from error
    if _zip(files) != archive:
        raise _bad("the zip file holds more than the files of an evidence pack.", where)
    manifest = read_manifest(files[MANIFEST])
    if manifest["files"] != _listed(files):
        raise _bad("the files are not those that the manifest describes.", MANIFEST)
    return files


def read_manifest(raw: bytes) -> dict[str, Any]:
    """The manifest, its form checked."""
    found = parse_json(raw, MANIFEST)
    keys = {"kind", "v", "coop", "side", "scope", "made", "software", "files"}
    if json_bytes(found) != raw or found.keys() != keys:
        raise _bad("the manifest is not in its one form.", MANIFEST)
    texts = all(isinstance(found[key], str) for key in ("coop", "side", "made", "software"))
    scope = found["scope"]
    if found["kind"] != KIND or found["v"] != VERSION or not texts or not isinstance(scope, dict):
        raise _bad(f"this is not a manifest of {KIND}, version {VERSION}.", MANIFEST)
    if not all(isinstance(one, str) for one in scope.values()) or scope.keys() - {"run", "release"}:
        raise _bad("the scope of a pack is a run, a release or everything.", MANIFEST)
    return found


def what(name: str) -> str | None:
    """What a file of this name proves; None if no pack has such a file."""
    for pattern, sentence in _KINDS:
        if pattern.fullmatch(name):
            inside = _RELEASE_FILE.fullmatch(name)
            return sentence if inside is None or bundle.is_release_file(inside[1]) else None
    return None


def generated(parsed: ParsedAgreement, made: datetime) -> dict[str, bytes]:
    """The two documents for people that follow from an agreement."""
    name = f"{parsed.agreement.version:04d}-{parsed.id[:16]}.txt"
    findings = check(parsed.agreement, parsed.terms, made)
    said = [str(one) for one in findings] or ["The checker has nothing to say."]
    return {
        f"generated/agreement-{name}": f"{page(parsed)}\n".encode(),
        f"generated/findings-{name}": "".join(f"{line}\n" for line in said).encode(),
    }


def _files(contents: Contents) -> dict[str, bytes]:
    files: dict[str, bytes] = {GUIDE: contents.guide, CHECKPOINT: contents.checkpoint}
    for signed in contents.agreements:
        parsed = read_agreement(jws_payload(signed, "agreement"), "agreement")
        name = f"{parsed.agreement.version:04d}-{parsed.id[:16]}"
        files[f"agreements/{name}.jws"] = json_bytes(signed)
        files |= generated(parsed, contents.made)
    for number, signed in enumerate(contents.rosters, start=1):
        files[f"rosters/{number:04d}.jws"] = json_bytes(signed)
    for signed in contents.orders:
        files[f"orders/{jws_payload(signed, 'order')['run']}.jws"] = json_bytes(signed)
    for signed in contents.cards:
        files[f"cards/{jws_payload(signed, 'card')['model']}.jws"] = json_bytes(signed)
    for model, inside in contents.releases.items():
        files |= {f"releases/{model}/{name}": content for name, content in inside.items()}
    if contents.log is not None:
        files[LOG] = contents.log
    for number, proof in contents.proofs.items():
        files[f"log/entries/{number:08d}.json"] = proof
    for number, note in enumerate(contents.heads, start=1):
        files[f"heads/{number:04d}.note"] = note
    for signed in contents.documents:
        files[f"documents/{json_id(jws_payload(signed, 'document'))}.jws"] = json_bytes(signed)
    for name in files:
        if what(name) is None:
            raise InputError(f"{name[:80]!r} has no place in an evidence pack.", where="evidence")
    return files


def _listed(files: Mapping[str, bytes]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "sha256": hashlib.sha256(files[name]).hexdigest(),
            "bytes": len(files[name]),
            "what": what(name),
        }
        for name in sorted(files)
        if name != MANIFEST
    ]


def _read_all(opened: zipfile.ZipFile, where: str) -> dict[str, bytes]:
    listed = opened.infolist()
    if len(listed) > MAX_FILES:
        raise _bad(f"it holds {len(listed)} files, at most {MAX_FILES} are read.", where)
    for info in listed:
        if info.filename != MANIFEST and what(info.filename) is None:
            raise _bad(f"{info.filename[:80]!r} does not belong to an evidence pack.", where)
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise _bad(f"{info.filename} is compressed or encrypted; it must be stored.", where)
    if sum(info.file_size for info in listed) > MAX_PACK_BYTES:
        raise _bad("its files are larger than the zip file.", where)
    files = {info.filename: opened.read(info) for info in listed}
    for name in (MANIFEST, README, GUIDE, CHECKPOINT):
        if name not in files:
            raise _bad("this file of the pack is missing.", name)
    return files


def _zip(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, date_time=_EPOCH)
            info.create_system = 3  # the same bytes on every system
            info.external_attr = 0o100644 << 16
            archive.writestr(info, files[name])
    return out.getvalue()


def _readme(contents: Contents, files: Mapping[str, bytes]) -> str:
    scope = ", ".join(f"{key} {value}" for key, value in contents.scope.items())
    agreements = sorted(name for name in files if name.startswith("agreements/"))
    example = agreements[-1] if agreements else "agreements/NAME.jws"
    whose = "a member" if contents.side == "node" else "the cooperative's office"
    return README_TEXT.format(
        coop=contents.coop,
        made=utc_text(contents.made),
        whose=whose,
        scope=scope or "everything that is kept there",
        example=example,
        members=len(contents.rosters),
    )


README_TEXT: Final = """\
What this is
============
This file was made by {whose} of the cooperative {coop}
on {made}. It covers: {scope}.

It shows what the members agreed, who signed it, which runs were ordered, what came out of them,
and what the log says. It holds hashes and figures. It holds nothing about any customer.

How to check it
===============
With the software, offline, on any computer:

    coop-coordinator verify PACK.zip        or        coop-node verify PACK.zip

That checks every signature, every hash, every entry of the log under its signed head, and
derives every model again. It says what it cannot know.

With standard tools alone, see VERIFY.md. The shortest check of all: every file is as the
manifest says, and an agreement's name is the SHA-256 of what was signed:

    sha256sum README.txt
    jq -r .payload {example} | tr '_-' '/+' | base64 -d 2>/dev/null | sha256sum

What the folders hold
=====================
agreements/   each version of the agreement with all its signatures
rosters/      each list of members with its signatures ({members} of them)
orders/       each order of a run, signed by the operator
releases/     each release, complete: from it the model can be derived again
cards/        cards of releases whose files are not in this pack
log/          the log, or single entries of it with proofs, and its signed head
heads/        heads of the coordinator's log, some with members' countersignatures
documents/    statements about leaving, ending, taking back a model, incidents
generated/    the agreement in plain words, and what the checker says about it
manifest.json the SHA-256 of every file and what it proves

What it cannot show
===================
Whether a promise that software cannot check was kept (clauses marked "attested"). What happened
outside the software. Entries that the log's owner never wrote. Compare the head in log/checkpoint
with those that others kept: two that do not fit together prove that two histories were shown.
"""


def _bad(problem: str, where: str) -> InputError:
    return InputError(
        problem, code=Code.TAMPERED, where=where, fix="Ask whoever made it for the pack again."
    )
