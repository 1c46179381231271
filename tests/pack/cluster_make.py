"""A Dask scheduler and workers as processes of their own, what a proxy hears of them, and transforms that a worker may die of."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ports import free_port

from radload.sources import Slice

KILLS: Final = 4711  # as the first value of a slice: the decoder crashes
HANGS: Final = 4712


def deadly(image: Slice) -> Slice:
    """--transform: what broken decoders do."""
    first = int(image.stored.flat[0])
    if first == KILLS:
        os.kill(os.getpid(), signal.SIGSEGV)
    if first == HANGS:
        time.sleep(3600)
    return image


def murderous(image: Slice) -> Slice:
    """--transform: ends the Dask worker above the child in which it runs (child, fork server, worker)."""
    if int(image.stored.flat[0]) == KILLS:
        server = Path(f"/proc/{os.getppid()}/stat").read_text()
        os.kill(int(server.rpartition(")")[2].split()[1]), signal.SIGKILL)
        time.sleep(3600)
    return image


def slow(image: Slice) -> Slice:
    """--transform: gives a test time to kill something."""
    time.sleep(0.03)
    return image


@dataclass
class Cluster:
    """Processes; address: of the scheduler."""

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: list[subprocess.Popen[bytes]]


@contextmanager
def cluster(
    folder: Path,
    workers: int = 2,
    tls: Sequence[str] = (),
    threads: int = 1,
    environment: Mapping[str, str] = MappingProxyType({}),
    of: str = "",
) -> Iterator[Cluster]:
    """`dask scheduler` and `dask worker`s, each with its nanny, as anybody starts them.

    Args:
        environment: beside our own, of the processes whose name starts with `of`: "scheduler", "worker", or "" for all.
    """
    folder.mkdir()
    port = free_port()
    address = f"{'tls' if tls else 'tcp'}://127.0.0.1:{port}"
    path = os.pathsep.join(path for path in sys.path if path)
    surroundings = {**os.environ, "PYTHONPATH": path}

    def start(name: str, module: str, *arguments: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{module}", *map(str, arguments), *tls]
        with (folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                command,
                cwd=folder,
                env={**surroundings, **(environment if name.startswith(of) else {})},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    scheduler = start(
        "scheduler", "dask_scheduler", "--host", address.rpartition(":")[0], "--port", port, "--no-dashboard"
    )
    crew: list[subprocess.Popen[bytes]] = []
    try:
        wait_for_port(port)
        for number in range(workers):
            arguments = (address, "--nthreads", threads, "--no-dashboard", "--local-directory", folder)
            crew.append(start(f"worker{number}", "dask_worker", *arguments))
        yield Cluster(address, scheduler, crew)
    finally:
        for process in (*crew, scheduler):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for_port(port: int, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
        else:
            return


def children(process: int) -> list[int]:
    """Processes below one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == process:
                found.append(int(path.parent.name))
    return found


@dataclass
class Proxy:
    """Forwards connections to `port`, and keeps all bytes in both directions."""

    port: int
    heard: bytearray = field(default_factory=bytearray)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.own_port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.port))
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(source, target), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(1 << 16):
                self.heard += content
                target.sendall(content)
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listener.close()
