"""The profile of `~/.aws` that the AWS tools would use: obstore reads variables, and neither of its two files.

Source: "Configuration and credential file settings in the AWS CLI" (AWS CLI user guide), and botocore's order of providers.
"""

from __future__ import annotations

import configparser
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from radload.errors import UsageError

_SECRETS: Final = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
_VARIABLES: Final = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE")  # who they say comes before any profile
_PLACES: Final = {
    "aws_region": ("region", ("AWS_REGION", "AWS_DEFAULT_REGION")),
    "aws_endpoint": ("endpoint_url", ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")),
}
_ELSEWHERE: Final = ("role_arn", "sso_session", "sso_start_url", "credential_process", "login_session")


def profile_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What the profile says and `environment` does not, by the names of obstore's settings; empty without a profile.

    The profile is that of AWS_PROFILE, or "default", in the files AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE or those below `~/.aws`.

    Raises:
        UsageError: AWS_PROFILE names none, a file cannot be understood, or the keys come from a role, a login or a program. No sentence
            holds a line of the files.
    """
    name = environment.get("AWS_PROFILE") or "default"
    credentials = _section(environment.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials", name)
    sections = (f"profile {name}", name) if name == "default" else (f"profile {name}",)
    config = _section(environment.get("AWS_CONFIG_FILE") or "~/.aws/config", *sections)
    if credentials is None and config is None and environment.get("AWS_PROFILE"):
        raise UsageError(
            f"AWS_PROFILE={name} is in neither of the files of the AWS tools: correct it, or add it with `aws configure --profile {name}`"
        )
    found = {
        setting: config[key]
        for setting, (key, variables) in _PLACES.items()
        if config is not None and config.get(key) and not any(environment.get(variable) for variable in variables)
    }
    if any(environment.get(variable) for variable in _VARIABLES):
        return found
    for section in (credentials, config):  # keys of one file only: those of two are no pair
        if section is not None and section.get("aws_access_key_id"):
            return found | {key: section[key] for key in _SECRETS if section.get(key)}
    ways = [way for way in _ELSEWHERE for section in (credentials, config) if section is not None and section.get(way)]
    if ways:
        raise UsageError(
            f"the AWS profile {name} has its keys from {ways[0]}, which radload does not ask: give them as variables, with "
            f'`eval "$(aws configure export-credentials --profile {name} --format env)"`'
        )
    return found


def _section(path: str, *names: str) -> dict[str, str] | None:
    """The first of the sections that the file has; None without any, or without a file."""
    parser = configparser.RawConfigParser(strict=False, comment_prefixes=("#", ";"), default_section="")
    try:
        parser.read_string(Path(path).expanduser().read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UsageError(
            f"the AWS tools' file {path} cannot be read ({error.strerror}): check its permissions"
        ) from None
    except (configparser.Error, UnicodeDecodeError):  # whose words repeat the line, which may be a key
        raise UsageError(
            f"the AWS tools' file {path} cannot be understood: it needs lines `[profile]` and `name = value`"
        ) from None
    for name in names:
        if parser.has_section(name):
            return {key: value.strip() for key, value in parser.items(name) if value}
    return None
