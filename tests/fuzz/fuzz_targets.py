"""What is fuzzed: one function of bytes for each reader of bytes that strangers may send.

A target may end quietly or raise one of the families of ``protocols.errors``; anything else is a
finding. Where a reader promises one form, the target also writes what it read and compares.
"""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
from fuzz_form import KEY, NOW, ROOT, Target
from shop_papers import PAPERS
from shop_targets import EXPORTS

from protocols import bundle, canonical, codec, joining, retrace, sealed
from protocols.agreement.incident import make_incident, verify_incident
from protocols.agreement.membership import (
    make_notice,
    make_termination,
    read_termination,
    verify_notice,
    verify_succession,
)
from protocols.agreement.order import parse_order
from protocols.agreement.parse import parse_agreement
from protocols.agreement.revocation import make_revocation, read_revocation
from protocols.agreement.roster import parse_roster
from protocols.audit import entries
from protocols.audit.checkpoint import (
    Checkpoint,
    origin_of,
    parse_checkpoint,
    sign_checkpoint,
    sign_note,
)
from protocols.audit.cosign import cosign, cosignature_of, merge, read_cosigned
from protocols.audit.verify import check_inclusion
from protocols.errors import CoopError, InputError
from protocols.pack import form
from protocols.secagg.messages import Stage
from protocols.signing import (
    identity_of,
    jws_payload,
    jws_sign,
    jws_verify,
    signed_by,
)

ORIGIN = origin_of("coordinator", KEY.public)


def survives(target: Target, data: bytes) -> None:
    """Run a target; nothing but our own families of errors may be caught here."""
    try:
        target.run(data)
    except CoopError:
        return


# ------------------------------------------------------------------------- documents


@cache
def _release() -> Mapping[str, bytes]:
    from small_coop import released

    return released()[1]


def _payload(name: str) -> bytes:
    signed = json.loads(_release()[name])
    return base64.urlsafe_b64decode(signed["payload"] + "==")


def _parse_json(data: bytes) -> None:
    document = canonical.parse_json(data, "fuzz")
    raw = canonical.json_bytes(document)
    assert canonical.json_bytes(canonical.parse_json(raw, "fuzz")) == raw


def _agreement(data: bytes) -> None:
    from protocols.agreement.render import page

    parsed = parse_agreement(data, "fuzz")
    assert parse_agreement(canonical.json_bytes(parsed.document), "fuzz").id == parsed.id
    page(parsed)


def _jws(data: bytes) -> None:
    signed = canonical.parse_json(data, "fuzz")
    keys = {"operator": KEY.public, ORIGIN: KEY.public}
    for step in (
        lambda: jws_payload(signed, "fuzz"),
        lambda: signed_by(signed, "fuzz"),
        lambda: jws_verify(signed, keys, "fuzz"),
        lambda: bundle.check_form(signed, data),
    ):
        try:
            step()
        except CoopError:
            continue


def _jws_seeds() -> Sequence[bytes]:
    own = canonical.json_bytes(jws_sign({"kind": "x", "n": 1}, "operator", KEY))
    return [own, _release()[bundle.ORDER], _release()[bundle.CARD_SIGNED]]


def _odrl(data: bytes) -> None:
    from protocols.agreement.odrl import from_odrl, odrl_bytes, to_odrl

    found = from_odrl(data, "fuzz")
    again = from_odrl(odrl_bytes(to_odrl(found.agreement, found.roster, found.standing)), "fuzz")
    assert again.agreement.id == found.agreement.id


def _odrl_seeds() -> Sequence[bytes]:
    from protocols.agreement.odrl import odrl_bytes, to_odrl

    parsed = parse_agreement(_payload(bundle.AGREEMENT), "seed")
    roster = parse_roster(_payload(bundle.roster_file(1)), "seed")
    return [odrl_bytes(to_odrl(parsed, roster))]


def _draft(syntax: str) -> Callable[[bytes], None]:
    """What an operator wrote, and the checker over it if it is an agreement at all."""

    def read(data: bytes) -> None:
        from protocols.agreement.authoring import parse_draft
        from protocols.agreement.check import check

        parsed = parse_draft(data, f"draft.{syntax}").parsed
        check(parsed.agreement, parsed.terms, NOW)

    return read


def _draft_seeds(syntax: str) -> Callable[[], Sequence[bytes]]:
    def read() -> Sequence[bytes]:
        if syntax == "json":
            return [_payload(bundle.AGREEMENT)]
        found = sorted((ROOT / "examples" / "agreements").glob(f"*.{syntax}"))
        return [one.read_bytes() for one in found]

    return read


def _statement(data: bytes) -> None:
    """A document that somebody signed, and that we hold for each kind of statement."""
    document = canonical.parse_json(data, "fuzz")
    me = identity_of(KEY.public)
    signed = jws_sign(document, "operator", KEY)
    own = jws_sign(document, me, KEY)
    for read in (
        lambda: verify_notice(own, {me: KEY.public}, "c0" * 32),
        lambda: verify_succession(own, {me: KEY.public}, "c0" * 32),
        lambda: verify_incident(signed, coop="c0" * 32, operator_key=KEY.public, where="fuzz"),
        lambda: read_revocation(document, "fuzz"),
        lambda: read_termination(document),
    ):
        with suppress(CoopError):
            read()


def _statement_seeds() -> Sequence[bytes]:
    coop, at = "c0" * 32, NOW
    return [
        canonical.json_bytes(one)
        for one in (
            make_notice(coop=coop, member=identity_of(KEY.public), state="suspended", at=at),
            make_termination(coop=coop, agreement="ab" * 32, at=at, reason="done"),
            make_incident(
                coop=coop, incident="1f" * 16, state="opened", freeze=True, what="x", at=at
            ).document,
            make_revocation(
                coop=coop, model="ab" * 32, run="1f" * 16, reason="x", issued=at
            ).document,
        )
    ]


def _sealed(data: bytes) -> None:
    """As it came; and as a header that the right key signed over any content."""
    with suppress(CoopError):
        sealed.read_sealed(data, KEY.public, "fuzz")
    header = canonical.json_bytes(jws_sign(canonical.parse_json(data, "fuzz"), sealed.SIGNER, KEY))
    whole = canonical.encode(sealed.FORMAT, header, b"x" * 19)
    sealed.read_sealed(whole, KEY.public, "fuzz")


def _sealed_seeds() -> Sequence[bytes]:
    promise = {
        "coop": "c0" * 32,
        "model": "ab" * 32,
        "run": "1f" * 16,
        "agreement": "cd" * 32,
        "card": "ef" * 32,
        "licence": "members-only",
        "purposes": ["train:demand"],
        "expires": "2027-01-01T00:00:00Z",
        "sha256": "12" * 32,
        "size": 3,
    }
    member = {"member": "ab" * 32, "key": "cd" * 32, "sealed_key": "ef" * 80}
    header = {
        "kind": sealed.KIND,
        "v": sealed.VERSION,
        "cipher": sealed.CIPHER,
        "promise": promise,
        "recipients": [member],
    }
    return [canonical.json_bytes(header)]


def _cooperative(data: bytes) -> None:
    joining.cooperative_from_json(canonical.parse_json(data, "fuzz"), "fuzz")


def _cooperative_seeds() -> Sequence[bytes]:
    face = joining.cooperative("Bakers", "C", b"der", b"o" * 32, b"c" * 32)
    return [canonical.json_bytes(face.to_json())]


def _text(data: bytes) -> None:
    """The two texts that people paste: an invitation and an address."""
    text = data.decode("utf-8", "replace")
    for read in (joining.parse_link, joining.parse_address):
        try:
            read(text)
        except CoopError:
            continue


# ------------------------------------------------------------------------- the wire


@cache
def _messages() -> Mapping[tuple[str, Stage], bytes]:
    from message_record import record

    return record()


def _decode(kind: tuple[str, Stage], data: bytes) -> Any:
    way, stage = kind
    if stage is Stage.PUBLISH:
        return codec.decode_published(data)
    if stage is Stage.AUDIT:
        read = codec.decode_audit_request if way == "down" else codec.decode_audit_reply
        return read(data, "peer")
    read_any: Any = codec.decode_request if way == "down" else codec.decode_reply
    return read_any(stage, data, "peer")


def _codec(data: bytes) -> None:
    """The first byte chooses the kind of message."""
    if not data:
        return
    kinds = list(_messages())
    kind, body = kinds[data[0] % len(kinds)], data[1:]
    message = _decode(kind, body)
    assert codec.encode_message(message) == body, kind


def _codec_seeds() -> Sequence[bytes]:
    return [bytes([at]) + body for at, body in enumerate(_messages().values())]


def _envelope(data: bytes) -> None:
    codec.peek_envelope(data)


def _envelope_seeds() -> Sequence[bytes]:
    kind = next(iter(_messages()))
    return [
        codec.seal(
            body=_messages()[kind],
            key=KEY,
            sender=b"\x09" * 32,
            run=b"r" * 16,
            round=3,
            attempt=1,
            stage=kind[1],
            agreement=b"a" * 32,
        )
    ]


def _record(data: bytes) -> None:
    retrace.read_record(data, "fuzz")


# ------------------------------------------------------------------------- the log


def _note(data: bytes) -> None:
    """As it came, and its text signed by the right key: what a lying log owner can send."""
    with suppress(CoopError):
        parse_checkpoint(data, KEY.public, ORIGIN, "fuzz")
    text = data.decode("utf-8", "replace").partition("\n\n")[0] + "\n"
    try:
        note = sign_note(text, ORIGIN, KEY)
    except UnicodeEncodeError as error:
        raise InputError("no text") from error
    head = parse_checkpoint(note, KEY.public, ORIGIN, "fuzz")
    assert head.text() == text


def _note_seeds() -> Sequence[bytes]:
    head = Checkpoint(ORIGIN, 12, b"\x01" * 32)
    return [sign_checkpoint(head, KEY), _release()[bundle.CHECKPOINT]]


def _cosigned(data: bytes) -> None:
    """Lines that any member or stranger may add below a head that the log signed."""
    head = sign_checkpoint(Checkpoint(ORIGIN, 12, b"\x01" * 32), KEY)
    keys = {identity_of(KEY.public): KEY.public}
    for note in (data, head + data):
        with suppress(CoopError):
            read_cosigned(note, KEY.public, ORIGIN, keys, "fuzz")
        with suppress(CoopError):
            line = cosignature_of(note, KEY.public, "fuzz")
            merge(head, [line[0]] if line else [], "fuzz")


def _cosigned_seeds() -> Sequence[bytes]:
    head = Checkpoint(ORIGIN, 12, b"\x01" * 32)
    line = cosign(head, KEY, 1_800_000_000)
    return [line, merge(sign_checkpoint(head, KEY), [line], "seed")]


def _entry(data: bytes) -> None:
    assert entries.encode(entries.decode(data, "fuzz")) == data


def _entry_seeds() -> Sequence[bytes]:
    from datetime import UTC, datetime

    at = entries.instant(datetime(2026, 3, 1, tzinfo=UTC))
    return [
        entries.encode(entries.Entry(0, at, entries.Kind.START, {"note": "the first"})),
        entries.encode(
            entries.Entry(
                7, at, entries.Kind.SUM, {"run": "ab" * 16, "round": 3, "who": ("a", "b"), "x": 0.5}
            )
        ),
    ]


def _proof(data: bytes) -> None:
    check_inclusion(data, Checkpoint(ORIGIN, 6, b"\x01" * 32), "fuzz")


# ------------------------------------------------------------------------- releases


def _bundle(data: bytes) -> None:
    """The bytes as a zip; and as the content of one file inside a whole one."""
    try:
        files = bundle.unpack(data, "fuzz")
    except CoopError:
        pass
    else:
        assert bundle.pack(files) == data


def _bundle_seeds() -> Sequence[bytes]:
    small = dict.fromkeys(bundle.FIXED, b"x") | {bundle.roster_file(1): b"r"}
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../card.json", b"x" * 100)
    return [bundle.pack(small), other.getvalue()]


def _pack(data: bytes) -> None:
    try:
        files = form.unpack(data, "fuzz")
    except CoopError:
        return
    assert form._zip(files) == data


def _manifest(data: bytes) -> None:
    form.read_manifest(data)


def _pack_seeds() -> Sequence[bytes]:
    made = form.Contents("c0" * 32, "node", NOW, "1", checkpoint=b"x", guide=b"y")
    return [form.make_pack(made)]


def _manifest_seeds() -> Sequence[bytes]:
    return [form.unpack(_pack_seeds()[0], "seed")[form.MANIFEST]]


def _model_seeds() -> Sequence[bytes]:
    layout = [("weight", (2, 3)), ("bias", (2,))]
    return [bundle.model_file(np.arange(8, dtype=np.float32), layout, {"model": "x"})]


def _model(data: bytes) -> None:
    bundle.model_parameters(data, "fuzz")


TARGETS: Mapping[str, Target] = {
    "json": Target(_parse_json, lambda: [_release()[bundle.CARD], b'{"a":[1,2.5,null]}']),
    "agreement": Target(_agreement, lambda: [_payload(bundle.AGREEMENT)], json=True),
    "order": Target(
        lambda data: void(parse_order(data, "fuzz")), lambda: [_payload(bundle.ORDER)], json=True
    ),
    "roster": Target(
        lambda data: void(parse_roster(data, "fuzz")),
        lambda: [_payload(bundle.roster_file(1))],
        json=True,
    ),
    "draft toml": Target(_draft("toml"), _draft_seeds("toml")),
    "draft yaml": Target(_draft("yaml"), _draft_seeds("yaml")),
    "draft json": Target(_draft("json"), _draft_seeds("json"), json=True),
    "statement": Target(_statement, _statement_seeds, json=True),
    "sealed": Target(_sealed, _sealed_seeds, json=True),
    "odrl": Target(_odrl, _odrl_seeds, json=True),
    "jws": Target(_jws, _jws_seeds, json=True),
    "cooperative": Target(_cooperative, _cooperative_seeds, json=True),
    "pasted": Target(_text, lambda: [b"office.example.org:8801#" + b"ab" * 32 + b":" + b"a" * 39]),
    "codec": Target(_codec, _codec_seeds),
    "envelope": Target(_envelope, _envelope_seeds),
    "record": Target(_record, lambda: [_release()[bundle.round_file(1)]]),
    "note": Target(_note, _note_seeds),
    "cosigned": Target(_cosigned, _cosigned_seeds),
    "entry": Target(_entry, _entry_seeds, json=True),
    "proof": Target(_proof, lambda: [_release()[bundle.PROOF]], json=True),
    "bundle": Target(_bundle, _bundle_seeds),
    "pack": Target(_pack, _pack_seeds),
    "manifest": Target(_manifest, _manifest_seeds, json=True),
    "model": Target(_model, _model_seeds),
    **EXPORTS,
    **PAPERS,
}


def void(_: object) -> None:
    """Read and let go."""
