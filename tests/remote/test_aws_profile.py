"""The keys, region and address of an AWS profile reach the store; no message shows a line of the files."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from radload.errors import FormatError, UsageError
from radload.remote.aws_profile import profile_settings
from radload.remote.store import Store

CREDENTIALS = """\
# made by aws configure
[default]
aws_access_key_id = AKDEFAULT
aws_secret_access_key = a%b=c#d

[lab]
AWS_ACCESS_KEY_ID=AKLAB
aws_secret_access_key=SECRETLAB
aws_session_token=TOKENLAB
"""
CONFIG = """\
[default]
region = eu-west-1
[profile lab]
region = eu-central-1
endpoint_url = http://127.0.0.1:{port}
s3 =
    max_concurrent_requests = 20
[profile role]
role_arn = arn:aws:iam::1:role/r
source_profile = default
[profile keys]
aws_access_key_id = AKKEYS
aws_secret_access_key = SECRETKEYS
[profile place]
region = eu-north-1
"""


class Listener(BaseHTTPRequestHandler):
    """Keeps the headers of what it is asked for, and has nothing."""

    def do_GET(self) -> None:
        self.server.seen.append(dict(self.headers.items()))  # type: ignore[attr-defined]
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def listener() -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Listener)
    server.seen = []  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def environment(tmp_path: Path, listener: HTTPServer) -> dict[str, str]:
    (tmp_path / "credentials").write_text(CREDENTIALS)
    (tmp_path / "config").write_text(CONFIG.format(port=listener.server_port))
    return {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"), "AWS_CONFIG_FILE": str(tmp_path / "config")}


def test_the_default_profile(environment: dict[str, str]) -> None:
    assert profile_settings(environment) == {
        "aws_access_key_id": "AKDEFAULT",
        "aws_secret_access_key": "a%b=c#d",
        "aws_region": "eu-west-1",
    }


def test_a_profile_by_name(environment: dict[str, str], listener: HTTPServer) -> None:
    assert profile_settings({**environment, "AWS_PROFILE": "lab"}) == {
        "aws_access_key_id": "AKLAB",
        "aws_secret_access_key": "SECRETLAB",
        "aws_session_token": "TOKENLAB",
        "aws_region": "eu-central-1",
        "aws_endpoint": f"http://127.0.0.1:{listener.server_port}",
    }
    assert profile_settings({**environment, "AWS_PROFILE": "keys"}) == {
        "aws_access_key_id": "AKKEYS",
        "aws_secret_access_key": "SECRETKEYS",
    }


def test_variables_come_first(environment: dict[str, str]) -> None:
    given = {**environment, "AWS_PROFILE": "lab", "AWS_ACCESS_KEY_ID": "AK", "AWS_REGION": "us-east-1"}
    assert set(profile_settings(given)) == {"aws_endpoint"}
    given = {**environment, "AWS_WEB_IDENTITY_TOKEN_FILE": "/token", "AWS_ENDPOINT_URL": "http://x"}
    assert profile_settings(given) == {"aws_region": "eu-west-1"}


def test_a_profile_without_keys_leaves_them_to_the_machine(environment: dict[str, str]) -> None:
    assert profile_settings({**environment, "AWS_PROFILE": "place"}) == {"aws_region": "eu-north-1"}


def test_no_file_no_setting(tmp_path: Path) -> None:
    nothing = {name: str(tmp_path / "no") for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE")}
    assert profile_settings(nothing) == {}
    with pytest.raises(UsageError, match="AWS_PROFILE=lab is in neither"):
        profile_settings({**nothing, "AWS_PROFILE": "lab"})


def test_the_files_are_those_of_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(CREDENTIALS)
    assert profile_settings({})["aws_access_key_id"] == "AKDEFAULT"


def test_keys_that_radload_cannot_have_are_said(environment: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"role_arn.*export-credentials --profile role"):
        profile_settings({**environment, "AWS_PROFILE": "role"})
    assert profile_settings({**environment, "AWS_PROFILE": "role", "AWS_ACCESS_KEY_ID": "AK"}) == {}


@pytest.mark.parametrize(
    "content", [b"aws_secret_access_key = SECRETX\n", b"[default]\nSECRETX\n", b"[default]\nx = \xff SECRETX"]
)
def test_a_file_that_is_none_is_said_without_its_lines(environment: dict[str, str], content: bytes) -> None:
    Path(environment["AWS_SHARED_CREDENTIALS_FILE"]).write_bytes(content)
    with pytest.raises(UsageError, match="cannot be understood") as caught:
        profile_settings(environment)
    assert "SECRETX" not in str(caught.value) and caught.value.__suppress_context__


def test_the_store_speaks_with_the_profiles_keys(
    environment: dict[str, str], listener: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**environment, "AWS_PROFILE": "lab", "AWS_ALLOW_HTTP": "true"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(FormatError, match="is not there") as caught:
        Store("s3://bucket/set").read("manifest.json")
    headers = listener.seen[0]  # type: ignore[attr-defined]
    lower = {name.lower(): value for name, value in headers.items()}
    assert "Credential=AKLAB/" in lower["authorization"] and "/eu-central-1/s3/" in lower["authorization"]
    assert lower["x-amz-security-token"] == "TOKENLAB"
    assert "SECRET" not in str(caught.value)
