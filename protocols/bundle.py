"""A release as files: which there are, the one zip that carries them, and the model file.

A bundle is everything that is needed to check a release without asking anybody. The zip is
deterministic and holds nothing compressed, so a reader can ask that packing what it unpacked
gives the same bytes: no hidden file, no second copy of a name, no bomb.
"""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from protocols.canonical import Json, json_bytes
from protocols.errors import Code, InputError

CARD = "card.json"
CARD_SIGNED = "card.jws"
MODEL = "model.safetensors"
AGREEMENT = "agreement.jws"
ORDER = "order.jws"
PROOF = "log/inclusion.json"
CHECKPOINT = "log/checkpoint"
FIXED = (AGREEMENT, CARD, CARD_SIGNED, CHECKPOINT, MODEL, ORDER, PROOF)

MAX_BUNDLE_BYTES = 64 * 1024 * 1024  # what the link carries as one body
MAX_FILES = 10_000
MAX_PARAMETERS = 10_000_000
_NUMBERED = re.compile(r"(rosters/[0-9]{4}\.jws|rounds/[0-9]{4}\.bin)")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a zip has no way to say "no date"

Layout = Sequence[tuple[str, tuple[int, ...]]]
Vector = npt.NDArray[np.float32]


def roster_file(epoch: int) -> str:
    """Name of the signed roster of an epoch, from 1."""
    return f"rosters/{epoch:04d}.jws"


def round_file(number: int) -> str:
    """Name of the record of a round, from 1; the evaluation round is the last."""
    return f"rounds/{number:04d}.bin"


def is_release_file(name: str) -> bool:
    """Whether a path (with forward slashes) is one that a release may have."""
    return name in FIXED or _NUMBERED.fullmatch(name) is not None


def check_names(files: Mapping[str, bytes]) -> None:
    """Every file that must be there is there, and no other; InputError naming the file."""
    for name in FIXED:
        if name not in files:
            raise _bad("this file of the release is missing.", name)
    for name in files:
        if not is_release_file(name):
            raise _bad("this file does not belong to a release.", name[:80])


def numbered(files: Mapping[str, bytes], folder: str) -> tuple[str, ...]:
    """The files of ``rosters`` or ``rounds`` in order, from 1 without gaps."""
    name_of = roster_file if folder == "rosters" else round_file
    count = sum(name.startswith(f"{folder}/") for name in files)
    expected = tuple(name_of(index + 1) for index in range(max(1, count)))
    for name in expected:
        if name not in files:
            raise _bad("this file of the release is missing.", name)
    return expected


def check_form(signed: Json, raw: bytes) -> None:
    """That a JWS file is canonical JSON of nothing but payload and signatures, in strict base64.

    Raises:
        InputError: another way to write the same signatures.
    """
    problem = "the signed document is not written in its canonical form."
    parts = signed.get("signatures")
    plain = isinstance(parts, list) and all(
        isinstance(one, dict) and one.keys() == {"protected", "signature"} for one in parts
    )
    if not plain or signed.keys() != {"payload", "signatures"} or json_bytes(signed) != raw:
        raise InputError(problem, code=Code.TAMPERED)
    texts = [signed["payload"], *(value for one in signed["signatures"] for value in one.values())]
    for text in texts:
        try:
            decoded = base64.urlsafe_b64decode(text + "==")
        except (TypeError, ValueError) as error:
            raise InputError(problem, code=Code.TAMPERED) from error
        if base64.urlsafe_b64encode(decoded).rstrip(b"=").decode() != text:
            raise InputError(problem, code=Code.TAMPERED)


def pack(files: Mapping[str, bytes]) -> bytes:
    """The deterministic zip of a bundle: names sorted, stored, no dates."""
    check_names(files)
    return _zip(files)


def unpack(archive: bytes, where: str) -> dict[str, bytes]:
    """The files of a bundle from bytes of unknown origin.

    Raises:
        InputError: not a bundle, too large, or packed in any other way than ``pack`` does;
            nothing of it was written anywhere.
    """
    if len(archive) > MAX_BUNDLE_BYTES:
        raise InputError(
            f"the release has {len(archive)} bytes, at most {MAX_BUNDLE_BYTES} are read.",
            code=Code.LIMIT,
            where=where,
        )
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            files = _read_all(opened, where)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, struct.error) as error:
        raise _bad(f"this is not the zip file of a release: {error}.", where) from error
    if _zip(files) != archive:
        raise _bad("the zip file holds more than the files of a release.", where)
    return files


def _read_all(opened: zipfile.ZipFile, where: str) -> dict[str, bytes]:
    listed = opened.infolist()
    if len(listed) > MAX_FILES:
        raise _bad(f"it holds {len(listed)} files, at most {MAX_FILES} are read.", where)
    for info in listed:
        if not is_release_file(info.filename):
            raise _bad(f"{info.filename[:80]!r} does not belong to a release.", where)
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise _bad(f"{info.filename} is compressed or encrypted; it must be stored.", where)
    if sum(info.file_size for info in listed) > MAX_BUNDLE_BYTES:
        raise _bad("its files are larger than the zip file.", where)
    files = {info.filename: opened.read(info) for info in listed}
    check_names(files)
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


def model_file(parameters: Vector, layout: Layout, metadata: Mapping[str, str]) -> bytes:
    """A safetensors file: the flat float32 vector cut into the named tensors of the layout.

    The tensors stand in layout order without gaps, so the data part is the vector itself and
    its SHA-256 is the model id. Any safetensors reader opens it.
    """
    header: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    at = 0
    for name, shape in layout:
        size = 4 * int(np.prod(shape, dtype=np.int64))
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    if parameters.dtype != np.float32 or parameters.shape != (at // 4,):
        raise InputError(
            f"the model has {parameters.size} parameters, its layout {at // 4}.", where=MODEL
        )
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    return len(raw).to_bytes(8, "little") + raw + parameter_bytes(parameters)


def model_parameters(file: bytes, where: str) -> tuple[Vector, dict[str, str]]:
    """The flat float32 vector and the metadata of a model file from bytes of unknown origin.

    Raises:
        InputError: not a safetensors file of float32 tensors that lie one behind the other.
    """
    try:
        length = int.from_bytes(file[:8], "little")
        if len(file) < 8 or length > min(len(file) - 8, 1_000_000):
            raise ValueError("the header is longer than the file")
        header = json.loads(file[8 : 8 + length])
        metadata = {str(k): str(v) for k, v in header.pop("__metadata__", {}).items()}
        data, at = file[8 + length :], 0
        for name, tensor in header.items():
            size = 4
            for one in tensor["shape"]:
                size *= int(one)
            if tensor["dtype"] != "F32" or tensor["data_offsets"] != [at, at + size]:
                raise ValueError(f"the tensor {name[:40]!r} is not float32 or out of place")
            at += size
        if at != len(data) or at > 4 * MAX_PARAMETERS:
            raise ValueError("the tensors do not fill the file")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _bad(f"this is not a model file: {error}.", where) from error
    return np.frombuffer(data, dtype="<f4").astype(np.float32), metadata


def parameter_bytes(parameters: Vector) -> bytes:
    """The parameters as they are hashed: float32, little-endian, in layout order."""
    return parameters.astype("<f4").tobytes()


def _bad(problem: str, where: str) -> InputError:
    return InputError(problem, code=Code.TAMPERED, where=where, fix="Pull the release again.")
