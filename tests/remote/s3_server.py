"""A small S3 server with faults: `python s3_server.py FOLDER [--latency 0.05 --errors 0.05 --throttle 0.05 --cuts 0.05]`.

Objects are files below FOLDER/BUCKET. It answers what obstore asks: GET (with ranges), HEAD, PUT (also If-None-Match: *), multipart
uploads, ListObjectsV2, DeleteObjects; it checks `x-amz-checksum-sha256` and keeps `x-amz-meta-*`. Signatures are not looked at.
Prints its port, then serves until its standard input is closed. `GET /-/counts` gives what was asked, as JSON.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import random
import re
import shutil
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    root: ClassVar[Path]
    faults: ClassVar[argparse.Namespace]
    counts: ClassVar[Counter[str]] = Counter()
    uploads: ClassVar[dict[str, dict[int, bytes]]] = {}
    lock: ClassVar[threading.Lock] = threading.Lock()
    chance: ClassVar[random.Random] = random.Random(0)

    def log_message(self, *_: Any) -> None:
        pass

    def _begin(self) -> bool:
        """Wait, and maybe fail; True where the request is to be answered."""
        cls, faults = type(self), self.faults
        address = urlsplit(self.path)
        self.key, self.query = unquote(address.path).lstrip("/"), parse_qs(address.query, keep_blank_values=True)
        self.body = self._read_body()
        if self.key == "-/counts":
            self._answer(200, json.dumps(cls.counts).encode())
            return False
        with cls.lock:
            dice = [cls.chance.random() for _ in range(3)]
            cls.counts[self.command] += 1
        time.sleep(faults.latency)
        self.cut = dice[2] < faults.cuts
        for name, status, code, hit in (
            ("errors", 500, "InternalError", dice[0] < faults.errors),
            ("throttled", 503, "SlowDown", dice[1] < faults.throttle),
        ):
            if hit:
                self._count(name)
                self._answer(status, f"<Error><Code>{code}</Code><Message>injected</Message></Error>".encode())
                return False
        return True

    def _count(self, name: str, by: int = 1) -> None:
        with self.lock:
            self.counts[name] += by

    def _read_body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if "aws-chunked" not in (self.headers.get("Content-Encoding") or ""):
            return body
        content, at = b"", 0
        while True:
            end = body.index(b"\r\n", at)
            size = int(body[at:end].split(b";")[0], 16)
            if not size:
                return content
            content += body[end + 2 : end + 2 + size]
            at = end + 4 + size

    def _answer(self, status: int, content: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _missing(self) -> None:
        self._answer(404, b"<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>")

    @property
    def file(self) -> Path:
        return self.root / self.key

    def _meta(self, path: Path) -> dict[str, str]:
        side = self.root / ".meta" / hashlib.sha256(str(path.relative_to(self.root)).encode()).hexdigest()
        return json.loads(side.read_text()) if side.exists() else {}

    def _keep(self, content: bytes, headers: dict[str, str]) -> None:
        path = self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{threading.get_ident()}")
        temporary.write_bytes(content)
        side = self.root / ".meta" / hashlib.sha256(self.key.encode()).hexdigest()
        side.parent.mkdir(exist_ok=True)
        side.write_text(json.dumps(headers))
        temporary.replace(path)

    def _tag(self, path: Path) -> str:
        status = path.stat()
        return f'"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"'

    def do_GET(self) -> None:
        if not self._begin():
            return
        if "list-type" in self.query:
            self._list()
            return
        self._object()

    def do_HEAD(self) -> None:
        if self._begin():
            self._object()

    def _object(self) -> None:
        path = self.file
        if not path.is_file():
            self._missing()
            return
        size = path.stat().st_size
        start, stop, status = 0, size, 200
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop, status = int(first), min(size, int(last) + 1 if last else size), 206
        self.send_response(status)
        for name, value in self._meta(path).items():
            self.send_header(name, value)
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.send_header("Content-Length", str(stop - start))
        self.send_header("ETag", self._tag(path))
        self.send_header("Last-Modified", self.date_time_string(int(path.stat().st_mtime)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.flush()
        length = stop - start
        if self.cut:
            self._count("cut")
            length //= 2
        with path.open("rb") as file:
            offset = start
            while length > 0 and (sent := os.sendfile(self.connection.fileno(), file.fileno(), offset, length)):
                offset, length = offset + sent, length - sent
        self._count("bytes", offset - start)
        if self.cut:
            self.close_connection = True
            self.connection.shutdown(2)

    def _list(self) -> None:
        bucket = self.root / self.key.rstrip("/")
        prefix = self.query.get("prefix", [""])[0]
        found = sorted(
            str(path.relative_to(bucket)) for path in bucket.rglob("*") if path.is_file() and path.name[0] != "."
        )
        found = [name for name in found if name.startswith(prefix)]
        after = self.query.get("continuation-token", [""])[0]
        page = [name for name in found if name > after][:100]  # small pages, so that there are several
        more = bool(page) and page[-1] != found[-1]
        items = "".join(
            f"<Contents><Key>{escape(name)}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
            f"<ETag>{escape(self._tag(bucket / name))}</ETag><Size>{(bucket / name).stat().st_size}</Size></Contents>"
            for name in page
        )
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        text = f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{items}</ListBucketResult>"
        self._answer(200, text.encode())

    def _sound(self) -> bool:
        """Whether the body has the checksum that came with it."""
        given = self.headers.get("x-amz-checksum-sha256")
        if given is None or base64.b64decode(given) == hashlib.sha256(self.body).digest():
            self._count("checksums", given is not None)
            return True
        self._answer(400, b"<Error><Code>BadDigest</Code><Message>checksum</Message></Error>")
        return False

    def do_PUT(self) -> None:
        if not self._begin() or not self._sound():
            return
        if "uploadId" in self.query:
            number = int(self.query["partNumber"][0])
            with self.lock:
                self.uploads[self.query["uploadId"][0]][number] = self.body
            self._answer(200, headers={"ETag": f'"{number}"'})
            return
        new = self.headers.get("If-None-Match") == "*" or self.headers.get("x-goog-if-generation-match") == "0"
        if new and self.file.exists():
            self._answer(412, b"<Error><Code>PreconditionFailed</Code><Message>there</Message></Error>")
            return
        self._keep(self.body, self._given())
        if self.cut:
            self._lose()
            return
        self._answer(200, headers={"ETag": self._tag(self.file)})

    def _lose(self) -> None:
        """What was asked for is done, and the answer is lost."""
        self._count("lost")
        self.close_connection = True
        self.connection.shutdown(2)

    def _given(self) -> dict[str, str]:
        kinds = ("x-amz-meta-", "x-goog-meta-")
        return {name.lower(): value for name, value in self.headers.items() if name.lower().startswith(kinds)}

    def do_POST(self) -> None:
        if not self._begin():
            return
        if "uploads" in self.query:
            with self.lock:
                name = f"u{len(self.uploads)}"
                self.uploads[name] = {}
                self.counts["multipart"] += 1
            (self.root / ".meta").mkdir(exist_ok=True)
            (self.root / ".meta" / name).write_text(json.dumps(self._given()))
            self._answer(
                200,
                f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>".encode(),
            )
            return
        if "delete" in self.query:
            keys = [unescape(key) for key in re.findall(r"<Key>(.*?)</Key>", self.body.decode())]
            for key in keys:
                (self.file / key).unlink(missing_ok=True)
            gone = "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
            self._answer(200, f"<DeleteResult>{gone}</DeleteResult>".encode())
            return
        name = self.query["uploadId"][0]
        parts = self.uploads[name]
        self._keep(b"".join(parts[i] for i in sorted(parts)), json.loads((self.root / ".meta" / name).read_text()))
        tag = escape(self._tag(self.file))
        self._answer(200, f"<CompleteMultipartUploadResult><ETag>{tag}</ETag></CompleteMultipartUploadResult>".encode())

    def do_DELETE(self) -> None:
        """Of an object, as Google's clients do, or of an upload that was given up."""
        if not self._begin():
            return
        if "uploadId" not in self.query:
            self._count("deleted")
            self.file.unlink(missing_ok=True)
            self._answer(204)
        else:
            self.uploads.pop(self.query["uploadId"][0], None)
            self._answer(204)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, *_: Any) -> None:  # a client that went away
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    for name in ("latency", "errors", "throttle", "cuts"):
        parser.add_argument(f"--{name}", type=float, default=0.0)
    Handler.faults = parser.parse_args()
    Handler.root = Handler.faults.root
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    shutil.rmtree(Handler.root / ".meta", ignore_errors=True)


if __name__ == "__main__":
    main()
