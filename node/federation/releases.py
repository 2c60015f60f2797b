"""A pulled release: unpacked from hostile bytes, verified, stored whole or not at all."""

from __future__ import annotations

import os
import shutil
from datetime import datetime
from pathlib import Path

from node.federation.opening import Opened
from protocols import bundle
from protocols.audit.entries import Kind
from protocols.audit.writer import LogWriter
from protocols.errors import Code, InputError, LocalError
from protocols.evidence import Findings, Pins, verify_release
from protocols.ids import ModelId
from protocols.permit import Gate, Permit
from protocols.retrace import read_parameters


def receive(opened: Opened, pins: Pins, models: Path, journal: LogWriter) -> Findings:
    """Verify a release that came over the link and keep it in ``models/<model id>/``.

    Args:
        opened: the bundle out of its sealed file; nothing in it is believed.
        pins: agreement and roster that this node accepted, the coordinator key that it pinned
            and, if it took part in the run, the model id that it derived itself.
        models: the node's folder of models.
        journal: the pull is on record before the model can be used.

    Raises:
        InputError: not a release, one that does not verify, or not what its header promised;
            nothing was stored.
        LocalError: the disk is full or may not be written; nothing was stored.
    """
    files = bundle.unpack(opened.archive, "release")
    findings = verify_release(files, pins)
    opened.check_card(findings.card)
    folder = models / findings.model
    if folder.exists():
        _check_kept(folder, pins)
        return findings
    part = models / f".{findings.model}.part"
    try:
        _write(files, part)
        journal.append(
            Kind.PULL,
            {
                "model": findings.model,
                "order": findings.order.id,
                "log_size": findings.checkpoint.size,
                "log_root": findings.checkpoint.root.hex(),
            },
        )
        part.replace(folder)
    except OSError as error:
        raise LocalError(
            f"the release cannot be stored: {error.strerror or error}.",
            where=str(folder),
            fix="Check the free space and the rights of this folder, then pull again.",
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return findings


def load_release(folder: Path) -> dict[str, bytes]:
    """The release files in a folder; anything else that lies there is left alone.

    Raises:
        InputError: no folder, or more bytes than a release has.
    """
    if not folder.is_dir():
        raise InputError("there is no release here.", where=str(folder), code=Code.NOT_FOUND)
    files: dict[str, bytes] = {}
    room = bundle.MAX_BUNDLE_BYTES
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if bundle.is_release_file(name) and path.is_file() and not path.is_symlink():
            room -= path.stat().st_size
            if room < 0:
                raise InputError("the release is too large.", where=str(folder), code=Code.LIMIT)
            files[name] = path.read_bytes()
    return files


def stored(models: Path) -> tuple[ModelId, ...]:
    """Ids of the releases that are kept here, oldest first."""
    if not models.is_dir():
        return ()
    found = [one for one in models.iterdir() if (one / bundle.CARD).is_file()]
    found = [one for one in found if not one.name.startswith(".")]
    return tuple(ModelId(one.name) for one in sorted(found, key=lambda one: one.stat().st_mtime))


def parameters(models: Path, model: ModelId, permit: Permit, now: datetime) -> bundle.Vector:
    """The flat float32 parameters of a kept release, checked against its id.

    Args:
        models: the node's folder of models.
        model: id of the release.
        permit: from the use gate, for this moment.
        now: aware UTC time.

    Raises:
        Refused: the permit is for another gate or has run out.
        InputError: no such release, or its model file was changed since.
    """
    permit.require(Gate.USE, now)
    path = models / model / bundle.MODEL
    if not path.is_file():
        raise InputError(
            f"the model {model[:16]} is not kept here.",
            code=Code.NOT_FOUND,
            fix="Fetch it with `coop-node models pull`.",
        )
    return read_parameters(path.read_bytes(), model, str(path))


def verify_release_dir(folder: Path, pins: Pins) -> tuple[str, ...]:
    """Check a release from its files alone; lines for display, or InputError."""
    return verify_release(load_release(folder), pins).lines()


def _check_kept(folder: Path, pins: Pins) -> None:
    try:
        verify_release(load_release(folder), pins)
    except InputError as error:
        raise InputError(
            f"the copy that is kept here was changed ({error.where}): {error.problem}",
            code=Code.TAMPERED,
            where=str(folder),
            fix="Remove this folder, then pull the release again.",
        ) from error


def _write(files: dict[str, bytes], part: Path) -> None:
    shutil.rmtree(part, ignore_errors=True)
    for name, content in files.items():  # bundle.unpack lets only known names through
        path = part / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
