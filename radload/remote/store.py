"""Objects of one data set in a bucket: obstore with patience, and its errors as sentences.

Who may read and where the store is comes from what the store's own tools use: for `s3://` the variables AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, AWS_ALLOW_HTTP, a web identity, a profile of `~/.aws` or the machine's role; for `gs://`
GOOGLE_APPLICATION_CREDENTIALS or the machine's service account.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from os import PathLike
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeVar

from radload.dataset.addresses import spelled
from radload.errors import FormatError, RadloadError, UsageError
from radload.remote.aws_profile import profile_settings

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "gs")
TRIES = 5  # of a read that obstore has given up: bodies that break off in the middle, which it may not try again
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 10.0  # seconds
_RETRIES = 10  # of obstore itself, for each of them: 5xx (503 SlowDown too), lost connections
_REQUEST_TIME = 60  # seconds for one request and its body
PART = 8 << 20  # bytes of a part of an upload: S3 takes 5 MiB or more, and 10,000 parts
CHUNK = 1 << 20  # bytes of a body that are handed on at a time
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,2}([^/]+)/?(.*)", re.DOTALL)  # pathlib makes one slash of two

T = TypeVar("T")


class Entry(NamedTuple):
    """An object: its name below the data set, bytes, and the store's mark of its content."""

    name: str
    size: int
    tag: str


def as_url(path: str | PathLike[str]) -> str | None:
    """The URL that `path` is, with two slashes and none at its end; None for a path on this machine.

    Raises:
        UsageError: a URL of another kind of store, or without a folder in the bucket's name.
    """
    found = _URL.fullmatch(str(path))
    if found is None:
        return None
    scheme, bucket, prefix = found[1].lower(), found[2], found[3].strip("/")
    if scheme not in SCHEMES:
        raise UsageError(
            f"{spelled(path)} is no address that radload knows: give a local folder, s3://BUCKET/NAME or gs://BUCKET/NAME"
        )
    if not prefix:
        raise UsageError(
            f"{spelled(path)} names a whole bucket: give a folder in it for this data set, {scheme}://{bucket}/NAME"
        )
    return f"{scheme}://{bucket}/{prefix}"


class Store:
    """The objects below one URL. Safe to share between threads.

    Errors: FormatError for an object that is not there; RadloadError for a store that cannot be reached, or refuses.
    """

    def __init__(self, url: str) -> None:
        try:
            from obstore.exceptions import BaseError
            from obstore.store import from_url
        except ImportError:
            raise UsageError(
                f"{url} needs the package obstore: install it with `pip install 'radload[remote]'`"
            ) from None
        self.url = url
        config: dict[str, Any] = {}
        if url.startswith("s3:"):
            config = {"aws_checksum_algorithm": "sha256", **profile_settings(os.environ)}
        client: dict[str, Any] = {"timeout": timedelta(seconds=_REQUEST_TIME), "pool_max_idle_per_host": "128"}
        if os.environ.get("AWS_ALLOW_HTTP", "").lower() in (
            "1",
            "true",
        ):  # obstore forgets it where there are other options
            client["allow_http"] = True
        try:
            self._store: ObjectStore = from_url(
                url,
                config=config,
                client_options=client,
                retry_config={"max_retries": _RETRIES, "retry_timeout": timedelta(seconds=120)},
            )
        except (BaseError, ValueError) as error:
            raise UsageError(
                f"{url} cannot be used ({first_line(error)}): check the address and the store's settings"
            ) from None

    def read(self, name: str) -> bytes:
        """All bytes of an object."""
        import obstore

        return self._patiently(name, lambda: bytes(obstore.get(self._store, name).bytes()))

    def read_range(self, name: str, offset: int, length: int) -> bytes | memoryview:
        """`length` bytes of an object from `offset` on; fewer where it ends before."""
        import obstore

        return self._patiently(
            name, lambda: memoryview(obstore.get_range(self._store, name, start=offset, length=length))
        )

    def stream(self, name: str, offset: int, length: int) -> Iterator[memoryview]:
        """The same in one request, in chunks as they come; a body that breaks off is asked for from there on."""
        import obstore

        end = offset + length
        running: Iterator[Any] | None = None

        def chunk() -> memoryview | None:
            nonlocal running
            try:
                if running is None:
                    body = obstore.get(self._store, name, options={"range": (offset, end)})
                    running = iter(body.stream(min_chunk_size=CHUNK))
                found = next(running, None)
            except BaseException:
                running = None
                raise
            return None if found is None else memoryview(found)

        while offset < end and (found := self._patiently(name, chunk)) is not None:
            yield found
            offset += len(found)

    def list(self) -> Iterator[Entry]:
        """All objects below the URL, in no order."""
        import obstore

        base = self._patiently("", lambda: [one for chunk in obstore.list(self._store) for one in chunk])
        for one in base:
            yield Entry(one["path"], int(one["size"]), str(one["e_tag"] or one["last_modified"]))

    def attribute(self, name: str, attribute: str) -> str | None:
        """A value that was given to an object when it was written; None where it has none, or is not there."""
        import obstore

        try:
            result = self._patiently(name, lambda: obstore.get(self._store, name, options={"head": True}))
        except FormatError:
            return None
        found: dict[str, str] = dict(result.attributes)
        return found.get(attribute)

    def write(self, name: str, content: bytes | IO[bytes] | Path, attributes: dict[str, str] | None = None) -> None:
        """Write an object: all of it appears at once, or nothing. Large ones go in parts, checked by the store (SHA-256)."""
        import obstore

        given: Any = attributes or {}
        self._patiently(name, lambda: obstore.put(self._store, name, content, attributes=given, chunk_size=PART))

    def create(self, name: str, content: bytes) -> bool:
        """Write an object that must not be there yet; False where another content is there.

        The same content counts as written here: an answer that was lost on its way looks like that.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, NotFoundError

        def put() -> bool:
            try:
                obstore.put(self._store, name, content, mode="create", use_multipart=False)
            except AlreadyExistsError:
                try:
                    return bytes(obstore.get(self._store, name).bytes()) == content
                except (NotFoundError, FileNotFoundError):  # it was another's, and is gone
                    return False
            return True

        return self._patiently(name, put)

    def delete(self, name: str) -> None:
        """Remove an object."""
        import obstore

        self._patiently(name, lambda: obstore.delete(self._store, name))

    def _patiently(self, name: str, work: Callable[[], T]) -> T:
        """`work`, again after a failure that may pass; waits grow and are scattered, so that many ranks do not come back at once."""
        from obstore.exceptions import (
            BaseError,
            InvalidPathError,
            NotFoundError,
            PermissionDeniedError,
            UnauthenticatedError,
        )

        where = f"{self.url}/{name}".rstrip("/")
        for attempt in range(TRIES):
            try:
                return work()
            except (NotFoundError, FileNotFoundError):
                raise FormatError(f"{where} is not there: check the address, or restore it from a copy") from None
            except (PermissionDeniedError, UnauthenticatedError, InvalidPathError, PermissionError) as error:
                raise RadloadError(f"{where} is refused ({first_line(error)}): check the credentials") from None
            except (BaseError, OSError, ValueError) as error:
                if attempt == TRIES - 1:
                    raise RadloadError(
                        f"{where} cannot be reached after {TRIES} tries ({first_line(error)}): check the network and the store, "
                        "then start again; a run goes on from its last state"
                    ) from None
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2**attempt)
            time.sleep(wait * (0.5 + random.random()))
        raise RuntimeError("no try was made")  # pragma: no cover - TRIES is above 0


def first_line(error: BaseException) -> str:
    """The first line of obstore's report, which goes on with its own stack."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:200]
