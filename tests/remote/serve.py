"""Starting the S3 server of the tests as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class S3:
    """A running server: its port, and the folder that holds its buckets."""

    port: int
    root: Path
    process: subprocess.Popen[str]

    @property
    def environment(self) -> dict[str, str]:
        """What tells obstore where it is."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    def counts(self) -> dict[str, int]:
        """Requests by method, faults, and bytes sent, since it began."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/counts", timeout=30) as answer:
            found: dict[str, int] = json.load(answer)
        return found


@contextmanager
def s3_server(root: Path, **faults: float) -> Iterator[S3]:
    """A server of the buckets in `root`; `faults`: latency (seconds), errors, throttle, cuts (shares of requests)."""
    root.mkdir(parents=True, exist_ok=True)
    options = [f"--{name}={value}" for name, value in faults.items()]
    command = [sys.executable, str(Path(__file__).with_name("s3_server.py")), str(root), *options]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            yield S3(int(process.stdout.readline()), root, process)
        finally:
            process.stdin.close()
            process.wait(60)
