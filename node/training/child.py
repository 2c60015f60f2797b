"""A short-lived child process of our own: arrays in, bytes out, and its memory is returned.

LightGBM runs in such a child and nowhere else, so its threads never meet torch's. Arrays travel
as npz over the child's stdin; nothing is pickled in either direction.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from protocols.errors import LocalError

Arrays = Mapping[str, NDArray[Any]]

# LightGBM takes these where it finds them and works without; arrays are all it gets here.
UNUSED: Final[tuple[str, ...]] = ("pandas", "pyarrow", "sklearn", "dask", "matplotlib", "graphviz")


def serve(name: str, compute: Callable[[Arrays], NDArray[np.generic]]) -> int:
    """The child's side: one npz from stdin, one npz with the array ``name`` to stdout.

    Returns:
        The status 0. What ``compute`` raises is a traceback on stderr and another status.
    """
    for unused in UNUSED:
        sys.modules[unused] = None  # type: ignore[assignment]  # "not installed", to an import
    with np.load(io.BytesIO(sys.stdin.buffer.read()), allow_pickle=False) as data:
        arrays = {key: data[key] for key in data.files}
    reply = io.BytesIO()
    np.savez(reply, allow_pickle=False, **{name: compute(arrays)})
    sys.stdout.buffer.write(reply.getvalue())
    return 0


def run(module: str, arrays: Mapping[str, NDArray[np.generic]], timeout_s: float) -> bytes:
    """What ``python -m module`` answers on stdout to the arrays.

    Raises:
        LocalError: it could not be started, ended early or ran out of time.
    """
    payload = io.BytesIO()
    np.savez(payload, allow_pickle=False, **arrays)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    try:
        # -P: a stray lightgbm.py in the folder we were started in must not be imported
        done = subprocess.run(
            [sys.executable, "-P", "-m", module],
            input=payload.getvalue(),
            capture_output=True,
            timeout=timeout_s,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise LocalError(
            f"the own baseline was not trained within {timeout_s:.0f} s.",
            fix="Close other programs and try again.",
        ) from error
    except OSError as error:
        raise LocalError(f"the own baseline could not be started: {error}.") from error
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        said = lines[-1] if lines else "no message"
        raise LocalError(
            f"the own baseline ended with status {done.returncode}: {said[:300]}",
            fix="Run `coop-node doctor`; if memory is short, close other programs.",
        )
    return done.stdout
