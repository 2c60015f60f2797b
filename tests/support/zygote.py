"""Real processes without the price of starting Python six hundred times.

A zygote is one process that has imported what the commands import, and forks for each command: its
own process, its own memory, its own exit code, signals and file descriptors, as with ``exec``. What
it does not have is a fresh interpreter; `make demo` and ``tests/e2e/test_cooperative.py`` start
those. Linux only; elsewhere, and wherever ``fresh`` is asked for, the interpreter is started.

    client --(one Unix stream socket a command: JSON, with stdin, stdout, stderr as descriptors)-->
    zygote --fork--> the command; the socket says its pid, then how it ended.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent.parent
PRELOADED = (
    "torch",
    "pandas",
    "pyarrow.parquet",
    "pyarrow.dataset",
    "pyarrow.compute",
    "duckdb",
    "sqlalchemy",
    "alembic.command",
    "pydantic_settings",
    "grpc",
    "typer",
    "rich.progress",
    "scipy.stats",
    "dp_accounting",
    "node.wiring",
    "node.cli.app",
    "node.checkup",
    "node.evidence",
    "node.history",
    "coordinator.server",
    "coordinator.cli.app",
    "coordinator.checkup",
    "coordinator.evidence",
)
_LENGTH = 8


# --- the zygote --------------------------------------------------------------------------------


def serve(path: str) -> None:
    """Import, listen, fork; ends when the one who started it is gone."""
    for name in PRELOADED:
        importlib.import_module(name)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(64)
    waker, wakened = os.pipe()
    os.set_blocking(wakened, False)
    signal.set_wakeup_fd(wakened, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, socket.socket] = {}
    choose = selectors.DefaultSelector()
    choose.register(listener, selectors.EVENT_READ)
    choose.register(waker, selectors.EVENT_READ)
    parent = os.getppid()
    while os.getppid() == parent:
        for key, _ in choose.select(timeout=2):
            if key.fileobj is listener:
                connection, _ = listener.accept()
                pid = _begin(connection, [listener, *running.values()], choose)
                running[pid] = connection
                connection.sendall(f"{pid}\n".encode())
            else:
                os.read(waker, 4096)
        _bury(running)


def _bury(running: dict[int, socket.socket]) -> None:
    """Say how those that ended have ended."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            connection = running.pop(pid)
            with contextlib.suppress(OSError):
                connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
            connection.close()


def _begin(
    connection: socket.socket,
    others: Sequence[socket.socket],
    choose: selectors.BaseSelector,
) -> int:
    wanted, descriptors = _received(connection)
    pid = os.fork()
    if pid:
        for one in descriptors:
            os.close(one)
        return pid
    code = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        choose.close()
        for held in (connection, *others):
            held.close()
        for number, one in enumerate(descriptors):
            os.dup2(one, number)
            os.close(one)
        code = _become(wanted)
    except BaseException:  # noqa: BLE001  the outermost shell of this process says why it ends
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _become(wanted: Mapping[str, Any]) -> int:
    os.environ.clear()
    os.environ.update(wanted["env"])
    os.chdir(wanted["cwd"])
    sys.stdin, sys.stdout, sys.stderr = (
        os.fdopen(0),
        os.fdopen(1, "w", buffering=1),
        os.fdopen(2, "w", buffering=1),
    )
    sys.argv = [wanted["module"], *wanted["words"]]
    try:
        importlib.import_module(wanted["module"]).main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return 0


def _received(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    found = array.array("i")
    size = array.array("i", [0] * 3)
    data, ancillary, _, _ = connection.recvmsg(_LENGTH, socket.CMSG_LEN(size.itemsize * 3))
    for level, kind, body in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(body[: len(body) - len(body) % found.itemsize])
    length = int.from_bytes(data, "big")
    body = b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return json.loads(body), list(found)


# --- its clients -------------------------------------------------------------------------------


class Forked:
    """One process, with the part of ``subprocess.Popen`` that the tests use."""

    def __init__(
        self,
        path: str,
        module: str,
        words: Sequence[str],
        env: Mapping[str, str],
        descriptors: tuple[int, int, int],
        stdout: IO[str] | None,
    ) -> None:
        self.stdout = stdout
        self.returncode: int | None = None
        self._ended = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(path)
        body = json.dumps(
            {"module": module, "words": list(words), "env": dict(env), "cwd": str(Path.cwd())}
        ).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))]
        self._socket.sendmsg([len(body).to_bytes(_LENGTH, "big")], rights)
        self._socket.sendall(body)
        self._answers = self._socket.makefile("r")
        self.pid = int(self._answers.readline())
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        said = self._answers.readline()
        self.returncode = int(said) if said else -signal.SIGKILL
        self._ended.set()
        self._answers.close()
        self._socket.close()

    def poll(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.returncode if self._ended.is_set() else None

    def wait(self, timeout: float | None = None) -> int:
        """The exit code; TimeoutExpired."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """As ``Popen.send_signal``."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)


class _Zygote:
    """The one of this test process, started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._path = ""

    def path(self) -> str:
        with self._lock:
            if not self._path:
                self._path = self._start()
            return self._path

    def _start(self) -> str:
        folder = tempfile.mkdtemp(prefix="zygote-")
        path = str(Path(folder) / "socket")
        env = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
        }
        process = subprocess.Popen([sys.executable, __file__, path], cwd=ROOT, env=env)
        deadline = time.monotonic() + 120
        while not Path(path).exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("the zygote did not start")
            time.sleep(0.05)
        atexit.register(process.kill)
        return path


_ZYGOTE = _Zygote()
AVAILABLE = sys.platform == "linux"


def popen(module: str, words: Sequence[str], env: Mapping[str, str], stderr: IO[str]) -> Forked:
    """A long process; its standard output can be read line by line."""
    reader, writer = os.pipe()
    nothing = os.open(os.devnull, os.O_RDONLY)
    try:
        return Forked(
            _ZYGOTE.path(),
            module,
            words,
            env,
            (nothing, writer, stderr.fileno()),
            os.fdopen(reader),
        )
    finally:
        os.close(nothing)
        os.close(writer)


def run(
    module: str,
    words: Sequence[str],
    env: Mapping[str, str],
    stdin: str | None,
    timeout_s: float,
) -> subprocess.CompletedProcess[str]:
    """One command to its end, as ``subprocess.run`` with captured text."""
    with (
        tempfile.TemporaryFile("w+") as given,
        tempfile.TemporaryFile("w+") as out,
        tempfile.TemporaryFile("w+") as err,
    ):
        given.write(stdin or "")
        given.flush()
        given.seek(0)
        files = (given.fileno(), out.fileno(), err.fileno())
        process = Forked(_ZYGOTE.path(), module, words, env, files, None)
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess([module, *words], code, out.read(), err.read())


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    serve(sys.argv[1])
