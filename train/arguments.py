"""Options that cannot be read end a script as all does that its user can put right: in one sentence, without pages of usage."""

from __future__ import annotations

import argparse
from typing import NoReturn

from radload.errors import UsageError


class Parser(argparse.ArgumentParser):
    """Of a script's options, which are written out in full."""

    def __init__(self, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raises UsageError, where argparse would print all options and end the process."""
        raise UsageError(f"{message}: `{self.prog} --help` lists what can be given")
