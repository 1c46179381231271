"""A data set's address in the tests' server, and what puts it there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from serve import S3

from radload.pack import PackOptions

URL = "s3://bucket/data/set"


def pack_options(source: Path, out: Path | str, private: Path | None = None) -> PackOptions:
    """Shards of two volumes each; labels from the first folder."""
    return PackOptions(
        source, Path(out), private, labels_from="folder:1", shard_size=0.4, workers=0, split="80/20/0", codec="htj2k"
    )


def fill_bucket(packed: Path, buckets: Path) -> Path:
    """Put the data set where URL is, and return that folder."""
    return Path(shutil.copytree(packed, buckets / URL.removeprefix("s3://")))


def point_at_google(server: S3, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let gs:// mean `server`: the XML interface of Google Cloud Storage is S3's but for names of headers. Writes a key to `folder`."""
    key = {"gcs_base_url": f"http://127.0.0.1:{server.port}", "disable_oauth": True}
    path = folder / "service-account.json"
    path.write_text(json.dumps({**key, "client_email": "", "private_key": "", "private_key_id": ""}))
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", str(path))
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")


def point_at(server: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process and its children speak to `server`."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
