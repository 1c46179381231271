"""What radload says to its user when something cannot be done: one sentence, with what, where, why and what to do."""

from __future__ import annotations


class RadloadError(Exception):
    """A failure whose message is meant for the user; the command line prints it and ends with exit code 2."""


class UsageError(RadloadError):
    """An argument, a folder or a file that the user gave cannot be used."""


class FormatError(RadloadError):
    """Shards, an index or a manifest that this version cannot read, or that are damaged."""


class CorruptSample(RadloadError):
    """The bytes of one sample are not what the index says (CRC-32C, length, or an undecodable codestream).

    Attributes:
        kind: the same in few words, without names, for counting.
    """

    def __init__(self, text: str, kind: str = "cannot be decoded") -> None:
        super().__init__(text)
        self.kind = kind


class AgreedEnd(RadloadError):
    """The end of a run that all its ranks raise at the same step, with the same sentence."""
